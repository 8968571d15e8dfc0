"""task_list.md survives whatever an agent does to it: items are found, ticks are taken over, the rest comes back."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitautonomous import markdown
from gitautonomous.checklist import NOTE_LIMIT, PROPOSED_LIMIT, Enforced, Item, accept, enforce, parse

LIST = """\
# Build a parser

A parser for dates.

## Tasks

### Foundation

- [x] Set up the project
      Verify: `pytest` collects one test
- [ ] Read a date (blocked: no locale)
  - [ ] Tests

### Core

1. [ ] Write a date
2. [ ] Tests

## Checks

```sh
# all of it
pytest -q \\
  --strict
ruff check
```

## Proposed

- [ ] Time zones
- Leap seconds
"""


def texts(text: str) -> list[str]:
    return [item.text for item in parse(text).items]


def test_a_list_is_read_with_phases_notes_details_checks_and_proposals() -> None:
    checklist = parse(LIST)
    assert checklist.items == (
        Item("Set up the project", True, None, "Foundation", 0, 8, ("Verify: `pytest` collects one test",)),
        Item("Read a date", False, "blocked: no locale", "Foundation", 0, 10, ()),
        Item("Tests", False, None, "Foundation", 1, 11, ()),
        Item("Write a date", False, None, "Core", 0, 15, ()),
        Item("Tests", False, None, "Core", 0, 16, ()),
    )
    assert checklist.checks == ("pytest -q   --strict", "ruff check")
    assert checklist.proposed == ("Time zones", "Leap seconds")
    assert (checklist.done, checklist.total, checklist.has_tasks_section) == (1, 5, True)
    assert [item.text for item in checklist.open_items] == ["Read a date", "Tests", "Write a date", "Tests"]
    assert (checklist.finished, checklist.stuck) == (False, False)


def test_every_marker_of_a_checkbox_counts() -> None:
    assert texts("## Tasks\n- [ ] a\n\n* [x] b\n\n+ [X] c\n\n1. [ ] d\n\n2) [ ] e\n\n-\t[ ]\tf\n") == list("abcdef")
    assert [item.done for item in parse("## Tasks\n- [ ] a\n- [x] b\n- [X] c\n").items] == [False, True, True]


def test_what_only_looks_like_a_checkbox_does_not_count() -> None:
    assert (
        texts("## Tasks\n- []\n- [ ]\n- [ ]a\n- [-] b\n- [12] c\n[ ] d\n\\- [ ] e\n\nText.\n\n    - [ ] f\n> - [ ] g\n")
        == []
    )


def test_code_fences_hide_checkboxes() -> None:
    text = (
        "## Tasks\n```\n- [ ] a\n~~~\n- [ ] a\n````\n- [ ] b\n\n~~~~ text\n- [ ] c\n~~~\n- [ ] c\n~~~~~\n"
        "- [ ] d\n\n  ```sh\n  - [ ] e\n\n  ```\n- [ ] f\n  ~~~\n  - [ ] never closed\n- [ ] g\n   ```\n   - [ ] h\n"
    )
    assert texts(text) == ["b", "d", "f", "g"]


def test_comments_hide_checkboxes_over_many_lines() -> None:
    text = "## Tasks\n<!--\n- [ ] a\n\n- [ ] b\n--> - [ ] c\n- [ ] d\n  <!-- note -->\n<!-- - [ ] e -->\n- [ ] f <!-- why\n-->\n"
    assert texts(text) == ["d", "f <!-- why"]
    assert parse(text).items[0].details == ()


def test_items_of_other_sections_and_lists_do_not_count() -> None:
    assert texts("- [ ] a\n# Tasks\n- [ ] b\n### Tasks\n- [ ] c\n## Notes\n- [ ] d\n## Proposed\n- [ ] e\n") == []
    assert not parse("# Tasks\n- [ ] a\n").has_tasks_section


def test_several_tasks_sections_make_one_list() -> None:
    text = "## Tasks\n- [ ] a\n## Notes\n- [ ] no\nTasks\n\nTasks\n-----\n- [ ] b\n### Late\n- [ ] c\n## TASKS ##\n- [ ] d\n"
    assert [(item.text, item.phase) for item in parse(text).items] == [
        *(("a", None), ("b", None), ("c", "Late"), ("d", None))
    ]


def test_line_endings_do_not_change_what_is_read() -> None:
    def facts(text: str) -> list[Item]:
        return list(parse(text).items)

    assert facts(LIST.replace("\n", "\r\n")) == facts(LIST) == facts(LIST.replace("\n", "\r"))
    assert parse(LIST.replace("\n", "\r\n")).checks == parse(LIST).checks


def test_depth_follows_the_columns_of_spaces_and_tabs() -> None:
    text = "## Tasks\n- [ ] a\n\t- [ ] b\n\t\t- [ ] c\n- plain\n  - [ ] d\n10. [ ] e\n    1. [ ] f\n"
    assert [(item.text, item.depth) for item in parse(text).items] == [
        *(("a", 0), ("b", 1), ("c", 2), ("d", 1), ("e", 0), ("f", 1))
    ]


def test_details_belong_to_the_nearest_item_around_them() -> None:
    text = "## Tasks\n- [ ] a\n  more\nlazy\n\n  - plain\n    below\n  - [ ] b\n    its own\n\n  ```sh\n  run\n  ```\n\nafter\n"
    assert [item.details for item in parse(text).items] == [
        ("more", "lazy", "- plain", "below", "```sh", "run", "```"),
        ("its own",),
    ]


@pytest.mark.parametrize(
    ("line", "text", "note"),
    [
        ("a (blocked: b)", "a", "blocked: b"),
        ("a(SKIPPED:  b \t c )  ", "a", "SKIPPED: b c"),
        ("a (blocked: b (c) :) d)", "a", "blocked: b (c) :) d"),
        ("a (blocked: b) (skipped: c)", "a", "skipped: c"),
        ("a (blocked: b) and more", "a (blocked: b) and more", None),
        ("a (blocked)", "a (blocked)", None),
        ("a (skipped tests)", "a (skipped tests)", None),
        ("(blocked: b)", "(blocked: b)", None),
        ("a (bloc\u212aed: b)", "a (bloc\u212aed: b)", None),
    ],
)
def test_a_note_ends_its_line(line: str, text: str, note: str | None) -> None:
    item = parse(f"## Tasks\n- [ ] {line}\n").items[0]
    assert (item.text, item.note) == (text, note)
    assert (item.blocked, item.skipped) == (
        note is not None and note.startswith("blocked"),
        note is not None and note.lower().startswith("skipped"),
    )


def test_a_list_is_stuck_when_all_that_is_open_is_blocked_or_skipped() -> None:
    def state(text: str) -> tuple[bool, bool]:
        checklist = parse(f"## Tasks\n{text}")
        return checklist.stuck, checklist.finished

    assert state("- [x] a\n- [ ] b (blocked: c)\n- [ ] d (skipped: e)\n") == (True, False)
    assert state("- [ ] a\n- [ ] b (blocked: c)\n") == (False, False)
    assert state("- [x] a (blocked: no more)\n") == (False, True)
    assert state("") == (False, False)


def test_checks_are_the_lines_of_every_code_block_of_their_section() -> None:
    text = (
        "```\nno\n```\n## Checks\nRun `this`:\n\n- first\n  ~~~sh\n  a && \\\n    b\n\n  # comment \\\n  c \\\\\n  ~~~\n"
        "\n    not fenced\n\n````\nd # e\nf \\\n````\n## Proposed\n```\nno\n```\n"
    )
    assert parse(text).checks == ("a &&     b", "c \\\\", "d # e", "f")


def test_five_thousand_items_are_held_to_the_contract_well_below_a_second() -> None:
    before = "## Tasks\n" + "".join(f"- [ ] Item {n} can be seen\n  Verify: `test {n}`\n" for n in range(5000))
    after = before.replace("[ ] Item", "[x] The item")
    start = time.process_time()
    result = enforce(before, after)
    assert time.process_time() - start < 2
    assert result.text == before.replace("[ ]", "[x]")
    assert (len(result.ticked), len(result.restored)) == (5000, 20)
    assert result.restored[-1] == "And 4981 more changes were put back."


def test_hostile_megabytes_do_not_stop_the_runner() -> None:
    size = 1_000_000
    lines = [
        "- [ ] a" + " (blocked: x)" * (size // 13),
        "- [ ] a " + "(blocked:" * (size // 9) + ")",
        "- [ ] a" + "\u0301\u0323" * (size // 2),
        ("- [ ] a" + "\u0301\u0323" * 240 + "\n") * (size // 480),
        "- [ ] " + "w " * (size // 2),
        "## Proposed\nx\n" * (size // 20),
    ]
    start = time.process_time()
    for line in lines:
        enforce(LIST, f"## Tasks\n{line}\n")
        enforce(f"## Tasks\n{line}\n", LIST)
    assert time.process_time() - start < 60


def unchanged(text: str) -> Enforced:
    return Enforced(text, (), (), ())


def test_an_untouched_list_stays_as_it_is() -> None:
    for text in (LIST, LIST.replace("\n", "\r\n"), LIST.rstrip("\n"), ""):
        assert enforce(text, text) == unchanged(text)


def test_ticks_are_taken_over_in_both_directions() -> None:
    after = LIST.replace("- [x] Set", "- [ ] Set").replace("1. [ ] Write", "1. [X] Write")
    result = enforce(LIST, after)
    assert result == Enforced(
        LIST.replace("- [x] Set", "- [ ] Set").replace("1. [ ] Write", "1. [x] Write"),
        (),
        (Item("Write a date", True, None, "Core", 0, 15, ()),),
        (Item("Set up the project", False, None, "Foundation", 0, 8, ("Verify: `pytest` collects one test",)),),
    )


def test_an_upper_case_tick_of_a_person_keeps_its_case() -> None:
    assert enforce("## Tasks\n- [X] a\n", "## Tasks\n- [x] a\n") == unchanged("## Tasks\n- [X] a\n")


def test_a_note_is_added_changed_and_removed() -> None:
    after = LIST.replace("Write a date", "Write a date (skipped: not asked for)").replace(" (blocked: no locale)", "")
    assert enforce(LIST, after) == unchanged(after)
    changed = LIST.replace("no locale", "still no locale")
    assert enforce(LIST, changed) == unchanged(changed)
    assert enforce("## Tasks\n1. [ ] a  \r\n", "## Tasks\n1. [ ] a (blocked: b)\n").text == (
        "## Tasks\n1. [ ] a (blocked: b)  \r\n"
    )


def test_a_note_is_one_line_of_limited_length() -> None:
    long = "blocked: " + "w" * 1000
    result = enforce("## Tasks\n- [ ] a\n", f"## Tasks\n- [ ] a ({long}\u2028\t\x0bx)\n")
    note = long[: NOTE_LIMIT - 1] + "…"
    assert result == unchanged(f"## Tasks\n- [ ] a ({note})\n")
    assert len(note) == NOTE_LIMIT
    kept = f"## Tasks\n- [ ] a ({long})\n"
    assert enforce(kept, kept) == unchanged(kept)


def test_a_note_written_below_the_item_moves_to_its_line() -> None:
    before = "## Tasks\n- [ ] a\n  Verify: b\n- [ ] c\n  Verify: d\n"
    after = "## Tasks\n- [ ] a\n  Verify: b\n  (blocked: e)\n- [ ] c\n  Verify: d (skipped: f)\n"
    assert enforce(before, after) == unchanged(
        "## Tasks\n- [ ] a (blocked: e)\n  Verify: b\n- [ ] c (skipped: f)\n  Verify: d\n"
    )


def test_a_deleted_or_emptied_list_comes_back() -> None:
    assert enforce(LIST, None) == Enforced(LIST, ("The list had been deleted and was put back.",), (), ())
    assert enforce(LIST, "") == Enforced(
        LIST,
        (
            "All items had been removed and were put back.",
            "The checks were put back.",
            "The text around the items was put back.",
        ),
        (),
        (),
    )


def test_reworded_items_keep_their_text_and_take_the_tick_of_their_place() -> None:
    before = "## Tasks\n- [ ] Sign in with a password\n- [ ] Sign out\n"
    after = "## Tasks\n- [x] ~~Sign in with a **password**~~ (done, 12 tests)\n- [x] Delete the account\n"
    result = enforce(before, after)
    assert result == Enforced(
        "## Tasks\n- [x] Sign in with a password\n- [ ] Sign out\n",
        (
            'Item 2 was missing and was put back: "Sign out".',
            'Item 1 had been reworded, its text was put back: "Sign in with a password".',
            'An item had been added and was taken out: "Delete the account".',
        ),
        (Item("Sign in with a password", True, None, None, 0, 1, ()),),
        (),
    )


def test_merged_split_and_added_items_change_nothing() -> None:
    before = "## Tasks\n- [ ] a b\n- [ ] c d\n"
    merged = enforce(before, "## Tasks\n- [x] a b and c d\n")
    split = enforce(before, "## Tasks\n- [x] a\n- [ ] b\n- [x] c d\n")
    added = enforce(before, "## Tasks\n- [ ] a b\n- [ ] c d\n- [x] e\n")
    assert merged.text == before
    assert split.text == "## Tasks\n- [ ] a b\n- [x] c d\n"
    assert added == Enforced(before, ('An item had been added and was taken out: "e".',), (), ())


def test_ticks_follow_their_item_when_items_were_moved() -> None:
    after = "## Tasks\n\n- [x] Write a date\n  - [x] Set up the project\n- [ ] Tests\n- [ ] Tests\n- [ ] Read a date\n"
    result = enforce(LIST, after)
    assert result.text == LIST.replace("1. [ ] Write", "1. [x] Write").replace(" (blocked: no locale)", "")
    assert result.restored == (
        "The lines below item 1 were put back.",
        "The order and nesting of the items were put back.",
        "The checks were put back.",
        "The text around the items was put back.",
    )


def test_items_of_the_same_text_are_told_apart_by_their_surroundings() -> None:
    before = "## Tasks\n### A\n- [ ] Tests\n### B\n- [ ] Tests\n- [ ] a\n  - [ ] Docs\n- [ ] b\n  - [ ] Docs\n"
    after = "## Tasks\n### B\n- [x] Tests\n- [ ] b\n  - [x] Docs\n- [ ] a\n  - [ ] Docs\n### A\n- [ ] Tests\n"
    assert enforce(before, after).text == (
        "## Tasks\n### A\n- [ ] Tests\n### B\n- [x] Tests\n- [ ] a\n  - [ ] Docs\n- [ ] b\n  - [x] Docs\n"
    )


def test_a_tick_is_not_guessed_when_one_of_two_equal_items_is_gone() -> None:
    before = "## Tasks\n- [ ] Tests\n- [ ] a\n- [ ] Tests\n"
    assert enforce(before, "## Tasks\n- [x] a\n- [x] Tests\n").text == "## Tasks\n- [ ] Tests\n- [x] a\n- [ ] Tests\n"


def test_texts_are_equal_in_any_unicode_form_and_keep_their_bytes() -> None:
    before = "## Tasks\n- [ ] Café  crème\n"
    after = unicodedata.normalize("NFD", "## Tasks\n- [x] Café crème\n")
    assert enforce(before, after) == Enforced(
        "## Tasks\n- [x] Café  crème\n", (), (Item("Café  crème", True, None, None, 0, 1, ()),), ()
    )


def test_the_line_endings_of_the_list_stay() -> None:
    before = LIST.replace("\n", "\r\n")
    result = enforce(before, LIST.replace("1. [ ]", "1. [x]"))
    assert result.text == before.replace("1. [ ]", "1. [x]")
    assert result.restored == ()


def test_goal_checks_phases_and_details_come_back() -> None:
    after = LIST.replace("for dates", "for anything").replace("ruff check", "true").replace("collects one test", "runs")
    assert enforce(LIST, after) == Enforced(
        LIST,
        (
            "The lines below item 1 were put back.",
            "The checks were put back.",
            "The text around the items was put back.",
        ),
        (),
        (),
    )


def test_the_proposed_section_is_the_agents() -> None:
    after = LIST.replace("- Leap seconds\n", "- Leap seconds\n- [x] Durations\n\n### Later\n\nText.\n")
    assert enforce(LIST, after) == unchanged(after)
    emptied = LIST[: LIST.index("- [ ] Time zones")]
    assert enforce(LIST, emptied) == unchanged(emptied.rstrip("\n") + "\n")


def test_a_proposed_section_appears_where_there_was_none_and_survives_its_removal() -> None:
    assert enforce("## Tasks\n- [ ] a", "## Proposed\n- b\n## Tasks\n- [x] a\n").text == (
        "## Tasks\n- [x] a\n\n## Proposed\n\n- b\n"
    )
    assert enforce(LIST, LIST[: LIST.index("## Proposed")]) == unchanged(LIST)


def test_a_second_proposed_section_joins_the_first() -> None:
    before = "## Tasks\n- [ ] a\n## Proposed\n## Checks\n"
    assert enforce(before, before + "\n## Proposed\n- b\n") == unchanged(
        "## Tasks\n- [ ] a\n## Proposed\n\n- b\n\n## Checks\n"
    )


def test_a_proposed_section_is_cut_at_its_limit() -> None:
    line = "- [ ] " + "é" * 500 + "\n"
    result = enforce("## Tasks\n- [ ] a\n## Proposed\n", "## Tasks\n- [ ] a\n## Proposed\n" + line * 1000)
    body = result.text.partition("## Proposed\n")[2].strip("\n")
    assert body == (line * (PROPOSED_LIMIT // len(line.encode()))).strip("\n")
    assert result.restored == ("The Proposed section was cut to 64 KiB.",)


@pytest.mark.parametrize("open_", ["```\n", "~~~ x\n- b\n", "<!--\n", "<pre>\n", "- x\n\n<!-- y\n"])
def test_a_proposed_section_cannot_hide_the_rest_of_the_list(open_: str) -> None:
    before = "## Proposed\n\n- old\n\n## Tasks\n- [ ] a\n"
    assert enforce(before, f"## Tasks\n- [x] a\n## Proposed\n{open_}") == Enforced(
        "## Proposed\n\n- old\n\n## Tasks\n- [x] a\n",
        ("The Proposed section was not taken over: it would have hidden other parts of the list.",),
        (Item("a", True, None, None, 0, 5, ()),),
        (),
    )


def test_accepted_items_move_to_the_end_of_the_tasks() -> None:
    assert accept(LIST, [2, 1]) == LIST.replace(
        "2. [ ] Tests\n", "2. [ ] Tests\n- [ ] Leap seconds\n- [ ] Time zones\n"
    ).replace("\n- [ ] Time zones\n- Leap seconds\n", "\n")
    assert accept(LIST, []) == LIST


def test_an_accepted_item_takes_what_belongs_to_it_along_and_is_open() -> None:
    text = "## Proposed\n\nIdeas:\n 1. [x] a\n     Verify: b\nlazy\n\n    - [x] c\n- d\n## Tasks\n"
    assert accept(text, [1]) == (
        "## Proposed\n\nIdeas:\n\n- d\n## Tasks\n\n- [ ] a\n   Verify: b\n      lazy\n\n  - [ ] c\n"
    )


def test_accepting_what_is_not_there_is_refused() -> None:
    for text, numbers, message in [
        (LIST, [3], "there is no proposed item 3"),
        (LIST, [0], "there is no proposed item 0"),
        (LIST, [-1], "there is no proposed item -1"),
        (LIST, [1, 1], "proposed item 1 is named twice"),
        ("## Proposed\n- a\n", [1], "the list has no section ## Tasks"),
        (
            "## Tasks\n## Proposed\n- a\n1. b\n  ## Checks\n```\nc\n```\n",
            [2],
            "the list reads differently without this item: move it by hand",
        ),
    ]:
        with pytest.raises(ValueError, match=f"^{message}$"):
            accept(text, numbers)


LINES = [
    *("- [ ] a", "- [x] a", "- [x] b", "- [ ] b (blocked: z)", "  - [ ] a", "    - [x] Tests", "- [ ] a b c"),
    *("   12. [ ] c d e", "1. [ ] one", "- [x] a b c d (skipped: q)", "\t- [ ] tab", "* [ ] s", "- plain", "   - x"),
    *("## Tasks", "## Tasks", "## Proposed", "## Proposed", "## Checks", "### P", "### Q", "# T", "Tasks", "---"),
    *("```sh", "```", "- ```", "  ~~~", "<!-- c", "-->", "", "", "text", "  more", "2. p", "pytest"),
    *("  (blocked: late)", "  - (blocked: sub)", "(blocked: \u2028", "é\ud800", " "),
]
LISTS = st.tuples(st.lists(st.sampled_from(LINES), max_size=25), st.sampled_from(["\n", "\r\n", "\r"])).map(
    lambda drawn: drawn[1].join(["## Tasks", *drawn[0]])
)


@st.composite
def edits(draw: st.DrawFn) -> tuple[str, str]:
    """A list, and what some agent made of it."""
    before = draw(LISTS)
    lines = before.split("\n")
    for _ in range(draw(st.integers(0, 6))):
        place = draw(st.integers(0, len(lines) - 1))
        line, other = lines[place], draw(st.sampled_from(LINES))
        ways = [
            *([line.replace("[ ]", "[x]")], [line.replace("[x]", "[ ]")], [line + " (blocked: why)"], [line + " more"]),
            *([""], [line, line], [other, line], [other]),
        ]
        lines[place : place + 1] = draw(st.sampled_from(ways))
        turn = draw(st.integers(0, len(lines)))
        lines = lines[turn:] + lines[:turn] if draw(st.booleans()) else lines
    return before, "\n".join(lines)


@st.composite
def legal_edits(draw: st.DrawFn) -> tuple[str, str]:
    """A list, and the same with other ticks and new notes."""
    before = draw(LISTS)
    lines = list(markdown.read(before).lines)
    for item in parse(before).items:
        line = lines[item.line]
        if draw(st.booleans()):
            line = line.replace("[x]", "[ ]", 1) if item.done else line.replace("[ ]", "[x]", 1)
        if item.note is None and draw(st.booleans()):
            end = len(line.rstrip())
            line = f"{line[:end]} (skipped: not (really) needed){line[end:]}"
        lines[item.line] = line
    return before, "".join(lines)


def contract(text: str) -> tuple[list[tuple[object, ...]], tuple[str, ...]]:
    checklist = parse(text)
    return [(item.text, item.phase, item.depth, item.details) for item in checklist.items], checklist.checks


@settings(deadline=None, max_examples=1500)
@given(edits() | st.tuples(LISTS, LISTS) | st.tuples(LISTS, st.text()))
def test_whatever_the_agent_does_items_and_checks_stay_and_doing_it_again_changes_nothing(
    drawn: tuple[str, str],
) -> None:
    before, after = drawn
    result = enforce(before, after)
    assert contract(result.text) == contract(before)
    again = enforce(before, result.text)
    assert (again.text, again.restored) == (result.text, ())
    assert (again.ticked, again.unticked) == (result.ticked, result.unticked)
    assert enforce(result.text, after).text == result.text


@settings(deadline=None, max_examples=500)
@given(LISTS)
def test_a_list_that_nobody_touched_is_kept_byte_for_byte(text: str) -> None:
    assert enforce(text, text) == unchanged(text)


@settings(deadline=None, max_examples=500)
@given(legal_edits())
def test_what_the_agent_may_change_is_taken_over_byte_for_byte(drawn: tuple[str, str]) -> None:
    before, after = drawn
    result = enforce(before, after)
    assert (result.text, result.restored) == (after, ())
    pairs = list(zip(parse(before).items, parse(after).items, strict=True))
    assert result.ticked == tuple(new for old, new in pairs if new.done and not old.done)
    assert result.unticked == tuple(new for old, new in pairs if old.done and not new.done)


@settings(deadline=None, max_examples=500)
@given(LISTS, st.integers(1, 3))
def test_accepting_adds_to_the_end_and_changes_no_other_item(text: str, number: int) -> None:
    before = parse(text)
    try:
        after = parse(accept(text, [number]))
    except ValueError:
        return
    added = after.items[before.total :]
    assert after.items and [contract(text)[0], before.checks] == [
        [(item.text, item.phase, item.depth, item.details) for item in after.items[: before.total]],
        after.checks,
    ]
    assert (added[0].text, added[0].depth) == (before.proposed[number - 1], 0)
    assert not any(item.done for item in added)


@settings(deadline=None)
@given(st.text())
def test_no_text_raises(text: str) -> None:
    parse(text)
    enforce(text, LIST)
    enforce(LIST, text)
