"""The base's news get into a task between two sessions, and its own two files stay exactly as they were."""

from __future__ import annotations

import os
from pathlib import Path

import made
import pytest
from conftest import git
from program import autonomous, commits, listed
from test_merge import refused, snapshot

from gitautonomous import locks

BY = ["--merge", "--rebase"]


def tracking(repo: Path) -> list[str]:
    """The tracking files, with their content's ids."""
    return git(repo, "ls-tree", "-r", "autonomous/todo", "--", ".autonomous").splitlines()


def goes_on(repo: Path, **files: str) -> str:
    for path, text in files.items():
        (repo / path).write_text(text)
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "main goes on")
    return git(repo, "rev-parse", "main")


@pytest.mark.parametrize("by", BY)
def test_a_task_gets_the_news_and_keeps_its_sessions_and_tracking_files(repo: Path, by: str) -> None:
    made.finished(repo, "todo", {"a": "1\n"}, {"b": "1\n"}, checks=["true"], left=1)
    worktree = made.worktree_of(repo, "todo")
    (worktree / "draft").write_text("mine\n")
    (worktree / "a").write_text("edited\n")
    old, before, was = git(repo, "rev-parse", "autonomous/todo"), tracking(repo), listed(repo)[0]
    base = goes_on(repo, news="1\n")
    ended = autonomous(repo, "sync", "todo", by)
    tip = git(repo, "rev-parse", "autonomous/todo")
    how = "merged" if by == "--merge" else "rebased onto"
    undo = [] if by == "--merge" else ["hint: git autonomous restore todo    # as it was before"]
    assert (ended.status, ended.out) == (0, f"todo: {how} main ({base[:10]}), now at {tip[:10]}\n")
    assert ended.err.splitlines() == [*undo, "hint: git autonomous resume todo    # runs the checks on it"]
    assert tracking(repo) == before
    assert git(worktree, "status", "--porcelain").splitlines() == [" M a", "?? draft"]
    assert (worktree / "news").read_text() == "1\n"
    assert git(repo, "merge-base", "main", "autonomous/todo") == base
    now = listed(repo)[0]
    assert {key: now[key] for key in ("state", "done", "total", "sessions")} == {
        key: was[key] for key in ("state", "done", "total", "sessions")
    }
    if by == "--merge":
        assert (
            git(repo, "log", "-1", "--format=%P|%s", "autonomous/todo")
            == f"{old} {base}|todo: bring in main ({base[:10]})"
        )
        assert "  news of main  " in autonomous(repo, "review", "todo").out
    else:
        assert commits(repo, "main..autonomous/todo") == [
            "Start todo",
            "todo: task list of 3 items",
            "todo: item 1",
            "todo: item 2",
        ]
        assert git(repo, "rev-parse", "refs/autonomous/backup/todo/1") == old
        assert autonomous(repo, "restore", "todo").status == 0
        assert git(repo, "rev-parse", "autonomous/todo") == old
    assert autonomous(repo, "sync", "todo", by).status == 0


@pytest.mark.parametrize("by", BY)
def test_what_passed_before_the_news_is_not_said_to_pass_after_them(repo: Path, by: str) -> None:
    made.finished(repo, "todo", {"a": "1\n"}, checks=["true"])
    assert listed(repo)[0]["state"] == "finished"
    goes_on(repo, news="1\n")
    assert autonomous(repo, "sync", "todo", by).status == 0
    assert [(task["state"], task["reason"]) for task in listed(repo)] == [
        ("paused", "the checks have not run on the newest commit")
    ]


