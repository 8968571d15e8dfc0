"""list, status and log: looking at tasks."""

from __future__ import annotations

import os
import sys
import time
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import show
from ..errors import UsageError
from .common import AsHtml, AsJson, TaskToLookAt, coloured, pager_for, print_json


def list_tasks(
    as_json: AsJson = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Stay, with what each agent does now, drawn anew each second.")
    ] = False,
    remote: Annotated[
        str | None,
        typer.Option(
            "--remote", metavar="REMOTE", help="The fleet's tasks on this git remote, with who works on each."
        ),
    ] = None,
    html: AsHtml = None,
) -> int:
    """Show every task: state, progress, sessions, age."""
    from .. import overview
    from ..git import Repository

    if remote is not None:
        from .fleet import show_fleet

        if html is not None:
            raise UsageError("--html and --remote exclude each other", "git autonomous list --html tasks.html")
        if watch:
            raise UsageError("--watch and --remote exclude each other", f"git autonomous list --remote {remote}")
        return show_fleet(remote, as_json)
    if html is not None:
        if watch or as_json:
            raise UsageError("--html goes with neither --json nor --watch", "git autonomous list --html tasks.html")
        return save_list(html)
    if watch:
        from .watch import watch_list

        return watch_list(as_json)
    return overview.show_list(str(Repository.discover().common_dir), as_json)


def save_list(target: str) -> int:
    """Every task on a page in a file, or on standard output for "-"."""
    from .. import forecast, listing, page, resources, tasks
    from . import files

    place = tasks.open_place({}, None)
    files.check(place, target, "tasks.html", "git autonomous list --html")
    found = []
    for task in map(listing.to_json, tasks.listed(place)):
        known = task["conflicts"] is not None
        ahead = forecast.described(place.repository.common_dir, task)
        found.append(task | {"conflicts": ahead if known else None})
    beside = set() if target == "-" else {entry.stem for entry in Path(target).parent.glob("*.html") if entry.is_file()}
    style, name = resources.template("page.css"), place.repository.main_root.name
    files.write(target, page.tasks(found, repository=name, pages=beside, style=style, now=time.time()))
    return 0


def status(
    task: TaskToLookAt = None,
    as_json: AsJson = False,
) -> int:
    """Show one task in full: goal, items, sessions, checks."""
    from .. import forecast, pager, tasks

    place = tasks.open_place({}, None)
    known = tasks.status(place, task if task is not None else tasks.default_task(place, finished=True))
    if as_json:
        print_json({"schema": 1, "task": known})
        return 0
    ahead = forecast.described(place.repository.common_dir, known)
    text = show.status_text(
        known | {"now": at_work(known), "conflicts": ahead},
        known["sessions_run"],  # type: ignore[arg-type]
        known["items"],  # type: ignore[arg-type]
        width=show.columns(sys.stdout, os.environ),
        colour=coloured(place),
        ascii=not show.unicode(sys.stdout),
        now=time.time(),
    )
    pager.write(text, sys.stdout, place.repository)
    return 0


def at_work(known: dict[str, Any]) -> str:
    """What the agent does now, in words."""
    activity = known["activity"]
    if activity is None:
        return ""
    began, since = (datetime.fromisoformat(activity[key]).timestamp() for key in ("began", "since"))
    session, action = f"session {activity['session']} for {show.duration(time.time() - began)}", activity["action"]
    return f"{session}: {action} (for {show.duration(time.time() - since)})"


def log(
    task: TaskToLookAt = None,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on showing what is added, as long as the task runs.")
    ] = False,
) -> int:
    """Show what the agent did, from the transcripts on this machine."""
    from .. import pager, stopping, tasks, transcript

    place = tasks.open_place({}, None)
    name = task if task is not None else tasks.default_task(place, running=follow, finished=True)
    directory = place.repository.task_dir(name)
    worktree = place.repository.worktree_of(place.branch(name))
    command = None if follow else pager_for(place, *pager.NAMES)
    rendered = transcript.lines(
        lambda: tasks.transcripts(place, name),
        follow=follow,
        colour=coloured(place, command),
        ascii=not show.unicode(sys.stdout),
        root=str(worktree.path) if worktree else "",
        stop=lambda: not stopping.busy(directory),
    )
    first = next(rendered, None)
    if first is None:
        print(f"There is no transcript of '{name}' on this machine.", file=sys.stderr)
        return 0
    with pager.output(sys.stdout, command, place.repository.main_root) as out:
        for line in chain([first], rendered):
            out.write(line)
            if follow:
                out.flush()
    return 0
