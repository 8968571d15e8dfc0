"""Many tasks at once: a process for each, one table, staggered starts, one stop for all. Most agents are stand-ins that speak Codex's protocol."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from agent import executor, initializer, sessions, write_file
from benchmarks import standin
from conftest import git
from program import autonomous, commits, listed, running
from terminals import terminal

from gitautonomous import many, stopping
from gitautonomous.scripted import Request, Server, Step

WaitUntil = Callable[[Callable[[], object]], None]
CTRL_C = b"\x03"


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks are worked on by the stand-in: a list of one item, then the item."""
    monkeypatch.setenv("GIT_AUTONOMOUS_CODEX", standin.install(str(tmp_path)))
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "codex"))
    monkeypatch.setenv("GIT_AUTONOMOUS_DELAY", "0")
    monkeypatch.setenv("STANDIN_ITEMS", "1")


def planned(repo: Path, *names: str) -> None:
    for name in names:
        ended = autonomous(repo, "start", f"Do {name}", "--name", name, "--plan")
        assert ended.status == 0, ended.err


def state_of(repo: Path) -> dict[str, str]:
    return {task["name"]: task["state"] for task in listed(repo)}


@pytest.mark.usefixtures("stand_in")
def test_every_task_that_can_go_on_is_finished_and_the_others_are_named(repo: Path) -> None:
    planned(repo, "a", "b", "c", "stuck")
    worktree = repo.parent / "repo.autonomous" / "stuck"
    path = worktree / ".autonomous/stuck/task_list.md"
    path.write_text(path.read_text().replace("of the work", "of the work (blocked: no room)"))
    git(worktree, "commit", "--quiet", "-am", "It cannot be done")
    ended = autonomous(repo, "resume", "--all", "--jobs", "2")
    assert (ended.status, ended.out) == (0, "3 tasks: 3 finished\n")
    assert sorted(ended.err.splitlines()) == [
        "a: finished, its one item is ticked", "a: started", "b: finished, its one item is ticked", "b: started",
        "c: finished, its one item is ticked", "c: started", "hint: git autonomous list",
        "stuck: left out, blocked: only blocked or skipped items are left",
    ]  # fmt: skip
    assert git(repo, "fsck", "--strict") == ""
    again = autonomous(repo, "resume", "--all")
    assert (again.status, again.err.splitlines()[-1]) == (0, "No task can go on.")


@pytest.mark.usefixtures("stand_in")
def test_the_worst_end_is_the_status(repo: Path) -> None:
    planned(repo, "a", "b")
    worktree = repo.parent / "repo.autonomous" / "b"
    git(worktree, "switch", "--quiet", "-c", "elsewhere")
    ended = autonomous(repo, "resume", "--all", "--json")
    assert ended.status == 3
    assert {task["name"]: task["state"] for task in json.loads(ended.out)["tasks"]} == {"a": "finished", "b": "paused"}
    assert "b: the worktree of 'b' is on elsewhere, not on autonomous/b" in ended.err.splitlines()


@pytest.mark.parametrize(
    ("statuses", "worst"),
    [([], 0), ([0, 0], 0), ([0, 3], 3), ([3, 1, 0], 1), ([1, 4, 3], 4), ([0, 143], 143), ([143, 3], 3)],
)
def test_which_status_is_worse(statuses: list[int], worst: int) -> None:
    assert many.worst(statuses) == worst


