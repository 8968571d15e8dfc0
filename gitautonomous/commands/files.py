"""A file that the user named, written whole or not at all, and never by way of what an agent put there."""

from __future__ import annotations

import os
import secrets
import stat
import sys
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from .. import show
from ..errors import AutonomousError

if TYPE_CHECKING:
    from ..tasks import Place


def check(place: Place, target: str, usual: str, command: str) -> None:
    """Raise AutonomousError where `target` cannot be written. `usual`: a name for the file; `command`: what the hint adds a better path to.

    A task's worktree is refused: an agent could have put a symbolic link on the way, and the next session's commit would hold the page.
    """
    if target == "-":
        return
    path = Path(os.path.abspath(target))
    if not target or path.is_dir():
        raise AutonomousError(f"'{target}' is a folder, not a file", f"{command} {quote(str(path / usual))}")
    if not path.parent.is_dir():
        raise AutonomousError(f"there is no folder {path.parent}", f"mkdir -p {quote(str(path.parent))}")
    trees = {
        os.path.realpath(entry.path): entry.path
        for entry in place.repository.worktrees()
        if entry.branch and entry.branch.startswith(f"refs/heads/{place.settings.branch_prefix}")
    }
    for folder in path.parents:
        real = Path(os.path.realpath(folder))
        for tree in (each for each in map(str, (real, *real.parents)) if each in trees):
            better = quote(str(trees[tree].parent / usual))
            raise AutonomousError(
                f"{path} is in a task's worktree, which agents write and sessions commit", f"{command} {better}"
            )
    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
        raise AutonomousError(f"{path} is there and not a file", f"ls -ld {quote(str(path))}")


def write(target: str, text: str) -> None:
    """Write a checked target and say its path; "-" is standard output. Raises AutonomousError."""
    if target == "-":
        sys.stdout.buffer.write(text.encode())
        return
    path = Path(os.path.abspath(target))
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}")
    try:
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            with open(descriptor, "wb") as file:
                file.write(text.encode())
            os.replace(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink()
    except OSError as error:
        raise AutonomousError(f"cannot write {path}: {error.strerror}", f"ls -ld {quote(str(path.parent))}") from error
    print(f"{show.clean(str(path))} written")
