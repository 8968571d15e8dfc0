"""Deciding what stays: plans that are shown and asked for, on a terminal and without one, and with the real Codex before and after."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from agent import executor, initializer, sessions, write_file
from conftest import git
from fabricated import Fabricated
from program import autonomous, commits, listed
from terminals import terminal

from gitautonomous import locks
from gitautonomous.scripted import Server

PLAN = """\
Drop session 3 of todo:
  leave         session 3 (write b)
  made again    session 4
  open again    write b
  list          3/3 items, then 2/3
  files         b
  checks        have not run on the result
"""


@pytest.fixture
def task(repo: Path) -> Fabricated:
    made = Fabricated(repo, check="passed")
    made.plan("write a", "write b", "write c", proposed=["write d"])
    made.session("write a", files={"a": "a\n"})
    made.session("write b", files={"b": "b\n"})
    made.session("write c", files={"c": "c\n"})
    return made


def test_without_a_terminal_the_plan_is_shown_and_nothing_changes_until_yes(task: Fabricated) -> None:
    ended = autonomous(task.repo, "review", "todo", "--drop", "3")
    assert (ended.status, ended.out) == (3, PLAN)
    assert ended.err == (
        "error: nothing was changed: there is no terminal to ask on\nhint: git autonomous review todo --drop 3 --yes\n"
    )
    assert (task.trees.tip(task.ref), git(task.repo, "for-each-ref", "refs/autonomous")) == (task.tip, "")
    ended = autonomous(task.repo, "review", "todo", "--drop", "3", "--yes")
    new = git(task.repo, "rev-parse", "autonomous/todo")
    assert (ended.status, ended.out) == (
        0, f"{PLAN}todo: {new[:10]}, 2/3 items; as it was: refs/autonomous/backup/todo/1\n",
    )  # fmt: skip
    assert ended.err == (
        "hint: git autonomous restore todo    # undoes this\n"
        "hint: git autonomous resume todo    # runs the checks, and goes on\n"
    )
    (known,) = listed(task.repo)
    assert (known["state"], known["done"], known["check"]) == ("paused", 2, "unknown")


def test_restore_undoes_a_decision_and_the_decision_can_be_restored_in_turn(task: Fabricated) -> None:
    worktree = task.worktree()
    autonomous(task.repo, "review", "todo", "--keep", "1-2", "--yes")
    dropped = git(task.repo, "rev-parse", "autonomous/todo")
    assert sorted(path.name for path in worktree.path.iterdir()) == [".autonomous", ".git", "README.md", "a"]
    assert autonomous(task.repo, "restore", "todo").status == 0
    assert git(task.repo, "rev-parse", "autonomous/todo") == task.tip
    assert (git(worktree.path, "status", "--porcelain"), (worktree.path / "c").read_text()) == ("", "c\n")
    assert autonomous(task.repo, "restore", "todo", "--number", "2").status == 0
    assert git(task.repo, "rev-parse", "autonomous/todo") == dropped


def test_a_plan_as_json_is_only_a_plan_until_yes(task: Fabricated) -> None:
    parents = git(task.repo, "rev-list", "--reverse", "main..autonomous/todo").split("\n")
    ended = autonomous(task.repo, "review", "todo", "--drop", "3", "--json")
    found = json.loads(ended.out)
    new = found["plan"].pop("new")
    assert (ended.status, found) == (
        0,
        {
            "schema": 1,
            "plan": {
                "task": "todo", "what": "drop session 3", "old": task.tip, "check": "unknown",
                "gone": [{"number": 3, "commit": parents[3]}], "rebuilt": [{"number": 4, "commit": parents[4]}],
                "reopened": ["write b"], "closed": [], "added": [], "done": [3, 2], "total": [3, 3], "paths": ["b"],
            },
            "kept": None,
        },
    )  # fmt: skip
    assert git(task.repo, "rev-parse", "autonomous/todo") == task.tip
    ended = autonomous(task.repo, "review", "todo", "--rewind-to", "2", "--json", "--yes")
    assert json.loads(ended.out)["kept"] == "refs/autonomous/backup/todo/1"
    assert git(task.repo, "rev-parse", "autonomous/todo") == parents[2]
    assert new != parents[2]


def test_no_plan_is_asked_for_while_somebody_works(task: Fabricated) -> None:
    folder = task.place.repository.make_state_dir("tasks", "todo")
    (folder / "runner.lock").write_text("process 7 on here\n")
    with locks.exclusive(str(folder / "runner.lock")):
        ended = autonomous(task.repo, "review", "todo", "--accept", "1", "--yes")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("error: 'todo' is being worked on (process 7 on here)\nhint: git autonomous stop todo")


def test_on_a_terminal_the_review_is_followed_by_a_prompt_that_decides(task: Fabricated) -> None:
    with terminal(columns=120) as screen:
        program = screen.run(task.repo, ["review", "todo"], GIT_PAGER="cat")
        screen.until("Merging into main is clean")
        screen.until("q: quit")
        screen.until("review> ")
        screen.type(b"3\n")
        screen.until("session 3 of todo")
        screen.until("+b")
        screen.type(b"d 9\n")
        screen.until("error: 'todo' has no session 9; the branch has sessions 1-4")
        screen.type(b"nonsense\n")
        screen.type(b"d 3\n")
        screen.until("Do this? [y/N]: ")
        screen.type(b"n\n")
        screen.until("Nothing was changed.")
        assert task.trees.tip(task.ref) == task.tip
        screen.type(b"d 3\n")
        screen.until("  files         b", times=2)
        screen.type(b"y\n")
        screen.until("as it was: refs/autonomous/backup/todo/1")
        screen.type(b"a 1\n")
        screen.until("new items     write d")
        screen.type(b"y\n")
        screen.until("as it was: refs/autonomous/backup/todo/2")
        screen.type(b"l\n")
        screen.until("by hand: accept write d")
        screen.type(b"q\n")
        assert screen.finish(program) == 0
    assert commits(task.repo, "main..autonomous/todo") == [
        "Start todo", "todo: task list of 3 items", "todo: write a", "todo: write c", "todo: accept write d",
    ]  # fmt: skip


def test_a_terminal_without_the_prompt_when_it_is_not_wanted(task: Fabricated) -> None:
    with terminal() as screen:
        program = screen.run(task.repo, ["review", "todo", "--no-interactive"], GIT_PAGER="cat")
        assert screen.finish(program) == 0
        assert "review>" not in screen.text()
        assert "\x1b[33mRuns on" not in screen.shown
        assert "\x1b[1mtodo\x1b[m" in screen.shown


def test_the_end_of_input_and_ctrl_c_leave_the_prompt(task: Fabricated) -> None:
    for keys, status in ((b"\x04", 0), (b"\x03", 130)):
        with terminal() as screen:
            program = screen.run(task.repo, ["review", "todo"], GIT_PAGER="cat")
            screen.until_asked(program, "review> ")
            screen.type(keys)
            assert screen.finish(program) == status


def test_the_users_pager_gets_the_diff_in_the_users_colours(task: Fabricated, tmp_path: Path) -> None:
    git(task.repo, "config", "pager.show", f"tee {tmp_path}/show")
    git(task.repo, "config", "core.pager", f"tee {tmp_path}/core")
    git(task.repo, "config", "color.diff.new", "cyan bold")
    worktree = task.worktree()
    with terminal() as screen:
        program = screen.run(worktree.path, ["review", "todo", "2"])
        assert screen.finish(program) == 0
    shown = (tmp_path / "show").read_text()
    assert shown.startswith("\x1b[1msession 2 of todo\x1b[m\n")
    assert "\x1b[1;36m+\x1b[m\x1b[1;36ma\x1b[m\n" in shown
    with terminal(rows=5) as screen:
        program = screen.run(task.repo, ["review", "todo", "-I"])
        assert screen.finish(program) == 0
    assert (tmp_path / "core").read_text().startswith("\x1b[1mtodo\x1b[m: \x1b[32mfinished\x1b[m\n")


def test_a_pager_that_git_put_there_itself_gets_colours_and_no_prompt(task: Fabricated) -> None:
    ended = autonomous(task.repo, "review", "todo", GIT_PAGER_IN_USE="true")
    assert ended.out.startswith("\x1b[1mtodo\x1b[m: ")
    assert "review>" not in ended.out


@pytest.mark.usefixtures("codex_home")
def test_a_session_of_the_real_codex_is_reviewed_dropped_done_again_and_restored(
    agent_repo: Path, model: Server
) -> None:
    script = [
        initializer("todo", ["write a", "write b"], ["test ! -e a || grep -q good a"]),
        executor("todo", "write a", "false", write_file("a", "good"), "mkdir .husky && echo true > .husky/pre-commit"),
        executor("todo", "write b", write_file("b", "2")),
    ]
    again = [executor("todo", "write a", write_file("a", "good again"))]
    model.play(sessions(*script, *again))
    started = autonomous(agent_repo, "start", "Write a and b", "--name", "todo", "--delay", "0")
    assert started.out == "todo: finished, all 2 items are ticked and the checks pass\n"
    before = git(agent_repo, "rev-parse", "autonomous/todo")
    text = autonomous(agent_repo, "review", "todo").out
    assert ".husky/pre-commit  hook  runs as a git hook when you commit, check out or merge  2" in text
    assert "Merging into main is clean: 3 files, +3 -0." in text
    step = json.loads(autonomous(agent_repo, "review", "todo", "2", "--json").out)["step"]
    # Codex runs the commands of one turn side by side, and they are told in the order of their ends.
    assert {(command["command"].split("\n")[0][:12], command["exit_code"]) for command in step["commands"]} == {
        ("false", 1), ("mkdir -p $(d", 0), ("mkdir .husky", 0), ("sed -i 's/- ", 0),
    }  # fmt: skip
    assert len(step["commands"]) == 4
    ended = autonomous(agent_repo, "review", "todo", "--drop", "2", "--yes")
    assert ended.status == 0, ended.err
    (known,) = listed(agent_repo)
    assert (known["state"], known["done"], known["total"], known["sessions"], known["check"]) == (
        "paused", 1, 2, 3, "unknown",
    )  # fmt: skip
    worktree = agent_repo.parent / "repo.autonomous" / "todo"
    assert not (worktree / "a").exists()
    ended = autonomous(agent_repo, "resume", "todo", "--delay", "0")
    assert (ended.status, ended.out) == (0, "todo: finished, all 2 items are ticked and the checks pass\n"), ended.err
    assert commits(agent_repo, "main..autonomous/todo") == [
        "Start todo", "todo: task list of 2 items", "todo: write b", "todo: write a",
    ]  # fmt: skip
    assert (worktree / "a").read_text() == "good again\n"
    assert listed(agent_repo)[0]["state"] == "finished"
    assert autonomous(agent_repo, "restore", "todo", "--number", "1").status == 0
    assert git(agent_repo, "rev-parse", "autonomous/todo") == before
    assert (worktree / "a").read_text() == "good\n"
    assert git(worktree, "status", "--porcelain") == ""
    assert git(agent_repo, "fsck", "--strict", "--no-dangling") == ""
