"""The commands as data, read from their one definition: what the manual pages and the completion scripts are made of."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import typer


@dataclass(frozen=True)
class Option:
    """`names` as typed, "--check" and the like; `value` is what stands for its value in help texts, None for a switch."""

    names: tuple[str, ...]
    value: str | None
    repeatable: bool
    help: str


@dataclass(frozen=True)
class Argument:
    """`value` stands for it in help texts: TASK, SESSION."""

    value: str
    required: bool
    repeatable: bool
    help: str


@dataclass(frozen=True)
class Command:
    """`path` is what to type after `git autonomous`, empty for the whole; `help` is plain text in paragraphs."""

    path: tuple[str, ...]
    help: str
    examples: tuple[str, ...]
    arguments: tuple[Argument, ...]
    options: tuple[Option, ...]
    commands: tuple[Command, ...]

    @property
    def summary(self) -> str:
        """The first sentence of the help, without its full stop."""
        return " ".join(self.help.partition("\n\n")[0].split()).partition(". ")[0].removesuffix(".")

    def walk(self) -> Iterator[Command]:
        """This command and all below it."""
        yield self
        for command in self.commands:
            yield from command.walk()


def read(app: typer.Typer) -> Command:
    """The command line that `app` defines. Hidden commands and options are left out."""
    return _command((), typer.main.get_command(app))


def _command(path: tuple[str, ...], found: Any) -> Command:
    parameters = [each for each in found.params if not getattr(each, "hidden", False)]
    below = getattr(found, "commands", {})
    return Command(
        path,
        inspect.cleandoc(found.help or ""),
        tuple(line.strip() for line in (found.epilog or "").partition("Examples:\n")[2].splitlines()),
        tuple(_argument(each) for each in parameters if each.param_type_name == "argument"),
        (*(_option(each) for each in parameters if each.param_type_name == "option"), *HELP),
        tuple(_command((*path, name), each) for name, each in below.items() if not each.hidden),
    )


HELP = (
    Option(("-h",), None, False, "Show a short help."),
    Option(("--help",), None, False, "Show the manual page."),
)


def _option(found: Any) -> Option:
    value = None if found.is_flag else _value(found)
    return Option((*found.opts, *found.secondary_opts), value, found.multiple, found.help or "")


def _argument(found: Any) -> Argument:
    return Argument(_value(found), found.required, found.nargs == -1, found.help or "")


def _value(found: Any) -> str:
    return str(found.metavar or found.name.upper()).removesuffix("...")
