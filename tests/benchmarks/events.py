"""A transcript to follow: events as Codex writes them, in the mixture and with the lengths of ordinary work."""

from __future__ import annotations

import json
from collections.abc import Iterator

OUTPUT = "tests/test_api.py::test_an_item_can_be_ticked PASSED   [ 42%]  \u2713 \x1b[32mok\x1b[0m\n"


def megabyte() -> bytes:
    """About a million bytes of whole lines."""
    lines: list[bytes] = []
    size = 0
    for event in _events():
        lines.append(json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        size += len(lines[-1])
        if size >= 1_000_000:
            return b"".join(lines)
    raise AssertionError


def _events() -> Iterator[dict[str, object]]:
    """Commands with 1 to 6 KB of output each, every twentieth with 100 KB; a patch, a thought and a message now and then."""
    number = 0
    while True:
        number += 1
        command = {"id": f"item_{number}", "type": "command_execution", "command": "/bin/bash -lc 'pytest -q tests'"}
        running = {"aggregated_output": "", "exit_code": None, "status": "in_progress"}
        yield {"type": "item.started", "item": {**command, **running}}
        output = OUTPUT * (1400 if number % 20 == 0 else 14 + number % 70)
        yield {
            "type": "item.completed",
            "item": {**command, "aggregated_output": output, "exit_code": 0, "status": "completed"},
        }
        text = "I look at the failing test first, then at the handler that it calls. " * 4
        yield {"type": "item.completed", "item": {"id": f"item_{number}r", "type": "reasoning", "text": text}}
        yield {"type": "item.completed", "item": {"id": f"item_{number}m", "type": "agent_message", "text": text}}
        changes = [{"path": f"/work/src/module_{number}.py", "kind": "update"}]
        change = {"id": f"item_{number}f", "type": "file_change", "changes": changes, "status": "completed"}
        yield {"type": "item.completed", "item": change}
