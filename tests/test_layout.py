"""A new worktree is laid out as the main one is: submodules, filters such as LFS's, and sparse checkouts."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import made
import pytest
from conftest import git, make_repository
from program import autonomous, listed
from test_importing import old_task

LOCAL = ("-c", "protocol.file.allow=always")


def taken_over(repo: Path) -> Path:
    """A new task's worktree, made as `start` makes it, without a session."""
    if not (repo / ".autonomous").exists():
        old_task(repo)
    ended = autonomous(repo, "import", ".autonomous/todo")
    assert ended.status == 0, ended.err
    return made.worktree_of(repo, "todo")


@pytest.fixture
def with_submodules(repo: Path, tmp_path: Path) -> Path:
    """A repository with a submodule, one in that, and one that nobody has checked out. Where they came from is not there any more."""
    sources = [make_repository(tmp_path / name) for name in ("inner", "library", "unused")]
    git(sources[1], *LOCAL, "submodule", "--quiet", "add", str(sources[0]), "deep/inner")
    git(sources[1], "commit", "--quiet", "-m", "Inner")
    git(repo, *LOCAL, "submodule", "--quiet", "add", "--name", "a library", str(sources[1]), "vendor/library")
    git(repo, *LOCAL, "submodule", "--quiet", "add", str(sources[2]), "unused")
    git(repo, *LOCAL, "submodule", "--quiet", "update", "--init", "--recursive", "vendor/library")
    git(repo, "submodule", "--quiet", "deinit", "--force", "unused")
    git(repo, "commit", "--quiet", "-m", "Submodules")
    for source in sources:
        source.rename(source.with_name(f"{source.name} elsewhere"))
    return repo


def test_submodules_that_the_user_has_are_there_without_a_network(with_submodules: Path, tmp_path: Path) -> None:
    worktree = taken_over(with_submodules)
    status = ("submodule", "status", "--recursive")
    assert git(worktree, *status) == git(with_submodules, *status)
    assert (worktree / "vendor/library/deep/inner/README.md").read_text() == "# A project\n"
    assert os.listdir(worktree / "unused") == []
    assert git(worktree / "vendor/library", "remote", "get-url", "origin") == str(tmp_path / "library")
    assert git(worktree, "status", "--porcelain") == ""


def test_a_submodule_that_is_as_it_was_leaves_nothing_behind_when_its_task_goes(with_submodules: Path) -> None:
    taken_over(with_submodules)
    assert autonomous(with_submodules, "remove", "todo").status == 0
    attic = with_submodules / ".git/autonomous/attic"
    assert not attic.exists() or os.listdir(attic) == []
    assert git(with_submodules, "cat-file", "-t", "refs/autonomous/backup/todo/1^{commit}") == "commit"


@pytest.mark.parametrize("where", ["vendor/library", "vendor/library/deep/inner"])
def test_a_submodule_with_work_in_it_is_kept(with_submodules: Path, where: str) -> None:
    worktree = taken_over(with_submodules)
    (worktree / where / "work").write_text("mine\n")
    assert autonomous(with_submodules, "remove", "todo").status == 0
    assert autonomous(with_submodules, "restore", "todo").status == 0
    assert (worktree / where / "work").read_text() == "mine\n"
    assert git(worktree / where, "status", "--porcelain") == "?? work"


def test_an_address_in_the_tree_is_not_where_a_submodule_comes_from(with_submodules: Path, tmp_path: Path) -> None:
    evil = make_repository(tmp_path / "evil")
    git(with_submodules, "config", "--file", ".gitmodules", "submodule.a library.url", str(evil))
    git(with_submodules, "config", "--file", ".gitmodules", "submodule.unused.url", str(evil))
    git(with_submodules, "commit", "--quiet", "-am", "Other addresses")
    git(with_submodules, "config", "protocol.file.allow", "always")
    worktree = taken_over(with_submodules)
    assert git(worktree / "vendor/library", "rev-parse", "HEAD") == git(
        with_submodules, "rev-parse", "HEAD:vendor/library"
    )
    assert os.listdir(worktree / "unused") == []


def test_a_submodules_commit_that_is_nowhere_stops_the_task_with_its_name(with_submodules: Path) -> None:
    git(with_submodules, "update-index", "--cacheinfo", f"160000,{'1' * 40},vendor/library")
    git(with_submodules, "commit", "--quiet", "-m", "Ahead")
    old_task(with_submodules)
    ended = autonomous(with_submodules, "import", ".autonomous/todo")
    assert ended.status == 1
    assert "error: the submodule vendor/library cannot be checked out: " in ended.err


def test_files_that_a_filter_keeps_elsewhere_are_there(repo: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    for name, script in (
        ("clean", f"cat >{store}/new; sum=$(cksum <{store}/new | tr ' ' -); mv {store}/new {store}/$sum; echo $sum"),
        ("smudge", f"cat {store}/$(cat)"),
    ):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        git(repo, "config", f"filter.large.{name}", str(program))
    git(repo, "config", "filter.large.required", "true")
    (repo / ".gitattributes").write_text("*.bin filter=large\n")
    (repo / "big.bin").write_text("large\n")
    git(repo, "add", ".gitattributes", "big.bin")
    git(repo, "commit", "--quiet", "-m", "Large")
    assert git(repo, "cat-file", "blob", "HEAD:big.bin") != "large"
    worktree = taken_over(repo)
    assert (worktree / "big.bin").read_text() == "large\n"
    assert git(worktree, "status", "--porcelain") == ""


def test_a_sparse_checkout_is_as_sparse_as_the_main_one(repo: Path) -> None:
    for name in ("docs/a", "src/b", "src/deep/c", "tests/d"):
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text("1\n")
    git(repo, "add", "docs", "src", "tests")
    git(repo, "commit", "--quiet", "-m", "Folders")
    git(repo, "sparse-checkout", "set", "--cone", "src")
    folder = old_task(repo.parent / "old")
    assert autonomous(repo, "import", str(folder)).status == 0
    worktree = made.worktree_of(repo, "todo")
    assert sorted(path.name for path in worktree.iterdir()) == [".autonomous", ".git", "README.md", "src"]
    assert (worktree / "src/deep/c").exists()
    assert git(worktree, "status", "--porcelain") == ""
    (task,) = listed(repo)
    assert git(repo, "ls-tree", "-r", "--name-only", task["branch"], "docs", "tests").split() == ["docs/a", "tests/d"]
    shutil.rmtree(worktree)
    again = made.place_of(repo).repository.add_worktree(worktree, task["branch"])
    assert sorted(path.name for path in again.path.iterdir()) == [".autonomous", ".git", "README.md", "src"]
