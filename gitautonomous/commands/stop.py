"""stop: ending a runner, wherever it runs on this machine."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from .. import show
from ..errors import AutonomousError, Interrupted, UsageError

if TYPE_CHECKING:
    from ..stopping import Told

POLL = 0.1  # seconds


def stop(
    task: Annotated[
        str | None, typer.Argument(metavar="TASK", help="Default: this worktree's task, else the only one that runs.")
    ] = None,
    after_session: Annotated[
        bool, typer.Option("--after-session", help="Let the session come to its end first.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Stop every task of this repository.")] = False,
) -> int:
    """Stop a task that runs; what its session did so far becomes a commit."""
    from .. import stopping, tasks

    if everything and task is not None:
        raise UsageError("TASK and --all exclude each other", "git autonomous stop -h")
    place = tasks.open_place({}, None)
    names = tasks.running(place) if everything else [tasks.known_task(place, task or tasks.only_running(place, "stop"))]
    told = {}
    for name in names:
        found = stopping.tell(place.repository.task_dir(name), after_session=after_session)
        if found is not None:
            told[name] = found
        elif not everything:
            raise AutonomousError(f"nobody works on '{name}'", f"git autonomous status {name}")
    if not told:
        print("Nothing runs.", file=sys.stderr)
    if after_session:
        for name, found in told.items():
            print(f"{name}: " + ("stopped" if found.orphan else "will stop after its session"))
        return 0
    wait(told)
    for name, found in told.items():
        print(f"{name}: stopped, {tasks.newest(place, name)}", flush=True)
        if found.orphan:
            print(f"hint: git autonomous resume {name}    # commits what its session did", file=sys.stderr)
    return 0


def wait(told: dict[str, Told]) -> None:
    """Wait until every runner is gone, and show on a terminal what is waited for. Raises Interrupted when the person does not want to."""
    from ..screen import LiveArea

    area = LiveArea(sys.stderr) if show.terminal(sys.stderr, os.environ) else None
    began = time.monotonic()
    try:
        while left := [name for name, found in told.items() if found.at_work()]:
            if area is not None:
                seconds = show.duration(time.monotonic() - began)
                line = f"waiting for {', '.join(left)} to end and commit – {seconds}"
                columns, _ = area.size()
                area.draw([], [show.cut(line if show.unicode(sys.stderr) else show.to_ascii(line), columns)])
            time.sleep(POLL)
    except KeyboardInterrupt:
        raise Interrupted(f"not waited for {', '.join(left)}, which stops by itself", signum=2) from None
    finally:
        if area is not None:
            area.draw([], [])
