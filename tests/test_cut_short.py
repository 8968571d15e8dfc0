"""Killed at any call of git, merge, remove and sync lose nothing, and the same command again comes to the same end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import made
import pytest
from conftest import git
from program import autonomous

STRIDE = int(os.environ.get("STRIDE", "9"))
"""Every ninth call of git is tried by the suite; `STRIDE=1 pytest tests/test_cut_short.py` tries them all."""

WRAPPER = """\
#!/bin/sh
count=$(( $(cat '{counter}' 2>/dev/null || echo 0) + 1 ))
echo $count > '{counter}'
if [ $count = '{victim}' ] && [ '{when}' = before ]; then kill -9 $PPID; exit 1; fi
'{git}' "$@"
status=$?
if [ $count = '{victim}' ]; then kill -9 $PPID; fi
exit $status
"""


def prepared(folder: Path) -> Path:
    """A repository with a finished task whose worktree has uncommitted work and a repository of its own in it."""
    repo = folder / "repo"
    repo.mkdir(parents=True)
    git(repo, "init", "--quiet")
    (repo / "README.md").write_text("# A project\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "First commit")
    made.finished(repo, "todo", {"a": "1\n"}, {"b": "2\n"})
    worktree = made.worktree_of(repo, "todo")
    (worktree / "a").write_text("edited\n")
    (worktree / "draft").write_text("mine\n")
    git(worktree, "init", "--quiet", "inner")
    (worktree / "inner/file").write_text("inner\n")
    (repo / "news").write_text("1\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "news")
    hook = repo / ".git/hooks/commit-msg"  # so that the result is laid out in files
    hook.write_text("#!/bin/sh\n")
    hook.chmod(0o755)
    return repo


def cut(folder: Path, victim: int, when: str, *arguments: str) -> tuple[Path, int]:
    """Run a command that is killed at its call number `victim` of git (0: at none); then again, undisturbed. Returns the repository, and how often git was called."""
    repo = prepared(folder)
    tools = folder / "tools"
    tools.mkdir()
    real = shutil.which("git")
    assert real is not None
    wrapper = tools / "git"
    wrapper.write_text(WRAPPER.format(counter=folder / "count", victim=victim, when=when, git=real))
    wrapper.chmod(0o755)
    ended = autonomous(repo, *arguments, PATH=f"{tools}:{Path(real).parent}:/usr/bin:/bin")
    calls = int((folder / "count").read_text())
    if victim:
        assert (ended.status, calls) == (-9, victim)
        again = autonomous(repo, *arguments)
        gone = again.err.startswith("error: there is no task 'todo'")
        assert again.status == 0 or gone, again.err
    return repo, calls


def nothing_is_lost(repo: Path) -> None:
    """The commits, the uncommitted files and the inner repository are there after `restore`, wherever the command was cut."""
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""
    assert git(repo, "status", "--porcelain") == ""
    tip = git(repo, "for-each-ref", "--format=%(objectname)", "refs/autonomous", "refs/heads/autonomous").split()
    assert any(git(repo, "rev-parse", f"{oid}^{{commit}}") for oid in tip)
    kept = git(repo, "for-each-ref", "--format=%(refname)", "refs/autonomous/backup").split()
    assert any(
        [git(repo, "show", f"{ref}:{path}") for path in ("a", "draft", "b")] == ["edited", "mine", "2"]
        for ref in kept
        if git(repo, "log", "-1", "--format=%s", ref) == "todo: uncommitted files of its worktree"
    )
    assert [path.read_text() for path in (repo / ".git/autonomous/attic").rglob("file")] == ["inner\n"]
    assert git(repo, "worktree", "list").count("\n") == 0
    assert list((repo / ".git/autonomous/trash").iterdir()) == []


def removed(repo: Path) -> None:
    nothing_is_lost(repo)
    assert git(repo, "for-each-ref", "refs/heads/autonomous") == ""


def merged(repo: Path) -> None:
    nothing_is_lost(repo)
    assert git(repo, "ls-tree", "-r", "--name-only", "main").split() == ["README.md", "a", "b", "news"]
    assert (git(repo, "show", "main:a"), (repo / "a").read_text()) == ("1", "1\n")
    assert git(repo, "rev-list", "--count", "--merges", "main") == "1"


def synced(repo: Path) -> None:
    worktree = made.worktree_of(repo, "todo")
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""
    assert git(worktree, "status", "--porcelain").splitlines() == [" M a", "?? draft", "?? inner/"]
    assert ((worktree / "news").read_text(), git(repo, "merge-base", "--is-ancestor", "main", "autonomous/todo")) == (
        "1\n",
        "",
    )


COMMANDS = [(("remove", "todo"), removed), (("merge", "todo"), merged), (("sync", "todo"), synced)]
Check = Callable[[Path], None]


@pytest.mark.timeout(180 + 3600 // STRIDE)
@pytest.mark.parametrize(("arguments", "check"), COMMANDS, ids=["remove", "merge", "sync"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_a_call_of_git_and_done_again(
    tmp_path: Path, arguments: tuple[str, ...], check: Check, when: str
) -> None:
    undisturbed, calls = cut(tmp_path / "undisturbed", 0, when, *arguments)
    check(undisturbed)
    assert calls > 10
    for victim in range(1, calls + 1, STRIDE):
        repo, _ = cut(tmp_path / str(victim), victim, when, *arguments)
        check(repo)
        shutil.rmtree(tmp_path / str(victim))
