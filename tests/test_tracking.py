"""The list and the notes of a task, merged without a conflict."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from gitautonomous import checklist, prompt
from gitautonomous.tracking import merge_lines, merge_list, merge_notes

LIST = """\
# Todo
## Tasks
### First
- [ ] write a
- [ ] write b
  - [ ] and its test
### Second
* [ ] write a
1. [ ] write c  

## Checks
```
make test
```

## Proposed
- old proposal
"""


def tick(text: str, *items: str, note: str = "") -> str:
    for item in items:
        assert f"[ ] {item}" in text
        text = text.replace(f"[ ] {item}", f"[x] {item}{note}", 1)
    return text


def test_ticks_of_one_side_go_and_those_of_the_other_stay() -> None:
    dropped = tick(LIST, "write b")
    later = tick(dropped, "write c", "write a")
    assert merge_list(dropped, LIST, later) == tick(LIST, "write c", "write a")


def test_of_items_with_one_text_the_right_one_is_unticked() -> None:
    dropped = LIST.replace("* [ ] write a", "* [x] write a")
    later = tick(dropped, "write a", "and its test")
    assert merge_list(dropped, LIST, later) == tick(LIST, "write a", "and its test")


def test_what_both_sides_changed_stays_as_the_later_one_left_it() -> None:
    dropped = tick(LIST, "write b", "write c")
    later = dropped.replace("[x] write b", "[ ] write b (blocked: no docker)")
    assert merge_list(dropped, LIST, later) == LIST.replace("[ ] write b", "[ ] write b (blocked: no docker)")


def test_notes_are_merged_apart_from_ticks() -> None:
    dropped = LIST.replace("write c", "write c (skipped: too hard)").replace("write b", "write b (blocked: x)")
    later = tick(dropped, "write c (skipped: too hard)").replace("(blocked: x)", "(blocked: y)")
    assert merge_list(dropped, LIST, later) == tick(LIST, "write c").replace("write b", "write b (blocked: y)")


def test_a_list_that_a_person_changed_keeps_its_new_shape() -> None:
    dropped = tick(LIST, "write b", "write c")
    by_hand = dropped.replace("### Second\n", "### Second\n- [ ] write d\n").replace("# Todo", "# My todo")
    assert merge_list(dropped, LIST, by_hand) == by_hand.replace("[x] write b", "[ ] write b").replace(
        "[x] write c", "[ ] write c"
    )


def test_proposals_of_one_side_go_and_those_of_the_other_stay() -> None:
    dropped = LIST + "- from the dropped one\n"
    later = dropped + "- from a later one\n"
    assert merge_list(dropped, LIST, later) == LIST + "- from a later one\n"


def test_proposals_that_would_change_the_items_are_not_taken_over() -> None:
    dropped = LIST.replace("- old proposal\n", "")
    ours = LIST.replace("- old proposal\n", "- old proposal\n## Tasks\n- [ ] smuggled\n")
    later = tick(dropped, "write a")
    merged = merge_list(dropped, ours, later)
    assert [item.text for item in checklist.parse(merged).items] == [item.text for item in checklist.parse(LIST).items]


def test_line_endings_of_the_list_stay() -> None:
    windows = LIST.replace("\n", "\r\n")
    dropped = tick(windows, "write b")
    assert merge_list(dropped, windows, tick(dropped, "write c")) == tick(windows, "write c")


def noted(before: str | None, session: int, *lines: str) -> str:
    return prompt.ensure_entry(before, before, session=session, lines=lines or [f"Did {session}."])


def test_an_entry_goes_and_all_others_stay() -> None:
    three = noted(noted(noted("# Progress\n\nHow to build: make\n", 1), 2), 3)
    four = noted(three, 4, "Did something wrong.", "## A heading of its own")
    six = noted(noted(four, 5), 6)
    assert merge_notes(four, three, noted(four, 5)) == noted(three, 5)
    assert merge_notes(noted(four, 5), noted(three, 5), six) == noted(noted(three, 5), 6)


def test_the_part_above_the_entries_is_merged_line_by_line() -> None:
    top = "# Progress\n\nBuild: make\nTest: make test\nRun: ./x\n"
    dropped = noted(noted(top, 1).replace("Build: make\n", "Build: ninja\n"), 2)
    later = noted(dropped, 3).replace("Run: ./x\n", "Run: ./y\n")
    assert merge_notes(dropped, noted(top, 1), later) == noted(noted(top, 1), 3).replace("./x", "./y")


def test_an_entry_that_the_dropped_session_took_out_comes_back_in_its_place() -> None:
    before = noted(noted(noted("# Progress\n", 1), 2), 3)
    dropped = noted(noted(noted("# Progress\n", 1), 3), 4)
    assert merge_notes(dropped, before, noted(dropped, 5)) == noted(before, 5)


def test_notes_without_any_entry_merge_too() -> None:
    assert merge_notes("a\nb\n", "a\n", "a\nb\nc\n") == "a\nc\n"
    assert merge_notes("", "", "new\n") == "new\n"
    assert merge_notes("x", "x\nmore\n", "x") == "x\nmore\n"


lines = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "\n", "## s\n", "## Session 1\n"]), max_size=12)


@given(lines, lines)
def test_a_side_that_changed_nothing_gives_the_other(base: list[str], changed: list[str]) -> None:
    old, new = "".join(base), "".join(changed)
    assert merge_lines(base, changed, base) == changed
    assert merge_lines(base, base, changed) == changed
    assert merge_notes(old, new, old) == new
    assert merge_notes(old, old, new) == new
    assert merge_list(old, old, new) == new


@given(lines, lines, lines)
def test_what_is_appended_after_a_change_stays_whole(base: list[str], ours: list[str], more: list[str]) -> None:
    merged = merge_lines(base, ours, base + more)
    assert merged == ours + more


def test_hostile_notes_take_no_time_to_speak_of() -> None:
    base = "".join(f"{number % 7}\n" for number in range(200_000))
    ours = "".join(f"{number % 5}\n" for number in range(200_000))
    theirs = "".join(f"{number % 3}\n" for number in range(200_000))
    began = time.process_time()
    assert merge_notes(base, ours, theirs) == theirs
    assert time.process_time() - began < 5
