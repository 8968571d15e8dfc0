"""Going on without the terminal: the process that was started makes a daemon of itself, with all that it has checked and locked."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from .errors import AutonomousError

_DONE = b"\0"


def detach(log: Path, first: Callable[[], object]) -> bool:
    """Go on as a daemon: a session of its own, no terminal, in /, nothing to read, its output at the end of `log` (0600).

    Returns True in the daemon, and False in the caller as soon as `first` has run in the daemon. Locks that are held by flock go along. The user's umask stays,
    since the agent's files shall get the modes that they always get. Raises AutonomousError in the caller when there is no daemon, with what kept it from coming up.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        os.waitpid(child, 0)
        with open(reading, "rb") as file:
            said = file.read()
        if said != _DONE:
            reason = said.decode(errors="replace") or "it ended at once"
            raise AutonomousError(f"the runner could not be detached: {reason}", "git autonomous doctor")
        return False
    there = False
    try:
        os.close(reading)
        os.setsid()
        if os.fork():  # the leader of a session could get a terminal again by opening one
            os._exit(0)
        redirect(log)
        os.chdir("/")
        _close_strangers()
        first()
        os.write(writing, _DONE)
        os.close(writing)
        there = True
    except OSError as error:
        os.write(writing, str(error).encode(errors="replace"))
    finally:
        if not there:
            os._exit(1)
    return True


def redirect(log: Path) -> None:
    """Read from nowhere, and put what is printed, both streams, at the end of `log`. Raises OSError."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    for descriptor, opened in (
        (0, os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)),
        (1, os.open(log, flags, 0o600)),
        (2, os.open(log, flags, 0o600)),
    ):
        if opened != descriptor:
            os.dup2(opened, descriptor)
            os.close(opened)
        os.set_inheritable(descriptor, True)


def _close_strangers() -> None:
    """Close what the caller's caller left open, such as the lock of a cron job. Python and libgit2 mark their own descriptors close-on-exec, others do not."""
    for name in os.listdir("/dev/fd"):
        descriptor = int(name)
        with suppress(OSError):
            if descriptor > 2 and not fcntl.fcntl(descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC:
                os.close(descriptor)
