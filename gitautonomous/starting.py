"""Starting a task: its name, its start commit, its branch and its worktree. Everything is checked before anything is made."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from . import backup, codex, doctor, git, model, stopping
from .config import Settings
from .errors import AutonomousError
from .git import Repository, Worktree
from .locks import Held
from .model import Options, Task
from .runner import check_templates
from .screen import Screen
from .tasks import (
    Ask,
    Place,
    Request,
    Result,
    base_of_people,
    make_ready,
    of_people,
    open_place,
    refuse_nested,
    run,
    set_aside_local_files,
    workspace_of,
)


def start(
    goal: str,
    request: Request,
    ask: Ask,
    screen: Screen,
    *,
    name: str | None = None,
    base: str | None = None,
    replace_old: bool = False,
) -> Result:
    """Make a task and run it. Everything is checked before anything is made."""
    goal = model.check_goal(goal)
    if name is not None:
        model.check_name(name)
    place = open_place(request.flags, ask, base=base or "HEAD")
    refuse_nested(place)
    repository = place.repository
    uncommitted: list[bool] = []  # git looks through a large checkout while the rest goes on
    look = threading.Thread(target=lambda: uncommitted.append(repository.dirty()), daemon=True)
    look.start()
    base_name, base_commit = resolve_base(repository, base)
    wanted = slug = name or model.slug(goal, datetime.now())
    git.check_branch_name(repository, place.branch(wanted))
    engine = doctor.preflight(repository, place.settings, say=screen.note, overrides=codex.check_config(request.config))
    repository.refuse_unsafe_filters()
    check_templates(place.settings.templates)
    taken = place.names()
    if wanted.lower() in {other.lower() for other in taken}:
        if replace_old:
            replace_task(place, wanted, engine, screen)
        elif name is not None:
            raise NameTaken(name)
        else:
            wanted = model.free_name(wanted, taken)
    task = Task(
        name=wanted,
        goal=goal,
        base=base_name,
        base_commit=base_commit,
        created=model.iso(time.time()),
        options=options_of(place.settings, request),
    )
    if text := model.approval_text(task):
        place.approvals.approve(repository.common_dir, text)
    while True:
        try:
            worktree, lock = create(place, task, screen.note)
            break
        except NameTaken:
            if name is not None:
                raise
            task = replace(task, name=model.free_name(slug, place.names()))
    with lock:
        screen.note(f"task {task.name}: branch {place.branch(task.name)}, worktree {worktree.path}")
        look.join()
        if any(uncommitted):
            screen.note(
                f"your uncommitted changes are not part of the task: it starts from {base_name} ({base_commit[:10]})"
            )
        peoples = base_of_people(place, task)
        make_ready(place, task, worktree, screen, None if peoples else engine, copy=peoples)
        workspace = workspace_of(place, task, worktree, engine)
        untouched = not place.settings.setup
        return Result(place, task.name, run(workspace, request, screen, lock, untouched=untouched))


def resolve_base(repository: Repository, base: str | None) -> tuple[str, str]:
    """(branch, commit) to start from: HEAD's branch, or what `--base` names. Raises AutonomousError."""
    if base is not None:
        commit = None if base.startswith("-") else repository.resolve(base)
        if commit is None:
            raise AutonomousError(
                f"there is no branch or commit '{model.one_line(base, 80)}' to start from", "git branch --all"
            )
        full = repository.full_name(base)
        for prefix in ("refs/heads/", "refs/remotes/"):
            if full.startswith(prefix):
                return full.removeprefix(prefix), commit
        raise AutonomousError(
            f"'{base}' is not a branch, so nothing could be merged into it later",
            f'git branch my-base {base} && git autonomous start --base my-base "GOAL"',
        )
    branch = repository.head_branch()
    if branch is None:
        raise AutonomousError(
            "HEAD is detached, so there is no branch to merge into later", 'git autonomous start --base main "GOAL"'
        )
    commit = repository.resolve("HEAD")
    if commit is None:
        raise AutonomousError(f"the branch {branch} has no commit yet", "git commit --allow-empty -m 'First commit'")
    return branch, commit


def options_of(settings: Settings, request: Request) -> Options:
    return Options(
        max_sessions=settings.max_sessions,
        max_tokens=settings.max_tokens,
        max_time=settings.max_time,
        model=settings.model,
        profile=settings.profile,
        config=request.config,
        checks=() if request.no_check else settings.checks,
        no_check=request.no_check,
        sandbox_network=settings.sandbox_network,
        network=settings.network,
    )


class NameTaken(AutonomousError):
    """There is a task of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"there is a task named '{name}' already",
            f'git autonomous resume {name}    # or start it anew, the old one kept: git autonomous start --replace --name {name} "GOAL"',
        )


def create(
    place: Place,
    task: Task,
    say: Callable[[str], None],
    files: Mapping[str, bytes] | None = None,
    message: str = "",
) -> tuple[Worktree, Held]:
    """The start commit, the branch and the worktree, with the task's lock. On failure none of them stays. Raises NameTaken when another process was faster.

    `say` is told what had to be kept. `files` (path: content) are in a commit with `message` on top of the start commit, from the branch's first moment on.
    """
    repository, objects = place.repository, place.objects
    identity = repository.identity()
    path = repository.worktree_path(task.name, place.settings.worktree_root)
    tree = objects.with_files(objects.commit(task.base_commit).tree, {task.file: model.write_task(task).encode()})
    commit = objects.write_commit(None, model.start_message(task), tree, [task.base_commit], identity=identity)
    if files:
        commit = objects.write_commit(None, message, objects.with_files(tree, files), [commit], identity=identity)
    with repository.lock():
        if objects.tip(place.ref(task.name)) is not None:
            raise NameTaken(task.name)
        if os.path.lexists(path):
            raise AutonomousError(f"{path} exists already", f"mv {path} {path}.old")
        set_aside_local_files(repository, task.name)
        lock = stopping.claim(repository.make_state_dir("tasks", task.name), task.name)
        try:
            repository.drop_locks(lambda: repository.ref_locks(place.ref(task.name)))
            repository.update_ref(place.ref(task.name), commit, git.ZERO, f"start {task.name}")
        except BaseException:
            lock.close()
            raise
    try:
        people = task.base_commit if of_people(place, task.base) else None
        return backup.add_worktree(
            repository, objects, task.name, place.branch(task.name), path, say, people=people
        ), lock
    except BaseException:
        undo(place, task.name, path, commit, lock)
        raise


def undo(place: Place, task: str, path: Path, commit: str, lock: Held) -> None:
    """Take back what `create` made, as long as the branch is at `commit`."""
    with suppress(AutonomousError):
        place.repository.remove_worktree(path)
    place.repository.delete_ref(place.ref(task), commit)
    lock.close()


def replace_task(place: Place, name: str, engine: codex.Codex, screen: Screen) -> None:
    """Make room for a new task of the same name. The old one's commits and uncommitted files stay under refs/autonomous/backup.

    Raises AutonomousError when somebody works on it.
    """
    with backup.at_rest(place.repository, name):
        tip = place.tip(name)
        kept = backup.keep(place.repository, place.objects, name, place.branch(name))
        entry = place.repository.worktree_of(place.branch(name))
        if entry is not None:
            place.repository.remove_worktree(entry.path)
        place.repository.delete_ref(place.ref(name), tip)
    screen.note(f"the old task '{name}' is kept at {kept}")
