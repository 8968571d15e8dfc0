"""attach and list --watch: looking on while tasks run."""

from __future__ import annotations

import os
import sys
import time
from typing import Annotated

import typer

from .. import show
from ..errors import AutonomousError, UsageError
from .common import colour_setting

REDRAW = 1.0  # seconds


def attach(
    task: Annotated[
        str | None, typer.Argument(metavar="TASK", help="Default: this worktree's task, else the only one that runs.")
    ] = None,
) -> int:
    """Watch a task that runs, on the screen that its own terminal has. Ctrl-C leaves it running."""
    from .. import stopping, tasks
    from ..attach import Watcher
    from ..notify import Signs
    from ..screen import Screen

    place = tasks.open_place({}, None)
    name = tasks.known_task(place, task or tasks.only_running(place, "attach"))
    directory = place.repository.task_dir(name)
    if not stopping.busy(directory):
        raise AutonomousError(f"nobody works on '{name}'", f"git autonomous log {name}")
    worktree = place.repository.worktree_of(place.branch(name))
    if show.terminal(sys.stderr, os.environ):
        leave = f"watching {name}; Ctrl-C leaves it running"
        dim = show.colour(sys.stderr, os.environ, colour_setting(place))
        print(show.paint(leave, show.DIM) if dim else leave, file=sys.stderr)
    try:
        with Screen(sys.stderr, colours=colour_setting(place)) as screen:
            word = Watcher(place.objects, name, directory, str(worktree.path) if worktree else "", screen).watch()
    except KeyboardInterrupt:
        print(f"hint: '{name}' goes on; git autonomous attach {name}", file=sys.stderr)
        return 0
    Signs(sys.stderr, bell=place.settings.bell, title=False).ring()
    if word is None:
        raise AutonomousError(f"the runner of '{name}' is gone without a word", f"git autonomous resume {name}")
    print(f"{name}: {word['state']}" + (f", {show.one_line(word['reason'])}" if word["reason"] else ""), flush=True)
    print(f"hint: {show.next_command(name, word['state'])}", file=sys.stderr)
    return int(word.get("status", 0))


def watch_list(as_json: bool) -> int:
    """Draw the table of all tasks again and again, until Ctrl-C; what was drawn last stays."""
    from .. import live, tasks
    from ..screen import LiveArea

    if as_json:
        raise UsageError("--watch and --json exclude each other", "git autonomous list --json")
    if not show.terminal(sys.stdout, os.environ):
        raise UsageError("--watch needs a terminal", "git autonomous list")
    place = tasks.open_place({}, None)
    area = LiveArea(sys.stdout)
    table = live.Table(place.repository, place.settings.branch_prefix, sys.stdout, colour_setting(place))
    lines: list[str] = []
    try:
        while True:
            lines = table.lines(*area.size())
            area.draw([], lines)
            time.sleep(REDRAW)
    except KeyboardInterrupt:
        area.draw(lines, [])
        return 0
