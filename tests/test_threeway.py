"""Merges in memory come to what `git merge` comes to, and touch nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pairs
import pytest
from conftest import git

from gitautonomous import threeway
from gitautonomous.errors import AutonomousError
from gitautonomous.git import Repository
from gitautonomous.objects import Objects
from gitautonomous.runs import Change


def commit(repo: Path, files: dict[str, str], *parents: str) -> str:
    """A commit with exactly these files, on no branch."""
    stream = ["reset refs/made\n", "commit refs/made\ncommitter A <a@b> 1 +0000\ndata 0\n"]
    stream += [("from " if not number else "merge ") + parent + "\n" for number, parent in enumerate(parents)]
    stream += ["deleteall\n", *(f"M 100644 inline {path}\ndata {len(text)}\n{text}\n" for path, text in files.items())]
    subprocess.run(
        ["git", "-C", str(repo), "fast-import", "--quiet", "--force"], input="".join(stream).encode(), check=True
    )
    return git(repo, "rev-parse", "refs/made")


def test_a_sample_of_random_pairs_comes_out_as_git_merge_has_it(tmp_path: Path) -> None:
    count = 40  # `python tests/pairs.py 500` compares more
    found, clean = pairs.differences(pairs.make_pairs(tmp_path / "pairs", count, seed=7), count)
    assert found == []
    assert 0 < clean < count


def test_the_attributes_of_our_side_decide_how_a_file_is_merged_also_in_a_bare_repository(repo: Path) -> None:
    lines = "one\ntwo\n"
    fork = commit(repo, {"a/.gitattributes": "*.md merge=union\n", "a/list.md": lines, "list.md": lines})
    mine = commit(
        repo, {"a/.gitattributes": "*.md merge=union\n", "a/list.md": lines + "mine\n", "list.md": lines}, fork
    )
    its = commit(repo, {"a/.gitattributes": "*.md merge=union\n", "a/list.md": lines + "its\n", "list.md": lines}, fork)
    git(repo, "clone", "--quiet", "--bare", "--mirror", str(repo), str(repo.parent / "bare.git"))
    for place in (repo, repo.parent / "bare.git"):
        git(place, "update-ref", "refs/heads/mine", mine)
        git(place, "fetch", "--quiet", str(repo), mine, its)
        result = threeway.merge(Repository.discover(place), mine, its)
        assert result.conflicts == ()
        assert git(place, "show", f"{result.tree}:a/list.md") == "one\ntwo\nmine\nits"


def test_many_merges_take_one_process_and_can_leave_nothing_behind(repo: Path, tmp_path: Path) -> None:
    fork = commit(repo, {"f": "1\n2\n3\n", "g": "1\n"})
    sides = [commit(repo, {"f": f"{number}\n2\n3\n", "g": f"{number}\n"}, fork) for number in range(3)]
    other = commit(repo, {"f": "1\n2\nthree\n", "g": "1\n", "h": "new\n"}, fork)
    before = git(repo, "count-objects", "-v")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    results = list(
        threeway.merge_all(
            Repository.discover(repo), [(other, sides[0]), (sides[0], sides[2])], attributes_of=fork, scratch=scratch
        )
    )
    assert [result.conflicts for result in results] == [(), ("f", "g")]
    assert git(repo, "count-objects", "-v") == before


def test_commits_without_a_common_ancestor_are_an_error_that_says_so(repo: Path) -> None:
    first, second = commit(repo, {"f": "1\n"}), commit(repo, {"f": "2\n"})
    with pytest.raises(AutonomousError, match="unrelated histories"):
        threeway.merge(Repository.discover(repo), first, second)


def test_a_pick_brings_one_difference_over_and_names_what_conflicts(repo: Path) -> None:
    before = commit(repo, {"f": "1\n2\n3\n", "g": "1\n"})
    after = commit(repo, {"f": "1\n2\nthree\n", "g": "1\n", "h": "new\n"})
    onto = commit(repo, {"f": "one\n2\n3\n", "g": "other\n"})
    clash = commit(repo, {"f": "1\n2\ndrei\n", "g": "1\n"})
    repository = Repository.discover(repo)
    objects = Objects(repository.common_dir)
    start, onto, after, clash = (objects.commit(oid).tree for oid in (before, onto, after, clash))
    result = threeway.pick(repository, objects, onto, start, after)
    assert result.conflicts == ()
    assert git(repo, "show", f"{result.tree}:f").split() == ["one", "2", "three"]
    assert git(repo, "ls-tree", "--name-only", result.tree).split() == ["f", "g", "h"]
    assert threeway.pick(repository, objects, clash, start, after).conflicts == ("f",)


def test_changes_are_told_with_their_modes_and_the_targets_of_links(repo: Path) -> None:
    (repo / "run").write_text("x")
    (repo / "gone").write_text("x")
    (repo / "näme with \n newline").write_text("x")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "old")
    (repo / "run").chmod(0o755)
    (repo / "gone").unlink()
    (repo / "link").symlink_to("../outside")
    (repo / "näme with \n newline").write_text("y")
    git(repo, "add", "--all")
    git(repo, "commit", "-qm", "new")
    repository = Repository.discover(repo)
    found = threeway.changes(
        repository, Objects(repository.common_dir), git(repo, "rev-parse", "HEAD~1"), git(repo, "rev-parse", "HEAD")
    )
    assert found == (
        Change("gone", "D", 0, 0o100644),
        Change("link", "A", 0o120000, 0, "../outside"),
        Change("näme with \n newline", "M", 0o100644, 0o100644),
        Change("run", "M", 0o100755, 0o100644),
    )
    below = [Change("docs/a", "A"), Change("docs", "D"), Change("docs.md", "A")]
    assert [change.path for change in threeway.outside(below, "docs")] == ["docs", "docs.md"]


def test_a_folder_is_put_into_a_tree_and_taken_out_again(repo: Path) -> None:
    plain = commit(repo, {"f": "1\n", ".autonomous/other/x": "1\n"})
    with_task = commit(repo, {"f": "2\n", ".autonomous/task/a": "1\n", ".autonomous/other/x": "1\n"})
    alone = commit(repo, {".autonomous/task/a": "1\n"})
    objects = Objects(Repository.discover(repo).common_dir)
    plain_tree, task_tree, alone_tree = (objects.commit(oid).tree for oid in (plain, with_task, alone))
    folder = objects.subtree(task_tree, ".autonomous/task")
    assert folder is not None and objects.subtree(plain_tree, ".autonomous/task") is None
    put = objects.with_subtree(plain_tree, ".autonomous/task", folder)
    assert git(repo, "ls-tree", "-r", "--name-only", put).split() == [".autonomous/other/x", ".autonomous/task/a", "f"]
    assert objects.with_subtree(put, ".autonomous/task", None) == plain_tree
    assert objects.with_subtree(plain_tree, ".autonomous/task", None) == plain_tree
    assert git(repo, "ls-tree", "-r", objects.with_subtree(alone_tree, ".autonomous/task", None)) == ""
    assert objects.subtree(plain_tree, "f/below") is None
