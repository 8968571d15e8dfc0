"""What several commands share: asking, JSON, colours."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .. import show

if TYPE_CHECKING:
    from ..tasks import Place

AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs.")]
TaskName = Annotated[
    str | None,
    typer.Argument(metavar="TASK", help="Default: this worktree's task, else the newest unfinished."),
]


def ask(text: str, question: str) -> bool:
    """Show a text and ask for a yes on the terminal; False when there is none."""
    if sys.stdin is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    for line in show.clean(text, keep_newlines=True).split("\n"):
        print(f"    {line}", file=sys.stderr)
    return typer.confirm(question, default=False, err=True)


def colour_setting(place: Place) -> str:
    """color.autonomous, else color.ui, as git resolves them."""
    for _, key, value in reversed(place.repository.config()):
        if key in ("color.autonomous", "color.ui"):
            return str(value)
    return "auto"


def print_json(value: object) -> None:
    import json

    print(json.dumps(value, indent=2))
