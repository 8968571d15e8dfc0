"""Following a Codex at work: its events as they come, its deadlines (it has none of its own), and its end.

Codex writes its events straight into a file, and the supervisor follows that file. So the supervisor may die at any moment:
Codex goes on, nothing of its turn is lost, and a later process follows the same file with `follow`, from the same place.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Self

from . import process
from .errors import AutonomousError
from .events import LONGEST_LINE, Event, Trouble, Turn, parse_event, without_output
from .process import ProcessId
from .rollout import Growth

_POLL = 0.1
_SOON = 0.005  # after something was read: more is coming
_LOOK = 1.0  # seconds between two looks at the rollout file
_STDERR = 1 << 14  # bytes of the end of the standard error that are of interest
_CHUNK = 1 << 20  # bytes that are read before the deadlines are looked at again


@dataclass(frozen=True)
class Deadlines:
    """Seconds; 0 turns one off.

    `startup`: until the first event. `silence`: without any sign of life. `command`: the same while a command, a tool or a
    search is at work, which may be silent for longer. `session`: the whole turn. `farewell`: from the turn's last event until
    Codex is gone.
    """

    startup: float = 60.0
    silence: float = 600.0
    command: float = 3600.0
    session: float = 14400.0
    farewell: float = 15.0


@dataclass(frozen=True)
class Supervision:
    """How it ended.

    `returncode` is None for a process that was not a child of ours. `reason` is "exited", "stopped", or the deadline that passed:
    "startup", "silence", "command" or "session". `skipped` lines were too long to be looked at. `stderr` is the end of what a
    child of ours printed there.
    """

    returncode: int | None
    reason: str
    skipped: int = 0
    stderr: str = ""


def supervise(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    prompt: bytes,
    transcript: Path,
    stderr: Path,
    inherit: Sequence[int],
    deadlines: Deadlines,
    turn: Turn,
    rollout_home: Path,
    on_event: Callable[[Event], None],
    on_start: Callable[[ProcessId], None],
    on_tick: Callable[[], None],
    should_stop: Callable[[], bool],
    offset: int,
) -> Supervision:
    """Start Codex and follow it to its end.

    Its events go to the end of `transcript`, where this turn's begin at byte `offset`, and its messages to the end of `stderr`;
    both are made (0600) where they are missing. It inherits the descriptors `inherit`. `on_start` gets its identity before
    anything is waited for, `on_event` each event after `turn` was fed with it, `on_tick` a call after the events of each read,
    and at least every 0.1 s while it works. Once `should_stop` is true, it is ended.
    Raises AutonomousError when it cannot be started. Whatever a callback raises ends Codex first.
    """
    with ExitStack() as files:
        try:
            stdin = files.enter_context(process.unnamed_file(prompt))
            outputs = [_append(path, files) for path in (transcript, stderr)]
            stderr_offset = os.fstat(outputs[1]).st_size
            child = subprocess.Popen(
                argv,
                env=env,
                stdin=stdin,
                stdout=outputs[0],
                stderr=outputs[1],
                pass_fds=inherit,
                start_new_session=True,
            )
        except OSError as error:
            raise AutonomousError(f"Codex could not be started: {error}") from error
    who = process.identify(child.pid)
    assert who is not None  # nobody else reaps a child of ours

    def gone(seconds: float) -> bool:
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    try:
        with _at_work(who), Lines(transcript, offset) as lines:
            on_start(who)
            follower = _Follower(who, lines, gone, turn, Growth(rollout_home), on_event)
            reason = follower.run(deadlines, on_tick, should_stop)
        return Supervision(child.wait(), reason, lines.skipped, _tail(stderr, stderr_offset))
    finally:
        process.terminate(who)
        child.wait()


def follow(
    who: ProcessId | None,
    *,
    transcript: Path,
    deadlines: Deadlines,
    turn: Turn,
    rollout_home: Path,
    on_event: Callable[[Event], None],
    on_tick: Callable[[], None],
    should_stop: Callable[[], bool],
    offset: int,
) -> Supervision:
    """Follow a Codex whose supervisor died, from the first event of its turn (at byte `offset`) to its end.

    None, or a process that is gone by now: only what it wrote is read. Everything else is as with `supervise`, but that the
    orphan's age counts for the session's deadline, and that a callback's exception leaves it alone.
    """

    def gone(seconds: float) -> bool:
        if who is None or not process.alive(who):
            return True
        time.sleep(seconds)
        return False

    with _at_work(who), Lines(transcript, offset) as lines:
        follower = _Follower(who, lines, gone, turn, Growth(rollout_home), on_event)
        return Supervision(None, follower.run(deadlines, on_tick, should_stop), lines.skipped)


def _at_work(who: ProcessId | None) -> AbstractContextManager[None]:
    return nullcontext() if who is None else process.at_work(lambda: process.terminate(who, grace=0.0))


def _append(path: Path, files: ExitStack) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    files.callback(os.close, descriptor)
    return descriptor


def _tail(path: Path, offset: int) -> str:
    """The text of a file from `offset` on, of a long one only the end."""
    with path.open("rb") as file:
        file.seek(max(offset, file.seek(0, os.SEEK_END) - _STDERR))
        return file.read().decode(errors="replace")


class Lines:
    """The lines of a growing file, from a place on. Holds no more of it than the longest line that counts."""

    def __init__(self, path: Path, offset: int) -> None:
        self._path = path
        self._offset = offset
        self._part = bytearray()
        self._too_long = False
        self.skipped = 0

    def __enter__(self) -> Self:
        try:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:  # its runner died before it started Codex
            self._descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def read(self) -> Iterator[bytes]:
        """The lines that one more piece of the file completes, with their ends. Sets `at_end` when there was no more."""
        data = os.pread(self._descriptor, _CHUNK, self._offset)
        self.at_end = not data
        self._offset += len(data)
        for piece in BytesIO(data):  # one after another in the same memory: twenty times as fast as split()
            whole = piece.endswith(b"\n")
            if whole and not self._part and not self._too_long:
                yield piece  # no longer than what was read
            else:
                self._add(piece)
                if whole:
                    yield from self.finish()

    def finish(self) -> Iterator[bytes]:
        """The line that is held, as it is."""
        if self._too_long:
            self.skipped += 1
        elif self._part:
            yield bytes(self._part)
        self._part.clear()
        self._too_long = False

    def _add(self, piece: bytes) -> None:
        self._too_long = self._too_long or len(self._part) + len(piece) > LONGEST_LINE
        if self._too_long:
            self._part.clear()
        else:
            self._part += piece


class _Follower:
    """One process at work: its events, and when it must end."""

    def __init__(
        self,
        who: ProcessId | None,
        lines: Lines,
        gone: Callable[[float], bool],
        turn: Turn,
        growth: Growth,
        on_event: Callable[[Event], None],
    ) -> None:
        self.who = who
        self.lines = lines
        self.gone = gone
        self.turn = turn
        self.growth = growth
        self.on_event = on_event
        self.last_sign = self.last_look = time.monotonic()
        self.began = self.last_sign - (process.age(who) if who else 0.0)
        self.turn_ended: float | None = None

    def run(self, deadlines: Deadlines, on_tick: Callable[[], None], should_stop: Callable[[], bool]) -> str:
        """Follow it to its end, and return the reason."""
        patience = _SOON
        while not self.gone(0.0 if (more := self._read()) else patience):
            patience = _SOON if more else min(2 * patience, _POLL)
            on_tick()
            reason = "stopped" if should_stop() else self._overdue(deadlines)
            if reason:
                if self.who is not None:
                    process.terminate(self.who)
                self._read_rest(on_tick)
                return reason
        self._read_rest(on_tick)
        return "exited"

    def _read(self) -> bool:
        """Take in what is new. Returns whether there was anything, so that there may be more at once."""
        self._take(self.lines.read())
        return not self.lines.at_end

    def _read_rest(self, on_tick: Callable[[], None]) -> None:
        while self._read():
            on_tick()
        self._take(self.lines.finish())

    def _take(self, lines: Iterator[bytes]) -> None:
        now = time.monotonic()
        for line in lines:
            event = parse_event(without_output(line))
            if not isinstance(event, Trouble):  # Codex tries again for ever, and would never be silent
                self.last_sign = now
            if event is not None:
                self.turn.feed(event, now)
                self.on_event(event)
        if self.turn.ended and self.turn_ended is None:
            self.turn_ended = now

    def _overdue(self, deadlines: Deadlines) -> str:
        """The deadline that has passed, or "exited" for a Codex that lingers after its turn; empty when it may go on."""
        now = time.monotonic()
        if now - self.last_look >= _LOOK:
            self.last_look = now
            if self.growth.seen(self.turn.thread):
                self.last_sign = now
        quiet, allowed = ("command", deadlines.command) if self.turn.busy else ("silence", deadlines.silence)
        if self.turn_ended is not None:
            return "exited" if 0 < deadlines.farewell < now - self.turn_ended else ""
        if self.turn.thread is None and 0 < deadlines.startup < now - self.began:
            return "startup"
        if 0 < deadlines.session < now - self.began:
            return "session"
        return quiet if 0 < allowed < now - self.last_sign else ""
