"""Repositories inside a task's worktree: what an agent can plant there to have its own programs run by somebody else's git.

After one `git add` a nested repository is a gitlink. From then on every status, add or diff (ours, Codex's, a person's) looks into it and runs the filters and the
fsmonitor that its own configuration names, outside every sandbox. So what looks like a repository is never staged, and a submodule's `.git` is believed only where it
points into the task's own git dir, which a sandboxed agent cannot write to.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

HFS_IGNORED = frozenset(
    "\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u206a\u206b\u206c\u206d\u206e\u206f\ufeff"
)


@dataclass(frozen=True)
class Listing:
    """What a worktree holds, as its index sees it. `untracked`: not ignored, a nested repository as one path with a slash at its end;
    `modified`: tracked, but changed, deleted or unmerged; `gitlinks`: the submodules in the index; `closed`: folders that git could not look into."""

    untracked: tuple[str, ...]
    modified: tuple[str, ...]
    gitlinks: tuple[str, ...]
    closed: tuple[str, ...]

    @property
    def changed(self) -> tuple[str, ...]:
        return self.untracked + self.modified


LISTING = ("ls-files", "-z", "-t", "--stage", "--others", "--modified", "--exclude-standard")
"""The git command whose output `read_listing` takes: it looks into no nested repository."""
UNCHANGED = (b"H 10", b"H 12")
"""How it tells of files and links that are as in the index: of nearly all."""


_CLOSED = re.compile(
    rb"^warning: could not open directory '(.+?)(?:/': .*)?$", re.MULTILINE
)  # git cuts a long path off


def read_listing(output: bytes, messages: bytes) -> Listing:
    fields = [field for field in output.split(b"\0") if field[:4] not in UNCHANGED]
    untracked = [os.fsdecode(field[2:]) for field in fields if field[:2] == b"? "]
    modified = dict.fromkeys(os.fsdecode(field.partition(b"\t")[2]) for field in fields if field[:2] in (b"C ", b"M "))
    gitlinks = [os.fsdecode(field.partition(b"\t")[2]) for field in fields if field[:9] == b"H 160000 "]
    closed = [os.fsdecode(path) for path in _CLOSED.findall(messages)]
    return Listing(tuple(untracked), tuple(modified), tuple(gitlinks), tuple(closed))


def repositories(root: Path, listing: Listing) -> list[str]:
    """The paths that would make another repository of a part of the worktree: what git itself found, `.git` by any spelling, and bare layouts.

    A bare repository may come file by file, over several sessions, so its layout is looked for around every change.
    """
    found: dict[str, None] = {}
    folders: dict[str, None] = {}
    for path in listing.untracked:
        parts = path.rstrip("/").split("/") if may_spell_git_dir(path) else []
        spelled = next((index for index, part in enumerate(parts) if is_git_dir_name(part)), None)
        if spelled is not None:
            found["/".join(parts[:spelled]) or parts[0]] = None
        elif path.endswith("/"):
            found[path.rstrip("/")] = None
    for path in listing.changed:
        if path.rpartition("/")[0] not in folders:
            folders.update(dict.fromkeys(above(path)))
    found.update(dict.fromkeys(folder for folder in folders if is_bare_repository(root / folder)))
    return [folder for folder in found if not any(outer in found for outer in above(folder))]


def above(path: str) -> Iterator[str]:
    """The folders that a path lies in, the nearest first; the root is none."""
    while path := path.rpartition("/")[0]:
        yield path


def is_bare_repository(folder: Path) -> bool:
    """Whether git would take a folder for a git dir. One without objects and refs of its own may name another folder that has them."""
    if not os.path.lexists(folder / "HEAD"):
        return False
    return os.path.lexists(folder / "commondir") or all((folder / name).is_dir() for name in ("objects", "refs"))


def is_git_dir_name(name: str) -> bool:
    """Whether some file system takes `name` for `.git`: git itself refuses these (core.protectNTFS, core.protectHFS), and aborts."""
    plain = "".join(c for c in name if c not in HFS_IGNORED).lower().rstrip(". ")
    return plain in (".git", "git~1") or plain.startswith((".git:", ".git::"))


def may_spell_git_dir(path: str) -> bool:
    """Whether it is worth while to look at each name of a path: thousands of paths are not."""
    return not path.isascii() or "git" in path.lower()


def module_of(submodule: Path, modules: Iterable[Path]) -> Path | None:
    """The git dir of a populated submodule, where its `.git` is a file that points into one of `modules`; None for any other `.git`."""
    pointer = submodule / ".git"
    try:
        descriptor = os.open(pointer, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            content = os.read(descriptor, 8192)
        finally:
            os.close(descriptor)
    except OSError:
        return None
    if not content.startswith(b"gitdir: "):
        return None
    target = Path(os.path.realpath(os.path.join(submodule, os.fsdecode(content[8:].rstrip(b"\n")))))
    return target if any(target.is_relative_to(os.path.realpath(folder)) for folder in modules) else None


def obstacle(path: Path) -> str | None:
    """Why git cannot add a path; None where nothing speaks against it."""
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        return error.strerror
    if stat.S_ISLNK(mode):
        return (
            "a link that git would have to obey" if path.name.lower().startswith((".gitmodules", "gitmod~")) else None
        )
    if not stat.S_ISREG(mode):
        return None if stat.S_ISDIR(mode) else "neither a file nor a link"
    return None if os.access(path, os.R_OK) else "cannot be read"


def inside(root: Path, path: Path) -> bool:
    """Whether the folder of `path` really lies in `root`, links followed."""
    return Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(root))
