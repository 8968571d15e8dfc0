"""screen.py: the live screen on a real terminal (a pty, 80 and 40 columns, resized), and its plain lines elsewhere."""

from __future__ import annotations

import fcntl
import io
import os
import re
import struct
import subprocess
import sys
import termios
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import dedent

import pytest

from gitautonomous.events import (
    Command,
    FileChange,
    Plan,
    Said,
    Search,
    Thought,
    ThreadStarted,
    ToolCall,
    Trouble,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
    Warned,
)
from gitautonomous.screen import Screen


class Clock:
    """A clock that is set by hand."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class PlainStream(io.TextIOWrapper):
    """A log file in memory."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding=encoding)

    def text(self) -> str:
        self.flush()
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode(self.encoding)


def a_whole_session(screen: Screen, clock: Clock) -> None:
    """Every kind of event once, with foreign text that would like to be obeyed."""
    screen.note("task shop: branch autonomous/shop, worktree /work/shop.autonomous/shop")
    screen.session(3, "executor", "Write the [b]form[/b]\x1b[2J", 5, 12, tokens=310_400, root="/work/shop")
    screen.event(ThreadStarted("01a20a56"))
    screen.event(TurnStarted())
    screen.event(Thought("hm"))
    screen.event(Said("I look at the\n\n[red]tests[/red] first\x1b]0;owned\x07."))
    screen.event(Command("1", "started", "pytest -q", "", None, "in_progress"))
    screen.event(Command("2", "started", "ls\n-l", "", None, "in_progress"))
    clock.seconds += 12
    screen.tick()
    screen.event(Command("2", "completed", "ls\n-l", "a\nb\n", 0, "completed"))
    screen.event(Command("1", "completed", "pytest -q", "E\n", 1, "failed"))
    screen.event(Command("3", "completed", "rm -rf /", "", None, "declined"))
    screen.event(FileChange("4", "started", (("/work/shop/form.py", "add"),), "in_progress"))
    screen.event(FileChange("4", "completed", (("/work/shop/form.py", "add"), ("/etc/\u202ex", "update")), "completed"))
    screen.event(FileChange("5", "completed", (("/work/shop/a", "delete"),), "failed"))
    screen.event(ToolCall("6", "started", "docs.find", "in_progress", ""))
    screen.event(ToolCall("6", "completed", "docs.find", "failed", "no such page"))
    screen.event(ToolCall("7", "completed", "docs.find", "completed", ""))
    screen.event(Search("8", "started", ""))
    screen.event(Search("8", "completed", "wtforms csrf"))
    screen.event(Plan("updated", (("a plan", False),)))
    screen.event(Warned("a setting is ignored"))
    screen.event(Trouble("Reconnecting... 1/5"))
    screen.event(Trouble("Reconnecting... 1/5"))
    screen.event(Trouble("Reconnecting... waiting for network"))
    screen.event(TurnFailed("stream disconnected"))
    screen.event(TurnCompleted(None))
    screen.note("running the checks")
    screen.closed("session 3 failed · 6/12 items · commit 0123456789")
    for left in (2.9, 1.9, 0.9):
        screen.countdown(left, "next session")
    screen.session(4, "executor", "", 0, 0)
    screen.closed("attempt at session 4 ended before the agent did anything: usage limit")
    screen.countdown(7500, "usage limit: try again at 5:08 PM")
    screen.countdown(7499, "usage limit: try again at 5:08 PM")


