"""Runners that outlive the terminal, and agents that must not start any."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from agent import executor, initializer, long_command, sessions, write_file
from conftest import git
from program import PROGRAM, autonomous, commits, listed
from terminals import terminal

from gitautonomous import process, stopping
from gitautonomous.scripted import Server

pytestmark = pytest.mark.usefixtures("codex_home")

WaitUntil = Callable[[Callable[[], object]], None]
START = ("start", "Write a", "--name", "todo", "--delay", "0")
TOLD = """\
hint: git autonomous attach todo    # watch it; Ctrl-C leaves it running
hint: git autonomous stop todo
"""


def local(repo: Path) -> Path:
    return repo / ".git" / "autonomous" / "tasks" / "todo"


def worktree_of(repo: Path) -> Path:
    return repo.parent / "repo.autonomous" / "todo"


def state(repo: Path) -> tuple[str, str | None]:
    return listed(repo)[0]["state"], listed(repo)[0]["reason"]


def play_and_wait(model: Server) -> None:
    """The second session goes on when the file `go` is there."""
    wait = "echo > here; while [ ! -e go ]; do sleep 0.05; done; rm here go"
    model.play(
        sessions(
            initializer("todo", ["write a"]), [long_command(wait), *executor("todo", "write a", write_file("a", "1"))]
        )
    )


def test_a_detached_runner_outlives_its_terminal(agent_repo: Path, model: Server, wait_until: WaitUntil) -> None:
    play_and_wait(model)
    with terminal() as tty:
        starter = tty.run(agent_repo, [*START, "--detach"])
        assert tty.finish(starter) == 0
        assert tty.text().replace("\r", "").endswith("todo: runs in the background\n" + TOLD)
    who = stopping.runner(local(agent_repo))
    assert who is not None
    wait_until((worktree_of(agent_repo) / "here").exists)
    assert state(agent_repo) == ("running", "session 2")
    proc = Path("/proc") / str(who.pid)
    assert proc.joinpath("cwd").readlink() == Path("/")
    assert [proc.joinpath(f"fd/{number}").readlink() for number in (0, 1, 2)] == [
        Path("/dev/null"), local(agent_repo) / "runner.log", local(agent_repo) / "runner.log",
    ]  # fmt: skip
    session, terminal_number = proc.joinpath("stat").read_text().rpartition(")")[2].split()[3:5]
    assert (int(session) != who.pid, int(session) != os.getsid(0), terminal_number) == (True, True, "0")
    (worktree_of(agent_repo) / "go").touch()
    wait_until(lambda: not process.alive(who))
    assert state(agent_repo) == ("finished", None)
    log = (local(agent_repo) / "runner.log").read_text().splitlines()
    assert log[-2:] == ["todo: finished, its one item is ticked", "hint: git autonomous merge todo"]
    assert "\x1b" not in "".join(log)
    assert local(agent_repo).joinpath("runner.log").stat().st_mode & 0o777 == 0o600


def test_json_describes_the_task_and_its_process(agent_repo: Path, model: Server, wait_until: WaitUntil) -> None:
    play_and_wait(model)
    ended = autonomous(agent_repo, *START, "-d", "--json")
    assert (ended.status, ended.err.endswith(TOLD)) == (0, True)
    described = json.loads(ended.out)
    who = stopping.runner(local(agent_repo))
    assert who is not None
    task = described["task"]
    assert (described["schema"], task["name"], task["branch"], task["pid"], task["log"]) == (
        1, "todo", "autonomous/todo", who.pid, str(local(agent_repo) / "runner.log"),
    )  # fmt: skip
    wait_until((worktree_of(agent_repo) / "here").exists)
    assert autonomous(agent_repo, "stop").status == 0
    model.play(sessions(executor("todo", "write a")))
    ended = autonomous(agent_repo, "resume", "--json", "--delay", "0")
    task = json.loads(ended.out)["task"]
    assert (ended.status, task["state"], task["pid"], task["log"]) == (0, "finished", None, None)


def test_what_can_fail_fails_before_anything_is_detached(
    agent_repo: Path, model: Server, wait_until: WaitUntil
) -> None:
    play_and_wait(model)
    assert autonomous(agent_repo, *START, "-d", "--base", "nowhere").status == 1
    assert autonomous(agent_repo, *START, "-d").status == 0
    second = autonomous(agent_repo, "resume", "todo", "-d")
    assert (second.status, second.out) == (1, "")
    assert second.err.startswith("error: 'todo' is already being worked on (process ")
    assert autonomous(agent_repo, "stop").status == 0
    git(worktree_of(agent_repo), "switch", "--quiet", "-c", "other")
    ended = autonomous(agent_repo, "resume", "todo", "-d")
    assert (ended.status, ended.err.splitlines()[0]) == (
        3,
        "error: the worktree of 'todo' is on other, not on autonomous/todo",
    )
    assert listed(agent_repo)[0]["state"] == "paused"


def test_a_detached_runner_keeps_nothing_of_its_callers_open(agent_repo: Path, model: Server) -> None:
    play_and_wait(model)
    reading, writing = os.pipe()
    command = [*PROGRAM, *START, "-d"]
    with subprocess.Popen(command, cwd=agent_repo, pass_fds=(writing,), stdout=writing, stderr=writing) as starter:
        os.close(writing)
        with open(reading, "rb") as file:
            said = file.read()
    assert (starter.returncode, said.endswith(TOLD.encode())) == (0, True)
    assert state(agent_repo)[0] == "running"
    assert autonomous(agent_repo, "stop").status == 0


def test_what_ends_a_detached_runner_is_told_by_list(agent_repo: Path, model: Server, wait_until: WaitUntil) -> None:
    play_and_wait(model)
    assert autonomous(agent_repo, *START, "-d").status == 0
    who = stopping.runner(local(agent_repo))
    assert who is not None
    wait_until((worktree_of(agent_repo) / "here").exists)
    git(worktree_of(agent_repo), "checkout", "--quiet", "--detach")
    (worktree_of(agent_repo) / "go").touch()
    wait_until(lambda: not process.alive(who))
    tip = git(agent_repo, "rev-parse", "autonomous/todo")
    message = f"the worktree of 'todo' is on {tip}, not on autonomous/todo"
    assert state(agent_repo) == ("failed", message)
    assert f"error: {message}" in (local(agent_repo) / "runner.log").read_text()


@pytest.mark.parametrize("variable", ["GIT_AUTONOMOUS_ATTEMPT", "CODEX_THREAD_ID"])
def test_an_agent_starts_no_runner(agent_repo: Path, model: Server, variable: str) -> None:
    other = {"GIT_AUTONOMOUS_ATTEMPT": "CODEX_THREAD_ID", "CODEX_THREAD_ID": "GIT_AUTONOMOUS_ATTEMPT"}[variable]
    program = " ".join(PROGRAM)
    nested = f"env -u {other} {program} start -d 'Another task' > said 2>&1; echo $? >> said"
    model.play(sessions(initializer("todo", ["write a"]), [{"exec": nested}, *executor("todo", "write a")]))
    assert autonomous(agent_repo, *START).status == 0
    assert git(agent_repo, "show", "autonomous/todo:said").splitlines() == [
        "error: this is a session of a task already, and an agent runs no tasks of its own",
        "hint: write it below '## Proposed' in task_list.md, for a person to decide",
        "1",
    ]
    assert commits(agent_repo, "--all").count("Start another-task") == 0


def test_another_codex_may_start_a_task(agent_repo: Path, model: Server) -> None:
    model.play(sessions(initializer("todo", ["write a"]), executor("todo", "write a")))
    ended = autonomous(agent_repo, *START, CODEX_THREAD_ID="01a20a3b-356e-76e1-b2fb-b59965bd8342")
    assert (ended.status, ended.out) == (0, "todo: finished, its one item is ticked\n")


def test_relative_templates_are_the_same_to_a_detached_runner(
    agent_repo: Path, model: Server, wait_until: WaitUntil
) -> None:
    model.play(sessions(initializer("todo", ["write a"]), executor("todo", "write a")))
    (agent_repo / "prompts").mkdir()
    (agent_repo / "prompts" / "executor.md").write_text("Our own words: {{goal}}\n")
    assert autonomous(agent_repo, *START, "-d", GIT_AUTONOMOUS_TEMPLATES="prompts").status == 0
    wait_until(lambda: state(agent_repo)[0] == "finished")
    assert any("Our own words: Write a" in request.text for request in model.requests)
