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
    from ..tasks import Place

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
    if everything:
        return stop_all(place, after_session)
    name = tasks.known_task(place, task or tasks.only_running(place, "stop"))
    told = stopping.tell(place.repository.task_dir(name), after_session=after_session)
    if told is None:
        raise AutonomousError(f"nobody works on '{name}'", f"git autonomous status {name}")
    report(place, {name: told}, after_session)
    return 0


def stop_all(place: Place, after_session: bool) -> int:
    """Stop all that runs here; who starts one task after another is told first, and is waited for, so that no new one appears."""
    from .. import many, stopping, tasks

    crew = stopping.ask_crew(place.repository.state_dir, many.LOCK)
    told: dict[str, Told] = {}
    while True:
        fresh = {}
        for name in tasks.running(place):
            found = (
                stopping.tell(place.repository.task_dir(name), after_session=after_session)
                if name not in told
                else None
            )
            if found is not None:
                fresh[name] = told[name] = found
        report(place, fresh, after_session)
        if after_session or not (crew and stopping.runner(place.repository.state_dir, many.LOCK)):
            break
        time.sleep(POLL)
    if not told:
        print("Nothing runs.", file=sys.stderr)
    return 0


def report(place: Place, told: dict[str, Told], after_session: bool) -> None:
    """Say what came of it, when it has."""
    from .. import tasks

    if not after_session:
        wait(told)
    for name, found in told.items():
        if after_session and not found.orphan:
            print(f"{name}: will stop after its session", flush=True)
            continue
        session = found.left_open()
        left = f"; session {session} is not committed yet, its files are in the worktree" if session else ""
        print(f"{name}: stopped, {tasks.newest(place, name)}{left}", flush=True)
        if session:
            print(f"hint: git autonomous resume {name}    # commits what its session did", file=sys.stderr)


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
