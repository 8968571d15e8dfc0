"""`doctor --repair`: what a crash or a hand in the wrong place left of a task is mended, and what is well is left alone."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import git
from crashes import RESUME, START, World
from program import commits, listed

from gitautonomous import repair, stopping
from gitautonomous.screen import Screen
from gitautonomous.tasks import open_place

TOML = ".autonomous/todo/task.toml"


@pytest.fixture
def world(area: Path) -> Iterator[World]:
    """A task after its first session. At the end everything that must always hold is looked at."""
    world = World(area / "world")
    assert world.run(*START, "--plan").status == 0
    yield world
    assert list(world.violations()) == []


def repaired(world: World, folder: Path | None = None) -> list[tuple[bool | None, str]]:
    """What is mended by who stands in `folder`, as (ok, message)."""
    with contextlib.chdir(folder or world.repository), Screen(sys.stderr, quiet=True) as quiet:
        return [(found.ok, found.message) for found in repair.repair(open_place({}, None), quiet)]


def state(world: World) -> dict[str, bytes]:
    """Every file of ours and of git that a repair could change."""
    kept = [world.local, world.repository / ".git/refs", world.repository / ".git/worktrees"]
    files = [path for folder in kept for path in folder.rglob("*") if path.is_file() and path.name != "index"]
    return {str(path): path.read_bytes() for path in files}


def test_where_all_is_well_nothing_is_done(world: World) -> None:
    before = state(world)
    assert repaired(world) == []
    assert repaired(world, world.worktree) == []
    assert state(world) == before
    ended = world.run("doctor", "--repair")
    assert (ended.status, ended.out.splitlines()[0]) == (0, "✓ the tasks here have nothing to mend")


def test_a_worktree_that_is_gone_is_made_again_from_the_branch(world: World) -> None:
    shutil.rmtree(world.worktree)
    (world.repository / "folder").mkdir()
    done = f"todo: the worktree was gone from {world.worktree} and was made again from the branch"
    assert repaired(world, world.repository / "folder") == [(True, done)]
    assert git(world.worktree, "status", "--porcelain") == ""
    assert repaired(world) == []
    assert list(world.finish()) == []


def test_no_filter_of_the_agents_runs_while_a_worktree_is_made_again(world: World) -> None:
    shutil.rmtree(world.worktree)
    git(world.repository, "config", "filter.x.smudge", "tools/smudge")
    ((ok, message),) = repaired(world)
    assert (ok, message.startswith("todo: not mended, filter.x.smudge runs tools/smudge, ")) == (False, True)
    assert not world.worktree.exists()
    git(world.repository, "config", "--unset", "filter.x.smudge")


def test_an_index_that_is_gone_is_made_again_and_edits_stay(world: World) -> None:
    (world.worktree / "README.md").write_text("edited\n")
    index = Path(git(world.worktree, "rev-parse", "--absolute-git-dir")) / "index"
    index.unlink()
    assert repaired(world) == [(True, "todo: the index of the worktree was gone and was made again")]
    assert git(world.worktree, "status", "--porcelain") == " M README.md"


def test_a_git_file_that_was_swapped_goes_to_the_attic(world: World) -> None:
    pointer = (world.worktree / ".git").read_bytes()
    (world.worktree / ".git").write_text(f"gitdir: {world.area}/evil\n")
    attic = world.repository / ".git/autonomous/attic/todo"
    done = f"todo: the .git of its worktree was not git's own; it went to {attic} and git's is back"
    assert repaired(world) == [(True, done)]
    assert (world.worktree / ".git").read_bytes() == pointer
    assert [path.read_text() for path in attic.iterdir()] == [f"gitdir: {world.area}/evil\n"]


def test_locks_of_a_killed_git_are_removed_and_those_of_a_living_one_stay(world: World) -> None:
    admin = Path(git(world.worktree, "rev-parse", "--absolute-git-dir"))
    (admin / "index.lock").touch()
    git(world.repository, "worktree", "lock", "--reason", "git autonomous works here", str(world.worktree))
    assert repaired(world) == [
        (True, "todo: locks that a killed git left were removed: index.lock"),
        (True, "todo: its worktree is no longer kept for a runner that is gone"),
    ]
    git(world.repository, "worktree", "lock", "--reason", "mine", str(world.worktree))
    with open(admin / "index.lock", "w") as lock, subprocess.Popen(["sleep", "100"], pass_fds=[lock.fileno()]) as owner:
        lock.close()
        assert repaired(world) == [(False, f"todo: not mended, another git process works in {world.worktree}")]
        owner.kill()
    assert ((admin / "index.lock").exists(), (admin / "locked").read_text().strip()) == (True, "mine")
    git(world.repository, "worktree", "unlock", str(world.worktree))


@pytest.mark.parametrize("damage", ["a flipped bit", "a newer version", "nothing readable"])
def test_a_damaged_journal_is_kept_beside_one_that_is_made_of_the_rest_and_the_branch(
    world: World, damage: str
) -> None:
    path = world.local / "journal.jsonl"
    whole = path.read_bytes()
    damaged = {
        "a flipped bit": whole.replace(b'"event": "result"', b'"event": "rdsult"'),
        "a newer version": whole.replace(b'"format": 1', b'"format": 2').replace(b', "crc"', b', "sum"'),
        "nothing readable": b"\0" * 4096 + b"\n",
    }[damage]
    path.write_bytes(damaged)
    (finding,) = repaired(world)
    assert finding[0] and finding[1].startswith("todo: the journal was damaged or another version's")
    assert damaged in [kept.read_bytes() for kept in world.local.glob("journal.jsonl.*")]
    book = [json.loads(line) for line in path.read_text().splitlines()]
    results = [record for record in book if record["event"] == "result"]
    tip = git(world.repository, "rev-parse", world.branch)
    assert [(record["commit"], record["thread"]) for record in results] == [
        (tip, listed(world.repository)[0]["thread"])
    ]
    assert (book[0]["event"], len(book) > 2) == ("journal", damage == "a flipped bit")
    assert repaired(world) == []
    assert list(world.finish()) == []


def test_a_task_toml_that_was_broken_is_put_back_by_a_commit_and_the_broken_one_stays_in_the_history(
    world: World,
) -> None:
    good = git(world.repository, "show", f"{world.branch}:{TOML}")
    (world.worktree / TOML).write_text("goal = [[[\n")
    git(world.worktree, "commit", "--quiet", "-am", "Broken")
    assert world.run(*RESUME).status == 1
    start = git(world.repository, "log", "--format=%h", "--abbrev=10", "--reverse", f"main..{world.branch}").split()[0]
    done = f"todo: task.toml could not be read and is again as it was in {start}, by a commit of yours"
    assert repaired(world) == [(True, done)]
    assert git(world.repository, "show", f"{world.branch}:{TOML}") == good
    assert git(world.repository, "show", f"{world.branch}~1:{TOML}") == "goal = [[["
    assert git(world.worktree, "status", "--porcelain") == ""
    assert commits(world.repository, f"{world.branch}~1..{world.branch}") == [f"todo: task.toml as it was in {start}"]
    assert list(world.finish()) == []


def test_the_commit_of_a_pull_request_that_somebody_pulled_is_mended(world: World, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "remote")
    git(world.repository, "remote", "add", "origin", str(tmp_path / "remote"))
    git(world.repository, "push", "--quiet", "origin", "main")
    assert world.run("pr", "--force", "half of it", "todo").status == 0
    before = git(world.repository, "rev-parse", f"{world.branch}:.autonomous")
    git(world.worktree, "pull", "--quiet", "origin", world.branch)
    top = git(world.repository, "rev-parse", "--short=10", world.branch)
    ended = world.run(*RESUME)
    why = f"a commit on {world.branch} took .autonomous/todo out, as the one does that a pull request has"
    assert (ended.status, ended.err) == (1, f"error: {why}\nhint: git autonomous doctor --repair\n")
    done = f"todo: .autonomous/todo was taken out by {top} and is back as it was before, by a commit of yours"
    assert repaired(world) == [(True, done)]
    assert git(world.repository, "rev-parse", f"{world.branch}:.autonomous") == before
    assert git(world.worktree, "status", "--porcelain") == ""
    assert world.run("pr", "--force", "half of it", "todo").status == 0
    assert list(world.finish()) == []


@pytest.mark.parametrize("newest", ["a session", "a person"])
@pytest.mark.parametrize("journal", ["with its journal", "without its journal"])
def test_a_branch_that_was_deleted_under_its_worktree_is_made_again(world: World, journal: str, newest: str) -> None:
    if newest == "a person":
        git(world.worktree, "commit", "--quiet", "--allow-empty", "-m", "Mine")  # git itself logs this one
    elif journal == "without its journal":
        git(world.worktree, "reset", "--quiet", "--hard")  # and so this one
    tip = git(world.repository, "rev-parse", world.branch)
    if journal == "without its journal":
        shutil.rmtree(world.local)
    git(world.repository, "update-ref", "-d", f"refs/heads/{world.branch}")
    assert repaired(world) == [(True, f"todo: the branch autonomous/todo was made again at {tip[:10]}")]
    assert git(world.repository, "rev-parse", world.branch) == tip


@pytest.mark.parametrize("content", ["", "\0" * 41, "1" * 40 + "\n"])
def test_a_branch_that_names_no_commit_is_again_where_it_was(world: World, content: str) -> None:
    git(world.worktree, "commit", "--quiet", "--allow-empty", "-m", "Mine")
    tip = git(world.repository, "rev-parse", world.branch)
    (world.repository / ".git/refs/heads" / world.branch).write_text(content)
    assert repaired(world) == [(True, f"todo: the branch autonomous/todo named no commit and is again at {tip[:10]}")]
    assert git(world.repository, "rev-parse", world.branch) == tip
    (kept,) = (world.repository / ".git/autonomous/attic").glob("todo-branch-*")
    assert kept.read_text() == content


def test_a_branch_of_which_no_commit_is_known_is_named_with_what_finds_it(world: World) -> None:
    tip = git(world.repository, "rev-parse", world.branch)
    ref, logs = f".git/refs/heads/{world.branch}", f".git/logs/refs/heads/{world.branch}"
    (world.repository / ref).write_text("")
    (world.repository / logs).unlink()
    (world.local / "journal.jsonl").unlink()
    assert repaired(world) == [
        (False, "todo: not mended, the branch autonomous/todo is gone, and no commit of it is known")
    ]
    assert (world.repository / ref).read_text() == ""
    (world.repository / ref).write_text(f"{tip}\n")


def test_a_branch_that_is_no_task_is_named_and_stays(world: World) -> None:
    git(world.repository, "branch", "autonomous/other")
    assert repaired(world) == [
        (False, "other: not mended, no commit of autonomous/other has a task.toml that can be read")
    ]
    ended = world.run("doctor", "--repair")
    assert ended.status == 1
    assert "  hint: git log --oneline autonomous/other -- .autonomous/other/task.toml" in ended.out.splitlines()
    git(world.repository, "branch", "-D", "autonomous/other")


def test_what_a_start_that_was_cut_off_left_goes_to_the_attic_and_the_trash_is_emptied(world: World) -> None:
    half, trash = world.local.parent / "half", world.repository / ".git/autonomous/trash"
    half.mkdir()
    (half / "runner.lock").touch()
    (trash / "1-todo").mkdir(parents=True)
    assert repaired(world) == [
        (True, "half: the empty folder of a start that was cut off went to the attic"),
        (True, "what a command that was cut off had put into the trash is deleted"),
    ]
    assert not half.exists() and list(trash.iterdir()) == []


def test_a_task_that_somebody_works_on_is_left_alone(world: World) -> None:
    shutil.rmtree(world.worktree)
    with stopping.claim(world.local, "todo"):
        ((ok, message),) = repaired(world)
        assert (ok, message.startswith("todo: not mended, 'todo' is being worked on (process ")) == (None, True)
        assert not world.worktree.exists()
