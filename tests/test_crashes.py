"""A runner that is killed with -9 anywhere loses nothing: the start of a task and its sessions, a sample of the places.

`STRIDE=1 pytest tests/test_crashes.py` tries them all, and so does `python tests/crashes.py`, which prints what is wrong.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from crashes import Place, World, places, problems
from program import listed

STRIDE = int(os.environ.get("STRIDE", "97"))
"""Every so many-th place is tried by the suite."""

HALF_MADE = [Place("git before", 8), Place("git after", 8), Place("git after", 10), Place("git after", 12)]
"""Places in a `start` that has made a part of what a task is."""


@pytest.mark.parametrize("place", [*places()[::STRIDE], Place("journal", 5)], ids=str)
def test_killed_anywhere_nothing_is_lost_and_the_task_comes_to_its_end(area: Path, place: Place) -> None:
    assert problems(area / "world", place) == []


@pytest.mark.parametrize("place", HALF_MADE, ids=str)
def test_a_start_that_is_killed_leaves_no_task_or_one_that_can_go_on(area: Path, place: Place) -> None:
    world = World(area / "world")
    assert place.kill(world), "the place was not reached"
    found = [(task["name"], task["state"], task["sessions"]) for task in listed(world.repository)]
    assert found == ([("todo", "new", 0)] if world.exists() else [])
    assert [*world.violations(), *world.finish()] == []
