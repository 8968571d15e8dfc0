"""The settings that come with a repository are those of a commit that no agent wrote."""

from __future__ import annotations

from pathlib import Path

import made
import pytest
from conftest import git
from program import autonomous

from gitautonomous import base_settings
from gitautonomous.git import Repository

PEOPLE, AGENT = "maxFiles = 7\n", "maxFiles = 999999\n"


@pytest.fixture
def shared(repo: Path) -> Path:
    """A repository with settings of people, and a task whose agent wrote others."""
    (repo / ".autonomous.toml").write_text(PEOPLE)
    git(repo, "add", ".autonomous.toml")
    git(repo, "commit", "-qm", "Settings")
    made.finished(repo, "todo", {".autonomous.toml": AGENT})
    return repo


def test_in_a_tasks_worktree_the_settings_of_its_base_commit_hold(shared: Path) -> None:
    worktree = made.worktree_of(shared, "todo")
    assert (worktree / ".autonomous.toml").read_text() == AGENT
    assert autonomous(worktree, "config", "get", "maxFiles").out == "7\n"
    git(shared, "rm", "-q", ".autonomous.toml")
    git(shared, "commit", "-qm", "No settings any more")
    assert autonomous(shared, "config", "get", "maxFiles").out == "20000\n"
    assert autonomous(worktree, "config", "get", "maxFiles").out == "7\n"


def test_a_person_who_commits_settings_on_their_own_branch_is_heard(shared: Path) -> None:
    (shared / ".autonomous.toml").write_text("maxFiles = 8\n")
    git(shared, "commit", "-qam", "More files")
    assert autonomous(shared, "config", "get", "maxFiles").out == "8\n"


@pytest.mark.parametrize(
    "name", ["autonomous/todo", "refs/heads/autonomous/todo", "refs/remotes/origin/autonomous/todo"]
)
def test_a_branch_of_a_task_is_known_by_each_of_its_names(shared: Path, name: str) -> None:
    git(shared, "update-ref", "refs/remotes/origin/autonomous/todo", "autonomous/todo")
    assert base_settings.read(Repository.discover(shared), name) == PEOPLE.encode()


def test_a_task_that_started_from_another_ones_branch_has_the_settings_of_the_first_ones_base(shared: Path) -> None:
    made.finished(shared, "second", {"b": "1\n"}, base="autonomous/todo")
    assert 'base = "autonomous/todo"' in git(shared, "show", "autonomous/second:.autonomous/second/task.toml")
    assert base_settings.read(Repository.discover(shared), "autonomous/second") == PEOPLE.encode()


def test_a_task_that_nobody_can_read_has_no_settings(shared: Path) -> None:
    worktree = made.worktree_of(shared, "todo")
    (worktree / ".autonomous/todo/task.toml").write_text("no TOML")
    git(worktree, "commit", "-qam", "broken")
    assert base_settings.read(Repository.discover(shared), "autonomous/todo") is None
