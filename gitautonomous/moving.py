"""Moving a branch, together with the checkout that it may have: git itself refuses where that would touch uncommitted or untracked work."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from .errors import AutonomousError
from .git import Repository, Worktree, last_words, text
from .model import one_line
from .process import Completed
from .runs import Change

SHOWN_PATHS = 10


@dataclass(frozen=True)
class Checkout:
    """A folder that a branch is checked out in, and the git dir that belongs to it."""

    path: Path
    git_dir: Path


def checkout_of(repository: Repository, branch: str) -> Checkout | None:
    """Where a branch (short name) is checked out, None where it is not.

    Raises AutonomousError when it cannot be moved for now: its folder is missing, it is checked out twice, or a rebase or bisect works on it.
    """
    _refuse_busy(repository, branch)
    found = []
    for number, entry in enumerate(repository.worktrees()):
        if entry.branch != f"refs/heads/{branch}":
            continue
        path = entry.path if number else _main_folder(repository, entry.path)
        if not path.is_dir():
            raise AutonomousError(f"{branch} is checked out at {path}, which is missing", "git worktree prune")
        found.append(Checkout(path, Worktree.registered(repository, path).git_dir if number else repository.common_dir))
    if len(found) > 1:
        raise AutonomousError(
            f"{branch} is checked out twice, at {found[0].path} and at {found[1].path}",
            f"git -C {quote(str(found[1].path))} switch --detach",
        )
    return found[0] if found else None


def _main_folder(repository: Repository, told: Path) -> Path:
    """The main worktree's folder: of a submodule `git worktree list` tells the git dir."""
    if (told / ".git").exists():
        return told
    return Path(repository.run("rev-parse", "--show-toplevel").removesuffix("\n"))


def _refuse_busy(repository: Repository, branch: str) -> None:
    """A branch that is being rebased or bisected has no checkout by git's list, and still must not be moved."""
    linked = repository.common_dir / "worktrees"
    for admin in [repository.common_dir, *(linked.iterdir() if linked.is_dir() else ())]:
        for file, what in (
            ("rebase-merge/head-name", "rebase"), ("rebase-apply/head-name", "rebase"), ("BISECT_START", "bisect"),
        ):  # fmt: skip
            if _content(admin / file).removeprefix("refs/heads/") == branch:
                pointer = _content(admin / "gitdir")
                folder = Path(pointer).parent if pointer else _main_folder(repository, repository.main_root)
                raise AutonomousError(
                    f"a {what} of {branch} is under way in {folder}", f"git -C {quote(str(folder))} status"
                )


def _content(file: Path) -> str:
    try:
        return file.read_text(errors="surrogateescape").strip()
    except OSError:
        return ""


def in_the_way(repository: Repository, place: Checkout, changes: Iterable[Change]) -> list[str]:
    """The paths of a checkout that hold uncommitted, untracked or ignored work and would be touched by these changes, sorted."""
    status = repository.run(
        "status", "--porcelain", "-z", "--no-renames", "--untracked-files=no", "--ignore-submodules=all",
        git_dir=place.git_dir, work_tree=place.path, extra={"GIT_OPTIONAL_LOCKS": "0"},
    )  # fmt: skip
    edited = {entry[3:] for entry in status.split("\0") if entry}
    changes = list(changes)
    gone = {change.path for change in changes if change.status == "D"}
    found = {change.path for change in changes if change.path in edited}
    free: set[str] = set()
    for change in changes:
        if change.before or change.path in found:
            continue
        folder = os.path.dirname(change.path)
        obstacle = _obstacle(place.path, folder, free)
        if obstacle and obstacle not in gone:
            found.add(obstacle)
        target = place.path / change.path
        if not obstacle and os.path.lexists(target) and (target.is_symlink() or not target.is_dir()):
            found.add(change.path)
    return sorted(found)


def _obstacle(root: Path, folder: str, free: set[str]) -> str | None:
    """The file or link that stands where a folder has to be; `free` remembers the folders that were looked at."""
    if not folder or folder in free:
        return None
    above = _obstacle(root, os.path.dirname(folder), free)
    if above:
        return above
    path = root / folder
    if os.path.lexists(path) and (path.is_symlink() or not path.is_dir()):
        return folder
    free.add(folder)
    return None


