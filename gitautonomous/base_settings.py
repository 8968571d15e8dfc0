"""Which `.autonomous.toml` holds: that of a commit that no agent wrote."""

from __future__ import annotations

from collections.abc import Callable

from . import model
from .config import TOML_NAME
from .errors import AutonomousError
from .git import Repository

DEEPEST = 20
"""Tasks that start from one another's branches are followed so far."""


Blob = Callable[[str, str], bytes | None]
"""The content of a file (path) in a commit, None where there is none."""


def read(repository: Repository, revision: str = "HEAD", blob: Blob | None = None) -> bytes | None:
    """The content of `.autonomous.toml` in the commit that `revision` names, None where there is none.

    A task's branch holds what agents wrote: for it counts the commit that the task started from. `blob`: `Objects.read`, where that is at hand; a git otherwise.
    """
    blob = blob or repository.blob
    commit = repository.resolve(revision)
    if commit is None:
        return None
    branch = repository.full_name(revision)
    try:
        for _ in range(DEEPEST):
            task = _task_of(blob, branch, commit)
            if task is None:
                break
            branch, commit = f"refs/heads/{task.base}", task.base_commit
    except AutonomousError:  # a task.toml that nobody can read
        return None
    return blob(commit, TOML_NAME)


def _task_of(blob: Blob, branch: str, commit: str) -> model.Task | None:
    """The task whose branch (full name) this is. A base that has the tracking files of a task of its own name is none."""
    name = branch.rpartition("/")[2]
    content = blob(commit, f".autonomous/{name}/task.toml") if name else None
    task = model.read_task(name, content) if content is not None else None
    return task if task is not None and branch != f"refs/heads/{task.base}" else None
