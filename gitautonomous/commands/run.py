"""start and resume: running a task."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace as replaced
from typing import TYPE_CHECKING, Annotated

import typer

from .. import listing, show
from ..errors import UsageError
from .common import TaskName, ask, colour_setting, print_json

if TYPE_CHECKING:
    from ..screen import Screen
    from ..tasks import Request, Result

MaxSessions = Annotated[
    int | None,
    typer.Option("--max-sessions", min=0, metavar="N", help="Stop after N sessions (default: 3 × items + 5)."),
]
Goal = Annotated[str | None, typer.Argument(metavar="GOAL", help="What is to be done, in your words.")]
NewName = Annotated[
    str | None,
    typer.Option("-n", "--name", "--task-name", metavar="NAME", help="Name of the task (default: from the goal)."),
]
Base = Annotated[
    str | None, typer.Option("--base", metavar="REF", help="Branch to start from (default: the current one).")
]
GoalFile = Annotated[
    str | None, typer.Option("--file", metavar="FILE", help="Read the goal from a file, - for standard input.")
]
NoAutoContinue = Annotated[bool, typer.Option("--no-auto-continue", help="Run one session, then stop.")]
Delay = Annotated[str | None, typer.Option("--delay", metavar="S", help="Seconds between two sessions (default: 3).")]
ResumeLast = Annotated[bool, typer.Option("--resume-last", help="Keep to the same Codex thread.")]
SandboxNetwork = Annotated[bool | None, typer.Option("--sandbox-network", help="Open the network inside the sandbox.")]
Network = Annotated[
    bool | None, typer.Option("--network", help="Full access: no sandbox at all. Your explicit choice.")
]
Model = Annotated[
    str | None, typer.Option("-m", "--model", metavar="MODEL", help="Codex model (default: Codex decides).")
]
Profile = Annotated[str | None, typer.Option("-p", "--profile", metavar="NAME", help="Codex profile.")]
CodexConfig = Annotated[
    list[str] | None, typer.Option("-c", "--config", metavar="KEY=VALUE", help="Passed to Codex; repeatable.")
]
Check = Annotated[
    list[str] | None,
    typer.Option("--check", metavar="CMD", help="Command that must pass before work counts; repeatable."),
]
NoCheck = Annotated[bool, typer.Option("--no-check", help="No checks, not even proposed ones.")]
MaxTokens = Annotated[
    int | None, typer.Option("--max-tokens", min=0, metavar="N", help="Stop when N tokens are spent.")
]
MaxTime = Annotated[str | None, typer.Option("--max-time", metavar="DUR", help="Stop after this time: 90, 10m, 2h30m.")]
Plan = Annotated[bool, typer.Option("--plan", help="Stop when the task list is written, for a look at it.")]
Detach = Annotated[bool, typer.Option("-d", "--detach", help="Go on in the background, also when the terminal closes.")]
ResultAsJson = Annotated[bool, typer.Option("--json", help="Print the task as one JSON object.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Only errors and the last line.")]


def start(
    goal: Goal = None,
    name: NewName = None,
    base: Base = None,
    file: GoalFile = None,
    plan: Plan = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Start a task of this name anew; the old one is kept.")
    ] = False,
    max_sessions: MaxSessions = None,
    no_auto_continue: NoAutoContinue = False,
    delay: Delay = None,
    resume_last: ResumeLast = False,
    sandbox_network: SandboxNetwork = None,
    network: Network = None,
    model: Model = None,
    profile: Profile = None,
    config: CodexConfig = None,
    check: Check = None,
    no_check: NoCheck = False,
    max_tokens: MaxTokens = None,
    max_time: MaxTime = None,
    detach: Detach = False,
    as_json: ResultAsJson = False,
    quiet: Quiet = False,
) -> int:
    """Start a new task: a branch, a worktree, and sessions until it is finished."""
    from .. import starting

    text = goal_text(goal, file)
    request = make_request(
        plan,
        max_sessions,
        no_auto_continue,
        delay,
        resume_last,
        sandbox_network,
        network,
        model,
        profile,
        config,
        check,
        no_check,
        max_tokens,
        max_time,
        detach,
        quiet,
    )
    with screen_for(quiet) as screen:
        result = starting.start(text, request, ask, screen, name=name, base=base, replace_old=replace)
    return report(result, as_json)


def resume(
    task: TaskName = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Go on with every task that can, at the same time.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", min=1, metavar="N", help="With --all: at most N tasks at a time (default: 4)."),
    ] = None,
    plan: Plan = False,
    max_sessions: MaxSessions = None,
    no_auto_continue: NoAutoContinue = False,
    delay: Delay = None,
    resume_last: ResumeLast = False,
    sandbox_network: SandboxNetwork = None,
    network: Network = None,
    model: Model = None,
    profile: Profile = None,
    config: CodexConfig = None,
    check: Check = None,
    no_check: NoCheck = False,
    max_tokens: MaxTokens = None,
    max_time: MaxTime = None,
    detach: Detach = False,
    as_json: ResultAsJson = False,
    quiet: Quiet = False,
) -> int:
    """Go on with a task, in a fresh Codex session or in the same thread."""
    from .. import tasks

    request = make_request(
        plan,
        max_sessions,
        no_auto_continue,
        delay,
        resume_last,
        sandbox_network,
        network,
        model,
        profile,
        config,
        check,
        no_check,
        max_tokens,
        max_time,
        detach,
        quiet,
    )
    if everything:
        if task is not None:
            raise UsageError("TASK and --all exclude each other", "git autonomous resume -h")
        outcome = resume_all(jobs or 4, request, as_json)
        if isinstance(outcome, int):
            return outcome
        task, request, as_json = outcome, replaced(request, detach=False, patient=True), False
    elif jobs is not None:
        raise UsageError("--jobs is for --all", "git autonomous resume --all --jobs 4")
    with screen_for(quiet) as screen:
        result = tasks.resume(task, request, ask, screen)
    return report(result, as_json)


def resume_all(jobs: int, request: Request, as_json: bool) -> int | str:
    """Run every task that can go on, each in a process of its own. Returns the exit status, and in such a process the task that is its own."""
    from .. import many, tasks
    from ..notify import Signs

    place = tasks.open_place(request.flags, ask)
    tasks.refuse_nested(place)
    names, left_out = many.choose(place)
    for line in left_out:
        print(show.one_line(line), file=sys.stderr)
    outcome: int | str | None = 0
    if names:
        outcome = many.Crew(place, names, jobs, colour_setting(place)).run(request.detach)
    if isinstance(outcome, str):
        return outcome
    found = [task for task in tasks.listed(place) if task["name"] in names]
    if as_json:
        print_json({"schema": 1, "tasks": [listing.to_json(task) for task in found]})
    elif outcome is None:
        print(f"{several(len(names))} in the background", flush=True)
    elif found:
        counts = Counter(str(task["state"]) for task in found)
        print(f"{several(len(found))}: {', '.join(f'{n} {state}' for state, n in counts.most_common())}", flush=True)
    else:
        print("No task can go on.", file=sys.stderr)
    if outcome is None:
        print("hint: git autonomous list --watch    # watch them; Ctrl-C leaves them running", file=sys.stderr)
        print("hint: git autonomous stop --all", file=sys.stderr)
        return 0
    if found:
        Signs(sys.stderr, bell=place.settings.bell and not request.quiet, title=False).ring()
        print("hint: git autonomous list", file=sys.stderr)
    return outcome


def several(number: int) -> str:
    return f"{number} task{'s' * (number != 1)}"


def make_request(
    plan: bool,
    max_sessions: int | None,
    no_auto_continue: bool,
    delay: str | None,
    resume_last: bool,
    sandbox_network: bool | None,
    network: bool | None,
    model: str | None,
    profile: str | None,
    config: list[str] | None,
    check: list[str] | None,
    no_check: bool,
    max_tokens: int | None,
    max_time: str | None,
    detach: bool,
    quiet: bool,
) -> Request:
    from ..tasks import Request

    if check and no_check:
        raise UsageError("--check and --no-check exclude each other", "git autonomous start -h")
    if not all(map(str.strip, check or ())):
        raise UsageError("a check is empty", 'git autonomous start "GOAL" --no-check    # none, not even proposed ones')
    flags = {
        "max_sessions": max_sessions,
        "delay": delay,
        "sandbox_network": sandbox_network,
        "network": network,
        "model": model,
        "profile": profile,
        "checks": tuple(check) if check else None,
        "max_tokens": max_tokens,
        "max_time": max_time,
    }
    return Request(
        flags=flags,
        config=tuple(config or ()),
        no_check=no_check,
        auto_continue=not no_auto_continue,
        plan=plan,
        resume_last=resume_last,
        detach=detach,
        quiet=quiet,
    )


GOAL_BYTES = 4 * 1024 * 1024


def goal_text(goal: str | None, file: str | None) -> str:
    """The goal from the command line, a file or standard input. Raises UsageError."""
    example = 'git autonomous start "Build a REST API for a todo app"'
    if goal is not None and file is not None:
        raise UsageError("the goal is given twice, as GOAL and by --file", example)
    if file is None:
        if goal is None:
            raise UsageError("what is to be done? The goal is missing", example)
        return goal
    try:
        if file == "-":
            content = sys.stdin.buffer.read(GOAL_BYTES)
        else:
            with open(file, "rb") as opened:
                content = opened.read(GOAL_BYTES)
        return content.decode("utf-8")
    except OSError as error:
        raise UsageError(f"cannot read the goal from {file}: {error.strerror}", example) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"the goal in {file} is not UTF-8 text", f"file {file}") from error


@contextmanager
def screen_for(quiet: bool) -> Iterator[Screen]:
    from ..screen import Screen

    with Screen(sys.stderr, quiet=quiet) as screen:
        yield screen


def report(result: Result, as_json: bool) -> int:
    """The last line of a run, or what there is to know of one that goes on in the background, and what to type next. Returns the exit status."""
    task, step = result.name, result.step
    if as_json:
        print_json({"schema": 1, "task": result.to_json()})
    if step is None:
        if not as_json:
            print(f"{task}: runs in the background", flush=True)
        print(f"hint: git autonomous attach {task}    # watch it; Ctrl-C leaves it running", file=sys.stderr)
        print(f"hint: git autonomous stop {task}", file=sys.stderr)
        return 0
    if not as_json:
        print(f"{task}: {step.state}" + (f", {show.one_line(step.reason)}" if step.reason else ""), flush=True)
    hint = step.hint.replace("{task}", task) or show.next_command(task, step.state)
    print(f"hint: {hint}", file=sys.stderr)
    return step.status
