"""list, status and log: looking at tasks."""

from __future__ import annotations

import os
import sys
import time
from typing import Annotated

import typer

from .. import show
from .common import AsJson, TaskName, colour_setting, print_json


def list_tasks(as_json: AsJson = False) -> int:
    """Show every task: state, progress, sessions, age."""
    from .. import __main__ as entry
    from ..git import Repository

    return entry.show_list(str(Repository.discover().common_dir), as_json)


def status(
    task: TaskName = None,
    as_json: AsJson = False,
) -> int:
    """Show one task in full: goal, items, sessions, checks."""
    from .. import tasks

    place = tasks.open_place({}, None)
    known = tasks.status(place, task if task is not None else tasks.default_task(place))
    if as_json:
        print_json({"schema": 1, "task": known})
        return 0
    sys.stdout.write(
        show.status_text(
            known,
            known["sessions_run"],  # type: ignore[arg-type]
            known["items"],  # type: ignore[arg-type]
            width=show.columns(sys.stdout, os.environ),
            colour=show.colour(sys.stdout, os.environ, colour_setting(place)),
            ascii=not show.unicode(sys.stdout),
            now=time.time(),
        )
    )
    return 0


def log(
    task: TaskName = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on showing what is added.")] = False,
) -> int:
    """Show what the agent did, from the transcripts on this machine."""
    from .. import tasks, transcript

    place = tasks.open_place({}, None)
    name = task if task is not None else tasks.default_task(place)
    colour = show.colour(sys.stdout, os.environ, colour_setting(place))
    shown = False
    worktree = place.repository.worktree_of(place.branch(name))
    rendered = transcript.lines(
        lambda: tasks.transcripts(place, name),
        follow=follow,
        colour=colour,
        ascii=not show.unicode(sys.stdout),
        root=str(worktree.path) if worktree else "",
    )
    for line in rendered:
        shown = True
        sys.stdout.write(line)
        if follow:
            sys.stdout.flush()
    if not shown:
        print(f"There is no transcript of '{name}' on this machine.", file=sys.stderr)
    return 0
