"""The manual has a page for every command, and no page lacks an option. `man` itself: tests/in_shells.py."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from conftest import git
from program import Ended, autonomous
from terminals import terminal

from gitautonomous import __version__, cli, manual, reference
from gitautonomous.config import SETTINGS
from gitautonomous.prose import PROSE
from gitautonomous.reference import Argument, Command, Option

COMMANDS = reference.read(cli.app)
PAGES = manual.pages(COMMANDS)
SMALL = Command(
    path=(),
    help="Do things. Well.",
    examples=(),
    arguments=(),
    options=(Option(("-h",), None, False, "Help."),),
    commands=(
        Command(
            path=("paint",),
            help='Paint it.\n\nWith `--dry-run` \\ it\'s "dry" – only `a` backtick: `.\n\n.SH no request',
            examples=("git autonomous paint 'a\\b'",),
            arguments=(Argument("TASK", True, True, "What to paint."), Argument("SESSION", False, False, "Which.")),
            options=(
                Option(("-c", "--colour"), "NAME", True, "One.\n\nOr more."),
                Option(("-n", "--dry-run"), None, False, "'Only' look."),
            ),
            commands=(),
        ),
    ),
)


def plain(roff: str) -> str:
    """The text of a page as a reader sees it, one line for each of roff's."""
    for escape, sign in (("\\-", "-"), ("\\(aq", "'"), ("\\(dq", '"'), ("\\(ga", "`"), ("\\(ti", "~"), ("\\(ha", "^")):
        roff = roff.replace(escape, sign)
    roff = re.sub(r"\\f[BIR]|\\&", "", roff)
    return re.sub(r"\\\[u([0-9A-F]+)\]", lambda match: chr(int(match[1], 16)), roff)


def test_a_page_is_this() -> None:
    assert manual.page(SMALL, SMALL.commands[0]) == (
        f'.TH "GIT\\-AUTONOMOUS\\-PAINT" "1" "" "git\\-autonomous {__version__}" "Git Manual"\n'
        ".nh\n"
        ".ad l\n"
        '.SH "NAME"\n'
        "git\\-autonomous\\-paint \\- Paint it\n"
        '.SH "SYNOPSIS"\n'
        ".nf\n"
        "\\fBgit autonomous paint\\fR [\\fIoptions\\fR] \\fITASK\\fR... [\\fISESSION\\fR]\n"
        ".fi\n"
        '.SH "DESCRIPTION"\n'
        "Paint it.\n"
        ".PP\n"
        "With \\fB\\-\\-dry\\-run\\fR \\e it\\(aqs \\(dqdry\\(dq \\[u2013] only \\fBa\\fR backtick: \\(ga.\n"
        ".PP\n"
        "\\&.SH no request\n"
        '.SH "OPTIONS"\n'
        ".TP\n"
        "\\fITASK\\fR\n"
        "What to paint.\n"
        ".TP\n"
        "\\fISESSION\\fR\n"
        "Which.\n"
        ".TP\n"
        "\\fB\\-c\\fR \\fINAME\\fR, \\fB\\-\\-colour\\fR=\\fINAME\\fR\n"
        "One.\n"
        ".IP\n"
        "Or more.\n"
        ".TP\n"
        "\\fB\\-n\\fR, \\fB\\-\\-dry\\-run\\fR\n"
        "\\(aqOnly\\(aq look.\n"
        '.SH "EXAMPLES"\n'
        ".nf\n"
        "    $ git autonomous paint \\(aqa\\eb\\(aq\n"
        ".fi\n"
        '.SH "EXIT STATUS"\n'
        "As in git\\-autonomous(1): 0 done, 1 failure, 2 usage, 3 needs a person, 4 a bug, 130 and 143 interrupted.\n"
        '.SH "SEE ALSO"\n'
        "\\fBgit\\-autonomous\\fR(1), \\fBgit\\fR(1)\n"
    )


def test_every_command_has_a_page_and_no_page_lacks_an_option_an_argument_or_an_example() -> None:
    assert list(PAGES) == ["git-autonomous.1", *(f"git-autonomous-{each.path[0]}.1" for each in COMMANDS.commands)]
    for command in COMMANDS.walk():
        text = plain(PAGES["-".join(("git-autonomous", *command.path[:1])) + ".1"])
        options = {name for option in command.options for name in option.names}
        assert options <= set(re.findall(r"(?<![\w-])--?\w[\w-]*", text)), command.path
        helps = [each.help for each in command.options] + [each.help for each in command.arguments]
        for line in (*helps, *command.examples):
            assert line.replace("`", "") in text, (command.path, line)
        assert command.summary in text


