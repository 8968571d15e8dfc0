"""A conflict is resolved by a session like any other, and merged only when its marks are gone. With the real Codex."""

from __future__ import annotations

from pathlib import Path

import made
import pytest
from agent import executor, sessions, write_file
from conftest import git
from program import autonomous, commits, listed
from test_merge import refused, snapshot

from gitautonomous.scripted import Server

ITEM = "Resolve the conflicts with main in README.md"


def conflicting(repo: Path, files: made.Change | None = None) -> None:
    made.finished(repo, "todo", {"README.md": "mine\n", **(files or {})})
    (repo / "README.md").write_text("theirs\n")
    git(repo, "commit", "-qam", "theirs")


@pytest.mark.usefixtures("codex_home")
def test_a_session_resolves_the_conflict_and_the_task_is_merged(agent_repo: Path, model: Server) -> None:
    conflicting(agent_repo)
    base, tip = git(agent_repo, "rev-parse", "main"), git(agent_repo, "rev-parse", "autonomous/todo")
    model.play(sessions(executor("todo", ITEM, write_file("README.md", "mine and theirs"))))
    ended = autonomous(agent_repo, "merge", "--resolve", "todo")
    assert (ended.status, ended.out.startswith("todo: in main as ")) == (0, True), ended.err
    assert (agent_repo / "README.md").read_text() == "mine and theirs\n"
    assert git(agent_repo, "ls-tree", "-r", "--name-only", "main") == "README.md"
    assert commits(agent_repo, f"{tip}..refs/autonomous/merged/todo/2", "%s") == [
        "theirs", f"todo: bring in main ({base[:10]}), with conflicts to resolve", f"todo: {ITEM}",
    ]  # fmt: skip
    assert git(agent_repo, "rev-parse", "refs/autonomous/backup/todo/1") == tip
    listed_items = git(agent_repo, "show", "refs/autonomous/merged/todo/2:.autonomous/todo/task_list.md")
    assert [line.strip() for line in listed_items.splitlines() if line.strip()] == [
        "# A task", "## Tasks", "- [x] item 1", f"- [x] {ITEM}", "- CONFLICT (content): Merge conflict in README.md",
        "- of what stands between two marks, the first part is this task's and the second that of main: keep what both meant, and leave no mark",
        "## Proposed",
    ]  # fmt: skip
    prompt = model.requests[0].text
    assert ITEM in prompt and "CONFLICT (content)" in prompt


@pytest.mark.usefixtures("codex_home")
def test_marks_that_are_left_are_found_whatever_the_agent_says(agent_repo: Path, model: Server) -> None:
    conflicting(agent_repo)
    tip = git(agent_repo, "rev-parse", "autonomous/todo")
    model.play(sessions(executor("todo", ITEM, "true")))
    ended = autonomous(agent_repo, "merge", "--resolve", "todo")
    assert (ended.status, ended.out) == (3, "")
    assert ended.err.splitlines()[-2:] == [
        "error: 'todo' says that its conflicts are resolved, but marks are left in README.md",
        f"hint: git -C {made.worktree_of(agent_repo, 'todo')} grep -n '^<<<<<<< ' # or undo it: git autonomous restore todo",
    ]
    assert (agent_repo / "README.md").read_text() == "theirs\n"
    assert autonomous(agent_repo, "restore", "todo").status == 0
    assert git(agent_repo, "rev-parse", "autonomous/todo") == tip


@pytest.mark.usefixtures("codex_home")
def test_a_session_that_gives_up_leaves_the_task_to_a_person(agent_repo: Path, model: Server) -> None:
    conflicting(agent_repo)
    note = f"sed -i 's/- \\[ \\] {ITEM}/& (blocked: too hard)/' .autonomous/todo/task_list.md"
    model.play(sessions([{"exec": [note]}, {"say": "I cannot."}]))
    ended = autonomous(agent_repo, "merge", "--resolve", "todo")
    assert (ended.status, ended.err.splitlines()[-2:]) == (
        3,
        [
            "error: the conflicts of 'todo' are not resolved: only blocked or skipped items are left",
            "hint: git autonomous resume todo",
        ],
    )
    assert [(task["state"], task["done"], task["total"]) for task in listed(agent_repo)] == [("blocked", 1, 2)]


def test_without_a_conflict_nothing_is_resolved(repo: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    assert autonomous(repo, "merge", "--resolve", "todo").status == 0
    assert git(repo, "for-each-ref", "--format=%(refname)", "refs/autonomous") == "refs/autonomous/merged/todo/1"


def test_work_in_the_worktree_that_would_be_touched_stays(repo: Path) -> None:
    conflicting(repo)
    worktree = made.worktree_of(repo, "todo")
    (worktree / "README.md").write_text("edited\n")
    before = snapshot(repo)
    refused(
        repo, autonomous(repo, "merge", "--resolve", "todo"), 1,
        f"error: autonomous/todo is checked out at {worktree}, where uncommitted or untracked work would be touched: README.md".replace(str(repo), "REPO"),
        f"hint: git -C {worktree} stash push --include-untracked # then try again, and: git stash pop".replace(str(repo), "REPO"),
    )  # fmt: skip
    assert (snapshot(repo), (worktree / "README.md").read_text()) == (before, "edited\n")
