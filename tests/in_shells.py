"""Completion by the TAB key in the real shells, with git's own completion, from the installed scripts; and pages in the real `man`.

It needs bash with bash-completion, zsh, fish and git's completion for each, man and groff, which a bare machine has not. So it
is not part of the suite, and fails where one is missing:

    apt-get install bash-completion zsh fish man-db groff && .ci/venv pytest tests/in_shells.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import git
from program import autonomous
from terminals import Terminal

from gitautonomous import cli, manual, reference

STARTUP = {
    "bash": ". /usr/share/bash-completion/bash_completion\nPS1='ready> '\nbind 'set show-all-if-ambiguous on'\n",
    "zsh": "fpath=(~/.local/share/zsh/site-functions $fpath)\nautoload -U compinit\ncompinit -D -u\nPS1='ready> '\nLISTMAX=0\n",
    "fish": "function fish_prompt\n  echo -n 'ready> '\nend\nset fish_greeting\n"
    "test $version = 3.6.0; and source ~/.config/fish/completions/git-autonomous.fish\n",
}
START = {
    "bash": ["bash", "--rcfile", "{home}/.bashrc", "-i"],
    "zsh": ["zsh", "--no-globalrcs", "-i"],
    "fish": ["fish", "--interactive"],
}
FILES = {"bash": ".bashrc", "zsh": ".zshrc", "fish": ".config/fish/config.fish"}
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
RUN = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"


class Shell(Terminal):
    """A terminal with an interactive shell."""

    name = ""

    def answer(self, text: str) -> None:
        """Wait for `text` and the prompt after it: keys that come earlier are no command line's."""
        self.until(text)
        self.shown = self.text().partition(text)[2]
        self.until("ready>")


@pytest.fixture(params=STARTUP)
def shell(request: pytest.FixtureRequest, repo: Path, home: Path) -> Iterator[Shell]:
    """A terminal with an interactive shell in a repository with three tasks; completion was installed by our command."""
    name = request.param
    assert shutil.which(name), f"{name} is missing: apt-get install {name}"
    for task in ("one", "two", "three"):
        git(repo, "branch", f"autonomous/{task}")
    git(repo, "switch", "--quiet", "autonomous/two")
    git(repo, "commit", "--quiet", "--allow-empty", "-m", "x\n\nAutonomous-Task: two\nAutonomous-Session: 3\nX: y")
    git(repo, "switch", "--quiet", "main")
    assert autonomous(repo, "completion", name, "--install").status == 0
    file = home / FILES[name]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(STARTUP[name])
    opened = Shell(120, 50)
    opened.name = name
    with closing(opened):
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, *(word.format(home=home) for word in START[name])],
            cwd=repo,
            stdin=opened.follower,
            stdout=opened.follower,
            stderr=opened.follower,
            env={**os.environ, "PATH": PATH, "ZDOTDIR": str(home)},
            start_new_session=True,
        )
        opened.until("ready>")
        yield opened
        process.kill()
        process.wait()


def offered(shell: Shell, line: str, *expected: str) -> None:
    """Wait until everything in `expected` is shown as a candidate for `line`, then clear the line."""
    shell.shown = ""
    # fish shows candidates without what was typed, which no test can read; the engine behind its TAB key is `complete -C`.
    shell.type(f"complete -C '{line}'\n".encode() if shell.name == "fish" else f"{line}\t\t".encode())
    for text in expected:
        shell.until(text)
    shell.type(b"\x15printf 'the %s\\n' end\n")
    shell.answer("the end")


def finished(shell: Shell, line: str, expected: str) -> None:
    """Wait until one TAB made `expected` of `line`: the line is printed by the shell itself."""
    shell.shown = ""
    shell.type(f"{line}\t\x01printf '<%s>' \n".encode())
    shell.answer("".join(f"<{word}>" for word in expected.split()))


def test_the_tab_key_offers_commands_options_tasks_and_sessions(shell: Shell) -> None:
    offered(shell, "git autonomous sta", "start", "status")
    offered(shell, "git autonomous start --max", "--max-sessions", "--max-tokens", "--max-time")
    offered(shell, "git autonomous status ", "one", "three", "two")
    offered(shell, "git autonomous review two ", "1", "2", "3")
    offered(shell, "git-autonomous resume t", "three", "two")


def test_the_tab_key_finishes_what_is_unambiguous(shell: Shell) -> None:
    finished(shell, "git auton", "git autonomous")
    finished(shell, "git autonomous status on", "git autonomous status one")
    finished(shell, "git autonomous config un", "git autonomous config unset")
    finished(shell, "git autonomous config get silenceT", "git autonomous config get silenceTimeout")


def test_git_help_opens_the_installed_page(repo: Path, home: Path) -> None:
    assert autonomous(repo, "man", "--install").status == 0
    environment = {**os.environ, "PATH": PATH, "MANPATH": f"{home}/.local/share/man:", "MANWIDTH": "100"}
    for command in (["git", "help", "autonomous"], ["git", "autonomous", "--help"], ["man", "git-autonomous"]):
        done = subprocess.run(command, cwd=repo, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.startswith("GIT-AUTONOMOUS(1)")
        assert "\nNAME\n       git-autonomous - Run a long task over many Codex sessions" in done.stdout


def test_roff_has_nothing_to_say_about_the_pages(tmp_path: Path) -> None:
    for name, text in manual.pages(reference.read(cli.app)).items():
        path = tmp_path / name
        path.write_text(text)
        done = subprocess.run(
            ["groff", "-man", "-ww", "-Tutf8", "-z", path], capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
