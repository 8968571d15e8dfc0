"""What an agent must not reach: the repository's configuration and hooks, compared before and after each session.

Other refs move freely, and so do the `branch.*` settings that git itself writes while people work in their own checkout.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pygit2

from .git import Repository, Worktree

INFO = ("attributes", "exclude", "grafts", "sparse-checkout")
"""What git obeys below info/. Its `refs` there are for others, and written by each `git gc`."""

Snapshot = dict[str, str]
"""A fingerprint of each thing that git obeys on this machine, by its name. No values: they may be secrets."""


def snapshot(repository: Repository, worktree: Worktree) -> Snapshot:
    common = repository.common_dir
    return dict(
        (
            *_config("", common / "config"),
            *_config(" of the main worktree", common / "config.worktree"),
            *_config(" of the task's worktree", worktree.git_dir / "config.worktree"),
            *_files("hooks/", _below(common / "hooks")),
            *_files("kept hooks/", _below(common / "hooks.before-autonomous")),
            *_files("our hooks/", _below(common / "autonomous" / "hooks")),
            *_files("info/", (common / "info" / name for name in INFO)),
            *_files("the worktree's ", (worktree.git_dir / name for name in ("gitdir", "commondir"))),
        )
    )


def remember(path: Path, taken: Snapshot) -> str:
    """Keep a snapshot in a file, so that a difference can be named. Returns its fingerprint, by which a difference is known."""
    temporary = path.with_suffix(".new")
    with open(temporary, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        json.dump(taken, file)
    temporary.replace(path)
    return fingerprint(taken)


def fingerprint(taken: Snapshot) -> str:
    return _digest(json.dumps(taken, sort_keys=True).encode())


def difference(path: Path, before: str, now: Snapshot) -> list[str]:
    """The names of what changed since the snapshot with the fingerprint `before`, which was kept at `path`; empty when nothing did."""
    if fingerprint(now) == before:
        return []
    try:
        kept: Snapshot = json.loads(path.read_text())
    except (OSError, ValueError):
        kept = {}
    if fingerprint(kept) != before:
        return ["configuration or hooks"]
    return sorted(name for name in {*kept, *now} if kept.get(name) != now.get(name))


def _config(whose: str, path: Path) -> Iterator[tuple[str, str]]:
    if not path.exists():
        return
    values: dict[str, list[str]] = {}
    try:
        for entry in pygit2.Config(str(path)):
            if not entry.name.startswith("branch."):
                values.setdefault(entry.name, []).append(entry.value or "")
    except (pygit2.GitError, ValueError):
        yield f"configuration{whose}", "unreadable"
    for name, found in values.items():
        yield f"configuration{whose}: {name}", _digest("\0".join(found).encode("utf-8", "surrogateescape"))


def _below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*")) if folder.is_dir() else []


def _files(whose: str, paths: Iterable[Path]) -> Iterator[tuple[str, str]]:
    for path in paths:
        if path.is_file():
            yield f"{whose}{path.name}", _digest(path.read_bytes() + bytes([os.access(path, os.X_OK)]))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
