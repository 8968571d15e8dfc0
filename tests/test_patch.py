"""A session's diff: as the user's git shows it, and safe to look at whatever is in it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from conftest import git
from fabricated import Fabricated

from gitautonomous import patch


def shown(task: Fabricated, commit: str = "", *, colour: bool = False) -> str:
    commit = commit or task.tip
    lines = patch.lines(task.place.repository, f"{commit}~1", commit, without=task.task.directory, colour=colour)
    return "".join(lines)


@pytest.fixture
def task(repo: Path) -> Fabricated:
    made = Fabricated(repo)
    made.plan("write a", "write b")
    made.session("write a", files={"a": "one\ntwo\nthree\n", "moved": "".join(f"line number {n}\n" for n in range(9))})
    return made


def of_git(task: Fabricated, *options: str) -> str:
    return (
        git(
            task.repo,
            *options,
            "diff",
            "--stat",
            "--patch",
            f"{task.tip}~1",
            task.tip,
            "--",
            ".",
            ":(exclude).autonomous",
        )
        + "\n"
    )


@pytest.mark.parametrize("colour", [False, True])
def test_it_is_the_diff_that_git_shows_without_the_tasks_own_folder(task: Fabricated, colour: bool) -> None:
    text = (task.trees.read(task.tip, "moved") or b"").decode()
    task.session("write b", files={"a": "one\n2\nthree  \n", "moved": None, "b": text, "bin": "\0\1"})
    for key, value in (
        ("diff.colorMoved", "zebra"),
        ("color.diff.old", "yellow bold"),
        ("diff.noprefix", "true"),
        ("color.diff.func", "#00ff00"),
    ):
        git(task.repo, "config", key, value)
    expected = of_git(task, "-c", f"color.ui={'always' if colour else 'never'}")
    actual = shown(task, colour=colour)
    assert actual == expected
    assert ("\x1b[" in actual) is colour


def test_nothing_of_the_content_reaches_the_terminal_or_hides(task: Fabricated) -> None:
    hostile = "\x1b[31mred\x1b[m \x1b[8mhidden\x1b]0;title\x07\u202eevil\u200b\r\nx\ry\ttab\u2028z\x9b2J\n"
    task.session("write b", files={"a": hostile, "caf\x1b\u202e": "x\n"})
    plain = [line for line in shown(task).split("\n") if line.startswith("+")]
    assert plain == [
        "+++ b/a",
        "+^[[31mred^[[m ^[[8mhidden^[]0;title^G<U+202E>evil<U+200B>^M",
        "+x^My\ttab<U+2028>z<U+009B>2J",
        r'+++ "b/caf\033\342\200\256"',
        "+x",
    ]
    coloured = shown(task, colour=True)
    assert "\x1b[32m^[[31mred\x1b[m ^[[8mhidden" in coloured
    assert "\x1b[31mred" not in coloured
    assert "\x1b[8m" not in coloured
    assert not set(coloured) & set("\x07\r\u202e\u200b\u2028\x9b")


def test_bytes_that_are_no_text_are_spelled_out(task: Fabricated) -> None:
    tree = task.trees.with_contents(task.tip, {"a": b"caf\xe9\n"})
    commit = task.trees.write_commit(None, "x", tree, [task.tip], identity=task.identity)
    assert "+caf\\xe9\n" in shown(task, commit)


def test_attributes_and_programs_of_the_tree_do_nothing(task: Fabricated, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    for key in ("diff.external", "diff.evil.command", "diff.evil.textconv", "filter.evil.smudge", "core.fsmonitor"):
        git(task.repo, "config", key, f"touch {canary};")
    task.session("write b", files={".gitattributes": "* -diff diff=evil filter=evil\n", "a": "one\ntwo\n3\n"})
    worktree = task.worktree()
    assert not (worktree.path / "nothing").exists()
    canary.unlink(missing_ok=True)
    assert "-three\n+3\n" in shown(task)
    assert not canary.exists()


def test_a_very_long_line_is_cut_and_says_so(task: Fabricated) -> None:
    task.session("write b", files={"a": "x" * 200_000 + "\nnext\n"})
    lines = shown(task).split("\n")
    long = next(line for line in lines if line.startswith("+x"))
    assert long == "+" + "x" * (patch.LONGEST_LINE - 1) + " [134,466 more bytes]"
    assert "+next" in lines


def test_a_reader_that_stops_early_ends_git(task: Fabricated) -> None:
    task.session("write b", files={"a": "".join(f"{n}\n" for n in range(300_000))})
    lines = patch.lines(task.place.repository, f"{task.tip}~1", task.tip, without=task.task.directory, colour=False)
    assert next(lines).startswith(" a | 300003 +++")
    lines.close()  # type: ignore[attr-defined]
    children = subprocess.run(["pgrep", "-f", f"git-dir={task.repo}/.git .*diff"], capture_output=True, check=False)
    assert children.stdout == b""


def test_a_session_of_a_bare_repository_is_shown_too(task: Fabricated, tmp_path: Path) -> None:
    bare = tmp_path / "bare.git"
    git(task.repo, "clone", "--quiet", "--bare", str(task.repo), str(bare))
    from gitautonomous.git import Repository

    lines = patch.lines(Repository.discover(bare), f"{task.tip}~1", task.tip, without=".autonomous/todo", colour=False)
    assert "+three\n" in list(lines)
