"""Each JSON output is described by a file of docs/schema, and real output has exactly what that file describes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from agent import initializer, sessions, write_file
from conftest import git
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from made import finished, start, worktree_of
from program import autonomous

from gitautonomous import cli, reference, states
from gitautonomous.scripted import Server

FOLDER = Path(__file__).parent.parent / "docs" / "schema"
SCHEMAS: dict[str, Any] = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def tightened(schema: Any) -> Any:
    """The schema with nothing allowed that it does not name: readers may meet new properties, this version has none."""
    if isinstance(schema, list):
        return [tightened(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: tightened(value) for key, value in schema.items()}
    return inner | {"additionalProperties": False} if isinstance(schema.get("properties"), dict) else inner


def check(name: str, output: str) -> Any:
    """Hold one output against its schema and return it."""
    found = json.loads(output)
    errors = Draft202012Validator(tightened(SCHEMAS[name])).iter_errors(found)
    assert [f"{error.json_path}: {error.message}" for error in errors] == []
    return found


@pytest.fixture
def tasks(repo: Path) -> Path:
    """A repository with a paused task, whose last commit is a person's, a finished one that conflicts with it, a new and a broken one."""
    finished(repo, "one", {"a": "1\n", "package.json": "{}\n"}, checks=["true"], left=1)
    (worktree_of(repo, "one") / "logo.png").write_bytes(b"\0\1\2")
    git(worktree_of(repo, "one"), "add", "logo.png")
    git(worktree_of(repo, "one"), "commit", "--quiet", "-m", "A logo")
    finished(repo, "two", {"a": "2\n"})
    start(repo, "three")
    git(repo, "branch", "autonomous/broken")
    return repo


def test_the_schemas_are_schemas() -> None:
    assert SCHEMAS
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)


def test_every_command_with_json_output_has_a_schema() -> None:
    titles = " ".join(schema["title"] for schema in SCHEMAS.values())
    described = {name.strip() for name in re.findall(r"(?:git autonomous |, )([a-z]+(?: [a-z]+)?)(?= )", titles)}
    for command in reference.read(cli.app).walk():
        if any("--json" in option.names for option in command.options):
            assert " ".join(command.path) in described


def test_the_states_are_those_of_the_program() -> None:
    known = {*states.UNFINISHED, states.BROKEN, states.MERGED, states.FINISHED}
    assert set(SCHEMAS["list"]["properties"]["tasks"]["items"]["properties"]["state"]["enum"]) == known


def test_listings_and_tasks_are_as_described(tasks: Path) -> None:
    listed = check("list", autonomous(tasks, "list", "--json").out)
    assert {task["name"]: task["state"] for task in listed["tasks"]} == {
        "one": "paused",
        "two": "finished",
        "three": "new",
        "broken": "broken",
    }
    for name in ("one", "two", "three", "broken"):
        found = check("status", autonomous(tasks, "status", name, "--json").out)["task"]
        assert ("problem" in found) is (name == "broken")


def test_reviews_and_decisions_are_as_described(tasks: Path) -> None:
    review = check("review", autonomous(tasks, "review", "one", "--json").out)["review"]
    assert review["forecast"]["others"] and review["runs"] and review["steps"][-1]["number"] is None
    step = check("session", autonomous(tasks, "review", "one", "2", "--json").out)["step"]
    assert step["changes"] and step["runs"]
    planned = check("decision", autonomous(tasks, "review", "two", "--drop", "2", "--json").out)
    assert (planned["plan"]["gone"][0]["number"], planned["kept"]) == (2, None)
    kept = check("decision", autonomous(tasks, "review", "two", "--drop", "2", "--yes", "--json").out)["kept"]
    assert kept.startswith("refs/autonomous/backup/two/")


def test_settings_hooks_and_findings_are_as_described(tasks: Path) -> None:
    git(tasks, "config", "autonomous.checks", "make test")
    check("config", autonomous(tasks, "config", "list", "--json").out)
    assert check("hooks", autonomous(tasks, "hooks", "status", "--json").out)["installed"] is False
    assert autonomous(tasks, "hooks", "install").status == 0
    assert check("hooks", autonomous(tasks, "hooks", "status", "--json").out)["installed"] is True
    check("doctor", autonomous(tasks, "doctor", "--json").out)


@pytest.mark.usefixtures("codex_home")
def test_runs_are_as_described(agent_repo: Path, model: Server) -> None:
    script = initializer("todo", ["write a"])
    model.play(sessions([*script[:-1], {"exec": [write_file("b", "1")]}, script[-1]]))
    begun = autonomous(agent_repo, "start", "Write a", "--name", "todo", "--plan", "--json")
    assert check("run", begun.out)["task"]["state"] == "paused"
    assert check("run", autonomous(agent_repo, "resume", "todo", "--plan", "--json").out)["task"]["pid"] is None
    session = check("session", autonomous(agent_repo, "review", "todo", "1", "--json").out)["step"]
    assert session["commands"]
