"""Trees edited and merged in memory, measured against git itself."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import git

from gitautonomous.git import Repository
from gitautonomous.trees import Conflict, Trees

EMPTY = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
BLOB = 0o100644


@pytest.fixture
def trees(repo: Path) -> Trees:
    git(repo, "hash-object", "-w", "-t", "tree", "/dev/null")
    return Trees(Repository.discover(repo))


def tree_of(trees: Trees, files: dict[str, bytes]) -> str:
    return trees.with_contents(EMPTY, dict(files))


def names(repo: Path, tree: str) -> list[str]:
    command = ["git", "-C", str(repo), "ls-tree", "-r", "-z", "--name-only", tree]
    return os.fsdecode(subprocess.run(command, capture_output=True, check=True).stdout).rstrip("\0").split("\0")


def test_edits_make_the_trees_that_git_itself_would_make(repo: Path, trees: Trees) -> None:
    names_of_both_kinds = {"a": b"1", "a.b": b"2", "a-b/c": b"3", "b/c/d": b"4", "z": b"5"}
    tree = tree_of(trees, names_of_both_kinds)
    for path, content in names_of_both_kinds.items():
        (repo / path).parent.mkdir(parents=True, exist_ok=True)
        (repo / path).write_bytes(content)
    (repo / "README.md").unlink()
    git(repo, "add", "--all")
    assert tree == git(repo, "write-tree")
    smaller = trees.with_contents(tree, {"b/c/d": None, "a": None, "a/x": b"folder now"})
    assert names(repo, smaller) == ["a-b/c", "a.b", "a/x", "z"]
    assert trees.with_contents(smaller, {"a/x": None, "a": b"1", "b/c/d": b"4"}) == tree
    assert trees.edit(tree, dict.fromkeys(names_of_both_kinds)) == EMPTY
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""


def test_a_file_in_the_way_of_a_folder_is_an_error(trees: Trees) -> None:
    with pytest.raises(NotADirectoryError):
        trees.with_contents(tree_of(trees, {"a": b"1"}), {"a/b": b"2"})


def test_names_that_are_not_utf8_are_kept_byte_for_byte(repo: Path, trees: Trees) -> None:
    name = os.fsdecode(b"caf\xe9/\xff")
    tree = trees.with_contents(tree_of(trees, {name: b"1"}), {"new": b"2"})
    assert names(repo, tree) == [name, "new"]
    assert trees.at(tree, name) == (trees.blob(b"1"), BLOB)
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""


def test_merging_leaves_the_paths_apart_as_they_are(trees: Trees) -> None:
    base = tree_of(trees, {"notes": b"0", "a": b"1\n2\n3\n", "b": b"1"})
    ours = trees.with_contents(base, {"notes": b"ours", "a": b"ours\n2\n3\n"})
    theirs = trees.with_contents(base, {"notes": b"theirs", "b": b"theirs"})
    assert trees.merge(base, ours, theirs, apart=["notes"]) == trees.with_contents(ours, {"b": b"theirs"})
    overlapping = trees.with_contents(theirs, {"a": b"1\n2\ntheirs\n"})
    assert trees.merge(base, ours, overlapping, apart=["notes"]) == tree_of(
        trees, {"notes": b"ours", "a": b"ours\n2\ntheirs\n", "b": b"theirs"}
    )
    with pytest.raises(Conflict) as caught:
        trees.merge(base, ours, trees.with_contents(theirs, {"a": b"theirs\n2\n3\n"}))
    assert caught.value.paths == ("a", "notes")


def test_a_change_follows_a_file_that_was_renamed(trees: Trees) -> None:
    content = b"".join(b"line %d\n" % number for number in range(20))
    base = tree_of(trees, {"old": content})
    ours = tree_of(trees, {"new": content})
    theirs = tree_of(trees, {"old": content + b"more\n"})
    assert trees.merge(base, ours, theirs) == tree_of(trees, {"new": content + b"more\n"})


def random_tree(trees: Trees, base: dict[str, bytes], rng: random.Random) -> str:
    """`base` after a few edits, deletions, moves, additions, and files that became folders or the other way round."""
    files = dict(base)
    for _ in range(rng.randint(1, 4)):
        path = rng.choice(sorted(files))
        match rng.randrange(5):
            case 0:
                lines = files[path].splitlines(keepends=True)
                lines[rng.randrange(len(lines))] = b"edit %d\n" % rng.randrange(1000)
                files[path] = b"".join(lines)
            case 1 if len(files) > 3:
                del files[path]
            case 2 if "moved" not in path:
                files["moved/" + path.replace("/", "-")] = files.pop(path)
            case 3:
                files[f"new{rng.randrange(3)}"] = b"new %d\n" % rng.randrange(2)
            case 4 if "/" not in path and not path.startswith("new"):
                files[f"{path}/below"] = files.pop(path)
    return tree_of(trees, files)


def merged_by_git(repo: Path, commits: Sequence[str]) -> str | None:
    done = subprocess.run(
        ["git", "-C", str(repo), "merge-tree", "--write-tree", *commits], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else None


def test_forty_random_merges_end_as_gits_own(repo: Path, trees: Trees) -> None:
    verdicts = []
    for seed in range(40):
        rng = random.Random(seed)
        files = {
            f"{folder}f{n}": b"".join(b"%d %d %s\n" % (n, line, folder.encode()) for line in range(12))
            for folder in ("", "d/", "d/e/")
            for n in range(3)
        }
        base = tree_of(trees, files)
        ours, theirs = random_tree(trees, files, rng), random_tree(trees, files, rng)
        first = git(repo, "commit-tree", "-m", "base", base)
        sides = [git(repo, "commit-tree", "-m", "side", "-p", first, tree) for tree in (ours, theirs)]
        expected = merged_by_git(repo, sides)
        try:
            actual: str | None = trees.merge(base, ours, theirs)
        except Conflict:
            actual = None
        assert actual == expected, f"seed {seed}"
        verdicts.append(actual is not None)
    assert 5 < sum(verdicts) < 38
