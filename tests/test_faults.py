"""What may fail while nobody looks, and what must then still hold. Killing the runner itself is in test_crashes.py and test_machine.py."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent import executor, initializer, sessions, write_file
from conftest import git
from crashes import NAME, RESUME, START, STRACE, WORK, World
from program import PROGRAM, autonomous, commits, listed, running

from gitautonomous import process
from gitautonomous.journal import Journal
from gitautonomous.scripted import Server, Step

REAL = ("start", "Write a and b", "--name", "todo", "--delay", "0")
ONE = (*START, "--plan")
"""One session, and no limit that the task would keep."""

MANY = int(os.environ.get("MANY", "8"))
"""So many at once in the suite; `MANY=50 pytest tests/test_faults.py` is what is promised."""

Wait = Callable[[Callable[[], object]], None]


@pytest.fixture
def worktree(agent_repo: Path) -> Path:
    return agent_repo.parent / "repo.autonomous" / "todo"


@pytest.fixture
def world(area: Path) -> Iterator[World]:
    """A task whose agent is the stand-in. At the end everything that must always hold is looked at."""
    world = World(area / "world")
    yield world
    assert list(world.violations()) == []


def journal(repo: Path) -> list[dict[str, object]]:
    lines = (repo / ".git/autonomous/tasks/todo/journal.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def alive(pattern: str) -> list[str]:
    """The command lines of processes that hold `pattern`."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if pattern in line]


# -- Codex dies, hangs, leaves something behind --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("codex_home")
def test_a_killed_codex_leaves_its_work_in_a_commit_and_its_thread_goes_on(
    agent_repo: Path, worktree: Path, model: Server, wait_until: Wait
) -> None:
    model.play(
        sessions(
            initializer("todo", ["write a"]),
            [
                {"exec": f"echo half > a; touch started; sleep 271.8{os.getpid()}"},
                *executor("todo", "write a", write_file("a", "whole")),
            ],
        )
    )
    with running(agent_repo, *REAL) as runner:
        wait_until((worktree / "started").exists)
        codex = [record for record in journal(agent_repo) if record["event"] == "started"][-1]
        os.kill(int(str(codex["pid"])), signal.SIGKILL)
        _, err = runner.communicate()
    assert runner.returncode == 0, err
    assert commits(agent_repo, "main..autonomous/todo") == [
        "Start todo", "todo: task list of 1 item", "todo: interrupted: Codex was ended by SIGKILL", "todo: write a",
    ]  # fmt: skip
    assert git(agent_repo, "show", "autonomous/todo~1:a") == "half"
    threads = commits(agent_repo, "main..autonomous/todo", "%(trailers:key=Codex-Thread,valueonly)")
    assert len({thread for thread in threads[-4:] if thread}) == 1
    assert alive(f"271.8{os.getpid()}") == []


@pytest.mark.usefixtures("codex_home")
def test_a_model_that_falls_silent_is_ended_and_its_thread_goes_on(agent_repo: Path, model: Server) -> None:
    stalls: list[Step] = [
        {"delay": 100},
        {"say": "I go on.", "exec": "sed -i 's/- \\[ \\]/- [x]/' .autonomous/todo/task_list.md"},
    ]
    model.play(sessions(initializer("todo", ["write a"]), [{"exec": "echo 1 > a"}, *stalls]))
    ended = autonomous(agent_repo, *REAL, GIT_AUTONOMOUS_SILENCE_TIMEOUT="4")
    assert (ended.status, ended.out) == (0, "todo: finished, its one item is ticked\n"), ended.err
    outcomes = commits(
        agent_repo, "main..autonomous/todo", "%(trailers:key=Autonomous-Outcome,valueonly,separator=%x20)"
    )
    assert outcomes == ["completed", "completed", "timed-out", "completed"]
    threads = commits(
        agent_repo, "autonomous/todo~2..autonomous/todo", "%(trailers:key=Codex-Thread,valueonly,separator=%x20)"
    )
    assert len(set(threads)) == 1


def test_a_codex_that_never_begins_is_ended_and_counted(world: World) -> None:
    mute = world.area / "codex"
    mute.write_text(mute.read_text().replace(f"*) exec {sys.executable}", f"*) sleep 314.1{os.getpid()}; exec"))
    world.environment |= {"GIT_AUTONOMOUS_STARTUP_TIMEOUT": "0.3", "GIT_AUTONOMOUS_MAX_FAILURES": "1"}
    ended = world.run(*START)
    assert (ended.status, ended.out) == (
        3,
        "todo: failed, 1 attempt in a row failed, the last one: Codex did not begin the turn in time\n",
    ), ended
    assert alive(f"314.1{os.getpid()}") == []


