"""Checks: commands that must pass before work counts as done. They run inside the agent's own sandbox, so they have no right that it did not have."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import codex, journal, process
from .errors import AutonomousError
from .workspace import Workspace

TAIL = 4000


@dataclass(frozen=True)
class CheckResult:
    """One command's end. `tail`: the last 4,000 characters of what it printed, both streams; `seconds`: how long it took."""

    command: str
    returncode: int
    seconds: float
    tail: str
    timed_out: bool = False

    @property
    def passed(self) -> bool:
        return self.returncode == 0 and not self.timed_out

    def to_json(self) -> dict[str, object]:
        return {
            "command": self.command,
            "returncode": self.returncode,
            "timed_out": self.timed_out,
            "output": self.tail,
        }


def verdict(results: Sequence[CheckResult]) -> str:
    """passed, failed, or none where nothing was checked."""
    if not results:
        return "none"
    return "passed" if all(result.passed for result in results) else "failed"


def run_checks(
    workspace: Workspace, on_check: Callable[[str], None], stopped: Callable[[], bool]
) -> tuple[CheckResult, ...] | None:
    """Run the task's checks in order, all of them, and end what they leave behind. `on_check` is told each command before it starts.

    Once `stopped` is true, the check at work is ended, and None returned: nothing is known then.
    """
    results = []
    name, _, value = workspace.marker.partition("=")
    with workspace.private_tmpdir() as tmpdir:
        environment = {**codex.environment(tmpdir, workspace.worktree.path), name: value}
        for command in workspace.task.checks:
            if stopped():
                return None
            on_check(command)
            argv = codex.sandbox_argv(
                workspace.codex,
                command,
                main_root=workspace.repository.main_root,
                access=workspace.access,
                config=workspace.task.options.config,
            )
            began = time.monotonic()
            done = process.run(
                argv,
                cwd=workspace.worktree.path,
                env=environment,
                timeout=workspace.settings.check_timeout or None,
                should_stop=stopped,
            )
            output = (done.stdout + done.stderr).decode("utf-8", "replace")
            results.append(
                CheckResult(
                    command, done.returncode, round(time.monotonic() - began, 1), output[-TAIL:], done.timed_out
                )
            )
            if workspace.access.full:  # nothing survives its sandbox
                process.sweep(workspace.marker)
            codex.clean_leftovers(workspace.worktree.path)
    return None if stopped() else tuple(results)


def failed_on(directory: Path, tree: str) -> CheckResult | None:
    """The first check that failed on this very tree, by the journal in a task's local folder; None where this machine does not know of one."""
    try:
        checked = journal.last(journal.Journal(directory / "journal.jsonl").read(), "checks")
    except (AutonomousError, OSError):
        return None
    if checked is None or checked["tree"] != tree:
        return None
    return next((result for result in from_journal(checked["results"]) if not result.passed), None)


def to_journal(results: Sequence[CheckResult]) -> list[dict[str, Any]]:
    return [asdict(result) for result in results]


def from_journal(results: Sequence[dict[str, Any]]) -> tuple[CheckResult, ...]:
    return tuple(CheckResult(**result) for result in results)
