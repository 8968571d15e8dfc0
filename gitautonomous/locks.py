"""Advisory locks by flock: released by the kernel when their holder dies, whatever killed it.

Light on purpose (no contextlib): `git autonomous list` imports this.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time


def open_lock(path: str, *, inheritable: bool = False) -> int:
    """A descriptor for the lock file, made where it is missing (0600). Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    if inheritable:
        os.set_inheritable(descriptor, True)
    return descriptor


def try_lock(descriptor: int, *, patience: float = 1.0) -> bool:
    """Take the lock exclusively, trying for `patience` seconds: listings probe locks for a moment."""
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)


def is_held(path: str) -> bool:
    """Whether some process holds the lock exclusively. A missing file is not held."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EAGAIN, errno.EACCES)
    finally:
        os.close(descriptor)
    return False


class Held:
    """A lock that is held until it is closed; whoever inherits `descriptor` holds on to it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._open = True

    def close(self) -> None:
        if self._open:
            self._open = False
            os.close(self.descriptor)

    def __enter__(self) -> int:
        return self.descriptor

    def __exit__(self, *_: object) -> None:
        self.close()


class exclusive:
    """Hold the lock for the length of a `with` block, waiting for it as long as it takes."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._descriptor = open_lock(self._path)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def owner(path: str) -> str:
    """What the holder wrote for people into the first line of its lock file (at most 200 characters)."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(200).partition("\n")[0]
    except OSError:
        return ""
