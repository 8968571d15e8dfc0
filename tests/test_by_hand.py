"""`git merge` of a task's branch, by hand, with the hooks installed: it ends as `git autonomous merge` does, or not at all."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import made
import pytest
from conftest import git, make_repository
from program import Ended, autonomous, listed

from gitautonomous import locks, states


def run(repo: Path, *command: str, **environment: str) -> Ended:
    """A git command as a person types it: its status, and what is not git's own chat."""
    everything = {**os.environ, "GIT_MERGE_AUTOEDIT": "no", **environment}
    done = subprocess.run(["git", "-C", repo, *command], capture_output=True, text=True, env=everything, check=False)
    return Ended(done.returncode, done.stdout, done.stderr)


def outcome(repo: Path) -> dict[str, str]:
    """All that is left of a merge, dates and ids of new commits apart."""
    return {
        "history": git(repo, "log", "--first-parent", "--format=%an %cn%n%B", "main", "--"),
        "tree": git(repo, "ls-tree", "-r", "refs/heads/main"),
        "shape": git(repo, "rev-list", "--parents", "--all", "--count", "--"),
        "status": git(repo, "status", "--porcelain=v2", "--branch", "--ignored").partition("\n")[2],
        "refs": git(repo, "for-each-ref", "--format=%(refname) %(contents:subject)"),
        "kept": git(repo, "log", "--format=%s", "refs/autonomous/merged/todo/1"),
        "worktrees": str(git(repo, "worktree", "list").count("\n")),
        "left": str(list(repo.parent.glob("*.autonomous/*"))),
        "unfinished business": str(sorted(p.name for p in (repo / ".git").glob("*MERGE*"))),
        "files": str(sorted(str(p.relative_to(repo)) for p in repo.rglob("*") if ".git" not in p.parts)),
    }


