"""A branch and its checkout move as one, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import git

from gitautonomous import moving, threeway
from gitautonomous.errors import AutonomousError
from gitautonomous.git import Repository
from gitautonomous.moving import Checkout
from gitautonomous.objects import Objects


def ahead(repo: Path, files: dict[str, str | None], base: str = "main") -> tuple[str, str]:
    """(commit of `base`, a commit on top of it with these files; None: deleted), on no branch."""
    old = git(repo, "rev-parse", base)
    folder = repo.parent / "elsewhere"
    git(repo, "worktree", "add", "--quiet", "--detach", str(folder), old)
    for path, text in files.items():
        target = folder / path
        if text is None:
            target.unlink()
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "-qm", "ahead")
    new = git(folder, "rev-parse", "HEAD")
    git(repo, "worktree", "remove", str(folder))
    return old, new


def move(repo: Path, old: str, new: str, branch: str = "main", hooks: bool = True) -> None:
    moving.advance(Repository.discover(repo), branch, old, new, reason="test", hooks=hooks)


def refused(repo: Path, old: str, new: str) -> str:
    with pytest.raises(AutonomousError) as caught:
        move(repo, old, new)
    assert git(repo, "rev-parse", "main") == old
    return caught.value.message.replace(str(repo), "REPO")


def test_a_branch_that_is_checked_out_moves_with_its_files_and_unrelated_work_stays(repo: Path) -> None:
    old, new = ahead(repo, {"new/file": "1\n"})
    (repo / "README.md").write_text("edited\n")
    (repo / "untracked").write_text("mine\n")
    git(repo, "add", "README.md")
    move(repo, old, new)
    assert git(repo, "rev-parse", "main") == new
    assert (repo / "new/file").read_text() == "1\n"
    assert git(repo, "status", "--porcelain") == "M  README.md\n?? untracked"
    assert git(repo, "reflog", "-1", "--format=%gs") == "autonomous: test: Fast-forward"


def test_a_branch_that_is_not_checked_out_moves_by_compare_and_swap(repo: Path) -> None:
    old, new = ahead(repo, {"f": "1\n"})
    git(repo, "switch", "--quiet", "--create", "other")
    before = git(repo, "status", "--porcelain=v2", "--branch")
    move(repo, old, new)
    assert git(repo, "rev-parse", "main") == new
    assert git(repo, "status", "--porcelain=v2", "--branch") == before
    with pytest.raises(AutonomousError, match="cannot move refs/heads/main"):
        move(repo, old, git(repo, "rev-parse", "other"))
    assert git(repo, "rev-parse", "main") == new


@pytest.mark.parametrize(
    ("files", "work", "touched"),
    [
        ({"README.md": "theirs\n"}, {"README.md": "mine\n"}, ["README.md"]),
        ({"README.md": None}, {"README.md": "mine\n"}, ["README.md"]),
        ({"notes": "theirs\n"}, {"notes": "mine\n"}, ["notes"]),
        ({".env": "theirs\n"}, {".env": "SECRET=1\n"}, [".env"]),
        ({"a/b/c": "theirs\n"}, {"a/b": "mine\n"}, ["a/b"]),
        ({"a": "theirs\n"}, {"a/b": "mine\n"}, None),
    ],
    ids=["edited", "edited and deleted", "untracked", "ignored", "file for a folder", "folder for a file"],
)
def test_work_that_would_be_touched_is_named_and_stays(
    repo: Path, files: dict[str, str | None], work: dict[str, str], touched: list[str] | None
) -> None:
    (repo / ".gitignore").write_text(".env\n")
    git(repo, "add", ".gitignore")
    git(repo, "commit", "-qm", "ignore")
    old, new = ahead(repo, files)
    for path, text in work.items():
        (repo / path).parent.mkdir(exist_ok=True)
        (repo / path).write_text(text)
    repository = Repository.discover(repo)
    place = moving.checkout_of(repository, "main")
    assert place == Checkout(repo, repo / ".git")
    changes = threeway.changes(repository, Objects(repo / ".git"), old, new)
    assert moving.in_the_way(repository, place, changes) == (touched or [])
    message = refused(repo, old, new)
    if touched and touched != ["a/b"]:
        assert (
            message
            == f"main is checked out at REPO, where uncommitted or untracked work would be touched: {touched[0]}"
        )
    assert {path: (repo / path).read_text() for path in work} == work


def test_a_link_on_the_way_is_never_followed(repo: Path, tmp_path: Path) -> None:
    old, new = ahead(repo, {"a/b": "theirs\n"})
    outside = tmp_path / "outside"
    outside.mkdir()
    (repo / "a").symlink_to(outside)
    repository = Repository.discover(repo)
    place = moving.checkout_of(repository, "main")
    assert place is not None
    changes = threeway.changes(repository, Objects(repo / ".git"), old, new)
    assert moving.in_the_way(repository, place, changes) == ["a"]
    refused(repo, old, new)
    assert list(outside.iterdir()) == []


def test_a_tracked_file_that_becomes_a_folder_is_not_in_the_way(repo: Path) -> None:
    old, middle = ahead(repo, {"a": "file\n"})
    move(repo, old, middle)
    _, new = ahead(repo, {"a": None})
    move(repo, middle, new)
    git(repo, "reset", "-q", "--hard", middle)
    folder = repo.parent / "elsewhere"
    git(repo, "worktree", "add", "--quiet", "--detach", str(folder), middle)
    (folder / "a").unlink()
    (folder / "a").mkdir()
    (folder / "a/b").write_text("in a folder\n")
    git(folder, "add", "--all")
    git(folder, "commit", "-qm", "folder")
    new = git(folder, "rev-parse", "HEAD")
    repository = Repository.discover(repo)
    place = moving.checkout_of(repository, "main")
    assert place is not None
    assert moving.in_the_way(repository, place, threeway.changes(repository, Objects(repo / ".git"), middle, new)) == []
    move(repo, middle, new)
    assert (repo / "a/b").read_text() == "in a folder\n"


def test_the_users_settings_neither_stash_their_work_nor_demand_signatures(repo: Path) -> None:
    old, new = ahead(repo, {"README.md": "theirs\n"})
    for key in ("merge.autostash", "merge.verifySignatures"):
        git(repo, "config", key, "true")
    git(repo, "config", "merge.ff", "false")
    (repo / "README.md").write_text("mine\n")
    refused(repo, old, new)
    assert git(repo, "stash", "list") == ""
    git(repo, "checkout", "--quiet", "README.md")
    move(repo, old, new)


def test_the_users_post_merge_hook_runs_in_their_checkout_only_when_asked(repo: Path, tmp_path: Path) -> None:
    for hooks_path in (None, "hooks of mine"):
        folder = repo / (hooks_path or ".git/hooks")
        folder.mkdir(exist_ok=True)
        (folder / "post-merge").write_text(f"#!/bin/sh\npwd >> '{tmp_path}/ran'\n")
        (folder / "post-merge").chmod(0o755)
        if hooks_path:
            git(repo, "config", "core.hooksPath", hooks_path)
        for hooks in (True, False):
            old, new = ahead(repo, {"f": f"{hooks_path} {hooks}\n"})
            move(repo, old, new, hooks=hooks)
    assert (tmp_path / "ran").read_text() == f"{repo}\n{repo}\n"


def rebasing(repo: Path) -> None:
    git(repo, "switch", "--quiet", "--create", "other", "HEAD~1")
    (repo / "README.md").write_text("other\n")
    git(repo, "commit", "-qam", "other")
    git(repo, "switch", "--quiet", "main")
    with pytest.raises(Exception, match="rebase"):
        git(repo, "rebase", "other")


def bisecting(repo: Path) -> None:
    git(repo, "bisect", "start", "main", "main~1")


def missing(repo: Path) -> None:
    git(repo, "switch", "--quiet", "--detach")
    git(repo, "worktree", "add", "--quiet", str(repo.parent / "linked"), "main")
    (repo.parent / "linked").rename(repo.parent / "moved")


def twice(repo: Path) -> None:
    git(repo, "worktree", "add", "--quiet", "--force", str(repo.parent / "linked"), "main")


@pytest.mark.parametrize(
    ("arrange", "message"),
    [
        (rebasing, "a rebase of main is under way in REPO"),
        (bisecting, "a bisect of main is under way in REPO"),
        (missing, "main is checked out at PARENT/linked, which is missing"),
        (twice, "main is checked out twice, at REPO and at PARENT/linked"),
    ],
    ids=["rebase", "bisect", "missing", "twice"],
)
def test_a_branch_that_somebody_works_on_is_not_moved(
    repo: Path, arrange: Callable[[Path], None], message: str
) -> None:
    (repo / "README.md").write_text("second\n")
    git(repo, "commit", "-qam", "second")
    old, new = ahead(repo, {"f": "1\n"})
    arrange(repo)
    assert refused(repo, old, new).replace(str(repo.parent), "PARENT") == message


def test_the_checkout_is_found_in_a_linked_worktree_of_a_bare_repository_and_in_a_submodule(
    repo: Path, tmp_path: Path
) -> None:
    bare, linked = tmp_path / "bare.git", tmp_path / "linked"
    git(repo, "clone", "--quiet", "--bare", str(repo), str(bare))
    assert moving.checkout_of(Repository.discover(bare), "main") is None
    git(bare, "worktree", "add", "--quiet", str(linked), "main")
    old, new = ahead(linked, {"f": "1\n"})
    move(bare, old, new)
    assert (linked / "f").read_text() == "1\n"
    assert moving.checkout_of(Repository.discover(bare), "main") == Checkout(linked, bare / "worktrees" / "linked")

    outer = tmp_path / "outer"
    git(tmp_path, "init", "--quiet", str(outer))
    git(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(repo), "sub")
    inner = outer / "sub"
    assert moving.checkout_of(Repository.discover(inner), "main") == Checkout(inner, outer / ".git" / "modules" / "sub")
    old, new = ahead(inner, {"f": "1\n"})
    move(inner, old, new)
    assert (inner / "f").read_text() == "1\n"


def test_a_branch_is_switched_to_any_commit_with_its_checkout_unless_work_is_in_the_way(repo: Path) -> None:
    first = git(repo, "rev-parse", "main")
    (repo / "README.md").write_text("second\n")
    git(repo, "commit", "-qam", "second")
    second = git(repo, "rev-parse", "main")
    (repo / "untracked").write_text("mine\n")
    repository = Repository.discover(repo)
    moving.switch(repository, "main", second, first, reason="test")
    assert ((repo / "README.md").read_text(), git(repo, "status", "--porcelain")) == ("# A project\n", "?? untracked")
    (repo / "README.md").write_text("edited\n")
    with pytest.raises(AutonomousError, match="work would be touched: README.md"):
        moving.switch(repository, "main", first, second, reason="test")
    assert (git(repo, "rev-parse", "main"), (repo / "README.md").read_text()) == (first, "edited\n")
    with pytest.raises(AutonomousError, match="moved meanwhile"):
        moving.switch(repository, "main", second, first, reason="test")


@pytest.mark.parametrize("precious", ["build", "build/cache"])
def test_ignored_files_and_folders_survive_a_switch(repo: Path, precious: str) -> None:
    (repo / ".gitignore").write_text("build\n")
    git(repo, "add", ".gitignore")
    git(repo, "commit", "-qm", "ignore")
    first = git(repo, "rev-parse", "main")
    (repo / "build").write_text("tracked\n")
    git(repo, "add", "-f", "build")
    git(repo, "commit", "-qm", "second")
    second = git(repo, "rev-parse", "main")
    repository = Repository.discover(repo)
    moving.switch(repository, "main", second, first, reason="test")
    (repo / precious).parent.mkdir(exist_ok=True)
    (repo / precious).write_text("precious\n")
    with pytest.raises(AutonomousError):
        moving.switch(repository, "main", first, second, reason="test")
    assert (git(repo, "rev-parse", "HEAD", "main"), (repo / precious).read_text()) == (
        f"{first}\n{first}",
        "precious\n",
    )
