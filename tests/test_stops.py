"""Where a runner stops by itself: it says what it saw and what to type, and a budget holds also in the middle of a session."""

from __future__ import annotations

from pathlib import Path

import pytest
from agent import executor, initializer, long_command, sessions, write_file
from program import Ended, autonomous, commits, listed

from gitautonomous import codex
from gitautonomous.scripted import Server, Step

pytestmark = pytest.mark.usefixtures("codex_home")

START = ("start", "Write a and b", "--name", "todo", "--delay", "0")
IDLE: list[Step] = [{"say": "I looked around."}]


def assert_stopped(ended: Ended, status: int, said: str, hint: str) -> None:
    assert (ended.status, ended.out, ended.err.splitlines()[-1]) == (status, f"todo: {said}\n", f"hint: {hint}")


def test_idle_sessions_stall_a_task_and_a_person_may_try_it_again(agent_repo: Path, model: Server) -> None:
    model.play(sessions(initializer("todo", ["write a"]), IDLE, IDLE, IDLE))
    stalled = "stalled, 3 sessions in a row ticked nothing and changed no file"
    hint = "git autonomous log todo    # then: git autonomous resume todo"
    assert_stopped(autonomous(agent_repo, *START), 3, stalled, hint)
    assert (listed(agent_repo)[0]["state"], listed(agent_repo)[0]["sessions"]) == ("stalled", 4)
    model.play(sessions(IDLE, IDLE, IDLE))
    assert_stopped(autonomous(agent_repo, "resume", "--delay", "0"), 3, stalled, hint)
    model.play(sessions(IDLE, executor("todo", "write a", write_file("a", "1"))))
    assert_stopped(
        autonomous(agent_repo, "resume", "--delay", "0"),
        0,
        "finished, its one item is ticked",
        "git autonomous merge todo",
    )
    assert len(commits(agent_repo, "main..autonomous/todo")) == 10


def test_how_many_idle_sessions_are_too_many_is_a_setting(agent_repo: Path, model: Server) -> None:
    model.play(sessions(initializer("todo", ["write a"]), IDLE))
    ended = autonomous(agent_repo, *START, GIT_AUTONOMOUS_MAX_IDLE="1")
    assert ended.out == "todo: stalled, 1 session in a row ticked nothing and changed no file\n"


def test_failures_in_a_row_stop_a_task_with_the_last_failure(agent_repo: Path, model: Server) -> None:
    model.play(lambda request: {"status": 400, "body": {"error": {"message": "no such thing"}}})
    ended = autonomous(agent_repo, *START, GIT_AUTONOMOUS_MAX_FAILURES="1")
    hint = "git autonomous doctor    # then: git autonomous resume todo"
    assert_stopped(ended, 3, "failed, 1 attempt in a row failed, the last one: no such thing", hint)
    assert (listed(agent_repo)[0]["state"], listed(agent_repo)[0]["sessions"]) == ("failed", 0)


def test_a_refused_sign_in_stops_a_task_at_once(agent_repo: Path, model: Server) -> None:
    model.play(lambda request: {"status": 401})
    ended = autonomous(agent_repo, *START)
    assert (ended.status, ended.out.startswith("todo: failed, unexpected status 401 Unauthorized")) == (3, True)
    login = f"{codex.find(None).typed} login"
    assert ended.err.splitlines()[-1] == f"hint: {login}    # then: git autonomous resume todo"


def test_the_token_budget_stops_a_task(agent_repo: Path, model: Server) -> None:
    model.play(sessions(initializer("todo", ["write a", "write b"]), executor("todo", "write a", write_file("a", "1"))))
    ended = autonomous(agent_repo, *START, "--max-tokens", "300")
    hint = "git autonomous resume todo --max-tokens 300    # as much again"
    assert_stopped(ended, 3, "paused, the token budget of 300 is spent (480 used)", hint)


def test_the_time_budget_ends_a_session_that_would_pass_it(agent_repo: Path, model: Server) -> None:
    model.play(sessions(initializer("todo", ["write a"]), [long_command("echo half > a; sleep 300")]))
    assert autonomous(agent_repo, *START, "--plan").status == 0
    ended = autonomous(agent_repo, "resume", "todo", "--max-time", "8")
    hint = "git autonomous resume todo --max-time 8    # as much again"
    assert_stopped(ended, 3, "paused, the time budget of 8 s is spent", hint)
    assert commits(agent_repo, "main..autonomous/todo")[-1] == "todo: timed-out: the session took too long"
