"""A command of the user's configuration must not run a file that an agent put into its worktree."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitautonomous import filters


@pytest.fixture
def worktree(tmp_path: Path) -> Path:
    """A worktree in which the agent made files of many names."""
    folder = tmp_path / "worktree"
    for name in ("tools/clean", "clean.py", "clean", "evil.py", "package/__init__.py", "s/a/b", "bin/lfs"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return folder


@pytest.mark.parametrize(
    "command",
    [
        "git-lfs clean -- %f",
        "git-lfs filter-process",
        "sed -e s/x/y/",
        "'/usr/bin/python3' -m nbstripout",
        "python3 /usr/lib/filter.py --flag",
        "indent",
        "~/bin/clean %f",
        "$HOME/bin/strip",
        "gpg --encrypt --recipient me",
        "perl -pe 's/\\$Date[^\\$]*\\$/x/'",
        "PASSWORD=1 openssl enc -base64",
        "",
    ],
)
def test_ordinary_commands_are_believed(worktree: Path, command: str) -> None:
    assert filters.unsafe_word(command, worktree) is None


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("tools/clean %f", "tools/clean"),
        ("./clean", "./clean"),
        ("../other/clean", "../other/clean"),
        ("'tools/clean' --now", "tools/clean"),
        ("cat | tools/other", "tools/other"),
        ("A=1 tools/clean", "tools/clean"),
        ("true; (tools/clean)", "tools/clean"),
        ("npx prettier --stdin", "npx"),
        ("make -s clean", "make"),
        ("python3 clean.py", "clean.py"),
        ("/usr/bin/python3.11 -u clean.py", "clean.py"),
        ("python -m evil", "evil"),
        ("python -m package.part", "package.part"),
        ("env -i python3 clean.py", "clean.py"),
        ("sh -c 'exec tools/clean %f'", "tools/clean"),
        ("sh clean", "clean"),
        ("xargs tools/clean", "tools/clean"),
        ("sh $TOP/tools/clean", "$TOP/tools/clean"),
        ('sh "$(git rev-parse --show-toplevel)/tools/clean"', "/tools/clean"),
    ],
)
def test_a_file_of_the_agent_is_found_in_a_command(worktree: Path, command: str, word: str) -> None:
    assert filters.unsafe_word(command, worktree) == word


def test_an_absolute_path_into_the_worktree_is_found_through_links(worktree: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(worktree)
    assert filters.unsafe_word(f"{tmp_path}/link/bin/lfs clean", worktree) == f"{tmp_path}/link/bin/lfs"
    assert filters.unsafe_word(f"{tmp_path}/link/bin/lfs clean", None) is None


def test_only_settings_that_git_runs_are_looked_at() -> None:
    runs = ["filter.lfs.clean", "filter.a.b.smudge", "filter.x.process", "merge.ours.driver"]
    others = ["filter.lfs.required", "merge.ours.name", "alias.clean", "diff.x.textconv", "core.editor"]
    assert [key for key in runs + others if filters.runs_commands(key)] == runs
