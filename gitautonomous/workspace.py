"""A task's place on this machine: its branch, its worktree and its local files, and what the branch tells about its past."""

from __future__ import annotations

import hashlib
import itertools
import os
import shlex
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from . import guard, model
from .codex import Access, Codex
from .config import ATTEMPT, Approvals, Settings
from .errors import AutonomousError, NeedsPerson
from .git import Repository, Worktree
from .journal import Journal
from .model import Session, Task
from .objects import Commit, Objects

NEEDED_SPACE = 100 << 20
"""Bytes: with less free disk space no session is started."""


@dataclass(frozen=True)
class Workspace:
    """Everything a session needs to know about where it happens."""

    repository: Repository
    objects: Objects
    task: Task
    branch: str
    worktree: Worktree
    settings: Settings
    codex: Codex
    identity: str
    approvals: Approvals

    @property
    def ref(self) -> str:
        return f"refs/heads/{self.branch}"

    @cached_property
    def directory(self) -> Path:
        """The task's local folder (0700): locks, journal, transcripts."""
        self.repository.make_state_dir("tasks", self.task.name, "sessions")
        return self.repository.task_dir(self.task.name)

    @cached_property
    def attic(self) -> Path:
        return attic_of(self.repository, self.worktree, self.task.name)

    @cached_property
    def journal(self) -> Journal:
        return Journal(self.directory / "journal.jsonl")

    @property
    def log(self) -> Path:
        """What a runner without a terminal prints."""
        return self.directory / "runner.log"

    @cached_property
    def key(self) -> str:
        """What tells this task from all others on this machine."""
        return hashlib.sha256(os.fsencode(self.repository.common_dir) + b"\0" + self.task.name.encode()).hexdigest()[
            :12
        ]

    @property
    def marker(self) -> str:
        """The variable in the environment of this task's checks and of everything that they start."""
        return f"{ATTEMPT}={self.key}"

    @property
    def guard_file(self) -> Path:
        """The repository's configuration and hooks as the newest attempt found them, in fingerprints."""
        return self.directory / guard.FILE

    @property
    def access(self) -> Access:
        return Access(network=self.task.options.sandbox_network, full=self.task.options.network)

    def transcript(self, session: int) -> Path:
        return self.directory / "sessions" / f"{session:03}.jsonl"

    def stderr(self, session: int) -> Path:
        return self.directory / "sessions" / f"{session:03}.stderr"

    def tip(self) -> str:
        """The branch's newest commit. Raises AutonomousError when the branch is gone."""
        return self.objects.newest(self.branch)

    def with_task(self, task: Task) -> Workspace:
        return replace(self, task=task)

    def check_there(self) -> None:
        """Raise NeedsPerson when somebody moved or deleted the worktree."""
        if not self.worktree.path.is_dir():
            raise NeedsPerson(
                f"the worktree {self.worktree.path} is gone",
                f"git autonomous resume {self.task.name}    # makes it again from the branch",
            )

    def check_space(self) -> None:
        """Raise NeedsPerson when the disk is too full for a session: what has been done stays as it is."""
        self.check_there()
        for place in (self.repository.common_dir, self.worktree.path):
            free = shutil.disk_usage(place).free
            if free < NEEDED_SPACE:
                raise NeedsPerson(
                    f"only {free >> 20} MiB of disk space are free at {place}, too little for a session",
                    f"df -h {shlex.quote(str(place))}    # make room, then: git autonomous resume {self.task.name}",
                )

    @contextmanager
    def private_tmpdir(self) -> Iterator[Path]:
        """A temporary folder of the task's own, empty at the start and gone at the end.

        Not below the git dir: programs that look for a repository from their temporary folder would find the user's.
        """
        base = Path(tempfile.gettempdir()) / f"git-autonomous-{os.getuid()}"
        base.mkdir(mode=0o700, exist_ok=True)
        status = base.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
            raise AutonomousError(f"{base} is not a folder of your own", f"ls -ld {base}")
        path = base / self.key
        remove_tree(path)
        path.mkdir(mode=0o700)
        try:
            yield path
        finally:
            remove_tree(path)