@pytest.mark.usefixtures("codex_home")
@pytest.mark.parametrize("access", [(), ("--network",)], ids=["sandbox", "full access"])
def test_what_a_session_or_a_check_leaves_running_is_ended_before_anything_is_committed(
    agent_repo: Path, model: Server, access: tuple[str, ...]
) -> None:
    mine = f"sleep 0.1{os.getpid():07}"

    def daemon(file: str) -> str:
        loop = f'trap "" TERM; while :; do date +%N > {file}; {mine}; done'
        return f"env -i PATH=$PATH setsid sh -c '{loop}' >/dev/null 2>&1 &"

    model.play(
        sessions(
            initializer("todo", ["write a"], [daemon("from-check")]),
            executor(
                "todo",
                "write a",
                write_file("a", "1"),
                f"({daemon('from-agent')}); until test -s from-agent; do sleep 0.05; done",
            ),
        )
    )
    ended = autonomous(agent_repo, *REAL, *access)
    assert (ended.status, ended.out) == (0, "todo: finished, its one item is ticked and the checks pass\n"), ended.err
    assert alive(mine) == []
    tree = git(agent_repo, "ls-tree", "-r", "--name-only", "autonomous/todo").split()
    assert [path for path in tree if not path.startswith(".autonomous/")] == ["README.md", "a", "from-agent"]
    worktree = agent_repo.parent / "repo.autonomous" / "todo"
    assert git(worktree, "status", "--porcelain") == "" and not (worktree / "from-check").exists()


@pytest.mark.parametrize(
    ("step", "status", "said"),
    [
        ({"status": 404, "body": {"error": {"code": "model_not_found", "message": "The model 'x' does not exist"}}}, 3, "does not exist"),
        ({"status": 429, "body": {"error": {"type": "insufficient_quota", "message": "no"}}}, 3, "Quota exceeded"),
    ],
    ids=["unknown model", "quota"],
)  # fmt: skip
def test_what_only_a_person_can_mend_stops_the_task_at_once(
    agent_repo: Path, codex_home: Path, model: Server, step: Step, status: int, said: str
) -> None:
    model.play(lambda request: step)
    ended = autonomous(agent_repo, *REAL)
    assert (ended.status, ended.out.startswith("todo: failed, "), said in ended.out) == (status, True, True), ended
    assert [record["event"] for record in journal(agent_repo)].count("attempt") == 1


# -- the runner's process id, forged -------------------------------------------------------------------------------------------------------------


def test_a_stranger_with_the_process_id_of_a_dead_codex_is_left_alone(world: World) -> None:
    world.run(*ONE)
    (attempt,) = [record for record in records(world) if record["event"] == "attempt"]
    tip = git(world.repository, "rev-parse", world.branch)
    with subprocess.Popen(["sleep", "100"]) as stranger:
        who = process.identify(stranger.pid)
        assert who is not None
        book = Journal(world.local / "journal.jsonl")
        same = {key: attempt[key] for key in ("thread", "prompt", "offset", "full", "guard")}
        book.append("attempt", id="f" * 32, number=2, role="executor", tip=tip, **same)
        book.append("started", id="f" * 32, pid=who.pid, start=who.start - 1, boot=who.boot)
        found = list(world.finish())
        spared = process.alive(who)
        stranger.kill()
    assert (found, spared) == ([], True)


