"""A small share of `python tests/fleet_simulation.py`: workers that are killed or sleep through their term lose nothing and mix nothing up."""

from __future__ import annotations

from pathlib import Path

import pytest
from fleet_simulation import simulate
from fleets import violations

from gitautonomous import lease


def test_workers_that_die_and_stall_finish_every_task_and_lose_nothing(tmp_path: Path) -> None:
    outcome = simulate(tmp_path, workers=3, tasks=6, kills=2.0, stall=0.1, pause=0.1, term=1.0, seed=1)
    assert outcome.wrong == ()
    assert outcome.claims >= outcome.tasks and outcome.operations >= 5 * outcome.tasks


def test_what_must_not_be_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(tmp_path, workers=1, tasks=1, kills=0.0, stall=0.0, pause=0.0, term=60.0, seed=1)
    bare, branch = tmp_path / "bare.git", "refs/heads/autonomous/t0"
    log = bare / "logs" / branch
    moves = log.read_text().splitlines(keepends=True)
    log.write_text("".join([*moves[:-2], moves[-1], moves[-2]]))
    assert [line.partition(":")[0] for line in violations(bare, ["t0"])] == [
        "t0 lost commits",
        "t0 is not where its last push left it",
    ]
    log.write_text("".join(moves))
    leases = bare / "logs" / lease.REFS / "t0"
    leases.write_text("".join(reversed(leases.read_text().splitlines(keepends=True))))
    assert "t0 had epoch 0 after 1" in list(violations(bare, ["t0"]))
