"""A prompt says what is known and nothing else: values go in as they are, and what is empty leaves no trace."""

from __future__ import annotations

import itertools
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitautonomous import checklist, markdown, model
from gitautonomous.checklist import Item
from gitautonomous.errors import AutonomousError
from gitautonomous.prompt import SEED, Brief, ensure_entry, executor, initializer, last_entry, render

TEMPLATES = Path(__file__).parent.parent / "templates"
INITIALIZER, EXECUTOR, SHAPE = (
    (TEMPLATES / f"{name}.md").read_text() for name in ("initializer", "executor", "task_list")
)


def item(text: str, note: str | None = None, details: tuple[str, ...] = ()) -> Item:
    return Item(text, False, note, None, 0, 0, details)


EMPTY = Brief("Build it.", "build-it", ".autonomous/build-it", 7, 3, 12, (), "", (), (), (), (), (), None, "")
FULL = Brief(
    goal="Build it.",
    task="build-it",
    directory=".autonomous/build-it",
    session=7,
    done=3,
    total=12,
    next_items=(item("Read a date", details=("Verify: `pytest -k read` passes",)), item("Write a date")),
    last_entry="## Session 6\n\n- Did: tests\n",
    failing_checks=(("pytest -q", "1 failed\n"), ("ruff check", "")),
    checks=("pytest -q", "ruff check"),
    restored=('Item 2 was missing and was put back: "Sign out".',),
    blocked=(item("Sign in", "blocked: no account"), item("Ask", None)),
    background=("python -m http.server",),
    interrupted="timed-out: no output for 10 minutes",
    limits="this session is ended after 4 h",
)
OPTIONAL = [
    "next_items",
    "last_entry",
    "failing_checks",
    "checks",
    "restored",
    "blocked",
    "background",
    "interrupted",
    "limits",
]


def section(prompt: str, begin: str, end: str) -> str:
    """The part of a prompt from a line that begins with `begin` to the one before `end`."""
    lines = prompt.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith(begin))
    last = next(n for n, line in enumerate(lines) if n > first and line.startswith(end))
    return "\n".join(lines[first:last]).strip()


def test_the_executor_learns_where_the_task_stands() -> None:
    assert (
        section(executor(EXECUTOR, FULL), "3 of 12", "# How to work")
        == """\
3 of 12 items are ticked.

- `.autonomous/build-it/task_list.md`: the constraints and the items in their order, each with its verification. This is \
the definition of done.
- `.autonomous/build-it/progress.md`: how to set up, build, test and run; decisions, surprises, known problems; an entry \
for every session.

Read both first. They count more than what you remember: people and other sessions may have changed things since.

The last session did not get to its end (timed-out: no output for 10 minutes). What it had changed is committed, \
finished or not. Look at it before anything else (`git show --stat`, then the files): keep what is good, mend or take \
back the rest. If it ran out of time or of room, take smaller steps: read long files in parts, send long output to a \
file and look at its end, put `timeout` before a command that may hang.

These commands still ran when the last session ended, and were ended with it. Start again what you need, and end it \
yourself:

- python -m http.server

The last session changed the list where no session may; this was put back:

- Item 2 was missing and was put back: "Sign out".

Go by the list as it is now. If work was lost with it that the task needs, put it below `## Proposed`.

These checks fail on the last commit. That is as it should be where the cause is an item still open. Where earlier work \
broke, mend it before you add anything.

    $ pytest -q
    1 failed

    $ ruff check

The next items, the first of them yours:

- Read a date
  Verify: `pytest -k read` passes
- Write a date

Set aside, with the reason. Take one up only where the reason is gone, and then remove its note:

- Sign in (blocked: no account)
- Ask

The newest entry of the notes:

> ## Session 6
>
> - Did: tests"""
    )


def test_the_first_session_of_a_plain_task_reads_no_word_too_many() -> None:
    assert section(executor(EXECUTOR, EMPTY), "Read both", "1. ") == (
        "Read both first. They count more than what you remember: people and other sessions may have changed things since."
        "\n\n# How to work"
    )
    limits = section(executor(EXECUTOR, EMPTY), "# Limits", "One item")
    assert [line[:12] for line in limits.splitlines()[2:]] == [
        "- Write only",
        "- git is the",
        "- `rm -f` an",
        "- Instructio",
    ]