def test_it_is_done_as_configured_and_nothing_happens_without_news(repo: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"}, worktree=False)
    tip = git(repo, "rev-parse", "autonomous/todo")
    ended = autonomous(repo, "sync", "todo")
    assert (ended.status, ended.out) == (
        0,
        f"todo: has everything of main ({git(repo, 'rev-parse', 'main')[:10]}) already\n",
    )
    assert git(repo, "rev-parse", "autonomous/todo") == tip
    goes_on(repo, news="1\n")
    git(repo, "config", "autonomous.syncBy", "rebase")
    assert autonomous(repo, "sync", "todo").out.startswith("todo: rebased onto main")
    assert git(repo, "rev-list", "--merges", "autonomous/todo") == ""


@pytest.mark.parametrize("by", BY)
def test_a_conflict_changes_nothing_and_is_named(repo: Path, by: str) -> None:
    made.finished(repo, "todo", {"README.md": "mine\n"})
    goes_on(repo, **{"README.md": "theirs\n"})
    before = snapshot(repo)
    ended = autonomous(repo, "sync", "todo", by)
    commit = git(repo, "rev-parse", "autonomous/todo")[:10]
    error, hint = {
        "--merge": ("'todo' conflicts with main in README.md", "git autonomous merge --resolve todo"),
        "--rebase": (
            f"'todo: item 1' ({commit}) does not go onto the base: README.md conflict", "git autonomous sync --merge todo",
        ),
    }[by]  # fmt: skip
    refused(repo, ended, 3, f"error: {error}", f"hint: {hint}")
    assert snapshot(repo) == before


@pytest.mark.parametrize("by", BY)
def test_work_in_the_worktree_that_would_be_touched_stays(repo: Path, by: str) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    worktree = made.worktree_of(repo, "todo")
    (worktree / "README.md").write_text("mine\n")
    (worktree / "news").write_text("mine\n")
    goes_on(repo, **{"README.md": "theirs\n", "news": "theirs\n"})
    before = snapshot(repo)
    ended = autonomous(repo, "sync", "todo", by)
    assert (ended.status, ended.err.splitlines()[0]) == (
        1,
        f"error: autonomous/todo is checked out at {worktree}, where uncommitted or untracked work would be touched: README.md, news",
    )
    assert (snapshot(repo), (worktree / "README.md").read_text()) == (before, "mine\n")


@pytest.mark.parametrize("by", BY)
def test_a_merged_task_that_is_brought_back_does_not_conflict_in_its_tracking_files(repo: Path, by: str) -> None:
    task = made.finished(repo, "todo", {"a": "1\n"})
    assert autonomous(repo, "merge", "todo").status == 0
    assert autonomous(repo, "restore", "todo").status == 0
    made.session(repo, task, {"b": "1\n"}, number=3, done=2, total=2)
    before = tracking(repo)
    assert autonomous(repo, "sync", "todo", by).status == 0
    assert tracking(repo) == before
    assert git(repo, "ls-tree", "--name-only", "autonomous/todo").split() == [".autonomous", "README.md", "a", "b"]


def test_a_task_that_is_all_in_the_base_is_not_rebased_away(repo: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    tip = git(repo, "rev-parse", "autonomous/todo")
    for command in ("merge", "restore"):
        assert autonomous(repo, command, "todo").status == 0
    ended = autonomous(repo, "sync", "todo", "--rebase")
    assert (ended.status, ended.err) == (
        1,
        "error: all of 'todo' is in main already, so a rebase would leave no task\n"
        "hint: git autonomous sync --merge todo\n",
    )
    assert git(repo, "rev-parse", "autonomous/todo") == tip
    assert autonomous(repo, "sync", "todo", "--merge").status == 0
    assert listed(repo)[0]["sessions"] == 2


def test_a_rebase_after_a_merge_has_each_of_the_bases_changes_once(repo: Path) -> None:
    task = made.finished(repo, "todo", {"a": "1\n"}, left=1)
    goes_on(repo, news="1\n")
    assert autonomous(repo, "sync", "--merge", "todo").status == 0
    made.session(repo, task, {"news": "changed\n"}, number=3, done=2, total=2)
    base = goes_on(repo, more="1\n")
    assert autonomous(repo, "sync", "--rebase", "todo").status == 0
    assert commits(repo, f"{base}..autonomous/todo", "%s") == [
        "Start todo",
        "todo: task list of 2 items",
        "todo: item 1",
        "todo: item 2",
    ]
    assert git(repo, "diff", "--name-only", "main", "autonomous/todo", "--", ":!.autonomous").split() == ["a", "news"]


def test_a_base_that_only_a_remote_has_is_brought_in_and_a_lost_one_told(repo: Path, tmp_path: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"}, worktree=False)
    base = goes_on(repo, news="1\n")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(repo), str(clone))
    git(clone, "switch", "--quiet", "--create", "autonomous/todo", "origin/autonomous/todo")
    git(clone, "switch", "--quiet", "--detach")
    git(clone, "branch", "--quiet", "-D", "main")
    assert autonomous(clone, "sync", "todo").out.startswith(f"todo: merged origin/main ({base[:10]}), now at ")
    fork = git(repo, "rev-parse", "main~1")
    git(repo, "switch", "--quiet", "--create", "renamed")
    git(repo, "branch", "--quiet", "-D", "main")
    refused(
        repo, autonomous(repo, "sync", "todo"), 1,
        "error: the base of 'todo', main, is gone", f"hint: git branch main {fork[:10]}",
    )  # fmt: skip


def test_a_task_at_work_is_left_alone(repo: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    goes_on(repo, news="1\n")
    before = snapshot(repo)
    descriptor = locks.open_lock(str(made.place_of(repo).repository.make_state_dir("tasks", "todo") / "runner.lock"))
    assert locks.try_lock(descriptor)
    ended = autonomous(repo, "sync", "todo")
    os.close(descriptor)
    assert (ended.status, ended.err.splitlines()[-1]) == (1, "hint: git autonomous stop todo # then try again")
    assert snapshot(repo) == before
