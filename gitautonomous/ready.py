"""Making a new worktree ready for work: files of `.worktreeinclude`, then the `setup` commands."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from . import process
from .errors import AutonomousError
from .git import Repository

INCLUDE_FILE = ".worktreeinclude"


def included(repository: Repository, source: Path, patterns: bytes) -> list[str]:
    """The paths below `source` that git ignores and that `patterns` (gitignore syntax) name."""

    def others(*options: str) -> set[str]:
        output = repository.run(
            "ls-files", "--others", "--ignored", "-z", *options, git_dir=repository.git_dir, work_tree=source
        )
        return {path for path in output.split("\0") if path}

    with tempfile.NamedTemporaryFile() as file:
        file.write(patterns)
        file.flush()
        return sorted(others(f"--exclude-from={file.name}") & others("--exclude-standard"))


def copy_included(repository: Repository, source: Path, target: Path, patterns: bytes) -> list[str]:
    """Copy ignored files that the work needs (such as .env) into the new worktree. Nothing is overwritten, no link is followed. Returns the paths."""
    copied = []
    for path in included(repository, source, patterns):
        origin, copy = source / path, target / path
        if origin.is_dir() and not origin.is_symlink() or os.path.lexists(copy):
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(origin, copy, follow_symlinks=False)
        copied.append(path)
    return copied


def run_setup(
    commands: Sequence[str],
    worktree: Path,
    log: Path,
    *,
    timeout: float,
    say: Callable[[str], None],
    argv: Callable[[str], Sequence[str]] = lambda command: ("sh", "-c", command),
) -> None:
    """Run the user's setup commands in the new worktree, with their output kept in `log`. `timeout`: seconds for each, 0 for none.

    `argv`: how a command is run; outside of the sandbox only before any agent's files are here. Raises AutonomousError naming the command and the end of its output.
    """
    for command in commands:
        say(f"setup: {command}")
        done = process.run(argv(command), cwd=worktree, timeout=timeout or None)
        output = done.stdout + done.stderr
        with open(log, "ab") as file:
            file.write(b"$ " + command.encode() + b"\n" + output)
        if done.returncode or done.timed_out:
            words = output.decode("utf-8", "replace").strip().splitlines()
            why = f"was ended after {timeout:.0f} s" if done.timed_out else f"failed with exit status {done.returncode}"
            raise AutonomousError(
                f"the setup command '{command}' {why}" + (f": {words[-1][:200]}" if words else ""), f"cat {log}"
            )
