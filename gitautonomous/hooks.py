"""Git hooks: install, uninstall and status. What a hook does is in `reactions`.

Each hook is the script `hooks/shim` with four values filled in. Where the hooks folder had a hook already, that file is moved, untouched, into a folder beside it
(`hooks.before-autonomous`), under its own name and at the same depth: a script that looks at `$0` finds the same name, the same way up, and, by links, what lay beside it.
uninstall moves it back.

A hooks folder inside a worktree belongs to the project (husky's `.husky/_`, a committed `.githooks`): nothing is written there. The shims then go below the common git dir,
and a person adds one line to the project's own hooks, which does nothing for whoever has not installed ours.

Other tools may put a script of theirs where ours was. pre-commit renames ours to `.legacy` and runs it first; lefthook renames it to `.old` and forgets it, until `install` is
called again. Both are recognised, so that no script is lost and none runs twice.
"""

from __future__ import annotations

import os
import shlex
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from . import guard, locks, resources, stopping
from .errors import AutonomousError
from .git import Repository
from .journal import Journal, open_attempt

NAMES = (
    "post-checkout",
    "pre-commit",
    "prepare-commit-msg",
    "commit-msg",
    "post-commit",
    "pre-merge-commit",
    "post-merge",
    "post-rewrite",
    "pre-push",
    "pre-rebase",
)
MARK = b"# A hook of git autonomous, format "
KEPT = ".before-autonomous"
LEGACY, OLD = ".legacy", ".old"
LINE = (
    'd=${GIT_DIR:-.git}; [ ! -f "$d/commondir" ] || d=${d%/worktrees/*}; d=$d/autonomous/hooks/${0##*/}; '
    '[ ! -x "$d" ] || "$d" "$@" || exit'
)
"""What a person adds to a hook of the project's own: builtins only. `$0` gives the hook's name, also where husky sources the file."""


@dataclass(frozen=True)
class Folder:
    """Where git looks for hooks. `configured`: the value of core.hooksPath, and `scope`, where it is set; `in_tree`: it lies in a worktree and belongs to the project."""

    path: Path
    configured: str | None = None
    scope: str | None = None
    in_tree: bool = False

    @property
    def kept(self) -> Path:
        """Where the hooks are that were here before."""
        return self.path.parent / f"{self.path.name}{KEPT}"

    def project_hook(self, name: str) -> Path:
        """The file that a person edits: husky generates `.husky/_` and runs the files above it."""
        return (self.path.parent if self.path.name == "_" else self.path) / name


@dataclass(frozen=True)
class Hook:
    """One hook as it is now. `before`: the earlier hook that runs first. `state` is one of

    installed; outdated: of another version, interpreter or branch prefix; replaced: another tool put its own there and ours does not run; missing;
    waiting: the project's hook has not got LINE yet.
    """

    name: str
    state: str
    before: Path | None = None


@dataclass(frozen=True)
class Changed:
    """What install or uninstall did. `hooks`: the names of those that were written into `written_to` or taken away; `before`: of those with a hook that runs first, or that was
    given back; `notes`: sentences for people; `files`: of the project's own hooks, that need LINE or still have it."""

    folder: Folder
    written_to: Path
    hooks: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


def folder_of(repository: Repository) -> Folder:
    """Where git looks for this repository's hooks. Raises AutonomousError where it is told to look nowhere."""
    found = [(scope, value) for scope, key, value in repository.config() if key == "core.hookspath"]
    if not found:
        return Folder(
            Path(os.path.realpath(repository.common_dir / "hooks")),
            in_tree=_in_tree(repository, repository.common_dir / "hooks"),
        )
    scope, value = found[-1]
    # A relative path starts where hooks run: at the top of the worktree, in a bare repository in the git dir.
    path = (repository.toplevel or repository.common_dir) / os.path.expanduser(value)
    if not value or (path.exists() and not path.is_dir()):
        raise AutonomousError(
            f"git runs no hooks here: core.hooksPath is {value or 'empty'}", "git config --show-origin core.hooksPath"
        )
    return Folder(Path(os.path.realpath(path)), value, scope, _in_tree(repository, path))


def _in_tree(repository: Repository, path: Path) -> bool:
    """Whether a folder, links followed, lies in a worktree and not in the git dir."""
    real = Path(os.path.realpath(path))
    trees = [Path(os.path.realpath(entry.path)) for entry in repository.worktrees() if not entry.bare]
    return not real.is_relative_to(repository.common_dir) and any(real.is_relative_to(tree) for tree in trees)


def shim(name: str, prefix: str, kept: str) -> bytes:
    """The script of one hook. `prefix`: of the tasks' branches; `kept`: the name of the folder with the hooks that were here before."""
    text = resources.hook("shim")
    for key, value in {"hook": name, "branches": prefix, "python": sys.executable, "kept": kept}.items():
        text = text.replace(f"@{key}@", shlex.quote(value))
    return os.fsencode(text)


