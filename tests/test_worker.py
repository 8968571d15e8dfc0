"""Workers: tasks of a remote, run by real workers with the real Codex, and what happens when one is stopped, cut off or robbed of its lease."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agent import executor, initializer, sessions, write_file
from conftest import git
from program import autonomous, commits, running

from gitautonomous.scripted import Server

pytestmark = pytest.mark.usefixtures("codex_home")

GOAL = ("submit", "Write a and b", "--name", "todo")


@pytest.fixture
def bare(agent_repo: Path, area: Path) -> Path:
    """The remote, as "origin" of `agent_repo`. Workers are quick."""
    git(area, "clone", "--quiet", "--bare", "repo", "bare.git")
    git(agent_repo, "remote", "add", "origin", str(area / "bare.git"))
    for key, value in (("delay", "0"), ("workerPoll", "1")):
        git(area, "config", "--global", f"autonomous.{key}", value)
    return area / "bare.git"


def machine(bare: Path, name: str) -> Path:
    folder = bare.parent / name / "repo"
    subprocess.run(["git", "clone", "--quiet", str(bare), str(folder)], check=True)
    return folder


def fleet(folder: Path) -> list[dict[str, Any]]:
    """The fleet's tasks, as `list --remote --json` gives them."""
    ended = autonomous(folder, "list", "--remote", "origin", "--json")
    assert ended.status == 0, ended.err
    tasks: list[dict[str, Any]] = json.loads(ended.out)["tasks"]
    return tasks


def test_a_submitted_task_is_worked_off_elsewhere_and_every_session_is_pushed(
    agent_repo: Path, bare: Path, model: Server
) -> None:
    model.play(
        sessions(
            initializer("todo", ["write a", "write b"]),
            executor("todo", "write a", write_file("a", "1")),
            executor("todo", "write b", write_file("b", "2")),
        )
    )
    ended = autonomous(agent_repo, *GOAL)
    assert (ended.status, ended.out) == (0, "todo: queued on origin\n"), ended.err
    assert git(agent_repo, "branch", "--list", "autonomous/*") == ""
    (task,) = fleet(agent_repo)
    assert (task["state"], task["worker"], task["epoch"]) == ("queued", None, 0)
    worker = machine(bare, "worker")
    ended = autonomous(worker, "worker", "--once", SLURM_JOB_ID="7")
    assert (ended.status, ended.err.splitlines()) == (
        0,
        ["todo: claimed, epoch 1", "todo: finished, all 2 items are ticked"],
    )
    (task,) = fleet(agent_repo)
    assert {key: task[key] for key in ("state", "worker", "job", "epoch", "done", "total", "sessions", "tip")} == {
        "state": "finished", "worker": None, "job": "slurm:7", "epoch": 1, "done": 2, "total": 2, "sessions": 3,
        "tip": git(bare, "rev-parse", "autonomous/todo"),
    }  # fmt: skip
    assert commits(bare, "main..autonomous/todo") == [
        "Start todo", "todo: task list of 2 items", "todo: write a", "todo: write b",
    ]  # fmt: skip
    assert git(worker, "branch", "--list", "autonomous/*") == ""  # all of it is on the remote
