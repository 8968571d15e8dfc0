"""Going on: after a stop, a kill, a person's edits, in another clone, in the same thread or a fresh one."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import made
import pytest
from agent import executor, initializer, sessions, write_file
from conftest import git
from program import autonomous, commits, listed, running

from gitautonomous.scripted import Server, Step

pytestmark = pytest.mark.usefixtures("codex_home")

START = ("start", "Write a and b", "--name", "todo", "--delay", "0")


def worktree_of(repo: Path) -> Path:
    return repo.parent / "repo.autonomous" / "todo"


def test_one_session_at_a_time_and_then_the_rest(agent_repo: Path, model: Server) -> None:
    model.play(
        sessions(
            initializer("todo", ["write a", "write b"]),
            executor("todo", "write a", write_file("a", "1")),
            executor("todo", "write b", write_file("b", "2")),
        )
    )
    ended = autonomous(agent_repo, *START, "--plan")
    assert ended.out == "todo: paused, the list has 2 items; have a look at it before the work starts\n"
    assert (listed(agent_repo)[0]["state"], listed(agent_repo)[0]["sessions"]) == ("paused", 1)
    ended = autonomous(agent_repo, "resume", "--no-auto-continue")
    assert (ended.status, ended.out) == (0, "todo: paused, one session ran, as asked\n")
    ended = autonomous(worktree_of(agent_repo), "resume", "--delay", "0")
    assert (ended.status, ended.out) == (0, "todo: finished, all 2 items are ticked\n")
    assert len(commits(agent_repo, "main..autonomous/todo")) == 4


def test_setup_runs_in_the_sandbox_once_an_agent_has_written_something(
    agent_repo: Path, area: Path, model: Server
) -> None:
    model.play(
        sessions(
            initializer("todo", ["write a"]),
            executor("todo", "write a", write_file("a", "1"), write_file("setup.sh", f"touch {area}/outside inside")),
        )
    )
    (agent_repo / ".gitignore").write_text("inside\n")
    (agent_repo / "setup.sh").write_text("touch inside\n")
    git(agent_repo, "add", ".")
    git(agent_repo, "commit", "-qm", "setup")
    git(agent_repo, "config", "autonomous.setup", "sh setup.sh")
    assert autonomous(agent_repo, *START).status == 0
    assert (worktree_of(agent_repo) / "inside").exists()
    shutil.rmtree(worktree_of(agent_repo))
    ended = autonomous(agent_repo, "resume", "todo", "--delay", "0")
    assert "setup: sh setup.sh\nthe setup command 'sh setup.sh' failed" in ended.err
    assert "(in the sandbox, since an agent's files are there)\n" in ended.err
    assert not (area / "outside").exists()
    git(agent_repo, "config", "autonomous.setup", "touch inside")
    shutil.rmtree(worktree_of(agent_repo))
    ended = autonomous(agent_repo, "resume", "todo", "--delay", "0")
    assert ("failed" in ended.err, (worktree_of(agent_repo) / "inside").exists()) == (False, True)


def test_checks_that_pass_on_a_persons_commit_finish_the_task_without_a_session(
    agent_repo: Path, model: Server
) -> None:
    model.play(sessions(initializer("todo", ["write a"]), executor("todo", "write a", write_file("a", "1"))))
    assert autonomous(agent_repo, *START, "--check", "test -f a").status == 0
    worktree = worktree_of(agent_repo)
    (worktree / "a").write_text("2\n")
    git(worktree, "commit", "-qam", "Mend a by hand")
    assert [listed(agent_repo)[0][key] for key in ("state", "check")] == ["paused", "unknown"]
    ended = autonomous(agent_repo, "resume", "todo")
    assert (ended.status, ended.out) == (0, "todo: finished, its one item is ticked and the checks pass\n")
    assert listed(agent_repo)[0]["state"] == "finished"
    git(worktree, "commit", "-q", "--allow-empty", "-m", "Nobody checked this one")
    assert listed(agent_repo)[0]["state"] == "paused"


def test_the_thread_of_a_session_that_was_dropped_is_not_gone_on_with(agent_repo: Path, model: Server) -> None:
    model.play(
        sessions(
            initializer("todo", ["write a"]),
            executor("todo", "write a", write_file("a", "1")),
            executor("todo", "write a", write_file("a", "2")),
        )
    )
    assert autonomous(agent_repo, *START).status == 0
    thread = git(agent_repo, "log", "-1", "--format=%(trailers:key=Codex-Thread,valueonly)", "autonomous/todo").strip()
    assert autonomous(agent_repo, "review", "todo", "--rewind-to", "1", "--yes").status == 0
    ended = autonomous(agent_repo, "resume", "todo", "--resume-last", "--delay", "0")
    assert f"the session of thread {thread} was dropped; a fresh one is started\n" in ended.err
    assert git(agent_repo, "show", "autonomous/todo:a") == "2"


def test_a_pushed_task_that_starts_from_a_commit_of_its_own_gets_no_secrets_and_no_setup_outside_the_sandbox(
    agent_repo: Path, area: Path, model: Server
) -> None:
    model.play(sessions(initializer("todo", ["write a"]), executor("todo", "write a", write_file("a", "1"))))
    git(agent_repo, "switch", "-qc", "hostile")
    (agent_repo / ".worktreeinclude").write_text(".env\n")
    (agent_repo / "setup.sh").write_text(f"touch {area}/outside\n")
    git(agent_repo, "add", ".")
    git(agent_repo, "commit", "-qm", "mine")
    made.start(agent_repo, "todo", base="hostile", worktree=False)
    text = git(agent_repo, "show", "autonomous/todo:.autonomous/todo/task.toml")
    git(agent_repo, "switch", "-q", "autonomous/todo")
    (agent_repo / ".autonomous/todo/task.toml").write_text(text.replace('"hostile"', '"main"') + "\n")
    git(agent_repo, "commit", "-qa", "--amend", "--no-edit")
    git(agent_repo, "switch", "-q", "main")
    (agent_repo / ".gitignore").write_text(".env\n")
    (agent_repo / ".env").write_text("secret\n")
    git(agent_repo, "config", "autonomous.setup", "sh setup.sh")
    ended = autonomous(agent_repo, "resume", "todo", "--delay", "0")
    assert (ended.status, "(in the sandbox, since an agent's files are there)" in ended.err) == (0, True)
    assert ((worktree_of(agent_repo) / ".env").exists(), (area / "outside").exists()) == (False, False)


@pytest.mark.parametrize("instead", ["ln -s ../../outside conf", "echo 1 > conf"])
def test_ignored_files_are_copied_through_no_link_of_the_agents(
    agent_repo: Path, area: Path, model: Server, instead: str
) -> None:
    (area / "outside").mkdir()
    work = executor("todo", "write a", write_file("a", "1"), f"rm -r conf; {instead}")
    model.play(sessions(initializer("todo", ["write a"]), work))
    (agent_repo / "conf").mkdir()
    for path, content in ((".gitignore", "conf/key\n"), (".worktreeinclude", "conf/key\n"), ("conf/shared", "1\n")):
        (agent_repo / path).write_text(content)
    git(agent_repo, "add", ".")
    git(agent_repo, "commit", "-qm", "settings")
    (agent_repo / "conf/key").write_text("secret\n")
    ended = autonomous(agent_repo, *START)
    assert (ended.status, "copied 1 ignored file named by .worktreeinclude\n" in ended.err) == (0, True)
    shutil.rmtree(worktree_of(agent_repo))
    ended = autonomous(agent_repo, "resume", "todo", "--delay", "0")
    assert (ended.status, "copied" in ended.err, list((area / "outside").iterdir())) == (0, False, [])
    assert git(worktree_of(agent_repo), "status", "--porcelain") == ""


def test_a_listing_reads_the_list_of_a_session_that_a_person_amended(repo: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"}, left=1)
    worktree = worktree_of(repo)
    listed_items = worktree / ".autonomous/todo/task_list.md"
    listed_items.write_text(listed_items.read_text().replace("- [ ]", "- [x]"))
    later = {"GIT_COMMITTER_DATE": "2090-01-01T00:00:00Z"}
    subprocess.run(["git", "commit", "-qa", "--amend", "--no-edit"], cwd=worktree, check=True, env=os.environ | later)
    (task,) = listed(repo)
    assert (task["state"], task["done"], task["total"], task["sessions"]) == ("finished", 2, 2, 2)


@pytest.mark.parametrize("command", ["merge", "review", "status", "pr", "log"])
def test_what_only_a_remote_has_is_named_with_the_command_that_brings_it_here(repo: Path, command: str) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    clone = repo.parent / "clone"
    git(repo, "clone", "--quiet", str(repo), str(clone))
    ended = autonomous(clone, command, "todo")
    assert (ended.status, ended.err) == (
        1,
        "error: the task 'todo' is on origin/autonomous/todo, and has no branch here yet\n"
        "hint: git autonomous resume todo\n",
    )


def test_a_persons_commits_and_uncommitted_edits_are_kept(agent_repo: Path, model: Server) -> None:
    model.play(sessions(initializer("todo", ["write a"]), executor("todo", "write a", write_file("a", "1"))))
    autonomous(agent_repo, *START, "--plan")
    worktree = worktree_of(agent_repo)
    (worktree / "committed").write_text("by hand\n")
    git(worktree, "add", "committed")
    git(worktree, "commit", "-m", "A commit of mine")
    (worktree / "uncommitted").write_text("by hand too\n")
    with open(worktree / ".autonomous/todo/task.toml", "a") as file:
        file.write("# not committed, so it does not count\n")
    ended = autonomous(agent_repo, "resume", "todo", "--delay", "0")
    assert ended.status == 0, ended.err
    assert commits(agent_repo, "main..autonomous/todo") == [
        "Start todo", "todo: task list of 1 item", "A commit of mine", "todo: changes by hand", "todo: write a",
    ]  # fmt: skip
    assert git(agent_repo, "show", "--format=", "--name-only", "autonomous/todo~1") == "uncommitted"
    assert "not committed" not in git(agent_repo, "show", "autonomous/todo:.autonomous/todo/task.toml")


def test_the_same_thread_goes_on_when_asked_and_a_forgotten_one_is_said(
    agent_repo: Path, model: Server, codex_home: Path
) -> None:
    model.play(sessions([*initializer("todo", ["write a"]), *executor("todo", "write a", write_file("a", "1"))]))
    autonomous(agent_repo, *START, "--plan")
    first = listed(agent_repo)[0]["thread"]
    ended = autonomous(agent_repo, "resume", "todo", "--resume-last", "--delay", "0")
    assert (ended.status, listed(agent_repo)[0]["thread"]) == (0, first)
    tokens = commits(agent_repo, "main..autonomous/todo", "%(trailers:key=Autonomous-Tokens,valueonly)")
    assert [line for line in tokens if line] == ["0/0", "240/240", "240/480"]


def test_a_thread_that_codex_forgot_is_replaced_by_a_fresh_one(
    agent_repo: Path, model: Server, codex_home: Path
) -> None:
    model.play(sessions(initializer("todo", ["write a"]), executor("todo", "write a", write_file("a", "1"))))
    autonomous(agent_repo, *START, "--plan")
    first = listed(agent_repo)[0]["thread"]
    shutil.rmtree(codex_home / "sessions")
    for file in codex_home.glob("*.sqlite*"):
        file.unlink()
    ended = autonomous(agent_repo, "resume", "todo", "--resume-last", "--delay", "0")
    assert f"Codex no longer knows the thread {first}; a fresh one is started" in ended.err
    assert ended.status == 0
    assert listed(agent_repo)[0]["thread"] != first


def test_a_task_goes_on_in_another_clone_by_its_branch_alone(agent_repo: Path, area: Path, model: Server) -> None:
    model.play(
        sessions(
            initializer("todo", ["write a", "write b"]),
            executor("todo", "write a", write_file("a", "1")),
            executor("todo", "write b"),
        )
    )
    autonomous(agent_repo, *START, "--max-sessions", "2")
    git(agent_repo, "push", "--quiet", str(agent_repo), "autonomous/todo:refs/heads/autonomous/todo")
    clone = area / "elsewhere" / "repo"
    subprocess.run(["git", "clone", "--quiet", str(agent_repo), str(clone)], check=True)
    ended = autonomous(clone, "resume", "todo", "--delay", "0")
    assert (ended.status, ended.out) == (0, "todo: finished, all 2 items are ticked\n")
    assert len(commits(clone, "origin/main..autonomous/todo")) == 4
    assert len(commits(agent_repo, "main..autonomous/todo")) == 3


def test_what_a_pushed_task_would_run_needs_a_yes_here(agent_repo: Path, area: Path, model: Server) -> None:
    model.play(sessions(initializer("todo", ["write a"])))
    autonomous(agent_repo, *START, "--plan", "--check", "touch ran")
    clone = area / "elsewhere" / "repo"
    subprocess.run(["git", "clone", "--quiet", str(agent_repo), str(clone)], check=True)
    ended = autonomous(clone, "resume", "todo", XDG_STATE_HOME=str(area / "other-user"))
    assert (ended.status, ended.err.splitlines()[-2]) == (
        3,
        "error: the options of 'todo' need your approval on this machine first",
    )


@pytest.mark.parametrize("damage", ["deleted", "moved", "pruned"])
def test_a_lost_worktree_is_made_again_from_the_branch(agent_repo: Path, model: Server, damage: str) -> None:
    model.play(sessions(initializer("todo", ["write a"]), executor("todo", "write a", write_file("a", "1"))))
    autonomous(agent_repo, *START, "--plan")
    worktree = worktree_of(agent_repo)
    if damage == "moved":
        worktree.rename(worktree.with_name("elsewhere"))
    else:
        shutil.rmtree(worktree)
    if damage == "pruned":
        git(agent_repo, "worktree", "prune")
    ended = autonomous(agent_repo, "resume", "todo", "--delay", "0")
    assert (ended.status, ended.out) == (0, "todo: finished, its one item is ticked\n"), ended.err
    assert (worktree / "a").read_text() == "1\n"
    assert worktree.with_name("elsewhere").exists() == (damage == "moved")


def hanging(task: str, *commands: str) -> list[Step]:
    return [{"exec": [*commands, "echo ready > started; sleep 300"]}, {"say": "never"}]


def test_killed_at_work_codex_goes_on_and_the_next_resume_adopts_it(
    agent_repo: Path, model: Server, wait_until: Callable[..., None]
) -> None:
    model.play(
        sessions(
            initializer("todo", ["write a", "write b"]),
            executor(
                "todo", "write a", "echo here > started; while [ ! -e go ]; do sleep 0.05; done", write_file("a", "1")
            ),
            executor("todo", "write b", write_file("b", "2")),
        )
    )
    worktree = worktree_of(agent_repo)
    with running(agent_repo, *START, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as runner:
        wait_until((worktree / "started").exists)
        runner.kill()
    (task,) = listed(agent_repo)
    assert (task["state"], task["reason"]) == ("running", "Codex works on without its runner")
    with running(agent_repo, "resume", "todo", "--delay", "0") as second:
        assert second.stderr is not None
        wait_until(lambda: b"is followed to its end" in os.read(second.stderr.fileno(), 65536))
        (worktree / "go").touch()
        _, rest = second.communicate()
    assert second.returncode == 0, rest
    assert commits(agent_repo, "main..autonomous/todo") == [
        "Start todo", "todo: task list of 2 items", "todo: write a", "todo: write b",
    ]  # fmt: skip


def test_ctrl_c_ends_the_session_in_one_commit_and_resume_goes_on(
    agent_repo: Path, model: Server, wait_until: Callable[..., None]
) -> None:
    model.play(
        sessions(
            initializer("todo", ["write a"]),
            [{"exec": ["echo half > a; echo ready > started; sleep 300"]}],
            executor("todo", "write a", write_file("a", "whole")),
        )
    )
    worktree = worktree_of(agent_repo)
    with running(agent_repo, *START) as runner:
        wait_until((worktree / "started").exists)
        runner.send_signal(signal.SIGINT)
        out, err = runner.communicate()
    assert (runner.returncode, out) == (130, b"")
    assert err.decode().splitlines()[-2:] == [
        "error: 'todo' was interrupted; everything it did is committed",
        "hint: git autonomous resume todo",
    ]
    assert commits(agent_repo, "main..autonomous/todo")[-1] == "todo: interrupted: it was stopped"
    assert git(agent_repo, "show", "autonomous/todo:a") == "half"
    ended = autonomous(agent_repo, "resume", "todo", "--delay", "0")
    assert (ended.status, ended.out) == (0, "todo: finished, its one item is ticked\n"), ended.err
    assert git(agent_repo, "show", "autonomous/todo:a") == "whole"


def test_two_runners_at_once_are_one_runner(agent_repo: Path, model: Server, wait_until: Callable[..., None]) -> None:
    model.play(sessions(initializer("todo", ["write a"]), hanging("todo")))
    with running(agent_repo, *START) as runner:
        wait_until((worktree_of(agent_repo) / "started").exists)
        ended = autonomous(agent_repo, "resume", "todo")
        assert ended.status == 1
        assert re.fullmatch(r"error: 'todo' is already being worked on \(.+\)", ended.err.splitlines()[0])
        runner.terminate()
        runner.communicate()
    assert runner.returncode == 143
