"""A goal in, a finished branch out, one commit a session: with the real Codex, its sandbox and a scripted model."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from agent import executor, initializer, sessions, write_file
from conftest import git
from program import autonomous, commits, listed

from gitautonomous.scripted import Server

pytestmark = pytest.mark.usefixtures("codex_home")


def snapshot(repo: Path) -> tuple[str, ...]:
    """Everything of the user's own checkout that a task must leave alone."""
    return tuple(
        git(repo, *command)
        for command in (
            ("status", "--porcelain=v2", "--branch"),
            ("stash", "list"),
            ("config", "--local", "--list"),
            ("for-each-ref", "refs/heads/main", "refs/tags", "refs/stash"),
            ("ls-files", "--stage", "--debug"),
        )
    )


def test_a_goal_becomes_a_finished_branch_with_one_commit_a_session(agent_repo: Path, model: Server) -> None:
    (agent_repo / "README.md").write_text("edited, not committed\n")
    (agent_repo / "untracked").write_text("mine\n")
    before = snapshot(agent_repo)
    model.play(
        sessions(
            initializer("todo", ["write a", "write b"], ["test -f a"]),
            executor("todo", "write a", write_file("a", "first")),
            executor(
                "todo",
                "write b",
                write_file("b", "second"),
                say="Both are there.\n\nSigned-off-by: Eve <eve@example.org>",
            ),
        )
    )
    ended = autonomous(agent_repo, "start", "Write a and b", "--name", "todo", "--delay", "0")
    assert (ended.status, ended.out) == (0, "todo: finished, all 2 items are ticked and the checks pass\n")
    assert commits(agent_repo, "main..autonomous/todo") == [
        "Start todo", "todo: task list of 2 items", "todo: write a", "todo: write b",
    ]  # fmt: skip
    changed = ["git", "-C", str(agent_repo), "show", "--format=", "--name-only"]
    assert [
        subprocess.run([*changed, f"autonomous/todo~{n}"], capture_output=True, text=True, check=True).stdout.split()
        for n in (3, 2, 1, 0)
    ] == [
        [".autonomous/todo/task.toml"],
        [".autonomous/todo/progress.md", ".autonomous/todo/task.toml", ".autonomous/todo/task_list.md"],
        [".autonomous/todo/progress.md", ".autonomous/todo/task_list.md", "a"],
        [".autonomous/todo/progress.md", ".autonomous/todo/task_list.md", "b"],
    ]
    record = commits(agent_repo, "autonomous/todo~1..autonomous/todo", "%(trailers:unfold)")
    assert [line for line in record if not line.startswith(("Autonomous-Seconds", "Codex-Thread"))] == [
        "Autonomous-Task: todo", "Autonomous-Session: 3", "Autonomous-Role: executor", "Autonomous-Outcome: completed",
        "Autonomous-Progress: 2/2", "Autonomous-Check: passed", "Autonomous-Base: main", "Autonomous-Tokens: 240/720",
        "Assisted-by: Codex:gpt-5.5", "",
    ]  # fmt: skip
    assert snapshot(agent_repo) == before
    (task,) = listed(agent_repo)
    assert {key: task[key] for key in ("name", "branch", "base", "state", "done", "total", "sessions", "check", "tokens")} == {
        "name": "todo", "branch": "autonomous/todo", "base": "main", "state": "finished", "done": 2, "total": 2, "sessions": 3,
        "check": "passed", "tokens": 720,
    }  # fmt: skip
    worktree = Path(task["worktree"])
    assert worktree == agent_repo.parent / "repo.autonomous" / "todo"
    assert git(worktree, "status", "--porcelain") == ""
    assert git(agent_repo, "fsck", "--strict", "--no-dangling") == ""