def go_on(repo: Path, path: str = "main", content: str = "went on\n") -> None:
    (repo / path).write_text(content)
    git(repo, "add", path)
    git(repo, "commit", "--quiet", "-m", "Went on")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two repositories that are the same, with the hooks, a finished task and a worktree: one to merge by hand, one with our command."""
    pair = (make_repository(tmp_path / "hand" / "repo"), make_repository(tmp_path / "command" / "repo"))
    for repo in pair:
        made.finished(repo, "todo", {"a": "1\n"}, {"folder/b": "2\n", "README.md": None})
        assert autonomous(repo, "hooks", "install").status == 0
    return pair


# -- the same end --------------------------------------------------------------------------------------------------------------------------------


def test_a_merge_commit_by_hand_ends_as_our_command_does(pair: tuple[Path, Path]) -> None:
    by_hand, command = pair
    for repo in pair:
        go_on(repo)
        (repo / "untracked").write_text("mine\n")
    done = run(by_hand, "merge", "--quiet", "autonomous/todo")
    head = git(by_hand, "rev-parse", "--short=10", "main")
    assert (done.status, done.err) == (
        0,
        f"autonomous: todo is in main as {head}, and its branch and worktree are gone: git autonomous restore todo\n",
    )
    assert autonomous(command, "merge", "todo").status == 0
    assert outcome(by_hand) == outcome(command)
    assert git(by_hand, "fsck", "--strict", "--no-dangling") == ""


def test_a_fast_forward_by_hand_ends_as_our_command_does(pair: tuple[Path, Path]) -> None:
    by_hand, command = pair
    done = run(by_hand, "merge", "--quiet", "autonomous/todo")
    head = git(by_hand, "rev-parse", "--short=10", "main")
    assert (done.status, done.err) == (
        0,
        f"autonomous: todo is in main as {head}, and its branch and worktree are gone: git autonomous restore todo\n",
    )
    assert autonomous(command, "merge", "todo").status == 0
    assert outcome(by_hand) == outcome(command)


def test_a_squash_by_hand_ends_as_our_command_does(pair: tuple[Path, Path]) -> None:
    by_hand, command = pair
    assert run(by_hand, "merge", "--quiet", "--squash", "autonomous/todo").err == ""
    assert git(by_hand, "status", "--porcelain") == "D  README.md\nA  a\nA  folder/b"
    done = run(by_hand, "commit", "--quiet", "--no-edit")
    head = git(by_hand, "rev-parse", "--short=10", "main")
    assert (done.status, done.err) == (
        0,
        f"autonomous: todo is in main as {head}, and its branch and worktree are gone: git autonomous restore todo\n",
    )
    assert autonomous(command, "merge", "--squash", "todo").status == 0
    assert outcome(by_hand) == outcome(command)


@pytest.mark.parametrize("way", ["conflict", "no-commit"])
def test_a_merge_that_is_concluded_by_a_commit_ends_as_any_other(pair: tuple[Path, Path], way: str) -> None:
    by_hand, command = pair
    for repo in pair:
        go_on(repo)
    if way == "conflict":
        go_on(by_hand, "a", "other\n")
        assert run(by_hand, "merge", "--quiet", "autonomous/todo").status == 1
        (by_hand / "a").write_text("1\n")
        git(by_hand, "add", "a")
        go_on(command, "a", "1\n")
    else:
        assert run(by_hand, "merge", "--quiet", "--no-commit", "autonomous/todo").status == 0
    done = run(by_hand, "commit", "--quiet", "--no-edit")
    head = git(by_hand, "rev-parse", "--short=10", "main")
    assert (done.status, done.err) == (
        0,
        f"autonomous: todo is in main as {head}, and its branch and worktree are gone: git autonomous restore todo\n",
    )
    assert autonomous(command, "merge", "todo").status == 0
    different = {"history"} if way == "conflict" else set()
    ends = [{key: end[key] for key in end if key not in different} for end in (outcome(by_hand), outcome(command))]
    assert ends[0] == ends[1]
    assert git(by_hand, "log", "-1", "--format=%B") == git(command, "log", "-1", "--format=%B")
    assert not (by_hand / ".git/autonomous-merge").exists()


def test_a_message_of_the_persons_own_stays_and_so_does_a_kept_tracking_folder(repo: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    autonomous(repo, "hooks", "install")
    go_on(repo)
    git(repo, "config", "autonomous.keepTracking", "true")
    assert run(repo, "merge", "--quiet", "-m", "My words", "autonomous/todo").status == 0
    assert git(repo, "log", "-1", "--format=%B") == "My words\n"
    assert git(repo, "ls-tree", "-r", "--name-only", "main", ".autonomous").splitlines() == [
        ".autonomous/todo/progress.md", ".autonomous/todo/task.toml", ".autonomous/todo/task_list.md",
    ]  # fmt: skip
    assert git(repo, "for-each-ref", "refs/heads/autonomous") == ""


def test_uncommitted_work_of_the_person_survives_a_fast_forward_that_becomes_a_merge(repo: Path) -> None:
    (repo / "mine").write_text("one\n")
    git(repo, "add", "mine")
    git(repo, "commit", "--quiet", "-m", "mine")
    made.finished(repo, "todo", {"a": "1\n"})
    autonomous(repo, "hooks", "install")
    (repo / "mine").write_text("two\n")
    (repo / "staged").write_text("three\n")
    git(repo, "add", "staged")
    assert run(repo, "merge", "--quiet", "autonomous/todo").status == 0
    assert git(repo, "status", "--porcelain") == " M mine\nA  staged"
    assert git(repo, "log", "--first-parent", "--format=%s") == "Merge todo: Do todo well\nmine\nFirst commit"


# -- refused -------------------------------------------------------------------------------------------------------------------------------------


def unfinished(repo: Path) -> str:
    made.finished(repo, "todo", {"a": "1\n"}, left=2)
    return "it is not finished: 1 of 3 items are done"


def failing(repo: Path) -> str:
    task = made.finished(repo, "todo", {"a": "1\n"}, checks=("true",))
    made.session(repo, task, {"a": "2\n"}, number=3, done=1, total=1, check="failed")
    return "its checks fail"


def unchecked(repo: Path) -> str:
    made.finished(repo, "todo", {"a": "1\n"}, checks=("true",))
    worktree = made.worktree_of(repo, "todo")
    git(worktree, "commit", "--quiet", "--allow-empty", "-m", "By hand")
    return "its checks have not run on its newest commit"


def without_list(repo: Path) -> str:
    made.start(repo, "todo")
    return "it has no task list yet"


@pytest.mark.parametrize("state", [unfinished, failing, unchecked, without_list])
def test_a_merge_commit_of_a_task_that_is_not_finished_is_refused(repo: Path, state: Callable[[Path], str]) -> None:
    why = state(repo)
    autonomous(repo, "hooks", "install")
    go_on(repo)
    before = git(repo, "rev-parse", "main", "autonomous/todo")
    done = run(repo, "merge", "--quiet", "autonomous/todo")
    assert (done.status, done.err.splitlines()) == (
        1,
        [
            f"error: 'todo' is not to be merged into main: {why}",
            "hint: git merge --abort # or, all the same: GIT_AUTONOMOUS_GUARD=0 git commit",
            "Not committing merge; use 'git commit' to complete the merge.",
        ],
    )
    done = run(repo, "commit", "--quiet", "--no-edit")
    assert (done.status, done.err.splitlines()) == (
        1,
        [
            f"error: 'todo' is not to be merged into main: {why}",
            "hint: git merge --abort # or, all the same: GIT_AUTONOMOUS_GUARD=0 git commit",
        ],
    )
    git(repo, "merge", "--abort")
    assert (git(repo, "rev-parse", "main", "autonomous/todo"), git(repo, "status", "--porcelain")) == (before, "")


def test_a_fast_forward_to_a_task_that_is_not_finished_is_taken_back(repo: Path) -> None:
    why = unfinished(repo)
    autonomous(repo, "hooks", "install")
    (repo / "README.md").write_text("mine\n")
    (repo / "untracked").write_text("mine\n")
    before = git(repo, "rev-parse", "main", "autonomous/todo")
    done = run(repo, "merge", "--quiet", "autonomous/todo")
    assert (done.status, done.err.splitlines()) == (
        0,
        [
            f"error: 'todo' is not to be merged into main: {why}; main is back at {before[:10]}",
            "hint: git autonomous resume todo # or, all the same: GIT_AUTONOMOUS_GUARD=0 git merge autonomous/todo",
        ],
    )
    assert git(repo, "rev-parse", "main", "autonomous/todo") == before
    assert git(repo, "status", "--porcelain") == " M README.md\n?? untracked"
    assert sorted(path.name for path in repo.iterdir()) == [".git", "README.md", "untracked"]


def test_a_squash_of_a_task_that_is_not_finished_is_said_at_once_and_refused_by_its_commit(repo: Path) -> None:
    why = unfinished(repo)
    autonomous(repo, "hooks", "install")
    before = git(repo, "rev-parse", "main")
    lines = [
        f"error: 'todo' is not to be merged into main: {why}",
        "hint: git reset --merge # or, all the same: GIT_AUTONOMOUS_GUARD=0 git commit",
    ]
    assert run(repo, "merge", "--quiet", "--squash", "autonomous/todo").err.splitlines() == lines
    done = run(repo, "commit", "--quiet", "--no-edit")
    assert (done.status, done.err.splitlines(), git(repo, "rev-parse", "main")) == (1, lines, before)
    git(repo, "reset", "--quiet", "--merge")
    assert git(repo, "status", "--porcelain") == ""
    (repo / "b").write_text("2\n")
    git(repo, "add", "b")
    assert run(repo, "commit", "--quiet", "-m", "Something else").err == ""
    assert git(repo, "branch", "--list", "autonomous/todo") == "+ autonomous/todo"


def test_an_older_commit_of_a_task_is_refused(repo: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"}, {"b": "1\n"})
    autonomous(repo, "hooks", "install")
    before, older = git(repo, "rev-parse", "main"), git(repo, "rev-parse", "--short=10", "autonomous/todo~1")
    done = run(repo, "merge", "--quiet", "autonomous/todo~1")
    assert (
        done.err.splitlines()[0] == f"error: {older} is not the newest commit of 'todo'; main is back at {before[:10]}"
    )
    assert git(repo, "rev-parse", "main") == before


def test_a_task_that_is_being_worked_on_is_refused(repo: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    autonomous(repo, "hooks", "install")
    folder = repo / ".git/autonomous/tasks/todo"
    folder.mkdir(parents=True, exist_ok=True)
    states.write_word(str(folder), states.RUNNING, 0, git(repo, "rev-parse", "autonomous/todo"), "session 4")
    lock = locks.open_lock(str(folder / "runner.lock"))
    assert locks.try_lock(lock)
    go_on(repo)
    assert run(repo, "merge", "--quiet", "autonomous/todo").err.splitlines()[0] == (
        "error: 'todo' is not to be merged into main: it is being worked on (session 4)"
    )
    done = run(repo, "commit", "--quiet", "--no-edit", GIT_AUTONOMOUS_GUARD="0")
    assert (done.status, done.err.splitlines()) == (
        0,
        ["autonomous: 'todo' is merged, but its branch and worktree stay: 'todo' is being worked on ()"],
    )
    os.close(lock)


@pytest.mark.parametrize("forward", [True, False])
def test_the_override_merges_all_the_same_and_the_message_says_so(repo: Path, forward: bool) -> None:
    unfinished(repo)
    autonomous(repo, "hooks", "install")
    if not forward:
        go_on(repo)
    assert run(repo, "merge", "--quiet", "autonomous/todo", GIT_AUTONOMOUS_GUARD="0").status == 0
    assert git(repo, "log", "-1", "--format=%B").splitlines() == [
        "Merge todo: Do todo well", "", "- [x] item 1", "", "Autonomous-Merged: todo", "Autonomous-Sessions: 2",
        "Autonomous-Forced: merged by hand", "Assisted-by: Codex:gpt-5.5",
    ]  # fmt: skip
    assert git(repo, "ls-tree", "--name-only", "main").splitlines() == ["README.md", "a"] + (
        [] if forward else ["main"]
    )
    assert (
        git(repo, "for-each-ref", "--format=%(refname)", "refs/autonomous", "refs/heads/autonomous")
        == "refs/autonomous/merged/todo/1"
    )


# -- what is none of our business ----------------------------------------------------------------------------------------------------------------


def test_other_merges_are_left_alone(repo: Path) -> None:
    unfinished(repo)
    autonomous(repo, "hooks", "install")
    for name in ("feature", "other"):
        git(repo, "switch", "--quiet", "--create", name)
        go_on(repo, name)
        git(repo, "switch", "--quiet", "main")
    assert run(repo, "merge", "--quiet", "feature") == Ended(0, "", "")
    assert run(repo, "merge", "--quiet", "other") == Ended(0, "", "")
    assert git(repo, "log", "-1", "--format=%s") == "Merge branch 'other'"
    git(repo, "switch", "--quiet", "--detach")
    assert run(repo, "merge", "--quiet", "autonomous/todo").err == ""


def test_a_base_that_was_fast_forwarded_elsewhere_is_pulled_as_it_is_and_the_task_is_noticed(
    repo: Path, tmp_path: Path
) -> None:
    """What is pulled may have the very commit of the task as its tip: that is no merge of the task by hand."""
    made.finished(repo, "todo", {"a": "1\n"})
    remote = tmp_path / "remote.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(repo), str(remote))
    git(remote, "update-ref", "refs/heads/main", "refs/heads/autonomous/todo")
    git(repo, "remote", "add", "origin", str(remote))
    autonomous(repo, "hooks", "install")
    done = run(repo, "pull", "--quiet", "origin", "main")
    assert (done.status, done.err) == (0, "autonomous: todo is done with (merged into main): git autonomous prune\n")
    assert git(repo, "rev-parse", "main") == git(repo, "rev-parse", "autonomous/todo")
    assert listed(repo)[0]["state"] == "merged"


def test_a_task_that_was_squashed_elsewhere_is_noticed_when_it_is_pulled_or_rebased_onto(
    repo: Path, tmp_path: Path
) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    elsewhere = tmp_path / "elsewhere"
    git(tmp_path, "clone", "--quiet", str(repo), str(elsewhere))
    go_on(elsewhere, "a", "1\n")
    go_on(elsewhere, "b", "2\n")
    squashed = git(elsewhere, "rev-parse", "--short=10", "HEAD~1")
    git(repo, "remote", "add", "origin", str(elsewhere))
    autonomous(repo, "hooks", "install")
    said = f"autonomous: todo is done with (squashed into main as {squashed}): git autonomous prune\n"
    assert (
        run(repo, "pull", "--quiet", "origin", "main").err.replace(
            "all of it is in main", f"squashed into main as {squashed}"
        )
        == said
    )
    go_on(repo, "c")
    git(repo, "reset", "--quiet", "--hard", "HEAD~3")
    go_on(repo, "c")
    assert (
        run(repo, "pull", "--quiet", "--rebase", "origin", "main").err.replace(
            "all of it is in main", f"squashed into main as {squashed}"
        )
        == said
    )


def test_our_own_merge_is_not_taken_for_one_by_hand(repo: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    made.finished(repo, "more", {"b": "1\n"}, base="autonomous/todo")
    autonomous(repo, "hooks", "install")
    done = autonomous(repo, "merge", "more", "todo")
    assert (done.status, [line for line in done.err.splitlines() if not line.startswith("hint: ")]) == (0, [])
    assert git(repo, "log", "--first-parent", "--format=%s", "main").splitlines() == [
        "Merge todo: Do todo well",
        "First commit",
    ]
