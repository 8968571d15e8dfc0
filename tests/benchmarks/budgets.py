"""The budgets: what each thing may cost, in one table.

A budget is a ratio. Its denominator is measured in the same run, or it is a fixed figure (`fixed`, in the row's unit). A row
whose `at_most` is None is measured for information.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Unit = Literal["s", "MB", "of"]


@dataclass(frozen=True)
class Budget:
    """`what` may hold {n}, the size that was measured; `against` says what the denominator is."""

    what: str
    against: str
    at_most: float | None
    unit: Unit = "s"
    fixed: float | None = None


MEMORY = 60.0
GROWTH_OF_MEMORY = 10.0
BETWEEN = 0.15
REVIEW = 1.0

BUDGETS: dict[str, Budget] = {
    "list-100": Budget("list of {n:,} tasks", "python -c pass + git for-each-ref", 2.5),
    "list-100-by-hand": Budget("the same, a person committed to one", "python -c pass + git for-each-ref", 2.5),
    "completion": Budget("completion of a task name in bash, {n:,} tasks", "python -c pass + git for-each-ref", 2.5),
    "list-5000-first": Budget("list of {n:,} tasks, for the first time", "git branch -v --list", 1.2),
    "list-5000": Budget("list of {n:,} tasks", "git branch -v --list", 1.2),
    "list-5000-here": Budget("the same, all ran here, a person committed to 1 %", "git branch -v --list", 1.2),
    "help": Budget("--help", "a Typer app with one parameter", 1.2),
    "commands": Budget("the slowest command's -h, of {n} commands", "a Typer app with one parameter", 1.2),
    "status": Budget("status of a task, the work itself included", "a Typer app with one parameter", None),
    "hook": Budget("a commit with the slowest of our {n} hooks", "the commit without it", 1.35),
    "conflicts": Budget("forecast of conflicts, {n} tasks", "git merge-tree --stdin, the same pairs", 1.2),
    "review": Budget("review of a task of {n:,} sessions", "limit", 1.0, fixed=REVIEW),
    "merge": Budget("merge of a task, {n:,} files, less start-up", "git merge --no-ff", None),
    "start": Budget(
        "start, {n:,} files, until Codex runs, less start-up", "git -c checkout.workers=<cores> worktree add", 1.15
    ),
    "close-changed": Budget("close of a session, 100 of {n:,} files changed", "git add -A && git commit", 1.2),
    "close-new": Budget("close of a session that added {n:,} files", "git add -A && git commit", 1.2),
    "between": Budget("between two sessions, delay 0, the first {n}", "limit", 1.0, fixed=BETWEEN),
    "between-growth": Budget("between two sessions, after {n} sessions", "the first ones", 1.1),
    "memory-first": Budget("memory of a runner after {n} session", "limit", 1.0, "MB", MEMORY),
    "memory-middle": Budget("memory of a runner after {n} sessions", "limit", 1.0, "MB", MEMORY),
    "memory-last": Budget("memory of a runner after {n} sessions", "limit", 1.0, "MB", MEMORY),
    "transcript": Budget("following a transcript of {n:,} MB", "cat | cat", 5.0),
    "transcript-memory": Budget("growth of memory meanwhile", "limit", 1.0, "MB", GROWTH_OF_MEMORY),
    "at-once": Budget("{n} tasks started at once: how many failed", "all", 0.0, "of"),
    "at-once-wall": Budget("{n} tasks started at once", "the same in as many repositories", 2.0),
    "committing": Budget("{n} tasks at work at once: sessions lost", "all", 0.0, "of"),
    "recovery": Budget("resume after kill -9, until Codex runs", "resume of a paused task", 2.0),
    "real": Budget("a session of the real Codex", "codex exec alone", None),
}