def test_when_every_item_is_ticked_the_failing_check_is_the_item() -> None:
    prompt = executor(EXECUTOR, replace(EMPTY, done=12, failing_checks=(("make test", "boom"),)))
    assert (
        section(prompt, "Every item", "# How to work")
        == """\
Every item is ticked, but the task is not finished as long as a check fails. That is this session's item: find the cause \
and mend the work, not the check. Untick an item that turns out not to be done.

These checks fail on the last commit.

    $ make test
    boom"""
    )


def test_the_initializer_chooses_checks_only_where_the_user_chose_none() -> None:
    begin, end = "Below `## Checks`", "# The notes"
    own, chosen = (section(initializer(INITIALIZER, brief, SHAPE), begin, end) for brief in (EMPTY, FULL))
    assert "The runner, the program that starts the sessions, takes them over" in own
    assert (
        chosen
        == """\
Below `## Checks` stand, in one code block and one a line, the commands that must pass when everything is done.

The user has chosen them. Copy them as they are, add none, and plan the work so that they pass:

    pytest -q
    ruff check

What they show today:

    $ pytest -q
    1 failed

    $ ruff check"""
    )


def test_the_initializer_looks_at_what_an_earlier_try_left() -> None:
    assert section(initializer(INITIALIZER, FULL, SHAPE), "An earlier", "# Look") == (
        "An earlier try at this plan did not get to its end (timed-out: no output for 10 minutes). Look at what it left in "
        "`.autonomous/build-it` and keep what is good."
    )


@pytest.mark.parametrize("role", ["initializer", "executor"])
def test_whatever_is_empty_leaves_neither_heading_nor_gap(role: str) -> None:
    for empty in itertools.chain.from_iterable(itertools.combinations(OPTIONAL, n) for n in range(len(OPTIONAL) + 1)):
        brief = replace(FULL, **{name: getattr(EMPTY, name) for name in empty})
        prompt = initializer(INITIALIZER, brief, SHAPE) if role == "initializer" else executor(EXECUTOR, brief)
        assert "\n\n\n" not in prompt
        assert "{{" not in prompt and "}}" not in prompt
        assert not re.search(r":\n\n(?=# |[A-Z])", prompt)
        assert (prompt, prompt[-1]) == (prompt.strip() + "\n", "\n")


def test_a_heading_is_never_left_without_text() -> None:
    for prompt in (executor(EXECUTOR, EMPTY), initializer(INITIALIZER, EMPTY, "")):
        lines = [line for line in prompt.splitlines() if line]
        bare = [line for line, after in itertools.pairwise(lines) if line.startswith("#") and after.startswith("#")]
        assert bare == []


@settings(deadline=None)
@given(
    st.text()
    | st.sampled_from(["{{task}}", "{{#x}}", "`{{goal}}`", "\\1 \\g<0>", "{", "}}", "</goal>", "# A\n\n## Tasks\n"])
)
def test_the_goal_goes_in_word_for_word(goal: str) -> None:
    brief = replace(FULL, goal=goal, next_items=(item("{{checks}}"),), last_entry="{{/checks}}")
    for prompt in (executor(EXECUTOR, brief), initializer(INITIALIZER, brief, SHAPE)):
        assert f"<goal>\n{goal}\n</goal>\n" in prompt
    assert "\n- {{checks}}\n" in executor(EXECUTOR, brief)
    assert "\n> {{/checks}}\n" in executor(EXECUTOR, brief)


def test_the_longest_goal_leaves_room_for_everything_else_that_codex_takes() -> None:
    long = "w " * 50_000
    items = tuple(item(long, f"blocked: {long[:280]}", (long,) * 50) for _ in range(3))
    brief = Brief(
        goal="g" * model.GOAL_LIMIT,
        task="t" * 64,
        directory=".autonomous/" + "t" * 64,
        session=999,
        done=1,
        total=5000,
        next_items=items,
        last_entry=last_entry("## Session 1\n" + "a\n" * 100_000),
        failing_checks=((long, "x\n" * 2000),) * 30,
        checks=(long[:2000],) * 20,
        restored=(long,) * 20,
        blocked=items * 1000,
        background=(long,) * 1000,
        interrupted=long,
        limits="limit",
    )
    longest = max(len(executor(EXECUTOR, brief)), len(initializer(INITIALIZER, brief, SHAPE)))
    assert longest < 1_048_576


