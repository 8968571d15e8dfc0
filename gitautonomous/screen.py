"""The live screen of a session: what the agent does now at the bottom, finished facts scrolling above.

On a terminal the last lines are a live area that is drawn again and again; all above it is ordinary output and stays in
the scrollback. Where the stream is no terminal, each fact is a plain line. The screen never stops a task: a stream that
can no longer be written to makes it silent. Foreign text is cleaned by show.py, and there is no markup in it to obey.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self, TextIO

from . import show
from .events import (
    Command,
    Event,
    FileChange,
    Said,
    Search,
    Thought,
    ToolCall,
    Trouble,
    TurnCompleted,
    TurnFailed,
    Warned,
)

PLAIN_COLUMNS = 200
"""What a line about the agent is cut to where there is no terminal; the transcript has it in full."""

_KEPT = 1000  # characters of a text that are looked at: more than any terminal's line
_MOST_FILES = 20  # of one change that are shown
_DELAY = "next session"
_SIGNS = {"$": "", "•": "", "✓": show.GREEN, "✗": show.RED, "!": show.YELLOW}  # before a fact, and in which colour
_GONE = (errno.EIO, errno.EPIPE)  # a terminal, a pipe that nobody reads


class LiveArea:
    """Lines at the bottom of a terminal that can be replaced, below lines that stay.

    The cursor rests at the end of the area's last line. The area is written with auto-wrap off, so that a line is one
    row even where terminal and Unicode disagree about a width.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: Sequence[str] = ()
        self._columns = 0

    def size(self) -> tuple[int, int]:
        """Columns and rows of the terminal now."""
        try:
            size = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            return 80, 24
        return size.columns or 80, size.lines or 24

    def draw(self, above: Sequence[str], lines: Sequence[str]) -> None:
        """Write `above`, which stays, and replace the area by `lines`, none wider than the terminal. Raises OSError."""
        columns, _ = self.size()
        if not above and lines == self._lines and columns == self._columns:
            return
        text = "".join([line + "\n" for line in above])
        if self._lines:
            # A terminal that has become narrower shows a line as several rows.
            rows = sum(max(1, -(-show.measure(show.clean(line)) // columns)) for line in self._lines)
            text = "\r" + (f"\x1b[{rows - 1}A" if rows > 1 else "") + "\x1b[J" + text
        if lines:
            text += "\x1b[?7l" + "\n".join(lines) + "\x1b[?7h"
        self._lines, self._columns = lines, columns
        self._stream.write(text)
        self._stream.flush()


class Screen:
    """What people see of a running task, on `stream`. A context manager: leaving it takes the live area away.

    `quiet`: nothing is shown. `colours`: git's color.ui. `clock`: seconds on a steady clock.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        quiet: bool = False,
        colours: str = "auto",
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._silent = quiet
        self._colour = show.colour(stream, environ, colours)
        self._ascii = not show.unicode(stream)
        self._area = LiveArea(stream) if show.terminal(stream, environ) else None
        self._clock = clock
        self._root = ""
        self._title = ""
        self._started = 0.0
        self._progress = ""
        self._action = ""
        self._running: dict[str, tuple[str, float]] = {}  # what runs, as it was told, and since when
        self._trouble = ""
        self._why = ""
        self._countdown = ""
        self._facts: list[str] = []  # that are not shown yet
        self._signs = {sign: self._styled(self._fit(sign), style) for sign, style in _SIGNS.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._rest()
        self._show()

    # -- what the runner tells

    def session(
        self,
        number: int,
        role: str,
        item: str,
        done: int,
        total: int,
        *,
        tokens: int = 0,
        root: str = "",
        elapsed: float = 0.0,
    ) -> None:
        """A session begins: its number and role, the item at work, the items done and in all.

        `tokens`: what the task has used so far. `root`: the worktree, below which paths are shown relative. `elapsed`: seconds
        since it began.
        """
        self._rest()
        self._title = f"session {number} ({role})"
        self._started = self._clock() - elapsed
        self._action = "starting"
        self._root = root.rstrip("/") + "/" if root else ""
        item, share = self._line(item), f"{done}/{total}"
        about = self._title + (f", {share} items" if total else "") + (f": {item}" if item else "")
        self._progress = f"{self._fit(show.bar(done, total, 10))} {share} {item}" if total else item
        self._show(*self._in_full(about, show.BOLD))
        if tokens:
            self._title += f", {show.count(tokens)} tokens so far"

    def event(self, event: Event) -> None:
        """The agent did something; the next tick shows it, so that many at once are one write."""
        if self._silent:
            return
        match event:
            case Said(text):
                self._now("thinking", self._fact("•", text))
            case Thought():
                self._now("thinking")
            case Command(phase="completed"):
                self._now("thinking", self._ended(event))
            case Command():
                self._began(event)
            case FileChange(phase="completed"):
                self._now("thinking", *self._changed(event))
            case FileChange():
                self._now("editing " + ", ".join(self._path(path) for path, _ in event.changes[:_MOST_FILES]))
            case ToolCall(phase="completed"):
                good = not event.error and event.status != "failed"
                self._now("thinking", self._result(good, f"called {event.tool}", event.error))
            case ToolCall():
                self._now(f"calling {self._line(event.tool)}")
            case Search(phase="completed"):
                self._now("thinking", self._fact("•", f"searched: {event.query}"))
            case Trouble(message):
                again = message == self._trouble
                self._trouble = message
                self._now(
                    "waiting for the network" if "waiting for network" in message else "trying again",
                    *[] if again else [self._fact("!", message)],
                )
            case Warned(message):
                self._facts.append(self._fact("!", message))
            case TurnFailed(message):
                self._now("failed", self._fact("✗", message))
            case TurnCompleted():
                self._now("done")

    def tick(self) -> None:
        """Time passes, or something happened: called often, draws when there is something new to see."""
        self._show()

    def note(self, text: str) -> None:
        """Say something of our own, in full."""
        self._action = self._fit(show.one_line(text))
        self._show(*self._in_full(self._action))

    def countdown(self, seconds: float, why: str) -> None:
        """Nothing runs for `seconds` from now on. Called often; `why` is said once, unless it is just the delay."""
        new = why != self._why
        if new:
            self._rest()
            self._why = why
        # Rounded up, so that it counts 3, 2, 1 and not 2, 1, 0.
        self._countdown = self._fit(f"{_DELAY} in {show.duration(seconds + 0.999)} – Ctrl-C stops")
        lines = self._in_full(show.one_line(why)) if new and why != _DELAY else []
        if new and self._area is None:
            lines.append(self._countdown)
        self._show(*lines)

    def closed(self, outcome: str) -> None:
        """The session has ended: one line that says how, in full."""
        self._rest()
        self._show(*self._in_full(show.one_line(outcome), show.BOLD))

    # -- what is going on

    def _rest(self) -> None:
        """No session is at work, and no countdown is running."""
        self._title = self._progress = self._action = self._trouble = self._why = self._countdown = ""
        self._running = {}

    def _now(self, action: str, *facts: str) -> None:
        self._action = action
        self._facts += facts

    def _began(self, event: Command) -> None:
        if event.id not in self._running:
            self._running[event.id] = (event.command[:_KEPT], self._clock())
            if self._area is None:
                self._facts.append(self._fact("$", event.command))

    # -- one line each

    def _ended(self, event: Command) -> str:
        now = self._clock()
        _, since = self._running.pop(event.id, ("", now))
        code, seconds = event.exit_code, int(now - since)
        how = "declined" if code is None else f"exit {code}" if code else ""
        return self._result(code == 0, event.command, how, show.duration(seconds) if seconds else "")

    def _changed(self, event: FileChange) -> list[str]:
        good, more = event.status != "failed", len(event.changes) - _MOST_FILES
        lines = []
        for path, kind in event.changes[:_MOST_FILES]:
            what = show.CHANGED.get(kind, kind) if good else "could not change"
            lines.append(self._result(good, f"{what} {path.removeprefix(self._root)}"))
        return [*lines, self._result(good, f"and {more} files more")] if more > 0 else lines

    def _path(self, path: str) -> str:
        return self._line(path.removeprefix(self._root))

    def _result(self, good: bool, text: str, *details: str) -> str:
        """A line about something that went well or did not. The details at its end are not cut off by a long text."""
        end = "".join([f" {self._fit('–')} {self._cut(self._line(detail), 40)}" for detail in details if detail])
        text = self._cut(self._line(text), max(self._columns() - 2 - show.measure(end), 8))
        return f"{self._signs['✓' if good else '✗']} {text}{end}"

    def _fact(self, sign: str, text: str) -> str:
        return f"{self._signs[sign]} {self._cut(self._line(text), self._columns() - 2)}"

    def _line(self, foreign: str) -> str:
        return self._fit(show.one_line(foreign[:_KEPT]))

    def _fit(self, text: str) -> str:
        return show.to_ascii(text) if self._ascii else text

    def _cut(self, text: str, columns: int) -> str:
        return show.cut(text, columns, ascii=self._ascii)

    def _in_full(self, text: str, style: str = "") -> list[str]:
        """Cleaned text in lines that end between words where the terminal's do."""
        lines = show.wrap(self._fit(text), self._columns() if self._area is not None else None)
        return [self._styled(line, style) for line in lines]

    def _styled(self, text: str, style: str) -> str:
        return show.paint(text, style) if self._colour else text

    def _columns(self) -> int:
        return max(self._area.size()[0], 10) if self._area is not None else PLAIN_COLUMNS

    # -- drawing

    def _show(self, *more: str) -> None:
        facts, self._facts = [*self._facts, *more], []
        if self._silent:
            return
        try:
            if self._area is not None:
                columns, rows = self._area.size()
                self._area.draw(facts, [self._cut(line, columns) for line in self._live(columns)][: max(rows - 1, 1)])
            elif facts:
                self._stream.write("".join([fact + "\n" for fact in facts]))
                self._stream.flush()
        except ValueError:  # the stream is closed
            self._silent = True
        except OSError as error:
            self._silent = True
            if error.errno in _GONE:
                # What is still in the stream's buffer would fail once more at our exit, and be its status.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def _live(self, columns: int) -> list[str]:
        """The lines of the live area: up to three during a session, one in a countdown, else none."""
        if not self._title:
            return [self._countdown] if self._countdown else []
        now = self._clock()
        head = self._fit(f"── {self._title} – {show.duration(now - self._started)} ")
        action = self._action
        if self._running:
            command, since = next(reversed(self._running.values()))
            more = f" (and {len(self._running) - 1} more)" if len(self._running) > 1 else ""
            end = self._fit(f" – {show.duration(now - since)}{more}")
            action = self._cut(f"$ {self._line(command)}", max(columns - show.measure(end), 8)) + end
        lines = [head + self._fit("─") * (columns - show.measure(head)), self._progress, action]
        return [line for line in lines if line]
