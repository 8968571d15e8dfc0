"""`.ci/venv` makes an environment on a bare machine; here for a small project that installs without a network.

Its interpreter is wrapped in scripts that lack what some systems leave out.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
Venv = Callable[..., tuple[int, str, str]]

PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
BACKEND = '''\
"""A build backend that needs nothing: an editable wheel with one command, and one line in `built` for each build."""
import zipfile

METADATA = "Metadata-Version: 2.1\\nName: small\\nVersion: 1\\nProvides-Extra: test\\n"

def build_editable(folder, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(f"{folder}/small-1-py3-none-any.whl", "w") as archive:
        archive.writestr("small.py", "def main(): print('hello')\\n")
        archive.writestr("small-1.dist-info/METADATA", METADATA)
        archive.writestr("small-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr("small-1.dist-info/entry_points.txt", "[console_scripts]\\ngit-small = small:main\\n")
        archive.writestr("small-1.dist-info/RECORD", "")
    with open("built", "a") as log:
        log.write("built\\n")
    return "small-1-py3-none-any.whl"
'''
OLD = "#!/bin/sh\nexit 1\n"
NO_ENSUREPIP = f"""\
#!/bin/sh
case "$*" in
*without-pip*) ;;
*"-m venv"*) echo "ensurepip is not available" >&2; exit 1 ;;
esac
exec {sys.executable} "$@"
"""


PLAIN = f'#!/bin/sh\nexec {sys.executable} "$@"\n'
MADE = f"Making .venv with Python {sys.version.split()[0]}\nInstalling into .venv\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "a project"
    (folder / ".ci").mkdir(parents=True)
    (folder / ".ci" / "venv").symlink_to(ROOT / ".ci" / "venv")
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "backend.py").write_text(BACKEND)
    return folder


@pytest.fixture
def bin(tmp_path: Path) -> Path:
    """The first folder of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pip that is installed here as a wheel, in place of an index on the network."""
    folder = tmp_path_factory.mktemp("index")
    pip = distribution("pip")
    with zipfile.ZipFile(folder / f"pip-{pip.version}-py3-none-any.whl", "w") as archive:
        for file in pip.files or ():
            if ".." not in file.parts and file.suffix != ".pyc":
                archive.write(str(file.locate()), str(file))
    return folder


@pytest.fixture
def venv(bin: Path, index: Path) -> Venv:
    """Runs `.ci/venv` of a project with a command: its exit status, stdout and stderr."""

    def run(project: Path, *command: str) -> tuple[int, str, str]:
        environment = {
            **os.environ,
            "PATH": f"{bin}:/usr/bin:/bin",
            "CDPATH": "/",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(index),
        }
        arguments = [str(project / ".ci" / "venv"), *command]
        done = subprocess.run(arguments, check=False, capture_output=True, text=True, env=environment)
        return done.returncode, done.stdout, done.stderr

    return run


def python(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(script)
    (folder / name).chmod(0o755)


def test_the_environment_is_made_once_and_renewed_when_it_must_be(project: Path, bin: Path, venv: Venv) -> None:
    python(bin, "python3", PLAIN)
    assert venv(project, "git", "small") == (0, "hello\n", MADE)
    assert venv(project, "sh", "-c", 'echo "$1"; exit 7', "sh", "a  b") == (7, "a  b\n", "")
    assert (project / "built").read_text() == "built\n"

    (project / "pyproject.toml").write_text(PYPROJECT + "# changed\n")
    assert venv(project, "git", "small") == (0, "hello\n", "Installing into .venv\n")

    moved = project.rename(project.parent / "moved")
    assert venv(moved, "git", "small") == (0, "hello\n", MADE)


def test_an_old_python_is_passed_over_and_one_that_lacks_ensurepip_will_do(
    project: Path, bin: Path, venv: Venv
) -> None:
    python(bin, "python3", OLD)
    python(bin, "python3.14", OLD)
    python(bin, "python3.13", NO_ENSUREPIP)
    assert venv(project, "git", "small") == (0, "hello\n", MADE)


def test_without_a_usable_python_it_says_so(project: Path, bin: Path, venv: Venv) -> None:
    for name in ("python3", "python3.14", "python3.13", "python3.12", "python3.11"):
        python(bin, name, OLD)
    assert venv(project, "true") == (1, "", "error: found no Python 3.11 or later that has pip\n")
    assert not (project / ".venv").exists()


def test_without_a_command_it_shows_its_usage(project: Path, venv: Venv) -> None:
    assert venv(project) == (2, "", "usage: .ci/venv COMMAND [ARGUMENT...]\n")
