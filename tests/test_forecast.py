"""Conflicts are told before anybody merges, kept by tips, and never believed when a tip has moved."""

from __future__ import annotations

import os
from pathlib import Path

import made
import pairs
import pytest
from agent import executor, initializer, sessions, write_file
from conftest import git
from program import autonomous, listed

from gitautonomous import forecast, threeway
from gitautonomous.forecast import Tip, Touched
from gitautonomous.git import Repository
from gitautonomous.scripted import Server


def refresh(repo: Path) -> None:
    place = made.place_of(repo)
    forecast.refresh(place.repository, place.objects, "autonomous/")


def ahead(repo: Path) -> dict[str, list[str] | None]:
    return {task["name"]: task["conflicts"] for task in listed(repo)}


def test_conflicts_with_the_base_and_with_other_tasks_are_found_with_their_files(repo: Path) -> None:
    (repo / "shared").write_text("1\n2\n3\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "shared")
    made.finished(repo, "base-clash", {"README.md": "mine\n"}, worktree=False)
    made.finished(repo, "first", {"shared": "one\n2\n3\n", "new": "1\n"}, worktree=False)
    made.finished(repo, "second", {"shared": "eins\n2\n3\n", "new": "2\n"}, left=1, worktree=False)
    made.finished(repo, "apart", {"shared": "1\n2\nthree\n"}, worktree=False)
    made.start(repo, "fresh", worktree=False)
    (repo / "README.md").write_text("theirs\n")
    git(repo, "commit", "-qam", "theirs")
    assert ahead(repo) == dict.fromkeys(["apart", "base-clash", "first", "fresh", "second"])
    objects = git(repo, "count-objects", "-v")
    refresh(repo)
    assert git(repo, "count-objects", "-v") == objects
    assert ahead(repo) == {
        "apart": [], "base-clash": ["main"], "first": ["second"], "fresh": None, "second": ["first"],
    }  # fmt: skip
    common = repo / ".git"
    assert forecast.files_of(common, "first") == {"second": ["new", "shared"]}
    assert forecast.files_of(common, "base-clash") == {"main": ["README.md"]}
    assert "\nconflicts  main (README.md)\n" in autonomous(repo, "status", "base-clash").out
    assert "\nconflicts  second (new, shared)\n" in autonomous(repo, "status", "first").out
    table = autonomous(repo, "list").out
    assert sorted(line.split("  ")[-1] for line in table.splitlines() if "conflicts" in line) == [
        "conflicts with first", "conflicts with main", "conflicts with second",
    ]  # fmt: skip


def test_a_verdict_is_not_believed_when_a_tip_has_moved_and_only_what_is_new_is_merged_again(repo: Path) -> None:
    tasks = {name: made.finished(repo, name, {"README.md": f"{name}\n"}, worktree=False) for name in ("one", "two")}
    made.finished(repo, "far", {"far": "1\n"}, worktree=False)
    refresh(repo)
    assert ahead(repo) == {"far": [], "one": ["two"], "two": ["one"]}
    made.session(repo, tasks["one"], {"other": "1\n", "README.md": "# A project\n"}, number=3, done=2, total=2)
    assert ahead(repo) == {"far": ["?"], "one": ["?"], "two": ["?"]}
    assert "\nconflicts " not in autonomous(repo, "status", "far").out  # looks ahead first
    assert ahead(repo) == {"far": [], "one": [], "two": []}
    (repo / "README.md").write_text("theirs\n")
    git(repo, "commit", "-qam", "theirs")
    assert ahead(repo) == {"far": ["?"], "one": ["?"], "two": ["?"]}
    assert "\nnext       git autonomous merge --resolve two\n" in autonomous(repo, "status", "two").out
    assert "\n  git autonomous merge --resolve two\n" in autonomous(repo, "review", "two").out
    assert ahead(repo) == {"far": [], "one": [], "two": ["main"]}
    made.finished(repo, "late", {"far": "2\n"}, worktree=False)
    assert ahead(repo) == {"far": ["?"], "late": None, "one": ["?"], "two": ["main", "?"]}
    assert autonomous(repo, "remove", "late").status == 0
    assert ahead(repo) == {"far": [], "one": [], "two": ["main"]}


def test_a_conflict_with_the_base_is_not_blamed_on_a_task_that_has_the_base(repo: Path) -> None:
    (repo / "a").write_text("1\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "a")
    made.finished(repo, "old", {"README.md": "old\n", "a": "old\n"}, worktree=False)
    (repo / "README.md").write_text("went on\n")
    git(repo, "commit", "-qam", "went on")
    made.finished(repo, "new", {"a": "1\n2\n", "README.md": "went on\nand on\n"}, worktree=False)
    refresh(repo)
    assert forecast.files_of(repo / ".git", "old") == {"main": ["README.md"], "new": ["a"]}


def test_a_merged_a_broken_and_a_baseless_task_have_no_forecast(repo: Path) -> None:
    for name in ("merged", "other"):
        made.finished(repo, name, {"README.md": f"{name}\n"}, worktree=False)
    git(repo, "branch", "feature")
    made.finished(repo, "baseless", {"README.md": "x\n"}, base="feature", worktree=False)
    git(repo, "branch", "--quiet", "-D", "feature")
    git(repo, "merge", "--quiet", "--no-edit", "autonomous/merged")
    refresh(repo)
    assert ahead(repo) == {"baseless": None, "merged": None, "other": ["main"]}


@pytest.mark.parametrize(
    "content", ["", "T\tx\n", "\0\xff\n" * 3, "C\ta\tb\tc\nT\ta\t\t\t\n"], ids=["empty", "cut", "binary", "odd"]
)
def test_a_damaged_forecast_is_no_forecast(repo: Path, content: str) -> None:
    made.finished(repo, "one", {"README.md": "one\n"}, worktree=False)
    made.finished(repo, "two", {"README.md": "two\n"}, worktree=False)
    file = made.place_of(repo).repository.make_state_dir("cache") / "forecast"
    file.write_text(content, encoding="latin-1")
    assert ahead(repo) == {"one": None, "two": None}
    refresh(repo)
    assert ahead(repo) == {"one": ["two"], "two": ["one"]}
    assert file.stat().st_mode & 0o777 == 0o600


def test_names_that_people_would_not_believe_do_not_break_the_kept_file(repo: Path) -> None:
    for name in ("one", "two"):
        task = made.start(repo, name)
        worktree = made.worktree_of(repo, name)
        for path in ("tab\there", "new\nline", "\x1b[31mred"):
            (worktree / path).write_text(name)
        git(worktree, "add", "--all")
        git(worktree, "commit", "-qm", "by hand")
        made.session(repo, task, {}, number=1, done=0, total=1, role="initializer")
    refresh(repo)
    assert ahead(repo) == {"one": ["two"], "two": ["one"]}
    assert sorted(forecast.files_of(repo / ".git", "one")["two"]) == ["new line", "red", "tab here"]


def test_the_filter_before_the_merges_misses_no_conflict(tmp_path: Path) -> None:
    count = 60
    folder = pairs.make_pairs(tmp_path / "pairs", count, seed=11)
    repository = Repository.discover(folder)
    spared = 0
    for number in range(count):
        fork, ours, theirs = (git(folder, "rev-parse", f"{side}{number}") for side in "oab")
        touched = forecast.touched_by(
            repository, [Tip("a", ours, "main", fork, fork), Tip("b", theirs, "main", fork, fork)]
        )
        overlap = forecast.overlapping(touched) == [("a", "b")]
        spared += not overlap
        assert overlap or not threeway.merge(repository, ours, theirs).conflicts, f"pair {number}"
    assert spared


@pytest.mark.parametrize(
    ("first", "second", "overlap"),
    [
        (["M a"], ["M b"], False),
        (["M a"], ["M a"], True),
        (["A a"], ["A a/b"], True),
        (["D d/x", "A e/x"], ["A d/new"], True),
        (["D d/x", "A e/x"], ["A d/deep/new"], True),
        (["M d/x"], ["A d/new"], False),
    ],
)
def test_what_can_meet(first: list[str], second: list[str], overlap: bool) -> None:
    def touched(changes: list[str]) -> Touched:
        return forecast.touched([(change[0], change[2:]) for change in changes])

    assert forecast.overlapping({"x": touched(first), "y": touched(second)}) == ([("x", "y")] if overlap else [])


@pytest.mark.usefixtures("codex_home")
def test_the_runner_refreshes_it_after_each_session_and_does_not_stumble_over_it(
    agent_repo: Path, model: Server
) -> None:
    made.finished(agent_repo, "other", {"a": "other\n"})
    cache = made.place_of(agent_repo).repository.make_state_dir("cache")
    (cache / "forecast").mkdir()
    model.play(
        sessions(
            initializer("todo", ["write a"]), executor("todo", "write a", f"rmdir {cache}/forecast; " + write_file("a", "1"))
        )
    )  # fmt: skip
    ended = autonomous(agent_repo, "start", "Write a", "--name", "todo", "--delay", "0", "--max-sessions", "1")
    assert (ended.status, ahead(agent_repo)) == (0, {"other": None, "todo": None})
    (cache / "forecast").rmdir()
    assert autonomous(agent_repo, "resume", "todo", "--delay", "0").status == 0
    assert ahead(agent_repo) == {"other": ["todo"], "todo": ["other"]}
    assert os.listdir(cache / "attributes") == [git(agent_repo, "rev-parse", "main^{tree}")]
