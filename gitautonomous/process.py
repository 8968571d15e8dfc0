"""Child processes: a clean environment, groups that end as a whole, and processes that are known for certain.

Every child leads a session (and so a process group) of its own: a signal reaches all of it, and no Ctrl-C of the terminal
does. A process is known by its id, start time and boot, because an id alone is given to a stranger sooner or later.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

GRACE = 5.0
"""Seconds between the request to end (TERM) and the end (KILL)."""

LINGER = 0.5
"""Seconds that `run` waits for the rest of the output when the command is gone but something that it left holds the pipe."""

_PROC = Path("/proc")
_POLL = 0.02

# Of git's variables a child sees only those that say who the user is to git everywhere and how remotes are reached. The rest
# says which repository, index, configuration or commit somebody else's git command (we run in hooks and aliases) works on,
# or opens an editor or a pager.
_KEPT = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_ASKPASS")
_KEPT_PREFIX = "GIT_SSL_"


def clean_environment(extra: Mapping[str, str] | None = None, *, outside: Path | None = None) -> dict[str, str]:
    """This process's environment for a child: git's variables dropped but for the user's own, then `extra` set.

    PATH loses the folders that depend on where one stands, and those that lie in `outside`: an agent could have put a git there.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name in _KEPT or name.startswith(_KEPT_PREFIX)
    }
    if "PATH" in kept:
        kept["PATH"] = os.pathsep.join(_trusted(kept["PATH"].split(os.pathsep), outside))
    return {**kept, **(extra or {})}


def _trusted(folders: Sequence[str], outside: Path | None) -> Iterator[str]:
    root = os.path.realpath(outside) if outside else None
    for folder in folders:
        if os.path.isabs(folder) and not (root and Path(os.path.realpath(folder)).is_relative_to(root)):
            yield folder


@dataclass(frozen=True)
class Completed:
    """How a command ended: by itself, or made to (`timed_out`). `dropped` bytes of the streams' beginnings were let go because there
    were too many."""

    returncode: int
    stdout: bytes
    stderr: bytes
    timed_out: bool = False
    dropped: int = 0


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input: bytes | None = None,
    timeout: float | None = None,
    limit: int = 64 << 20,
    should_stop: Callable[[], bool] = lambda: False,
) -> Completed:
    """Run a command to its end, without a shell, and return its output.

    `env` is `clean_environment()` when not given, standard input is empty or `input`. After `timeout` seconds the group is
    asked to end, and `GRACE` seconds later made to; the same once `should_stop` is true, which is asked again and again. Of each
    stream the last `limit` bytes are kept. What the command leaves behind in its group is ended with it. Raises OSError when the
    command cannot be started.
    """
    with unnamed_file(input) if input is not None else nullcontext(subprocess.DEVNULL) as stdin:
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=clean_environment() if env is None else env,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    assert process.stdout and process.stderr
    streams = (process.stdout, process.stderr)
    out, err = _Tail(limit), _Tail(limit)
    try:
        with at_work(lambda: _signal(process.pid, signal.SIGKILL, group=True)):
            timed_out = _read(process, dict(zip(streams, (out, err), strict=True)), timeout, should_stop)
    finally:
        _signal(process.pid, signal.SIGKILL, group=True)
        process.wait()
        for stream in streams:
            stream.close()
    return Completed(process.returncode, out.content(), err.content(), timed_out, out.dropped + err.dropped)


