"""What a task would make run on this machine: `runs.what_runs` on what a merge would bring, with the user's own settings."""

from __future__ import annotations

import os
from pathlib import Path

from . import threeway
from .git import Repository, text
from .objects import Objects
from .runs import Change, Hazard, what_runs


def of_merge(repository: Repository, objects: Objects, base: str, tip: str, *, without: str = "") -> tuple[Hazard, ...]:
    """What runs or is obeyed here once `tip` is merged into `base` (commits). `without`: a folder that is not merged."""
    changed = threeway.changes(repository, objects, fork_point(repository, base, tip), tip)
    return of_changes(repository, threeway.outside(changed, without) if without else changed)


def of_changes(repository: Repository, changed: tuple[Change, ...]) -> tuple[Hazard, ...]:
    """Of these changes the ones that something runs or obeys, the user's own hooks folder in the tree included."""
    return what_runs(changed, hooks_path=hooks_in_tree(repository))


def fork_point(repository: Repository, base: str, tip: str) -> str:
    """The newest commit that both have; `base` itself where there is none."""
    done = repository.call("merge-base", "--end-of-options", base, tip)
    return text(done.stdout).split("\n")[0] if done.returncode == 0 else base


def hooks_in_tree(repository: Repository) -> str | None:
    """The user's core.hooksPath relative to the top of the tree, None where it is not set or lies outside."""
    values = [value for _, key, value in repository.config() if key == "core.hookspath"]
    if not values or not values[-1]:
        return None
    for root in filter(None, (repository.toplevel, repository.main_root)):
        path = Path(os.path.normpath(root / os.path.expanduser(values[-1])))
        if path != root and path.is_relative_to(root):
            return str(path.relative_to(root))
    return None