# -- the disk ------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blocks", [1, 3, 8])
def test_a_full_disk_leaves_the_old_state_valid_and_nothing_restarts_for_ever(world: World, blocks: int) -> None:
    """A limit on the size of files fails the write that would pass it: of the journal, of a transcript, of git."""
    assert world.run(*ONE).status == 0

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (blocks * 512, blocks * 512))

    before = world.local.joinpath("journal.jsonl").read_bytes()
    done = subprocess.run(
        [*PROGRAM, *RESUME],
        cwd=world.repository,
        env={**os.environ, **world.environment, "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=limited,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode in (0, 1, 3), done.stderr
    assert "Traceback" not in done.stderr
    assert world.local.joinpath("journal.jsonl").read_bytes().startswith(before)
    assert sum(record["event"] == "attempt" for record in records(world)) <= 4
    assert list(world.violations()) == []
    assert list(world.finish()) == []


def records(world: World) -> list[dict[str, object]]:
    """The whole lines of the journal."""
    whole = (world.local / "journal.jsonl").read_bytes().rpartition(b"\n")[0]
    return [json.loads(line) for line in whole.split(b"\n")]


OWN_DISK = ("unshare", "--map-root-user", "--mount", "--propagation", "private")

HAS_OWN_DISK = shutil.which("unshare") and subprocess.run([*OWN_DISK, "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not HAS_OWN_DISK, reason="no small disk: this machine lets nobody mount in a name space of his own")
def test_an_agent_that_fills_the_disk_stops_its_task_and_loses_nothing(area: Path) -> None:
    """Codex's sandbox needs name spaces for users as this test does: where it works there is a small disk."""
    script = 'mount -t tmpfs -o size=130m none "$1" && exec "$2" "$3" "$1"'
    program = Path(__file__).with_name("full_disk.py")
    command = [*OWN_DISK, "sh", "-c", script, "sh", str(area), sys.executable, str(program)]
    assert subprocess.run(command, capture_output=True, text=True, check=False).stdout == "\n"


@pytest.mark.skipif(not STRACE, reason="no strace: apt-get install strace")
def test_objects_reach_the_disk_before_their_ref_and_the_ref_before_the_journal(world: World) -> None:
    """So that a power loss takes at most the running session's uncommitted files."""
    trace = world.area / "trace"
    calls = "trace=fsync,fdatasync,rename,renameat,renameat2,link,linkat"
    assert STRACE is not None
    done = world.begin(STRACE, "-f", "-qq", "-y", "-s", "300", "-o", str(trace), "-e", calls, *PROGRAM, *START).wait()
    assert done == 0
    done_calls = [line for line in trace.read_text().splitlines() if line.endswith("= 0")]
    lines = [line.partition(" ")[2].lstrip() for line in done_calls]
    common = str(world.repository / ".git")
    moved = [number for number, line in enumerate(lines) if f'"{common}/refs/heads/{world.branch}"' in line]
    assert len(moved) == 4  # the start, and three sessions
    for at, after in zip(moved, [*moved[1:], len(lines)], strict=True):
        assert lines[at - 1].startswith("fsync(") and f"refs/heads/{world.branch}.lock" in lines[at - 1]
        if at != moved[0]:
            flushed = [line for line in lines[at:after] if line.startswith("fsync(") and "journal.jsonl" in line]
            assert flushed, lines[at:after]
    for number, line in enumerate(lines):
        found = re.search(rf'(?:link|rename)\w*\((?:AT_FDCWD[^,]*, )?"({common}/objects/[^"]*tmp[^"]*)"', line)
        if found:
            written = re.escape(found[1])
            assert any(
                re.match(rf"fsync\(\d+<{written}>", earlier) for earlier in lines[max(0, number - 6) : number]
            ), line
            assert number < moved[-1]


# -- many at once --------------------------------------------------------------------------------------------------------------------------------


def together(
    world: World, count: int, *arguments: str, before_last: Callable[[], object] = lambda: None
) -> list[tuple[int, str]]:
    """Run the program `count` times at once. Returns (status, error message) of each. `before_last`: what is done when all but one have ended."""
    environment = {**os.environ, **world.environment}
    runs = [running(world.repository, *arguments, env=environment, stdout=subprocess.DEVNULL) for _ in range(count)]
    deadline = time.monotonic() + 120
    while sum(run.poll() is None for run in runs) > 1:
        assert time.monotonic() < deadline, "more than one is at work"
        time.sleep(0.05)
    before_last()
    ended = [(run.communicate()[1].decode(), run.returncode) for run in runs]
    return sorted(
        (status, re.sub(r"\(process .*?\)", "(process …)", "".join(re.findall("^error: .*", err, re.MULTILINE))))
        for err, status in ended
    )


def test_of_many_that_start_one_task_exactly_one_does_and_the_others_say_why(world: World) -> None:
    ended = together(world, MANY, *START)
    assert [status for status, _ in ended] == [0] + [1] * (MANY - 1)
    assert {message for _, message in ended[1:]} == {"error: there is a task named 'todo' already"}
    assert list(world.finish()) == []


def test_of_many_that_resume_one_task_exactly_one_does_and_the_others_say_who_holds_it(world: World) -> None:
    world.run(*ONE)
    shutil.rmtree(world.worktree)
    go = world.area / "go"
    world.environment["STANDIN_WORK"] = f"until [ -e {go} ]; do sleep 0.1; done; {WORK}"
    ended = together(world, MANY, *RESUME, before_last=go.touch)
    assert ended == [(0, "")] + [(1, "error: 'todo' is already being worked on (process …)")] * (MANY - 1)
    assert list(world.finish()) == []


def test_the_same_goal_started_several_times_at_once_is_as_many_tasks(world: World) -> None:
    del world.environment["STANDIN_ALONE"]  # several agents, each alone in its own worktree
    ended = together(world, 6, "start", "Do it", "--delay", "0", "--max-sessions", "1")
    assert ended == [(0, "")] * 6
    names = sorted(task["name"] for task in listed(world.repository))
    assert names == ["do-it", "do-it-2", "do-it-3", "do-it-4", "do-it-5", "do-it-6"]


# -- people at work in the same place ------------------------------------------------------------------------------------------------------------


def hanging(world: World, wait_until: Wait) -> subprocess.Popen[bytes]:
    """A runner whose agent has done its work and does not end."""
    world.environment["STANDIN_HANG"] = "100"
    runner = world.begin(*PROGRAM, *RESUME)
    wait_until(lambda: "- [x]" in (world.worktree / f".autonomous/{NAME}/task_list.md").read_text())
    del world.environment["STANDIN_HANG"]
    return runner


def test_what_a_person_commits_during_a_session_is_kept_below_its_commit(world: World, wait_until: Wait) -> None:
    world.run(*ONE)
    runner = hanging(world, wait_until)
    (world.worktree / "mine").write_text("by hand\n")
    git(world.worktree, "add", "mine")
    git(world.worktree, "commit", "--quiet", "-m", "Mine")
    runner.terminate()
    assert runner.wait() == 143
    assert commits(world.repository, f"main..{world.branch}")[-2:] == ["Mine", "todo: interrupted: Step 1 of the work"]
    assert git(world.repository, "show", "--format=", "--name-only", f"{world.branch}~1") == "mine"
    assert list(world.finish()) == []


def test_a_session_whose_record_is_amended_away_still_counts(area: Path) -> None:
    world = World(area / "world")
    world.run(*ONE)
    done = git(world.repository, "rev-parse", world.branch)
    (world.worktree / "mine").write_text("1\n")
    git(world.worktree, "add", "mine")
    git(world.worktree, "commit", "--quiet", "--amend", "-m", "My own words")
    ended = world.run(*RESUME)
    said = (
        f"the record of session 1 was amended away; the commit is kept, and the session still counts (git show {done})"
    )
    assert (ended.status, ended.err.splitlines().count(said)) == (0, 1), ended.err
    assert commits(world.repository, f"main..{world.branch}")[:2] == ["Start todo", "My own words"]
    form = (
        "%(trailers:key=Autonomous-Session,valueonly,separator=) %(trailers:key=Autonomous-Tokens,valueonly,separator=)"
    )
    assert commits(world.repository, f"main..{world.branch}", form) == ["0 0/0", " ", "2 1050/2100", "3 1050/3150"]
    assert git(world.repository, "show", f"{world.branch}:mine") == "1"


def test_gc_and_a_pack_of_all_refs_in_the_middle_of_a_session_lose_nothing(world: World, wait_until: Wait) -> None:
    world.run(*ONE)
    runner = hanging(world, wait_until)
    git(world.repository, "gc", "--quiet")
    git(world.repository, "pack-refs", "--all")
    git(world.repository, "worktree", "prune")
    runner.terminate()
    assert runner.wait() == 143
    assert list(world.finish()) == []


@pytest.mark.parametrize("action", ["rebase", "switch", "merge"])
def test_a_person_in_the_middle_of_something_else_stops_the_next_resume_and_loses_nothing(
    world: World, action: str
) -> None:
    world.run(*ONE)
    git(world.repository, "commit", "--quiet", "--allow-empty", "-m", "News")
    (world.worktree / "README.md").write_text("theirs\n")
    git(world.worktree, "commit", "--quiet", "-am", "Theirs")
    (world.repository / "README.md").write_text("ours\n")
    git(world.repository, "commit", "--quiet", "-am", "Ours")
    arguments = {
        "rebase": ("rebase", "main"),
        "switch": ("switch", "--quiet", "-c", "elsewhere"),
        "merge": ("merge", "main"),
    }
    subprocess.run(["git", "-C", str(world.worktree), *arguments[action]], capture_output=True, check=False)
    before = git(world.worktree, "status", "--porcelain=v2", "--branch")
    ended = world.run(*RESUME)
    assert ended.status == 3, ended
    assert re.search("^error: the worktree of 'todo' is (on|in the middle of) .+", ended.err, re.MULTILINE), ended.err
    assert git(world.worktree, "status", "--porcelain=v2", "--branch") == before
    undo = {
        "rebase": ("rebase", "--abort"),
        "switch": ("switch", "--quiet", world.branch),
        "merge": ("merge", "--abort"),
    }
    git(world.worktree, *undo[action])
    assert list(world.finish()) == []


def test_other_worktrees_are_left_alone_even_when_they_are_not_there(world: World) -> None:
    git(world.repository, "worktree", "add", "--quiet", str(world.area / "drive"), "-b", "feature")
    (world.area / "drive").rename(world.area / "unplugged")
    world.run(*ONE)
    shutil.rmtree(world.worktree)
    assert list(world.finish()) == []
    (world.area / "unplugged").rename(world.area / "drive")
    assert git(world.area / "drive", "status", "--porcelain", "--branch") == "## feature"


def test_a_worktree_that_is_deleted_during_a_session_is_named_and_made_again(world: World) -> None:
    world.environment["STANDIN_WORK"] = f"rm -r {world.worktree}"
    ended = world.run(*ONE)
    assert (ended.status, ended.err.splitlines()[-2]) == (3, f"error: the worktree {world.worktree} is gone")
    world.environment["STANDIN_WORK"] = WORK
    assert list(world.finish()) == []


@pytest.mark.parametrize("command", ["resume", "start"])
def test_commits_that_only_a_lost_worktree_had_are_kept_before_it_is_made_anew(area: Path, command: str) -> None:
    world = World(area / "world")
    world.run(*ONE)
    git(world.worktree, "switch", "--quiet", "--detach")
    (world.worktree / "mine").write_text("by hand\n")
    git(world.worktree, "add", "mine")
    git(world.worktree, "commit", "--quiet", "-m", "Mine")
    mine = git(world.worktree, "rev-parse", "HEAD")
    if command == "start":
        git(world.repository, "update-ref", "-d", f"refs/heads/{world.branch}")
    shutil.rmtree(world.worktree)
    ended = world.run(*(RESUME if command == "resume" else START))
    assert ended.status == 0, ended
    kept = f"refs/autonomous/backup/{NAME}/1"
    assert f"commits that only the lost worktree had are kept at {kept}\n" in ended.err
    assert git(world.repository, "rev-parse", kept) == mine
    shutil.rmtree(world.worktree)
    assert "are kept at" not in world.run(*RESUME).err


def test_a_git_of_the_user_that_is_at_work_keeps_its_lock(world: World, wait_until: Wait) -> None:
    world.run(*ONE)
    lock = Path(git(world.worktree, "rev-parse", "--absolute-git-dir")) / "index.lock"
    with subprocess.Popen(["sh", "-c", f"exec 9>{lock}; exec sleep 100"]) as git_at_work:
        wait_until(lock.exists)
        ended = world.run(*RESUME)
        git_at_work.kill()
    assert (ended.status, lock.exists()) == (1, True)
    assert f"error: another git process works in {world.worktree}" in ended.err
    assert list(world.finish()) == []


def test_a_lock_on_its_branch_that_a_killed_start_left_does_not_stop_the_next_one(world: World) -> None:
    lock = world.repository / f".git/refs/heads/{world.branch}.lock"
    lock.parent.mkdir()
    lock.touch()
    assert list(world.finish()) == []


def test_a_worktree_is_locked_while_a_runner_works_and_a_lock_of_the_users_stays(world: World) -> None:
    seen = world.area / "seen"
    world.environment["STANDIN_WORK"] = f"git -C {world.repository} worktree list --porcelain >> {seen}; {WORK}"
    world.run(*ONE)
    assert "\nlocked git autonomous works here\n" in seen.read_text()
    listed = ("worktree", "list", "--porcelain")
    assert "locked" not in git(world.repository, *listed)
    git(world.repository, "worktree", "lock", "--reason", "mine", str(world.worktree))
    assert list(world.finish()) == []
    assert git(world.repository, *listed).strip().endswith("\nlocked mine")


def test_other_worktrees_and_locks_with_names_that_are_not_utf8_stop_no_task(world: World) -> None:
    other = os.fsencode(str(world.area)) + b"/J\xfcrgen"
    subprocess.run(["git", "-C", str(world.repository), "worktree", "add", "-q", other], check=True)
    world.run(*ONE)
    lock = ("worktree", "lock", "--reason", b"J\xfcrgen", str(world.worktree))
    subprocess.run(["git", "-C", str(world.repository), *lock], check=True)
    assert list(world.finish()) == []