def shown(paths: Sequence[str]) -> str:
    """Paths for a message: cleaned, at most ten of them."""
    more = f" and {len(paths) - SHOWN_PATHS} more" if len(paths) > SHOWN_PATHS else ""
    return ", ".join(one_line(path, 120) for path in paths[:SHOWN_PATHS]) + more


def refusal(branch: str, place: Checkout, paths: Sequence[str]) -> AutonomousError:
    return AutonomousError(
        f"{branch} is checked out at {place.path}, where uncommitted or untracked work would be touched: {shown(paths)}",
        f"git -C {quote(str(place.path))} stash push --include-untracked    # then try again, and: git stash pop",
    )


def untracked_refusal(place: Checkout, paths: Sequence[str]) -> AutonomousError:
    return AutonomousError(
        f"{place.path} has files that git does not track where files of the task would come back: {shown(paths)}",
        f"git -C {quote(str(place.path))} status --ignored",
    )


def user_hooks(repository: Repository) -> tuple[str, str]:
    """The option that gives git back the user's hooks, which our own commands run without."""
    values = [value for _, key, value in repository.config() if key == "core.hookspath"]
    return ("-c", f"core.hooksPath={values[-1] if values else repository.common_dir / 'hooks'}")


@contextmanager
def unbroken() -> Iterator[None]:
    """A step that no signal cuts short: INT, TERM and HUP take effect at its end."""
    came: list[int] = []
    previous = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def advance(repository: Repository, branch: str, old: str, new: str, *, reason: str, hooks: bool) -> None:
    """Move a branch forward from `old` to its descendant `new`: by compare-and-swap, or with `git merge --ff-only` where it is checked out.

    `hooks`: the user's hooks run, as after any merge of theirs. Raises AutonomousError, and then nothing has changed: the branch moved meanwhile, or the files
    of its checkout are in the way.
    """
    place = checkout_of(repository, branch)
    if place is None:
        repository.update_ref(f"refs/heads/{branch}", new, old, reason)
        return
    options = user_hooks(repository) if hooks else ()
    done = _in_checkout(
        repository, place, reason, not hooks, *options, "merge", "--ff-only", "--quiet", "--no-stat", "--no-autostash", "--no-overwrite-ignore",
        "--no-verify-signatures", new,
    )  # fmt: skip
    _judge(repository, branch, place, new, done)


def switch(repository: Repository, branch: str, old: str, new: str, *, reason: str) -> None:
    """Move a branch to any commit, its checkout with it; as `advance` otherwise. No hook runs."""
    place = checkout_of(repository, branch)
    if place is None:
        repository.update_ref(f"refs/heads/{branch}", new, old, reason)
        return
    if repository.resolve(f"refs/heads/{branch}") != old:
        raise AutonomousError(f"{branch} moved meanwhile", "git autonomous list")
    # Not `git reset --keep`: it overwrites what is ignored, whole folders too.
    done = _in_checkout(
        repository, place, reason, True, "checkout", "--no-overwrite-ignore", "--quiet", "-B", branch, new
    )
    _judge(repository, branch, place, new, done)


def _in_checkout(repository: Repository, place: Checkout, reason: str, offline: bool, *arguments: str) -> Completed:
    extra = {"GIT_REFLOG_ACTION": f"autonomous: {reason}"}
    return repository.call(*arguments, git_dir=place.git_dir, work_tree=place.path, extra=extra, offline=offline)


def _judge(repository: Repository, branch: str, place: Checkout, new: str, done: Completed) -> None:
    """Raise AutonomousError unless git moved the branch."""
    if done.returncode:
        words = text(done.stderr)
        named = re.findall(r"^\t(.+)$", words, re.MULTILINE) + re.findall(r"'(.+)' (?:not uptodate|would be)", words)
        if named:
            raise refusal(branch, place, named)
        why = last_words(done.stderr)
        if "fast-forward" in why:
            why = "it moved meanwhile"
        raise AutonomousError(
            f"git did not move {branch}, checked out at {place.path}: {why}", f"git -C {quote(str(place.path))} status"
        )
    if repository.resolve(f"refs/heads/{branch}") != new:
        raise AutonomousError(
            f"{place.path} was switched away from {branch} meanwhile", f"git -C {quote(str(place.path))} reflog -3"
        )
