"""The pager that git itself would take, and what happens around it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import made
import pytest
from conftest import git
from program import PROGRAM, autonomous
from terminals import terminal

from gitautonomous import pager
from gitautonomous.git import Repository


@pytest.mark.parametrize(
    ("environ", "config", "names", "expected"),
    [
        ({"PAGER": "more"}, {}, [], "more"),
        ({"PAGER": "more"}, {"core.pager": "delta"}, [], "delta"),
        ({"PAGER": "more", "GIT_PAGER": "most"}, {"core.pager": "delta"}, [], "most"),
        ({"GIT_PAGER": ""}, {"core.pager": "delta"}, [], None),
        ({"PAGER": "cat"}, {}, [], None),
        ({"PAGER": ""}, {}, [], None),
        ({}, {"core.pager": "cat"}, [], None),
        ({}, {"core.pager": "less -S", "pager.show": "delta --dark"}, ["autonomous", "show", "diff"], "delta --dark"),
        ({}, {"pager.diff": "delta", "pager.show": "bat"}, ["autonomous", "diff", "show"], "delta"),
        ({}, {"pager.autonomous": "false", "pager.show": "delta"}, ["autonomous", "show"], None),
        ({}, {"pager.autonomous": "true", "pager.show": "delta", "core.pager": "most"}, ["autonomous", "show"], "most"),
        ({"GIT_PAGER": "most"}, {"pager.show": "delta"}, ["show"], "most"),
        ({"PAGER": "more"}, {"pager.show": "delta"}, [], "more"),
    ],
)
def test_the_pager_is_the_one_that_git_would_take(
    repo: Path,
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    config: dict[str, str],
    names: list[str],
    expected: str | None,
) -> None:
    monkeypatch.delenv("PAGER", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    for key, value in config.items():
        git(repo, "config", key, value)
    assert pager.command(Repository.discover(repo), os.environ, names) == expected


def test_where_nothing_is_set_the_pager_is_the_one_that_git_was_built_with(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PAGER", raising=False)
    assert pager.command(Repository.discover(repo), os.environ) == git(repo, "var", "GIT_PAGER")


SCRIPT = """
import sys, signal
from pathlib import Path
from gitautonomous import pager
with pager.output(sys.stdout, sys.argv[1], Path(sys.argv[2])) as out:
    for number in range(int(sys.argv[3])):
        out.write(f"line {number} \\u2713\\n")
print("after", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


def paged(command: str, folder: Path, lines: int) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", SCRIPT, command, str(folder), str(lines)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


def test_output_goes_through_the_pager_with_gits_environment(tmp_path: Path) -> None:
    done = paged("echo $LESS $LV $GIT_PAGER_IN_USE; pwd; sed s/line/LINE/", tmp_path, 2)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"FRX -c true\n{tmp_path}\nLINE 0 ✓\nLINE 1 ✓\nafter True\n"


def test_a_pager_that_is_left_early_is_no_error(tmp_path: Path) -> None:
    done = paged("head -1", tmp_path, 200_000)
    assert (done.returncode, done.stdout, done.stderr) == (0, "line 0 ✓\nafter True\n", "")


def test_a_pager_that_does_not_exist_is_the_shells_to_tell(tmp_path: Path) -> None:
    done = paged("no-such-pager", tmp_path, 200_000)
    assert (done.returncode, done.stdout) == (0, "after True\n")
    assert "no-such-pager" in done.stderr


def test_without_a_pager_it_is_standard_output(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pager.output(sys.stdout, None, tmp_path) as out:
        out.write("plain\n")
        assert signal.getsignal(signal.SIGINT) is before
    assert capsys.readouterr().out == "plain\n"


MARKED = "sed 's/^/paged: /'"


def shown_on_terminal(
    repo: Path, *command: str, rows: int = 5, program: Sequence[str] = PROGRAM, **environ: str
) -> str:
    """What a command shows on a terminal of so many rows."""
    with terminal(columns=100, rows=rows) as screen:
        assert screen.finish(screen.run(repo, command, program=program, **environ)) == 0
        return screen.shown.replace("\r\n", "\n")


@pytest.mark.parametrize("command", [("list",), ("status", "one"), ("review", "one", "-I"), ("config", "list")])
def test_what_does_not_fit_on_the_screen_goes_through_the_pager(repo: Path, command: Sequence[str]) -> None:
    for name in ("one", "two", "three", "four"):
        made.finished(repo, name, {name: "1\n"}, worktree=False)
    plain = shown_on_terminal(repo, *command, rows=60, GIT_PAGER=MARKED)
    assert "paged: " not in plain
    assert shown_on_terminal(repo, *command, GIT_PAGER=MARKED) == "".join(
        f"paged: {line}" for line in plain.splitlines(keepends=True)
    )
    assert shown_on_terminal(repo, *command, GIT_PAGER="") == plain
    git(repo, "config", "pager.autonomous", MARKED)
    git(repo, "config", "color.pager", "false")
    assert "\npaged: " in shown_on_terminal(repo, *command)
    assert "\x1b[" not in shown_on_terminal(repo, *command)
    git(repo, "config", "pager.autonomous", "false")
    assert shown_on_terminal(repo, *command) == plain


def test_a_log_goes_through_the_pager_as_gits_does(repo: Path) -> None:
    made.finished(repo, "one", {"a": "1\n"}, worktree=False)
    folder = repo / ".git/autonomous/tasks/one/sessions"
    folder.mkdir(parents=True)
    (folder / "001.jsonl").write_text('{"type":"item.completed","item":{"type":"agent_message","text":"Done."}}\n')
    assert "paged: " in shown_on_terminal(repo, "log", "one", rows=60, GIT_PAGER=MARKED)
    assert "paged: " not in shown_on_terminal(repo, "log", "one", "--follow", GIT_PAGER=MARKED)
    assert autonomous(repo, "log", "one", GIT_PAGER=MARKED).out.count("paged: ") == 0


def test_gits_own_option_and_setting_hold(repo: Path, git_on_path: str) -> None:
    for name in ("one", "two", "three", "four"):
        made.finished(repo, name, {name: "1\n"}, worktree=False)
    command = ("autonomous", "list")
    plain = shown_on_terminal(repo, *command, rows=60, program=[git_on_path])
    assert shown_on_terminal(repo, "--no-pager", *command, program=[git_on_path], PAGER=MARKED) == plain
    git(repo, "config", "pager.autonomous", MARKED)
    by_git = shown_on_terminal(repo, *command, rows=60, program=[git_on_path])
    assert by_git == "".join(f"paged: {line}" for line in plain.splitlines(keepends=True))
    git(repo, "config", "color.pager", "false")
    assert "\x1b[" not in shown_on_terminal(repo, *command, program=[git_on_path])
