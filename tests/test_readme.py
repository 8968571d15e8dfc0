"""The README says what is true: its commands are the ones that CI and the program know."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from gitautonomous import codex, demo
from gitautonomous.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_ci_runs_the_readmes_test_command_word_for_word() -> None:
    command = re.findall(r"^\.ci/venv pytest.*$", README, re.MULTILINE)
    assert len(command) == 1
    assert (ROOT / ".ci/run").read_text().splitlines()[-1] == f"exec {command[0]}"


def test_every_command_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"git autonomous ([a-z]+)", README))
    assert named <= {command.name for command in app.registered_commands}


def test_the_demo_ends_with_commands_that_the_calling_shell_finds() -> None:
    look = "\n    cd '/tmp/a b'\n    git autonomous status roman\n"
    there = f"\n    cd '/tmp/a b'\n    PATH={sys.prefix}/bin:$PATH\n    git autonomous status roman\n"
    engine = codex.Codex(Path("/a b/codex"), (0, 163, 0))
    assert there in demo.farewell(Path("/tmp/a b"), engine, {"VIRTUAL_ENV": sys.prefix})
    assert look in demo.farewell(Path("/tmp/a b"), engine, {"VIRTUAL_ENV": "/another"})
    assert look in demo.farewell(Path("/tmp/a b"), engine, {})


def test_the_demo_tells_how_to_sign_in_with_the_codex_that_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    engine = codex.Codex(Path("/a b/codex"), (0, 163, 0))
    assert "\n    '/a b/codex' login\n" in demo.farewell(tmp_path, engine, {})
    (tmp_path / "codex").write_text("#!/bin/sh\n")
    (tmp_path / "codex").chmod(0o755)
    assert "\n    codex login\n" in demo.farewell(tmp_path, engine, {})