PLAIN = """
    task shop: branch autonomous/shop, worktree /work/shop.autonomous/shop
    session 3 (executor), 5/12 items: Write the [b]form[/b]
    • I look at the [red]tests[/red] first␛]0;owned␇.
    $ pytest -q
    $ ls -l
    ✓ ls -l – 12 s
    ✗ pytest -q – exit 1 – 12 s
    ✗ rm -rf / – declined
    ✓ added form.py
    ✓ changed /etc/�x
    ✗ could not change a
    ✗ called docs.find – no such page
    ✓ called docs.find
    • searched: wtforms csrf
    ! a setting is ignored
    ! Reconnecting... 1/5
    ! Reconnecting... waiting for network
    ✗ stream disconnected
    running the checks
    session 3 failed · 6/12 items · commit 0123456789
    next session in 3 s – Ctrl-C stops
    session 4 (executor)
    attempt at session 4 ended before the agent did anything: usage limit
    usage limit: try again at 5:08 PM
    next session in 2 h 5 min – Ctrl-C stops
    """


def test_a_log_file_gets_a_plain_line_for_each_fact_and_none_for_progress() -> None:
    stream, clock = PlainStream(), Clock()
    with Screen(stream, environ={"TERM": "xterm"}, clock=clock) as screen:
        a_whole_session(screen, clock)
    assert "\n" + stream.text() == dedent(PLAIN)


def test_a_stream_that_cannot_show_our_signs_gets_ascii() -> None:
    stream, clock = PlainStream("ascii"), Clock()
    with Screen(stream, environ={"TERM": "xterm"}, clock=clock) as screen:
        a_whole_session(screen, clock)
    likeness = str.maketrans("•✓✗–·␛␇�", "*+x--???")
    assert "\n" + stream.text() == dedent(PLAIN).translate(likeness)


def test_long_lines_are_cut_but_for_what_came_of_a_command() -> None:
    stream = PlainStream()
    with Screen(stream, environ={}) as screen:
        screen.event(Said("漢" * 5000))
        screen.event(Command("1", "completed", "x" * 5000, "", 2, "failed"))
        screen.note("y" * 300)
    assert stream.text() == "• " + "漢" * 98 + "…\n" + "✗ " + "x" * 188 + "… – exit 2\n" + "y" * 300 + "\n"


def test_a_change_of_many_files_shows_the_first_twenty() -> None:
    stream = PlainStream()
    changes = tuple((f"/w/{number}", "add") for number in range(1000))
    with Screen(stream, environ={}) as screen:
        screen.event(FileChange("1", "completed", changes, "completed"))
    assert stream.text() == "".join(f"✓ added /w/{number}\n" for number in range(20)) + "✓ and 980 files more\n"


def test_colours_can_be_forced_where_there_is_no_terminal() -> None:
    stream = PlainStream()
    with Screen(stream, environ={"CLICOLOR_FORCE": "1"}) as screen:
        screen.session(1, "initializer", "", 0, 0)
        screen.event(Said("hello"))
        screen.event(Command("1", "completed", "true", "", 0, "completed"))
        screen.event(Command("2", "completed", "false", "", 1, "failed"))
    assert stream.text() == (
        "\x1b[1msession 1 (initializer)\x1b[m\n• hello\n\x1b[32m✓\x1b[m true\n\x1b[31m✗\x1b[m false – exit 1\n"
    )


def test_what_happens_at_once_is_one_write_at_the_next_tick() -> None:
    written: list[str] = []

    class Pipe(io.StringIO):
        def write(self, text: str) -> int:
            written.append(text)
            return len(text)

    with Screen(Pipe(), environ={}) as screen:
        screen.event(Command("1", "started", "make", "", None, ""))
        screen.event(Command("1", "completed", "make", "", 0, "completed"))
        assert written == []
        screen.tick()
        assert written == ["$ make\n+ make\n"]
        screen.event(Said("done"))
        screen.note("the checks run")
    assert written[1:] == ["* done\nthe checks run\n"]


def test_a_quiet_screen_shows_nothing() -> None:
    stream, clock = PlainStream(), Clock()
    with Screen(stream, quiet=True, environ={"TERM": "xterm"}, clock=clock) as screen:
        a_whole_session(screen, clock)
    assert stream.text() == ""


