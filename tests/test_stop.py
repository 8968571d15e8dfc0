"""Stopping: at once, after the session, everything, and never a stranger."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from agent import executor, initializer, long_command, sessions, write_file
from conftest import git
from program import autonomous, commits, listed, running
from terminals import terminal

from gitautonomous import locks, process, scripted, signals, stopping
from gitautonomous.scripted import Server

pytestmark = pytest.mark.usefixtures("codex_home")

CTRL_C = b"\x03"
START = ("start", "Write a and b", "--name", "todo", "--delay", "0")


def worktree_of(repo: Path) -> Path:
    return repo.parent / "repo.autonomous" / "todo"


WaitUntil = Callable[[Callable[[], object]], None]


@contextmanager
def at_work(repo: Path, model: Server, wait_until: WaitUntil, **options: int) -> Iterator[subprocess.Popen[bytes]]:
    """A runner whose second session has written `a` and hangs until the file `go` is made, then ticks its item."""
    hang = "echo half > a; while [ ! -e go ]; do sleep 0.05; done; rm go"
    tick = "sed -i 's/- \\[ \\] write a/- [x] write a/' .autonomous/todo/task_list.md"
    model.play(
        sessions(initializer("todo", ["write a", "write b"]), [long_command(f"{hang}; {tick}"), {"say": "It is done."}])
    )
    with running(repo, *START, **options) as runner:
        wait_until((worktree_of(repo) / "a").exists)
        yield runner


def local(repo: Path) -> Path:
    return repo / ".git" / "autonomous" / "tasks" / "todo"


def state(repo: Path) -> tuple[str, str | None]:
    return listed(repo)[0]["state"], listed(repo)[0]["reason"]


def test_a_session_that_is_stopped_becomes_a_commit_without_waiting_for_the_checks(
    agent_repo: Path, model: Server, wait_until: WaitUntil
) -> None:
    model.play(
        sessions(
            initializer("todo", ["write a"], ["test ! -e slow || sleep 300"]),
            [*executor("todo", "write a", "echo half > a")[:1], long_command("echo > slow; sleep 300")],
        )
    )
    with running(agent_repo, *START) as runner:
        wait_until((worktree_of(agent_repo) / "slow").exists)
        runner.send_signal(signal.SIGINT)
        out, err = runner.communicate(timeout=20)
    assert (runner.returncode, out) == (130, b"")
    assert err.decode().splitlines()[-2:] == [
        "error: 'todo' was interrupted; everything it did is committed",
        "hint: git autonomous resume todo",
    ]
    assert commits(agent_repo, "main..autonomous/todo")[-1] == "todo: interrupted: write a"
    assert git(agent_repo, "show", "autonomous/todo:a") == "half"
    assert state(agent_repo) == ("paused", "the checks have not run on the newest commit")
    (worktree_of(agent_repo) / "slow").unlink()
    ended = autonomous(agent_repo, "resume", "todo")
    assert (ended.status, ended.out) == (0, "todo: finished, its one item is ticked and the checks pass\n")


def test_a_check_at_work_is_ended_by_a_stop(agent_repo: Path, model: Server, wait_until: WaitUntil) -> None:
    model.play(
        sessions(
            initializer("todo", ["write a"], ["test ! -e a || { echo > begun; sleep 300; }"]),
            executor("todo", "write a", write_file("a", "1")),
        )
    )
    with running(agent_repo, *START) as runner:
        wait_until((worktree_of(agent_repo) / "begun").exists)
        ended = autonomous(agent_repo, "stop")
        runner.communicate(timeout=20)
    commit = git(agent_repo, "rev-parse", "autonomous/todo")[:10]
    assert (ended.status, ended.out) == (0, f"todo: stopped, 1/1 items, commit {commit}: todo: write a\n")
    assert runner.returncode == 143
    assert not (worktree_of(agent_repo) / "begun").exists()


def test_stop_ends_the_runner_and_waits_for_the_commit(agent_repo: Path, model: Server, wait_until: WaitUntil) -> None:
    with at_work(agent_repo, model, wait_until) as runner:
        ended = autonomous(agent_repo, "stop", "todo")
        commit = git(agent_repo, "rev-parse", "autonomous/todo")[:10]
        said = f"todo: stopped, 0/2 items, commit {commit}: todo: interrupted: it was stopped\n"
        assert (ended.status, ended.out, ended.err) == (0, said, "")
        runner.communicate(timeout=20)
    assert runner.returncode == 143
    assert git(agent_repo, "show", "autonomous/todo:a") == "half"
    assert state(agent_repo) == ("paused", None)


def test_stop_tells_that_a_session_could_not_be_committed(
    agent_repo: Path, model: Server, wait_until: WaitUntil
) -> None:
    with at_work(agent_repo, model, wait_until) as runner:
        git(agent_repo, "config", "core.editor", "other")
        ended = autonomous(agent_repo, "stop", "todo")
        commit = git(agent_repo, "rev-parse", "autonomous/todo")[:10]
        said = (
            f"todo: stopped, 0/2 items, commit {commit}: todo: task list of 2 items;"
            " session 2 is not committed yet, its files are in the worktree\n"
        )
        hint = "hint: git autonomous resume todo    # commits what its session did\n"
        assert (ended.status, ended.out, ended.err) == (0, said, hint)
        runner.communicate(timeout=20)
    assert state(agent_repo)[0] == "failed"


def test_stop_after_the_session_lets_it_come_to_its_end(agent_repo: Path, model: Server, wait_until: WaitUntil) -> None:
    with at_work(agent_repo, model, wait_until) as runner:
        ended = autonomous(agent_repo, "stop", "--after-session")
        assert (ended.status, ended.out) == (0, "todo: will stop after its session\n")
        (worktree_of(agent_repo) / "go").touch()
        out, _ = runner.communicate(timeout=20)
    assert (runner.returncode, out.decode()) == (0, "todo: paused, it was asked to stop after its session\n")
    assert commits(agent_repo, "main..autonomous/todo")[-1] == "todo: write a"
    assert not (local(agent_repo) / "stop").exists()


def test_stop_after_the_session_ends_a_countdown_at_once(
    agent_repo: Path, model: Server, wait_until: WaitUntil
) -> None:
    model.play(sessions(initializer("todo", ["write a", "write b"])))
    with running(agent_repo, "start", "Write a and b", "--name", "todo", "--delay", "300") as runner:
        wait_until(lambda: "todo: task list of 2 items" in commits(agent_repo, "--all"))
        autonomous(agent_repo, "stop", "--after-session")
        out, _ = runner.communicate(timeout=20)
    assert (runner.returncode, out.decode()) == (0, "todo: paused, it was asked to stop after its session\n")


def test_a_request_for_another_runner_means_nothing(agent_repo: Path, model: Server, wait_until: WaitUntil) -> None:
    model.play(sessions(initializer("todo", ["write a"]), executor("todo", "write a", write_file("a", "1"))))
    autonomous(agent_repo, *START, "--plan")
    me = process.identify(os.getpid())
    assert me is not None
    stopping.ask_after_session(local(agent_repo), me)
    ended = autonomous(agent_repo, "resume", "todo")
    assert (ended.status, ended.out) == (0, "todo: finished, its one item is ticked\n")


def test_a_runner_that_waits_says_until_when_and_stops_at_once(
    agent_repo: Path, model: Server, wait_until: WaitUntil
) -> None:
    reset = int(time.time()) + 3600
    model.play([scripted.usage_limit(reset)])
    with running(agent_repo, *START) as runner:
        wait_until(lambda: listed(agent_repo) and state(agent_repo)[0] == "waiting")
        until = time.strftime("%H:%M", time.localtime(reset))
        assert re.fullmatch(rf"usage limit: .+ \(until {until}\)", str(state(agent_repo)[1]))
        ended = autonomous(agent_repo, "stop", "--all")
        assert (
            ended.out == f"todo: stopped, commit {git(agent_repo, 'rev-parse', 'autonomous/todo')[:10]}: Start todo\n"
        )
        runner.communicate(timeout=20)
    assert runner.returncode == 143


def test_a_stranger_with_the_process_id_of_a_dead_runner_is_never_told(agent_repo: Path, model: Server) -> None:
    model.play(sessions(initializer("todo", ["write a"])))
    autonomous(agent_repo, *START, "--plan")
    with subprocess.Popen(["sleep", "300"]) as stranger:
        who = process.identify(stranger.pid)
        assert who is not None
        lock = locks.open_lock(str(local(agent_repo) / "runner.lock"))
        os.truncate(lock, 0)
        os.write(lock, f"process {who.pid} on elsewhere\n{who.pid} {who.start - 1} {who.boot}\n".encode())
        assert locks.try_lock(lock)
        ended = autonomous(agent_repo, "stop", "todo")
        os.close(lock)
        assert (ended.status, ended.err.splitlines()) == (
            1,
            [
                f"error: whoever works on 'todo' cannot be told from here: process {who.pid} on elsewhere",
                "hint: run the same command on that machine, or in that container",
            ],
        )
        assert stranger.poll() is None
        stranger.kill()


def test_a_codex_without_its_runner_is_ended(agent_repo: Path, model: Server, wait_until: WaitUntil) -> None:
    with at_work(agent_repo, model, wait_until, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as runner:
        runner.kill()
    assert state(agent_repo) == ("running", "Codex works on without its runner")
    ended = autonomous(agent_repo, "stop")
    assert (ended.status, ended.err) == (0, "hint: git autonomous resume todo    # commits what its session did\n")
    assert state(agent_repo) == ("paused", None)
    ended = autonomous(agent_repo, "resume", "todo", "--max-sessions", "1")
    assert commits(agent_repo, "main..autonomous/todo")[2].startswith("todo: interrupted: ")
    assert git(agent_repo, "show", "autonomous/todo:a") == "half"


def test_there_is_nothing_to_stop(agent_repo: Path, model: Server) -> None:
    assert autonomous(agent_repo, "stop").err == "error: no task runs\nhint: git autonomous list\n"
    assert autonomous(agent_repo, "stop", "--all").err == "Nothing runs.\n"
    model.play(sessions(initializer("todo", ["write a"])))
    autonomous(agent_repo, *START, "--plan")
    ended = autonomous(agent_repo, "stop", "todo")
    assert (ended.status, ended.err) == (1, "error: nobody works on 'todo'\nhint: git autonomous status todo\n")
    assert autonomous(agent_repo, "stop", "todo", "--all").status == 2


def test_a_suspended_runner_hears_the_stop(agent_repo: Path, model: Server, wait_until: WaitUntil) -> None:
    with at_work(agent_repo, model, wait_until) as runner:
        runner.send_signal(signal.SIGSTOP)
        assert autonomous(agent_repo, "stop").status == 0
        runner.communicate(timeout=20)
    assert runner.returncode == 143


def play_long(model: Server) -> None:
    """Two items; the second session writes half of `a` and then takes half a minute."""
    model.play(
        sessions(
            initializer("todo", ["write a", "write b"]), [long_command("echo half > a; sleep 300"), {"say": "done"}]
        )
    )


def test_ctrl_c_on_a_terminal_makes_a_commit_of_the_session(
    agent_repo: Path, model: Server, wait_until: WaitUntil
) -> None:
    play_long(model)
    with terminal() as tty:
        runner = tty.run(agent_repo, START)
        wait_until((worktree_of(agent_repo) / "a").exists)
        tty.type(CTRL_C)
        assert tty.finish(runner) == 130
        assert (
            tty.text()
            .replace("\r", "")
            .endswith(
                "error: 'todo' was interrupted; everything it did is committed\nhint: git autonomous resume todo\n"
            )
        )
    assert commits(agent_repo, "main..autonomous/todo")[-1] == "todo: interrupted: it was stopped"
    assert git(agent_repo, "show", "autonomous/todo:a") == "half"


def test_ctrl_c_in_the_countdown_loses_nothing(agent_repo: Path, model: Server) -> None:
    play_long(model)
    with terminal() as tty:
        runner = tty.run(agent_repo, [*START[:-1], "300"])
        tty.until("next session in 5 min – Ctrl-C stops")
        tty.type(CTRL_C)
        assert tty.finish(runner) == 130
    assert commits(agent_repo, "main..autonomous/todo") == ["Start todo", "todo: task list of 2 items"]
    assert state(agent_repo) == ("paused", None)


def test_a_terminal_that_closes_ends_its_runner_with_a_commit(
    agent_repo: Path, model: Server, wait_until: WaitUntil
) -> None:
    play_long(model)
    with terminal() as tty:
        runner = tty.run(agent_repo, START)
        wait_until((worktree_of(agent_repo) / "a").exists)
    assert runner.wait(timeout=20) == 129
    assert commits(agent_repo, "main..autonomous/todo")[-1] == "todo: interrupted: it was stopped"


def test_stop_shows_on_a_terminal_what_it_waits_for(agent_repo: Path, model: Server, wait_until: WaitUntil) -> None:
    with at_work(agent_repo, model, wait_until) as runner, terminal() as tty:
        stopper = tty.run(agent_repo, ["stop", "todo"])
        tty.until("waiting for todo to end and commit – ")
        assert tty.finish(stopper) == 0
        assert "todo: stopped, 0/2 items, commit " in tty.text()
        runner.communicate(timeout=20)


SLOW_TO_END = """\
#!/bin/sh
case $1 in
--version) echo codex-cli 0.163.0 ;;
login) echo Logged in ;;
sandbox) echo works ;;
exec)
    while [ "$1" != -C ]; do shift; done
    cd "$2"
    echo '{"type":"thread.started","thread_id":"01a20a3b-356e-76e1-b2fb-b59965bd8342"}'
    echo '{"type":"item.completed","item":{"id":"item_0","type":"agent_message","text":"I begin."}}'
    trap 'echo > asked; sleep 3; echo yes > graceful; exit 143' TERM
    echo half > a
    while :; do sleep 0.1; done ;;
