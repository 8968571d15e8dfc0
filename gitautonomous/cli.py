"""The command line: parse, one call, render. `main` is the one error boundary.

Modules that cost time are imported inside the commands that need them.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import typer.exceptions

from . import __version__, show, states
from .errors import AutonomousError, Interrupted, UsageError

if TYPE_CHECKING:
    from .model import Next
    from .screen import Screen
    from .tasks import Request

app = typer.Typer(
    name="git autonomous",
    help="Run a long task over many Codex sessions: one branch a task, one commit a session.",
    add_completion=False,
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: list[str]) -> int:
    """Run one command and return its exit status: 0 done, 1 expected failure, 2 usage, 3 needs a person, 4 a bug, 130/143 interrupted."""
    try:
        status = app(args=arguments, prog_name="git autonomous", standalone_mode=False)
        sys.stdout.flush()
        return int(status or 0)
    except AutonomousError as error:
        return fail(error.message, error.hint, error.exit_status)
    except typer.exceptions.TyperException as error:
        context = getattr(error, "ctx", None)
        return fail(
            error.format_message(), f"{context.command_path if context else 'git autonomous'} -h", error.exit_code
        )
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        where = f"{show.clean(str(error.filename))}: " if error.filename else ""
        return fail(f"{where}{error.strerror}", "git autonomous doctor", 1)
    except Exception:
        import traceback

        traceback.print_exc()
        versions = f"git-autonomous {__version__}, Python {sys.version.split()[0]}"
        return fail(f"this is a bug in git autonomous ({versions})", "report it with the lines above", 4)


def fail(message: str, hint: str | None, status: int) -> int:
    print(f"error: {show.one_line(message)}", file=sys.stderr)
    if hint:
        print(f"hint: {show.one_line(hint)}", file=sys.stderr)
    return status


def print_version(given: bool) -> None:
    if given:
        print(f"git-autonomous {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Run a long task over many Codex sessions: one branch a task, one commit a session."""
    if context.invoked_subcommand is None:
        print(context.get_help())


# -- options that start and resume share -----------------------------------------------------------------------------------------------------------

MaxSessions = Annotated[
    int | None,
    typer.Option("--max-sessions", min=0, metavar="N", help="Stop after N sessions (default: 3 × items + 5)."),
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
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Only errors and the last line.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs.")]


@app.command(epilog='Examples: git autonomous start "Build a REST API for a todo app" --check "make test"')
def start(
    goal: Annotated[str | None, typer.Argument(metavar="GOAL", help="What is to be done, in your words.")] = None,
    name: Annotated[
        str | None,
        typer.Option("-n", "--name", "--task-name", metavar="NAME", help="Name of the task (default: from the goal)."),
    ] = None,
    base: Annotated[
        str | None, typer.Option("--base", metavar="REF", help="Branch to start from (default: the current one).")
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="FILE", help="Read the goal from a file, - for standard input.")
    ] = None,
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
    quiet: Quiet = False,
) -> int:
    """Start a new task: a branch, a worktree, and sessions until it is finished."""
    from . import tasks

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
    )
    with screen_for(quiet) as screen:
        task, step = tasks.start(text, request, ask, screen, name=name, base=base, replace_old=replace)
    return report(task, step)


@app.command(epilog="Examples: git autonomous resume    git autonomous resume todo-api --resume-last")
def resume(
    task: Annotated[
        str | None, typer.Argument(metavar="TASK", help="Default: this worktree's task, else the newest unfinished.")
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
    quiet: Quiet = False,
) -> int:
    """Go on with a task, in a fresh Codex session or in the same thread."""
    from . import tasks

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
    )
    with screen_for(quiet) as screen:
        name, step = tasks.resume(task, request, ask, screen)
    return report(name, step)


@app.command("list", epilog="Examples: git autonomous list    git autonomous list --json")
def list_tasks(as_json: AsJson = False) -> int:
    """Show every task: state, progress, sessions, age."""
    from . import __main__ as entry
    from .git import Repository

    os.chdir(Repository.discover().common_dir)
    for name in [
        name
        for name in os.environ
        if name
        in ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM")
    ]:
        del os.environ[name]
    return entry.quick_list(as_json) or 0


