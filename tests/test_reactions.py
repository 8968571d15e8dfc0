"""What the hooks say and refuse when a person works on a task's branch, moves it or pushes it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import made
import pytest
from agent import executor, initializer, sessions, write_file
from conftest import git
from program import Ended, autonomous, commits, listed

from gitautonomous import listform, locks, states
from gitautonomous.scripted import Server

WaitUntil = Callable[[Callable[[], object]], None]


def run(folder: Path, *command: str, **environment: str) -> Ended:
    done = subprocess.run(
        ["git", *command], cwd=folder, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def said(folder: Path, *command: str, **environment: str) -> list[str]:
    """What a git command that succeeds makes the hooks say."""
    done = run(folder, *command, **environment)
    assert done.status == 0, done.err
    return done.err.splitlines()


@contextmanager
def at_work(repo: Path, name: str = "todo") -> Iterator[None]:
    """A runner that holds the task's lock, in session 3."""
    folder = repo / ".git/autonomous/tasks" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "runner.lock").write_text("process 4242 on somewhere since 2026-01-01T00:00:00Z\n")
    tip = git(repo, "rev-parse", f"autonomous/{name}")
    states.write_word(str(folder), states.RUNNING, 0, tip, "session 3")
    lock = locks.open_lock(str(folder / "runner.lock"))
    assert locks.try_lock(lock)
    try:
        yield
    finally:
        os.close(lock)


@pytest.fixture
def task(repo: Path) -> Path:
    """The worktree of a task with three items, of which one is done, and the hooks."""
    made.finished(repo, "todo", {"a": "1\n"}, left=2)
    assert autonomous(repo, "hooks", "install").status == 0
    return made.worktree_of(repo, "todo")


# -- looking -------------------------------------------------------------------------------------------------------------------------------------


def test_a_checkout_of_a_task_says_where_it_stands_and_who_runs_it(repo: Path, task: Path) -> None:
    git(task, "switch", "--quiet", "--detach")
    assert said(repo, "switch", "--quiet", "autonomous/todo") == [
        "autonomous: todo is paused, 1 of 3 items done: git autonomous resume todo"
    ]
    git(repo, "switch", "--quiet", "main")
    with at_work(repo):
        (line,) = said(task, "checkout", "--quiet", "autonomous/todo")
    assert line == (
        "autonomous: todo is running (session 3), by process 4242 on somewhere since 2026-01-01T00:00:00Z, 1 of 3 items done: "
        "git autonomous attach todo"
    )
    git(repo, "config", "autonomous.announce", "false")
    git(task, "switch", "--quiet", "--detach")
    assert said(task, "switch", "--quiet", "autonomous/todo") == []
    assert said(task, "checkout", "--quiet", "--", "a") == []


def finish(repo: Path, name: str) -> None:
    """A finished task with the word of its runner."""
    made.finished(repo, name, {name: "1\n"})
    folder = repo / ".git/autonomous/tasks" / name
    folder.mkdir(parents=True)
    tip = git(repo, "rev-parse", f"autonomous/{name}")
    states.write_word(str(folder), states.FINISHED, 0, tip, "its one item is ticked")


def test_a_checkout_of_a_base_names_the_tasks_that_wait_for_it(repo: Path, task: Path) -> None:
    git(repo, "switch", "--quiet", "--create", "other")
    assert said(repo, "switch", "--quiet", "main") == []
    finish(repo, "one")
    git(repo, "switch", "--quiet", "other")
    assert said(repo, "switch", "--quiet", "main") == [
        "autonomous: one is finished and waits to be merged into main: git autonomous merge one"
    ]
    finish(repo, "two")
    assert said(repo, "switch", "--quiet", "other") == []
    (line,) = said(repo, "switch", "--quiet", "main")
    assert line in (
        "autonomous: one, two are finished and wait to be merged into main: git autonomous merge one two",
        "autonomous: two, one are finished and wait to be merged into main: git autonomous merge two one",
    )
    assert said(repo, "worktree", "add", "--quiet", str(repo.parent / "third"), "-b", "third") == []
    git(repo, "config", "autonomous.announce", "false")
    git(repo, "switch", "--quiet", "other")
    assert said(repo, "switch", "--quiet", "main") == []


