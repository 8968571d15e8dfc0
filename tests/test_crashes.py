"""A runner that is killed with -9 anywhere loses nothing: the start of a task and its sessions, a sample of the places.

`STRIDE=1 pytest tests/test_crashes.py` tries them all, and so does `python tests/crashes.py`, which prints what is wrong.
"""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from crashes import START, Place, World, places, problems
from program import PROGRAM, listed

STRIDE = int(os.environ.get("STRIDE", "97"))
"""Every so many-th place is tried by the suite."""

HALF = """\
#!/bin/sh
# The git of a test: its caller is killed before or after the call that makes a part of the task.
case "$*" in *'{call}'*) part=yes ;; esac
[ "$part {when}" = "yes before" ] && kill -9 $PPID && exit 137
{git} "$@" || exit
[ "$part {when}" = "yes after" ] && kill -9 $PPID
exit 0
"""


@pytest.mark.parametrize("place", [*places()[::STRIDE], Place("journal", 5)], ids=str)
def test_killed_anywhere_nothing_is_lost_and_the_task_comes_to_its_end(area: Path, place: Place) -> None:
    assert problems(area / "world", place) == []


@pytest.mark.parametrize(
    ("call", "when", "made"),
    [
        ("update-ref", "before", (False, False, False)),
        ("update-ref", "after", (True, False, False)),
        ("worktree add", "before", (True, False, False)),
        ("worktree add", "after", (True, True, False)),
        ("reset --quiet --hard", "after", (True, True, True)),
    ],
)
def test_a_start_that_is_killed_leaves_no_task_or_one_that_can_go_on(
    area: Path, call: str, when: str, made: tuple[bool, bool, bool]
) -> None:
    world = World(area / "world")
    git = area / "world/bin/git"
    git.write_text(HALF.format(call=call, when=when, git=shutil.which("git")))
    git.chmod(0o755)
    start = world.begin(*PROGRAM, *START, PATH=f"{git.parent}{os.pathsep}{os.environ['PATH']}")
    assert start.wait() == -signal.SIGKILL
    assert (world.exists(), world.worktree.exists(), (world.worktree / "README.md").exists()) == made
    found = [(task["name"], task["state"], task["sessions"]) for task in listed(world.repository)]
    assert found == ([("todo", "new", 0)] if world.exists() else [])
    assert [*world.violations(), *world.finish()] == []
