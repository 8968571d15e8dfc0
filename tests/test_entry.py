"""However git is told where the repository is, and however it is called, the same repository is meant."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import made
import pytest
from conftest import git, make_repository

WAYS: dict[str, tuple[str, Sequence[str], Mapping[str, str]]] = {
    "in the repository": ("repo", [], {}),
    "below it": ("repo/folder", [], {}),
    "-C": (".", ["-C", "repo"], {}),
    "-C twice, to a folder below": (".", ["-C", "repo", "-C", "folder"], {}),
    "--git-dir and --work-tree": ("other", ["--git-dir=../repo/.git", "--work-tree=../repo"], {}),
    "GIT_DIR, relative": ("other", [], {"GIT_DIR": "../repo/.git"}),
    "GIT_DIR and GIT_WORK_TREE": ("other", [], {"GIT_DIR": "../repo/.git", "GIT_WORK_TREE": "../repo"}),
    "GIT_DIR of a worktree": ("other", [], {"GIT_DIR": "../repo/.git/worktrees/todo"}),
    "in a hook": ("repo", [], {"GIT_DIR": ".git", "GIT_INDEX_FILE": ".git/index.lock", "GIT_PREFIX": "folder/"}),
    "in a worktree": ("repo.autonomous/todo", [], {}),
}


@pytest.fixture
def place(repo: Path) -> Path:
    """The folder that holds the repository with a task, and another repository."""
    (repo / "folder").mkdir()
    made.finished(repo, "todo", {"a": "1\n"})
    make_repository(repo.parent / "other")
    return repo.parent


def run(git_program: str, folder: Path, *words: str, **environment: str) -> str:
    done = subprocess.run(
        [git_program, *words], cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("way", WAYS)
def test_the_repository_that_git_was_told_is_the_one(place: Path, git_on_path: str, way: str) -> None:
    folder, options, environment = WAYS[way]
    for command in (("list", "--json"), ("status", "todo", "--json")):
        expected = run(git_on_path, place / "repo", "autonomous", *command)
        assert '"name": "todo"' in expected
        assert run(git_on_path, place / folder, *options, "autonomous", *command, **environment) == expected


@pytest.mark.parametrize("alias", ["autonomous list", "!git autonomous list", "!f() { git autonomous list; }; f"])
def test_an_alias_does_the_same(place: Path, git_on_path: str, alias: str) -> None:
    git(place / "repo", "config", "alias.tasks", alias)
    expected = run(git_on_path, place / "repo", "autonomous", "list")
    for folder in ("repo", "repo/folder"):
        assert run(git_on_path, place / folder, "tasks") == expected
    assert run(git_on_path, place, "-C", "repo/folder", "tasks") == expected
