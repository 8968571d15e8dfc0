"""Tasks as the runner would have left them, made without an agent."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from agent import task_list
from conftest import git

from gitautonomous import git as program_git
from gitautonomous import model
from gitautonomous.config import Approvals, Settings
from gitautonomous.git import Repository
from gitautonomous.model import Options, Session, Task
from gitautonomous.objects import Objects
from gitautonomous.tasks import Place

Change = Mapping[str, str | None]


def place_of(repo: Path, **settings: object) -> Place:
    repository = Repository.discover(repo)
    approvals = Approvals(repo.parent / "approvals.json")
    return Place(repository, Objects(repository.common_dir), Settings(**settings), approvals)  # type: ignore[arg-type]


def start(repo: Path, name: str, *, base: str = "main", checks: Sequence[str] = (), worktree: bool = True) -> Task:
    """A new task: its start commit, its branch and, unless told otherwise, its worktree."""
    place = place_of(repo)
    commit = git(repo, "rev-parse", base)
    task = Task(name, f"Do {name} well", base, commit, model.iso(time.time()), Options(checks=tuple(checks)))
    tree = place.objects.with_files(place.objects.commit(commit).tree, {task.file: model.write_task(task).encode()})
    identity = place.repository.identity()
    first = place.objects.write_commit(None, model.start_message(task), tree, [commit], identity=identity)
    place.repository.update_ref(place.ref(name), first, program_git.ZERO, "start")
    if worktree:
        place.repository.add_worktree(place.repository.worktree_path(name, None), place.branch(name))
    return task


def session(
    repo: Path,
    task: Task,
    files: Change,
    *,
    number: int,
    done: int,
    total: int,
    check: str = "none",
    role: str = "executor",
) -> str:
    """One session: its files (None: deleted) with both tracking files, as one commit, in the worktree too where there is one."""
    place = place_of(repo)
    tip = place.objects.tip(place.ref(task.name))
    assert tip is not None
    listed = task_list([f"item {item}" for item in range(1, total + 1)]).replace("- [ ]", "- [x]", done)
    contents: dict[str, str | None] = {
        **files,
        task.list_file: listed,
        task.progress_file: "".join(f"## Session {each}\nDone.\n\n" for each in range(1, number + 1)),
    }
    index = repo.parent / "index-of-a-session"
    environment = {"GIT_INDEX_FILE": str(index)}
    call = place.repository.run
    call("read-tree", tip, extra=environment)
    for path, text in contents.items():
        if text is None:
            call("update-index", "--force-remove", "--", path, extra=environment)
        else:
            blob = place.objects.blob(text.encode())
            call("update-index", "--add", "--replace", "--cacheinfo", f"100644,{blob},{path}", extra=environment)
    tree = call("write-tree", extra=environment).strip()
    index.unlink()
    record = Session(
        task=task.name, number=number, role=role, done=done, total=total, check=check, base=task.base, tokens=10,
        all_tokens=10 * number, seconds=5, all_seconds=5 * number, assisted_by="Codex:gpt-5.5",
    )  # fmt: skip
    ticked = [f"item {done}"] if role == "executor" and done else []
    message = model.commit_message(record, ticked=ticked, closing="It is done.")
    commit = place.objects.write_commit(None, message, tree, [tip], identity=place.repository.identity())
    place.repository.update_ref(place.ref(task.name), commit, tip, f"session {number}")
    entry = place.repository.worktree_of(place.branch(task.name))
    if entry is not None:
        git(entry.path, "reset", "--quiet", "--hard")
    return commit


def finished(
    repo: Path,
    name: str,
    *changes: Change,
    base: str = "main",
    checks: Sequence[str] = (),
    worktree: bool = True,
    left: int = 0,
) -> Task:
    """A task whose initializer wrote a list of one item for each of `changes` (and `left` more), each worked off by one session."""
    task = start(repo, name, base=base, checks=checks, worktree=worktree)
    total, check = len(changes) + left, "passed" if checks else "none"
    session(repo, task, {}, number=1, done=0, total=total, role="initializer")
    for number, files in enumerate(changes, start=1):
        session(
            repo, task, files, number=number + 1, done=number, total=total, check=check if number == total else "none"
        )
    return task


def worktree_of(repo: Path, name: str) -> Path:
    return repo.parent / f"{repo.name}.autonomous" / name