class _Tail:
    """The last `limit` bytes of a stream, in at most twice that memory."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.dropped = 0
        self.data = bytearray()

    def add(self, data: bytes) -> None:
        self.data += data
        if len(self.data) > 2 * self.limit:
            self._trim()

    def content(self) -> bytes:
        self._trim()
        return bytes(self.data)

    def _trim(self) -> None:
        excess = max(0, len(self.data) - self.limit)
        del self.data[:excess]
        self.dropped += excess


def _read(
    process: subprocess.Popen[bytes],
    tails: Mapping[IO[bytes], _Tail],
    timeout: float | None,
    should_stop: Callable[[], bool],
) -> bool:
    """Collect the output until the command is gone. Returns whether it was made to end."""
    deadline = time.monotonic() + timeout if timeout else None
    kill_at = gone_at = None
    with selectors.DefaultSelector() as selector:
        for stream, tail in tails.items():
            selector.register(stream, selectors.EVENT_READ, tail)
        while True:
            now = time.monotonic()
            if process.poll() is not None:
                gone_at = gone_at or now
                if not selector.get_map() or now >= gone_at + LINGER:
                    return kill_at is not None
            elif kill_at is not None and now >= kill_at:
                _signal(process.pid, signal.SIGKILL, group=True)
            elif kill_at is None and (should_stop() or (deadline is not None and now >= deadline)):
                _signal(process.pid, signal.SIGTERM, group=True)
                kill_at = now + GRACE
            if not selector.get_map():
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL)
                continue
            for key, _ in selector.select(_POLL):
                if data := os.read(key.fd, 1 << 16):
                    key.data.add(data)
                else:
                    selector.unregister(key.fileobj)


@contextmanager
def unnamed_file(content: bytes) -> Iterator[IO[bytes]]:
    """A temporary file without a name that holds `content`: standard input that no death of ours can cut short."""
    import tempfile

    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        yield file


@dataclass(frozen=True)
class ProcessId:
    """One certain process: `start` is in clock ticks since the boot with the id `boot`.

    Without a /proc, `start` is the second since the epoch and `boot` is empty.
    """

    pid: int
    start: int
    boot: str


def identify(pid: int) -> ProcessId | None:
    """The process that has the id `pid` now, one that has ended but was not reaped included; None when there is none."""
    seen = _look(pid)
    return seen[1] if seen else None


def alive(process: ProcessId) -> bool:
    """Whether exactly this process still runs. One that only waits to be reaped does not."""
    seen = _look(process.pid)
    return seen is not None and seen[1] == process and seen[0] not in "ZX"


def _look(pid: int) -> tuple[str, ProcessId] | None:
    """The state of a process (one letter) and what it is known by.

    The second field of a stat file is the command's name in parentheses, and may hold parentheses and blanks itself.
    """
    if not _PROC.joinpath("self").exists():
        return _look_with_ps(pid)
    try:
        fields = _PROC.joinpath(str(pid), "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], ProcessId(pid, int(fields[19]), _PROC.joinpath("sys/kernel/random/boot_id").read_text().strip())


def _look_with_ps(pid: int) -> tuple[str, ProcessId] | None:
    listed = run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], env=clean_environment({"LC_ALL": "C"}), timeout=10)
    state, _, started = listed.stdout.decode(errors="replace").strip().partition(" ")
    if not started:
        return None
    start = time.mktime(time.strptime(started.strip(), "%a %b %d %H:%M:%S %Y"))
    return state[0], ProcessId(pid, int(start), "")


def age(process: ProcessId) -> float:
    """Seconds since the process started."""
    if not process.boot:
        return max(0.0, time.time() - process.start)
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - process.start / os.sysconf("SC_CLK_TCK"))


def terminate(process: ProcessId, grace: float = GRACE) -> None:
    """End a process and its group: TERM, then KILL as soon as it is gone or `grace` seconds have passed.

    Returns when it is gone, or when the kernel does not let go of it for another `GRACE` seconds. Does nothing when the id
    belongs to another process by now.
    """
    try:
        group = os.getpgid(process.pid) == process.pid
    except ProcessLookupError:
        return
    if not alive(process):
        return
    _signal(process.pid, signal.SIGTERM, group)
    if not _gone(process, grace) or group:
        _signal(process.pid, signal.SIGKILL, group)
    _gone(process, GRACE)


def _gone(process: ProcessId, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while alive(process):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL)
    return True


_at_work: set[Callable[[], None]] = set()


@contextmanager
def at_work(kill: Callable[[], None]) -> Iterator[None]:
    """While the block waits for a process, `kill_children` calls `kill`, which ends it at once."""
    _at_work.add(kill)
    try:
        yield
    finally:
        _at_work.discard(kill)


def kill_children() -> None:
    """Kill whatever is waited for, with its group, at once. For a signal's handler: the wait then ends by itself."""
    for kill in tuple(_at_work):
        kill()


