"""show.py: foreign text is made harmless, and what people read fits the terminal."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import unicodedata
from collections.abc import Mapping
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitautonomous import show, states

NOW = 1_800_000_000
NASTY = [
    "\x1b[31m",
    "\x1b[",
    "\x1b",
    "[31m",
    "\x1b]0;title\x07",
    "\x1b]8;;http://x\x1b\\",
    "\x1bP",
    "\x9b31m",
    "\x9d",
    "\r\n",
    "\r",
    "\n",
    "\t",
    "\x0b",
    "\x0c",
    "\x1c",
    "\x85",
    "\u2028",
    "\u2029",
    "\u202e",
    "\u2066",
    "\u200f",
    "\u061c",
    "\u200b",
    "\u200d",
    "\ufeff",
    "\u00ad",
    "\ufe0f",
    "\U000e0041",
    "\udcff",
    "\ud83d",
    "\x7f",
    "\x00",
    "\u00a0",
    "\u3000",
    "é",
    "漢",
    "e\u0301",
    "[bold]",
    "a",
    " ",
]
ANY_CHARACTER = st.characters(exclude_categories=())
FOREIGN = st.lists(st.one_of(st.sampled_from(NASTY), st.text(ANY_CHARACTER, max_size=5))).map("".join)


def task(**values: object) -> dict[str, object]:
    """A task as `list --json` gives it."""
    usual: dict[str, object] = {
        "name": "add-login",
        "branch": "autonomous/add-login",
        "base": "main",
        "worktree": "/work/shop.autonomous/add-login",
        "state": states.PAUSED,
        "reason": "",
        "done": 5,
        "total": 12,
        "sessions": 6,
        "check": "passed",
        "thread": "01a20a3b-356e-76e1-b2fb-b59965bd8342",
        "tokens": 310_400,
        "updated": NOW - 3 * 60,
        "conflicts": [],
    }
    return usual | values


TASKS = [
    task(),
    task(
        name="fix-the-parser-of-nested-quotes",
        state=states.STALLED,
        reason="three sessions without a tick",
        check="failed",
        tokens=1_234_567,
        sessions=14,
        updated=NOW - 5 * 3600,
    ),
    task(name="docs", state=states.FINISHED, done=3, total=3, sessions=3, tokens=950, conflicts=["main", "add-login"]),
    task(name="new", state=states.NEW, done=0, total=0, sessions=0, check="none", tokens=0, updated=NOW - 5),
]


def listing(width: int | None, *, colour: bool = False, ascii: bool = False) -> str:
    return "\n" + show.list_table(TASKS, width=width, colour=colour, ascii=ascii, now=NOW)


# Cleaning


@pytest.mark.parametrize(
    ("foreign", "expected"),
    [
        ("plain text, é漢🙂", "plain text, é漢🙂"),
        ("\x1b[1;31mred\x1b[0m and \x1b[2Kline", "red and line"),
        ("a\x1b]0;owned\x07b", "a␛]0;owned␇b"),
        ("link \x1b]8;;http://evil\x1b\\text", "link ␛]8;;http://evil␛\\text"),
        ("\x1bPq payload", "␛Pq payload"),
        ("\x1b\x1b[0m[31mx", "␛[31mx"),
        ("cut off \x1b[12;", "cut off ␛[12;"),
        ("\x9b31mC1", "�31mC1"),
        ("user\u202egnp.exe", "user�gnp.exe"),
        ("\u2066isolated\u2069", "�isolated�"),
        ("zero\u200bwidth soft\u00adhyphen \ufefffamily👨\u200d👧", "zerowidth softhyphen family👨👧"),
        ("tag\U000e0041", "tag�"),
        ("lone \udcff surrogate", "lone � surrogate"),
        ("bell\x07 null\x00 delete\x7f", "bell␇ null␀ delete␡"),
        ("no\u00a0break and\u3000wide space", "no break and wide space"),
        ("1\n2\r\n3\r4\x0b5\x0c6\x857\u20288\u20299\t10", "1 2 3 4 5 6 7 8 9 10"),
        ("[bold]markup[/bold]", "[bold]markup[/bold]"),
        ("ends\n", "ends "),
        ("", ""),
    ],
)
def test_foreign_text_is_made_harmless(foreign: str, expected: str) -> None:
    assert show.clean(foreign) == expected


def test_line_breaks_of_every_kind_and_tabs_can_be_kept() -> None:
    foreign = "1\n2\r\n3\r4\u2028\n\tindented\x1b[0m\x07\n"
    assert show.clean(foreign, keep_newlines=True) == "1\n2\n3\n4\n\n\tindented␇\n"


@given(FOREIGN)
def test_nothing_forbidden_is_left_after_cleaning(foreign: str) -> None:
    cleaned = show.clean(foreign)
    assert {unicodedata.category(char) for char in cleaned}.isdisjoint({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
    assert cleaned.isprintable()
    cleaned.encode("utf-8")


@given(FOREIGN)
def test_nothing_forbidden_but_newlines_and_tabs_is_left_when_they_are_kept(foreign: str) -> None:
    cleaned = show.clean(foreign, keep_newlines=True)
    assert cleaned.replace("\n", "").replace("\t", "").isprintable()
    assert cleaned.split("\n") == (cleaned + ".").splitlines()[:-1] + [(cleaned + ".").splitlines()[-1][:-1]]


@given(FOREIGN, st.booleans())
def test_cleaning_twice_changes_nothing_more(foreign: str, keep_newlines: bool) -> None:
    once = show.clean(foreign, keep_newlines=keep_newlines)
    assert show.clean(once, keep_newlines=keep_newlines) == once


@given(st.text(st.characters(categories=["L", "M", "N", "P", "S"])))
def test_what_people_write_is_left_as_it_is(text: str) -> None:
    assert show.clean(text) == text


def test_one_line_has_no_runs_of_spaces() -> None:
    assert show.one_line("  a\n\n  b\t\tc\u00a0\x1b[0m d ") == "a b c d"


# Measuring, cutting, wrapping


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("abc", 3),
        ("é", 1),
        ("e\u0301", 1),
        ("漢字", 4),
        ("🙂", 2),
        ("█░…–", 4),
        ("⚠\ufe0f", 2),
        ("🙂\ufe0f", 2),
    ],
)
def test_text_is_measured_in_terminal_columns(text: str, expected: int) -> None:
    assert show.measure(text) == expected


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "abcd…"),
        ("abcdef", 1, "…"),
        ("漢字漢字", 8, "漢字漢字"),
        ("漢字漢字", 7, "漢字漢…"),
        ("漢字漢字", 6, "漢字…"),
        ("e\u0301e\u0301e\u0301", 3, "e\u0301e\u0301e\u0301"),
        ("e\u0301e\u0301e\u0301", 2, "e\u0301…"),
    ],
)
def test_long_text_is_cut_with_an_ellipsis(text: str, columns: int, expected: str) -> None:
    assert show.cut(text, columns) == expected


def test_the_ellipsis_is_ascii_where_only_ascii_can_be_shown() -> None:
    assert show.cut("abcdef", 5, ascii=True) == "abc.."


@given(st.text().map(show.clean), st.integers(1, 20))
def test_cut_text_fits(text: str, columns: int) -> None:
    assert show.measure(show.cut(text, columns)) <= columns


def test_a_million_combining_marks_do_not_pass_a_cut() -> None:
    assert len(show.cut("e" + "\u0301" * 1_000_000, 10)) <= 81


def test_text_is_wrapped_at_spaces_and_long_words_stay_whole() -> None:
    assert show.wrap("one two 漢字 antidisestablishmentarianism x", 8) == [
        "one two",
        "漢字",
        "antidisestablishmentarianism",
        "x",
    ]
    assert show.wrap("one two", None) == ["one two"]
    assert show.wrap("", 8) == [""]


# Numbers


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-1, "0 s"),
        (0.9, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7530, "2 h 5 min"),
        (86_400, "1 d"),
        (273_700, "3 d 4 h"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float, expected: str) -> None:
    assert show.duration(seconds) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-100, "now"),
        (59, "now"),
        (60, "1 min ago"),
        (3599, "59 min ago"),
        (3600, "1 h ago"),
        (47 * 3600, "47 h ago"),
        (48 * 3600, "2 d ago"),
        (60 * 86_400, "2 months ago"),
        (730 * 86_400, "2 years ago"),
    ],
)
def test_ages_have_one_unit(seconds: float, expected: str) -> None:
    assert show.ago(NOW - seconds, NOW) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0k"),
        (12_345, "12.3k"),
        (99_949, "99.9k"),
        (99_950, "100k"),
        (999_499, "999k"),
        (999_500, "1.0M"),
        (1_234_567, "1.2M"),
        (10**15, "1.0P"),
    ],
)
def test_counts_are_short(number: int, expected: str) -> None:
    assert show.count(number) == expected


@pytest.mark.parametrize(
    ("done", "total", "expected"),
    [(0, 0, "░░░░"), (0, 9, "░░░░"), (1, 900, "█░░░"), (899, 900, "███░"), (900, 900, "████")],
)
def test_a_bar_is_full_only_when_all_is_done_and_empty_only_when_nothing_is(
    done: int, total: int, expected: str
) -> None:
    assert show.bar(done, total, 4) == expected


# What the stream can show


class Stream(io.TextIOWrapper):
    """A text stream that says whether it is a terminal."""

    def __init__(self, encoding: str = "utf-8", *, tty: bool = False) -> None:
        super().__init__(io.BytesIO(), encoding=encoding)
        self.tty = tty

    def isatty(self) -> bool:
        return self.tty


@pytest.mark.parametrize(
    ("environ", "setting", "tty", "expected"),
    [
        ({"TERM": "xterm"}, "auto", True, True),
        ({"TERM": "xterm"}, "true", True, True),
        ({"TERM": "xterm"}, "auto", False, False),
        ({"TERM": "xterm"}, "never", True, False),
        ({"TERM": "xterm"}, "False", True, False),
        ({"TERM": "xterm"}, "always", False, True),
        ({"TERM": "dumb"}, "auto", True, False),
        ({}, "auto", True, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, "always", True, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, "auto", True, True),
        ({"TERM": "xterm", "NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, "auto", True, False),
        ({"CLICOLOR_FORCE": "1"}, "auto", False, True),
        ({"CLICOLOR_FORCE": "1"}, "never", False, True),
        ({"CLICOLOR_FORCE": "0"}, "auto", False, False),
    ],
)
def test_colour_is_decided_by_environment_then_setting_then_stream(
    environ: Mapping[str, str], setting: str, tty: bool, expected: bool
) -> None:
    assert show.colour(Stream(tty=tty), environ, setting) is expected


@pytest.mark.parametrize(("encoding", "expected"), [("utf-8", True), ("ascii", False), ("latin-1", False)])
def test_signs_are_used_only_where_the_encoding_has_them(encoding: str, expected: bool) -> None:
    assert show.unicode(Stream(encoding)) is expected


def test_a_stream_without_an_encoding_gets_ascii() -> None:
    assert show.unicode(io.StringIO()) is False


def test_output_is_fitted_to_columns_or_to_the_terminal_and_else_has_no_limit() -> None:
    leader, follower = os.openpty()
    with os.fdopen(leader, "wb"), os.fdopen(follower, "w") as terminal:
        import fcntl
        import struct
        import termios

        fcntl.ioctl(terminal.fileno(), termios.TIOCSWINSZ, struct.pack("HHHH", 24, 132, 0, 0))
        assert show.columns(terminal, {}) == 132
        assert show.columns(terminal, {"COLUMNS": "50"}) == 50
        assert show.columns(terminal, {"COLUMNS": "wide"}) == 132
    assert show.columns(io.StringIO(), {}) is None


def test_text_for_an_ascii_stream_keeps_a_likeness_of_our_signs() -> None:
    assert show.to_ascii("██░ “done” – café … 漢 → ok") == '##- "done" - caf? ... ? -> ok'


# The list


def test_the_list_without_a_limit_shows_everything() -> None:
    assert listing(None) == dedent("""
        task                             state                 done  sessions  check   tokens  updated    note
        add-login                        paused    ████░░░░░░  5/12         6  passed    310k  3 min ago
        fix-the-parser-of-nested-quotes  stalled   ████░░░░░░  5/12        14  failed    1.2M  5 h ago    three sessions without a tick
        docs                             finished  ██████████   3/3         3  passed     950  3 min ago  conflicts with main, add-login
        new                              new                                   none            now
        """)


def test_the_list_at_100_columns_leaves_out_tokens_and_sessions_first_and_cuts_the_note() -> None:
    assert listing(100) == dedent("""
        task                             state                 done  check   updated    note
        add-login                        paused    ████░░░░░░  5/12  passed  3 min ago
        fix-the-parser-of-nested-quotes  stalled   ████░░░░░░  5/12  failed  5 h ago    three sessions with…
        docs                             finished  ██████████   3/3  passed  3 min ago  conflicts with main…
        new                              new                         none    now
        """)


def test_the_list_at_80_columns() -> None:
    assert listing(80) == dedent("""
        task                             state     done  check   updated    note
        add-login                        paused    5/12  passed  3 min ago
        fix-the-parser-of-nested-quotes  stalled   5/12  failed  5 h ago    three sessi…
        docs                             finished   3/3  passed  3 min ago  conflicts w…
        new                              new             none    now
        """)


def test_the_list_at_40_columns_never_cuts_a_name() -> None:
    assert listing(40) == dedent("""
        task                      state     done
        add-login                 paused    5/12
        fix-the-parser-of-nested-quotes
                                  stalled   5/12
        docs                      finished   3/3
        new                       new
        """)


def test_the_list_in_ascii() -> None:
    assert "\n" + show.list_table([task(name="caf\u00e9")], width=80, ascii=True, now=NOW) == dedent("""
        task  state               done  sessions  check   tokens  updated
        caf?  paused  ####------  5/12         6  passed    310k  3 min ago
        """)


def test_the_list_in_colour_is_the_same_text_with_colours() -> None:
    coloured = listing(100, colour=True)
    assert show.clean(coloured, keep_newlines=True).replace(" ", "") == listing(100).replace(" ", "")
    row = show.list_table([task(check="failed")], width=None, colour=True, now=NOW).splitlines()[1]
    assert row == "add-login  paused  ████░░░░░░  5/12         6  \x1b[31mfailed\x1b[m    310k  3 min ago"
    row = show.list_table([task(state="running", total=0)], width=None, colour=True, now=NOW).splitlines()[1]
    assert row == "add-login  \x1b[36mrunning\x1b[m         6  \x1b[32mpassed\x1b[m    310k  3 min ago"


def test_a_hostile_task_cannot_break_the_list() -> None:
    hostile = task(name="x\x1b]0;t\x07\ny", reason="a\u202eb\nc\x1b[2J", tokens=0, total=0)
    assert "\n" + show.list_table([hostile], width=None, now=NOW) == dedent("""
        task       state   sessions  check   updated    note
        x␛]0;t␇ y  paused         6  passed  3 min ago  a�b c
        """)


def test_wide_names_keep_the_columns_straight() -> None:
    tasks = [task(name="ログイン", total=0), task(name="cafe\u0301", total=0)]
    assert "\n" + show.list_table(tasks, width=None, now=NOW) == dedent("""
        task      state   sessions  check   tokens  updated
        ログイン  paused         6  passed    310k  3 min ago
        cafe\u0301      paused         6  passed    310k  3 min ago
        """)


def test_a_sign_that_changes_the_character_before_it_changes_no_blank() -> None:
    assert (show.measure("\u2764\ufe0f"), show.measure("\ufe0f"), show.measure(" \ufe0f")) == (2, 0, 1)


def test_where_there_is_no_room_a_table_is_cut_as_far_as_it_goes() -> None:
    text = show.table(("session", "what"), [("1", "a long sentence " * 20)], width=15, flexible=(1,))
    assert text == "session  what\n1        a long sent…\n"


def test_no_tasks_are_no_table() -> None:
    assert show.list_table([], width=80, now=NOW) == ""


@given(st.lists(st.tuples(FOREIGN, FOREIGN, FOREIGN), min_size=1), st.integers(20, 100), st.booleans())
def test_a_table_fits_whatever_is_in_it(rows: list[tuple[str, str, str]], width: int, ascii: bool) -> None:
    text = show.table(("k", "flexible", "x"), rows, width=width, ascii=ascii, flexible=(1,), droppable=(2, 1))
    keys = {show.to_ascii(show.one_line(row[0])) if ascii else show.one_line(row[0]) for row in rows}
    for line in text.splitlines():
        assert line.isprintable() and (show.measure(line) <= width or line.rstrip() in keys)


# One task


SESSIONS: list[Mapping[str, object]] = [
    {
        "number": 1,
        "role": "initializer",
        "outcome": "completed",
        "ticked": [],
        "check": "none",
        "tokens": 12_345,
        "seconds": 75,
    },
    {
        "number": 2,
        "role": "executor",
        "outcome": "timed-out",
        "ticked": ["Write the form", "Store the password hashed, with a salt"],
        "check": "failed",
        "tokens": 298_055,
        "seconds": 7500,
    },
]
ITEMS: list[Mapping[str, object]] = [
    {"text": "Sketch", "done": True, "note": None, "phase": None, "depth": 0},
    {"text": "Write the form", "done": True, "note": None, "phase": "Foundation", "depth": 0},
    {"text": "Hash\x1b[31m", "done": False, "note": "blocked: no docker", "phase": "Foundation", "depth": 1},
    {"text": "Log people out after an hour of doing nothing", "done": False, "note": None, "phase": "Core", "depth": 0},
]


def test_the_status_of_a_task_in_full() -> None:
    shown = task(goal="Add a login\npage", state="stalled", reason="three sessions without a tick", conflicts=["main"])
    assert "\n" + show.status_text(shown, SESSIONS, ITEMS, width=None, now=NOW) == dedent("""
        task       add-login
        goal       Add a login page
        state      stalled: three sessions without a tick
        next       git autonomous resume add-login
        branch     autonomous/add-login, from main
        worktree   /work/shop.autonomous/add-login
        done       ████████░░░░░░░░░░░░ 5/12
        check      passed
        conflicts  main
        tokens     310k
        time       2 h 6 min
        thread     01a20a3b-356e-76e1-b2fb-b59965bd8342
        updated    3 min ago

          [x] Sketch

        Foundation
          [x] Write the form
            [ ] Hash (blocked: no docker)

        Core
          [ ] Log people out after an hour of doing nothing

        session  role         outcome    check   tokens        time  ticked
              1  initializer  completed  none     12.3k  1 min 15 s
              2  executor     timed-out  failed    298k   2 h 5 min  Write the form; Store the password hashed, with a salt
        """)


def test_the_status_of_a_task_at_40_columns_in_ascii() -> None:
    shown = task(goal="Add a login page that people can use – quickly")
    assert "\n" + show.status_text(shown, SESSIONS, ITEMS, width=40, ascii=True, now=NOW) == dedent("""
        task       add-login
        goal       Add a login page that people
                   can use - quickly
        state      paused
        next       git autonomous resume add-login
        branch     autonomous/add-login, from
                   main
        worktree   /work/shop.autonomous/add-login
        done       ########------------ 5/12
        check      passed
        tokens     310k
        time       2 h 6 min
        thread     01a20a3b-356e-76e1-b2fb-b59965bd8342
        updated    3 min ago

          [x] Sketch

        Foundation
          [x] Write the form
            [ ] Hash (blocked: no docker)

        Core
          [ ] Log people out after an hour of
              doing nothing

        session  outcome    ticked
              1  completed
              2  timed-out  Write the form; St..
        """)


def test_the_status_of_a_new_task_has_no_empty_sections() -> None:
    shown = task(state="new", done=0, total=0, tokens=0, updated=None, thread=None, check="none", goal="Try")
    assert "\n" + show.status_text(shown, [], [], width=80, now=NOW) == dedent("""
        task       add-login
        goal       Try
        state      new
        next       git autonomous resume add-login
        branch     autonomous/add-login, from main
        worktree   /work/shop.autonomous/add-login
        check      none
        """)


def test_the_status_in_colour_is_the_same_text_with_colours() -> None:
    def status(colour: bool) -> str:
        return show.status_text(task(state="stalled"), SESSIONS, ITEMS, width=80, colour=colour, now=NOW)

    coloured = show.clean(status(True), keep_newlines=True)
    assert "\n".join(line.rstrip() for line in coloured.split("\n")) == status(False)
    assert "\x1b[2mstate    \x1b[m  \x1b[33mstalled\x1b[m\n" in status(True)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("broken", "git autonomous doctor --repair"),
        ("running", "git autonomous attach x"),
        ("waiting", "git autonomous attach x"),
        ("merged", "git autonomous remove x"),
        ("finished", "git autonomous merge x"),
        ("failing", "git autonomous resume x"),
        ("blocked", "git autonomous review x"),
        ("stalled", "git autonomous resume x"),
        ("failed", "git autonomous resume x"),
        ("new", "git autonomous resume x"),
        ("paused", "git autonomous resume x"),
    ],
)
def test_each_state_has_its_next_command(state: str, expected: str) -> None:
    assert show.next_command("x", state) == expected
    against_base = {"name": "x", "state": state, "base": "main", "conflicts": ["a", "main (f, g)"]}
    resolve = "git autonomous merge --resolve x"
    assert show.next_for(against_base) == (resolve if state == "finished" else expected)
    assert show.next_for(against_base | {"conflicts": ["other (main)"]}) == expected


def test_an_error_ends_its_lines_between_words_and_its_command_stays_whole() -> None:
    message, hint = (
        "'todo' is not finished: 1 of 2 items are done",
        "git autonomous resume todo    # or, as it is: git merge",
    )
    plain = f"error: {message}\nhint: git autonomous resume todo # or, as it is: git merge"
    assert show.problem(message, hint, None) == show.problem(message, hint, 80) == plain
    assert show.problem(message, hint, 30).splitlines() == [
        "error: 'todo' is not finished:",
        "1 of 2 items are done",
        "hint: git autonomous resume todo",
        "      # or, as it is: git merge",
    ]
    assert show.problem("bad\nword", None, 80) == "error: bad word"


def test_the_next_command_is_safe_to_paste_for_any_branch_that_someone_pushed() -> None:
    assert show.next_command("x;rm${IFS}-r'$(id)", "new") == "git autonomous resume 'x;rm${IFS}-r'\\''$(id)'"


# Speed


def test_the_module_imports_nothing_that_slows_down_the_start() -> None:
    slow = ["dataclasses", "typing", "re", "json", "subprocess", "rich", "textwrap", "shutil", "unicodedata"]
    script = f"import sys; import gitautonomous.show; print([name for name in {slow!r} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout == "[]\n"