@app.command(epilog="Examples: git autonomous status    git autonomous status todo-api --json")
def status(
    task: Annotated[
        str | None, typer.Argument(metavar="TASK", help="Default: this worktree's task, else the newest unfinished.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Show one task in full: goal, items, sessions, checks."""
    from . import tasks

    place = tasks.open_place({}, ask)
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
            colour=show.colour(sys.stdout, os.environ, place_colour(place)),
            ascii=not show.unicode(sys.stdout),
            now=time.time(),
        )
    )
    return 0


@app.command(epilog="Examples: git autonomous log todo-api    git autonomous log -f")
def log(
    task: Annotated[
        str | None, typer.Argument(metavar="TASK", help="Default: this worktree's task, else the newest unfinished.")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on showing what is added.")] = False,
) -> int:
    """Show what the agent did, from the transcripts on this machine."""
    from . import tasks, transcript

    place = tasks.open_place({}, ask)
    name = task if task is not None else tasks.default_task(place)
    colour = show.colour(sys.stdout, os.environ, place_colour(place))
    shown = False
    for line in transcript.lines(lambda: tasks.transcripts(place, name), follow=follow, colour=colour):
        shown = True
        sys.stdout.write(line)
        if follow:
            sys.stdout.flush()
    if not shown:
        print(f"There is no transcript of '{name}' on this machine.", file=sys.stderr)
    return 0


@app.command(epilog="Example: git autonomous doctor")
def doctor(as_json: AsJson = False) -> int:
    """Check git, Codex, its sandbox, your sign-in and this repository; each finding names the command that mends it."""
    from . import doctor as examination

    findings = examination.examine_here(os.environ)
    if as_json:
        print_json({"schema": 1, "findings": [finding.to_json() for finding in findings]})
    else:
        sys.stdout.write(
            examination.report(findings, colour=show.colour(sys.stdout, os.environ), ascii=not show.unicode(sys.stdout))
        )
    return 1 if any(finding.ok is False for finding in findings) else 0


@app.command(epilog="Example: git autonomous demo")
def demo(
    directory: Annotated[
        Path | None,
        typer.Option("--directory", metavar="DIR", help="Where to put it (default: a new temporary folder)."),
    ] = None,
) -> int:
    """See it work, offline, in half a minute: the real Codex with a scripted model builds a small program."""
    from . import demo as performance

    return performance.run(directory)


# -- helpers ---------------------------------------------------------------------------------------------------------------------------------------


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
) -> Request:
    from .tasks import Request

    if check and no_check:
        raise UsageError("--check and --no-check exclude each other", "git autonomous start -h")
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
            if sys.stdin is None:
                raise UsageError("standard input is closed", example)
            content = sys.stdin.buffer.read(GOAL_BYTES)
        else:
            with open(file, "rb") as opened:
                content = opened.read(GOAL_BYTES)
        return content.decode("utf-8")
    except OSError as error:
        raise UsageError(f"cannot read the goal from {file}: {error.strerror}", example) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"the goal in {file} is not UTF-8 text", f"file {file}") from error


def ask(text: str, question: str) -> bool:
    """Show a text and ask for a yes on the terminal; False when there is none."""
    if sys.stdin is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    for line in show.clean(text, keep_newlines=True).split("\n"):
        print(f"    {line}", file=sys.stderr)
    return typer.confirm(question, default=False, err=True)


@contextmanager
def screen_for(quiet: bool) -> Iterator[Screen]:
    from .screen import Screen

    with Screen(sys.stderr, quiet=quiet) as screen:
        yield screen


def report(task: str, step: Next) -> int:
    """The last line of a run, and what to type next."""
    print(f"{task}: {step.state}" + (f", {show.one_line(step.reason)}" if step.reason else ""), flush=True)
    hint = {
        states.FAILED: f"git autonomous doctor    # then: git autonomous resume {task}",
        states.STALLED: f"git autonomous log {task}",
    }.get(step.state, show.next_command(task, step.state))
    print(f"hint: {hint}", file=sys.stderr)
    return step.status


def place_colour(place: object) -> str:
    for _, key, value in reversed(place.repository.config()):  # type: ignore[attr-defined]
        if key in ("color.autonomous", "color.ui"):
            return str(value)
    return "auto"


def print_json(value: object) -> None:
    import json

    print(json.dumps(value, indent=2))


__all__ = ["Interrupted", "app", "main"]
