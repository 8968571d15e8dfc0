"""The checks of a merge run in the agent's own sandbox, on exactly the result, and decide before anything moves. With the real Codex."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import made
import pytest
from conftest import git
from program import autonomous, running
from test_merge import add_hook, snapshot

from gitautonomous import config, model
from gitautonomous.config import Approvals

pytestmark = pytest.mark.usefixtures("codex_home")


def approved(repo: Path, name: str, *changes: made.Change, checks: list[str]) -> None:
    """A finished task whose checks were approved here, as `start` does."""
    task = made.finished(repo, name, *changes, checks=checks)
    approvals = Approvals(config.state_directory(os.environ) / "approvals.json")
    approvals.approve(made.place_of(repo).repository.common_dir, model.approval_text(task))


def test_the_checks_see_exactly_the_result_with_the_bases_news_and_the_commit_as_head(agent_repo: Path) -> None:
    approved(
        agent_repo,
        "todo",
        {"a": "1\n"},
        checks=["ls | tr '\\n' ' '; git log -1 --format=%s; git status --porcelain; test -f news"],
    )
    (agent_repo / "news").write_text("1\n")
    git(agent_repo, "add", ".")
    git(agent_repo, "commit", "-qm", "news")
    ended = autonomous(agent_repo, "merge", "todo")
    assert (ended.status, ended.err.splitlines()[0]) == (
        0, "check: ls | tr '\\n' ' '; git log -1 --format=%s; git status --porcelain; test -f news",
    )  # fmt: skip
    approved(
        agent_repo,
        "next",
        {"b": "1\n"},
        checks=["ls | tr '\\n' ' '; git log -1 --format=%s; git status --porcelain; false"],
    )
    before = snapshot(agent_repo)
    ended = autonomous(agent_repo, "merge", "next")
    log = agent_repo / ".git/autonomous/tasks/next/merge.log"
    assert (ended.status, ended.out, ended.err.splitlines()[1:]) == (
        3,
        "",
        [
            "error: a check fails on the result of the merge: ls | tr '\\n' ' '; git log -1 --format=%s; git status --porcelain; false (exit status 1)",
            f"hint: cat {log}",
        ],
    )
    assert log.read_text().splitlines()[1:] == ["README.md a b news Merge next: Do next well", "[exit status 1]"]
    assert snapshot(agent_repo) == before


def test_a_forced_merge_says_which_check_fails_and_goes_on(agent_repo: Path) -> None:
    approved(agent_repo, "todo", {"a": "1\n"}, checks=["exit 4"])
    ended = autonomous(agent_repo, "merge", "todo", "--force", "it is fine")
    assert (ended.status, ended.err.splitlines()[1]) == (
        0, f"a check fails on the result of the merge: exit 4 (exit status 4); see {agent_repo}/.git/autonomous/tasks/todo/merge.log",
    )  # fmt: skip


def test_a_check_can_neither_change_the_result_nor_reach_the_repository_nor_the_users_hooks(agent_repo: Path) -> None:
    escape = agent_repo.parent / "escaped"
    attack = (
        f"echo changed > a; echo new > left-behind; rm -rf .git; mkdir .git; echo x > '{agent_repo}/.git/config'; touch '{escape}';"
        f" git init -q . ; git config core.fsmonitor 'touch {escape}'; chmod 0 README.md; mkdir closed; touch closed/x; chmod 0 closed; true"
    )
    add_hook(agent_repo, "post-merge", f"test -e left-behind && touch '{escape}'")
    approved(agent_repo, "todo", {"a": "1\n"}, checks=[attack])
    config = (agent_repo / ".git/config").read_text()
    ended = autonomous(agent_repo, "merge", "todo")
    assert ended.status == 0
    assert (git(agent_repo, "show", "main:a"), (agent_repo / ".git/config").read_text(), escape.exists()) == (
        "1",
        config,
        False,
    )
    assert git(agent_repo, "ls-tree", "-r", "--name-only", "main").split() == ["README.md", "a"]
    assert (git(agent_repo, "worktree", "list").count("\n"), (agent_repo.parent / "repo.autonomous").exists()) == (
        0,
        False,
    )
    assert git(agent_repo, "status", "--porcelain") == ""


def test_checks_of_a_pushed_task_need_an_approval_here_first(agent_repo: Path) -> None:
    made.finished(agent_repo, "todo", {"a": "1\n"}, checks=["true"])
    before = snapshot(agent_repo)
    ended = autonomous(agent_repo, "merge", "todo")
    assert (ended.status, ended.err.splitlines()[0]) == (
        3, "error: the options of 'todo' need your approval on this machine first",
    )  # fmt: skip
    assert snapshot(agent_repo) == before


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "terminated"])
def test_a_merge_that_ends_during_its_checks_leaves_no_check_and_no_worktree_for_long(
    agent_repo: Path, kill: bool, wait_until: Callable[[Callable[[], object]], None]
) -> None:
    approved(agent_repo, "todo", {"a": "1\n"}, checks=["touch begun; while test ! -e '../../stop'; do sleep 0.1; done"])
    before = snapshot(agent_repo)
    process = running(agent_repo, "merge", "todo")
    worktrees = agent_repo.parent / "repo.autonomous"
    wait_until(lambda: list(worktrees.glob(".merge-todo-*/begun")))
    if kill:
        process.kill()
        assert process.wait() == -9
    else:
        process.terminate()
        assert process.wait() == 143
        assert snapshot(agent_repo) == before
    (agent_repo.parent / "stop").touch()
    assert git(agent_repo, "rev-parse", "main") == git(agent_repo, "rev-parse", "autonomous/todo~3")
    assert autonomous(agent_repo, "merge", "todo").status == 0
    assert (git(agent_repo, "worktree", "list").count("\n"), worktrees.exists()) == (0, False)


def test_without_codex_a_task_with_checks_is_refused_and_one_without_is_merged(agent_repo: Path) -> None:
    approved(agent_repo, "checked", {"a": "1\n"}, checks=["true"])
    made.finished(agent_repo, "plain", {"b": "1\n"})
    git(agent_repo, "config", "autonomous.codex", "/nowhere/codex")
    before = snapshot(agent_repo)
    ended = autonomous(agent_repo, "merge", "checked")
    assert (ended.status, ended.err.splitlines()[0]) == (1, "error: there is no Codex at '/nowhere/codex'")
    assert snapshot(agent_repo) == before
    assert autonomous(agent_repo, "merge", "plain").status == 0
