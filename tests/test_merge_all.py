"""All finished tasks are merged, in the order that conflicts least, each tested on top of the one before."""

from __future__ import annotations

from pathlib import Path

import made
import pytest
from conftest import git
from hypothesis import given
from hypothesis import strategies as st
from program import autonomous, commits, listed
from test_merge_checks import approved

from gitautonomous.merge import order


def merged(out: str) -> list[str]:
    return [line.partition(":")[0] for line in out.splitlines()]


def test_the_one_that_conflicts_with_most_comes_last_and_what_fails_is_set_aside_with_its_reason(repo: Path) -> None:
    (repo / "x").write_text("1\n")
    (repo / "y").write_text("1\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "x and y")
    made.finished(repo, "both", {"x": "both\n", "y": "both\n"})
    made.finished(repo, "left", {"x": "left\n"})
    made.finished(repo, "right", {"y": "right\n"})
    made.finished(repo, "build", {"Makefile": "x:\n"})
    made.finished(repo, "half", {"z": "1\n"}, left=1)
    made.finished(repo, "base", {"README.md": "mine\n"})
    (repo / "README.md").write_text("theirs\n")
    git(repo, "commit", "-qam", "theirs")
    ended = autonomous(repo, "merge", "--all")
    assert (ended.status, merged(ended.out)) == (3, ["left", "right"])
    errors = [line for line in ended.err.splitlines() if not line.startswith("hint: git autonomous restore")]
    assert sorted(zip(errors[::2], errors[1::2], strict=True)) == [
        ("error: 'base' conflicts with main in README.md", "hint: git autonomous merge --resolve base"),
        ("error: 'both' conflicts with main in x, y", "hint: git autonomous merge --resolve both"),
        (
            "error: 'build' changes what runs on your machine: Makefile",
            "hint: git autonomous review build # then: git autonomous merge --reviewed build",
        ),
    ]
    assert commits(repo, "main~2..main", "%s")[-1].startswith("Merge right")
    assert {task["name"]: task["conflicts"] for task in listed(repo)} == {
        "base": ["main"], "both": ["main"], "build": [], "half": [],
    }  # fmt: skip
    ended = autonomous(repo, "merge", "--all", "--reviewed")
    assert (ended.status, merged(ended.out)) == (3, ["build"])


@pytest.mark.usefixtures("codex_home")
def test_each_is_tested_on_top_of_the_one_before_and_a_failing_one_does_not_stop_the_others(agent_repo: Path) -> None:
    approved(agent_repo, "first", {"a": "1\n"}, checks=["test ! -e b"])
    approved(agent_repo, "second", {"b": "1\n"}, checks=["test ! -e a"])
    approved(agent_repo, "third", {"c": "1\n"}, checks=["test -e a"])
    for name in ("first", "second"):
        assert autonomous(agent_repo, "merge", "--dry-run", name).status == 0
    ended = autonomous(agent_repo, "merge", "--all")
    assert (ended.status, merged(ended.out)) == (3, ["first", "third"])
    assert "error: a check fails on the result of the merge: test ! -e a (exit status 1)\n" in ended.err
    assert git(agent_repo, "ls-tree", "-r", "--name-only", "main").split() == ["README.md", "a", "c"]


def test_with_nothing_finished_there_is_nothing_to_do(repo: Path) -> None:
    made.finished(repo, "half", {"a": "1\n"}, left=1)
    ended = autonomous(repo, "merge", "--all")
    assert (ended.status, ended.out, ended.err) == (0, "", "Nothing to merge: no task is finished.\n")
    ended = autonomous(repo, "merge", "--all", "half")
    assert (ended.status, ended.err.splitlines()[0]) == (2, "error: TASK and --all exclude each other")


@pytest.mark.parametrize(
    ("names", "pairs", "against_base", "expected"),
    [
        ("abc", [], "", "abc"),
        ("abc", ["ab", "ac"], "", "bca"),
        ("abcd", ["ab", "bc", "cd"], "", "acbd"),
        ("abc", [], "a", "bca"),
        ("abc", ["ab"], "a", "bca"),
        ("", [], "", ""),
    ],
)
def test_the_order(names: str, pairs: list[str], against_base: str, expected: str) -> None:
    assert "".join(order(names, [(pair[0], pair[1]) for pair in pairs], against_base)) == expected


@given(
    st.lists(st.sampled_from("abcdefgh"), unique=True),
    st.lists(st.tuples(st.sampled_from("abcdefghx"), st.sampled_from("abcdefghx"))),
    st.sets(st.sampled_from("abcdefgh")),
)
def test_every_task_is_in_the_order_once(
    names: list[str], pairs: list[tuple[str, str]], against_base: set[str]
) -> None:
    assert sorted(order(names, [pair for pair in pairs if pair[0] != pair[1]], against_base)) == sorted(names)
