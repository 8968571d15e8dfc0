"""Trees edited in memory, and commits made again on other parents: no worktree, no index file, no hook and no filter.

Tree objects are read and written byte for byte, since libgit2's own builders take no file name that is not UTF-8.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping

import pygit2
from pygit2.enums import FileMode, ObjectType

from . import threeway
from .git import Repository, text
from .objects import Objects

Place = tuple[str, int] | None
"""What stands at a path of a tree: (object id, mode), None for nothing."""

_Entries = dict[bytes, tuple[int, bytes]]
_TREE = int(FileMode.TREE)


class Conflict(Exception):
    """A merge that a person must decide. `paths`: the files, sorted."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.paths = tuple(sorted(paths))
        super().__init__(", ".join(self.paths))


class Trees(Objects):
    """The objects of one repository, with trees that can be edited and merged."""

    def __init__(self, repository: Repository) -> None:
        super().__init__(repository.common_dir)
        self._git = repository

    def merge(self, ancestor: str, ours: str, theirs: str, *, apart: Iterable[str] = ()) -> str:
        """The tree that has what `theirs` changed since `ancestor`, put onto `ours` (trees or commits). The paths in `apart` stay as in `ours`, whatever was done to them.

        Raises Conflict. Where nothing overlaps, no file is read; else git merges, renames followed.
        """
        left_out = frozenset(apart)
        edits: dict[str, Place] = {}
        overlap = False
        for delta in self._tree(ancestor).diff_to_tree(self._tree(theirs)).deltas:
            path = text(delta.new_file.raw_path or delta.old_file.raw_path)
            if path not in left_out:
                overlap = overlap or self.at(ours, path) != self.at(ancestor, path)
                edits[path] = self.at(theirs, path)
        if not overlap:
            try:
                return self.edit(ours, edits)
            except NotADirectoryError:
                pass
        kept = {path: self.at(ours, path) for path in left_out}
        merged = threeway.pick(
            self._git, self, str(self._tree(ours).id), self.edit(ancestor, kept), self.edit(theirs, kept)
        )
        if merged.conflicts:
            raise Conflict(merged.conflicts)
        return merged.tree

    def edit(self, tree: str, places: Mapping[str, Place]) -> str:
        """The tree that `tree` becomes when each path holds what is given. Raises NotADirectoryError where a file stands in the way of a folder."""
        wanted = {tuple(os.fsencode(path).split(b"/")): place for path, place in places.items()}
        return str(self._edited(self._tree(tree).id, wanted) or self._write({}))

    def with_contents(self, tree: str, contents: Mapping[str, bytes | None]) -> str:
        """The tree that `tree` becomes with these regular files in it; None takes a file out."""
        blob = int(FileMode.BLOB)
        return self.edit(
            tree, {path: None if data is None else (self.blob(data), blob) for path, data in contents.items()}
        )

    def at(self, tree: str, path: str) -> Place:
        """What stands at a path."""
        oid, mode = self._tree(tree).id, _TREE
        for name in os.fsencode(path).split(b"/"):
            found = self._entries_of(oid).get(name) if mode == _TREE else None
            if found is None:
                return None
            mode, oid = found[0], pygit2.Oid(raw=found[1])
        return str(oid), mode

    def rewrite(self, commit: str, message: str, tree: str, parents: list[str], *, identity: str) -> str:
        """The commit again, on other parents and with another tree: the author stays, the committer is `identity` (`Name <mail>`), now. Moves no ref."""
        found = self._repository[commit]
        assert isinstance(found, pygit2.Commit)
        name, _, mail = identity.rpartition(" <")
        now = time.time()
        committer = pygit2.Signature(name, mail.rstrip(">"), int(now), time.localtime(now).tm_gmtoff // 60)
        ids = [pygit2.Oid(hex=parent) for parent in parents]
        return str(self._repository.create_commit(None, found.author, committer, message, pygit2.Oid(hex=tree), ids))

    def _tree(self, oid: str) -> pygit2.Tree:
        found = self._repository[oid].peel(pygit2.Tree)
        assert isinstance(found, pygit2.Tree)
        return found

    def _entries_of(self, oid: pygit2.Oid) -> _Entries:
        """A tree object, parsed: name to (mode, raw id)."""
        data = self._repository.read(oid)[1]
        found: _Entries = {}
        start = 0
        while start < len(data):
            space, end = data.index(b" ", start), data.index(b"\0", start)
            found[data[space + 1 : end]] = int(data[start:space], 8), data[end + 1 : end + 21]
            start = end + 21
        return found

    def _write(self, entries: _Entries) -> pygit2.Oid:
        ordered = sorted(entries.items(), key=lambda item: item[0] + b"/" * (item[1][0] == _TREE))
        data = b"".join(b"%o %s\0%s" % (mode, name, raw) for name, (mode, raw) in ordered)
        return self._repository.write(ObjectType.TREE, data)

    def _edited(self, oid: pygit2.Oid | None, places: Mapping[tuple[bytes, ...], Place]) -> pygit2.Oid | None:
        """The tree with the edits, None when nothing is left in it."""
        entries = self._entries_of(oid) if oid is not None else {}
        below: dict[bytes, dict[tuple[bytes, ...], Place]] = {}
        for (name, *rest), place in places.items():
            if rest:
                below.setdefault(name, {})[tuple(rest)] = place
            elif place is not None:
                entries[name] = place[1], pygit2.Oid(hex=place[0]).raw
            else:
                entries.pop(name, None)
        for name, inner in below.items():
            mode, raw = entries.get(name, (_TREE, None))
            if mode != _TREE:
                if any(inner.values()):
                    raise NotADirectoryError(name)
                continue
            folder = self._edited(pygit2.Oid(raw=raw) if raw is not None else None, inner)
            if folder is not None:
                entries[name] = _TREE, folder.raw
            else:
                entries.pop(name, None)
        return self._write(entries) if entries else None
