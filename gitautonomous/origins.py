"""Where a value of git config stands, for people who have to mend it: file and line."""

from __future__ import annotations

import os
import re
from pathlib import Path

from . import process
from .git import Repository, find_git, text

LIMIT = 1 << 20
"""Bytes of a configuration file that are searched."""

_SECTION = re.compile(r"\s*\[\s*autonomous\s*\](.*)", re.IGNORECASE)
_OTHER = re.compile(r"\s*\[")
_KEY = re.compile(r"\s*([A-Za-z][A-Za-z0-9-]*)\s*(?:=|$)")


def place(repository: Repository | None, scope: str, key: str, value: str) -> str:
    """`FILE, line N` of a setting `autonomous.*` as `Repository.config` gives it; where that cannot be told, the scope."""
    command = ("config", "--list", "--show-scope", "--show-origin", "-z")
    if repository is not None:
        done, folder = repository.call(*command, git_dir=repository.git_dir), repository.common_dir
    else:
        done, folder = process.run([find_git(), *command]), Path.cwd()
    fields = text(done.stdout).split("\0")
    wanted = (scope, key, value)
    for found, origin, entry in zip(fields[::3], fields[1::3], fields[2::3], strict=False):
        name, newline, content = entry.partition("\n")
        if origin.startswith("file:") and (found, name, content if newline else "true") == wanted:
            file = Path(os.path.normpath(folder / origin.removeprefix("file:")))
            line = line_of(file, key.rpartition(".")[2], value)
            return f"{file}, line {line}" if line else str(file)
    return f"git config ({scope})"


def line_of(file: Path, key: str, value: str) -> int | None:
    """The line, from 1, where a key of the section `autonomous` has this value, else where it stands at all; None where it does not."""
    try:
        with open(file, errors="replace") as opened:
            lines = opened.read(LIMIT).split("\n")
    except OSError:
        return None
    inside, somewhere = False, None
    for number, line in enumerate(lines, start=1):
        if section := _SECTION.match(line):
            inside, line = True, section[1]
        elif _OTHER.match(line):
            inside = False
        found = _KEY.match(line) if inside else None
        if found and found[1].lower() == key.lower():
            if value.partition("\n")[0] in line:
                return number
            somewhere = number
    return somewhere
