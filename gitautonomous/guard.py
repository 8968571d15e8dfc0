"""What an agent must not reach: the repository's configuration and hooks, compared before and after each session.

Other refs move freely, and so do the `branch.*` settings that git itself writes while people work in their own checkout.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pygit2

from .git import Repository, Worktree


def snapshot(repository: Repository, worktree: Worktree) -> dict[str, str]:
    """A fingerprint of each thing that git obeys on this machine, by its name."""
    common = repository.common_dir
    found = {
        "config": _config(common / "config"),
        "hooks": _folder(common / "hooks"),
        "info": _folder(common / "info"),
        "config of the worktree": _config(worktree.git_dir / "config.worktree"),
        "registration of the worktree": _files(worktree.git_dir / name for name in ("gitdir", "commondir")),
    }
    return {name: value for name, value in found.items() if value}


def difference(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """The names of what changed."""
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


def _config(path: Path) -> str:
    if not path.exists():
        return ""
    try:
        entries = [
            f"{entry.name}\n{entry.value}" for entry in pygit2.Config(str(path)) if not entry.name.startswith("branch.")
        ]
    except (pygit2.GitError, ValueError):
        return "unreadable"
    return _digest("\0".join(entries).encode("utf-8", "surrogateescape"))


def _folder(path: Path) -> str:
    return _files(sorted(path.iterdir())) if path.is_dir() else ""


def _files(paths: object) -> str:
    parts = []
    for path in paths:  # type: ignore[attr-defined]
        if path.is_file():
            parts.append(os.fsencode(path.name) + b"\0" + path.read_bytes() + bytes([os.access(path, os.X_OK)]))
    return _digest(b"\0".join(parts)) if parts else ""


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
