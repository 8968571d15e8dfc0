"""What several commands share: asking, JSON, colours."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .. import show

if TYPE_CHECKING:
    from ..tasks import Place

AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs.")]
AsHtml = Annotated[
    str | None,
    typer.Option("--html", metavar="FILE", help="Write a page for a browser, in one file; - is standard output."),
]
TaskName = Annotated[
    str | None,
    typer.Argument(metavar="TASK", help="Default: this worktree's task, else the newest unfinished."),
]
TaskToLookAt = Annotated[
    str | None,
    typer.Argument(metavar="TASK", help="Default: this worktree's task, else the newest unfinished, else the newest."),
]


def ask(text: str, question: str) -> bool:
    """Show a text and ask for a yes on the terminal; False when there is none."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    for line in show.clean(text, keep_newlines=True).split("\n"):
        print(f"    {line}", file=sys.stderr)
    lines = show.wrap(f"{question} [y/N]:", show.columns(sys.stderr, os.environ))
    return typer.confirm("\n".join(lines), default=False, err=True, show_default=False, prompt_suffix=" ")


def colour_setting(place: Place) -> str:
    """color.autonomous, else color.ui, as git resolves them."""
    values = {key: value for _, key, value in place.repository.config()}
    return values.get("color.autonomous", values.get("color.ui", "auto"))


def pager_for(place: Place, *names: str) -> str | None:
    """The command of the pager for output like that of the commands `names`, None where standard output is no terminal or the user wants none."""
    from .. import pager

    return pager.command(place.repository, os.environ, names) if sys.stdout.isatty() else None


def coloured(place: Place, pager: str | None = None) -> bool:
    """Whether standard output gets colours. `pager`: what we put behind it ourselves."""
    values = {key: value for _, key, value in place.repository.config()}
    environ = {**os.environ, "GIT_PAGER_IN_USE": "true"} if pager is not None else os.environ
    return show.colour_of_output(sys.stdout, environ, values)


def print_json(value: object) -> None:
    import json

    print(json.dumps(value, indent=2))
