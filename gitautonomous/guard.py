"""What an agent must not reach: the repository's configuration and hooks, compared before and after each session.

Other refs move freely, and so do settings that cannot make git run a program nor change what a task does: people work in their own checkout meanwhile.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pygit2

from .git import Repository, Worktree

INFO = ("attributes", "exclude", "grafts", "sparse-checkout")
"""What git obeys below info/. Its `refs` there are for others, and written by each `git gc`."""

FREE = re.compile(
    r"(?!branch\..*\.mergeoptions$)(?:advice|author|branch|color|column|committer|log|push|rebase|status|user)\."
    r"|pull\.(?:ff|rebase)$|lfs\.(?:repositoryformatversion|.*\.(?:access|locksverify))$"
)
"""Settings that anybody may change at any time."""

ADDRESSES = re.compile(
    r"remote\.(?:pushdefault|.*\.(?:url|pushurl|fetch|push|tagopt|prune|gh-resolved))$|submodule\..*\.(?:active|url)$"
)
"""Settings that only a person can change as long as the agent is in its sandbox. Without one it could lead a later push to a repository whose hooks are its own."""

FOLLOWED = re.compile(r"branch\..*\.(?:remote|pushremote)$")
"""They lead a push too, where they name no remote but an address."""

REMOTE = re.compile(r"remote\..*\.url$")

FOLDERS = {
    "hooks/": "hooks",
    "kept hooks/": "hooks.before-autonomous",
    "our hooks/": "autonomous/hooks",
    "info/": "info",
}
"""Where the files are, below the common git dir, by how their names begin in a snapshot."""

SETTLED = ""
"""Instead of a fingerprint: a person was told what changed, and the agent is gone."""

Snapshot = dict[str, str]
"""A fingerprint of each thing that git obeys on this machine, by its name. No values: they may be secrets."""


FILE = "guard.json"
"""Where a task's local folder keeps the snapshot of its newest attempt."""


def snapshot(repository: Repository, worktree: Worktree, *, full: bool) -> Snapshot:
    """How everything is now. `full`: the agent has no sandbox."""
    own = worktree.git_dir
    return {
        **shared(repository, full=full),
        **dict(_config(" of the task's worktree", own / "config.worktree", full)),
        **dict(_files("the worktree's ", own, ("gitdir", "commondir"))),
    }


def shared(repository: Repository, *, full: bool) -> Snapshot:
    """The part of it that all tasks of a repository share."""
    common = repository.common_dir
    return dict(
        (
            *_config("", common / "config", full),
            *_config(" of the main worktree", common / "config.worktree", full),
            *(
                entry
                for whose, folder in FOLDERS.items()
                if whose != "info/"
                for entry in _files(whose, common / folder, _below(common / folder))
            ),
            *_files("info/", common / "info", INFO),
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
    """The names of what changed since the snapshot with the fingerprint `before`, which was kept at `path`; empty when nothing did, or `before` is SETTLED."""
    if before in (SETTLED, fingerprint(now)):
        return []
    try:
        kept: Snapshot = json.loads(path.read_text())
    except (OSError, ValueError):
        kept = {}
    if fingerprint(kept) != before:
        return ["configuration or hooks"]
    return sorted(name for name in {*kept, *now} if kept.get(name) != now.get(name))


def adopt(path: Path, known: str, before: Snapshot, after: Snapshot) -> str | None:
    """Take a change that this program made itself over into the snapshot with the fingerprint `known` that is kept at `path`.

    `before`, `after`: what it changed. Returns the new fingerprint, None where that snapshot is not there. What was different before that stays different.
    """
    try:
        kept: Snapshot = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    if fingerprint(kept) != known:
        return None
    for name in {*before, *after}:
        if kept.get(name) == before.get(name) != after.get(name):
            kept.pop(name, None)
            kept |= {name: after[name]} if name in after else {}
    return remember(path, kept)


def look(repository: Repository, changed: list[str]) -> str:
    """A command that shows what `difference` named first."""
    whose = next((whose for whose in FOLDERS if changed[0].startswith(whose)), None)
    if whose is not None:
        return f"ls -l {repository.common_dir / FOLDERS[whose]}"
    return f"git -C {repository.main_root} config --list --show-origin"


def _config(whose: str, path: Path, full: bool) -> Iterator[tuple[str, str]]:
    if not path.exists():
        return
    entries: list[tuple[str, str]] = []
    try:
        for entry in pygit2.Config(str(path)):
            entries.append((os.fsdecode(entry.raw_name), os.fsdecode(entry.raw_value or b"")))
    except (pygit2.GitError, ValueError):
        yield f"configuration{whose}", "unreadable"
    remotes = {".", *(name[len("remote.") : -len(".url")] for name, _ in entries if REMOTE.match(name))}
    values: dict[str, list[str]] = {}
    for name, value in entries:
        free = FREE.match(name) or (not full and ADDRESSES.match(name))
        if not free or (full and FOLLOWED.match(name) and value not in remotes):
            values.setdefault(name, []).append(value)
    for name, found in values.items():
        yield f"configuration{whose}: {name}", _digest("\0".join(found).encode("utf-8", "surrogateescape"))


def _below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) if folder.is_dir() else []


def _files(whose: str, folder: Path, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        path = folder / name
        if path.is_file():
            yield f"{whose}{name}", _digest(path.read_bytes() + bytes([os.access(path, os.X_OK)]))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
