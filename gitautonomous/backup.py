"""Keeping a task's whole state before something destructive happens to it, and bringing it back.

`refs/autonomous/backup/<task>/<n>` and `refs/autonomous/merged/<task>/<n>` share one count, so the highest number is the newest. Such a ref holds the branch's tip; or, where
the worktree had uncommitted work, a commit on top of the tip with the trailer `Autonomous-Kept: worktree`: its tree is the files as they were, untracked ones included; a second
parent with the trailer `Autonomous-Kept: index` holds what was staged when that was something else; the heads of an unfinished merge follow. A task counts as merged only
while its base has the tip, or, after a squash or a rebase, the commit at `refs/autonomous/merged/<task>/<n>-result`.

What no commit can hold goes to `<common git dir>/autonomous/attic/<task>/<n>/`, listed in its `contents.json`: repositories inside the worktree, checked out submodules with the
git dirs that belong to them, and whatever stood in the place of the worktree's `.git` file.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from . import hostile, locks, nested, states, stopping
from .errors import AutonomousError
from .git import ZERO, Repository, SwappedPointer, Worktree, text
from .listing import RESULT
from .objects import Objects
from .workspace import remove_tree

BACKUP, MERGED = "refs/autonomous/backup/", "refs/autonomous/merged/"
WORKTREE, INDEX = "Autonomous-Kept: worktree", "Autonomous-Kept: index"
TRACKING = ("task.toml", "task_list.md", "progress.md")
LIMIT = 64 << 20
"""Bytes of a tracking file that are kept where git itself would ignore it."""


@dataclass(frozen=True)
class Kept:
    """A kept state. `tip`: of the branch; `files`: the commit with the uncommitted files, None where there were none; `time`: of the newest commit in it, epoch seconds."""

    number: int
    ref: str
    tip: str
    files: str | None
    time: int

    @property
    def merged(self) -> bool:
        return self.ref.startswith(MERGED)


@contextmanager
def at_rest(repository: Repository, task: str) -> Iterator[None]:
    """Hold a task's runner.lock, so that nobody works on it meanwhile. Raises AutonomousError when somebody does."""
    folder = repository.make_state_dir("tasks", task)
    lock = str(folder / stopping.LOCK)
    descriptor = locks.open_lock(lock)
    try:
        if not locks.try_lock(descriptor):
            raise AutonomousError(
                f"'{task}' is being worked on ({locks.owner(lock)})", f"git autonomous stop {task}    # then try again"
            )
        if locks.is_held(str(folder / stopping.AGENT_LOCK)):
            raise AutonomousError(
                f"Codex still works on '{task}' without its runner", f"git autonomous stop {task}    # then try again"
            )
        stopping.sign(descriptor)
        states.begin(str(folder))
        try:
            yield
        finally:
            states.end(str(folder))
    finally:
        os.close(descriptor)


# -- keeping -------------------------------------------------------------------------------------------------------------------------------------


def keep(repository: Repository, objects: Objects, task: str, branch: str) -> str:
    """Keep a task's branch with everything uncommitted in its worktree. Returns the ref. Nobody may work on the task meanwhile.

    Files that git ignores are not kept: the caller names them first. Raises AutonomousError, and then nothing is lost.
    """
    ref = _keep(repository, objects, task, branch, always=True)
    assert ref is not None
    return ref


def keep_uncommitted(repository: Repository, objects: Objects, task: str, branch: str) -> str | None:
    """As `keep`, but only when the worktree holds something that the branch does not; else None."""
    return _keep(repository, objects, task, branch, always=False)


def _keep(repository: Repository, objects: Objects, task: str, branch: str, *, always: bool) -> str | None:
    tip = objects.newest(branch)
    number = max([*_numbers(objects, task), *_attic_numbers(repository, task)], default=0) + 1
    attic = repository.state_dir / "attic" / task / str(number)
    commit = _uncommitted(repository, objects, task, branch, tip, attic)
    if commit is None and not attic.exists() and not always:
        return None
    ref = f"{BACKUP}{task}/{number}"
    repository.update_ref(ref, commit or tip, ZERO, f"keep {task}")
    return ref


