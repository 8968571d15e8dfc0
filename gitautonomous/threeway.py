"""Three-way merges in memory, by `git merge-tree`: nothing is checked out, no index and no ref is touched.

The verdict and the tree are those of `git merge`, merge drivers and `.gitattributes` included: git reads attributes only from files, so those of our side are laid out in a
folder of the cache that holds nothing else.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import AutonomousError
from .git import Repository, last_words, text
from .objects import Objects
from .runs import LINK, Change

ATTRIBUTES = ".gitattributes"
KEPT_FOR = 86400.0
"""Seconds that a laid out set of attributes is kept after its making."""

_SIDE = re.compile(r"~[0-9a-f]{40,64}(_\d+)?$")
"""git's mark at a path where one side has a file and the other a folder: the commit that the file is of."""

WHO = "git autonomous <git-autonomous@localhost>"
"""The author of commits that only tell merge-tree what to merge; no ref ever reaches them."""


@dataclass(frozen=True)
class Merged:
    """The result of a merge. Where `conflicts` (paths) is not empty, `tree` holds those files with conflict markers."""

    tree: str
    conflicts: tuple[str, ...]


def merge(repository: Repository, ours: str, theirs: str) -> Merged:
    """Merge two commits. Raises AutonomousError when git cannot (unrelated histories)."""
    return next(merge_all(repository, [(ours, theirs)], attributes_of=ours))


def merge_all(
    repository: Repository,
    pairs: Sequence[tuple[str, str]],
    *,
    attributes_of: str,
    scratch: Path | None = None,
    timeout: float | None = None,
) -> Iterator[Merged]:
    """Merge many pairs of commits in one process, all with the attributes of one commit (or tree).

    `scratch`: a folder that takes the objects in place of the repository, for verdicts that nobody builds on; `timeout`: seconds. Raises AutonomousError.
    """
    if not pairs:
        return
    options = ["-c", "core.fsync=none", "-c", "core.looseCompression=0"] if scratch else []
    extra = {}
    if scratch:
        objects = re.sub(r'([\\"])', r"\\\1", str(repository.common_dir / "objects"))
        extra = {"GIT_OBJECT_DIRECTORY": str(scratch), "GIT_ALTERNATE_OBJECT_DIRECTORIES": f'"{objects}"'}
    done = repository.call(
        *options, "merge-tree", "--write-tree", "--stdin", "-z", "--name-only", "--no-messages",
        input="".join(f"{ours} {theirs}\n" for ours, theirs in pairs).encode(),
        work_tree=attributes_folder(repository, attributes_of),
        extra=extra,
        timeout=timeout,
    )  # fmt: skip
    results = list(_read(iter(text(done.stdout).split("\0"))))
    if len(results) != len(pairs):
        raise AutonomousError(f"git cannot merge this: {last_words(done.stderr)}", "git autonomous doctor")
    yield from results


def explain(repository: Repository, ours: str, theirs: str, *, names: tuple[str, str]) -> list[str]:
    """What conflicts when two commits are merged, in git's words, one sentence each; `names` stand in them for the two commits."""
    done = repository.call(
        "merge-tree", "--write-tree", "-z", "--name-only", "--messages", ours, theirs,
        work_tree=attributes_folder(repository, ours),
    )  # fmt: skip
    fields = iter(text(done.stdout).partition("\0\0")[2].split("\0"))
    found = []
    for count in fields:
        if not count.isdecimal():
            break
        for _ in range(int(count)):
            next(fields)
        kind, message = next(fields), next(fields)
        if kind.startswith("CONFLICT"):
            found.append(message.strip().replace(ours, names[0]).replace(theirs, names[1]))
    return found


def _read(fields: Iterator[str]) -> Iterator[Merged]:
    """The records of `merge-tree --stdin -z --name-only --no-messages`: status, tree, the names of conflicts, an empty field."""
    for status in fields:
        if status not in ("0", "1"):
            return
        tree = next(fields)
        names: dict[str, None] = {}
        while name := next(fields, ""):
            names[_SIDE.sub("", name)] = None
        yield Merged(tree, tuple(names))


def attributes_folder(repository: Repository, tree: str) -> Path:
    """A folder with the `.gitattributes` files of a tree (or commit) and nothing else."""
    top = repository.make_state_dir("cache", "attributes")
    done = repository.call("rev-parse", "--verify", "--end-of-options", f"{tree}^{{tree}}")
    folder = top / text(done.stdout).strip()
    if folder.is_dir():
        return folder
    for old in top.iterdir():
        if old.stat().st_mtime < time.time() - KEPT_FOR:
            shutil.rmtree(old, ignore_errors=True)
    new = top / f"{folder.name}.{os.getpid()}"
    new.mkdir(exist_ok=True)
    for entry in repository.run("ls-tree", "-r", "-z", "--full-tree", tree).split("\0"):
        facts, _, path = entry.partition("\t")
        if path.endswith(ATTRIBUTES) and os.path.basename(path) == ATTRIBUTES and facts.startswith("100"):
            target = new / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(repository.call("cat-file", "blob", facts.split()[2]).stdout)
    try:
        new.rename(folder)
    except OSError:  # somebody else made it meanwhile
        shutil.rmtree(new)
    return folder


def pick(repository: Repository, objects: Objects, onto: str, before: str, after: str) -> Merged:
    """Bring the difference between two trees onto a third, as cherry-pick does."""
    start = objects.write_commit(None, "", before, [], identity=WHO)
    ours = objects.write_commit(None, "", onto, [start], identity=WHO)
    theirs = objects.write_commit(None, "", after, [start], identity=WHO)
    return merge(repository, ours, theirs)


def changes(repository: Repository, objects: Objects, old: str, new: str) -> tuple[Change, ...]:
    """What differs between two commits or trees, path by path and without looking for renames, with the targets of new links."""
    fields = iter(
        repository.run("diff-tree", "-r", "-z", "--raw", "--no-renames", "--end-of-options", old, new).split("\0")
    )
    found = []
    for facts in fields:
        if not facts:
            break
        before, mode, _, _, status = facts.removeprefix(":").split(" ")
        path = next(fields)
        target = objects.read(new, path) if int(mode, 8) == LINK else None
        found.append(
            Change(path, status, int(mode, 8), int(before, 8), None if target is None else os.fsdecode(target))
        )
    return tuple(found)


def outside(changed: Iterable[Change], folder: str) -> tuple[Change, ...]:
    """The changes that are not below `folder`."""
    return tuple(change for change in changed if not change.path.startswith(folder.rstrip("/") + "/"))
