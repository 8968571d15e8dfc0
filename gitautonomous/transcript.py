"""`git autonomous log`: Codex's events as text that people read.

What is at the beginning of a line is ours; what the agent or a command wrote is cleaned and stands behind a sign or an
indent, so that it cannot pass for something else. Memory stays flat whatever the length of the transcript.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import BytesIO
from pathlib import Path

from . import show
from .events import (
    LONGEST_LINE,
    Command,
    Event,
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
    Warned,
    parse_event,
)

_CHUNK = 1 << 20
_POLL = 0.2  # seconds
_HEAD = 20  # lines of a long output that are shown, and as many of its end
_TAIL = 20
_LONGEST = 500  # characters of one of its lines


def lines(
    find: Callable[[], Sequence[Path]],
    *,
    follow: bool = False,
    colour: bool = False,
    ascii: bool = False,
    root: str = "",
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[str]:
    """The transcripts that `find` returns as text, in pieces that end with a newline.

    `follow`: begin with the newest transcript, wait for what is added to it, go on to the next session's, and end when
    `stop` returns true. `root`: the worktree, below which paths are shown relative.
    """
    if not follow:
        for path in _sorted(find()):
            yield from _session(path, lambda: False, Rendering(colour=colour, ascii=ascii, root=root))
        return
    current: Path | None = None
    while True:
        found = _sorted(find())
        newer = found[-1:] if current is None else [path for path in found if _order(path) > _order(current)]
        if newer:
            current = newer[0]
            rendering = Rendering(colour=colour, ascii=ascii, root=root)
            yield from _session(current, _until_newer(find, current, stop), rendering)
        elif stop():
            return
        else:
            time.sleep(_POLL)


def _order(path: Path) -> tuple[int, str]:
    return len(path.name), path.name  # session 1000 comes after session 999


def _sorted(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=_order)


def _until_newer(find: Callable[[], Sequence[Path]], path: Path, stop: Callable[[], bool]) -> Callable[[], bool]:
    return lambda: not stop() and not any(_order(other) > _order(path) for other in find())


def _session(path: Path, growing: Callable[[], bool], rendering: Rendering) -> Iterator[str]:
    yield rendering.heading(path.stem.lstrip("0"))
    for line in split(chunks(path, growing)):
        if isinstance(line, int):
            yield rendering.left_out(line)
        elif (event := parse_event(line)) is not None and (text := rendering.event(event)):
            yield text
    if rest := rendering.end():
        yield rest


def chunks(path: Path, growing: Callable[[], bool]) -> Iterator[bytes]:
    """The bytes of a file, in pieces. At its end they wait for more as long as `growing` returns true."""
    with path.open("rb", buffering=0) as file:
        grows = True
        while True:
            if data := file.read(_CHUNK):
                yield data
            elif not grows:
                return
            else:
                # What was written before the answer was "no" is still read.
                grows = growing()
                if grows:
                    time.sleep(_POLL)


def split(pieces: Iterable[bytes]) -> Iterator[bytes | int]:
    """The lines of a stream of bytes, with their ends; of a line longer than LONGEST_LINE only its length."""
    part = bytearray()
    length = 0
    for piece in pieces:
        for line in BytesIO(piece):
            length += len(line)
            if length <= LONGEST_LINE:
                part += line
            else:
                part.clear()
            if line.endswith(b"\n"):
                yield bytes(part) if part else length
                part.clear()
                length = 0
    if length:
        yield bytes(part) if part else length


class Rendering:
    """The events of one session, in order, as text."""

    def __init__(self, *, colour: bool = False, ascii: bool = False, root: str = "") -> None:
        self._colour = colour
        self._ascii = ascii
        self._root = root.rstrip("/") + "/" if root else ""
        self._last = ""  # the command that was shown last, while nothing has been shown since
        self._running: dict[str, str] = {}

    def heading(self, session: str) -> str:
        """The line above a session."""
        return self._paint(f"── session {session} ".ljust(60, "─"), show.BOLD) + "\n"

    def left_out(self, size: int) -> str:
        """What stands for a line of `size` bytes that nobody can read."""
        return self._block(self._paint(f"! a line of {show.count(size)}B was left out", show.YELLOW))

    def end(self) -> str:
        """What is to say when there are no more events."""
        return self._block() if self._last else ""

    def event(self, event: Event) -> str:
        """An event as lines, or "" when there is nothing to see in it."""
        match event:
            case ThreadStarted(thread):
                self._running.clear()  # a new process of Codex: what the last one ran is gone, and ids begin again
                return self._block(self._paint(f"thread {show.one_line(thread)}", show.DIM))
            case Said(text):
                return self._block(*self._quoted("• ", text))
            case Thought(text):
                return self._block(*self._quoted("· ", text, show.DIM))
            case Command(phase="completed"):
                return self._ended(event)
            case Command():
                return self._began(event)
            case FileChange(phase="completed", changes=changes, status=status):
                return self._block(*[self._change(path, kind, status != "failed") for path, kind in changes])
            case ToolCall(phase="completed", tool=tool, status=status, error=error):
                text = f"called {tool}" + (f": {error}" if error else "")
                return self._block(self._result(not error and status != "failed", text))
            case Search(phase="completed", query=query):
                return self._block(self._result(True, f"searched: {query}"))
            case Plan(phase="started" | "completed", entries=entries):
                boxes = [f"  [{'x' if done else ' '}] {show.one_line(text)}" for text, done in entries]
                return self._block("plan", *[self._paint(box, show.DIM) for box in boxes])
            case Trouble(message) | Warned(message):
                return self._block(self._paint(f"! {show.one_line(message)}", show.YELLOW))
            case TurnFailed(message):
                return self._block(*self._left_running(), self._result(False, f"turn failed: {message}"))
            case TurnCompleted(usage):
                tokens = f", {show.count(usage.total)} tokens on this thread" if usage else ""
                return self._block(*self._left_running(), self._result(True, f"turn completed{tokens}"))
        return ""

    def _began(self, event: Command) -> str:
        if event.id in self._running:
            return ""
        self._running[event.id] = event.command[:_LONGEST]
        text = self._text([*self._separator(), *self._command(event)])
        self._last = event.id
        return text

    def _ended(self, event: Command) -> str:
        self._running.pop(event.id, None)
        again = [] if self._last == event.id else [*self._separator(), *self._command(event)]
        self._last = ""
        code = event.exit_code
        how = "declined" if code is None else f"exit {code}"
        output = self._indented(4, self._excerpt(event.output), show.DIM)
        end = self._paint(f"  {how}", show.GREEN if code == 0 else show.RED)
        return self._text([*again, *output, end, ""])

    def _command(self, event: Command) -> list[str]:
        first, *others = self._excerpt(event.command) or [""]
        return [self._paint("$ " + first, show.BOLD), *self._indented(2, others, show.BOLD)]

    def _left_running(self) -> list[str]:
        left = [f"! still running: {show.one_line(command)}" for command in self._running.values()]
        self._running.clear()
        return [self._paint(line, show.YELLOW) for line in left]

    def _change(self, path: str, kind: str, good: bool) -> str:
        what = show.CHANGED.get(kind, kind) if good else "could not change"
        return self._result(good, f"{what} {path.removeprefix(self._root)}")

    def _result(self, good: bool, text: str) -> str:
        return (
            self._paint("✓" if good else "✗", show.GREEN if good else show.RED) + " " + self._fit(show.one_line(text))
        )

    def _quoted(self, sign: str, text: str, style: str = "") -> list[str]:
        """A text in full, its first line behind a sign."""
        first, *others = show.clean(text.strip(), keep_newlines=True).split("\n")
        return [self._paint(sign + first, style), *self._indented(2, others, style)]

    def _indented(self, columns: int, texts: Sequence[str], style: str = "") -> list[str]:
        indent = " " * columns
        if self._ascii:
            texts = [show.to_ascii(text) for text in texts]
        if self._colour and style:
            return [f"\x1b[{style}m{indent}{text}\x1b[m" if text else "" for text in texts]
        return [indent + text if text else "" for text in texts]

    def _excerpt(self, text: str) -> list[str]:
        """The lines of an output, cleaned; of a long one its head and its tail. Never splits all of a big one."""
        if not (text := text.rstrip()):
            return []
        head = text.split("\n", _HEAD)
        if len(head) > _HEAD:
            tail = head.pop().rsplit("\n", _TAIL)
            if len(tail) > _TAIL:
                middle = tail.pop(0).count("\n") + 1
                head.append(f"… {middle} line{'s' * (middle > 1)} left out …")
            head += tail
        shown = "\n".join([line if len(line) <= _LONGEST else line[:_LONGEST] + "…" for line in head])
        # A bare carriage return is a progress bar that was drawn again: no reason for another line.
        shown = shown.replace("\r\n", "\n").replace("\r", " ")
        return [line.rstrip() for line in show.clean(shown, keep_newlines=True).expandtabs(4).split("\n")]

    def _separator(self) -> list[str]:
        return [""] if self._last else []

    def _block(self, *shown: str) -> str:
        text = self._text([*self._separator(), *shown, *([""] if shown else [])])
        self._last = ""
        return text

    def _text(self, shown: Sequence[str]) -> str:
        return "".join([line + "\n" for line in shown])

    def _paint(self, text: str, style: str) -> str:
        text = self._fit(text)
        return show.paint(text, style) if self._colour else text

    def _fit(self, text: str) -> str:
        return show.to_ascii(text) if self._ascii else text