def add_worktree(
    repository: Repository,
    objects: Objects,
    task: str,
    branch: str,
    path: Path,
    say: Callable[[str], None],
    *,
    people: str | None = None,
) -> Worktree:
    """Check a task's branch out at `path`, as Repository.add_worktree does. A lost worktree that is registered there is forgotten; commits that only its HEAD has are kept first, and `say` is told."""
    head = _lost_head(repository, path)
    if objects.find_commit(head) is not None:
        elsewhere = ("--branches", "--tags", "--remotes", "--glob=refs/autonomous/*")
        if repository.call("rev-list", "--max-count=1", head, "--not", *elsewhere).stdout:
            ref = next_ref(objects, f"{BACKUP}{task}/")
            repository.update_ref(ref, head, ZERO, f"keep {task}")
            say(f"commits that only the lost worktree had are kept at {ref}")
    return repository.add_worktree(path, branch, people=people)


def _lost_head(repository: Repository, path: Path) -> str:
    """What the HEAD says of a worktree that is registered at `path` and not there; empty where there is none, or only half of its registration."""
    registered = None if path.exists() else Worktree.admin_dir(repository, path)
    if registered is not None:
        with suppress(OSError):
            return Worktree(repository, path, registered).head()
    return ""


def keep_merged(repository: Repository, objects: Objects, task: str, tip: str, result: str) -> str:
    """Keep the tip of a merged task, and `result`, the commit of its base that has it. Returns the tip's ref."""
    ref = next_ref(objects, f"{MERGED}{task}/")
    repository.update_ref(ref, tip, ZERO, f"merged {task}")
    if not objects.is_ancestor(tip, result):
        repository.update_ref(f"{ref}{RESULT}", result, ZERO, f"merged {task}")
    return ref


def results(objects: Objects, task: str, tip: str) -> list[str]:
    """What a task's tip became where it was merged: its own commit, or the one that has its changes."""
    marks = [kept.ref for kept in kept_states(objects, task) if kept.merged and kept.tip == tip]
    return [objects.tip(f"{ref}{RESULT}") or tip for ref in marks]


def next_ref(objects: Objects, prefix: str) -> str:
    """`<prefix><n>` with the task's next free number; `prefix` is one of the two, with the task and a slash."""
    task = prefix.rstrip("/").rpartition("/")[2]
    return f"{prefix}{max(_numbers(objects, task), default=0) + 1}"


def _numbers(objects: Objects, task: str) -> dict[int, str]:
    """A task's kept states: number to ref."""
    refs = [ref for kind in (BACKUP, MERGED) for ref in objects.refs(f"{kind}{task}/")]
    return {int(ref.rpartition("/")[2]): ref for ref in refs if ref.rpartition("/")[2].isdecimal()}


def _uncommitted(repository: Repository, objects: Objects, task: str, branch: str, tip: str, attic: Path) -> str | None:
    """The commit that holds what is uncommitted in the task's worktree, None where all is as in `tip`. What no commit can hold goes to the attic."""
    entry = repository.worktree_of(branch)
    if entry is None or not entry.path.exists():
        return None
    repository.refuse_unsafe_filters()
    worktree = Worktree.registered(repository, entry.path)
    worktree.drop_stale_locks()
    _reveal(worktree)
    listing = worktree.listing()
    apart = [*nested.repositories(entry.path, listing), *listing.closed]
    modules = [path for path in listing.gitlinks if os.path.lexists(entry.path / path / ".git")]
    if not all(_as_recorded(repository, worktree.git_dir, entry.path, path) for path in modules):
        apart += modules
    commit = None
    if not worktree.clean():
        identity = repository.identity()
        staged = worktree.call("write-tree")
        index = staged.stdout.decode().strip() if staged.returncode == 0 else None
        tree, excluded = worktree.stage(_tracking_files(worktree, task), listing)
        apart += [path for path in excluded if path not in apart]
        parents = [tip]
        if index is not None and index not in (tree, objects.commit(tip).tree):
            message = f"{task}: what was staged in its worktree\n\n{INDEX}\n"
            parents.append(objects.write_commit(None, message, index, [tip], identity=identity))
        with suppress(FileNotFoundError):
            parents += (worktree.git_dir / "MERGE_HEAD").read_text().split()
        message = f"{task}: uncommitted files of its worktree\n\n{WORKTREE}\n"
        commit = objects.write_commit(None, message, tree, parents, identity=identity)
    _move_to_attic(worktree, attic, apart)
    return commit


