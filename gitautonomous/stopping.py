"""Who runs a task, and how that runner is told to stop.

The holder of a task's runner.lock writes two lines into it: one for people, and one that says for certain which process it is, so that a signal never reaches a stranger
that got the same process id. A runner that is to stop after its session finds a request that names it; a request for another runner means nothing.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from . import journal, locks, process, states
from .errors import AutonomousError
from .journal import Journal
from .process import ProcessId

LOCK = "runner.lock"
AGENT_LOCK = "agent.lock"
REQUEST = "stop"

PATIENCE = 2.0
"""Seconds in which a runner that has just begun must have signed its lock."""

SIGNALS = (signal.SIGTERM, signal.SIGCONT)
"""What a runner is sent: one that was suspended (Ctrl-Z) hears it too."""

_POLL = 0.05
_LIMIT = 1000  # bytes of a lock file or a request that are looked at


def claim(directory: Path, task: str) -> locks.Held:
    """Take the runner.lock of the task with this folder. Raises AutonomousError that says who holds it."""
    path = str(directory / LOCK)
    held = locks.Held(locks.open_lock(path))
    try:
        if not locks.try_lock(held.descriptor):
            raise AutonomousError(
                f"'{task}' is already being worked on ({locks.owner(path)})", f"git autonomous status {task}"
            )
        sign(held.descriptor)
        states.begin(str(directory))
    except BaseException:
        held.close()
        raise
    return held


def sign(descriptor: int) -> ProcessId:
    """Write into a lock that this process holds who it is. Returns that."""
    me = process.identify(os.getpid())
    assert me is not None
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {me.pid} on {os.uname().nodename} since {since}\n{_certain(me)}\n".encode(), 0)
    return me


def runner(directory: Path, lock: str = LOCK) -> ProcessId | None:
    """The process that holds the lock in a task's folder; None when nobody does, or nobody who can be told for certain (another machine's)."""
    if not locks.is_held(str(directory / lock)):
        return None
    return _read(directory / lock, line=1)


def busy(directory: Path) -> bool:
    """Whether anybody works on the task with this folder: a runner, or a Codex that lost its own."""
    return locks.is_held(str(directory / LOCK)) or locks.is_held(str(directory / AGENT_LOCK))


def terminate(who: ProcessId) -> bool:
    """Send TERM to exactly this process, not to its group. Returns whether it was there to be told."""
    if not hasattr(os, "pidfd_open"):
        alive = process.alive(who)
        if alive:
            for number in SIGNALS:
                os.kill(who.pid, number)
        return alive
    try:
        descriptor = os.pidfd_open(who.pid)
    except ProcessLookupError:
        return False
    try:
        # The descriptor stands for one process for ever: what is true of it now cannot change before the signal.
        alive = process.alive(who)
        if alive:
            with suppress(ProcessLookupError):
                for number in SIGNALS:
                    signal.pidfd_send_signal(descriptor, number)
        return alive
    finally:
        os.close(descriptor)


def ask_after_session(directory: Path, who: ProcessId) -> None:
    """Ask the runner `who` of the task with this folder to stop when its session is closed. Raises OSError."""
    temporary = directory / f"{REQUEST}.{os.getpid()}"
    temporary.write_text(_certain(who) + "\n")
    os.replace(temporary, directory / REQUEST)


def asked(directory: Path, me: ProcessId) -> bool:
    """Whether `me` was asked to stop after its session."""
    return _read(directory / REQUEST, line=0) == me


def take_back(directory: Path) -> None:
    """Forget a request."""
    with suppress(FileNotFoundError):
        (directory / REQUEST).unlink()


@dataclass(frozen=True)
class Told:
    """A runner that was told to stop. `orphan`: it was a Codex whose runner is dead, and it is gone now."""

    directory: Path
    who: ProcessId
    orphan: bool = False

    def at_work(self) -> bool:
        """Whether it has not stopped yet."""
        return not self.orphan and runner(self.directory) == self.who

    def left_open(self) -> int | None:
        """The number of the session that has no commit yet, although nobody works on it any more: its runner died, or had to ask a person first."""
        record = journal.open_attempt(Journal(self.directory / "journal.jsonl").read())
        return record["number"] if record is not None else None


def ask_crew(state_dir: Path, lock: str) -> bool:
    """Ask the process that holds this lock, and starts one task after another, to start no more. Returns whether there is one."""
    who = runner(state_dir, lock)
    if who is None or not process.alive(who):
        return False
    ask_after_session(state_dir, who)
    return True


def tell(directory: Path, *, after_session: bool) -> Told | None:
    """Tell the runner of the task with this folder to stop, at once or after its session; None when the task is not worked on.

    A Codex that lost its runner has nobody to tell, so it is ended; the next runner commits what it did. Raises AutonomousError when
    somebody works on the task who cannot be told from here.
    """
    deadline = time.monotonic() + PATIENCE
    while locks.is_held(str(directory / LOCK)):
        who = runner(directory)
        if who is not None and process.alive(who):
            if after_session:
                ask_after_session(directory, who)
                return Told(directory, who)
            if terminate(who):
                return Told(directory, who)
        # Somebody took the lock a moment ago, and has not signed it yet.
        if time.monotonic() > deadline:
            raise AutonomousError(
                f"whoever works on '{directory.name}' cannot be told from here: {locks.owner(str(directory / LOCK))}",
                "run the same command on that machine, or in that container",
            )
        time.sleep(_POLL)
    who = orphan(directory)
    if who is None:
        return None
    process.terminate(who)
    return Told(directory, who, orphan=True)


def orphan(directory: Path) -> ProcessId | None:
    """The Codex that works on the task with this folder although its runner is dead; None where there is none."""
    lock = directory / AGENT_LOCK
    if not locks.is_held(str(lock)):
        return None
    record = journal.open_attempt(Journal(directory / "journal.jsonl").read()) or {}
    if "pid" in record:
        who = ProcessId(record["pid"], record["start"], record["boot"])
        return who if process.alive(who) else None
    return next(iter(process.holders(lock)), None)


def _certain(who: ProcessId) -> str:
    return f"{who.pid} {who.start} {who.boot}"


def _read(path: Path, line: int) -> ProcessId | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read(_LIMIT).split("\n")
        pid, start, boot = lines[line].split(" ")
        return ProcessId(int(pid), int(start), boot)
    except (OSError, ValueError, IndexError):
        return None
