"""Mending what a crash, a bad disk or a hand in the wrong place left of a task: `git autonomous doctor --repair`.

Each `Ill` says what is done about it, in the past. Nothing is thrown away: a damaged file is kept beside its successor, what stood in the place of a worktree's `.git` goes
to the attic, a broken task.toml stays in the branch's history. A task that somebody works on is left alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from . import backup, hostile, journal, model, stopping
from .doctor import Finding
from .errors import AutonomousError, UsageError
from .git import OUR_LOCK, ZERO, Entry, SwappedPointer, Worktree
from .journal import Journal
from .screen import Screen
from .tasks import Place, ensure_worktree, put_files, read_task, set_aside_local_files
from .workspace import attic_of, read_history


@dataclass(frozen=True)
class Ill:
    """Something to mend. `done`: what was done about it, once `mend` has returned."""

    done: str
    mend: Callable[[], object]


@dataclass(frozen=True)
class Case:
    """A task as it is found. `entry`: its worktree as git has it registered, by its branch or else by its place."""

    place: Place
    name: str
    entry: Entry | None
    quiet: Screen

    @property
    def folder(self) -> Path:
        return self.place.repository.task_dir(self.name)

    @property
    def tip(self) -> str | None:
        return self.place.objects.tip(self.place.ref(self.name))

    @property
    def worktree(self) -> Worktree | None:
        """Where it is registered and there."""
        if self.entry is None or not self.entry.path.is_dir() or self.entry.path == self.place.repository.main_root:
            return None
        return Worktree.registered(self.place.repository, self.entry.path)


def repair(place: Place, quiet: Screen) -> list[Finding]:
    """Mend every task here. Returns a finding for each thing that was mended (ok), or that could not be (not ok; None for a task that is worked on)."""
    findings = [finding for name in names(place) for finding in _task(place, name, quiet)]
    return [*findings, *_repository(place)]


def names(place: Place) -> list[str]:
    """Every task of which there is a branch, a worktree or local files."""
    prefix = f"refs/heads/{place.settings.branch_prefix}"
    entries = place.repository.worktrees()
    found = {entry.branch[len(prefix) :] for entry in entries if entry.branch and entry.branch.startswith(prefix)}
    found.update(place.names())
    folder = place.repository.state_dir / "tasks"
    found.update(path.name for path in (folder.iterdir() if folder.is_dir() else ()))
    return sorted(name for name in found if _possible(name))


def _possible(name: str) -> bool:
    try:
        model.check_name(name)
    except UsageError:
        return False
    return True


def _task(place: Place, name: str, quiet: Screen) -> Iterator[Finding]:
    try:
        if not any(True for find in ILLS for _ in find(_case(place, name, quiet))):
            return
        with backup.at_rest(place.repository, name):
            for find in ILLS:  # one after the other: a worktree is made from a branch, and read with a task.toml
                for ill in find(_case(place, name, quiet)):
                    ill.mend()
                    yield Finding("repair", True, f"{name}: {ill.done}")
    except AutonomousError as error:
        busy = stopping.busy(place.repository.task_dir(name))
        yield Finding("repair", None if busy else False, f"{name}: not mended, {error.message}", error.hint)


def _case(place: Place, name: str, quiet: Screen) -> Case:
    return Case(place, name, place.repository.worktree_of(place.branch(name)), quiet)


# -- the ills, in the order in which they are mended -----------------------------------------------------------------------------------------------


def half_made(case: Case) -> Iterator[Ill]:
    """Local files of a `start` that was cut off before there was a branch."""
    if case.tip is None and case.entry is None and case.folder.is_dir():
        left = {path.name for path in case.folder.iterdir()} - {stopping.LOCK, stopping.AGENT_LOCK}
        if not left and _at_rest(case.folder):
            yield Ill(
                "the empty folder of a start that was cut off went to the attic",
                lambda: set_aside_local_files(case.place.repository, case.name),
            )


def broken_branch(case: Case) -> Iterator[Ill]:
    """A branch whose file names no commit: an empty one, as a power failure leaves, or one whose commit is gone. `git branch` and `list` stumble over it."""
    repository, ref = case.place.repository, case.place.ref(case.name)
    file = repository.common_dir / ref
    if case.tip is not None or not file.is_file():
        return
    oid = _newest_known(case, repository.common_dir / "logs" / ref)
    attic = repository.make_state_dir("attic") / f"{case.name}-branch-{time.time_ns()}"

    def mend() -> None:
        os.rename(file, attic)
        repository.update_ref(ref, oid, ZERO, f"repair {case.name}")

    yield Ill(f"the branch {case.place.branch(case.name)} named no commit and is again at {oid[:10]}", mend)


def lost_branch(case: Case) -> Iterator[Ill]:
    """A worktree whose branch is gone."""
    if case.tip is not None or case.entry is None:
        return
    worktree = Worktree.registered(case.place.repository, case.entry.path)
    oid = _newest_known(case, worktree.git_dir / "logs" / "HEAD")
    yield Ill(
        f"the branch {case.place.branch(case.name)} was made again at {oid[:10]}",
        lambda: case.place.repository.update_ref(case.place.ref(case.name), oid, ZERO, f"repair {case.name}"),
    )


def _newest_known(case: Case, log: Path) -> str:
    """The newest commit of a task that its journal or a log of git's knows: a person's on top of the last session's is only in the second. Raises AutonomousError."""
    results = [record for record in reversed(_readable(case.folder)) if record["event"] == "result"]
    told = [commit for record in results if isinstance(commit := record.get("commit"), str)]
    try:
        moves = [line.split()[1] for line in reversed(log.read_text(errors="replace").splitlines())]
    except (OSError, IndexError):
        moves = []
    newest = (next(filter(case.place.repository.resolve, known), None) for known in (told, moves))
    match [oid for oid in newest if oid]:
        case [session, moved] if case.place.objects.is_ancestor(session, moved):
            return moved
        case [oid, *_]:
            return oid
    branch = case.place.branch(case.name)
    raise AutonomousError(
        f"the branch {branch} is gone, and no commit of it is known",
        f"git fsck --lost-found    # then: git branch {branch} COMMIT",
    )


