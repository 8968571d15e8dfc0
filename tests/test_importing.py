"""A task of run-session.sh goes on as a task of ours: its items, notes and thread are taken over, and its folder is left alone."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from agent import executor, sessions, write_file
from conftest import git
from program import Ended, autonomous, commits, listed

from gitautonomous import checklist, importing
from gitautonomous.journal import Journal, last_thread
from gitautonomous.scripted import Server

THREAD = "0199a213-81c0-7800-8aa1-bbab2a035a53"
NEW = "# Task List: Todo API\n\n## Tasks\n- [x] Task 1: write a\n- [ ] Task 2: write b\n"
PHASES = """\
# List

## Meta
- [ ] no

## Phase 1: Base
- [x] a

## Notes
text

Phase 2
-------
- [ ] b

## Completion Criteria
- [ ] c
"""
PHASES_BELOW_TASKS = (
    PHASES.replace("## Phase 1", "## Tasks\n\n### Phase 1")
    .replace("## Notes", "### Notes")
    .replace("Phase 2\n-------", "### Phase 2")
)
NOTES = "# Progress\n\n## Session 1\nWrote a.\n"


def old_task(repo: Path, text: str = NEW, **files: str) -> Path:
    """A folder as run-session.sh leaves it."""
    folder = repo / ".autonomous" / "todo"
    folder.mkdir(parents=True)
    for name, content in {"task_list.md": text, "progress.md": NOTES, "session.id": f"{THREAD}\n", **files}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    return folder


def refused(message: str, hint: str, status: int = 1) -> Ended:
    return Ended(status, "", f"error: {message}\nhint: {hint}\n")


def test_a_task_is_taken_over_with_its_list_its_notes_and_its_thread(repo: Path) -> None:
    folder = old_task(repo)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert autonomous(repo, "import", ".autonomous/todo", "--check", "make test") == Ended(
        0, "todo: imported from .autonomous/todo\n", "hint: git autonomous resume todo --resume-last\n"
    )
    (task,) = listed(repo)
    assert [task[key] for key in ("name", "state", "done", "total", "base")] == ["todo", "paused", 1, 2, "main"]
    assert commits(repo, "main..autonomous/todo") == ["Start todo", "todo: list and notes of run-session.sh"]
    tip = "autonomous/todo:.autonomous/todo/"
    assert git(repo, "show", f"{tip}task_list.md") + "\n" == NEW
    assert git(repo, "show", f"{tip}progress.md") + "\n" == NOTES
    assert 'goal = "Todo API"\n' in git(repo, "show", f"{tip}task.toml")
    assert 'checks = ["make test"]' in git(repo, "show", f"{tip}task.toml")
    assert git(Path(task["worktree"]), "status", "--porcelain") == ""
    assert last_thread(Journal(repo / ".git/autonomous/tasks/todo/journal.jsonl").read()) == (THREAD, False)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.usefixtures("codex_home")
def test_an_imported_task_is_resumed_to_its_end(agent_repo: Path, model: Server) -> None:
    old_task(agent_repo)
    assert autonomous(agent_repo, "import", ".autonomous/todo").status == 0
    model.play(sessions(executor("todo", "Task 2: write b", write_file("b", "2"))))
    ended = autonomous(agent_repo, "resume", "todo", "--delay", "0")
    assert (ended.status, ended.out) == (0, "todo: finished, all 2 items are ticked\n"), ended.err
    assert commits(agent_repo, "main..autonomous/todo")[-1] == "todo: Task 2: write b"


def test_name_and_goal_can_be_given_and_a_thread_that_is_none_is_left_out(repo: Path) -> None:
    folder = old_task(repo, **{"session.id": "$(id) --x\n"})
    ended = autonomous(repo, "import", str(folder), "--name", "api", "--goal", "Build the API")
    assert ended == Ended(0, f"api: imported from {folder}\n", "hint: git autonomous resume api\n")
    assert 'goal = "Build the API"\n' in git(repo, "show", "autonomous/api:.autonomous/api/task.toml")
    assert not (repo / ".git/autonomous/tasks/api/journal.jsonl").exists()


@pytest.mark.parametrize(
    ("text", "converted"),
    [
        (NEW, NEW),
        ("- [x] a\n- [ ] b\n", "## Tasks\n\n- [x] a\n- [ ] b\n"),
        (PHASES, PHASES_BELOW_TASKS),
        ("# List\r\n\r\n## One\r\n- [ ] a\r\n", "# List\r\n\r\n## Tasks\r\n\r\n### One\r\n- [ ] a\r\n"),
        ("## Completion Criteria\n- [ ] c\n", "## Completion Criteria\n- [ ] c\n"),
        ("```\n- [ ] a\n```\n", "```\n- [ ] a\n```\n"),
    ],
)
def test_a_list_of_the_older_shape_gets_a_section_in_which_its_items_count(text: str, converted: str) -> None:
    assert importing.with_tasks_section(text) == converted
    assert importing.with_tasks_section(converted) == converted


def test_the_items_of_a_converted_list_keep_ticks_and_phases() -> None:
    text = importing.with_tasks_section("## One\n- [x] a\n## Two\n- [ ] b (blocked: why)\n")
    found = [(item.text, item.done, item.phase, item.note) for item in checklist.parse(text).items]
    assert found == [("a", True, "One", None), ("b", False, "Two", "blocked: why")]


def test_what_is_no_task_folder_is_refused_and_nothing_is_made(repo: Path) -> None:
    folder = old_task(repo, text="# List\n\nNothing yet.\n")
    look = "ls -d .autonomous/*/"
    assert autonomous(repo, "import", "nowhere") == refused("there is no folder nowhere", look, 2)
    assert autonomous(repo, "import", ".autonomous") == refused(
        ".autonomous has no task_list.md", "git autonomous import .autonomous/todo", 2
    )
    assert autonomous(repo, "import", str(repo / ".git")) == refused(f"{repo}/.git has no task_list.md", look, 2)
    no_items = refused(".autonomous/todo/task_list.md has no items", 'git autonomous start "GOAL"', 2)
    assert autonomous(repo, "import", ".autonomous/todo") == no_items
    (folder / "task_list.md").unlink()
    os.mkfifo(folder / "task_list.md")
    assert autonomous(repo, "import", ".autonomous/todo") == refused(
        ".autonomous/todo: task_list.md is not a regular file", "ls -ld .autonomous/todo/task_list.md"
    )
    assert git(repo, "for-each-ref", "--format=%(refname)") == "refs/heads/main"


@pytest.mark.parametrize("lock", importing.LOCKS)
def test_a_task_that_run_session_works_on_is_left_to_it(repo: Path, lock: str) -> None:
    folder = old_task(repo, **{lock: f"{os.getpid()}\n"})
    assert autonomous(repo, "import", ".autonomous/todo") == refused(
        f"run-session.sh works in .autonomous/todo (process {os.getpid()})", f"kill {os.getpid()}"
    )
    (folder / lock).write_text("999999999\n")
    assert autonomous(repo, "import", ".autonomous/todo").status == 0


def test_a_name_that_is_taken_is_refused_with_one_that_is_free(repo: Path) -> None:
    old_task(repo)
    assert autonomous(repo, "import", ".autonomous/todo").status == 0
    assert autonomous(repo, "import", ".autonomous/todo") == refused(
        "there is a task named 'todo' already", "git autonomous import .autonomous/todo --name todo-2"
    )
    assert autonomous(repo, "import", ".autonomous/todo", "--name", "todo-2").status == 0


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_leaves_either_nothing_or_the_whole_task(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    old_task(repo)
    git_itself = shutil.which("git")
    programs = tmp_path / "programs"
    programs.mkdir()
    kill = {"before": "kill -9 $PPID; exit", "after": f'{git_itself} "$@"; kill -9 $PPID; exit'}[when]
    (programs / "git").write_text(f'#!/bin/sh\ncase "$*" in *" update-ref "*) {kill} ;; esac\nexec {git_itself} "$@"\n')
    (programs / "git").chmod(0o755)
    ended = autonomous(repo, "import", ".autonomous/todo", PATH=f"{programs}{os.pathsep}{os.environ['PATH']}")
    assert ended.status == -signal.SIGKILL
    if when == "before":
        assert listed(repo) == []
        assert autonomous(repo, "import", ".autonomous/todo").status == 0
    (task,) = listed(repo)
    assert [task[key] for key in ("name", "state", "done", "total")] == ["todo", "paused", 1, 2]
    assert commits(repo, "main..autonomous/todo") == ["Start todo", "todo: list and notes of run-session.sh"]


def test_a_setup_command_that_fails_leaves_nothing_behind(repo: Path) -> None:
    old_task(repo)
    git(repo, "config", "autonomous.setup", "echo no >&2; false")
    ended = autonomous(repo, "import", ".autonomous/todo")
    assert (ended.status, ended.out) == (1, "")
    assert "error: the setup command 'echo no >&2; false' failed with exit status 1: no\n" in ended.err
    assert git(repo, "for-each-ref", "--format=%(refname)") == "refs/heads/main"
    assert git(repo, "worktree", "list").count("\n") == 0
    git(repo, "config", "autonomous.setup", "true")
    assert autonomous(repo, "import", ".autonomous/todo").status == 0
