"""Codex knows the skill once it is installed, and what the skill tells it to type exists."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from program import Ended, autonomous
from test_documents import calls, command_of

from gitautonomous import codex, resources
from gitautonomous.scripted import Request, Server, Step

SKILL = resources.template("SKILL.md")


def test_the_skill_is_written_where_codex_looks_and_an_edited_one_is_kept(tmp_path: Path, home: Path) -> None:
    path = home / ".agents" / "skills" / "git-autonomous" / "SKILL.md"
    for _ in range(2):
        assert autonomous(tmp_path, "skill", "install") == Ended(0, f"{path} written\n", "")
    assert [file.name for file in path.parent.iterdir()] == ["SKILL.md"]
    path.write_text("mine\n")
    assert autonomous(tmp_path, "skill", "install") == Ended(
        0, f"{path} written\n", f"the skill that was there is kept as {path}.old\n"
    )
    assert (path.read_text(), path.with_name("SKILL.md.old").read_text()) == (SKILL, "mine\n")


@pytest.mark.usefixtures("codex_home")
def test_the_real_codex_lists_the_installed_skill_to_its_model(agent_repo: Path, model: Server) -> None:
    asked: list[str] = []

    def respond(request: Request) -> Step:
        asked.append(json.dumps(request.body))
        return {"say": "done"}

    model.play(respond)
    command = [str(codex.find(None).path), "exec", "--json", "hello"]
    for expected in (False, True):
        asked.clear()
        subprocess.run(
            command, cwd=agent_repo, stdin=subprocess.DEVNULL, capture_output=True, check=True, env=os.environ
        )
        assert ("Hand a long task over to" in asked[0]) is expected
        assert autonomous(agent_repo, "skill", "install").status == 0


def test_the_commands_of_the_skill_exist_with_their_options() -> None:
    called = calls(SKILL)
    assert [words[0] for words in called] == ["start", "attach", "status", "list", "review", "resume", "stop", "merge"]
    for words in called:
        names = {name for option in command_of(words).options for name in option.names}
        assert {word.rstrip(":`") for word in words if word.startswith("-")} <= names


def test_the_description_tells_in_few_words_when_to_use_it() -> None:
    matter = re.fullmatch(r"---\nname: git-autonomous\ndescription: (.+)\n---\n.*", SKILL, re.DOTALL)
    assert matter is not None
    assert len(matter[1].partition("\n")[0]) < 1024
