"""Commands of the user's git configuration that run with an agent's worktree as their folder: whether they would run a file of the agent's.

git gives a clean, smudge or process filter and a merge driver to a shell, outside of every sandbox. A word of such a command that names a file by a relative path, or that an
interpreter looks up in the folder it stands in, is the agent's to fill. Words that no rule knows are believed: the command is the user's own.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_RUNS = re.compile(r"filter\..*\.(?:clean|smudge|process)|merge\..*\.driver", re.DOTALL)
_WORD = re.compile(r"[^\s'\"`|&;()<>{}]+")
_ASSIGNMENT = re.compile(r"\w+=.*")
_INTERPRETER = re.compile(
    r"(?:ba|da|k|z|a)?sh|(?:python|pypy|perl|ruby|php|lua)[\d.]*|node|nodejs|deno|bun|tclsh|source|\.|exec|env"
)
_RUNNER = re.compile(r"(?:np|bun)x|npm|pnpm|yarn|make|just|rake|bundle|cargo|composer|gradle|mvn|poetry|pipenv|uv")
"""Programs that take what they run from the folder they stand in."""


def runs_commands(key: str) -> bool:
    return _RUNS.fullmatch(key) is not None


def unsafe_word(command: str, worktree: Path | None) -> str | None:
    """The first word of a shell command that would be a file of `worktree`; None when there is none.

    A program given by a relative path is always one, and one that runs what it finds in its folder; another word where a file of that name exists.
    """
    interpreted = module = False
    for found in _WORD.finditer(command):
        word, before = found[0], command[: found.start()].rstrip(" \t'\"")
        if not before or before[-1] in "|&;(`\n":
            if _ASSIGNMENT.fullmatch(word):
                continue
            name = os.path.basename(word)
            if _RUNNER.fullmatch(name) or ("/" in word and word[0] not in "/~$"):
                return word
            interpreted = _INTERPRETER.fullmatch(name) is not None
        elif worktree is not None and _is_file(worktree, word, interpreted, module):
            return word
        if worktree is not None and word[0] == "/" and Path(os.path.realpath(word)).is_relative_to(worktree.resolve()):
            return word
        interpreted = interpreted or _INTERPRETER.fullmatch(os.path.basename(word)) is not None
        module = word == "-m"
    return None


def _is_file(worktree: Path, word: str, interpreted: bool, module: bool) -> bool:
    """Whether `word`, an argument, is found in `worktree`: `$TOP/tool` and `$(git rev-parse --show-toplevel)/tool` are."""
    if word[0] == "-" or (word[0] == "/" and os.path.lexists(word)):
        return False
    if module:
        first = word.partition(".")[0]
        return (worktree / first).is_dir() or (worktree / f"{first}.py").is_file()
    path = worktree / re.sub(r"^(?:\$\w+)?/", "", word)
    return ("/" in word or interpreted) and path.is_file()