@pytest.mark.usefixtures("stand_in")
def test_no_more_than_so_many_at_a_time_and_ctrl_c_stops_them_all(
    repo: Path, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    monkeypatch.setenv("STANDIN_ITEMS", "2")
    planned(repo, "a", "b", "c")
    with terminal(120) as tty:
        crew = tty.run(repo, ["resume", "--all", "--jobs", "2"], STANDIN_HANG="300")
        tty.until("2 at work, 1 waiting for a place, 0 ended – Ctrl-C stops all")
        wait_until(lambda: list(state_of(repo).values()).count("running") == 2)
        at_work = sorted(name for name, state in state_of(repo).items() if state == "running")
        runners = [stopping.runner(repo / ".git/autonomous/tasks" / name) for name in at_work]
        first, second = sorted(runner.start for runner in runners if runner is not None)
        assert second - first >= many.STAGGER * os.sysconf("SC_CLK_TCK") - 1
        said = [repo / f".git/autonomous/tasks/{name}/sessions/002.jsonl" for name in at_work]
        wait_until(lambda: all(path.exists() and "Finished: " in path.read_text() for path in said))
        tty.type(CTRL_C)
        assert tty.finish(crew) == 130
        assert tty.text().replace("\r", "").endswith("3 tasks: 3 paused\n\ahint: git autonomous list\n"), tty.text()
    interrupted = [name for name in "abc" if len(commits(repo, f"main..autonomous/{name}")) == 3]
    assert interrupted == at_work
    assert [commits(repo, f"autonomous/{name}~1..autonomous/{name}")[0] for name in interrupted] == [
        f"{name}: interrupted: Step 1 of the work" for name in interrupted
    ]


@pytest.mark.usefixtures("stand_in")
def test_in_the_background_until_all_are_stopped(
    repo: Path, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    monkeypatch.setenv("STANDIN_ITEMS", "2")
    planned(repo, "a", "b", "c")
    folder = repo / "deep"
    folder.mkdir()
    with running(folder, "resume", "--all", "--jobs", "2", "-d", env={**os.environ, "STANDIN_HANG": "300"}) as crew:
        out, err = crew.communicate(timeout=30)
    assert (crew.returncode, out.decode(), err.decode()) == (
        0,
        "3 tasks in the background\n",
        "hint: git autonomous list --watch    # watch them; Ctrl-C leaves them running\nhint: git autonomous stop --all\n",
    )
    wait_until(lambda: list(state_of(repo).values()).count("running") == 2)
    second = autonomous(repo, "resume", "--all")
    assert (
        second.status,
        second.err.splitlines()[-2].startswith("error: all tasks are being resumed already (process "),
    ) == (1, True)
    first, other = sorted(name for name, state in state_of(repo).items() if state == "running")
    ended = autonomous(repo, "stop", "--all")
    stopped = sorted(line.split(",")[0] for line in ended.out.splitlines())
    assert (ended.status, stopped) == (0, [f"{first}: stopped", f"{other}: stopped"])
    assert state_of(repo) == {"a": "paused", "b": "paused", "c": "paused"}
    assert stopping.runner(repo / ".git/autonomous", many.LOCK) is None
    log = (repo / ".git/autonomous/many.log").read_text().splitlines()
    assert sorted(log) == [
        "3 tasks: 3 paused", f"{first}: '{first}' was interrupted; everything it did is committed", f"{first}: started",
        f"{other}: '{other}' was interrupted; everything it did is committed", f"{other}: started", "hint: git autonomous list",
    ]  # fmt: skip


@pytest.mark.usefixtures("stand_in")
def test_a_crew_that_is_killed_leaves_its_runners_at_work(
    repo: Path, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    monkeypatch.setenv("STANDIN_ITEMS", "2")
    planned(repo, "a")
    with running(repo, "resume", "--all", env={**os.environ, "STANDIN_HANG": "300"}, stderr=subprocess.DEVNULL) as crew:
        wait_until(lambda: state_of(repo)["a"] == "running")
        crew.kill()
    assert state_of(repo)["a"] == "running"
    assert autonomous(repo, "stop", "a").status == 0
    assert state_of(repo)["a"] == "paused"


@pytest.mark.usefixtures("codex_home")
def test_two_tasks_at_once_with_the_real_codex(agent_repo: Path, model: Server) -> None:
    for name in ("one", "two"):
        model.play(sessions(initializer(name, [f"write {name}"])))
        autonomous(agent_repo, "start", f"Write {name}", "--name", name, "--plan")
    scripts = {name: executor(name, f"write {name}", write_file(name, name)) for name in ("one", "two")}

    def answer(request: Request) -> Step:
        name = next(name for name in scripts if f".autonomous/{name}" in str(request.body))
        return scripts[name][request.turn] if request.turn < 2 else {"say": "done"}

    model.play(answer)
    ended = autonomous(agent_repo, "resume", "--all", "--delay", "0")
    assert (ended.status, ended.out) == (0, "2 tasks: 2 finished\n"), ended.err
    assert [git(agent_repo, "show", f"autonomous/{name}:{name}") for name in ("one", "two")] == ["one", "two"]


def test_a_task_and_all_of_them_exclude_each_other(repo: Path) -> None:
    assert autonomous(repo, "resume", "todo", "--all").status == 2
    assert autonomous(repo, "resume", "--jobs", "2").err.splitlines()[0] == "error: --jobs is for --all"
