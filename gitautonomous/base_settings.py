"""Which `.autonomous.toml` holds: that of a commit that no agent wrote."""

from __future__ import annotations

from . import model
from .config import TOML_NAME
from .errors import AutonomousError
from .git import Repository, text

DEEPEST = 20
"""Tasks that start from one another's branches are followed so far."""


def read(repository: Repository, revision: str = "HEAD") -> bytes | None:
    """The content of `.autonomous.toml` in the commit that `revision` names, None where there is none.

    A task's branch holds what agents wrote: for it counts the commit that the task started from.
    """
    commit = repository.resolve(revision)
    done = repository.call(
        "rev-parse", "--symbolic-full-name", "--end-of-options", revision, git_dir=repository.git_dir
    )
    branch = text(done.stdout).strip().rpartition("\n")[2]
    try:
        for _ in range(DEEPEST):
            task = _task_of(repository, branch, commit) if commit else None
            if task is None:
                break
            branch, commit = f"refs/heads/{task.base}", repository.resolve(task.base_commit)
    except AutonomousError:  # a task.toml that nobody can read
        return None
    return _blob(repository, commit, TOML_NAME) if commit else None


def _task_of(repository: Repository, branch: str, commit: str) -> model.Task | None:
    """The task whose branch (full name) this is. A base that has the tracking files of a task of its own name is none."""
    name = branch.rpartition("/")[2]
    content = _blob(repository, commit, f".autonomous/{name}/task.toml") if name else None
    task = model.read_task(name, content) if content is not None else None
    return task if task is not None and branch != f"refs/heads/{task.base}" else None


def _blob(repository: Repository, commit: str, path: str) -> bytes | None:
    done = repository.call("cat-file", "blob", f"{commit}:{path}", git_dir=repository.git_dir)
    return done.stdout if done.returncode == 0 else None
