"""What a listing tells about tasks on whose branch a person was at work, and where it looks for that."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import git
from made import finished
from program import autonomous

from gitautonomous import listing, locks, model, outside, states, stopping, summaries


def by_hand(folder: Path, change: str) -> None:
    """A person's commit in a task's worktree."""
    path = folder / ".autonomous" / "todo" / "task_list.md"
    match change:
        case "elsewhere":
            (folder / "README.md").write_text((folder / "README.md").read_text() + "corrected\n")
        case "ticked":
            path.write_text(path.read_text().replace("- [ ]", "- [x]"))
        case "blocked":
            path.write_text(path.read_text().replace("item 2", "item 2 (blocked: no docker)"))
        case "list deleted":
            path.unlink()
        case "task deleted":
            (path.parent / "task.toml").unlink()
        case "task damaged":
            with (path.parent / "task.toml").open("a") as file:
                file.write("goal = 'a second one'\n")
        case "task edited":
            with (path.parent / "task.toml").open("a") as file:
                file.write("# by hand\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", f"By hand: {change}\n\nAutonomous-Task: another")


@pytest.mark.parametrize(
    ("change", "state", "done", "total", "stuck"),
    [
        ("elsewhere", "paused", 1, 2, "no"),
        ("ticked", "finished", 2, 2, "no"),
        ("blocked", "blocked", 1, 2, "yes"),
        ("list deleted", "paused", 0, 0, "no"),
        ("task deleted", "broken", 1, 2, "no"),
        ("task damaged", "broken", 1, 2, "no"),
        ("task edited", "paused", 1, 2, "no"),
    ],
)
def test_above_a_persons_commits_the_record_is_the_last_sessions_and_the_list_the_newest(
    repo: Path, change: str, state: str, done: int, total: int, stuck: str
) -> None:
    finished(repo, "todo", {"a": "1"}, left=1)
    folder = repo.parent / "repo.autonomous" / "todo"
    by_hand(folder, "elsewhere")
    by_hand(folder, change)
    (task,) = listing.tasks(str(repo / ".git"), "autonomous/", 0.0)
    assert {key: task[key] for key in ("state", "done", "total", "sessions", "tokens", "base")} == {
        "state": state, "done": done, "total": total, "sessions": 2, "tokens": 20, "base": "main",
    }  # fmt: skip
    assert (task["reason"] == "only blocked or skipped items are left") == (stuck == "yes")


def test_the_record_of_a_usual_session_is_read_as_any_other(repo: Path) -> None:
    usual = model.Session(
        "one", 3, "executor", done=2, total=5, check="failed", base="main", tokens=7, all_tokens=70, seconds=1, all_seconds=9,
        thread="01a2", assisted_by="Codex:gpt",
    )  # fmt: skip
    others = {"two": replace(usual, task="two", assisted_by=""), "three": replace(usual, task="three", blocked=3)}
    for name, record in {"one": usual, **others}.items():
        git(repo, "switch", "--quiet", "--create", f"autonomous/{name}", "main")
        git(repo, "commit", "--quiet", "--allow-empty", "-m", model.commit_message(record, ticked=[], closing="Done."))
    assert [*states.trailers(model.commit_message(usual, ticked=[], closing="Done."))] == listing.USUAL
    found = {task["name"]: task for task in listing.tasks(str(repo / ".git"), "autonomous/", 0.0)}
    keys = ("base", "done", "total", "sessions", "check", "thread", "tokens")
    assert {name: [task[key] for key in keys] for name, task in found.items()} == dict.fromkeys(
        ("one", "two", "three"), ["main", 2, 5, 3, "failed", "01a2", 70]
    )
    assert [found[name]["state"] for name in ("one", "two", "three")] == ["paused", "paused", "blocked"]


def test_what_tips_tell_is_kept_and_a_commit_is_read_once(repo: Path) -> None:
    for name in ("new", "old", "todo"):
        finished(repo, name, {name: "1"}, left=1)
    by_hand(repo.parent / "repo.autonomous" / "todo", "ticked")
    common, kept = str(repo / ".git"), repo / ".git" / summaries.FILE

    def found(only: str | None = None) -> dict[str, listing.Fields]:
        return {task["name"]: task for task in listing.tasks(common, "autonomous/", 0.0, only=only)}

    few = found()
    assert not kept.exists()  # to read a few takes no longer than to keep them
    for number in range(listing.WORTH_KEEPING):
        git(repo, "branch", f"autonomous/plain-{number}")
    first = found()
    before = kept.read_text()
    assert found() == first == first | few
    kept.write_text(before.replace("\t2\t20\t", "\t7\t20\t"))
    git(repo, "update-ref", "refs/heads/autonomous/new", f"{first['new']['tip']}~1")
    assert [found()[name]["sessions"] for name in ("new", "old", "todo")] == [1, 7, 7]  # git is not asked again
    assert found(only="old")["old"]["sessions"] == 2
    git(repo, "update-ref", "refs/heads/autonomous/new", first["new"]["tip"])
    for damaged in (before[:-3], "", "\0" * 300, "\udcff\t\n" * 9, before.replace("\t20\t", "\tx\t")):
        kept.write_bytes(os.fsencode(damaged))
        assert found() == first
    assert kept.read_text() == before


def test_when_all_are_finished_the_newest_is_looked_at(repo: Path) -> None:
    finished(repo, "todo", {"a": "1"})
    ended = autonomous(repo, "status")
    assert (ended.status, ended.out.split("\n")[0]) == (0, "task       todo")
    assert autonomous(repo, "resume").err.startswith("error: there is no unfinished task\n")


def test_a_branch_that_is_no_task_is_broken(repo: Path) -> None:
    git(repo, "branch", "autonomous/plain")
    (task,) = listing.tasks(str(repo / ".git"), "autonomous/", 0.0)
    assert (task["state"], task["reason"], task["total"]) == ("broken", "task.toml cannot be read", 0)


def test_a_commit_cannot_say_what_a_listing_tells_of_other_tasks(repo: Path) -> None:
    finished(repo, "todo", {"a": "1"}, left=1)
    tip = git(repo, "rev-parse", "autonomous/todo")
    raw = git(repo, "cat-file", "commit", tip) + "\n"
    ends = "\0\0\n"
    for others in (
        "",
        f"refs/heads/autonomous/todo\0{tip}\0{raw.replace('1/2', '2/2')}",
        f"refs/autonomous/merged/todo/1\0{tip}\0",
    ):
        forged = f"{raw}{ends}{others}{ends}".encode()
        command = ["git", "-C", str(repo), "hash-object", "-t", "commit", "-w", "--literally", "--stdin"]
        made = subprocess.run(command, input=forged, capture_output=True, check=True).stdout.decode().strip()
        git(repo, "update-ref", "refs/heads/autonomous/hostile", made)
        found = {
            task["name"]: (task["state"], task["done"])
            for task in listing.tasks(str(repo / ".git"), "autonomous/", 0.0)
        }
        assert found == {"hostile": ("broken", 0), "todo": ("paused", 1)}


def test_a_listing_knows_the_worktrees_that_git_knows(repo: Path, tmp_path: Path) -> None:
    for name in ("here", "moved", "gone", "detached"):
        finished(repo, name, {name: "1"}, worktree=name != "here")
    folder = repo.parent / "repo.autonomous"
    git(repo, "switch", "--quiet", "autonomous/here")
    git(repo, "worktree", "move", str(folder / "moved"), str(tmp_path / "elsewhere"))
    git(folder / "detached", "switch", "--quiet", "--detach")
    (folder / "gone").rename(tmp_path / "another drive")
    asked = git(repo, "for-each-ref", "--format=%(refname:lstrip=3) %(worktreepath)", "refs/heads/autonomous/")
    told = {line.partition(" ")[0]: line.partition(" ")[2] or None for line in asked.splitlines()}
    found = listing.tasks(str(repo / ".git"), "autonomous/", 0.0)
    assert {task["name"]: task["worktree"] for task in found} == told
    assert {name: path is None for name, path in told.items()} == {
        "here": False, "moved": False, "gone": False, "detached": True,
    }  # fmt: skip


def test_finished_tasks_that_are_in_their_base_are_merged_and_no_others(repo: Path) -> None:
    for name in ("forward", "by-hand", "not"):
        finished(repo, name, {name: "1"}, worktree=False)
    git(repo, "merge", "--quiet", "--ff-only", "autonomous/forward")
    git(repo, "merge", "--quiet", "-m", "By hand", "autonomous/by-hand")
    git(repo, "commit", "--quiet", "--allow-empty", "-m", "main goes on")

    def found() -> dict[str, str]:
        return {task["name"]: task["state"] for task in listing.tasks(str(repo / ".git"), "autonomous/", 0.0)}

    assert found() == {"forward": "merged", "by-hand": "merged", "not": "finished"}
    (repo / ".git/refs/heads/main").write_text("1" * 40 + "\n")  # a commit that is not there tells nothing
    assert found() == dict.fromkeys(("forward", "by-hand", "not"), "finished")


def test_what_is_outside_a_base_is_kept_until_the_base_moves(repo: Path) -> None:
    for name in ("one", "two"):
        finished(repo, name, {name: "1"}, worktree=False)
    common = str(repo / ".git")
    tips = {name: git(repo, "rev-parse", f"autonomous/{name}") for name in ("one", "two")}

    def found(only: str | None = None) -> dict[str, str]:
        return {task["name"]: task["state"] for task in listing.tasks(common, "autonomous/", 0.0, only=only)}

    assert found() == {"one": "finished", "two": "finished"}
    kept = {git(repo, "rev-parse", "main"): set(tips.values())}
    assert outside.read(common) == kept
    assert found(only="one") == {"one": "finished"}
    assert outside.read(common) == kept
    git(repo, "merge", "--quiet", "--ff-only", "autonomous/one")
    assert found() == {"one": "merged", "two": "finished"}
    assert outside.read(common) == {tips["one"]: {tips["two"]}}
    outside.write(common, {tips["one"]: set(tips.values())})
    assert found() == {"one": "finished", "two": "finished"}  # git is not asked again
    (repo / ".git" / outside.FILE).write_bytes(b"\xff\n\n\0")
    assert found() == {"one": "merged", "two": "finished"}
    assert outside.read(common) == {tips["one"]: {tips["two"]}}


def test_a_task_is_running_while_its_lock_is_held_and_as_it_was_when_it_is_let_go(repo: Path) -> None:
    finished(repo, "todo", {"a": "1"}, left=1)
    folder, tip = repo / ".git/autonomous/tasks/todo", git(repo, "rev-parse", "autonomous/todo")
    folder.mkdir(parents=True, exist_ok=True)

    def found() -> tuple[str, str]:
        (task,) = listing.tasks(str(repo / ".git"), "autonomous/", 0.0)
        return task["state"], task["reason"]

    assert found() == ("paused", "")
    states.write_word(str(folder), states.STALLED, 0.0, tip, "nothing was ticked")
    with stopping.claim(folder, "todo"):
        assert found() == ("running", "at work")
    assert found() == ("stalled", "nothing was ticked")  # whoever had it was killed
    with stopping.claim(folder, "todo"):
        states.write_word(str(folder), states.RUNNING, 0.0, tip, "session 3")
        assert found() == ("running", "session 3")
        states.write_word(str(folder), states.WAITING, 9e9, tip, "usage limit")
        assert found()[0] == "waiting"
    with locks.exclusive(str(folder / "agent.lock")):
        assert found() == ("running", "Codex works on without its runner")
    assert found() == ("paused", "")
    states.write_word(str(folder), states.FAILED, 0.0, "0" * 40, "of an older commit")
    assert found() == ("paused", "")
    states.write_word(str(folder), states.PAUSED, 0.0, tip, "as asked")
    assert found() == ("paused", "")
    assert [[*(repo / ".git" / kept).iterdir()] for kept in (states.AT_WORK, states.WORDS)] == [[], []]


def test_a_listing_imports_nothing_that_takes_time(repo: Path) -> None:
    finished(repo, "todo", {"a": "1"})

    def imported(code: str) -> set[str]:
        command = [sys.executable, "-X", "importtime", "-c", code, "list"]
        done = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=True)
        return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}

    more = imported("from gitautonomous.__main__ import main; main()") - imported("pass")
    assert "gitautonomous.listing" in more
    slow = ("collections", "contextlib", "dataclasses", "json", "pathlib", "re", "subprocess", "typing", "unicodedata")
    assert more.isdisjoint(slow)
