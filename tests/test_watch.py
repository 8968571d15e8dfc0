"""Looking on while a task runs: attach, list --watch, log -f and status, from another terminal and other folders."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from agent import executor, initializer, long_command, sessions, write_file
from program import autonomous, listed, running
from terminals import SEQUENCE, Terminal, terminal

from gitautonomous import scripted
from gitautonomous.scripted import Server

pytestmark = pytest.mark.usefixtures("codex_home")

WaitUntil = Callable[[Callable[[], object]], None]
START = ("start", "Write a and b", "--name", "todo", "--delay", "0", "--detach")
CTRL_C = b"\x03"


def worktree_of(repo: Path) -> Path:
    return repo.parent / "repo.autonomous" / "todo"


@contextmanager
def at_work(repo: Path, model: Server, wait_until: WaitUntil) -> Iterator[Path]:
    """A detached runner in its second session, which goes on as soon as the file that is given is made."""
    hang = "echo > here; while [ ! -e go ]; do sleep 0.05; done; rm here go"
    model.play(
        sessions(
            initializer("todo", ["write a", "write b"]),
            [long_command(hang), *executor("todo", "write a", write_file("a", "1"))],
            executor("todo", "write b", write_file("b", "2")),
        )
    )
    started = autonomous(repo, *START)
    assert started.status == 0, started.err
    wait_until((worktree_of(repo) / "here").exists)
    yield worktree_of(repo) / "go"
    autonomous(repo, "stop", "--all")


def shown_at_the_end(tty: Terminal, *lines: str) -> bool:
    return tty.text().replace("\r", "").endswith("".join(line + "\n" for line in lines))


def test_attach_shows_the_session_at_work_and_goes_along_to_the_end(
    agent_repo: Path, model: Server, wait_until: WaitUntil
) -> None:
    with at_work(agent_repo, model, wait_until) as go, terminal() as tty:
        watcher = tty.run(agent_repo, ["attach"])
        tty.until("session 2 (executor), 0/2 items: write a")
        tty.until("── session 2 (executor), 240 tokens so far – ")
        tty.until("$ echo > here; while [ ! -e go ]; do sleep 0.05; done; rm here go – ")
        go.touch()
        tty.until("session 2 completed · 1/2 items · commit ")
        tty.until("session 3 (executor), 1/2 items: write b")
        assert tty.finish(watcher) == 0
        assert shown_at_the_end(tty, "\atodo: finished, all 2 items are ticked", "hint: git autonomous merge todo"), (
            tty.text()
        )


def test_ctrl_c_leaves_a_task_that_goes_on(agent_repo: Path, model: Server, wait_until: WaitUntil) -> None:
    with at_work(agent_repo, model, wait_until) as go, terminal() as tty:
        watcher = tty.run(agent_repo, ["attach", "todo"])
        tty.until("watching todo; Ctrl-C leaves it running")
        tty.until("── session 2 (executor)")
        tty.type(CTRL_C)
        assert tty.finish(watcher) == 0
        assert shown_at_the_end(tty, "hint: 'todo' goes on; git autonomous attach todo"), tty.text()
        assert tty.shown.rindex("\x1b[?7h") > tty.shown.rindex("\x1b[?7l")
        assert (listed(agent_repo)[0]["state"], listed(agent_repo)[0]["reason"]) == ("running", "session 2")
        go.touch()
        wait_until(lambda: listed(agent_repo)[0]["state"] == "finished")


def test_ctrl_c_leaves_although_git_passes_it_on_too(
    agent_repo: Path, model: Server, wait_until: WaitUntil, git_on_path: str
) -> None:
    with at_work(agent_repo, model, wait_until), terminal() as tty:
        watcher = tty.run(agent_repo, ["autonomous", "attach"], [git_on_path])
        tty.until("── session 2 (executor)")
        tty.type(CTRL_C)
        assert tty.finish(watcher) in (0, -signal.SIGINT)
        tty.until("hint: 'todo' goes on; git autonomous attach todo\r\n")
        assert "Traceback" not in tty.text()
        assert listed(agent_repo)[0]["state"] == "running"


def test_what_the_watched_runner_ends_with_is_the_watchers_status(
    agent_repo: Path, model: Server, wait_until: WaitUntil
) -> None:
    with at_work(agent_repo, model, wait_until), running(agent_repo, "attach") as watcher:
        assert watcher.stderr is not None
        assert b"session 2 (executor)" in watcher.stderr.readline()
        assert autonomous(agent_repo, "stop").status == 0
        out, err = watcher.communicate(timeout=20)
    assert (watcher.returncode, out.decode()) == (143, "todo: paused, it was stopped\n")
    assert err.decode().splitlines()[-1] == "hint: git autonomous resume todo"
    ended = autonomous(agent_repo, "attach", "todo")
    assert (ended.status, ended.err) == (1, "error: nobody works on 'todo'\nhint: git autonomous log todo\n")


def test_a_wait_is_counted_down_for_the_watcher_too(agent_repo: Path, model: Server, wait_until: WaitUntil) -> None:
    model.play([scripted.usage_limit(int(time.time()) + 3600)])
    assert autonomous(agent_repo, *START).status == 0
    wait_until(lambda: listed(agent_repo)[0]["state"] == "waiting")
    with terminal() as tty:
        watcher = tty.run(agent_repo, ["attach"])
        tty.until("it ended before the agent did anything: You’ve hit your usage limit.")
        tty.until("in 59 min")
        assert autonomous(agent_repo, "stop").status == 0
        assert tty.finish(watcher) == 143


def test_log_follows_from_anywhere_until_the_task_ends(agent_repo: Path, model: Server, wait_until: WaitUntil) -> None:
    folder = agent_repo / "deep" / "down"
    folder.mkdir(parents=True)
    with at_work(agent_repo, model, wait_until) as go, running(folder, "log", "todo", "-f") as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline().decode().startswith("── session 2 ───")
        go.touch()
        out, err = follower.communicate(timeout=30)
    assert (follower.returncode, err) == (0, b"")
    assert "── session 3 ───" in out.decode()
    assert out.decode().rstrip().splitlines()[-1].startswith("✓ turn completed")


def test_status_says_what_the_agent_does(agent_repo: Path, model: Server, wait_until: WaitUntil) -> None:
    with at_work(agent_repo, model, wait_until):
        shown = autonomous(worktree_of(agent_repo), "status").out
        now = next(line for line in shown.splitlines() if line.startswith("now "))
        assert now.startswith("now        session 2 for ")
        assert ": running echo > here; while [ ! -e go ]; do sleep 0.05; done; rm here go (for " in now
        known = json.loads(autonomous(agent_repo, "status", "todo", "--json").out)["task"]
        assert known["activity"]["session"] == 2
        assert known["activity"]["began"] <= known["activity"]["since"]
        transcript = agent_repo / ".git/autonomous/tasks/todo/sessions/002.jsonl"
        began = datetime.fromisoformat(known["activity"]["began"]).timestamp()
        os.utime(transcript, (began - 0.5, began - 0.5))  # the session's second is a rounded one
        known = json.loads(autonomous(agent_repo, "status", "todo", "--json").out)["task"]
        assert known["activity"]["since"] == known["activity"]["began"]
    assert json.loads(autonomous(agent_repo, "status", "todo", "--json").out)["task"]["activity"] is None


def test_the_list_stays_and_is_drawn_anew(agent_repo: Path, model: Server, wait_until: WaitUntil) -> None:
    with at_work(agent_repo, model, wait_until) as go, terminal(140) as tty:
        watcher = tty.run(agent_repo, ["list", "--watch"])
        tty.until("session 2: running echo > here; while")
        go.touch()
        tty.until("finished")
        tty.type(CTRL_C)
        assert tty.finish(watcher) == 0
        last = tty.shown.rpartition("\x1b[J")[2]
        assert [line.split() for line in SEQUENCE.sub("", last).splitlines()] == [
            ["task", "state", "done", "sessions", "check", "tokens", "updated"],
            ["todo", "finished", "██████████", "2/2", "3", "none", "840", "now"],
        ]
        assert last.endswith("now\r\n")


def test_a_short_terminal_gets_the_tasks_at_work_and_the_number_of_the_rest(
    agent_repo: Path, model: Server, wait_until: WaitUntil
) -> None:
    for number in reversed(range(6)):  # of two in one second the names decide, and in the same order
        model.play(sessions(initializer(f"t{number}", ["write a"])))
        autonomous(agent_repo, "start", "Write a", "--name", f"t{number}", "--plan")
    with at_work(agent_repo, model, wait_until), terminal(140, rows=6) as tty:
        watcher = tty.run(agent_repo, ["list", "--watch"])
        tty.until("and 4 more")
        lines = tty.text().replace("\r", "").split("\n")
        assert [line.split()[0] for line in lines[:4]] == ["task", "todo", "t0", "t1"]
        tty.type(CTRL_C)
        assert tty.finish(watcher) == 0


def test_watching_needs_a_terminal(repo: Path) -> None:
    ended = autonomous(repo, "list", "--watch")
    assert (ended.status, ended.err) == (2, "error: --watch needs a terminal\nhint: git autonomous list\n")


def test_a_watcher_of_a_runner_that_is_killed_says_so(agent_repo: Path, model: Server, wait_until: WaitUntil) -> None:
    with at_work(agent_repo, model, wait_until), running(agent_repo, "attach", stderr=subprocess.STDOUT) as watcher:
        assert watcher.stdout is not None
        assert b"session 2 (executor)" in watcher.stdout.readline()
        known = json.loads(autonomous(agent_repo, "status", "--json").out)["task"]
        assert known["state"] == "running"
        from gitautonomous import process, stopping

        who = stopping.runner(agent_repo / ".git/autonomous/tasks/todo")
        assert who is not None
        process.terminate(who, grace=0)
        assert autonomous(agent_repo, "stop").status == 0
        out, _ = watcher.communicate(timeout=20)
    assert (watcher.returncode, out.decode().splitlines()[-2:]) == (
        1,
        ["error: the runner of 'todo' is gone without a word", "hint: git autonomous resume todo"],
    )
