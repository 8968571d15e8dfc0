"""Completion knows what the commands define, and asks git alone. zsh, fish and the TAB key itself: tests/in_shells.py."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import git
from program import Ended, autonomous

from gitautonomous import cli, completion, reference
from gitautonomous.config import SETTINGS

COMMANDS = reference.read(cli.app)
Complete = Callable[..., list[str]]

# What git's own completion does before it calls _git_autonomous: the words, and where the command stands among them.
DRIVER = """
. "$1"; shift
__git_cmd_idx=1 words=("$@") cword=$(($# - 1)) cur=${words[cword]}
_git_autonomous
for word in "${COMPREPLY[@]}"; do echo "$word|"; done
"""


@pytest.fixture
def complete(repo: Path, tmp_path: Path) -> Complete:
    """`complete("st")` gives what bash offers after `git autonomous st` in `repo`, where git is the only program there is."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "git").symlink_to(shutil.which("git") or "")
    script = tmp_path / "script"
    script.write_text(completion.script("bash", COMMANDS))

    def offered(*words: str, **environment: str) -> list[str]:
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-c", DRIVER, "bash", script, "git", "autonomous", *words],
            cwd=repo,
            env={**os.environ, "PATH": f"{programs}", **environment},
            executable=shutil.which("bash"),
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        return [line.removesuffix("|") for line in done.stdout.splitlines()]

    return offered


@pytest.fixture
def tasks(repo: Path) -> None:
    """Tasks one, two (of three sessions) and three, one of a remote, one that is kept; and a task of somebody with another prefix."""
    for name in ("autonomous/one", "autonomous/two", "autonomous/three", "autonomous/a/b", "bots/night/four"):
        git(repo, "branch", name)
    git(repo, "switch", "--quiet", "autonomous/two")
    for message in ("two: done\n\nAutonomous-Task: two\nAutonomous-Session: 3\nAutonomous-Role: executor", "By hand"):
        git(repo, "commit", "--quiet", "--allow-empty", "-m", message)
    git(repo, "switch", "--quiet", "main")
    git(repo, "update-ref", "refs/remotes/origin/autonomous/far", "main")
    git(repo, "update-ref", "refs/autonomous/backup/old/1", "main")
    git(repo, "update-ref", "refs/autonomous/merged/older/2", "main")


def test_commands_are_offered_with_a_space_behind_them(complete: Complete) -> None:
    assert complete("") == [f"{command.path[0]} " for command in COMMANDS.commands]
    assert complete("sta") == ["start ", "status "]
    assert complete("config", "") == ["get ", "set ", "unset ", "list "]
    assert complete("completion", "") == ["bash ", "zsh ", "fish "]


def test_options_are_those_of_the_command_and_one_with_a_value_waits_for_it(complete: Complete) -> None:
    assert complete("start", "--max") == ["--max-sessions=", "--max-tokens=", "--max-time="]
    assert complete("start", "-m", "x", "--pl") == ["--plan "]
    assert complete("config", "set", "--") == ["--global ", "--worktree ", "--shared ", "--help "]
    assert complete("start", "--", "--") == []
    assert complete("list", "--max") == []


@pytest.mark.usefixtures("tasks")
def test_task_names_come_from_the_branches(complete: Complete, repo: Path) -> None:
    assert complete("status", "") == ["one ", "three ", "two "]
    assert complete("status", "--json", "t") == ["three ", "two "]
    assert complete("status", "one", "") == []
    assert complete("merge", "one", "") == ["one ", "three ", "two "]
    assert complete("resume", "") == ["one ", "three ", "two ", "far "]
    assert complete("restore", "") == ["old ", "older "]
    assert complete("status", "", GIT_AUTONOMOUS_BRANCH_PREFIX="bots/night/") == ["four "]
    git(repo, "config", "autonomous.branchPrefix", "bots/night/")
    assert complete("status", "") == ["four "]


@pytest.mark.usefixtures("tasks")
def test_session_numbers_are_those_of_the_task(complete: Complete, repo: Path) -> None:
    assert complete("review", "two", "") == ["1 ", "2 ", "3 "]
    assert complete("review", "two", "--drop", "") == ["1 ", "2 ", "3 "]
    assert complete("review", "two", "--drop=") == ["1 ", "2 ", "3 "]
    assert complete("review", "one", "") == []
    assert complete("review", "--drop", "") == []
    git(repo, "switch", "--quiet", "autonomous/two")
    assert complete("review", "--drop", "") == ["1 ", "2 ", "3 "]


@pytest.mark.usefixtures("tasks")
def test_values_of_options_and_keys_are_offered(complete: Complete) -> None:
    assert complete("start", "--base", "m") == ["main "]
    assert complete("start", "--base=o") == ["origin/autonomous/far "]
    assert complete("start", "--name", "") == []
    assert complete("config", "get", "max") == [f"{s.key} " for s in SETTINGS if s.key.startswith("max")]
    assert complete("config", "set", "delay", "") == []


def test_a_name_that_a_shell_would_run_is_not_offered(complete: Complete, repo: Path) -> None:
    for name in ("autonomous/$(id)", "autonomous/a;id", "autonomous/good", "autonomous/`id`"):
        git(repo, "branch", name)
    assert complete("status", "") == ["good "]
    assert complete("start", "--base", "auto") == ["autonomous/good "]


def test_outside_of_a_repository_commands_are_offered_still(complete: Complete, tmp_path: Path) -> None:
    assert complete("sto", GIT_CEILING_DIRECTORIES="/", GIT_DIR=str(tmp_path / "nowhere")) == ["stop "]
    assert complete("status", "", GIT_DIR=str(tmp_path / "nowhere")) == []


@pytest.mark.parametrize("shell", completion.SHARED)
def test_a_script_knows_every_command_and_every_option(shell: str) -> None:
    script = completion.script(shell, COMMANDS)
    assert re.findall("@[a-z]+@", script) == []
    for command in COMMANDS.walk():
        start = "git-autonomous-" if shell == "zsh" else ""
        assert not command.path or (start + ("-" if start else " ").join(command.path)) in script
        for name in (name for option in command.options for name in option.names):
            spelled = f"--long-option {name[2:]} " if name.startswith("--") else f"--short-option {name[1:]} "
            assert (spelled if shell == "fish" else name) in script


def test_the_script_is_printed_or_installed_where_the_shell_finds_it(tmp_path: Path, home: Path) -> None:
    for shell, place, hint in (
        ("bash", ".local/share/bash-completion/completions/git-autonomous", "hint: . {}    # in ~/.bashrc, only where"),
        ("zsh", ".local/share/zsh/site-functions/_git-autonomous", "hint: fpath=({parent} $fpath)    # in ~/.zshrc"),
        ("fish", ".config/fish/completions/git-autonomous.fish", ""),
    ):
        path = home / place
        assert autonomous(tmp_path, "completion", shell) == Ended(0, completion.script(shell, COMMANDS), "")
        for _ in range(2):
            ended = autonomous(tmp_path, "completion", shell, "--install")
            assert (ended.status, ended.out) == (0, f"{path} written\n")
            assert ended.err.startswith(hint.format(path, parent=path.parent))
        assert path.read_text() == completion.script(shell, COMMANDS)


def test_what_cannot_be_installed_is_said(tmp_path: Path) -> None:
    assert autonomous(tmp_path, "completion", "tcsh") == Ended(
        2,
        "",
        "error: there is no completion for 'tcsh', but for bash, zsh, fish\n"
        "hint: git autonomous completion bash --install\n",
    )
    (tmp_path / "file").write_text("")
    ended = autonomous(tmp_path, "completion", "fish", "--install", XDG_CONFIG_HOME=str(tmp_path / "file"))
    folder = tmp_path / "file" / "fish" / "completions"
    assert (ended.status, ended.err) == (
        1,
        f"error: cannot write {folder}/git-autonomous.fish: Not a directory\nhint: ls -ld {folder}\n",
    )