esac
"""


@pytest.fixture
def slow_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Codex that takes three seconds to end when it is asked to."""
    program = tmp_path / "codex"
    program.write_text(SLOW_TO_END)
    program.chmod(0o755)
    monkeypatch.setenv("GIT_AUTONOMOUS_CODEX", str(program))


@pytest.mark.usefixtures("slow_to_end")
def test_a_ctrl_c_that_git_passes_on_too_is_one_ctrl_c(repo: Path, git_on_path: str, wait_until: WaitUntil) -> None:
    with terminal() as tty:
        runner = tty.run(repo, ["autonomous", *START], [git_on_path])
        wait_until((worktree_of(repo) / "a").exists)
        tty.type(CTRL_C)
        assert tty.finish(runner) in (130, -signal.SIGINT)
        tty.until("hint: git autonomous resume todo")
    assert git(repo, "show", "autonomous/todo:graceful") == "yes"


@pytest.mark.usefixtures("slow_to_end")
def test_a_second_ctrl_c_ends_the_agent_at_once(repo: Path, wait_until: WaitUntil) -> None:
    with terminal() as tty:
        runner = tty.run(repo, START)
        wait_until((worktree_of(repo) / "a").exists)
        tty.type(CTRL_C)
        wait_until((worktree_of(repo) / "asked").exists)  # the first one was heard
        time.sleep(signals.ECHO + 0.1)
        tty.type(CTRL_C)
        assert tty.finish(runner) == 130
    assert commits(repo, "main..autonomous/todo")[-1] == "todo: interrupted: I begin."
    assert not (worktree_of(repo) / "graceful").exists()
