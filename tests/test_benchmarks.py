"""The benchmarks run, and say what they found in a form that programs can read. No budget is asserted here: machines differ."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LEAST = "python -c pass + git for-each-ref"
BARE = "a Typer app with one parameter"


def row(name: str, what: str, against: str, budget: float | None) -> dict[str, object]:
    """A row of the report, each measured value replaced by the name of its type."""
    measured = dict.fromkeys(("ours", "denominator", "ratio"), "float")
    ok = "NoneType" if budget is None else "bool"
    return {"name": name, "what": what, "unit": "s", "against": against, "budget": budget, "ok": ok, **measured}


def without_values(row: dict[str, Any]) -> dict[str, Any]:
    measured = {key: type(row[key]).__name__ for key in ("ours", "denominator", "ratio", "ok")}
    return {key: value for key, value in {**row, **measured}.items() if key != "note"}


def test_a_short_run_gives_each_figure_with_its_denominator_and_its_budget_and_leaves_nothing(area: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks",
        "--short",
        "--json",
        "--only",
        "list-100",
        "--only",
        "start-up",
    ]
    environment = {**os.environ, "GIT_AUTONOMOUS_TEST_DIR": str(area)}
    done = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)
    found = json.loads(done.stdout)
    rows = [without_values(found_row) for found_row in found.pop("rows")]
    commands = next(row["what"] for row in rows if row["name"] == "commands")
    assert rows == [
        row("list-100", "list of 100 tasks", LEAST, 2.5),
        row("completion", "completion of a task name in bash, 100 tasks", LEAST, 2.5),
        row("list-100-by-hand", "the same, a person committed to one", LEAST, 2.5),
        row("help", "--help", BARE, 1.2),
        row("commands", commands, BARE, 1.2),
        row("status", "status of a task, the work itself included", BARE, None),
    ]
    assert found.pop("machine").keys() == {"system", "python", "cores", "load"}
    assert found.pop("seconds") > 0
    assert found == {"schema": 1, "short": True, "failures": []}
    assert done.stderr.startswith("list-100 ...\n  list-100: ")
    assert done.returncode in (0, 1)
    assert list(area.iterdir()) == []