def attic_of(repository: Repository, worktree: Worktree, task: str) -> Path:
    """Where things go that must leave a task's worktree, by a rename: on the worktree's file system."""
    here = repository.make_state_dir("attic")
    if here.stat().st_dev == worktree.path.stat().st_dev:
        return here / task
    return worktree.path.parent / f"{worktree.path.name}.attic"


def remove_tree(path: Path) -> None:
    """Delete a folder that hostile hands wrote in, as far as it goes: follows no link, opens folders that were closed by their mode.

    Codex's sandbox removes its mount points (.git, .agents) from there a moment after its end, so anything may vanish meanwhile.
    """
    if path.is_symlink() or path.is_file():
        path.unlink()
        return
    for folder, folders, _ in os.walk(path):
        for name in folders:
            inner = os.path.join(folder, name)
            with suppress(OSError):
                if not os.path.islink(inner):
                    os.chmod(inner, 0o700)
    shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True)
class History:
    """What a branch tells about its task.

    `last`: the newest session's record (session 0 before the first); `last_commit`: its commit; `by_person`: whether the tip is somebody else's commit;
    `best`: the most items ever done; `idle`, `tickless`: as in model.Standing; `start`: the first commit of the task.
    """

    last: Session
    last_commit: str
    start: str
    by_person: bool
    best: int
    idle: int
    tickless: int
    sessions: tuple[tuple[Commit, Session], ...]

    def after(self, record: Session, commit: Commit, objects: Objects) -> History:
        """The history with one more session, whose commit is the new tip. `sessions` stays as it was read."""
        changed = not objects.same_outside(objects.commit(commit.parents[0]).tree, commit.tree, ".autonomous")
        before = model.Standing(idle=self.idle, tickless=self.tickless)
        standing = model.after_session(before, record=record, best=self.best, changed=changed)
        return replace(
            self,
            last=record,
            last_commit=commit.oid,
            by_person=False,
            best=max(self.best, record.done),
            idle=standing.idle,
            tickless=standing.tickless,
        )


def read_history(objects: Objects, tip: str, task: Task) -> History:
    """Walk a task's branch back to its start commit. Raises AutonomousError when no commit of the task is found."""
    records: list[tuple[Commit, Session]] = []
    newest_is_session = False
    for position, commit in enumerate(objects.history(tip, task.base_commit)):
        record = model.read_session(commit.message, task.name)
        if record is None:
            continue
        newest_is_session = newest_is_session or position == 0
        records.append((commit, record))
        if record.number == 0:
            break
    if not records:
        raise AutonomousError(
            f"the branch of '{task.name}' has no commit of its own any more", f"git autonomous restore {task.name}"
        )
    records.reverse()
    standing = model.Standing()
    best = 0
    for (before, _), (commit, record) in itertools.pairwise(records):
        changed = not objects.same_outside(before.tree, commit.tree, ".autonomous")
        standing = model.after_session(standing, record=record, best=best, changed=changed)
        best = max(best, record.done)
    return History(
        last=records[-1][1],
        last_commit=records[-1][0].oid,
        start=records[0][0].oid,
        by_person=not newest_is_session,
        best=best,
        idle=standing.idle,
        tickless=standing.tickless,
        sessions=tuple((commit, record) for commit, record in records if record.number > 0),
    )


def amended(objects: Objects, history: History, tip: str, task: Task, newest: str | None) -> Session | None:
    """The record of the session commit `newest` where a person amended it away: a commit without a record stands in its place. Else None."""
    commit = objects.find_commit(newest) if newest is not None else None
    record = model.read_session(commit.message, task.name) if commit is not None else None
    if commit is None or record is None or record.number <= history.last.number:
        return None
    later = objects.history(tip, history.last_commit)
    return record if any(other.parents == commit.parents for other in later) else None