def test_a_stream_that_is_closed_does_not_stop_the_task() -> None:
    stream, clock = PlainStream(), Clock()
    with Screen(stream, environ={"TERM": "xterm"}, clock=clock) as screen:
        stream.close()
        a_whole_session(screen, clock)


# A real terminal


class Terminal:
    """What a terminal shows: the few sequences that the screen may use, and an error for any other.

    Narrowing breaks long lines into rows and widening joins them again, as most terminals do.
    """

    TOKEN = re.compile(r"\x1b\[(\??)(\d*)([A-Za-z])|[^\x1b]")

    def __init__(self, columns: int, height: int = 24) -> None:
        self.columns, self.height = columns, height
        self.rows: list[list[str]] = [[]]
        self.joined = [False]  # does the row go on in the next one?
        self.row = self.column = 0
        self.wrap = True

    def feed(self, text: str) -> None:
        position = 0
        while position < len(text):
            token = self.TOKEN.match(text, position)
            assert token, f"not for a terminal: {text[position : position + 20]!r}"
            position = token.end()
            if token[0].startswith("\x1b"):
                self.obey(token[1] + token[3], token[2])
            else:
                self.put(token[0])

    def obey(self, command: str, number: str) -> None:
        if command == "A":
            self.row = max(self.row - int(number), 0, len(self.rows) - self.height)
        elif command == "J":
            assert number == ""
            del self.rows[self.row + 1 :], self.joined[self.row + 1 :], self.rows[self.row][self.column :]
            self.joined[self.row] = False
        elif command in ("?l", "?h"):
            assert number == "7"
            self.wrap = command == "?h"
        else:
            assert command == "m", f"unexpected sequence {command}"

    def put(self, char: str) -> None:
        if char == "\r":
            self.column = 0
        elif char == "\n":
            self.row += 1
            if self.row == len(self.rows):
                self.rows.append([])
                self.joined.append(False)
        else:
            assert char.isprintable(), f"not for a terminal: {char!r}"
            cells = [char, ""] if unicodedata.east_asian_width(char) in "WF" else [char]
            if self.column + len(cells) > self.columns:
                if self.wrap:
                    self.joined[self.row] = True
                    self.put("\n")
                    self.column = 0
                else:
                    self.column = self.columns - len(cells)
            row = self.rows[self.row]
            row += [" "] * (self.column - len(row))
            row[self.column : self.column + len(cells)] = cells
            self.column += len(cells)

    def resize(self, columns: int) -> None:
        rows: list[list[str]] = []
        joined: list[bool] = []
        start: list[str] = []
        offset = 0  # of the cursor in its line
        place = (0, 0)
        for index, row in enumerate(self.rows):
            if index == self.row:
                offset = len(start) + self.column
            start += row
            if self.joined[index]:
                continue
            parts = [start[at : at + columns] for at in range(0, len(start), columns)] or [[]]
            if index >= self.row and offset >= 0:
                place = (len(rows) + min(offset // columns, len(parts) - 1), offset)
                place = (place[0], offset - (place[0] - len(rows)) * columns)
                offset = -1
            rows += parts
            joined += [True] * (len(parts) - 1) + [False]
            start = []
        self.columns, self.rows, self.joined, (self.row, self.column) = columns, rows, joined, place

    def text(self) -> str:
        return "\n" + "".join("".join(row).rstrip() + "\n" for row in self.rows)


CHILD = """
import os, sys
from gitautonomous.events import *
from gitautonomous.screen import Screen

class Clock:
    seconds = 0.0
    def __call__(self):
        return self.seconds

clock = Clock()
with Screen(sys.stderr, clock=clock, environ={"TERM": "xterm", "NO_COLOR": "1"}) as screen:
    for line in sys.stdin:
        exec(line)
        os.write(1, b"done\\n")
"""


class Child:
    """A process with a Screen on a real terminal; it does what it is told, a line of Python at a time."""

    def __init__(self, columns: int) -> None:
        self.leader, follower = os.openpty()
        self.terminal = Terminal(columns)
        self.follower = follower
        self.set_size(columns)
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=follower,
            text=True,
            bufsize=1,
        )

    def set_size(self, columns: int) -> None:
        fcntl.ioctl(self.follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        assert self.process.stdout.readline() == "done\n"

    def show(self) -> str:
        """What the terminal shows after all that was told so far."""
        self.receive()
        return self.terminal.text()

    def receive(self) -> None:
        # A mark of our own, written after the child's bytes, tells when all of them are here.
        os.write(self.follower, b"\0")
        data = b""
        while not data.endswith(b"\0"):
            data += os.read(self.leader, 65536)
        self.terminal.feed(data[:-1].decode())

    def resize(self, columns: int) -> None:
        self.receive()
        self.terminal.resize(columns)
        self.set_size(columns)

    def finish(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(20)


@contextmanager
def child(columns: int) -> Iterator[Child]:
    started = Child(columns)
    try:
        with started.process:
            try:
                yield started
            finally:
                started.process.kill()
    finally:
        os.close(started.follower)
        os.close(started.leader)


BEGINNING = (
    'screen.note("task shop: branch autonomous/shop, worktree /work/shop.autonomous/shop-with-a-long-name-that-wraps")',
    'screen.session(3, "executor", "Write the login form that people use", 5, 12, tokens=310_400, root="/w")',
    'screen.event(Said("I look at the tests first, and then at the form, 漢字 included: " + "word " * 40))',
    'screen.event(Command("1", "started", "pytest -q tests/test_the_login_form_of_the_shop.py", "", None, ""))',
    'screen.event(Command("2", "started", "make", "", None, ""))',
    "clock.seconds = 75; screen.tick()",
)


def test_the_screen_at_80_columns_has_the_live_area_below_the_facts() -> None:
    with child(80) as shown:
        for line in BEGINNING:
            shown.tell(line)
        assert shown.show() == dedent("""
            task shop: branch autonomous/shop, worktree
            /work/shop.autonomous/shop-with-a-long-name-that-wraps
            session 3 (executor), 5/12 items: Write the login form that people use
            • I look at the tests first, and then at the form, 漢字 included: word word wor…
            ── session 3 (executor), 310k tokens so far – 1 min 15 s ───────────────────────
            ████░░░░░░ 5/12 Write the login form that people use
            $ make – 1 min 15 s (and 1 more)
            """)
        shown.tell('screen.event(Command("2", "completed", "make", "", 2, "failed"))')
        shown.tell('screen.event(FileChange("3", "completed", (("/w/form.py", "update"),), "completed"))')
        shown.tell("clock.seconds = 80; screen.tick(); screen.tick()")
        assert shown.show() == dedent("""
            task shop: branch autonomous/shop, worktree
            /work/shop.autonomous/shop-with-a-long-name-that-wraps
            session 3 (executor), 5/12 items: Write the login form that people use
            • I look at the tests first, and then at the form, 漢字 included: word word wor…
            ✗ make – exit 2 – 1 min 15 s
            ✓ changed form.py
            ── session 3 (executor), 310k tokens so far – 1 min 20 s ───────────────────────
            ████░░░░░░ 5/12 Write the login form that people use
            $ pytest -q tests/test_the_login_form_of_the_shop.py – 1 min 20 s
            """)
        shown.tell('screen.closed("session 3 completed · 6/12 items · commit 0123456789")')
        shown.tell('screen.countdown(2.95, "next session")')
        shown.tell('screen.countdown(1.95, "next session")')
        assert shown.show().splitlines()[7:] == [
            "session 3 completed · 6/12 items · commit 0123456789",
            "next session in 2 s – Ctrl-C stops",
        ]
        assert shown.finish() == 0
        assert shown.show().splitlines()[7:] == ["session 3 completed · 6/12 items · commit 0123456789", ""]


def test_the_screen_at_40_columns() -> None:
    with child(40) as shown:
        for line in BEGINNING:
            shown.tell(line)
        assert shown.show() == dedent("""
            task shop: branch autonomous/shop,
            worktree
            /work/shop.autonomous/shop-with-a-long-n
            ame-that-wraps
            session 3 (executor), 5/12 items: Write
            the login form that people use
            • I look at the tests first, and then a…
            ── session 3 (executor), 310k tokens so…
            ████░░░░░░ 5/12 Write the login form th…
            $ make – 1 min 15 s (and 1 more)
            """)


def test_a_resized_terminal_keeps_no_remnants_and_loses_no_line() -> None:
    with child(80) as shown:
        for line in BEGINNING[1:]:
            shown.tell(line)
        for columns in (40, 61, 30, 80):
            shown.resize(columns)
            shown.tell("screen.tick()")
        assert shown.show() == dedent("""
            session 3 (executor), 5/12 items: Write the login form that people use
            • I look at the tests first, and then at the form, 漢字 included: word word wor…
            ── session 3 (executor), 310k tokens so far – 1 min 15 s ───────────────────────
            ████░░░░░░ 5/12 Write the login form that people use
            $ make – 1 min 15 s (and 1 more)
            """)
        shown.resize(40)
        shown.tell("screen.tick()")
        assert shown.show().splitlines()[-3:] == [
            "── session 3 (executor), 310k tokens so…",
            "████░░░░░░ 5/12 Write the login form th…",
            "$ make – 1 min 15 s (and 1 more)",
        ]


def test_an_exception_takes_the_live_area_away_and_leaves_the_terminal_as_it_was() -> None:
    with child(80) as shown:
        before = termios.tcgetattr(shown.follower)
        shown.tell(BEGINNING[1])
        shown.tell('screen.event(Said("hello"))')
        assert shown.process.stdin is not None
        shown.process.stdin.write("raise KeyboardInterrupt\n")
        assert shown.process.wait(20) != 0
        rows = shown.show().splitlines()
        assert rows[1:4] == [
            "session 3 (executor), 5/12 items: Write the login form that people use",
            "• hello",
            "Traceback (most recent call last):",
        ]
        assert rows[-2:] == ["KeyboardInterrupt", ""]
        assert shown.terminal.wrap
        assert termios.tcgetattr(shown.follower) == before


def test_a_terminal_that_goes_away_does_not_stop_the_task() -> None:
    with child(80) as shown:
        shown.tell(BEGINNING[1])
        os.close(shown.leader)
        shown.leader = os.open(os.devnull, os.O_RDONLY)
        for line in BEGINNING:
            shown.tell(line)
        assert shown.finish() == 0


def test_a_command_at_work_cannot_give_orders_to_the_terminal() -> None:
    with child(80) as shown:
        shown.tell('screen.session(1, "executor", "", 0, 0)')
        shown.tell(r'screen.event(Command("1", "started", "ls \x1b]0;owned\x07\n\x1b[2Jmore\u202e", "", None, ""))')
        shown.tell("screen.tick()")
        assert shown.show().splitlines()[-1] == "$ ls ␛]0;owned␇ more� – 0 s"


def test_a_pipe_that_nobody_reads_any_more_is_no_failure() -> None:
    program = (
        "import sys; from gitautonomous.screen import Screen\nwith Screen(sys.stderr) as screen:\n"
        "    sys.stdin.read(); screen.note('hello')"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stderr=pipe) as process:
        assert process.stdin is not None and process.stderr is not None
        process.stderr.close()
        process.stdin.close()
        assert process.wait(20) == 0


@pytest.mark.parametrize("columns", [1, 5, 12])
def test_a_tiny_terminal_is_no_reason_to_fail(columns: int) -> None:
    with child(columns) as shown:
        for line in BEGINNING:
            shown.tell(line)
        shown.show()
        assert shown.finish() == 0
