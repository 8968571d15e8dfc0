"""Reading and writing git's objects with pygit2, which runs no hook, filter, fsmonitor or merge driver.

The repository is opened by its common git dir, never by discovery.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pygit2
from pygit2.enums import Option, SortMode

from .errors import AutonomousError

FILE_LIMIT = 8 * 1024 * 1024

# Objects reach the disk before the ref that names them (promise: a power loss takes at most the running session's uncommitted files).
pygit2.option(Option.ENABLE_FSYNC_GITDIR, True)
# The state dir belongs to whoever ran git init; ownership was judged by git itself at discovery.
pygit2.option(Option.SET_OWNER_VALIDATION, False)
# Of the objects that were read libgit2 keeps 256 MB, by its own count of a quarter of them: a runner reads some more with each session.
pygit2.option(Option.SET_CACHE_MAX_SIZE, 1 << 18)


@dataclass(frozen=True)
class Commit:
    """A commit as the rest of the program sees it. `time`: epoch seconds of the committer."""

    oid: str
    tree: str
    parents: tuple[str, ...]
    message: str
    author: str
    time: int


class Objects:
    """The object database and the refs of one repository."""

    def __init__(self, common_dir: Path) -> None:
        """Raises AutonomousError where libgit2 cannot open the repository."""
        try:
            self._repository = pygit2.Repository(str(common_dir))
        except pygit2.GitError as error:
            raise AutonomousError(f"this repository cannot be opened: {error}", "git fsck") from error

    def tip(self, ref: str) -> str | None:
        """The commit that a full ref name points to, or None."""
        try:
            return str(self._repository.references[ref].peel(pygit2.Commit).id)
        except (KeyError, ValueError, pygit2.GitError):
            return None

    def newest(self, branch: str) -> str:
        """The newest commit of a task's branch (short name). Raises AutonomousError when there is none."""
        tip = self.tip(f"refs/heads/{branch}")
        if tip is None:
            raise AutonomousError(f"the branch {branch} is gone", "git autonomous doctor --repair    # makes it again")
        return tip

    def refs(self, prefix: str) -> list[str]:
        return [name for name in self._repository.references if name.startswith(prefix)]

    def commit(self, oid: str) -> Commit:
        found = self._repository[oid]
        if not isinstance(found, pygit2.Commit):
            raise AutonomousError(f"{oid} is not a commit")
        return Commit(
            str(found.id),
            str(found.tree_id),
            tuple(str(parent) for parent in found.parent_ids),
            found.message,
            f"{found.author.name} <{found.author.email}>",
            found.commit_time,
        )

    def find_commit(self, oid: str) -> Commit | None:
        """As `commit`; None where there is no such commit, or none any more."""
        try:
            return self.commit(oid)
        except (AutonomousError, KeyError, ValueError):
            return None

    def history(self, tip: str, until: str | None = None) -> Iterator[Commit]:
        """Commits from `tip` back along first parents, newest first, `until` and what is reachable from it excluded."""
        walker = self._repository.walk(tip, SortMode.TOPOLOGICAL)
        walker.simplify_first_parent()
        if until is not None and until in self._repository:
            walker.hide(until)
        for found in walker:
            yield self.commit(str(found.id))

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        if ancestor == descendant:
            return True
        try:
            return self._repository.descendant_of(descendant, ancestor)
        except (KeyError, ValueError, pygit2.GitError):
            return False

    def read(self, commit: str, path: str) -> bytes | None:
        """The content of a file in a commit (or tree), None where there is no regular file of at most 8 MiB."""
        found = self._at(commit, path)
        return found.data if isinstance(found, pygit2.Blob) and found.size <= FILE_LIMIT else None

    def _at(self, commit: str, path: str) -> pygit2.Object | None:
        """What is at a path in a commit or tree, None where there is nothing."""
        found: pygit2.Object | None = self._repository.get(commit)
        root = found.tree if isinstance(found, pygit2.Commit) else found
        path = sys.intern(path)  # pygit2 1.21 never lets go of a path that a tree was asked for
        return root[path] if isinstance(root, pygit2.Tree) and path in root else None

    def plain_files(self, tree: str, paths: Iterable[str]) -> dict[str, str]:
        """The ids of those `paths` that are regular files, not executable, in a tree."""
        root = self._repository[tree]
        assert isinstance(root, pygit2.Tree)
        entries = {path: root[path] for path in paths if path in root}
        return {path: str(entry.id) for path, entry in entries.items() if entry.filemode == pygit2.enums.FileMode.BLOB}

    def same_outside(self, first: str, second: str, folder: str) -> bool:
        """Whether two trees are the same but for the top-level `folder`: compares names and ids, reads no file."""
        return self._entries(first, folder) == self._entries(second, folder)

    def _entries(self, tree: str, without: str) -> dict[str | None, tuple[str, int]]:
        found = self._repository[tree]
        assert isinstance(found, pygit2.Tree)
        return {entry.name: (str(entry.id), entry.filemode) for entry in found if entry.name != without}

    def changed_paths(self, old: str, new: str, limit: int = 10_000) -> list[str]:
        """The paths that differ between two trees, at most `limit`."""
        first, second = self._repository[old], self._repository[new]
        assert isinstance(first, pygit2.Tree) and isinstance(second, pygit2.Tree)
        paths = []
        for delta in first.diff_to_tree(second).deltas:
            paths.append(delta.new_file.path or delta.old_file.path)
            if len(paths) >= limit:
                break
        return paths

    def with_files(self, tree: str, files: Mapping[str, bytes]) -> str:
        """The tree that `tree` becomes with `files` (path: content) put into it."""
        for path, content in files.items():
            tree = self._with(tree, path, self.blob(content), pygit2.enums.FileMode.BLOB) or tree
        return tree

    def subtree(self, tree: str, path: str) -> str | None:
        """The id of the folder at `path` in a tree, None where there is none."""
        found = self._at(tree, path)
        return str(found.id) if isinstance(found, pygit2.Tree) else None

    def with_subtree(self, tree: str, path: str, subtree: str | None) -> str:
        """The tree that `tree` becomes with `subtree` as its folder at `path`; None: without that folder."""
        changed = self._with(tree, path, subtree, pygit2.enums.FileMode.TREE)
        return changed or str(self._repository.TreeBuilder().write())

    def _with(self, tree: str | None, path: str, oid: str | None, mode: pygit2.enums.FileMode) -> str | None:
        """A tree with another entry at `path`, which only the folders above it have to be read for; None when nothing is left in it."""
        builder = self._repository.TreeBuilder(pygit2.Oid(hex=tree)) if tree else self._repository.TreeBuilder()
        name, _, rest = path.partition("/")
        below = self.subtree(tree, name) if tree else None
        new = self._with(below, rest, oid, mode) if rest else oid
        if new is not None:
            builder.insert(name, pygit2.Oid(hex=new), pygit2.enums.FileMode.TREE if rest else mode)
        elif below is not None:
            builder.remove(name)
        return str(builder.write()) if len(builder) else None

    def merge_base(self, first: str, second: str) -> str | None:
        """The best common ancestor of two commits, or None."""
        found = self._repository.merge_base(first, second)
        return str(found) if found else None

    def text_of(self, oid: str, limit: int) -> bytes | None:
        """The content of a blob or the message of a commit, None for anything else and for more than `limit` bytes."""
        found = self._repository.get(oid)
        if isinstance(found, pygit2.Blob):
            return found.data if found.size <= limit else None
        message = found.raw_message if isinstance(found, pygit2.Commit) else None
        return message if message is not None and len(message) <= limit else None

    def blob(self, content: bytes) -> str:
        return str(self._repository.create_blob(content))

    def write_commit(self, ref: str | None, message: str, tree: str, parents: list[str], *, identity: str) -> str:
        """Write a commit and, where `ref` is given, move it there by compare-and-swap on the first parent.

        `identity` is `Name <mail>`, author and committer alike. No hook runs and nothing is signed. Raises AutonomousError when the ref moved meanwhile.
        """
        name, _, mail = identity.rpartition(" <")
        now = int(time.time())
        who = pygit2.Signature(
            name or "unknown",
            mail.rstrip(">"),
            now,
            -time.timezone // 60 if not time.localtime(now).tm_isdst else -time.altzone // 60,
        )
        try:
            return str(
                self._repository.create_commit(
                    ref, who, who, message, pygit2.Oid(hex=tree), [pygit2.Oid(hex=p) for p in parents]
                )
            )
        except (pygit2.GitError, ValueError, OSError) as error:
            raise AutonomousError(
                f"the branch moved while it was being committed to ({error})", "git autonomous status"
            ) from error
