"""A terminal for a test: a pty in which the program runs as a session's foreground job, as from a shell."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from program import PROGRAM

PATIENCE = 30.0  # seconds
SEQUENCE = re.compile(r"\x1b(?:\[[?0-9;]*[A-Za-z~]|\][^\x07\x1b]*(?:\x07|\x1b\\))")


class Terminal:
    """What was shown so far is `shown`, as it came. `close` hangs up."""

    def __init__(self, columns: int = 100, rows: int = 24) -> None:
        self.leader, self.follower = os.openpty()
        fcntl.ioctl(self.leader, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.shown = ""

    def run(
        self, folder: Path, arguments: Sequence[str], program: Sequence[str] = PROGRAM, **environment: str
    ) -> subprocess.Popen[bytes]:
        """Start the program with this as its controlling terminal: Ctrl-C and a hang-up reach it as in real life."""
        # A wrapper gets the terminal, since what runs between fork and exec in a Python with threads may not take a lock.
        setup = (
            "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
        )
        return subprocess.Popen(
            [PROGRAM[0], "-c", setup, *program, *arguments],
            cwd=folder,
            stdin=self.follower,
            stdout=self.follower,
            stderr=self.follower,
            env={**os.environ, **environment},
            start_new_session=True,
        )

    def type(self, keys: bytes) -> None:
        os.write(self.leader, keys)

    def text(self) -> str:
        """What was shown, without sequences: every drawing of a live area follows the one before."""
        return SEQUENCE.sub("", self.shown)

    def read(self, seconds: float = 0.0) -> bool:
        """Take in what was shown meanwhile. Returns whether there was anything."""
        ready, _, _ = select.select([self.leader], [], [], seconds)
        if not ready:
            return False
        try:
            data = os.read(self.leader, 1 << 16)
        except OSError:  # nobody has it open any more
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)

    def until(self, text: str, times: int = 1) -> None:
        """Return as soon as `text` was shown so often, of all that was shown so far."""
        deadline = time.monotonic() + PATIENCE
        while self.text().count(text) < times:
            assert time.monotonic() < deadline, f"never shown: {text!r}, but: {self.text()!r}"
            self.read(0.1)

    def until_asked(self, program: subprocess.Popen[bytes], question: str) -> None:
        """Return as soon as the program waits for an answer: Python loses a Ctrl-C that comes between its question and its read."""
        self.until(question)
        deadline = time.monotonic() + PATIENCE
        while Path(f"/proc/{program.pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
            assert time.monotonic() < deadline, f"never waited: {self.text()!r}"
            self.read(0.01)

    def finish(self, program: subprocess.Popen[bytes]) -> int:
        """Wait for the end of the program and return its status."""
        deadline = time.monotonic() + PATIENCE
        while program.poll() is None:
            assert time.monotonic() < deadline, f"never ended: {self.text()!r}"
            self.read(0.05)
        while self.read():
            pass
        return program.returncode

    def close(self) -> None:
        for descriptor in (self.leader, self.follower):
            with suppress(OSError):
                os.close(descriptor)


@contextmanager
def terminal(columns: int = 100, rows: int = 24) -> Iterator[Terminal]:
    opened = Terminal(columns, rows)
    try:
        yield opened
    finally:
        opened.close()