def _as_recorded(repository: Repository, git_dir: Path, folder: Path, path: str) -> bool:
    """Whether the submodule at `path` is one that git checked out in the worktree of `git_dir`, as that records it, and holds nothing that no remote has."""
    module = nested.module_of(folder / path, (git_dir / "modules",))
    if module is None:
        return False
    at = repository.call("rev-parse", "HEAD", git_dir=module)
    mine = repository.call("rev-list", "--max-count=1", "--branches", "--not", "--remotes", git_dir=module)
    # --ignore-submodules: what an agent put in their place is never looked into.
    edits = repository.call("status", "--porcelain", "--ignore-submodules=all", git_dir=module, work_tree=folder / path)
    recorded = repository.call("rev-parse", f":{path}", git_dir=git_dir)
    if (
        any(done.returncode for done in (at, mine, edits))
        or mine.stdout
        or edits.stdout
        or at.stdout != recorded.stdout
    ):
        return False
    entries = text(repository.call("ls-files", "--stage", "-z", git_dir=module).stdout).split("\0")
    below = [entry.partition("\t")[2] for entry in entries if entry.startswith("160000 ")]
    there = [inner for inner in below if os.path.lexists(folder / path / inner / ".git")]
    return all(_as_recorded(repository, module, folder / path, inner) for inner in there)


def _reveal(worktree: Worktree) -> None:
    """Take the bits from index entries that hide edits from git: assume-unchanged, and skip-worktree on a file that is there."""
    assumed, skipped = [], []
    for line in worktree.run("ls-files", "-v", "-z").split("\0"):
        tag, path = line[:1], line[2:]
        if tag.islower():
            assumed.append(path)
        if tag in ("S", "s") and os.path.lexists(worktree.path / path):
            skipped.append(path)
    for option, paths in (("--no-assume-unchanged", assumed), ("--no-skip-worktree", skipped)):
        if paths:
            worktree.run("update-index", option, "-z", "--stdin", input=os.fsencode("\0".join(paths)))


def _tracking_files(worktree: Worktree, task: str) -> dict[str, bytes]:
    """The tracking files, which many repositories ignore: `git add` would leave new ones out."""
    files = {}
    for name in TRACKING:
        path = f".autonomous/{task}/{name}"
        with suppress(hostile.NotAFile):
            content = hostile.read(worktree.path, path, LIMIT)
            if content is not None:
                files[path] = content
    return files


# -- the attic -----------------------------------------------------------------------------------------------------------------------------------


def _attic_numbers(repository: Repository, task: str) -> list[int]:
    """The numbers that the attic knows: a death before the ref was made leaves one without a ref."""
    folder = repository.state_dir / "attic" / task
    return [int(path.name) for path in folder.iterdir() if path.name.isdecimal()] if folder.is_dir() else []


def _move_to_attic(worktree: Worktree, attic: Path, apart: Sequence[str]) -> None:
    """Move `apart`, and what else no commit can hold, out of the worktree, and write down where it was."""
    found = [(worktree.path / path, {"path": path}) for path in apart]
    if (worktree.git_dir / "modules").is_dir() and any(os.path.lexists(path / ".git") for path, _ in found):
        found.append((worktree.git_dir / "modules", {"git_dir": "modules"}))
    try:
        worktree.check_pointer()
    except SwappedPointer:
        if os.path.lexists(worktree.path / ".git"):
            found.append((worktree.path / ".git", {"swapped": ".git"}))
    if not found:
        return
    for folder in (attic.parent.parent, attic.parent, attic):
        folder.mkdir(mode=0o700, exist_ok=True)
    contents = [{"entry": str(number), **where} for number, (_, where) in enumerate(found, start=1)]
    (attic / "contents.json").write_text(json.dumps(contents))
    for number, (source, _) in enumerate(found, start=1):
        shutil.move(source, attic / str(number))


