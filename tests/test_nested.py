"""Repositories that an agent plants in its worktree: never staged, never obeyed, never in the way of the work beside them."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from canaries import ATTRIBUTES, Canaries
from conftest import git

from gitautonomous.git import Repository, Worktree

REASON = "a repository of its own"


@pytest.fixture
def canaries(tmp_path: Path) -> Canaries:
    return Canaries(tmp_path / "canaries")


@pytest.fixture
def task(repo: Path) -> Worktree:
    git(repo, "branch", "autonomous/x")
    return Repository.discover(repo).add_worktree(repo.parent / "task", "autonomous/x")


def plant(folder: Path, canaries: Canaries) -> Path:
    """A repository with a commit whose configuration and hooks are canaries. Its last own git command ran before they were there."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "--quiet")
    (folder / "inner").write_text("inner\n")
    git(folder, "add", "inner")
    git(folder, "commit", "--quiet", "-m", "Inner")
    (folder / ".gitattributes").write_text(ATTRIBUTES)
    (folder / "inner").write_text("INNER\n")  # of the same size: only the filtered content can tell whether it changed
    with open(folder / ".git/config", "a") as file:
        file.write(canaries.config())
    canaries.hooks(folder / ".git/hooks")
    return folder


def paths(task: Worktree, tree: str) -> list[str]:
    """The paths in a tree; a gitlink is marked."""
    lines = git(task.repository.common_dir, "ls-tree", "-r", "-z", tree).split("\0")
    return [("gitlink " if line.startswith("160000") else "") + line.partition("\t")[2] for line in lines if line]


def everything_that_looks(task: Worktree) -> None:
    """What looks at a worktree between two sessions: we do, and Codex does."""
    task.clean()
    task.listing()
    command = ["git", "-C", str(task.path), "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"]
    subprocess.run([*command, "status", "--porcelain"], check=True, capture_output=True)


def moved(folder: Path) -> None:
    """The git dir next to its worktree, and a file that points to it."""
    (folder / ".git").rename(folder.parent / "elsewhere")
    (folder / ".git").write_text("gitdir: ../elsewhere\n")


def unborn(folder: Path) -> None:
    (folder / ".git/refs/heads/main").unlink()


