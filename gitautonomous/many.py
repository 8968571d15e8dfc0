"""Many tasks at once: a process for each, so many at a time, and one table of what they do."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from . import detach, locks, show, signals, states, stopping
from .errors import AutonomousError
from .live import Table
from .screen import LiveArea
from .tasks import Place, listed

LOCK = "many.lock"
LOG = "many.log"

STAGGER = 0.5
"""Seconds between two starts: Codex's own database is busy when many come up at once."""

REDRAW = 1.0
POLL = 0.05

RESUMED = (states.NEW, states.PAUSED, states.FAILING, states.FAILED)
"""The states in which a task can go on without a person."""

_WORST = (0, 3, 2, 1, 4)
"""Exit statuses from the best to the worst; one of a signal is worse than 0, for somebody stopped that task."""


@dataclass(frozen=True)
class Ended:
    """A task that ran. `status`: the exit status of its runner; `said`: its last line."""

    name: str
    status: int
    said: str


def choose(place: Place) -> tuple[list[str], list[str]]:
    """The tasks that can go on, the one that was touched least recently first; and why others that are not finished cannot, a line each."""
    names, left_out = [], []
    for task in reversed(listed(place)):
        name, state = str(task["name"]), str(task["state"])
        if state in RESUMED:
            names.append(name)
        elif state not in (states.FINISHED, states.MERGED):
            left_out.append(f"{name}: left out, {state}" + (f": {task['reason']}" if task["reason"] else ""))
    return names, left_out


def worst(statuses: Sequence[int]) -> int:
    """The worst of some exit statuses."""
    return max(statuses, key=lambda status: _WORST.index(status) if status in _WORST else 0.5, default=0)


@dataclass
class Crew:
    """The runners of `names`, at most `jobs` at a time. `colours`: git's color.ui."""

    place: Place
    names: Sequence[str]
    jobs: int
    colours: str
    ended: list[Ended] = field(default_factory=list)
    _running: dict[int, tuple[str, int]] = field(default_factory=dict)
    _signal: int | None = None
    _folder: str = field(default_factory=os.getcwd)

    def run(self, detached: bool) -> str | int | None:
        """Run them all. Returns the worst exit status, or None in the caller of a detached crew.

        In each process that is made for a task: the name of that task, which it is to resume then. Raises AutonomousError when another crew is at work here.
        """
        directory = self.place.repository.make_state_dir()
        lock = locks.open_lock(str(directory / LOCK))
        try:
            if not locks.try_lock(lock):
                raise AutonomousError(
                    f"all tasks are being resumed already ({locks.owner(str(directory / LOCK))})",
                    "git autonomous list --watch",
                )
            if detached and not detach.detach(directory / LOG, lambda: stopping.sign(lock)):
                return None
            stopping.sign(lock)
            with self._signals():
                return self._work(directory)
        finally:
            os.close(lock)

    def _work(self, directory: Path) -> str | int:
        me = stopping.runner(directory, LOCK)
        assert me is not None
        waiting = list(self.names)
        view = _View(self)
        started = drawn = -STAGGER
        while waiting or self._running:
            now = time.monotonic()
            if self._signal is not None or stopping.asked(directory, me):
                waiting.clear()
            if waiting and len(self._running) < self.jobs and now - started >= STAGGER:
                started = now
                name = waiting.pop(0)
                if not self._start(name):
                    return name
                view.say(f"{name}: started")
            for ended in self._reap():
                view.say(ended.said)
            if now - drawn >= REDRAW:
                drawn = now
                view.draw(len(waiting), len(self._running))
            time.sleep(POLL)
        view.close()
        stopping.take_back(directory)
        return worst([ended.status for ended in self.ended]) if self._signal is None else 128 + self._signal

    def _start(self, name: str) -> bool:
        """Make a process for a task. False in that process: it has a session of its own, and prints into the task's log."""
        log = self.place.repository.make_state_dir("tasks", name) / "runner.log"
        offset = log.stat().st_size if log.exists() else 0
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal that came before the child's own handlers are there would be passed on to its brothers.
        with signals.held_back():
            pid = os.fork()
            if pid:
                self._running[pid] = (name, offset)
                return True
            self._running.clear()
            for number in signals.ENDING:
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            os.chdir(self._folder)
            detach.redirect(log)
            return False

    def _reap(self) -> Iterator[Ended]:
        for pid, (name, offset) in list(self._running.items()):
            with signals.held_back():  # once it was waited for, its id may be a stranger's
                gone, status = os.waitpid(pid, os.WNOHANG)
                if gone:
                    del self._running[pid]
            if gone:
                code = os.waitstatus_to_exitcode(status)
                log = self.place.repository.task_dir(name) / "runner.log"
                said = last_line(log, offset, name) or f"{name}: ended with status {code} and no word"
                ended = Ended(name, code if code >= 0 else 128 - code, said)
                self.ended.append(ended)
                yield ended

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """A signal is passed on to every runner: the first one ends their sessions, a second one their agents at once."""

        def told(number: int) -> None:
            self._signal = number
            for pid in self._running:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)  # a child that was not waited for: its id is still its own

        with signals.heard(told, told):
            yield


class _View:
    """The table and, above it, what has happened. Where there is no terminal, only the latter."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._area = LiveArea(sys.stderr) if show.terminal(sys.stderr, os.environ) else None
        place = crew.place
        self._table = Table(place.repository, place.settings.branch_prefix, sys.stderr, crew.colours, only=crew.names)
        self._facts: list[str] = []

    def say(self, fact: str) -> None:
        if self._area is None:
            print(fact, file=sys.stderr, flush=True)
        else:
            self._facts.append(fact)

    def draw(self, waiting: int, running: int) -> None:
        if self._area is None:
            return
        columns, rows = self._area.size()
        about = f"{running} at work, {waiting} waiting for a place, {len(self._crew.ended)} ended – Ctrl-C stops all"
        about = about if show.unicode(sys.stderr) else show.to_ascii(about)
        facts, self._facts = self._facts, []
        self._area.draw(facts, [*self._table.lines(columns, rows - 1), show.cut(about, columns)])

    def close(self) -> None:
        if self._area is not None:
            self._area.draw(self._facts, [])


def last_line(log: Path, offset: int, name: str) -> str:
    """What a runner said at last in its log, from byte `offset` on: its result, or why there is none; "" for nothing."""
    try:
        with open(log, "rb") as file:
            file.seek(max(offset, file.seek(0, os.SEEK_END) - (1 << 16)))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    for line in reversed(lines):
        if line.startswith(f"{name}: "):
            return show.one_line(line)
        if line.startswith("error: "):
            return f"{name}: {show.one_line(line.removeprefix('error: '))}"
    return ""
