"""config and init: settings in all their places."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from .. import show
from ..errors import AutonomousError, UsageError
from .common import AsJson, ask, print_json

if TYPE_CHECKING:
    from ..config import Setting
    from ..git import Repository
    from ..layers import Here, Scope

HOOKS = """\
The hooks tell where tasks stand when you switch branches, and keep you from harming one that runs.
Hooks that are there already go on running, first. `git autonomous hooks uninstall` takes them away."""

Key = Annotated[str, typer.Argument(metavar="KEY", help="Name of the setting, as `config list` shows it.")]
ShowOrigin = Annotated[bool, typer.Option("--show-origin", help="Say where each value comes from.")]
Global = Annotated[bool, typer.Option("--global", help="Your git config, for all repositories.")]
Worktree = Annotated[bool, typer.Option("--worktree", help="The git config of this worktree alone.")]
Shared = Annotated[
    bool, typer.Option("--shared", help="The file .autonomous.toml, for everybody who works on this repository.")
]


def get(key: Key, show_origin: ShowOrigin = False) -> int:
    """Print the value of a setting; of several commands each has a line."""
    from .. import config, layers

    setting = config.find(key)
    print(*lines_of(layers.read_here(), setting, show_origin=show_origin), sep="\n")
    return 0


def set_value(
    key: Key,
    value: Annotated[
        list[str], typer.Argument(metavar="VALUE", help="Its value; several for a setting that holds commands.")
    ],
    everywhere: Global = False,
    worktree: Worktree = False,
    shared: Shared = False,
) -> int:
    """Give a setting its value, in this repository's git config unless told otherwise."""
    from .. import config, layers

    scope = scope_of(everywhere, worktree, shared)
    with between_sessions(scope):
        layers.write(config.find(key), value, scope)
    say_what_is_left(scope)
    return 0


def unset(key: Key, everywhere: Global = False, worktree: Worktree = False, shared: Shared = False) -> int:
    """Take a setting out of one place, this repository's git config unless told otherwise."""
    from .. import config, layers

    scope = scope_of(everywhere, worktree, shared)
    with between_sessions(scope):
        layers.erase(config.find(key), scope)
    say_what_is_left(scope)
    return 0


def list_settings(show_origin: ShowOrigin = False, as_json: AsJson = False) -> int:
    """Show every setting with the value that holds here."""
    from .. import config, layers, pager

    here = layers.read_here()
    if as_json:
        print_json({"schema": 1, "settings": [as_object(here, setting) for setting in config.SETTINGS]})
    else:
        lines = [
            line
            for setting in config.SETTINGS
            for line in lines_of(here, setting, f"{setting.key}=", show_origin=show_origin)
        ]
        pager.write("".join(f"{line}\n" for line in lines), sys.stdout, here.repository)
    if ignored := here.ignored():
        print(
            f"{config.TOML_NAME} also sets {', '.join(ignored)}: not in effect before you allowed it, "
            "which the next start or resume asks",
            file=sys.stderr,
        )
    return 0


def lines_of(here: Here, setting: Setting, before: str = "", *, show_origin: bool) -> list[str]:
    """One line, or one for each of several commands: origin and tab, `before`, value."""
    from ..config import render

    origin = f"{here.loaded.origins[setting.field]}\t" if show_origin else ""
    return [f"{origin}{before}{show.clean(line)}" for line in render(value_of(here, setting)).split("\n")]


def value_of(here: Here, setting: Setting) -> object:
    return getattr(here.loaded.settings, setting.field)


def as_object(here: Here, setting: Setting) -> dict[str, object]:
    """A setting as JSON: durations in seconds, sizes in bytes, null where nothing is set."""
    return {
        "key": setting.key,
        "value": value_of(here, setting),
        "default": setting.default,
        "origin": here.loaded.origins[setting.field],
        "type": setting.kind.description,
        "help": setting.help,
        "guarded": setting.guarded,
    }


def scope_of(everywhere: bool, worktree: bool, shared: bool) -> Scope:
    from ..layers import Scope

    if everywhere + worktree + shared > 1:
        raise UsageError("--global, --worktree and --shared exclude each other", "git autonomous config set -h")
    return Scope.GLOBAL if everywhere else Scope.WORKTREE if worktree else Scope.SHARED if shared else Scope.LOCAL


def between_sessions(scope: Scope) -> AbstractContextManager[None]:
    """For a change of the repository's configuration. Raises AutonomousError while a runner is at work, which would stop then."""
    from .. import hooks, layers
    from ..layers import Scope

    repository = layers.find_repository() if scope in (Scope.LOCAL, Scope.WORKTREE) else None
    return nullcontext() if repository is None else hooks.between_sessions(repository, "settings")


def say_what_is_left(scope: Scope) -> None:
    from ..layers import Scope

    if scope is Scope.SHARED:
        print("hint: git add .autonomous.toml && git commit    # only what is committed counts", file=sys.stderr)


def init() -> int:
    """Write a .autonomous.toml with every setting, commented out, and offer the hooks."""
    from ..config import TOML_NAME
    from ..git import Repository
    from ..layers import Scope, commented_file

    repository = Repository.discover()
    if repository.toplevel is None:
        raise AutonomousError(
            "there is no checkout here to write .autonomous.toml into", "git autonomous config set KEY VALUE"
        )
    path = repository.toplevel / TOML_NAME
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(commented_file())
    except FileExistsError:
        raise AutonomousError(f"{path} exists already", "git autonomous config list --show-origin") from None
    print(f"{path} written: every setting, commented out", flush=True)
    say_what_is_left(Scope.SHARED)
    return offer_hooks(repository)


def offer_hooks(repository: Repository) -> int:
    """Ask on a terminal whether to install the hooks, name the command where there is none; nothing where they are installed."""
    from .. import hooks
    from ..tasks import open_place
    from .hooks import install

    prefix = open_place({}, None).settings.branch_prefix
    if all(hook.state == "installed" for hook in hooks.status(repository, prefix)[1]):
        return 0
    if ask(HOOKS, "Install them into this repository?"):
        return install()
    print("hint: git autonomous hooks install", file=sys.stderr)
    return 0
