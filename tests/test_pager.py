"""The pager that git itself would take, and what happens around it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import git

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