def _signal(pid: int, signum: int, group: bool) -> None:
    with suppress(ProcessLookupError, PermissionError):
        if group:
            os.killpg(pid, signum)
        else:
            os.kill(pid, signum)


_spared: set[int] | None = None


@contextmanager
def adopting() -> Iterator[None]:
    """While the block runs, what children leave behind becomes a child of this process and is found by `sweep`, whatever it did to hide.

    Children that there are already are spared. Elsewhere than on Linux nothing is adopted.
    """
    global _spared
    if sys.platform != "linux":
        yield
        return
    import ctypes

    adopt = ctypes.CDLL(None).prctl
    adopt(_CHILD_SUBREAPER, 1, 0, 0, 0)
    _spared = set(_children())
    try:
        yield
    finally:
        _spared = None
        adopt(_CHILD_SUBREAPER, 0, 0, 0, 0)


_CHILD_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER


def _children() -> Iterator[int]:
    me = str(os.getpid())
    for pid in _pids():
        with suppress(OSError):
            if _PROC.joinpath(str(pid), "stat").read_text(errors="replace").rpartition(")")[2].split()[1] == me:
                yield pid


def _adopted() -> list[ProcessId]:
    """The living among what was adopted; the dead are taken off the kernel's list."""
    found = []
    for pid in _children() if _spared is not None else ():
        seen = _look(pid)
        if pid in (_spared or ()) or seen is None:
            continue
        if seen[0] == "Z":
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        else:
            found.append(seen[1])
    return found


def sweep(*markers: str, grace: float = 1.0) -> list[int]:
    """End every process whose environment, when it was started, held one of `markers` ("NAME=value"), and every one that was adopted.

    Codex's sandbox takes its commands along when it ends; with full access a daemon survives Codex, in a session of its own.
    They are asked to end, and killed after `grace` seconds. Returns the ids of those found. Elsewhere than on Linux: none.
    """
    variables = {marker.encode() for marker in markers}
    found: set[int] = set()
    started = time.monotonic()
    while survivors := {*_marked(variables), *_adopted()}:
        waited = time.monotonic() - started
        if waited > grace + GRACE:
            break
        for process in survivors:
            if waited >= grace:
                _signal(process.pid, signal.SIGKILL, group=False)
            elif process.pid not in found:
                _signal(process.pid, signal.SIGTERM, group=False)
            found.add(process.pid)
        time.sleep(_POLL)
    return sorted(found)


def _marked(variables: set[bytes]) -> list[ProcessId]:
    found = []
    for pid in _pids():
        process = identify(pid)
        try:
            environment = _PROC.joinpath(str(pid), "environ").read_bytes()
        except OSError:
            continue  # gone, or somebody else's
        if process and pid != os.getpid() and not variables.isdisjoint(environment.split(b"\0")) and alive(process):
            found.append(process)
    return found


def holders(path: Path) -> list[ProcessId]:
    """The processes that have the file open, oldest first; this one is left out. Elsewhere than on Linux: none.

    So an agent is found whose runner died before it could write down the agent's id: the agent inherits its lock's file, and
    Codex passes it on to none of its commands.
    """
    try:
        wanted = path.stat()
    except OSError:
        return []
    found = [process for pid in _pids() if pid != os.getpid() and _has_open(pid, wanted) and (process := identify(pid))]
    return sorted(found, key=lambda process: process.start)


def running_in(program: str, folders: Sequence[Path]) -> list[ProcessId]:
    """The processes named `program` whose current folder is one of `folders` or lies in it. Elsewhere than on Linux: none."""
    found = []
    for pid in _pids():
        with suppress(OSError):
            if _PROC.joinpath(str(pid), "comm").read_text(errors="replace").strip() == program:
                here = _PROC.joinpath(str(pid), "cwd").readlink()
                if any(here.is_relative_to(folder) for folder in folders) and (process := identify(pid)):
                    found.append(process)
    return found


def _has_open(pid: int, wanted: os.stat_result) -> bool:
    try:
        for descriptor in _PROC.joinpath(str(pid), "fd").iterdir():
            with suppress(OSError):
                if os.path.samestat(descriptor.stat(), wanted):
                    return True
    except OSError:
        pass  # gone, or somebody else's
    return False


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()) if _PROC.is_dir() else iter(())
