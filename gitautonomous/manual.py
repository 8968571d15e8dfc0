"""The manual pages: one for the whole and one a command, as roff, from the commands of `reference` and the settings of `config`.

A generator of our own: click-man and click-extra read the objects of click, which Typer no longer uses (it carries its own
copy), and what is needed of roff is small.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from . import __version__, completion
from .config import SETTINGS, Setting, render
from .errors import AutonomousError, UsageError
from .prose import EXIT_STATUS, FILES, PROSE, STATES
from .reference import Command, Option

NAME = "git-autonomous"
SHARED = "share/man/man1"
"""Where manual pages stand below a prefix such as /usr/local."""


def pages(command: Command) -> dict[str, str]:
    """The pages by their file names ("git-autonomous-start.1"), for the whole command line `command`."""
    return {f"{title(each)}.1": page(command, each) for each in (command, *command.commands)}


def title(command: Command) -> str:
    return "-".join((NAME, *command.path))


def install_folder(environ: Mapping[str, str]) -> Path:
    """Where a user's own manual pages stand."""
    return completion.data_folder(environ) / "man" / "man1"


def find(root: Command, name: str) -> Command:
    """The command that has a page, by its name; "" is the whole. Raises UsageError."""
    for each in (root, *root.commands):
        if " ".join(each.path) == name:
            return each
    raise UsageError(f"there is no command '{name}'", "git autonomous man")


def show(root: Command, command: Command) -> None:
    """Show a page as `man` does, also where none is installed. Raises AutonomousError where there is no `man`."""
    program = shutil.which("man")
    if program is None:
        raise AutonomousError("there is no man on PATH", f"{_typed(command)} -h")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{title(command)}.1"
        path.write_text(page(root, command), encoding="ascii")
        subprocess.run([program, path], check=False)


def installed() -> bool:
    """Whether `man` finds our page, as `git help autonomous` would."""
    program = shutil.which("man")
    return (
        program is not None and subprocess.run([program, "-w", NAME], capture_output=True, check=False).returncode == 0
    )


def page(root: Command, command: Command) -> str:
    """One page. Lines end with LF; what is not ASCII is written in roff's own escapes."""
    lines = [
        f'.TH "{_escape(title(command).upper())}" "1" "" "git\\-autonomous {__version__}" "Git Manual"',
        ".nh",
        ".ad l",
        *_section("NAME", [f"{_escape(title(command))} \\- {_escape(command.summary)}"]),
        *_section("SYNOPSIS", _synopsis(command)),
        *_section("DESCRIPTION", [*_paragraphs(command.help), *_further(" ".join(command.path))]),
        *(_whole(command) if command is root else _part(command)),
    ]
    others = [NAME] if command is not root else [title(each) for each in root.commands]
    see = [f"\\fB{_escape(name)}\\fR(1)" for name in (*others, "git")]
    return "\n".join([*lines, *_section("SEE ALSO", [", ".join(see)])]) + "\n"


def _whole(command: Command) -> Iterator[str]:
    yield from _section("COMMANDS", _entries((_usage(each), f"{each.summary}.") for each in command.commands))
    yield from _section("OPTIONS", _options(command))
    yield from _section("STATES", [*_paragraphs(PROSE["states"]), *_entries(_terms(STATES))])
    yield from _section("CONFIGURATION", [*_paragraphs(PROSE["configuration"]), *_entries(map(_setting, SETTINGS))])
    yield from _section("FILES", _entries(_terms(FILES)))
    yield from _section("EXIT STATUS", _entries(_terms(EXIT_STATUS)))
    yield from _section("EXAMPLES", _examples(example for each in command.commands for example in each.examples[:1]))


def _part(command: Command) -> Iterator[str]:
    for each in command.commands:
        yield f'.SS "{_escape(_typed(each))}"'
        yield from _paragraphs(each.help)
        yield from _options(each)
    yield from _section("OPTIONS", _options(command))
    yield from _section("EXAMPLES", _examples(example for each in command.walk() for example in each.examples))
    yield from _section("EXIT STATUS", _paragraphs(PROSE["exit status"]))


def _section(name: str, lines: Iterable[str]) -> Iterator[str]:
    yield f'.SH "{name}"'
    yield from lines


def _typed(command: Command) -> str:
    return " ".join(("git autonomous", *command.path))


def _synopsis(command: Command) -> Iterator[str]:
    yield ".nf"
    yield from map(_usage, command.commands if command.path and command.commands else (command,))
    yield ".fi"


def _usage(command: Command) -> str:
    """How to call it, in one line of roff."""
    words = [_bold(_typed(command)), "[\\fIoptions\\fR]"]
    if command.commands:
        words.append("\\fIcommand\\fR")
    for argument in command.arguments:
        word = f"\\fI{_escape(argument.value)}\\fR" + "..." * argument.repeatable
        words.append(word if argument.required else f"[{word}]")
    return " ".join(words)


def _options(command: Command) -> Iterator[str]:
    yield from _entries((f"\\fI{_escape(each.value)}\\fR", each.help) for each in command.arguments)
    yield from _entries((_option(each), each.help) for each in command.options)


def _option(option: Option) -> str:
    def spelled(name: str) -> str:
        value = "" if option.value is None else f"\\fI{_escape(option.value)}\\fR"
        return _bold(name) + (value and ("=" if name.startswith("--") else " ") + value)

    return ", ".join(map(spelled, option.names))


def _setting(setting: Setting) -> tuple[str, str]:
    text = f"{setting.help[0].upper()}{setting.help[1:]}. Value: {setting.kind.description}."
    default = f" Default: {render(setting.default)}." if setting.default not in (None, ()) else ""
    return _bold(f"autonomous.{setting.key}"), text + default + " Guarded." * setting.guarded


def _terms(entries: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    return ((_bold(term), text) for term, text in entries)


def _entries(entries: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Terms in roff with texts for people below them."""
    for term, text in entries:
        yield ".TP"
        yield term
        yield from _paragraphs(text, between=".IP")


def _examples(examples: Iterable[str]) -> Iterator[str]:
    yield ".nf"
    for example in examples:
        yield f"    $ {_escape(example)}"
    yield ".fi"


def _further(name: str) -> Iterator[str]:
    if name in PROSE:
        yield ".PP"
        yield from _paragraphs(PROSE[name])


def _paragraphs(text: str, between: str = ".PP") -> Iterator[str]:
    for number, paragraph in enumerate(text.split("\n\n")):
        if number:
            yield between
        yield re.sub(r"\\\(ga(.+?)\\\(ga", r"\\fB\1\\fR", _escape(" ".join(paragraph.split())))


def _bold(text: str) -> str:
    return f"\\fB{_escape(text)}\\fR"


def _escape(text: str) -> str:
    """Plain text as roff: nothing in it is a request, an escape or a typographic sign."""
    special = {"\\": "\\e", "-": "\\-", "`": "\\(ga", "'": "\\(aq", '"': "\\(dq", "^": "\\(ha", "~": "\\(ti"}
    escaped = "".join(special.get(c, c if c < "\x7f" else f"\\[u{ord(c):04X}]") for c in text)
    return f"\\&{escaped}" if escaped.startswith(".") else escaped
