"""Workers: tasks of a remote, run by real workers with the real Codex, and what happens when one is stopped, cut off or robbed of its lease."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import made
import pytest
from agent import executor, initializer, sessions, write_file
from conftest import git
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from program import autonomous, commits, running

from gitautonomous import scripted
from gitautonomous.config import Settings
from gitautonomous.fleet import ORDER, table
from gitautonomous.git import Repository
from gitautonomous.lease import BranchMoved, Hold, Move, Moved, Remote, Who
from gitautonomous.model import Options, Task, write_task
from gitautonomous.objects import Objects
from gitautonomous.screen import Screen
from gitautonomous.scripted import Server
from gitautonomous.worker import Job, refusal

pytestmark = pytest.mark.usefixtures("codex_home")

SCHEMA = Path(__file__).parent.parent / "docs" / "schema" / "fleet.json"
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
            executor("todo", "write a", "ls -A > a"),
            executor("todo", "write b", write_file("b", "2")),
        )
    )
    (agent_repo / ".worktreeinclude").write_text(".env\n")
    (agent_repo / ".gitignore").write_text(".env\n")
    git(agent_repo, "add", ".")
    git(agent_repo, "commit", "--quiet", "-m", "Secrets")
    git(agent_repo, "push", "--quiet", "origin", "main")
    ended = autonomous(agent_repo, *GOAL)
    assert (ended.status, ended.out) == (0, "todo: queued on origin\n"), ended.err
    assert git(agent_repo, "branch", "--list", "autonomous/*") == ""
    (task,) = fleet(agent_repo)
    assert (task["state"], task["worker"], task["epoch"]) == ("queued", None, 0)
    worker = machine(bare, "worker")
    (worker / ".env").write_text("a secret of this machine\n")
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
    assert ".env" not in git(bare, "show", "autonomous/todo:a").split()


def hanging(*commands: str) -> list[Any]:
    """One command, since Codex runs several of them at the same time."""
    return [{"exec": "; ".join([*commands, "echo here > started", "sleep 300"])}, {"say": "never"}]


def in_worktree(clone: Path, name: str) -> Callable[[], bool]:
    return (clone.parent / "repo.autonomous" / "todo" / name).exists


def test_a_worker_that_is_told_to_stop_commits_and_hands_over(
    agent_repo: Path, bare: Path, model: Server, wait_until: Callable[..., None]
) -> None:
    model.play(
        sessions(
            initializer("todo", ["write a"]),
            hanging("echo half > a"),
            executor("todo", "write a", write_file("a", "whole")),
        )
    )
    autonomous(agent_repo, *GOAL)
    first, second = machine(bare, "first"), machine(bare, "second")
    with running(first, "worker") as worker:
        wait_until(in_worktree(first, "started"))
        worker.send_signal(signal.SIGTERM)
        _, said = worker.communicate()
    assert (worker.returncode, said.decode().splitlines()) == (
        143,
        ["todo: claimed, epoch 1", "todo: 'todo' was interrupted; everything it did is committed"],
    )
    (task,) = fleet(agent_repo)
    assert (task["state"], task["reason"], task["sessions"]) == ("queued", "handed over", 2)
    assert git(bare, "show", "autonomous/todo:a") == "half"
    ended = autonomous(second, "worker", "--task", "todo")
    assert (ended.status, ended.err.splitlines()) == (
        0,
        ["todo: claimed, epoch 2", "todo: finished, its one item is ticked"],
    )
    assert git(bare, "show", "autonomous/todo:a") == "whole"


def test_what_a_person_pushes_during_a_session_is_taken_in(
    agent_repo: Path, bare: Path, model: Server, wait_until: Callable[..., None]
) -> None:
    model.play(
        sessions(
            initializer("todo", ["write a", "write b"]),
            executor(
                "todo",
                "write a",
                "touch started; while [ ! -e go ]; do sleep 0.05; done; rm go started",
                write_file("a", "1"),
            ),
            executor("todo", "write b", write_file("b", "2")),
        )
    )
    autonomous(agent_repo, *GOAL)
    clone, person = machine(bare, "worker"), machine(bare, "person")
    with running(clone, "worker", "--once") as worker:
        wait_until(in_worktree(clone, "started"))
        git(person, "pull", "--quiet", "origin", "autonomous/todo")
        (person / "mine").write_text("by hand\n")
        listed = person / ".autonomous/todo/task_list.md"
        listed.write_text(listed.read_text().replace("- [ ] write b", "- [ ] write b\n- [x] mine"))
        git(person, "add", ".")
        git(person, "commit", "--quiet", "-m", "By hand")
        git(person, "push", "--quiet", "origin", "HEAD:autonomous/todo")
        (clone.parent / "repo.autonomous" / "todo" / "go").touch()
        _, said = worker.communicate()
    assert worker.returncode == 0, said
    assert commits(bare, "main..autonomous/todo")[:2] == ["Start todo", "todo: task list of 2 items"]
    assert sorted(commits(bare, "main..autonomous/todo")[2:4]) == ["By hand", "todo: write a"]
    assert commits(bare, "main..autonomous/todo")[5:] == ["todo: write b"]
    assert git(bare, "ls-tree", "--name-only", "autonomous/todo").split() == [
        ".autonomous",
        "README.md",
        "a",
        "b",
        "mine",
    ]
    assert fleet(agent_repo)[0]["done"] == 3


def test_a_worker_that_lost_its_lease_stops_its_agent_and_keeps_its_work_here(
    agent_repo: Path, bare: Path, model: Server, wait_until: Callable[..., None]
) -> None:
    model.play(sessions(initializer("todo", ["write a"]), hanging("echo mine > a")))
    autonomous(agent_repo, *GOAL)
    robbed = machine(bare, "robbed")
    with running(robbed, "worker", "--once", env={**os.environ, "GIT_AUTONOMOUS_LEASE_TERM": "3"}) as worker:
        wait_until(in_worktree(robbed, "started"))
        repository = Repository.discover(machine(bare, "thief"))
        hub = Remote(repository, Objects(repository.common_dir), "origin")
        tip = git(bare, "rev-parse", "autonomous/todo")

        def stolen() -> bool:
            try:
                Hold(hub, "todo").claim(hub.look()["todo"], Who("x", "thief"), 600, "refs/heads/autonomous/todo", tip)
            except Moved:
                return False  # the owner renewed it at this very moment
            return True

        wait_until(stolen)
        _, said = worker.communicate()
    kept = "refs/autonomous/backup/todo/1"
    assert (worker.returncode, said.decode().splitlines()) == (
        1,
        [
            "todo: claimed, epoch 1",
            "todo: the lease of 'todo' is lost: thief has it (epoch 2); its agent is stopped",
            (
                "todo: the lease of 'todo' is lost: thief has it (epoch 2); "
                f"what this worker did and could not push is kept at {kept}"
            ),
        ],
    )
    assert git(bare, "rev-parse", "autonomous/todo") == tip
    assert git(robbed, "show", f"{kept}:a") == "mine"
    assert git(robbed, "branch", "--list", "autonomous/*") == ""


def test_a_worker_that_takes_over_says_from_whom(agent_repo: Path, bare: Path, model: Server) -> None:
    model.play(sessions(initializer("todo", ["write a"]), executor("todo", "write a", write_file("a", "1"))))
    autonomous(agent_repo, *GOAL)
    repository = Repository.discover(machine(bare, "silent"))
    hub = Remote(repository, Objects(repository.common_dir), "origin")
    tip = git(bare, "rev-parse", "autonomous/todo")
    Hold(hub, "todo").claim(hub.look()["todo"], Who("x", "node7"), 1.0, "refs/heads/autonomous/todo", tip)
    ended = autonomous(machine(bare, "worker"), "worker", "--task", "todo")
    assert ended.err.splitlines() == [
        "todo: taken over from node7, which was silent for 1 s, epoch 2",
        "todo: finished, its one item is ticked",
    ]


def test_killed_with_everything_a_worker_goes_on_in_the_same_clone_at_once(
    agent_repo: Path, bare: Path, model: Server, wait_until: Callable[..., None]
) -> None:
    model.play(
        sessions(
            initializer("todo", ["write a"]),
            hanging("echo half > a"),
            executor("todo", "write a", write_file("b", "1")),
        )
    )
    autonomous(agent_repo, *GOAL)
    clone = machine(bare, "worker")
    with running(clone, "worker") as worker:
        wait_until(in_worktree(clone, "started"))
        (runner,) = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
        agents = Path(f"/proc/{runner}/task/{runner}/children").read_text().split()
        for victim in (str(worker.pid), runner, *agents):
            with suppress(ProcessLookupError):
                os.kill(int(victim), signal.SIGKILL)
        worker.communicate()
    ended = autonomous(clone, "worker", "--once")
    assert (ended.status, ended.err.splitlines()) == (
        0,
        ["todo: claimed, epoch 2", "todo: finished, its one item is ticked"],
    )
    assert git(bare, "show", "autonomous/todo:a") == "half"


# -- without an agent ------------------------------------------------------------------------------------------------------------------------------


def task(options: Options, *proposed: str) -> Task:
    return Task("todo", "goal", "main", "0" * 40, "2026-01-01T00:00:00Z", options, proposed)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (Options(checks=("make test",), model="gpt-6", max_sessions=3), ""),
        (Options(network=True), "it asks for full access, which a worker never gives"),
        (Options(config=("sandbox_mode=x",)), "it brings settings for Codex (-c), which a worker never takes"),
        (Options(profile="wide"), "it names a Codex profile, which a worker never takes"),
        (Options(sandbox_network=True), "it asks for the network, and autonomous.workerNetwork is not set"),
        (Options(checks=("make test", "curl x")), "its check 'curl x' is not among autonomous.workerChecks"),
    ],
)
def test_a_pushed_task_gets_only_what_the_worker_allows(options: Options, reason: str) -> None:
    assert refusal(task(options), Settings(worker_checks=("make *",))) == reason


def test_the_worker_may_allow_any_check_and_the_network_in_the_sandbox() -> None:
    assert refusal(task(Options(checks=("x",), sandbox_network=True), "y"), Settings(worker_network=True)) == ""


def test_a_task_that_wants_too_much_is_left_to_others(agent_repo: Path, bare: Path) -> None:
    greedy = made.start(agent_repo, "todo", worktree=False)
    place = made.place_of(agent_repo)
    content = write_task(replace(greedy, options=Options(network=True))).encode()
    tree = place.objects.with_files(place.objects.commit(place.tip("todo")).tree, {greedy.file: content})
    place.objects.write_commit(place.ref("todo"), "More", tree, [place.tip("todo")], identity="A <a@example.org>")
    assert autonomous(agent_repo, "submit", "--task", "todo").status == 0
    ended = autonomous(machine(bare, "worker"), "worker", "--once")
    assert (ended.status, ended.err) == (
        0,
        "todo: left to others: it asks for full access, which a worker never gives\n",
    )
    assert fleet(agent_repo)[0]["state"] == "queued"


@pytest.mark.parametrize(("options", "joined"), [(Options(max_sessions=9), True), (Options(network=True), False)])
def test_what_is_pushed_while_a_task_runs_widens_nothing(
    agent_repo: Path, bare: Path, options: Options, joined: bool
) -> None:
    known = made.finished(agent_repo, "todo", {"a": "1\n"}, left=1)
    assert autonomous(agent_repo, "submit", "--task", "todo").status == 0
    place = made.place_of(machine(bare, "worker"))
    objects, ref = place.objects, place.ref("todo")
    hub = Remote(place.repository, objects, "origin")
    tip = hub.branch(ref)
    assert tip is not None
    Hold(hub, "todo").claim(hub.look()["todo"], Who("w", "host"), 600, ref, tip)

    def commit(path: str, content: str) -> str:
        tree = objects.with_files(objects.commit(tip).tree, {path: content.encode()})
        return objects.write_commit(None, path, tree, [tip], identity="A <a@example.org>")

    mine, theirs = commit("b", "2\n"), commit(known.file, write_task(replace(known, options=options)))
    place.repository.update_ref(ref, mine, "0" * 40, "session")
    hub.swap([Move(ref, tip, theirs)])
    job = Job(place, Hold(hub, "todo"), Screen(io.StringIO(), quiet=True))
    with pytest.raises(BranchMoved):
        job._push()
    assert job._join() is joined
    assert (objects.tip(ref) == mine) is not joined
    if joined:
        job._push()
        assert git(bare, "rev-parse", "autonomous/todo^1", "autonomous/todo^2").split() == [mine, theirs]


def test_a_machine_that_cannot_reach_the_model_claims_nothing(
    agent_repo: Path, bare: Path, area: Path, model: Server
) -> None:
    autonomous(agent_repo, *GOAL)
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    home = scripted.codex_home(area / "nobody", port, request_max_retries=1, stream_max_retries=1)
    ended = autonomous(machine(bare, "worker"), "worker", CODEX_HOME=str(home))
    assert (ended.status, ended.err.splitlines()[0]) == (
        1,
        "error: this machine cannot work: Codex cannot reach its model provider now",
    )
    assert fleet(agent_repo)[0]["epoch"] == 0


def test_a_remote_that_is_away_is_said(agent_repo: Path, bare: Path) -> None:
    clone = machine(bare, "worker")
    bare.rename(bare.with_name("away.git"))
    ended = autonomous(clone, "worker", "--once")
    assert (ended.status, ended.err.splitlines()) == (
        1,
        [
            f"error: cannot reach the remote 'origin': '{bare}' does not appear to be a git repository",
            "hint: git ls-remote origin",
        ],
    )


def test_what_a_worker_has_or_may_take_is_not_resumed_in_another_clone(agent_repo: Path, bare: Path) -> None:
    autonomous(agent_repo, *GOAL)
    clone = machine(bare, "third")

    def refused() -> str:
        ended = autonomous(clone, "resume", "todo")
        assert ended.status == 1 and git(clone, "branch", "--list", "autonomous/*") == ""
        error, hint = ended.err.splitlines()
        back = "to work on it here: git autonomous submit --remote origin --withdraw todo"
        assert hint == f"hint: git autonomous list --remote origin # {back}"
        return error

    assert refused() == "error: 'todo' is queued on origin, where a worker may take it at any time"
    repository = Repository.discover(machine(bare, "worker"))
    hold = Hold(Remote(repository, Objects(repository.common_dir), "origin"), "todo")
    branch = "refs/heads/autonomous/todo"
    tip = hold.remote.branch(branch)
    assert tip is not None
    hold.claim(hold.remote.look()["todo"], Who("a", "node7"), 600.0, branch, tip)
    record = hold.record()
    assert record is not None
    until = time.strftime("%H:%M", time.localtime(record.lease.at + 600))
    assert (
        refused()
        == f"error: 'todo' is being worked on by node7, which has it until {until}, or longer when it renews that"
    )
    hold.publish(tip, record.lease.left("paused", "as asked"))
    autonomous(clone, "resume", "todo", CODEX_HOME="/nowhere")
    assert git(clone, "rev-parse", "autonomous/todo") == tip
    assert autonomous(clone, "submit", "--task", "todo").status == 0
    assert autonomous(clone, "resume", "todo").err.startswith("error: 'todo' is queued on origin")
    bare.rename(bare.with_name("away.git"))
    ended = autonomous(clone, "resume", "todo", CODEX_HOME="/nowhere")
    assert ended.err.splitlines()[0] == (
        f"cannot reach the remote 'origin': '{bare}' does not appear to be a git repository;"
        " whether a worker has 'todo' is not known"
    )
    assert "/nowhere" in ended.err  # it went on, until Codex was asked


def test_a_task_that_was_only_pushed_is_never_taken(agent_repo: Path, bare: Path) -> None:
    made.finished(agent_repo, "private", {"a": "1\n"}, left=1)
    git(agent_repo, "push", "--quiet", "origin", "autonomous/private")
    assert fleet(agent_repo) == []
    ended = autonomous(agent_repo, "submit", "--task", "private")
    assert (ended.status, ended.out) == (0, "private: queued on origin\n"), ended.err
    (task,) = fleet(agent_repo)
    assert (task["name"], task["state"], task["done"], task["total"], task["sessions"]) == (
        "private",
        "queued",
        1,
        2,
        2,
    )
    ended = autonomous(agent_repo, "submit", "--withdraw", "private")
    assert (ended.status, ended.out, fleet(agent_repo)) == (0, "private: taken back from the fleet\n", [])


def test_names_are_told_apart_on_the_remote(agent_repo: Path, bare: Path) -> None:
    other = machine(bare, "other")
    assert autonomous(agent_repo, "submit", "Do it").out == "do-it: queued on origin\n"
    assert autonomous(other, "submit", "Do it").out == "do-it-2: queued on origin\n"
    ended = autonomous(other, "submit", "Do it", "--name", "do-it")
    assert (ended.status, ended.err.splitlines()[0]) == (1, "error: there is a task named 'do-it' already")


def test_what_cannot_be_done_is_said(agent_repo: Path, bare: Path) -> None:
    cases = {
        ("list", "--remote", "nowhere"): (2, "git knows no remote 'nowhere' here", "git autonomous list --remote origin"),
        ("submit", "x", "--task", "y"): (2, "GOAL, --task and --withdraw exclude each other", "git autonomous submit -h"),
        ("submit", "--withdraw", "y"): (1, "origin has no task 'y' of a fleet", "git autonomous list --remote origin"),
        ("submit", "--task", "y"): (1, "there is no task 'y', neither here nor on origin", "git autonomous list"),
        ("worker", "--idle", "soon"): (
            2, "--idle must be a duration such as 90, 10m or 2h, not 'soon'", "git autonomous worker --idle 10m",
        ),
        ("fleet", "start"): (2, "say how many: --workers N, or --per-task", "git autonomous fleet start --workers 4"),
    }  # fmt: skip
    for arguments, (status, message, hint) in cases.items():
        ended = autonomous(agent_repo, *arguments)
        assert (ended.status, ended.err) == (status, f"error: {message}\nhint: {hint}\n")


def test_doctor_says_whether_a_remote_is_fit(agent_repo: Path, bare: Path) -> None:
    def findings() -> list[tuple[str, bool | None]]:
        found = json.loads(autonomous(agent_repo, "doctor", "--remote", "origin", "--json").out)["findings"]
        return [(each["name"], each["ok"]) for each in found if each["name"] in ("remote", "leases", "atomic")]

    assert findings() == [("remote", True), ("leases", True), ("atomic", True)]
    git(bare, "config", "receive.hideRefs", "refs/autonomous")
    assert findings() == [("remote", True), ("leases", None), ("atomic", True)]
    git(bare, "config", "receive.advertiseAtomic", "false")
    assert findings() == [("remote", True), ("leases", False)]
    assert git(bare, "for-each-ref", "--format=%(refname)") == "refs/heads/main"


def test_the_table_of_a_fleet_is_as_wide_as_the_terminal() -> None:
    task = dict.fromkeys(ORDER) | {
        "name": "todo", "state": "running", "host": "node17.cluster.example", "job": "slurm:1234", "epoch": 2, "done": 3,
        "total": 12, "sessions": 5, "heartbeat": "2026-01-01T00:00:00Z", "reason": "3 sessions in a row ticked nothing",
    }  # fmt: skip
    for width in (120, 80, 50, 30):
        lines = table([task], width=width, colour=False, ascii=False, now=1767225600.0).splitlines()
        assert len(lines) == 2 and max(map(len, lines)) <= width, lines


def test_the_fleet_is_listed_as_its_schema_says_and_for_people(agent_repo: Path, bare: Path) -> None:
    autonomous(agent_repo, *GOAL)
    validator = Draft202012Validator(json.loads(SCHEMA.read_text()))
    assert (
        list(validator.iter_errors(json.loads(autonomous(agent_repo, "list", "--remote", "origin", "--json").out)))
        == []
    )
    ended = autonomous(agent_repo, "list", "--remote", "origin")
    assert [line.split() for line in ended.out.splitlines()] == [
        ["task", "state", "sessions", "epoch", "heartbeat"], ["todo", "queued", "0", "0", "now"],
    ]  # fmt: skip
