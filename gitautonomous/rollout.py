"""Codex's own file of a conversation: what it tells that the stream does not, and whether it still grows.

$CODEX_HOME/sessions/YYYY/MM/DD/rollout-<local time>-<thread>.jsonl. Its format is internal to Codex, so everything that is
read from it may be missing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .ends import RolloutFacts
from .events import object_of, parse_object, text_of, usage_of

THREAD = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
"""A thread's id: a UUID in lower case. Codex takes anything else for a name, and silently begins a new thread."""

_TAIL = 4 << 20  # bytes of the end that are read
_HEAD = 1 << 18  # and of the beginning, where the end does not name the model


def find_rollout(home: Path, thread: str) -> Path | None:
    """The rollout file of a thread in the CODEX_HOME `home`; None when there is none."""
    if not THREAD.fullmatch(thread):
        return None
    try:
        days = sorted(home.glob("sessions/*/*/*/"), reverse=True)  # the thread at work is among the newest
        # Not by a pattern with the thread in it: Python keeps hundreds of those.
        found = (day / name for day in days for name in os.listdir(day) if name.endswith(f"-{thread}.jsonl"))
        return next((path for path in found if path.name.startswith("rollout-")), None)
    except OSError:
        return None


def read_rollout(home: Path, thread: str) -> RolloutFacts:
    """What the rollout file of a thread tells about its newest turn. Never raises; reads 4 MiB of the file at most."""
    path = find_rollout(home, thread)
    if path is None:
        return RolloutFacts()
    facts: dict[str, Any] = {}
    for entry in _entries(path, -_TAIL):
        _take(facts, text_of(entry, "type"), object_of(entry, "payload"))
    if "model" not in facts:
        for entry in _entries(path, _HEAD):
            if entry.get("type") == "turn_context":
                facts["model"] = text_of(object_of(entry, "payload"), "model") or None
    return RolloutFacts(**facts)


def _take(facts: dict[str, Any], kind: str, payload: dict[str, Any]) -> None:
    if kind == "turn_context":
        facts["model"] = text_of(payload, "model") or None
    if kind != "event_msg":
        return
    match payload.get("type"):
        case "task_started":
            for name in ("error_info", "http_status", "message", "resets_at"):
                facts.pop(name, None)
        case "token_count":
            info = object_of(payload, "info")
            facts["usage"] = usage_of(info.get("total_token_usage"))
            facts["last_usage"] = usage_of(info.get("last_token_usage"))
            facts["context_window"] = _whole(info.get("model_context_window"))
            facts["resets_at"] = _reset(object_of(payload, "rate_limits"))
        case "task_complete":
            error = object_of(payload, "error")
            facts["message"] = text_of(error, "message") or None
            facts["error_info"], facts["http_status"] = _code(error.get("codex_error_info"))


def _code(info: object) -> tuple[str | None, int | None]:
    """Either "a_code", or {"a_code": {"http_status_code": 429}}."""
    if isinstance(info, dict) and len(info) == 1:
        name, detail = next(iter(info.items()))
        return str(name), _whole(detail.get("http_status_code")) if isinstance(detail, dict) else None
    return (info, None) if isinstance(info, str) else (None, None)


def _reset(limits: dict[str, Any]) -> float | None:
    """When the last of the used-up limits is reset; None when none is used up."""
    resets = []
    for name in ("primary", "secondary"):
        window = object_of(limits, name)
        used, reset = window.get("used_percent"), _whole(window.get("resets_at"))
        if isinstance(used, int | float) and used >= 100 and reset is not None:
            resets.append(float(reset))
    return max(resets, default=None)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and abs(value) < 1 << 62 else None


def _entries(path: Path, size: int) -> Iterator[dict[str, Any]]:
    """The JSON objects of the file's first `size` bytes, or of its last ones when `size` is negative."""
    try:
        with path.open("rb") as file:
            length = os.fstat(file.fileno()).st_size
            start = max(0, length + size) if size < 0 else 0
            file.seek(start)
            lines = file.read(abs(size)).split(b"\n")
    except OSError:
        return
    for line in lines[1:] if start else lines:
        entry = parse_object(line)
        if entry is not None:
            yield entry


class Growth:
    """Whether a thread's rollout file has grown since it was last asked about: a sign of life beside the stream."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._path: Path | None = None
        self._size = 0

    def seen(self, thread: str | None) -> bool:
        """True when there is more in the file than the last time."""
        if self._path is None and thread is not None:
            self._path = find_rollout(self._home, thread)
        before = self._size
        try:
            self._size = self._path.stat().st_size if self._path else before
        except OSError:
            pass  # moved away in the middle: no sign of life
        return self._size > before