FORMS: dict[str, Callable[[Path], object]] = {
    "a folder": lambda folder: None,
    "a file that points to it": moved,
    "without a commit": unborn,
    "in capitals": lambda folder: (folder / ".git").rename(folder / ".GIT"),
    "with a blank": lambda folder: (folder / ".git").rename(folder / ".git "),
    "as Windows shortens it": lambda folder: (folder / ".git").rename(folder / "GIT~1"),
    "with an invisible letter": lambda folder: (folder / ".git").rename(folder / ".g\u200cit"),
    "as a stream": lambda folder: (folder / ".git").rename(folder / ".git::$INDEX_ALLOCATION"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_nested_repository_is_left_out_and_none_of_its_programs_runs(
    task: Worktree, canaries: Canaries, form: str
) -> None:
    FORMS[form](plant(task.path / "deep/sub", canaries))
    (task.path / "deep/beside").write_text("work\n")
    tree, excluded = task.stage({})
    assert excluded["deep/sub"] == REASON
    assert paths(task, tree) == ["README.md", "deep/beside"]
    everything_that_looks(task)
    assert task.as_tree(tree)
    task.restore(tree)
    assert (task.path / "deep/sub/inner").exists()
    assert canaries.marks() == []


def test_a_bare_repository_is_left_out_even_when_it_comes_piece_by_piece(task: Worktree, canaries: Canaries) -> None:
    plant(task.path / "sub", canaries)
    (task.path / "sub/.git").rename(task.path / "bare")
    shutil.rmtree(task.path / "sub")
    for name in ("objects", "refs"):
        (task.path / "bare" / name).rename(task.path / name)
    tree, excluded = task.stage({})
    assert excluded == {} and "bare/HEAD" in paths(task, tree)
    for name in ("objects", "refs"):
        (task.path / name).rename(task.path / "bare" / name)
    tree, excluded = task.stage({})
    assert excluded == {"bare": REASON}
    assert [path for path in paths(task, tree) if path.startswith(("bare/objects", "bare/refs"))] == []
    assert canaries.marks() == []


def test_a_git_dir_that_shares_anothers_objects_is_left_out(task: Worktree, canaries: Canaries) -> None:
    plant(task.path / "sub", canaries)
    (task.path / "linked").mkdir()
    (task.path / "linked/HEAD").write_text("ref: refs/heads/main\n")
    (task.path / "linked/commondir").write_text("../sub/.git\n")
    assert task.stage({})[1] == {"sub": REASON, "linked": REASON}


@pytest.fixture
def with_submodule(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worktree:
    """A task's worktree of a repository with a submodule at `sub`."""
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "file")
    origin = tmp_path / "origin"
    origin.mkdir()
    git(origin, "init", "--quiet")
    git(origin, "commit", "--quiet", "--allow-empty", "-m", "Inner")
    git(repo, "submodule", "--quiet", "add", str(origin), "sub")
    git(repo, "commit", "--quiet", "-m", "A submodule")
    git(repo, "branch", "autonomous/x")
    return Repository.discover(repo).add_worktree(repo.parent / "task", "autonomous/x")


@pytest.mark.parametrize("form", ["a folder", "a file that points to it"])
def test_a_repository_in_a_submodules_place_is_disarmed_before_git_looks_at_it(
    with_submodule: Worktree, canaries: Canaries, tmp_path: Path, form: str
) -> None:
    task = with_submodule
    FORMS[form](plant(task.path / "sub", canaries))
    (task.path / "beside").write_text("work\n")
    listing = task.listing()
    notes = task.disarm_submodules(listing, tmp_path / "attic")
    tree, excluded = task.stage({}, listing)
    assert (len(notes), excluded) == (1, {} if form == "a folder" else {"elsewhere": REASON})
    assert notes[0].startswith("sub/.git was not a plain file or folder and was moved to ")
    assert paths(task, tree) == [".gitmodules", "README.md", "beside", "gitlink sub"]
    assert git(task.repository.common_dir, "rev-parse", f"{tree}:sub") == git(
        task.repository.common_dir, "rev-parse", "HEAD:sub"
    )
    assert (task.path / "sub/inner").exists()
    everything_that_looks(task)
    assert canaries.marks() == []


def test_staging_alone_asks_no_program_of_a_submodule(with_submodule: Worktree, canaries: Canaries) -> None:
    plant(with_submodule.path / "sub", canaries)
    tree, _ = with_submodule.stage({})
    assert git(with_submodule.repository.common_dir, "diff", "--raw", "HEAD", tree) == ""
    assert canaries.marks() == []


def test_a_submodule_that_git_populated_is_not_disarmed(with_submodule: Worktree, tmp_path: Path) -> None:
    git(with_submodule.path, "submodule", "--quiet", "update", "--init")
    assert with_submodule.disarm_submodules(with_submodule.listing(), tmp_path / "attic") == []
    assert git(with_submodule.path / "sub", "status", "--porcelain") == ""


def test_what_git_cannot_take_is_left_out_and_the_rest_is_committed(task: Worktree) -> None:
    (task.path / "new").write_text("work\n")
    (task.path / "README.md").unlink()
    os.mkfifo(task.path / "README.md")
    (task.path / ".gitmodules").symlink_to("/etc/passwd")
    tree, excluded = task.stage({})
    assert excluded == {
        "README.md": "neither a file nor a link",
        ".gitmodules": "a link that git would have to obey",
    }
    assert paths(task, tree) == ["README.md", "new"]
    assert task.as_tree(tree, excluded)


CLOSED = """\
import sys
from pathlib import Path
from gitautonomous.git import Repository
task = Repository.discover(Path(sys.argv[1])).add_worktree(Path(sys.argv[2]), "autonomous/x")
for name in ("closed/file", "open", "unreadable"):
    (task.path / name).parent.mkdir(exist_ok=True)
    (task.path / name).write_text("work")
(task.path / "closed").chmod(0)
(task.path / "unreadable").chmod(0)
tree, excluded = task.stage({})
print(sorted(excluded.items()), task.run("ls-tree", "-r", "--name-only", tree).split())
(task.path / "closed").chmod(0o755)
"""


def without_privileges() -> None:
    """Root keeps its files, but not its right to read everything (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH); others had none."""
    libc = ctypes.CDLL(None)
    for capability in (1, 2):
        libc.prctl(24, capability, 0, 0, 0)


def test_a_closed_folder_and_an_unreadable_file_are_named_and_the_rest_is_committed(repo: Path) -> None:
    git(repo, "branch", "autonomous/x")
    command = [sys.executable, "-c", CLOSED, str(repo), str(repo.parent / "task")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, preexec_fn=without_privileges)
    assert done.stdout == ("[('closed', 'cannot be opened'), ('unreadable', 'cannot be read')] ['README.md', 'open']\n")
