"""submit, worker, fleet, and the fleet's side of list and doctor: tasks on several machines."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import show
from ..errors import UsageError
from .common import AsJson, ask, colour_setting, print_json
from .run import (
    Base,
    Check,
    Goal,
    GoalFile,
    MaxSessions,
    MaxTime,
    MaxTokens,
    Model,
    NewName,
    NoCheck,
    SandboxNetwork,
    goal_text,
    make_request,
    screen_for,
)

if TYPE_CHECKING:
    from ..doctor import Finding
    from ..slurm import Fleet

RemoteName = Annotated[str, typer.Option("--remote", metavar="REMOTE", help="Git remote that the machines share.")]


def submit(
    goal: Goal = None,
    name: NewName = None,
    base: Base = None,
    file: GoalFile = None,
    task: Annotated[
        str | None,
        typer.Option(
            "--task", metavar="TASK", help="A task that exists: of this clone, or one that waits for a person."
        ),
    ] = None,
    withdraw: Annotated[
        str | None, typer.Option("--withdraw", metavar="TASK", help="Take a task back; its branch stays.")
    ] = None,
    remote: RemoteName = "origin",
    max_sessions: MaxSessions = None,
    sandbox_network: SandboxNetwork = None,
    model: Model = None,
    check: Check = None,
    no_check: NoCheck = False,
    max_tokens: MaxTokens = None,
    max_time: MaxTime = None,
) -> int:
    """Give a task to the fleet: it starts on the remote, and whichever worker is free works on it."""
    from .. import fleet

    if sum(given is not None for given in (goal or file, task, withdraw)) > 1:
        raise UsageError("GOAL, --task and --withdraw exclude each other", "git autonomous submit -h")
    if withdraw is not None:
        fleet.withdraw(withdraw, remote=remote)
        print(f"{withdraw}: taken back from the fleet")
        print(f"hint: git fetch {remote} && git autonomous resume {withdraw}", file=sys.stderr)
        return 0
    if task is not None:
        fleet.hand_over(task, remote=remote)
    else:
        request = make_request(
            False, max_sessions, False, None, False, sandbox_network, None, model, None, None, check, no_check,
            max_tokens, max_time, False, False,
        )  # fmt: skip
        task = fleet.submit(goal_text(goal, file), request, ask, remote=remote, name=name, base=base)
    print(f"{task}: queued on {remote}")
    print(f"hint: git autonomous list --remote {remote}", file=sys.stderr)
    return 0


def worker(
    remote: RemoteName = "origin",
    slots: Annotated[int, typer.Option("--slots", min=1, metavar="N", help="Tasks at a time.")] = 1,
    once: Annotated[
        bool, typer.Option("--once", help="Take what is there now, at most a task a slot, then end.")
    ] = False,
    task: Annotated[
        str | None, typer.Option("--task", metavar="TASK", help="Only this task, until it is done.")
    ] = None,
    idle: Annotated[
        str | None, typer.Option("--idle", metavar="DUR", help="End when there was nothing to do for this long: 10m.")
    ] = None,
) -> int:
    """Work on the fleet's tasks: claim one, run its sessions, push each; on any machine with a clone and Codex."""
    from .. import fleet, tasks
    from ..lease import Hold
    from ..worker import Job, Worker, who

    waits = patience(idle)
    place = tasks.open_place({}, None)
    tasks.refuse_nested(place)
    hub = fleet.remote_of(place.repository, place.objects, remote)
    boss = Worker(place, hub, who(os.environ), say, slots=slots, only=task, once=once, idle=waits)
    outcome = boss.run()
    if not isinstance(outcome, Hold):
        return outcome
    with screen_for(False) as screen:
        result = Job(place, outcome, screen).run()
    assert result.step is not None
    reason = f", {show.one_line(result.step.reason)}" if result.step.reason else ""
    print(f"{result.name}: {result.step.state}{reason}", flush=True)
    return result.step.status


Engine = Annotated[
    str,
    typer.Option("--engine", metavar="ENGINE", help="What starts the workers: slurm. For others see docs/fleet.md."),
]


