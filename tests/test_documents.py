"""What the documents tell people to type exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gitautonomous import cli, reference
from gitautonomous.reference import Command

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted((ROOT / "docs").glob("*.md"))
COMMANDS = {command.path: command for command in reference.read(cli.app).walk()}


def calls(text: str) -> list[list[str]]:
    """The words after each `git autonomous` in code, up to a comment or the end of the code."""
    code = "\n".join("".join(parts) for parts in re.findall(r"```sh\n(.*?)```|`([^`\n]+)`", text, re.DOTALL))
    return [line.partition("#")[0].split() for line in re.findall(r"git autonomous ([^\n]*)", code)]


def command_of(words: list[str]) -> Command:
    for length in (2, 1):
        if tuple(words[:length]) in COMMANDS:
            return COMMANDS[tuple(words[:length])]
    raise AssertionError(f"there is no command {words}")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_in_a_document_exists_with_its_options(document: Path) -> None:
    called = calls(document.read_text())
    assert called
    for words in called:
        names = {name for option in command_of(words).options for name in option.names}
        assert {word.partition("=")[0] for word in words if word.startswith("-")} <= names, words


def test_every_option_of_run_session_has_its_place() -> None:
    """The options of both variants of the script that the page is about."""
    first_cells = re.findall(
        r"^\| ([^|]*) \|", (ROOT / "docs" / "coming-from-run-session.md").read_text(), re.MULTILINE
    )
    named = {name for cell in first_cells for name in re.findall(r"`(-[\w-]+)", cell)}
    assert named == {
        *("--task-name", "-n", "--continue", "-c", "--no-auto-continue", "--max-sessions", "--list", "-l"),
        *("--resume-last", "--network", "--help", "-h", "--model", "--max-budget", "--effort", "--lightweight"),
        *("--completion-promise", "--fallback-model", "--permission-mode", "--add-dir"),
    }
