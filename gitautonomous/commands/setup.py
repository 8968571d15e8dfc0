"""completion, man, skill and import: settling in, on a machine and in a repository that had run-session.sh."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from .. import show
from ..errors import AutonomousError, UsageError
from .common import ask
from .run import Check, screen_for

Base = Annotated[
    str | None, typer.Option("--base", metavar="REF", help="Branch to go on from (default: the current one).")
]
Install = Annotated[bool, typer.Option("--install", help="Write it where it is found, below your home.")]


def completion(
    context: typer.Context,
    shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
    install: Install = False,
) -> int:
    """Print the completion script for a shell, or install it: commands, options, task names, session numbers."""
    from .. import completion as scripts
    from .. import reference

    if shell not in scripts.SHARED:
        raise UsageError(
            f"there is no completion for '{shell}', but for {', '.join(scripts.SHARED)}",
            "git autonomous completion bash --install",
        )
    text = scripts.script(shell, reference.read(context.obj))
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


def man(
    context: typer.Context,
    command: Annotated[str, typer.Argument(metavar="COMMAND", help="Default: the page of git autonomous itself.")] = "",
    install: Install = False,
) -> int:
    """Show a manual page, or install them all, so that `git help autonomous` finds them."""
    from .. import manual, reference

    root = reference.read(context.obj)
    if not install:
        manual.show(root, manual.find(root, command))
        return 0
    folder = manual.install_folder(os.environ)
    pages = manual.pages(root)
    for name, text in pages.items():
        write(folder / name, text)
    print(f"{len(pages)} pages written to {folder}")
    if not manual.installed():
        print(
            f"hint: export MANPATH={shlex.quote(str(folder.parent))}:    # in the start-up file of your shell",
            file=sys.stderr,
        )
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


def import_task(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A task's folder, such as .autonomous/todo-api.")],
    name: Annotated[
        str | None, typer.Option("-n", "--name", metavar="NAME", help="Name of the task (default: the folder's).")
    ] = None,
    goal: Annotated[
        str | None, typer.Option("--goal", metavar="TEXT", help="What it is about (default: the list's heading).")
    ] = None,
    base: Base = None,
    check: Check = None,
) -> int:
    """Take over a task of run-session.sh: list, notes and Codex thread become a task that `resume` goes on with."""
    from .. import importing

    found = importing.read(directory)
    with screen_for(quiet=False) as screen:
        task = importing.take_over(found, ask, screen, name=name, goal=goal, base=base, checks=tuple(check or ()))
    print(f"{task}: imported from {show.clean(str(directory))}", flush=True)
    print(f"hint: git autonomous resume {task}{' --resume-last' if found.thread else ''}", file=sys.stderr)
    return 0


def install_skill() -> int:
    """Teach Codex to hand long tasks over: put a skill where it looks."""
    from .. import resources

    path = Path(os.environ.get("HOME") or Path.home()) / ".agents" / "skills" / "git-autonomous" / "SKILL.md"
    text = resources.template("SKILL.md")
    if path.is_file() and path.read_bytes() != text.encode():
        path.replace(path.with_name("SKILL.md.old"))
        print(f"the skill that was there is kept as {path}.old", file=sys.stderr)
    write(path, text)
    print(f"{path} written")
    return 0


def manual_page(app: typer.Typer, arguments: list[str]) -> bool:
    """What `--help` opens on a terminal, as git's own commands do. False where there is no page or no `man`: then the short help comes."""
    from .. import manual, reference

    root = reference.read(app)
    name = next((word for word in arguments if not word.startswith("-")), "")
    try:
        manual.show(root, manual.find(root, name))
    except AutonomousError:
        return False
    return True
