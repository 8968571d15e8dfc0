"""What a merge would make run, with the settings of a real repository."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import git
from fabricated import Fabricated

from gitautonomous import hazards
from gitautonomous.git import Repository
from gitautonomous.runs import Hazard


def test_only_what_the_task_brings_counts_and_not_what_the_base_got_meanwhile(repo: Path) -> None:
    task = Fabricated(repo)
    task.plan("write a")
    task.session("write a", files={"a": "a\n", "Makefile": "all:\n", ".autonomous/todo/Makefile": "all:\n"})
    (repo / "setup.py").write_text("print()\n")
    git(repo, "add", "setup.py")
    git(repo, "commit", "--quiet", "-m", "Base")
    base = git(repo, "rev-parse", "main")
    assert hazards.of_merge(task.place.repository, task.trees, base, task.tip, without=task.task.directory) == (
        Hazard("Makefile", "build", "runs when the project is built, tested, linted or installed"),
    )


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (None, None),
        ("tools/git", "tools/git"),
        ("./tools/../tools/git/", "tools/git"),
        ("{repo}/tools/git", "tools/git"),
        ("/elsewhere/hooks", None),
        ("../hooks", None),
        (".", None),
    ],
)
def test_the_users_hooks_folder_is_found_when_it_lies_in_the_tree(
    repo: Path, setting: str | None, expected: str | None
) -> None:
    if setting is not None:
        git(repo, "config", "core.hooksPath", setting.format(repo=repo))
    assert hazards.hooks_in_tree(Repository.discover(repo)) == expected


def test_it_is_found_from_the_worktree_of_the_task_too(repo: Path) -> None:
    task = Fabricated(repo)
    git(repo, "config", "core.hooksPath", f"{repo}/tools/git")
    assert hazards.hooks_in_tree(Repository.discover(task.worktree().path)) == "tools/git"