def _readable(folder: Path) -> list[journal.Record]:
    try:
        return Journal(folder / "journal.jsonl").salvage()
    except OSError:
        return []


def folder_taken_out(case: Case) -> Iterator[Ill]:
    """A task's own folder that a commit took out comes back as it was before. Such a commit is what `pr` pushes, and somebody may pull it."""
    place, folder = case.place, f".autonomous/{case.name}"
    if case.tip is None or place.objects.subtree(place.objects.commit(case.tip).tree, folder) is not None:
        return
    newest = place.repository.run("rev-list", "-1", "--first-parent", case.tip, "--", folder).strip()
    if not newest:
        return
    (before, *_) = place.objects.commit(newest).parents
    paths = place.repository.run("ls-tree", "-r", "-z", "--name-only", before, "--", f"{folder}/").split("\0")
    files = {path: content for path in paths if (content := place.objects.read(before, path)) is not None}
    yield Ill(
        f"{folder} was taken out by {newest[:10]} and is back as it was before, by a commit of yours",
        lambda: put_files(place, case.name, files, f"{case.name}: {folder} as it was in {before[:10]}\n"),
    )


def broken_description(case: Case) -> Iterator[Ill]:
    """A task.toml that cannot be read gets the content of the newest commit where it could be."""
    if case.tip is None:
        return
    try:
        read_task(case.place, case.name)
    except AutonomousError:
        commit, content = _last_description(case)
        yield Ill(
            f"task.toml could not be read and is again as it was in {commit[:10]}, by a commit of yours",
            lambda: put_files(
                case.place,
                case.name,
                {f".autonomous/{case.name}/task.toml": content},
                f"{case.name}: task.toml as it was in {commit[:10]}\n",
            ),
        )


def _last_description(case: Case) -> tuple[str, bytes]:
    """The newest commit whose task.toml can be read, and that. Raises AutonomousError."""
    path, branch = f".autonomous/{case.name}/task.toml", case.place.branch(case.name)
    log = case.place.repository.run("log", "--format=%H", "--end-of-options", case.place.ref(case.name), "--", path)
    for commit in log.split():
        content = case.place.objects.read(commit, path)
        if content is not None and _is_task(case.name, content):
            return commit, content
    raise AutonomousError(
        f"no commit of {branch} has a task.toml that can be read", f"git log --oneline {branch} -- {path}"
    )


