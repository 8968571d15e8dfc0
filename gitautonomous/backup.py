"""Keeping a task's whole state under a ref before something destructive happens to it."""

from __future__ import annotations

import os
import time

from .git import Repository, Worktree
from .objects import Objects


def keep(repository: Repository, objects: Objects, task: str, branch: str) -> str:
    """Keep the branch and everything uncommitted in its worktree at `refs/autonomous/backup/<task>/<n>`; repositories inside it go to the attic.

    Returns the ref. Ignored files are not kept: the caller names them first.
    """
    tip = objects.tip(f"refs/heads/{branch}")
    assert tip is not None
    kept = tip
    entry = repository.worktree_of(branch)
    if entry is not None and entry.path.exists():
        worktree = Worktree.registered(repository, entry.path)
        if not worktree.clean():
            tree, nested = worktree.stage({})
            attic = repository.make_state_dir("attic", task)
            for path in nested:
                os.rename(entry.path / path, attic / f"{time.time_ns()}-{os.path.basename(path)}")
            kept = objects.write_commit(
                None, f"{task}: uncommitted files of its worktree\n", tree, [tip], identity=repository.identity()
            )
    ref = next_ref(objects, f"refs/autonomous/backup/{task}/")
    repository.update_ref(ref, kept, "0" * 40, f"keep {task}")
    return ref


def next_ref(objects: Objects, prefix: str) -> str:
    """`<prefix><n>` with the next free number."""
    numbers = [int(name.rpartition("/")[2]) for name in objects.refs(prefix) if name.rpartition("/")[2].isdecimal()]
    return f"{prefix}{max(numbers, default=0) + 1}"