# -- a person's commit ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message, written",
    [
        ("By hand", "By hand\n\nAutonomous-Edit: todo\n"),
        ("By hand\n\nWith a body: and colons.\n", "By hand\n\nWith a body: and colons.\n\nAutonomous-Edit: todo\n"),
        ("By hand\n\nSigned-off-by: A <a@b>", "By hand\n\nSigned-off-by: A <a@b>\nAutonomous-Edit: todo\n"),
        ("By hand\n\nAutonomous-Edit: todo", "By hand\n\nAutonomous-Edit: todo\n"),
        ("By hand\n\n---\nnot the end", "By hand\n\n---\nnot the end\n\nAutonomous-Edit: todo\n"),
        ("fixup! By hand", "fixup! By hand\n"),
    ],
)  # fmt: skip
def test_a_persons_commit_is_marked_as_one_and_never_looks_like_a_session(
    repo: Path, task: Path, message: str, written: str
) -> None:
    before = listed(repo)[0]
    assert said(task, "commit", "--quiet", "--allow-empty", "-m", message) == []
    assert git(task, "log", "-1", "--format=%B") == written
    after = listed(repo)[0]
    assert {key: after[key] for key in after if key != "updated"} == {
        key: before[key] for key in before if key != "updated"
    }


def test_a_commit_that_is_given_up_in_the_editor_stays_given_up(task: Path) -> None:
    before = git(task, "rev-parse", "HEAD")
    done = run(task, "commit", "--quiet", "--allow-empty", "--verbose", GIT_EDITOR="true")
    assert (done.status, done.err) == (1, "Aborting commit due to empty commit message.\n")
    assert git(task, "rev-parse", "HEAD") == before


def test_a_commit_with_its_diff_in_the_editor_gets_its_trailer_above_it(task: Path) -> None:
    (task / "a").write_text("Autonomous-Task: todo\n")
    editor = 'sh -c \'{ echo "By hand"; cat "$1"; } >"$1.new"; mv "$1.new" "$1"\' sh'
    assert said(task, "commit", "--quiet", "--all", "--verbose", GIT_EDITOR=editor) == []
    assert git(task, "log", "-1", "--format=%B") == "By hand\n\nAutonomous-Edit: todo\n"


def test_a_list_that_could_not_be_worked_off_any_more_is_refused_until_it_is_mended(task: Path) -> None:
    path = task / ".autonomous/todo/task_list.md"
    good, before = path.read_text(), git(task, "rev-parse", "HEAD")
    for text, why in (
        (good.replace("## Tasks", "## Items"), "task_list.md would have no items: they are the entries `- [ ] TEXT` below the heading `## Tasks`"),
        (good.replace("- [ ] item 2", "- [] item 2"), "line 5 of task_list.md would not count as an item; write it as `- [ ] TEXT`: - [] item 2"),
        (f"<<<<<<< HEAD\n{good}", "task_list.md has a conflict marker in line 1"),
    ):  # fmt: skip
        path.write_text(text)
        done = run(task, "commit", "--quiet", "--all", "-m", "The list")
        assert (done.status, done.err.splitlines()) == (
            1,
            [
                f"error: {why}",
                "hint: git restore --source=HEAD --staged -- .autonomous/todo # or, all the same: GIT_AUTONOMOUS_GUARD=0 git commit",
            ],
        )
    path.unlink()
    assert (
        run(task, "commit", "--quiet", "--all", "-m", "No list").err.splitlines()[0]
        == "error: task_list.md would be gone"
    )
    assert git(task, "rev-parse", "HEAD") == before
    path.write_text(good.replace("- [ ] item 3\n", "") + "- [ ] [a link](there)\n")
    assert said(task, "commit", "--quiet", "--all", "-m", "Two items") == []
    path.unlink()
    assert said(task, "commit", "--quiet", "--all", "-m", "No list", GIT_AUTONOMOUS_GUARD="0") == []


def test_a_task_toml_that_could_not_be_read_is_refused(task: Path) -> None:
    path = task / ".autonomous/todo/task.toml"
    path.write_text(path.read_text().replace("format = 1", "format = 7"))
    done = run(task, "commit", "--quiet", "--all", "-m", "The future")
    assert (done.status, done.err.splitlines()[0]) == (
        1,
        "error: task.toml of 'todo' cannot be read: format 7 is not one that this version knows (1)",
    )
    git(task, "reset", "--quiet", "--hard")
    git(task, "rm", "--quiet", ".autonomous/todo/task.toml")
    assert run(task, "commit", "--quiet", "-m", "Nothing").status == 1


def test_a_forged_record_is_refused_and_the_words_are_not_lost(task: Path) -> None:
    before, file = git(task, "rev-parse", "HEAD"), f"{git(task, 'rev-parse', '--absolute-git-dir')}/COMMIT_EDITMSG"
    for record in (
        "Autonomous-Task: todo\nAutonomous-Session: 9\nAutonomous-Progress: 3/3\nAutonomous-Check: passed",
        "autonomous-check: passed",
        "Codex-Thread: x",
    ):
        done = run(task, "commit", "--quiet", "--allow-empty", "-m", f"All done\n\n{record}")
        assert (done.status, done.err.splitlines()) == (
            1,
            [
                f"error: only git autonomous writes the record of a session: {record.splitlines()[0]}",
                f"hint: git commit --edit --file={file} # or, all the same: GIT_AUTONOMOUS_GUARD=0 git commit --file={file}",
            ],
        )
    assert git(task, "rev-parse", "HEAD") == before
    assert Path(file).read_text().startswith("All done\n")
    assert (
        said(task, "commit", "--quiet", "--allow-empty", "-m", "A quote\n\nAutonomous-Task: todo\n\nis not the end")
        == []
    )