def _is_task(name: str, content: bytes) -> bool:
    try:
        model.read_task(name, content)
    except AutonomousError:
        return False
    return True


def damaged_journal(case: Case) -> Iterator[Ill]:
    """A new journal of the lines that can be read, and of the sessions that the branch knows."""
    book = Journal(case.folder / "journal.jsonl")
    try:
        book.read()
    except AutonomousError:
        yield Ill(
            "the journal was damaged or another version's; it is kept beside a new one, made of what can be read and of the branch",
            lambda: book.replace([*_from_branch(case, book.salvage()), *book.salvage()]),
        )


def _from_branch(case: Case, saved: list[journal.Record]) -> Iterator[journal.Record]:
    if case.tip is None:
        return
    known = {record.get("commit") for record in saved}
    for commit, session in read_history(case.place.objects, case.tip, read_task(case.place, case.name)).sessions:
        if commit.oid not in known:
            yield {
                "event": "result",
                "at": commit.time,
                "id": commit.oid,
                "commit": commit.oid,
                "outcome": session.outcome,
                "thread": session.thread or None,
            }


def lost_worktree(case: Case) -> Iterator[Ill]:
    """A worktree that is registered and not there, or that lost its index."""
    if case.entry is None or case.tip is None:
        return
    if not case.entry.path.exists():
        what = f"the worktree was gone from {case.entry.path} and was made again from the branch"
    elif case.worktree is not None and not (case.worktree.git_dir / "index").exists():
        what = "the index of the worktree was gone and was made again"
    else:
        return

    def mend() -> None:
        case.place.repository.refuse_unsafe_filters()  # an agent's files are laid out
        ensure_worktree(case.place, read_task(case.place, case.name), case.quiet)

    yield Ill(what, mend)


def swapped_pointer(case: Case) -> Iterator[Ill]:
    """What an agent, or somebody, put in the place of the worktree's `.git`."""
    worktree = case.worktree
    if worktree is None:
        return
    try:
        worktree.check_pointer()
    except SwappedPointer:
        attic = attic_of(case.place.repository, worktree, case.name)

        def mend() -> None:
            if os.path.lexists(worktree.path / ".git"):
                hostile.put_away(worktree.path, ".git", attic)
            hostile.write(worktree.path, ".git", worktree.pointers()[0], attic=attic)

        yield Ill(f"the .git of its worktree was not git's own; it went to {attic} and git's is back", mend)


def left_locks(case: Case) -> Iterator[Ill]:
    """What a git that was killed left locked, and the mark by which a runner keeps its worktree."""
    worktree = case.worktree
    if worktree is None or not _at_rest(case.folder):
        return
    left = worktree.locks_left()
    if left:
        shown = ", ".join(path.name for path in left)
        yield Ill(f"locks that a killed git left were removed: {shown}", worktree.drop_stale_locks)
    try:
        reason = (worktree.git_dir / "locked").read_bytes()
    except OSError:
        return
    if reason.strip() == OUR_LOCK.encode():
        repository = case.place.repository
        yield Ill(
            "its worktree is no longer kept for a runner that is gone",
            lambda: repository.run("worktree", "unlock", "--", str(worktree.path)),
        )


def _at_rest(folder: Path) -> bool:
    """Whether nobody works on the task, or this process alone keeps it at rest."""
    who = stopping.runner(folder)
    return not stopping.busy(folder) or (who is not None and who.pid == os.getpid())


ILLS: tuple[Callable[[Case], Iterator[Ill]], ...] = (
    half_made, broken_branch, lost_branch, folder_taken_out, broken_description, damaged_journal, lost_worktree, swapped_pointer, left_locks,
)  # fmt: skip


# -- the repository ------------------------------------------------------------------------------------------------------------------------------


def _repository(place: Place) -> Iterator[Finding]:
    """Folders that were to be deleted when their deleter died."""
    trash = place.repository.state_dir / "trash"
    if trash.is_dir() and any(trash.iterdir()):
        backup.empty_trash(place.repository)
        yield Finding("repair", True, "what a command that was cut off had put into the trash is deleted")
