"""The journal of a task: what was intended and what came of it, one JSON object a line, flushed to disk line by line.

Lines (all have `event` and `at`, epoch seconds, and last of all `crc`, the CRC-32 of the line without it):

=========== ==================================================================================================================
journal     first line; `format` 1
attempt     before Codex starts: `id`, `number`, `role`, `tip`, `thread`, `prompt` (sha256), `offset` (bytes of the transcript), `full`, `guard`
told        `id`, and `guard` (empty) or `tip`: a person was told that it is another now, so that counts no more, or as the attempt's from here on
started     `id`, `pid`, `start`, `boot`: who Codex is
ended       Codex is gone: `id`, `kind`, `message`, `returncode`, `seconds`
checks      `tree`, `results`: [{command, returncode, seconds, tail}]
result      the attempt is closed: `id`, `commit` (null: it was no session), `outcome`, `thread`, `usage` (cumulative, of the thread)
word        the runner's last word: `state`, `reason`, its exit `status`; or that it waits, `until` when (epoch seconds), and why
=========== ==================================================================================================================

An attempt without a result was interrupted by the death of its runner; the next one closes it. A torn last line (the death of a writer) is dropped.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .errors import AutonomousError

FORMAT = 1
Record = dict[str, Any]


class Journal:
    """Append-only access to one task's journal. Only the holder of the task's runner.lock writes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Record]:
        """All lines. Raises AutonomousError for a damaged or newer journal; it is kept as it is."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return []
        records: list[Record] = []
        for number, line in enumerate(_whole_lines(data), start=1):
            record = _parse(line)
            if record is None:
                raise AutonomousError(f"line {number} of {self.path} is damaged", "git autonomous doctor --repair")
            records.append(record)
        if records and not _is_header(records[0]):
            raise AutonomousError(
                f"{self.path} was written by another version of git autonomous", "git autonomous doctor --repair"
            )
        return records

    def salvage(self) -> list[Record]:
        """The lines of a damaged journal that can still be read; none of another version's."""
        records = [_parse(line) for line in _whole_lines(self.path.read_bytes())]
        if records and records[0] is not None and not _is_header(records[0]):
            return []
        return [record for record in records if record is not None and record["event"] != "journal"]

    def replace(self, records: Iterable[Record]) -> Path:
        """Begin a new journal with these lines. Returns where the old one is kept. Raises OSError."""
        kept = self.path.with_name(f"{self.path.name}.{time.time_ns()}")
        new = Journal(self.path.with_name(f"{self.path.name}.new"))
        new.path.unlink(missing_ok=True)
        for record in records:
            new.append(**{key: value for key, value in record.items() if key != "crc"})
        os.link(self.path, kept)
        if new.path.exists():
            new.path.replace(self.path)
        else:
            self.path.unlink()
        return kept

    def append(self, event: str, **fields: object) -> None:
        """Write one line and flush it to disk. Raises OSError (a full disk leaves a torn line, which readers drop)."""
        line = _line({"event": event, "at": round(time.time(), 3), **fields})
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size == 0:
                line = _line({"event": "journal", "at": round(time.time(), 3), "format": FORMAT}) + line
            elif os.pread(descriptor, 1, size - 1) != b"\n":
                self._drop_torn_line(descriptor, size)
            os.write(descriptor, line.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @staticmethod
    def _drop_torn_line(descriptor: int, size: int) -> None:
        tail = os.pread(descriptor, min(size, 1 << 20), max(0, size - (1 << 20)))
        os.ftruncate(descriptor, size - len(tail) + tail.rfind(b"\n") + 1)


def _line(record: Record) -> str:
    text = json.dumps(record, ensure_ascii=True)
    return f"{text[:-1]}{_CRC}{zlib.crc32(text.encode())}}}\n"


_CRC = ', "crc": '


def _whole_lines(data: bytes) -> list[bytes]:
    whole, newline, _ = data.rpartition(b"\n")
    return whole.split(b"\n") if newline else []


def _parse(line: bytes) -> Record | None:
    """What a line says, None when it is damaged."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not isinstance(record.get("event"), str):
        return None
    text, there, crc = line.rpartition(_CRC.encode())
    if there and crc != b"%d}" % zlib.crc32(text + b"}"):
        return None
    return record


def _is_header(record: Record) -> bool:
    return record["event"] == "journal" and record.get("format") == FORMAT


def open_attempt(records: list[Record]) -> Record | None:
    """The last attempt when it has no result, with what is known of its process under `pid`, `start`, `boot`."""
    attempt: Record | None = None
    for record in records:
        if record["event"] == "attempt":
            attempt = dict(record)
        elif attempt is not None and record.get("id") == attempt.get("id"):
            if record["event"] == "result":
                attempt = None
            else:
                attempt.update({key: value for key, value in record.items() if key not in ("event", "at")})
    return attempt


def last(records: list[Record], event: str) -> Record | None:
    return next((record for record in reversed(records) if record["event"] == event), None)


def last_thread(records: list[Record]) -> tuple[str, bool] | None:
    """The thread of the newest attempt that got one, and whether that attempt became a session's commit."""
    for record in reversed(records):
        if record["event"] in ("result", "attempt") and record.get("thread"):
            return record["thread"], bool(record.get("commit"))
    return None


def usages(records: list[Record]) -> dict[str, Record]:
    """The last cumulative usage seen of each thread."""
    return {
        record["thread"]: record["usage"]
        for record in records
        if record["event"] == "result" and record.get("thread") and record.get("usage")
    }