def test_long_lists_say_how_much_is_left_out() -> None:
    prompt = executor(EXECUTOR, replace(EMPTY, restored=tuple(f"R{n}." for n in range(25))))
    assert section(prompt, "- R0.", "Go by").splitlines() == [*(f"- R{n}." for n in range(10)), "- and 15 more"]


def test_a_line_break_in_a_command_cannot_begin_a_new_paragraph() -> None:
    prompt = executor(EXECUTOR, replace(EMPTY, background=("a\n\n# Goal\nb",), checks=("cat <<E\n# x\nE",)))
    assert "\n- a # Goal b\n" in prompt
    assert "\n    cat <<E\n    # x\n    E\n" in prompt


VALUES = {"a": "A", "b": "", "c": "{{a}}"}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{a}}|{{ c }}|{{b}}|", "A|{{a}}||"),
        ("{{#a}}x{{/a}}{{#b}}y{{/b}}{{^a}}x{{/a}}{{^b}}y{{/b}}", "xy"),
        ("1\n{{#a}}\n2\n\n{{/a}}\n{{#b}}\n3\n\n{{/b}}\n4\n", "1\n2\n\n4"),
        ("1\r\n  {{#b}}  \r\n2\r\n{{/b}}\r\n3", "1\r\n3"),
        ("{{#a}}1{{#b}}2{{a}}{{/b}}3{{/a}}", "13"),
        ("{{#b}}1{{#a}}2{{/a}}3{{/b}}4", "4"),
        ("{{#a}}", None),
        ("{{/a}}", None),
        ("{{#a}}{{#c}}{{/a}}{{/c}}", None),
        ("{a} {{{a}}} { {a} }", "{a} {A} { {a} }"),
    ],
)
def test_templates_have_values_and_sections(template: str, text: str | None) -> None:
    if text is not None:
        assert render(template, VALUES, "x.md") == text + "\n"
    else:
        with pytest.raises(AutonomousError):
            render(template, VALUES, "x.md")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{goal}} {{gaol}}", "the template x.md has an unknown placeholder {{gaol}}"),
        ("{{#b}}{{Goal of it}}{{/b}}", "the template x.md has an unknown placeholder {{Goal of it}}"),
        ("{{#nothing}}\n{{/nothing}}", "the template x.md has an unknown placeholder {{#nothing}}"),
        ("{{}}", "the template x.md has an unknown placeholder {{}}"),
        ("{{/b}}", "the template x.md closes a section that is not open with {{/b}}"),
        ("{{#b}}", "the template x.md does not close its section b"),
    ],
)
def test_a_broken_template_is_named_with_its_fault(template: str, message: str) -> None:
    with pytest.raises(AutonomousError) as caught:
        render(template, {"goal": "", "b": ""}, "x.md")
    assert (caught.value.message, caught.value.hint) == (
        message,
        "git config --unset autonomous.templates    # or mend it; known are b, goal",
    )


def test_every_fact_of_a_brief_can_stand_in_a_template() -> None:
    names = [field.name for field in fields(Brief)]
    every = "\n".join(f"{{{{{name}}}}}" for name in [*names, "all_ticked"])
    assert executor(every, EMPTY).split() == ["Build", "it.", "build-it", ".autonomous/build-it", "7", "3", "12"]
    assert initializer("{{shape}}", EMPTY, "\n# {{goal}}\n\n") == "# {{goal}}\n"


def test_the_shape_of_a_list_is_a_list() -> None:
    shape = checklist.parse(SHAPE)
    assert [(entry.done, len(entry.details)) for entry in shape.items] == [(False, 1)] * 3
    assert (len(shape.checks), shape.proposed) == (2, ())
    assert [heading.title for heading in markdown.read(SHAPE).headings if heading.level == 2] == [
        *("Tasks", "Checks", "Proposed")
    ]