def is_ours(path: Path) -> bool:
    """Whether a file is a hook that `install` wrote, in whichever version."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return stat.S_ISREG(os.fstat(descriptor).st_mode) and MARK in os.read(descriptor, 200)
    finally:
        os.close(descriptor)


def _tool(path: Path) -> str | None:
    """The tool that generated a hook, where it makes its script anew at every turn."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    return (
        "pre-commit"
        if b"# File generated by pre-commit:" in content
        else "lefthook"
        if b"LEFTHOOK" in content
        else None
    )


def is_as_written(path: Path, content: bytes) -> bool:
    return is_ours(path) and path.read_bytes() == content and os.access(path, os.X_OK)


# -- install -----------------------------------------------------------------------------------------------------------------------------------


def install(repository: Repository, prefix: str) -> Changed:
    """Put every hook in its place; what is there already runs first from now on. Doing it twice changes nothing more.

    Raises AutonomousError while a task is being worked on: a runner stops when the repository's hooks change under it.
    """
    folder = folder_of(repository)
    with between_sessions(repository), repository.lock():
        return _install_beside(repository, folder, prefix) if folder.in_tree else _install_in(folder, prefix)


def _install_in(folder: Folder, prefix: str) -> Changed:
    written, before, notes = [], [], []
    folder.path.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        path, legacy = folder.path / name, folder.path / f"{name}{LEGACY}"
        content = shim(name, prefix, folder.kept.name)
        foreign = os.path.lexists(path) and not is_ours(path)
        if foreign and is_ours(legacy):
            notes.append(f"{name}: pre-commit took its place and runs it as {legacy.name}")
            path = legacy
        elif foreign:
            notes += _make_way(folder, name)
        if os.path.lexists(folder.kept / name):
            before.append(name)
        if not is_as_written(path, content):
            _write(path, content)
            written.append(name)
    _link_neighbours(folder)
    if folder.scope in ("global", "system"):
        notes.append(f"{folder.path} is the hooks folder of all your repositories: these hooks run in each of them")
    return Changed(folder, folder.path, tuple(written), tuple(before), tuple(notes))


def _install_beside(repository: Repository, folder: Folder, prefix: str) -> Changed:
    """The shims go below the common git dir; the project's own hooks are a person's to edit."""
    own = repository.make_state_dir("hooks")
    written = []
    for name in NAMES:
        content = shim(name, prefix, f"hooks{KEPT}")
        if not is_as_written(own / name, content):
            _write(own / name, content)
            written.append(name)
    files = [file for name in NAMES if not _has_line(file := folder.project_hook(name))]
    return Changed(folder, own, tuple(written), files=tuple(files))


@contextmanager
def between_sessions(repository: Repository, what: str = "hooks") -> Iterator[None]:
    """For a change of the repository's hooks or settings that is ours: a session whose runner died does not take it for its agent's.

    Raises AutonomousError while a task is being worked on: a runner stops when they change.
    """
    tasks = repository.state_dir / "tasks"
    folders = sorted(tasks.iterdir()) if tasks.is_dir() else []
    for task in folders:
        if locks.is_held(str(task / stopping.LOCK)):
            raise AutonomousError(
                f"'{task.name}' is being worked on, and would stop when the repository's {what} change under it",
                f"git autonomous stop {task.name}    # then try again",
            )
    before = guard.shared(repository, full=True)
    yield
    after = guard.shared(repository, full=True)
    for task in folders if after != before else ():
        path, journal = task / guard.FILE, Journal(task / "journal.jsonl")
        with suppress(AutonomousError), locks.Held(locks.open_lock(str(task / stopping.LOCK))) as lock:
            attempt = open_attempt(journal.read()) if path.exists() and locks.try_lock(lock, patience=0) else None
            if attempt is not None and (adopted := guard.adopt(path, attempt["guard"], before, after)) is not None:
                journal.append("told", id=attempt["id"], guard=adopted)


def _make_way(folder: Folder, name: str) -> list[str]:
    """Move the hook that is there to where it is kept. Returns notes, about what had been kept until now."""
    kept, notes = folder.kept / name, []
    _take_away(folder, name)
    if os.path.lexists(kept):
        number = 1
        while os.path.lexists(other := folder.kept / f"{name}.{number}"):
            number += 1
        kept.rename(other)
        notes.append(f"{name}: another tool wrote over it; the hook from before that is now {other}")
    folder.kept.mkdir(exist_ok=True)
    for suffix in ("", LEGACY):
        path = folder.path / f"{name}{suffix}"
        if os.path.lexists(path):
            path.rename(folder.kept / path.name)
    return notes


