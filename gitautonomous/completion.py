"""Completion scripts for bash, zsh and fish: shell code beside this module, filled with the commands of `reference`.

A script never starts Python: a task's name comes from one `git for-each-ref`, which takes a few milliseconds.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from . import config
from .reference import Argument, Command, Option

_SCRIPTS = Path(__file__).with_name("completions")

# What a value is, by what stands for it in help texts; anything else is free text.
KINDS = {
    "TASK": "task",
    "SESSION": "session",
    "REF": "branch",
    "BRANCH": "branch",
    "FILE": "file",
    "DIR": "file",
    "KEY": "key",
    "SHELL": "shell",
    "COMMAND": "command",
}
OPTION_KINDS = {"--drop": "session", "--keep": "session", "--rewind-to": "session"}
TASK_KINDS = {"resume": "anytask", "restore": "kepttask"}
"""`resume` takes tasks of remotes too, `restore` those that are kept."""


SHARED = {
    "bash": "share/bash-completion/completions/git-autonomous",
    "zsh": "share/zsh/site-functions/_git-autonomous",
    "fish": "share/fish/vendor_completions.d/git-autonomous.fish",
}
"""Where each shell looks below a prefix such as /usr/local."""


def script(shell: str, command: Command) -> str:
    """The completion script for a shell of SHARED and the whole command line `command`."""
    data = {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](command)
    text = (_SCRIPTS / shell).read_text(encoding="utf-8")
    return text.replace("@data@", data).replace("@values@", _bash_values(command))


def install_path(shell: str, environ: Mapping[str, str]) -> Path:
    """Where a user's own completion script for git-autonomous stands."""
    if shell == "fish":
        folder = _folder(environ, "XDG_CONFIG_HOME", ".config")
        return folder / "fish" / "completions" / "git-autonomous.fish"
    if shell == "zsh":
        return data_folder(environ) / "zsh" / "site-functions" / "_git-autonomous"
    given = environ.get("BASH_COMPLETION_USER_DIR", "")
    folder = Path(given) if os.path.isabs(given) else data_folder(environ) / "bash-completion"
    return folder / "completions" / "git-autonomous"


def data_folder(environ: Mapping[str, str]) -> Path:
    """The folder of a user's own share of /usr/share: $XDG_DATA_HOME."""
    return _folder(environ, "XDG_DATA_HOME", ".local/share")


def _folder(environ: Mapping[str, str], variable: str, below_home: str) -> Path:
    given = environ.get(variable, "")
    return Path(given) if os.path.isabs(given) else Path(environ.get("HOME") or Path.home()) / below_home


def _kind(command: Command, value: str | None, names: tuple[str, ...] = ()) -> str:
    for name in names:
        if name in OPTION_KINDS:
            return OPTION_KINDS[name]
    kind = KINDS.get(value or "", "text")
    return TASK_KINDS.get(command.path[-1], kind) if kind == "task" else kind


def _words(command: Command) -> dict[str, tuple[str, ...]]:
    """The kinds of which all values are known here."""
    return {
        "key": tuple(setting.key for setting in config.SETTINGS),
        "shell": tuple(SHARED),
        "command": tuple(each.path[0] for each in command.commands),
    }


# -- bash ------------------------------------------------------------------------------------------------------------------


def _bash(command: Command) -> str:
    lines = []
    for each in command.walk():
        found = {
            "commands": [below.path[-1] for below in each.commands],
            "options": [_bash_option(each, option, name) for option in each.options for name in option.names],
            "arguments": [_kind(each, a.value) + "..." * a.repeatable for a in each.arguments],
        }
        values = " ".join(f"{name}={shlex.quote(' '.join(words))}" for name, words in found.items() if words)
        lines.append(f"\t{shlex.quote(' '.join(each.path))}) {values} ;;")
    return "\n".join(lines)


def _bash_option(command: Command, option: Option, name: str) -> str:
    return name if option.value is None else f"{name}={_kind(command, option.value, option.names)}"


def _bash_values(command: Command) -> str:
    return "\n".join(f"\t{kind}) echo {' '.join(words)} ;;" for kind, words in _words(command).items())


# -- zsh -------------------------------------------------------------------------------------------------------------------


def _zsh(command: Command) -> str:
    return "\n\n".join(_zsh_function(command, each) for each in command.walk())