def in_attic(repository: Repository, task: str, kept: Kept) -> bool:
    """Whether the attic has something of a kept state."""
    attic = repository.state_dir / "attic" / task / str(kept.number)
    return attic.is_dir() and any(path.name.isdecimal() for path in attic.iterdir())


def from_attic(repository: Repository, task: str, kept: Kept, worktree: Worktree) -> tuple[list[str], list[str]]:
    """Move what the attic has of a kept state back to its places. Returns (paths that are back, paths in the attic that stay there)."""
    attic = repository.state_dir / "attic" / task / str(kept.number)
    try:
        contents = json.loads((attic / "contents.json").read_text())
    except FileNotFoundError:
        return [], []
    back, left = [], []
    for item in contents:
        source = attic / item["entry"]
        root, path = (worktree.git_dir, item["git_dir"]) if "git_dir" in item else (worktree.path, item.get("path", ""))
        target = root / path
        if not os.path.lexists(source):
            continue
        if target.is_dir() and not target.is_symlink() and not os.listdir(target):
            target.rmdir()
        if "swapped" in item or os.path.lexists(target) or not _plain_folders(root, target.parent):
            left.append(str(source))
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, target)
        back.append(path)
    return back, left


def _plain_folders(root: Path, folder: Path) -> bool:
    """Whether the way from `root` to `folder` leads over no link."""
    return Path(os.path.realpath(folder)) == Path(os.path.realpath(root)) / folder.relative_to(root)


# -- bringing back -------------------------------------------------------------------------------------------------------------------------------


def kept_states(objects: Objects, task: str) -> list[Kept]:
    """The kept states of a task, newest first."""
    found = []
    for number, ref in sorted(_numbers(objects, task).items(), reverse=True):
        oid = objects.tip(ref)
        if oid is not None:
            commit = objects.commit(oid)
            holds_files = _has_mark(commit.message, WORKTREE)
            found.append(
                Kept(number, ref, commit.parents[0] if holds_files else oid, oid if holds_files else None, commit.time)
            )
    return found


def kept_tasks(objects: Objects) -> list[str]:
    """The names of all tasks of which a state is kept."""
    found = [ref.removeprefix(kind) for kind in (BACKUP, MERGED) for ref in objects.refs(kind)]
    return sorted({name.partition("/")[0] for name in found})


def _has_mark(message: str, mark: str) -> bool:
    return message.rstrip().endswith(f"\n\n{mark}")


def put_files(objects: Objects, worktree: Worktree, kept: Kept) -> None:
    """Give a worktree, clean at the kept tip, the uncommitted files of a kept state: uncommitted again, and staged again what was staged."""
    assert kept.files is not None
    commit = objects.commit(kept.files)
    worktree.run("read-tree", "--reset", "-u", "--no-recurse-submodules", commit.tree)
    others = [objects.commit(parent) for parent in commit.parents[1:]]
    index = next((other.tree for other in others if _has_mark(other.message, INDEX)), objects.commit(kept.tip).tree)
    worktree.run("read-tree", index)
    worktree.call("update-index", "-q", "--refresh")


# -- taking away ---------------------------------------------------------------------------------------------------------------------------------


def take_away(repository: Repository, path: Path) -> None:
    """Unregister a worktree and delete its folder, whose state has been kept. Raises AutonomousError or OSError.

    The folder is renamed first: a death in the middle of the deletion must not leave half a worktree that looks like somebody's work.
    """
    trash = repository.make_state_dir("trash") / f"{time.time_ns()}-{path.name}"
    if os.path.lexists(path):
        try:
            os.rename(path, trash)
        except OSError:  # the worktree lies on another file system
            trash = path.with_name(f".trash-{time.time_ns()}-{path.name}")
            os.rename(path, trash)
    with repository.lock():
        repository.call("worktree", "unlock", "--", str(path))
        repository.run("worktree", "remove", "--force", "--force", "--", str(path))
    if os.path.lexists(trash):
        remove_tree(trash)
    with suppress(OSError):
        path.parent.rmdir()


def empty_trash(repository: Repository) -> None:
    """Delete what a death in `take_away` left behind, now or earlier."""
    for path in repository.make_state_dir("trash").iterdir():
        with suppress(OSError):  # somebody else empties it too
            remove_tree(path)
