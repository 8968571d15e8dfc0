"""A folder that somebody else owns: links, FIFOs, folders and sizes are never believed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gitautonomous import hostile


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "worktree"
    (folder / ".autonomous" / "x").mkdir(parents=True)
    return folder


def test_a_plain_file_is_read_and_a_missing_one_is_none(root: Path) -> None:
    (root / ".autonomous/x/list").write_bytes(b"abc")
    assert hostile.read(root, ".autonomous/x/list", 3) == b"abc"
    assert hostile.read(root, ".autonomous/x/other", 3) is None
    assert hostile.read(root, ".autonomous/y/list", 3) is None


def test_what_is_no_plain_file_is_refused_without_waiting(root: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    folder = root / ".autonomous" / "x"
    (folder / "link").symlink_to(secret)
    (folder / "folder").mkdir()
    os.mkfifo(folder / "fifo")
    with open(folder / "huge", "wb") as file:
        file.truncate(1 << 40)
    (root / "linked").symlink_to(tmp_path)
    for path in (
        ".autonomous/x/link",
        ".autonomous/x/folder",
        ".autonomous/x/fifo",
        ".autonomous/x/huge",
        "linked/secret",
    ):
        with pytest.raises(hostile.NotAFile):
            hostile.read(root, path, 100)


def test_writing_replaces_a_link_and_never_writes_through_it(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    (root / ".autonomous/x").rmdir()
    (root / ".autonomous/x").symlink_to(outside)
    moved = hostile.write(root, ".autonomous/x/file", b"new", attic=tmp_path / "attic")
    assert (outside / "file").read_text() == "mine"
    assert (root / ".autonomous/x/file").read_bytes() == b"new"
    assert len(moved) == 1 and moved[0].startswith(".autonomous/x was not a plain file or folder and was moved to ")
    assert [entry.is_symlink() for entry in (tmp_path / "attic").iterdir()] == [True]


def test_writing_moves_a_folder_and_a_fifo_in_its_place_away(root: Path, tmp_path: Path) -> None:
    (root / "a").mkdir()
    (root / "a" / "kept").write_text("kept")
    os.mkfifo(root / "b")
    attic = tmp_path / "attic"
    hostile.write(root, "a", b"1", attic=attic)
    hostile.write(root, "b", b"2", attic=attic)
    assert ((root / "a").read_bytes(), (root / "b").read_bytes()) == (b"1", b"2")
    assert [(entry / "kept").read_text() for entry in attic.iterdir() if entry.is_dir()] == ["kept"]
    assert sorted(os.listdir(root)) == [".autonomous", "a", "b"]
