"""Templates come from the user's folders first, then from the package, and a bad one is one clear error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gitautonomous import resources
from gitautonomous.errors import AutonomousError

ROOT = Path(__file__).parent.parent


def test_every_template_and_hook_of_the_repository_is_found() -> None:
    for folder, read in (("templates", resources.template), ("hooks", resources.hook)):
        found = {path.name: read(path.name) for path in (ROOT / folder).iterdir()}
        assert found == {path.name: path.read_bytes().decode() for path in (ROOT / folder).iterdir()}
        assert found


def test_the_first_folder_that_has_the_template_wins(tmp_path: Path) -> None:
    folders = [tmp_path / "empty", tmp_path / "mine", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    for folder in folders[1:]:
        (folder / "own.md").write_bytes(f"of {folder.name}\r\n".encode())
    assert resources.template("own.md", overrides=folders) == "of mine\r\n"


def test_a_template_that_the_user_does_not_have_is_ours(tmp_path: Path) -> None:
    name = min(path.name for path in (ROOT / "templates").iterdir())
    assert resources.template(name, overrides=[tmp_path]) == resources.template(name)


def test_a_folder_of_templates_that_does_not_exist_is_said(tmp_path: Path) -> None:
    assert failure(tmp_path / "my own") == (
        f"there is no folder {tmp_path}/my own for templates",
        f"mkdir -p '{tmp_path}/my own'",
    )


def failure(folder: Path) -> tuple[str, str | None]:
    with pytest.raises(AutonomousError) as error:
        resources.template("own.md", overrides=[folder])
    return error.value.message, error.value.hint


def test_a_template_that_is_not_utf8_is_named_with_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "own.md"
    path.write_bytes(b"caf\xe9")
    assert failure(tmp_path) == (f"{path} is not UTF-8 (byte 3)", f"file {path}")


def test_a_template_that_is_too_large_is_named_with_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "own.md"
    path.write_bytes(b"x" * (resources.LIMIT + 1))
    assert failure(tmp_path) == (f"{path} is larger than 256 KiB", f"ls -ld {path}")
    path.write_bytes(b"x" * resources.LIMIT)
    assert resources.template("own.md", overrides=[tmp_path]) == "x" * resources.LIMIT


def test_what_is_no_readable_file_is_named_and_never_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "own.md"
    os.mkfifo(path)
    assert failure(tmp_path) == (f"cannot read {path}: not a file", f"ls -ld {path}")
    path.unlink()
    path.mkdir()
    assert failure(tmp_path) == (f"cannot read {path}: not a file", f"ls -ld {path}")
    path.rmdir()
    path.symlink_to(path)
    assert failure(tmp_path) == (f"cannot read {path}: Too many levels of symbolic links", f"ls -ld {path}")


def test_a_template_that_no_installation_has_is_an_error() -> None:
    with pytest.raises(AutonomousError) as error:
        resources.template("none.md")
    assert (error.value.message, error.value.hint) == (
        "this installation of git-autonomous has no templates/none.md",
        "pip install --force-reinstall git-autonomous",
    )
