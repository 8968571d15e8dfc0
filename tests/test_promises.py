"""Each promise of PROMISES.md names tests that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def rows() -> list[list[str]]:
    """The rows of both tables, their heads left out."""
    lines = (TESTS / "PROMISES.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return [row for row in cells if row[-1] != "tests"]


def known() -> set[str]:
    """Every test of this folder, by its name."""
    trees = [ast.parse(path.read_text()) for path in TESTS.glob("test_*.py")]
    return {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def missing(row: list[str], tests: set[str]) -> list[str]:
    """What a row lacks: a third cell with names, or the tests of these names."""
    if len(row) != 3:
        return ["three cells"]
    names = re.findall("`([^`]*)`", row[2])
    return [name for name in names if name not in tests] if names else ["a test"]


def test_each_promise_names_a_test_and_each_named_test_is_there() -> None:
    tests = known()
    assert {row[0]: lacks for row in rows() if (lacks := missing(row, tests))} == {}
    assert len(rows()) > 35


@pytest.mark.parametrize("row", [["a", "b", ""], ["a", "b", "`test_gone`"], ["a", "`test_there`"]])
def test_a_promise_without_its_test_is_found(row: list[str]) -> None:
    assert missing(row, {"test_there"})
    assert not missing(["a", "b", "`test_there`"], {"test_there"})
