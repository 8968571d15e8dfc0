"""What comes with a repository and would run something is shown word for word, asked once, and refused when nobody is there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from agent import initializer, sessions
from conftest import git
from program import Ended, autonomous, listed
from terminals import terminal

from gitautonomous.scripted import Server

pytestmark = pytest.mark.usefixtures("codex_home")

START = ("start", "Write a", "--name", "todo", "--plan")
SETTINGS = 'delay = 0\nchecks = ["make test", "echo \\"\\u001b[2J\\""]\nsandboxNetwork = true\n'
SHOWN = '    sandboxNetwork = true\n    checks = ["make test", "echo \\"\\u001b[2J\\""]\n'


@pytest.fixture
def shared(agent_repo: Path, model: Server) -> Path:
    """A repository whose `.autonomous.toml` wants to run commands."""
    model.play(sessions(initializer("todo", ["write a"]), initializer("another", ["write a"])))
    (agent_repo / ".autonomous.toml").write_text(SETTINGS)
    git(agent_repo, "add", ".autonomous.toml")
    git(agent_repo, "commit", "--quiet", "-m", "Settings")
    return agent_repo


def shown(text: str) -> str:
    return text.replace("\r\n", "\n")


def test_nobody_there_is_a_no_and_nothing_is_made(shared: Path) -> None:
    assert autonomous(shared, *START) == Ended(
        3,
        "",
        "error: the settings in .autonomous.toml need your approval first\n"
        "hint: run the same command in a terminal, where it can show them and ask\n",
    )
    assert listed(shared) == []


def test_a_no_is_a_no_and_the_next_time_it_is_asked_again(shared: Path) -> None:
    for _ in range(2):
        with terminal(160) as screen:
            program = screen.run(shared, START)
            screen.until("[y/N]: ")
            screen.type(b"n\n")
            assert screen.finish(program) == 3
            assert SHOWN in shown(screen.text())
    assert listed(shared) == []


def test_a_yes_to_the_exact_text_holds_until_the_text_changes(shared: Path) -> None:
    with terminal(160) as screen:
        program = screen.run(shared, START)
        screen.until("[y/N]: ")
        screen.type(b"y\n")
        assert screen.finish(program) == 0
        assert shown(screen.text()).startswith(SHOWN)
    assert autonomous(shared, "config", "get", "checks", "--show-origin").out == (
        '.autonomous.toml\tmake test\n.autonomous.toml\techo ""\n'
    )
    again = autonomous(shared, *START[:-2], "another", "--plan")
    assert (again.status, "approval" in again.err) == (0, False)
    (shared / ".autonomous.toml").write_text(SETTINGS.replace("make test", "make  test"))
    git(shared, "commit", "--quiet", "-am", "Another command")
    changed = autonomous(shared, *START[:-2], "third", "--plan")
    assert (changed.status, changed.err.splitlines()[0]) == (
        3,
        "error: the settings in .autonomous.toml need your approval first",
    )


def test_the_options_of_a_pushed_task_are_shown_and_asked_once(agent_repo: Path, area: Path, model: Server) -> None:
    model.play(sessions(initializer("todo", ["write a"])))
    assert autonomous(agent_repo, *START, "--check", "touch ran", "--sandbox-network").status == 0
    clone = area / "elsewhere" / "repo"
    subprocess.run(["git", "clone", "--quiet", str(agent_repo), str(clone)], check=True)
    elsewhere = str(area / "other-user")
    with terminal(160) as screen:
        program = screen.run(clone, ["resume", "todo", "--plan"], XDG_STATE_HOME=elsewhere)
        screen.until("[y/N]: ")
        assert "touch ran" in screen.text() and "network" in screen.text()
        screen.type(b"y\n")
        assert screen.finish(program) == 0
    assert autonomous(clone, "resume", "todo", "--plan", XDG_STATE_HOME=elsewhere).status == 0
