"""What every test stands on: a sealed environment, real repositories, and the real Codex with a scripted model."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gitautonomous import codex, scripted
from gitautonomous.errors import AutonomousError

# Codex's sandbox lets an agent write to /tmp, so a test about what an agent may reach needs a folder elsewhere.
AREA = Path(os.environ.get("GIT_AUTONOMOUS_TEST_DIR") or Path.home() / ".cache" / "git-autonomous-tests")
GIT_CONFIG = """\
[user]
\tname = Ada Tester
\temail = ada@example.org
[init]
\tdefaultBranch = main
"""
SEALED_OFF = (
    "GIT_",
    "XDG_",
    "CODEX_",
    "OPENAI_",
    "LC_",
    "PYTHON",
    "NO_COLOR",
    "CLICOLOR",
    "FORCE_COLOR",
    "COLUMNS",
    "LINES",
)


def pytest_configure(config: pytest.Config) -> None:
    """Say it in doctor's words where this machine cannot run the real Codex in its sandbox: every other test would fail obscurely."""
    if hasattr(config, "workerinput"):
        return
    try:
        with tempfile.TemporaryDirectory() as folder:
            codex.canary(codex.find(None), main_root=Path(folder), directory=Path(folder))
    except AutonomousError as error:
        pytest.exit(f"{error.message}\nhint: {error.hint}", returncode=1)


@contextmanager
def sealed(folder: Path) -> Iterator[None]:
    """An environment with an empty home in `folder`. Nothing of the developer's git, Codex, Python or terminal settings is seen in it.

    The time zone has summer time and is not UTC, so that a mix-up of local time and UTC shows.
    """
    (folder / "gitconfig").write_text(GIT_CONFIG)
    values = {
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder / ".config"),
        "XDG_STATE_HOME": str(folder / ".local" / "state"),
        "XDG_CACHE_HOME": str(folder / ".cache"),
        "XDG_DATA_HOME": str(folder / ".local" / "share"),
        "GIT_CONFIG_GLOBAL": str(folder / "gitconfig"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "TZ": "CET-1CEST,M3.5.0,M10.5.0/3",
        "LC_ALL": "C.UTF-8",
        "TERM": "xterm",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(SEALED_OFF)]:
            patch.delenv(name)
        for name, value in values.items():
            patch.setenv(name, value)
        time.tzset()
        yield
    time.tzset()


@pytest.fixture(autouse=True)
def home(tmp_path: Path) -> Iterator[Path]:
    """The empty home of a test."""
    folder = tmp_path / "home"
    folder.mkdir()
    with sealed(folder):
        yield folder


@pytest.fixture
def area() -> Iterator[Path]:
    """An empty folder outside the system's temporary folder: what the sandbox protects unless it is the workspace."""
    AREA.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=AREA))
    yield folder
    shutil.rmtree(folder)


def git(folder: Path, *arguments: str) -> str:
    """Run git in `folder` and return what it printed, without the last line's end. Raises when it fails."""
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.removesuffix("\n")


def make_repository(path: Path) -> Path:
    """A repository with one commit, which holds README.md, on branch main."""
    path.mkdir(parents=True)
    git(path, "init", "--quiet")
    (path / "README.md").write_text("# A project\n")
    git(path, "add", "README.md")
    git(path, "commit", "--quiet", "-m", "First commit")
    return path


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with one commit, for everything that runs no agent."""
    return make_repository(tmp_path / "repo")


@pytest.fixture
def agent_repo(area: Path) -> Path:
    """A repository with one commit where an agent's sandbox is as tight as in real use."""
    return make_repository(area / "repo")


@pytest.fixture
def model() -> Iterator[scripted.Server]:
    """A model that answers "done" until `model.play(scenario)` says otherwise."""
    with scripted.Server() as server:
        yield server


@pytest.fixture
def codex_home(area: Path, model: scripted.Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CODEX_HOME, in the environment too, whose model is `model`. Failed requests are repeated once only."""
    path = scripted.codex_home(area / "codex-home", model.port, request_max_retries=1, stream_max_retries=1)
    monkeypatch.setenv("CODEX_HOME", str(path))
    return path


@pytest.fixture
def wait_until() -> Callable[[Callable[[], object]], None]:
    """`wait_until(condition)` returns as soon as it holds, and fails the test after a minute."""

    def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, "the condition never held"
            time.sleep(0.01)

    return wait


@pytest.fixture
def git_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The absolute path of git, which finds git-autonomous on PATH as it does for users."""
    found = shutil.which("git")
    assert found is not None
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "git-autonomous"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m gitautonomous "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return found