def test_an_amended_session_keeps_its_record_and_claims_no_check(repo: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"}, checks=("true",))
    autonomous(repo, "hooks", "install")
    task = made.worktree_of(repo, "todo")
    session = git(task, "log", "-1", "--format=%B")
    assert said(task, "commit", "--quiet", "--amend", "--no-edit", "--author=Eve <eve@example.org>") == []
    assert git(task, "log", "-1", "--format=%B") == session
    assert listed(repo)[0]["state"] == "finished"

    path = task / ".autonomous/todo/task_list.md"
    path.write_text(path.read_text() + "")
    (task / "a").write_text("2\n")
    git(task, "add", "a")
    path.write_text(
        path.read_text().replace("## Proposed", "- [ ] one more\n\n## Proposed").replace("\n\n- [ ]", "\n- [ ]")
    )
    git(task, "add", ".autonomous")
    assert said(task, "commit", "--quiet", "--amend", "--no-edit") == []
    assert git(task, "log", "-1", "--format=%B") == session.replace("Progress: 1/1", "Progress: 1/2").replace(
        "Check: passed", "Check: unknown"
    )
    assert (listed(repo)[0]["state"], listed(repo)[0]["sessions"]) == ("paused", 2)


def test_a_session_whose_record_is_amended_away_is_named_with_the_way_back(task: Path) -> None:
    before = git(task, "rev-parse", "HEAD")
    assert said(task, "commit", "--quiet", "--amend", "-m", "Better words") == [
        f"autonomous: warning: the record of session 2 went with its message: git reset --soft {before[:10]}"
    ]
    git(task, "reset", "--quiet", "--soft", before[:10])
    assert git(task, "status", "--porcelain") == ""


def test_an_interactive_rebase_of_a_task_keeps_every_record(repo: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"}, {"b": "1\n"}, checks=("true",))
    autonomous(repo, "hooks", "install")
    task = made.worktree_of(repo, "todo")
    said(task, "commit", "--quiet", "--allow-empty", "-m", "By hand")
    (repo / "README.md").write_text("# Went on\n")
    git(repo, "commit", "--quiet", "--all", "-m", "Went on")
    before = commits(task, "main..autonomous/todo", "%B")
    order = "sed -i -e '2s/pick/reword/' -e '3s/pick/edit/' -e '5s/pick/reword/'"
    assert said(task, "rebase", "--quiet", "--interactive", "main", GIT_SEQUENCE_EDITOR=order, GIT_EDITOR="true")[
        :1
    ] != ["error"]
    (task / "b2").write_text("1\n")
    git(task, "add", "b2")
    assert said(task, "commit", "--quiet", "--amend", "--no-edit") == []
    lines = said(task, "rebase", "--continue", GIT_EDITOR="true")
    assert [line for line in lines if line.startswith("autonomous: ")] == []
    assert commits(task, "main..autonomous/todo", "%B") == before
    assert (git(task, "status", "--porcelain"), git(task, "rev-parse", "--abbrev-ref", "HEAD")) == (
        "",
        "autonomous/todo",
    )


def test_a_rebased_task_says_that_its_checks_ran_before(repo: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"}, checks=("true",))
    autonomous(repo, "hooks", "install")
    git(repo, "commit", "--quiet", "--allow-empty", "-m", "Went on")
    assert said(made.worktree_of(repo, "todo"), "rebase", "--quiet", "main") == [
        "autonomous: the checks of todo ran before it was rebased; they run again in: git autonomous merge todo"
    ]


# -- back to work --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("codex_home")
def test_a_persons_commit_sends_a_paused_task_back_to_work(
    agent_repo: Path, model: Server, wait_until: WaitUntil
) -> None:
    model.play(sessions(initializer("todo", ["write a"]), executor("todo", "write a", write_file("a", "1"))))
    assert autonomous(agent_repo, "start", "Write a", "--name", "todo", "--plan", "--quiet").status == 0
    autonomous(agent_repo, "hooks", "install")
    worktree = agent_repo.parent / "repo.autonomous" / "todo"
    assert said(worktree, "commit", "--quiet", "--allow-empty", "-m", "A look at it") == []
    assert listed(agent_repo)[0]["state"] == "paused"

    git(agent_repo, "config", "autonomous.resumeOnCommit", "true")
    assert said(worktree, "commit", "--quiet", "--allow-empty", "-m", "Go") == [
        "autonomous: todo: runs in the background",
        "autonomous: hint: git autonomous attach todo # watch it; Ctrl-C leaves it running",
        "autonomous: hint: git autonomous stop todo",
    ]
    wait_until(lambda: listed(agent_repo)[0]["state"] == "finished")
    assert commits(agent_repo, "main..autonomous/todo")[-3:] == ["A look at it", "Go", "todo: write a"]
    assert said(worktree, "commit", "--quiet", "--allow-empty", "-m", "Still finished") == []


# -- moving and pushing --------------------------------------------------------------------------------------------------------------------------


def test_a_branch_whose_runner_lives_is_not_rebased(repo: Path, task: Path) -> None:
    git(repo, "commit", "--quiet", "--allow-empty", "-m", "Went on")
    before = git(repo, "rev-parse", "autonomous/todo")
    with at_work(repo):
        done = run(task, "rebase", "--quiet", "main")
        assert (done.status, done.err.splitlines()) == (
            128,
            [
                "error: 'todo' is being worked on (process 4242 on somewhere since 2026-01-01T00:00:00Z)",
                "hint: git autonomous stop todo # or, all the same: GIT_AUTONOMOUS_GUARD=0 git rebase",
                "fatal: The pre-rebase hook refused to rebase.",
            ],
        )
        git(task, "switch", "--quiet", "--detach")
        assert run(repo, "rebase", "--quiet", "main", "autonomous/todo").status == 128
        git(repo, "switch", "--quiet", "--create", "other", "HEAD~")
        assert said(repo, "rebase", "--quiet", "main") == []
    assert git(repo, "rev-parse", "autonomous/todo") == before
    assert run(repo, "rebase", "--quiet", "main", "autonomous/todo").status == 0


def test_a_task_is_not_pushed_while_somebody_works_on_it(repo: Path, task: Path, tmp_path: Path) -> None:
    remote = str(tmp_path / "remote.git")
    git(tmp_path, "init", "--quiet", "--bare", remote)
    with at_work(repo):
        done = run(task, "push", "--quiet", remote, "main", "autonomous/todo")
        assert (done.status, done.err.splitlines()) == (
            1,
            [
                "error: 'todo' is being worked on (process 4242 on somewhere since 2026-01-01T00:00:00Z): who takes it over from a remote would work on it a second time",
                "hint: git autonomous stop todo # or, all the same: GIT_AUTONOMOUS_GUARD=0 git push",
                f"error: failed to push some refs to '{remote}'",
            ],
        )
        assert git(Path(remote), "for-each-ref") == ""
        assert said(repo, "push", "--quiet", remote, "main") == []
    assert said(task, "push", "--quiet", remote, "autonomous/todo") == []
    with at_work(repo):
        assert said(task, "push", "--quiet", remote, "--delete", "autonomous/todo") == []


def test_an_unfinished_task_that_is_pushed_to_its_base_is_warned_of(repo: Path, task: Path, tmp_path: Path) -> None:
    remote = str(tmp_path / "remote.git")
    git(tmp_path, "init", "--quiet", "--bare", remote)
    warning = (
        "autonomous: warning: what you push to main has 'todo' in it, and it is not finished: 1 of 3 items are done"
    )
    assert said(repo, "push", "--quiet", remote, "autonomous/todo:main") == [warning]
    git(repo, "update-ref", "refs/heads/main", "autonomous/todo")
    made.finished(repo, "other", {"b": "1\n"}, base="main")
    git(repo, "update-ref", "refs/heads/main", "autonomous/other")
    assert said(repo, "push", "--quiet", remote, "main") == [warning]
    assert said(repo, "push", "--quiet", remote, "main:elsewhere") == []


# -- the list's form -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line, almost",
    [
        ("- [] item", True), ("-[ ] item", True), ("* [x]item", True), ("1. [✓] item", True), ("  - [  ] item", True),
        ("- [ ] item", False), ("- [x](link)", False), ("- [x]: reference", False), ("- [a] note", False), ("text [ ] text", False), ("    - [] code", False),
    ],
)  # fmt: skip
def test_lines_that_look_like_items_and_are_none(line: str, almost: bool) -> None:
    before = "# T\n\n## Tasks\n\n- [ ] one\n"
    after = (
        f"{before}\n\n\n{line}\n"
        if not line.startswith("    ")
        else f"# T\n\n## Tasks\n\n```\n{line}\n```\n- [ ] one\n"
    )
    assert ("would not count" in listform.problem(before, after)) is almost
    assert listform.problem(after, after) == ""
