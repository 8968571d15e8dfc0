"""A usage limit holds for an account, not for a task: what one runner ran into, every other one with the same CODEX_HOME learns from a file.

`limits/<key>` in the user's state folder has three lines: until when (epoch seconds), since when, and why. When that time has passed, one runner tries it out, alone, while it
holds `limits/<key>.lock`; what comes of that is told by the file: it is gone, or it has a new time.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from . import locks

_LIMIT = 4096  # bytes of the file that are read


@dataclass(frozen=True)
class UsageLimit:
    """`until`, `seen`: epoch seconds; `reason`: in Codex's words."""

    until: float
    seen: float
    reason: str


class Account:
    """The account behind a CODEX_HOME. `folder`: the user's state folder."""

    def __init__(self, folder: Path, codex_home: Path) -> None:
        key = hashlib.sha256(os.fsencode(os.path.realpath(codex_home))).hexdigest()[:16]
        self._file = folder / "limits" / key
        self._lock: int | None = None

    @property
    def trying(self) -> bool:
        """Whether this runner is the one that tries out whether the limit is over."""
        return self._lock is not None

    def limit(self) -> UsageLimit | None:
        """The limit that was seen last; None where there is none."""
        try:
            with open(self._file, encoding="utf-8", errors="replace") as file:
                until, seen, reason = file.read(_LIMIT).split("\n", 2)
            return UsageLimit(float(until), float(seen), reason)
        except (OSError, ValueError):
            return None

    def limited(self, until: float, reason: str) -> None:
        """Tell the others that nothing goes until then (epoch seconds). Raises OSError."""
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        temporary.write_text(f"{until:.3f}\n{time.time():.3f}\n{reason}", encoding="utf-8", errors="replace")
        os.replace(temporary, self._file)
        self.leave()

    def try_it(self) -> bool:
        """Become the one that tries. False while another one does."""
        if self.trying:
            return True
        descriptor = locks.open_lock(f"{self._file}.lock")
        if not locks.try_lock(descriptor, patience=0):
            os.close(descriptor)
            return False
        self._lock = descriptor
        return True

    def over(self) -> None:
        """It went well: the others may go on."""
        with suppress(FileNotFoundError):
            self._file.unlink()
        self.leave()

    def leave(self) -> None:
        """Nobody knows: the next one may try."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def moved_on(self, seen: UsageLimit) -> bool:
        """Whether there is more to know than `seen`, or nobody at work on finding out though its time has passed."""
        if self.limit() != seen:
            return True
        return seen.until <= time.time() and not locks.is_held(f"{self._file}.lock")
