"""The command line: the table of commands, and `main`, the one error boundary.

The commands themselves are in `commands`; modules that cost time are imported inside the commands that need them.
"""

from __future__ import annotations

import copy
import errno
import os
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

import typer
import typer.core
import typer.exceptions

from . import __version__, show, signals
from .commands import change, fleet, hooks, look, review, run, settings, setup, share, stop, tools, watch
from .errors import AutonomousError, UsageError


class Commands(typer.core.TyperGroup):
    """A list of commands that tells what each does in a whole sentence, on as many lines as it takes."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        rows = [(name, " ".join((command.help or "").split())) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl([(name, help.partition(". ")[0].removesuffix(".")) for name, help in rows])


app = typer.Typer(
    name="git autonomous",
    cls=Commands,
    help="Run a long task over many Codex sessions: one branch a task, one commit a session.",
    add_completion=False,
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: list[str]) -> int:
    """Run one command and return its exit status: 0 done, 1 expected failure, 2 usage, 3 needs a person, 4 a bug, 130/143 interrupted."""
    signals.interrupt_once()
    try:
        if (
            arguments[-1:] == ["--help"]
            and "--" not in arguments
            and sys.stdout.isatty()
            and setup.manual_page(app, arguments)
        ):
            return 0
        # The manual pages and the completion scripts are made of all commands: they find them in their context.
        status = only(arguments[:1])(args=arguments, prog_name="git autonomous", standalone_mode=False, obj=app)
        sys.stdout.flush()
        return int(status or 0)
    except AutonomousError as error:
        command = arguments[:1] if only(arguments[:1]) is not app else []
        help = " ".join(["git autonomous", *command, "-h"])
        wrong = error.exit_status == UsageError.exit_status
        return fail(error.message, error.hint or (help if wrong else "git autonomous doctor"), error.exit_status)
    except typer.exceptions.TyperException as error:
        context = getattr(error, "ctx", None)
        return fail(
            error.format_message(), f"{context.command_path if context else 'git autonomous'} -h", error.exit_code
        )
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except (BrokenPipeError, SystemExit):  # Click makes the second of the first
        return 141
    except OSError as error:
        if not error.filename:
            return fail(error.strerror or str(error), "git autonomous doctor", 1)  # libgit2's have words only
        path = show.clean(str(error.filename))
        look = "df -h" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "ls -ld"
        return fail(f"{path}: {error.strerror}", f"{look} {shlex.quote(os.path.dirname(path) or '.')}", 1)
    except Exception as error:
        if type(error).__module__ == "_pygit2":
            return fail(f"the repository cannot be read: {error}", "git fsck", 1)
        import traceback

        traceback.print_exc()
        versions = f"git-autonomous {__version__}, Python {sys.version.split()[0]}"
        return fail(f"this is a bug in git autonomous ({versions})", "report it with the lines above", 4)


def only(name: list[str]) -> typer.Typer:
    """The app with just the command of this name, where there is one: Typer takes longer to make all of them than one takes to start."""
    commands = [info for info in app.registered_commands if [info.name] == name]
    groups = [info for info in app.registered_groups if [info.name] == name]
    if not commands and not groups:
        return app
    chosen = copy.copy(app)
    chosen.registered_commands, chosen.registered_groups = commands, groups
    # No option comes before the name, and to tell that -h is not among those Typer would load pydantic: half of its time.
    chosen.callback(add_help_option=False)(root)
    return chosen


def fail(message: str, hint: str | None, status: int) -> int:
    with suppress(OSError):  # the terminal may be gone
        width = show.columns(sys.stderr, os.environ) if show.terminal(sys.stderr, os.environ) else None
        print(show.problem(message, hint, width), file=sys.stderr)
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


def add(name: str, function: Callable[..., int], *examples: str, to: typer.Typer = app) -> None:
    """One line of the table of commands."""
    epilog = "\n".join(("\b", "Examples:", *(f"  git autonomous {example}" for example in examples)))
    to.command(name, epilog=epilog)(function)


def group(name: str, help: str) -> typer.Typer:
    """A command that has commands of its own."""
    made = typer.Typer(cls=Commands, help=help, rich_markup_mode=None)
    app.add_typer(made, name=name)
    return made


add("start", run.start, 'start "Build a REST API for a todo app" --check "make test"', "start --file goal.md --plan")
add("resume", run.resume, "resume", "resume todo-api --resume-last")
add("list", look.list_tasks, "list", "list --json", "list --watch")
add("status", look.status, "status", "status todo-api --json")
add("log", look.log, "log todo-api", "log -f")
add("review", review.review, "review todo-api", "review todo-api 3", "review todo-api --drop 4")
add("attach", watch.attach, "attach", "attach todo-api")
add("stop", stop.stop, "stop todo-api", "stop --after-session", "stop --all")
add("merge", change.merge, "merge todo-api", "merge --squash todo-api", "merge --dry-run todo-api")
add("pr", share.pr, "pr todo-api", "pr --draft todo-api", "pr --dry-run todo-api")
add("sync", change.sync, "sync todo-api", "sync --rebase todo-api")
add("remove", change.remove, "remove todo-api")
add("restore", change.restore, "restore todo-api", "restore todo-api --list")
add("prune", change.prune, "prune --dry-run", "prune")
add("init", settings.init, "init")
config = group("config", "Get, set and list settings, whichever place they stand in.")
add("get", settings.get, "config get silenceTimeout --show-origin", to=config)
add("set", settings.set_value, "config set checks 'npm test' 'npm run lint'", "config set --global delay 10", to=config)
add("unset", settings.unset, "config unset checks", to=config)
add("list", settings.list_settings, "config list --show-origin", to=config)
add("submit", fleet.submit, 'submit "Build a REST API" --check "make test"', "submit --task todo-api")
add("worker", fleet.worker, "worker", "worker --slots 4 --idle 10m")
crew = group("fleet", "Have an engine start and stop workers on many machines.")
add("start", fleet.start, "fleet start --workers 4", "fleet start --workers 20 --partition long -- --mem=8G", to=crew)
add("status", fleet.status, "fleet status", to=crew)
add("stop", fleet.stop, "fleet stop", to=crew)
git_hooks = group("hooks", "Let git itself tell where tasks stand, and guard them.")
add("install", hooks.install, "hooks install", to=git_hooks)
add("uninstall", hooks.uninstall, "hooks uninstall", to=git_hooks)
add("status", hooks.status, "hooks status --json", to=git_hooks)
skill = group("skill", "Let Codex itself hand long tasks over.")
add("install", setup.install_skill, "skill install", to=skill)
add("import", setup.import_task, "import .autonomous/todo-api", "import .autonomous/todo-api --check 'make test'")
add("completion", setup.completion, "completion bash --install", "completion zsh > ~/.zfunc/_git-autonomous")
add("man", setup.man, "man start", "man --install")
add("doctor", tools.doctor, "doctor")
add("demo", tools.demo, "demo")