def _zsh_function(root: Command, command: Command) -> str:
    specs = [_zsh_option(root, command, option) for option in command.options]
    specs += [_zsh_argument(root, command, number, each) for number, each in enumerate(command.arguments, 1)]
    name = "-".join(("_git-autonomous", *command.path))
    if not command.commands:
        return "\n".join((f"{name} () {{", "  _arguments -s -S \\", *_continued(specs), "}"))
    described = [shlex.quote(f"{below.path[-1]}:{below.summary}") for below in command.commands]
    return "\n".join(
        (
            f"{name} () {{",
            "  local curcontext=$curcontext state line ret=1",
            "  local -a commands",
            "  typeset -A opt_args",
            "  _arguments -C -S \\",
            *_continued([*specs, "'1: :->command'", "'*:: :->below'"], end=" && ret=0"),
            "  case $state in",
            "  command)",
            "    commands=(",
            *(f"      {each}" for each in described),
            "    )",
            "    _describe -t commands command commands && ret=0",
            "    ;;",
            f"  below) _call_function ret {name}-$words[1] ;;",
            "  esac",
            "  return ret",
            "}",
        )
    )


def _continued(specs: list[str], end: str = "") -> list[str]:
    *others, last = specs
    return [*(f"    {spec} \\" for spec in others), f"    {last}{end}"]


def _zsh_option(root: Command, command: Command, option: Option) -> str:
    text = option.help.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
    value = "" if option.value is None else _zsh_action(root, command, option.value, option.names)
    names = [name + ("" if option.value is None else "=" if name.startswith("--") else "+") for name in option.names]
    spelled = "{" + ",".join(names) + "}" if len(names) > 1 else names[0]
    before = "'*'" if option.repeatable else f"'({' '.join(option.names)})'"
    return f"{before}{spelled}{shlex.quote(f'[{text}]{value}')}"


def _zsh_argument(root: Command, command: Command, number: int, argument: Argument) -> str:
    place = "*" if argument.repeatable else str(number)
    return shlex.quote(f"{place}{_zsh_action(root, command, argument.value)}")


def _zsh_action(root: Command, command: Command, value: str, names: tuple[str, ...] = ()) -> str:
    kind = _kind(command, value, names)
    words = _words(root).get(kind)
    if words:
        action = f"({' '.join(words)})"
    else:
        action = {"text": " ", "file": "_files"}.get(kind, f"__git-autonomous-{kind}")
    return f":{value}:{action}"


# -- fish ------------------------------------------------------------------------------------------------------------------


def _fish(command: Command) -> str:
    return "\n".join(
        " ".join(("complete --command git-autonomous", *words))
        for each in command.walk()
        for words in (*_fish_commands(each), *_fish_options(command, each), *_fish_arguments(command, each))
    )


def _fish_if(function: str, *words: object) -> str:
    return f"--condition {_fish_quote(' '.join(map(str, (function, *words))))}"


def _fish_commands(command: Command) -> Iterator[tuple[str, ...]]:
    condition = _fish_if("__git_autonomous_argument", 0, *command.path)
    for each in command.commands:
        yield condition, "--arguments", each.path[-1], "--description", _fish_quote(each.summary)


def _fish_options(root: Command, command: Command) -> Iterator[tuple[str, ...]]:
    condition = _fish_if("__git_autonomous_at" if command.path else "__git_autonomous_argument 0", *command.path)
    for option in command.options:
        names = [
            f"--long-option {name[2:]}" if name.startswith("--") else f"--short-option {name[1:]}"
            for name in option.names
        ]
        value: tuple[str, ...] = ()
        if option.value is not None:
            kind = _kind(command, option.value, option.names)
            value = ("--require-parameter",) if kind == "file" else ("--exclusive",)
            value += _fish_values(root, kind)
        yield condition, *names, *value, "--description", _fish_quote(option.help)


def _fish_arguments(root: Command, command: Command) -> Iterator[tuple[str, ...]]:
    for number, argument in enumerate(command.arguments):
        values = _fish_values(root, _kind(command, argument.value))
        if values and argument.repeatable:
            yield _fish_if("__git_autonomous_at", *command.path), *values
        elif values:
            yield _fish_if("__git_autonomous_argument", number, *command.path), *values


def _fish_values(root: Command, kind: str) -> tuple[str, ...]:
    if kind in ("text", "file"):
        return ("--force-files",) if kind == "file" else ()
    words = _words(root).get(kind)
    return "--arguments", _fish_quote(" ".join(words) if words else f"(__git_autonomous_{kind})")


def _fish_quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