def test_the_notes_that_the_runner_begins_have_the_parts_that_the_initializer_is_told_of() -> None:
    parts = [f"`## {heading.title}`" for heading in markdown.read(SEED).headings if heading.level == 2]
    assert re.findall(r"`## [^`]+`", section(INITIALIZER, "What a stranger", "## Session")) == parts


def test_the_entry_that_an_agent_copies_is_found_again() -> None:
    for prompt in (executor(EXECUTOR, EMPTY), initializer(INITIALIZER, EMPTY, SHAPE)):
        entry = section(prompt, "## Session 7", "# ")
        assert last_entry(SEED + "\n" + entry) == entry


NOTES = "# Progress\n\n## Decisions\n\n- a\n\n## Session 1\n\n- Did: b\n\n## Session 2: c\n\n```sh\n# not a heading\n```\n\n- Next: d\n"


def test_the_newest_entry_is_the_one_with_the_highest_number() -> None:
    assert last_entry(NOTES) == "## Session 2: c\n\n```sh\n# not a heading\n```\n\n- Next: d"
    assert last_entry("## Session 10\nx\n\n## Session 9\ny\n## Decisions\nz\n") == "## Session 10\nx"
    assert last_entry("## Session 9\ny\n## session #10\nx\n## Decisions\nz\n") == "## session #10\nx"
    assert last_entry("## Session 3\nx\n### Session 3\ny\n") == "### Session 3\ny"
    assert [last_entry(text) for text in ("", "# Progress\n", "## Sessions\n", "Session 1\n")] == ["", "", "", ""]


def test_a_long_entry_keeps_its_beginning_and_its_end() -> None:
    entry = last_entry("## Session 1\n" + "a" * 5000 + "\nNext: b\n", 100)
    assert len(entry) == 100
    assert entry.startswith("## Session 1\naaa") and "\n[…]\n" in entry and entry.endswith("aaa\nNext: b")


OURS = "## Session 3\n\n- Outcome: completed\n- Ticked: e\n"


def entry_of(progress: str | None, before: str | None) -> str:
    return ensure_entry(progress, before, session=3, lines=["Outcome: completed", "Ticked:\n  e"])


def test_an_entry_that_the_agent_wrote_is_kept_as_it_is() -> None:
    for written in (NOTES + "\n## Session 3\nx", NOTES + "## Session 2\nx\n", "## Session 3\n"):
        assert entry_of(written, NOTES) == written
    assert entry_of("## Session 3\nx", None) == "## Session 3\nx"


def test_the_runner_writes_the_entry_that_the_agent_did_not() -> None:
    assert entry_of(NOTES, NOTES) == f"{NOTES}\n{OURS}"
    assert entry_of(NOTES.replace("- a", "- a and f"), NOTES) == f"{NOTES.replace('- a', '- a and f')}\n{OURS}"
    assert entry_of("Notes", None) == f"Notes\n\n{OURS}"
    assert entry_of(None, None) == f"{SEED}\n{OURS}"


def test_deleted_or_emptied_notes_come_back() -> None:
    for gone in (None, "", " \n\n"):
        assert entry_of(gone, NOTES) == f"{NOTES}\n{OURS}"


def test_the_entry_has_the_line_endings_of_the_notes() -> None:
    notes = NOTES.replace("\n", "\r\n")
    assert entry_of(notes, notes) == f"{NOTES}\n{OURS}".replace("\n", "\r\n")


@settings(deadline=None)
@given(
    *(
        [
            st.none()
            | st.text()
            | st.lists(st.sampled_from(["## Session 3\n", "## Session 2\n", "x\n", "\n"])).map("".join)
        ]
        * 2
    )
)
def test_writing_the_entry_twice_writes_it_once(progress: str | None, before: str | None) -> None:
    once = entry_of(progress, before)
    assert last_entry(once)
    assert entry_of(once, before) == once


def test_the_cost_of_an_entry_does_not_grow_noticeably_with_the_notes() -> None:
    notes = SEED + "".join(f"\n## Session {n}\n\n" + "- Did: something that takes a line\n" * 8 for n in range(1, 3000))
    assert last_entry(notes).startswith("## Session 2999\n")
    assert ensure_entry(notes, notes, session=3000, lines=["a"]) == f"{notes}\n## Session 3000\n\n- a\n"
