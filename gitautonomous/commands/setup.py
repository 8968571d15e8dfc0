"""completion: what a shell knows about us."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import AutonomousError, UsageError

Install = Annotated[bool, typer.Option("--install", help="Write it where it is found, below your home.")]


def completion(
    shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
    install: Install = False,
) -> int:
    """Print the completion script for a shell, or install it: commands, options, task names, session numbers."""
    from .. import cli, reference
    from .. import completion as scripts

    if shell not in scripts.SHARED:
        raise UsageError(
            f"there is no completion for '{shell}', but for {', '.join(scripts.SHARED)}",
            "git autonomous completion bash --install",
        )
    text = scripts.script(shell, reference.read(cli.app))
    if not install:
        sys.stdout.write(text)
        return 0
    path = scripts.install_path(shell, os.environ)
    write(path, text)
    print(f"{path} written")
    if hint := {
        "bash": f". {shlex.quote(str(path))}    # in ~/.bashrc, only where bash-completion is not installed",
        "zsh": f"fpath=({shlex.quote(str(path.parent))} $fpath)    # in ~/.zshrc, before compinit",
    }.get(shell):
        print(f"hint: {hint}", file=sys.stderr)
    return 0


def write(path: Path, text: str) -> None:
    """Write a file of ours below the user's home. Raises AutonomousError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise AutonomousError(
            f"cannot write {path}: {error.strerror}", f"ls -ld {shlex.quote(str(path.parent))}"
        ) from error
