"""The wheel, the sdist and the editable install each carry or find everything that the program needs."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from gitautonomous import __version__, cli, completion, manual, reference

ROOT = Path(__file__).parent.parent
NAMES = {folder: sorted(path.name for path in (ROOT / folder).iterdir()) for folder in ("templates", "hooks")}
COMMANDS = reference.read(cli.app)
SHARED = f"git_autonomous-{__version__}.data/data"
SHARED_FILES = {f"{manual.SHARED}/{name}": text for name, text in manual.pages(COMMANDS).items()} | {
    place: completion.script(shell, COMMANDS) for shell, place in completion.SHARED.items()
}

READ_ALL = """
import json, sys
from gitautonomous import resources
names = json.loads(sys.argv[1])
found = {
    "templates": {name: resources.template(name) for name in names["templates"]},
    "hooks": {name: resources.hook(name) for name in names["hooks"]},
    "typed": resources._PACKAGE.joinpath("py.typed").is_file(),
    "package": str(resources._PACKAGE),
}
print(json.dumps(found))
"""


def build(hook: str, source: Path, folder: Path) -> Path:
    """Call a hook of the build backend as pip does, and return the file that it made."""
    folder.mkdir(parents=True)
    code = f"import sys, hatchling.build; hatchling.build.{hook}(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(folder)], cwd=source, check=True)
    (made,) = folder.iterdir()
    return made


def build_through_sdist(folder: Path) -> Path:
    sdist = build("build_sdist", ROOT, folder / "sdist")
    unpacked = folder / "source"
    unpacked.mkdir()
    subprocess.run(["tar", "-xf", sdist, "-C", unpacked], check=True)
    (source,) = unpacked.iterdir()
    return build("build_wheel", source, folder / "wheel")


@pytest.mark.parametrize("way", ["wheel", "sdist", "editable"])
def test_an_installation_finds_templates_and_hooks(tmp_path: Path, way: str) -> None:
    if way == "sdist":
        wheel = build_through_sdist(tmp_path / "build")
    else:
        wheel = build({"wheel": "build_wheel", "editable": "build_editable"}[way], ROOT, tmp_path / "build")
    environment = tmp_path / "environment"
    python = str(environment / "bin" / "python")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    subprocess.run(install, check=True)

    command = [python, "-I", "-c", READ_ALL, json.dumps(NAMES)]
    found = json.loads(subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.PIPE).stdout)
    folders = {
        folder: {name: (ROOT / folder / name).read_bytes().decode() for name in names}
        for folder, names in NAMES.items()
    }
    (site,) = (environment / "lib").glob("python*/site-packages")
    package = ROOT / "gitautonomous" if way == "editable" else site / "gitautonomous"
    assert found == {**folders, "typed": True, "package": str(package)}
    assert (environment / "bin" / "git-autonomous").read_text().startswith(f"#!{python}\n")
    assert {name: (environment / name).read_text() for name in SHARED_FILES} == SHARED_FILES


def test_the_wheel_holds_the_package_its_data_and_nothing_else(tmp_path: Path) -> None:
    wheel = build("build_wheel", ROOT, tmp_path / "build")
    about = f"git_autonomous-{__version__}.dist-info"
    package = ROOT / "gitautonomous"
    files = [path.relative_to(package) for path in package.rglob("*") if path.is_file()]
    modules = [str(path) for path in files if "__pycache__" not in path.parts]
    data = [f"{folder}/{name}" for folder, names in NAMES.items() for name in names]
    metadata = ["METADATA", "WHEEL", "entry_points.txt", "licenses/LICENSE", "RECORD"]
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry_points = archive.read(f"{about}/entry_points.txt").decode()
        shared = {name: archive.read(f"{SHARED}/{name}").decode() for name in SHARED_FILES}
    assert names == {
        *(f"gitautonomous/{name}" for name in modules + data),
        *(f"{about}/{name}" for name in metadata),
        *(f"{SHARED}/{name}" for name in SHARED_FILES),
    }
    assert shared == SHARED_FILES
    assert entry_points == "[console_scripts]\ngit-autonomous = gitautonomous.__main__:main\n"


def test_the_sdist_holds_what_its_tests_need(tmp_path: Path) -> None:
    with tarfile.open(build("build_sdist", ROOT, tmp_path / "build")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = [
        "pyproject.toml",
        "hatch_build.py",
        "LICENSE",
        "CHANGELOG.md",
        ".ci/venv",
        "tests/conftest.py",
        "tests/test_packaging.py",
    ]
    assert names.issuperset(needed)
