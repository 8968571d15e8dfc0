"""Taking tasks away and bringing them back: nothing is lost on the way."""

from __future__ import annotations

import os
from pathlib import Path

import made
import pytest
from conftest import git
from program import autonomous, listed

from gitautonomous import backup, locks


def content(folder: Path) -> dict[str, str]:
    """Every file of a worktree but git's own."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


def test_a_removed_task_is_gone_and_comes_back_as_it_was(repo: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"}, {"b": "2\n"})
    worktree = made.worktree_of(repo, "todo")
    tip = git(repo, "rev-parse", "autonomous/todo")
    git(repo, "config", "branch.autonomous/todo.remote", "origin")
    ended = autonomous(repo, "remove", "todo")
    assert (ended.status, ended.out, ended.err) == (
        0, "todo: removed, kept at refs/autonomous/backup/todo/1\n", "hint: git autonomous restore todo\n",
    )  # fmt: skip
    assert (worktree.parent.exists(), git(repo, "branch", "--list"), git(repo, "worktree", "list").count("\n")) == (
        False, "* main", 0,
    )  # fmt: skip
    assert "autonomous/todo" not in (repo / ".git/config").read_text()
    assert list((repo / ".git/autonomous/trash").iterdir()) == []
    ended = autonomous(repo, "restore", "todo")
    assert (ended.status, ended.out, ended.err) == (
        0, f"todo: restored to {tip[:10]}\n", "hint: git autonomous status todo\n",
    )  # fmt: skip
    assert git(repo, "rev-parse", "autonomous/todo") == tip
    (task,) = listed(repo)
    assert (task["state"], task["done"], task["total"]) == ("finished", 2, 2)


def test_everything_uncommitted_comes_back_uncommitted(repo: Path) -> None:
    (repo / ".gitignore").write_text(".autonomous/\n*.log\n")
    (repo / "kept").write_text("kept\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "ignore")
    made.finished(repo, "todo", {"a": "1\n", "b": "1\n", "c": "1\n", "run": "1\n"})
    worktree = made.worktree_of(repo, "todo")
    (worktree / "a").write_text("staged\n")
    git(worktree, "add", "a")
    (worktree / "a").write_text("edited after staging\n")
    (worktree / "b").unlink()
    (worktree / "c").write_text("hidden from git status\n")
    git(worktree, "update-index", "--assume-unchanged", "c")
    (worktree / "run").chmod(0o755)
    (worktree / "new").mkdir()
    (worktree / "new/näme").write_text("untracked\n")
    (worktree / "link").symlink_to("a")
    (worktree / ".autonomous/todo/notes.md").write_text("ignored by the repository, and not a tracking file\n")
    (worktree / "debug.log").write_text("ignored\n")
    files = content(worktree)
    ended = autonomous(repo, "remove", "todo")
    assert ended.status == 0
    assert "ignored files go with the worktree of 'todo': .autonomous/todo/notes.md, debug.log\n" in ended.err
    ended = autonomous(repo, "restore", "todo")
    assert ended.out.endswith(f", with its uncommitted files in {worktree}\n")
    assert content(worktree) == {
        path: text for path, text in files.items() if path not in ("debug.log", ".autonomous/todo/notes.md")
    }
    assert git(worktree, "status", "--porcelain").splitlines() == [
        "MM a", " D b", " M c", " M run", "?? link", "?? new/",
    ]  # fmt: skip
    assert git(worktree, "show", ":a") == "staged"


def test_an_unfinished_merge_is_kept_with_its_conflict_and_with_what_it_merges(repo: Path) -> None:
    made.finished(repo, "todo", {"README.md": "mine\n"})
    (repo / "README.md").write_text("theirs\n")
    git(repo, "commit", "-qam", "theirs")
    worktree = made.worktree_of(repo, "todo")
    with pytest.raises(Exception, match="merge"):
        git(worktree, "merge", "main")
    conflict = (worktree / "README.md").read_text()
    assert autonomous(repo, "remove", "todo").status == 0
    assert git(repo, "log", "-1", "--format=%P", "refs/autonomous/backup/todo/1").split()[1:] == [
        git(repo, "rev-parse", "main")
    ]
    assert autonomous(repo, "restore", "todo").status == 0
    assert (worktree / "README.md").read_text() == conflict
    assert "<<<<<<<" in conflict


def test_what_no_commit_can_hold_goes_to_the_attic_and_comes_back(repo: Path, tmp_path: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    worktree = made.worktree_of(repo, "todo")
    nested = worktree / "deep/nested"
    nested.mkdir(parents=True)
    git(nested, "init", "--quiet")
    (nested / "work").write_text("1\n")
    git(nested, "add", "work")
    git(nested, "commit", "-qm", "not in any other place")
    assert autonomous(repo, "remove", "todo").status == 0
    assert sorted(os.listdir(repo / ".git/autonomous/attic/todo/1")) == ["1", "contents.json"]
    ended = autonomous(repo, "restore", "todo")
    assert ended.status == 0
    assert git(nested, "log", "--format=%s") == "not in any other place"
    assert git(nested, "status", "--porcelain") == ""


def test_a_submodule_with_commits_of_its_own_goes_to_the_attic_and_comes_back(repo: Path, tmp_path: Path) -> None:
    from conftest import make_repository

    library = make_repository(tmp_path / "library")
    git(repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "lib")
    git(repo, "commit", "-qm", "submodule")
    made.finished(repo, "todo", {"a": "1\n"})
    worktree = made.worktree_of(repo, "todo")
    git(worktree, "-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init")
    (worktree / "lib/README.md").write_text("edited\n")
    git(worktree / "lib", "commit", "-qam", "only here")
    (worktree / "lib/dirty").write_text("dirty\n")
    assert autonomous(repo, "remove", "todo").status == 0
    assert autonomous(repo, "restore", "todo").status == 0
    assert git(worktree / "lib", "log", "-1", "--format=%s") == "only here"
    assert git(worktree / "lib", "status", "--porcelain") == "?? dirty"


def test_a_git_file_that_an_agent_replaced_is_not_obeyed_and_not_lost(repo: Path, tmp_path: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    worktree = made.worktree_of(repo, "todo")
    (worktree / ".git").unlink()
    git(worktree, "init", "--quiet")
    ran = tmp_path / "ran"
    git(worktree, "config", "core.fsmonitor", f"touch {ran}")
    (worktree / ".git/precious").write_text("1\n")
    (worktree / "untracked").write_text("1\n")
    assert autonomous(repo, "remove", "todo").status == 0
    assert not ran.exists()
    assert (repo / ".git/autonomous/attic/todo/1/1/precious").read_text() == "1\n"
    ended = autonomous(repo, "restore", "todo")
    assert "its place is taken, so this stays where it is: " in ended.err
    assert git(worktree, "status", "--porcelain") == "?? untracked"


def test_a_task_that_somebody_works_on_is_not_removed_nor_restored(repo: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    made.finished(repo, "other", {"b": "1\n"})
    assert autonomous(repo, "remove", "todo").status == 0
    assert autonomous(repo, "restore", "todo").status == 0
    before = git(repo, "for-each-ref")
    for lock in ("runner.lock", "agent.lock"):
        folder = repo / ".git/autonomous/tasks/todo"
        descriptor = locks.open_lock(str(folder / lock))
        assert locks.try_lock(descriptor)
        for command in ("remove", "restore"):
            ended = autonomous(repo, command, "todo")
            assert (ended.status, ended.err.splitlines()[-1]) == (
                1, "hint: git autonomous stop todo # then try again",
            )  # fmt: skip
        os.close(descriptor)
    assert git(repo, "for-each-ref") == before


def test_a_worktree_that_the_user_stands_in_or_owns_stays(repo: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    made.finished(repo, "mine", {"a": "1\n"}, worktree=False)
    worktree = made.worktree_of(repo, "todo")
    ended = autonomous(worktree, "remove", "todo")
    assert (ended.status, ended.err) == (
        1, f"error: you stand in the worktree of 'todo', {worktree}\nhint: cd {repo} && git autonomous remove todo\n",
    )  # fmt: skip
    git(repo, "switch", "--quiet", "autonomous/mine")
    ended = autonomous(repo, "remove", "mine")
    assert (ended.status, ended.err) == (
        1,
        f"error: autonomous/mine is checked out in your own checkout, {repo}\nhint: git -C {repo} switch --detach # then try again\n",
    )
    assert git(repo, "for-each-ref", "--format=%(refname)", "refs/autonomous") == ""


def test_several_tasks_are_removed_although_one_cannot_be(repo: Path) -> None:
    for name in ("one", "two"):
        made.finished(repo, name, {"a": "1\n"}, worktree=False)
    ended = autonomous(repo, "remove", "one", "tow", "two")
    assert (ended.status, ended.out) == (
        1, "one: removed, kept at refs/autonomous/backup/one/1\ntwo: removed, kept at refs/autonomous/backup/two/1\n",
    )  # fmt: skip
    assert "error: there is no task 'tow'\nhint: git autonomous status two\n" in ended.err


def test_restoring_over_a_task_keeps_what_it_is_now(repo: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    worktree = made.worktree_of(repo, "todo")
    old = git(repo, "rev-parse", "autonomous/todo")
    (worktree / "draft").write_text("old draft\n")
    assert autonomous(repo, "remove", "todo").status == 0
    made.finished(repo, "todo", {"b": "1\n"})
    new = git(repo, "rev-parse", "autonomous/todo")
    (worktree / "b").write_text("edited\n")
    ended = autonomous(repo, "restore", "todo")
    assert (ended.status, ended.err) == (
        0, "hint: git autonomous restore todo --number 2 # as it was until now\n".replace(" #", "    #"),
    )  # fmt: skip
    assert (git(repo, "rev-parse", "autonomous/todo"), git(worktree, "status", "--porcelain")) == (old, "?? draft")
    assert autonomous(repo, "restore", "todo", "--number", "2").status == 0
    assert (git(repo, "rev-parse", "autonomous/todo"), git(worktree, "status", "--porcelain")) == (new, " M b")
    assert git(repo, "show", "refs/autonomous/backup/todo/3:draft") == "old draft"
    ended = autonomous(repo, "restore", "todo", "--list")
    assert [line.split()[:4] for line in ended.out.splitlines()[1:]] == [
        ["3", "backup", old[:10], "with"], ["2", "backup", new[:10], "with"], ["1", "backup", old[:10], "with"],
    ]  # fmt: skip


def test_restoring_does_not_overwrite_an_ignored_file(repo: Path) -> None:
    (repo / ".gitignore").write_text(".autonomous/\n*.log\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "ignore")
    made.finished(repo, "todo", {"a": "1\n"})
    worktree = made.worktree_of(repo, "todo")
    (worktree / "b.log").write_text("of the old task\n")
    git(worktree, "add", "-f", "b.log")
    git(worktree, "commit", "-qm", "a log")
    assert autonomous(repo, "remove", "todo").status == 0
    made.finished(repo, "todo", {"a": "2\n"})
    new = git(repo, "rev-parse", "autonomous/todo")
    (worktree / "b.log").write_text("precious\n")
    (worktree / "a").write_text("edited\n")
    ended = autonomous(repo, "restore", "todo")
    assert (ended.status, ended.err) == (
        1, f"error: {worktree} has files that git does not track where files of the task would come back: b.log\n"
        f"hint: git -C {worktree} status --ignored\n",
    )  # fmt: skip
    assert git(repo, "rev-parse", "autonomous/todo") == new
    assert content(worktree)["a"] + content(worktree)["b.log"] == "edited\nprecious\n"
    (worktree / "b.log").unlink()
    assert autonomous(repo, "restore", "todo").status == 0
    assert content(worktree)["b.log"] == "of the old task\n"


def test_a_state_that_is_not_kept_is_a_clear_error(repo: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"}, worktree=False)
    ended = autonomous(repo, "restore", "todo")
    assert (ended.status, ended.err) == (
        1, "error: nothing is kept of a task 'todo'\nhint: git for-each-ref refs/autonomous/\n",
    )  # fmt: skip
    assert autonomous(repo, "remove", "todo").status == 0
    assert autonomous(repo, "restore", "tood").err.splitlines()[1] == "hint: git autonomous restore todo"
    ended = autonomous(repo, "restore", "todo", "--number", "7")
    assert (ended.status, ended.err) == (
        1, "error: no state 7 is kept of 'todo'\nhint: git autonomous restore todo --list\n",
    )  # fmt: skip
    assert autonomous(repo, "restore", "todo").status == 0
    ended = autonomous(repo, "restore", "todo")
    assert (ended.status, ended.err.splitlines()[0]) == (
        1, "error: 'todo' is as it was kept at refs/autonomous/backup/todo/1: nothing to restore",
    )  # fmt: skip


def test_a_worktree_that_vanished_does_not_keep_a_task_from_going(repo: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    made.worktree_of(repo, "todo").rename(repo.parent / "moved away")
    ended = autonomous(repo, "remove", "todo")
    assert (ended.status, git(repo, "worktree", "list").count("\n")) == (0, 0)
    assert (repo.parent / "moved away/a").read_text() == "1\n"


def test_what_a_death_left_in_the_trash_or_the_attic_is_in_nobodys_way(repo: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    trash = repo / ".git/autonomous/trash"
    (trash / "left").mkdir(parents=True)
    (repo / ".git/autonomous/attic/todo/1").mkdir(parents=True)
    (repo / ".git/autonomous/attic/todo/1/1").write_text("left\n")
    (made.worktree_of(repo, "todo") / "new").write_text("1\n")
    place = made.place_of(repo)
    assert (
        backup.keep_uncommitted(place.repository, place.objects, "todo", "autonomous/todo")
        == "refs/autonomous/backup/todo/2"
    )
    assert autonomous(repo, "prune").status == 0
    assert list(trash.iterdir()) == []
    assert (repo / ".git/autonomous/attic/todo/1/1").read_text() == "left\n"