def start(
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, metavar="N", help="That many workers, those included that there are."),
    ] = None,
    per_task: Annotated[
        bool, typer.Option("--per-task", help="Instead: a job for each task that is queued now.")
    ] = False,
    partition: Annotated[str | None, typer.Option("--partition", metavar="NAME", help="Slurm partition.")] = None,
    slots: Annotated[int, typer.Option("--slots", min=1, metavar="N", help="Tasks at a time in a worker.")] = 1,
    idle: Annotated[
        str,
        typer.Option("--idle", metavar="DUR", help="A worker ends when it had nothing to do for this long."),
    ] = "10m",
    place: Annotated[
        str | None,
        typer.Option("--place", metavar="DIR", help="Folder of the clones on a node; its shell expands $VARIABLES."),
    ] = None,
    mirror: Annotated[
        Path | None,
        typer.Option("--mirror", metavar="DIR", help="Repository on the nodes from which clones borrow objects."),
    ] = None,
    remote: RemoteName = "origin",
    engine: Engine = "slurm",
    options: Annotated[
        list[str] | None, typer.Argument(metavar="-- [SBATCH-OPTION]...", help="Passed to sbatch as they are.")
    ] = None,
) -> int:
    """Have Slurm start workers, as many as are missing."""
    from .. import slurm

    patience(idle)
    if (workers is None) == (not per_task):
        raise UsageError("say how many: --workers N, or --per-task", "git autonomous fleet start --workers 4")
    crew = engine_for(engine, remote)
    script = slurm.Script(place or slurm.PLACE, mirror)
    arguments = ("--remote", "origin", "--slots", str(slots), "--idle", idle)
    if per_task:
        tasks = crew.queued_tasks()
        wanted: list[tuple[str, tuple[str, ...]]] = [
            (f"{task}.e{epoch}", ("--remote", "origin", "--task", task)) for task, epoch in tasks
        ]
    else:
        wanted = [(str(number), arguments) for number in range(1, (workers or 0) + 1)]
    extra = [*([f"--partition={partition}"] if partition else []), *(options or [])]
    submitted = crew.start(wanted, script, extra)
    print(f"{len(submitted)} submitted, {len(wanted) - len(submitted)} there already", flush=True)
    print("hint: git autonomous fleet status", file=sys.stderr)
    return 0


def status(as_json: AsJson = False, remote: RemoteName = "origin", engine: Engine = "slurm") -> int:
    """Show the workers that the engine has, and how many tasks are in which state."""
    from .. import fleet, model

    crew = engine_for(engine, remote)
    jobs, tasks = crew.jobs(), fleet.overview(crew.hub)
    states = [str(task["state"]) for task in tasks]
    counts = {state: states.count(state) for state in dict.fromkeys(states)}
    if as_json:
        workers = [vars(job) | {"since": model.iso(job.since) if job.since else None} for job in jobs]
        print_json({"schema": 1, "fleet": crew.name, "workers": workers, "tasks": counts})
        return 0
    rows = [
        (job.worker, str(job.id), job.state.lower(), job.node, str(job.restarts or ""), job.reason,
         show.duration(time.time() - job.since) if job.since else "")
        for job in jobs
    ]  # fmt: skip
    sys.stdout.write(
        show.table(
            ("worker", "job", "state", "node", "restarts", "reason", "for"),
            rows,
            width=show.columns(sys.stdout, os.environ),
            ascii=not show.unicode(sys.stdout),
            flexible=(0, 5),
        )
        if rows
        else "no workers\n"
    )
    print("tasks: " + (", ".join(f"{number} {state}" for state, number in counts.items()) or "none"))
    return 0


def stop(
    now: Annotated[
        bool, typer.Option("--now", help="End them at once; other workers wait for the leases' term then.")
    ] = False,
    remote: RemoteName = "origin",
    engine: Engine = "slurm",
) -> int:
    """Tell the workers to commit, push and hand over; those that wait in the queue are cancelled."""
    jobs = engine_for(engine, remote).stop(now=now)
    print(f"{len(jobs)} worker{'s' * (len(jobs) != 1)} told to stop", flush=True)
    print("hint: git autonomous fleet status", file=sys.stderr)
    return 0


def engine_for(engine: str, remote: str) -> Fleet:
    from .. import fleet, tasks
    from ..slurm import Fleet

    if engine != "slurm":
        raise UsageError(
            f"there are commands for slurm only, not for '{show.one_line(engine)}'; other engines run `git autonomous worker`",
            "git autonomous worker -h    # and docs/fleet.md for templates",
        )
    place = tasks.open_place({}, None)
    tasks.refuse_nested(place)
    return Fleet(fleet.remote_of(place.repository, place.objects, remote))


def patience(idle: str | None) -> float:
    """Seconds of --idle; 0 where it is not given."""
    from ..config import duration

    try:
        return duration(idle) if idle is not None else 0.0
    except ValueError:
        raise UsageError(
            f"--idle must be a duration such as 90, 10m or 2h, not {show.one_line(idle or '')!r}",
            "git autonomous worker --idle 10m",
        ) from None


def say(text: str) -> None:
    print(show.one_line(text), file=sys.stderr, flush=True)


def show_fleet(remote: str, as_json: bool) -> int:
    """`list --remote`."""
    from .. import fleet, tasks

    place = tasks.open_place({}, None)
    found = fleet.overview(fleet.remote_of(place.repository, place.objects, remote))
    if as_json:
        print_json({"schema": 1, "tasks": found})
    elif found:
        colour = show.colour(sys.stdout, os.environ, colour_setting(place))
        text = fleet.table(
            found,
            width=show.columns(sys.stdout, os.environ),
            colour=colour,
            ascii=not show.unicode(sys.stdout),
            now=time.time(),
        )
        sys.stdout.write(text)
    else:
        print(f'No tasks on {remote} yet. Give it one: git autonomous submit "GOAL"', file=sys.stderr)
    return 0


def examine_remote(remote: str) -> list[Finding]:
    """What `doctor --remote` adds."""
    from .. import fleet, tasks

    place = tasks.open_place({}, None)
    return fleet.examine(fleet.remote_of(place.repository, place.objects, remote))