def test_the_options_of_the_pages_are_those_of_the_short_helps(tmp_path: Path) -> None:
    for command in (each for each in COMMANDS.walk() if each.path and each.path[0] in ("start", "config")):
        shown = autonomous(tmp_path, *command.path, "-h", COLUMNS="200").out.partition("Options:\n")[2]
        named = " ".join(line.strip().partition("  ")[0] for line in shown.splitlines() if line.startswith("  -"))
        names = set(re.findall(r"(?<![\w-])--?\w[\w-]*", named))
        assert names == {name for option in command.options for name in option.names}


def test_the_first_page_names_every_setting_and_every_command() -> None:
    text = plain(PAGES["git-autonomous.1"])
    assert [line for line in text.splitlines() if line.startswith("autonomous.")] == [
        f"autonomous.{setting.key}" for setting in SETTINGS
    ]
    for command in COMMANDS.commands:
        assert f"git-autonomous-{command.path[0]}(1)" in text


def test_pages_are_ascii_and_hold_no_request_that_we_did_not_write() -> None:
    for text in PAGES.values():
        assert text.isascii()
        requests = {line.split(" ")[0] for line in text.splitlines() if line.startswith((".", "'"))}
        assert requests <= {".TH", ".nh", ".ad", ".SH", ".SS", ".PP", ".TP", ".IP", ".nf", ".fi"}


def test_further_text_belongs_to_commands_that_exist() -> None:
    names = {" ".join(command.path) for command in (COMMANDS, *COMMANDS.commands)}
    assert {*PROSE} - names == {"states", "configuration", "exit status"}


@pytest.fixture
def programs(tmp_path: Path) -> str:
    """A PATH with a `man` that names its arguments and finds no page, in place of the real one."""
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "man").write_text('#!/bin/sh\n[ "$1" != -w ] || exit 16\necho "man ${1##*/}"; head -n 1 "$1"\n')
    (folder / "man").chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def shown_page(name: str) -> str:
    return f"man {name}\n" + PAGES[name].partition("\n")[0] + "\n"


def test_man_shows_a_page_that_need_not_be_installed(tmp_path: Path, programs: str) -> None:
    assert autonomous(tmp_path, "man", PATH=programs) == Ended(0, shown_page("git-autonomous.1"), "")
    assert autonomous(tmp_path, "man", "start", PATH=programs) == Ended(0, shown_page("git-autonomous-start.1"), "")
    assert autonomous(tmp_path, "man", "strat", PATH=programs) == Ended(
        2, "", "error: there is no command 'strat'\nhint: git autonomous man\n"
    )
    only_git = tmp_path / "only-git"
    only_git.mkdir()
    (only_git / "git").symlink_to(shutil.which("git") or "")
    assert autonomous(tmp_path, "man", "start", PATH=str(only_git)) == Ended(
        1, "", "error: there is no man on PATH\nhint: git autonomous start -h\n"
    )


def test_the_pages_are_installed_where_man_looks(tmp_path: Path, home: Path, programs: str) -> None:
    folder = home / ".local" / "share" / "man" / "man1"
    for _ in range(2):
        assert autonomous(tmp_path, "man", "--install", PATH=programs) == Ended(
            0,
            f"{len(PAGES)} pages written to {folder}\n",
            f"hint: export MANPATH={folder.parent}:    # in the start-up file of your shell\n",
        )
    assert {path.name: path.read_text() for path in folder.iterdir()} == PAGES


def test_help_on_a_terminal_is_the_manual_and_h_is_short(repo: Path, programs: str) -> None:
    git(repo, "branch", "unused")
    for arguments, name in (
        (["--help"], "git-autonomous.1"),
        (["start", "--help"], "git-autonomous-start.1"),
        (["config", "set", "--help"], "git-autonomous-config.1"),
    ):
        with terminal() as screen:
            program = screen.run(repo, arguments, PATH=programs)
            assert screen.finish(program) == 0
            assert screen.text().replace("\r\n", "\n") == shown_page(name)
    assert autonomous(repo, "start", "--help", PATH=programs) == autonomous(repo, "start", "-h", PATH=programs)


def test_help_on_a_terminal_without_man_or_without_such_a_command_is_the_short_help(repo: Path, tmp_path: Path) -> None:
    only_git = tmp_path / "only-git"
    only_git.mkdir()
    (only_git / "git").symlink_to(shutil.which("git") or "")
    with terminal() as screen:
        program = screen.run(repo, ["start", "--help"], PATH=str(only_git))
        assert screen.finish(program) == 0
        assert screen.text().startswith("Usage: git autonomous start [OPTIONS] [GOAL]")
    with terminal() as screen:
        program = screen.run(repo, ["strat", "--help"])
        assert screen.finish(program) == 2
        assert screen.text().startswith("error: No such command 'strat'")