def _link_neighbours(folder: Folder) -> None:
    """A kept hook finds what lay beside it: helpers, folders, samples apart."""
    if not folder.kept.is_dir():
        return
    for path in folder.path.iterdir():
        link = folder.kept / path.name
        ours = path.name.removesuffix(LEGACY).removesuffix(OLD) in NAMES
        if not ours and path.suffix != ".sample" and not os.path.lexists(link):
            link.symlink_to(Path("..", folder.path.name, path.name))


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    temporary.write_bytes(content)
    temporary.chmod(0o755)
    temporary.replace(path)


def _has_line(file: Path) -> bool:
    try:
        return LINE.encode() in file.read_bytes()
    except OSError:
        return False


# -- uninstall ---------------------------------------------------------------------------------------------------------------------------------


def uninstall(repository: Repository) -> Changed:
    """Take every hook of ours away, and give back what was there before, byte for byte and mode for mode. Raises AutonomousError as `install` does."""
    plain = Folder(Path(os.path.realpath(repository.common_dir / "hooks")))
    try:
        folder = folder_of(repository)
    except AutonomousError:  # core.hooksPath leads nowhere now
        folder = plain
    own = Folder(repository.state_dir / "hooks")
    gone, given_back, notes = [], [], []
    with between_sessions(repository), repository.lock():
        for place in {each.path: each for each in (plain, folder, own) if not each.in_tree}.values():
            for name in NAMES:
                found, before = _take_away(place, name)
                gone += [name] * found
                given_back += [name] * before
            notes += _clear(place)
        with suppress(OSError):
            own.path.rmdir()
    files = [file for name in NAMES if _has_line(file := folder.project_hook(name))] if folder.in_tree else []
    return Changed(folder, folder.path, tuple(gone), tuple(given_back), tuple(notes), tuple(files))


def _take_away(folder: Folder, name: str) -> tuple[bool, bool]:
    """Take our script away from wherever it is now, and put what it kept in its place. Returns whether there was the one, and the other."""
    places = [folder.path / f"{name}{suffix}" for suffix in ("", LEGACY, OLD)]
    kept, kept_legacy = folder.kept / name, folder.kept / f"{name}{LEGACY}"
    ours = [path for path in places if is_ours(path)]
    given_back = False
    for path in ours:
        path.unlink()
    if os.path.lexists(kept):
        free = next((path for path in (places[0], *ours) if not os.path.lexists(path)), None)
        if free is not None and free != places[0] and _tool(kept) and _tool(kept) == _tool(places[0]):
            kept.unlink()  # the tool that took our place has made its script anew
        elif free is not None:
            kept.rename(free)
            given_back = True
    if os.path.lexists(kept_legacy) and not os.path.lexists(places[1]):
        kept_legacy.rename(places[1])
    return bool(ours), given_back


def _clear(folder: Folder) -> list[str]:
    """Take away the folder of the kept hooks, with our links in it. Returns a note where something has to stay."""
    if not folder.kept.is_dir():
        return []
    for path in folder.kept.iterdir():
        if path.is_symlink() and Path(os.readlink(path)) == Path("..", folder.path.name, path.name):
            path.unlink()
    try:
        folder.kept.rmdir()
    except OSError:
        return [f"what other tools have replaced since is still in {folder.kept}"]
    return []


# -- status ------------------------------------------------------------------------------------------------------------------------------------


def status(repository: Repository, prefix: str) -> tuple[Folder, list[Hook]]:
    """Every hook as it is now. Raises AutonomousError where git runs no hooks."""
    folder = folder_of(repository)
    if folder.in_tree:
        return folder, [_beside(repository, folder, name, prefix) for name in NAMES]
    return folder, [_in(folder, name, prefix) for name in NAMES]


def _in(folder: Folder, name: str, prefix: str) -> Hook:
    path, legacy, kept = folder.path / name, folder.path / f"{name}{LEGACY}", folder.kept / name
    before = kept if os.path.lexists(kept) else None
    ours = next((file for file in (path, legacy) if is_ours(file)), None)
    if ours is not None:
        right = is_as_written(ours, shim(name, prefix, folder.kept.name))
        return Hook(name, "installed" if right else "outdated", before)
    replaced = before or is_ours(folder.path / f"{name}{OLD}")
    return Hook(name, "replaced" if replaced and os.path.lexists(path) else "missing", before)


def _beside(repository: Repository, folder: Folder, name: str, prefix: str) -> Hook:
    own, file = repository.state_dir / "hooks" / name, folder.project_hook(name)
    before = file if file.exists() else None
    if not is_ours(own):
        return Hook(name, "missing", before)
    if not is_as_written(own, shim(name, prefix, f"hooks{KEPT}")):
        return Hook(name, "outdated", before)
    return Hook(name, "installed" if _has_line(file) else "waiting", before)
