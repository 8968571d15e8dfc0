"""A person who is not looking is told: by a command of their own, the terminal's bell and its title."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agent import executor, initializer, long_command, sessions, write_file
from conftest import git
from program import PROGRAM, autonomous, listed, running
from terminals import terminal

from gitautonomous import scripted
from gitautonomous.scripted import Server

pytestmark = pytest.mark.usefixtures("codex_home")

WaitUntil = Callable[[Callable[[], object]], None]
START = ("start", "Write a", "--name", "todo", "--delay", "0")


@pytest.fixture
def notices(agent_repo: Path, area: Path) -> Callable[[], list[dict[str, Any]]]:
    """What the notify command of `agent_repo` was told so far."""
    file = area / "notices"
    git(
        agent_repo,
        "config",
        "autonomous.notify",
        f'cat >> {file}; echo "$AUTONOMOUS_EVENT $AUTONOMOUS_DONE $PWD" >> {file}.env',
    )
    return lambda: [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_a_finished_task_is_told_as_json_and_in_the_environment(
    agent_repo: Path, area: Path, model: Server, notices: Callable[[], list[dict[str, Any]]]
) -> None:
    model.play(sessions(initializer("todo", ["write a"]), executor("todo", "write a", write_file("a", "1"))))
    assert autonomous(agent_repo, *START).status == 0
    assert notices() == [
        {
            "event": "finished", "task": "todo", "state": "finished", "reason": "its one item is ticked", "done": 1, "total": 1,
            "branch": "autonomous/todo",
        }
    ]  # fmt: skip
    assert (area / "notices.env").read_text() == f"finished 1 {agent_repo}\n"


def test_stops_by_request_and_stops_that_need_a_person_are_told_apart(
    agent_repo: Path, model: Server, notices: Callable[[], list[dict[str, Any]]]
) -> None:
    model.play(sessions(initializer("todo", ["write a"]), [{"say": "hm"}]))
    autonomous(agent_repo, *START, "--plan")
    autonomous(agent_repo, "resume", GIT_AUTONOMOUS_MAX_IDLE="1")
    assert [(notice["event"], notice["state"], notice["reason"]) for notice in notices()] == [
        ("stopped", "paused", "the list has 1 item; have a look at it before the work starts"),
        ("needs-person", "stalled", "1 session in a row ticked nothing and changed no file"),
    ]


def test_a_wait_and_a_stop_from_elsewhere_are_told(
    agent_repo: Path, model: Server, notices: Callable[[], list[dict[str, Any]]], wait_until: WaitUntil
) -> None:
    model.play([scripted.usage_limit(int(time.time()) + 3600)])
    assert autonomous(agent_repo, *START, "-d").status == 0
    wait_until(notices)
    assert autonomous(agent_repo, "stop").status == 0
    wait_until(lambda: len(notices()) == 2)
    assert [(notice["event"], notice["state"]) for notice in notices()] == [
        ("waiting", "waiting"),
        ("stopped", "paused"),
    ]


def test_an_error_that_ends_a_runner_is_told(
    agent_repo: Path, model: Server, notices: Callable[[], list[dict[str, Any]]], wait_until: WaitUntil
) -> None:
    model.play(
        sessions(
            initializer("todo", ["write a"]), [long_command("echo > here; while [ ! -e go ]; do sleep 0.05; done")]
        )
    )
    worktree = agent_repo.parent / "repo.autonomous" / "todo"
    with running(agent_repo, *START) as runner:
        wait_until((worktree / "here").exists)
        git(worktree, "checkout", "--quiet", "--detach")
        (worktree / "go").touch()
        runner.communicate(timeout=30)
    (notice,) = notices()
    assert (notice["event"], notice["state"], notice["reason"]) == (
        "needs-person",
        "failed",
        listed(agent_repo)[0]["reason"],
    )


@pytest.mark.parametrize(
    ("command", "note"),
    [
        ("echo no such room >&2; exit 3", "the notify command ended with status 3: no such room"),
        ("sleep 300", "the notify command was ended after 1 s"),
    ],
)
def test_a_notify_command_that_fails_is_only_noted(agent_repo: Path, model: Server, command: str, note: str) -> None:
    model.play(sessions(initializer("todo", ["write a"])))
    environment = {"GIT_AUTONOMOUS_NOTIFY": command, "GIT_AUTONOMOUS_NOTIFY_TIMEOUT": "1"}
    ended = autonomous(agent_repo, *START, "--plan", stdin=b"", **environment)
    assert (ended.status, ended.err.splitlines()[-2]) == (0, note)


def test_a_terminal_gets_a_title_and_a_bell_and_its_old_title_back(agent_repo: Path, model: Server) -> None:
    model.play(sessions(initializer("todo", ["write a"]), executor("todo", "write a", write_file("a", "1"))))
    with terminal() as tty:
        assert tty.finish(tty.run(agent_repo, START)) == 0
    assert [part for part in tty.shown.split("\x1b") if part.startswith(("]", "[22", "[23"))][0:1] == ["[22;2t"]
    assert "\x1b]2;todo, session 1\a" in tty.shown
    assert "\x1b]2;todo 0/1, session 2\a" in tty.shown
    assert tty.shown.count("\x1b[22;2t") == tty.shown.count("\x1b[23;2t") == 1
    assert (
        tty.shown.replace("\x1b]2;todo, session 1\a", "").replace("\x1b]2;todo 0/1, session 2\a", "").count("\a") == 1
    )


@pytest.mark.parametrize("how", ["settings", "quiet", "no terminal"])
def test_bell_and_title_can_be_off(agent_repo: Path, model: Server, how: str) -> None:
    model.play(sessions(initializer("todo", ["write a"])))
    arguments = [*START, "--plan", *["-q"] * (how == "quiet")]
    if how == "no terminal":
        shown = autonomous(agent_repo, *arguments).err
    else:
        environment = {"GIT_AUTONOMOUS_BELL": "no", "GIT_AUTONOMOUS_TITLE": "no"} if how == "settings" else {}
        with terminal() as tty:
            assert tty.finish(tty.run(agent_repo, arguments, **environment)) == 0
        shown = tty.shown
    assert ("\a" in shown, "\x1b]" in shown, "\x1b[22" in shown) == (False, False, False)


def test_a_task_can_be_merged_by_what_is_told_that_it_is_finished(agent_repo: Path, area: Path, model: Server) -> None:
    model.play(sessions(initializer("todo", ["write a"]), executor("todo", "write a", write_file("a", "1"))))
    look = " ".join([*PROGRAM, "list"])
    ended = autonomous(agent_repo, *START, stdin=b"", GIT_AUTONOMOUS_NOTIFY=f"{look} > {area}/list")
    assert (ended.status, (area / "list").read_text().splitlines()[1].split()[:2]) == (0, ["todo", "finished"])
