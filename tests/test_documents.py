"""What the documents tell people to type exists, and does what they say: each `sh` block of a page is run, from its first line to its last.

The agent is the stand-in, since it is the commands that are tested here.
"""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from pathlib import Path

import made
import pytest
from benchmarks import standin
from conftest import git, make_repository
from program import autonomous

from gitautonomous import cli, reference
from gitautonomous.reference import Command

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "gitautonomous"
README = ROOT / "README.md"
DOCUMENTS = sorted((ROOT / "docs").glob("*.md"))
ELSEWHERE = (*(path.name for path in DOCUMENTS if path.name.startswith("fleet")), "coming-from-run-session.md")
"""Pages whose blocks need more than a repository with a task; their tests run them."""
COMMANDS = {command.path: command for command in reference.read(cli.app).walk()}


def calls(text: str) -> list[list[str]]:
    """The words after each `git autonomous` in code, up to a comment, another command or the end of the code."""
    code = "\n".join(
        "".join(parts) for parts in re.findall(r"```(?:sh|console)\n(.*?)```|`([^`\n]+)`", text, re.DOTALL)
    )
    lines = re.findall(r"git autonomous ([^\n]*)", code)
    found = [shlex.split(re.split(r" (?:&&|\||;|--) ", line)[0], comments=True) for line in lines]
    return [words for words in found if words[0] != "COMMAND"]


def command_of(words: list[str]) -> Command:
    for length in (2, 1):
        if tuple(words[:length]) in COMMANDS:
            return COMMANDS[tuple(words[:length])]
    raise AssertionError(f"there is no command {words}")


@pytest.mark.parametrize("document", [README, *DOCUMENTS], ids=lambda path: path.name)
def test_every_command_in_a_document_exists_with_its_options(document: Path) -> None:
    called = calls(document.read_text())
    assert called
    for words in called:
        names = {name for option in command_of(words).options for name in option.names}
        assert {word.partition("=")[0] for word in words if word.startswith("-")} <= names, words


def test_every_option_of_run_session_has_its_place() -> None:
    """The options of both variants of the script that the page is about."""
    first_cells = re.findall(
        r"^\| ([^|]*) \|", (ROOT / "docs" / "coming-from-run-session.md").read_text(), re.MULTILINE
    )
    named = {name for cell in first_cells for name in re.findall(r"`(-[\w-]+)", cell)}
    assert named == {
        *("--task-name", "-n", "--continue", "-c", "--no-auto-continue", "--max-sessions", "--list", "-l"),
        *("--resume-last", "--network", "--help", "-h", "--model", "--max-budget", "--effort", "--lightweight"),
        *("--completion-promise", "--fallback-model", "--permission-mode", "--add-dir"),
    }


def blocks(document: Path) -> list[str]:
    """The `sh` blocks of a page, and the lines of the README's transcripts that a person typed."""
    text = document.read_text()
    if document == README:
        return re.findall(
            r"^\$ (git .*)$", "\n".join(re.findall(r"```console\n(.*?)```", text, re.DOTALL)), re.MULTILINE
        )
    return re.findall(r"```sh\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def world(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a remote, an agent, and nothing that needs a network."""
    repo = make_repository(tmp_path / "todo")
    (repo / ".gitignore").write_text(".venv\n.env\n__pycache__\n")
    (repo / "test_it.py").write_text(
        "import unittest\n\nclass T(unittest.TestCase):\n    def test(self):\n        pass\n"
    )
    git(repo, "add", ".gitignore", "test_it.py")
    git(repo, "commit", "--quiet", "-m", "Ignore")
    git(repo, "clone", "--quiet", "--bare", str(repo), str(tmp_path / "remote.git"))
    git(repo, "remote", "add", "origin", str(tmp_path / "remote.git"))
    git(repo, "config", "--global", "autonomous.delay", "0")
    (tmp_path / "codex").mkdir()
    monkeypatch.setenv("GIT_AUTONOMOUS_CODEX", standin.install(str(tmp_path / "codex")))
    monkeypatch.setenv("CODEX_HOME", str(home / ".codex"))
    return repo


def prepare(repo: Path, block: str) -> None:
    """The task that a block is about, unless the block starts it; without settings of the block before."""
    subprocess.run(["git", "-C", repo, "config", "--remove-section", "autonomous"], capture_output=True, check=False)
    if "todo-api" not in block:
        return
    if git(repo, "branch", "--list", "autonomous/todo-api"):
        assert autonomous(repo, "remove", "todo-api").status == 0
    if "git autonomous start" not in block:
        made.finished(repo, "todo-api", {"a": f"{len(block)}\n"}, {"b": "2\n"}, {"c": "3\n"})


@pytest.mark.usefixtures("git_on_path")
@pytest.mark.parametrize(
    "document", [README, *(path for path in DOCUMENTS if path.name not in ELSEWHERE)], ids=lambda path: path.name
)
def test_every_block_of_a_document_does_what_it_says(
    document: Path, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for block in blocks(document):
        prepare(world, block)
        monkeypatch.setenv("STANDIN_HANG", "600" if " -d " in block else "0")
        done = subprocess.run(
            ["sh", "-e", "-c", block], cwd=world, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert autonomous(world, "stop", "--all").status == 0
        assert done.returncode == 0, (block, done.stdout, done.stderr)


def messages() -> list[re.Pattern[str]]:
    """Each text of the program as a pattern: what is filled in may be anything."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
                found.add("".join(".+" if part is None else re.escape(str(part)) for part in parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(re.escape(node.value))
    return [re.compile(pattern, re.DOTALL) for pattern in found if len(pattern.replace(".+", "")) > 12]


def test_every_message_that_is_explained_is_one_of_the_programs() -> None:
    known = messages()
    explained = re.findall(r"^### (.*)$", (ROOT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)
    assert len(explained) > 30
    assert [text for text in explained if not any(pattern.fullmatch(text) for pattern in known)] == []
