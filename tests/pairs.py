"""Random pairs of branches, merged by `git merge` and by us: `python tests/pairs.py 500` compares that many.

A pair forks from one commit and changes it at random: edits, renames of files and folders, deletions, modes, links, binary files, CRLF, both sides adding the same path, a file
where the other has a folder, and attributes that choose how a path is merged.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from conftest import git

from gitautonomous import threeway
from gitautonomous.git import Repository

Files = dict[str, tuple[str, bytes]]
WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu"]
FOLDERS = ("", "src/", "src/core/", "docs/", "data/")
ATTRIBUTES = (b"*.txt merge=union\n", b"*.txt -merge\n", b"docs/** merge=union\n", b"*.dat binary\n")


@dataclass(frozen=True)
class Verdict:
    """What a merge came to: the tree of a clean one, else the paths in conflict."""

    tree: str | None
    conflicts: frozenset[str]


def content(dice: random.Random) -> bytes:
    kind = dice.random()
    if kind < 0.15:
        return bytes(dice.randrange(256) for _ in range(60)) + b"\0"
    end = b"\r\n" if kind < 0.3 else b"\n"
    return b"".join(f"{number} {dice.choice(WORDS)}".encode() + end for number in range(dice.randint(3, 30)))


def fresh_name(dice: random.Random, files: Files) -> str:
    """A path of its own, as a rule: now and then one that the other side may take as well, or that lies below a file."""
    folder = dice.choice(FOLDERS)
    if dice.random() < 0.1 and files:
        return f"{dice.choice(sorted(files))}/{dice.choice(WORDS)}.txt"
    return f"{folder}{dice.choice(WORDS)}{dice.randrange(4)}.{dice.choice(('txt', 'py', 'dat'))}"


def put(files: Files, path: str, entry: tuple[str, bytes]) -> None:
    """Put a file there; what cannot stand beside it goes."""
    for other in list(files):
        if other.startswith(path + "/") or path.startswith(other + "/"):
            del files[other]
    files[path] = entry


def edited(dice: random.Random, data: bytes) -> bytes:
    if b"\0" in data:
        return data[:-1] + bytes([dice.randrange(256)]) + b"\0"
    lines = data.splitlines(keepends=True) or [b"\n"]
    end = b"\r\n" if lines[0].endswith(b"\r\n") else b"\n"
    if dice.random() < 0.1:
        return data.replace(b"\r\n", b"\n") if end == b"\r\n" else data.replace(b"\n", b"\r\n")
    for _ in range(dice.randint(1, 3)):
        place = dice.randrange(len(lines))
        lines[place : place + dice.randrange(2)] = [f"{dice.choice(WORDS)} {dice.randrange(50)}".encode() + end]
    return b"".join(lines)


def changed(dice: random.Random, files: Files) -> Files:
    """The files after one to five random changes."""
    new = dict(files)
    for _ in range(dice.randint(1, 5)):
        if not new:
            break
        path = dice.choice(sorted(new))
        mode, data = new[path]
        action = dice.random()
        if action < 0.4:
            new[path] = (mode, data if mode == "120000" else edited(dice, data))
        elif action < 0.55:
            del new[path]
            put(new, fresh_name(dice, new), (mode, edited(dice, data) if dice.random() < 0.5 else data))
        elif action < 0.65:
            del new[path]
        elif action < 0.72:
            new[path] = ("100755" if mode == "100644" else "100644", data)
        elif action < 0.77:
            new[path] = ("120000", dice.choice(WORDS).encode())
        elif action < 0.85:
            folder, target = dice.choice(FOLDERS[1:]), f"{dice.choice(WORDS)}/"
            for old in [name for name in new if name.startswith(folder)]:
                put(new, target + old.removeprefix(folder), new.pop(old))
        elif action < 0.88:
            new[".gitattributes"] = ("100644", dice.choice(ATTRIBUTES))
        else:
            put(new, fresh_name(dice, new), ("100644", content(dice)))
    return new


def stream(count: int, seed: int) -> Iterator[bytes]:
    """The input of `git fast-import` that makes refs/heads/{o,a,b}<number>: the fork and the two sides of each pair."""
    mark = 0
    for number in range(count):
        dice = random.Random(seed * 1_000_003 + number)
        fork: Files = {}
        for _ in range(dice.randint(4, 14)):
            put(fork, fresh_name(dice, fork), ("100644", content(dice)))
        if dice.random() < 0.15:
            fork[".gitattributes"] = ("100644", dice.choice(ATTRIBUTES))
        first = mark + 1
        for side, files in (("o", fork), ("a", changed(dice, fork)), ("b", changed(dice, fork))):
            mark += 1
            yield f"commit refs/heads/{side}{number}\nmark :{mark}\ncommitter A <a@b> {mark} +0000\ndata 0\n".encode()
            yield b"" if side == "o" else f"from :{first}\n".encode()
            yield b"deleteall\n"
            for path, (mode, data) in files.items():
                yield f"M {mode} inline {path}\ndata {len(data)}\n".encode() + data + b"\n"


def make_pairs(folder: Path, count: int, seed: int) -> Path:
    folder.mkdir()
    git(folder, "init", "--quiet")
    data = b"".join(stream(count, seed))
    subprocess.run(["git", "-C", str(folder), "fast-import", "--quiet"], input=data, check=True)
    return folder


def merged_by_git(folder: Path, number: int) -> Verdict:
    """`git merge b<number>` on a checkout of a<number>."""
    git(folder, "checkout", "--quiet", "--force", "--detach", f"a{number}")
    git(folder, "clean", "-ffdxq")
    merge = ["git", "-C", str(folder), "merge", "--quiet", "--no-edit", f"b{number}"]
    done = subprocess.run(merge, capture_output=True, check=False)
    if done.returncode == 0:
        return Verdict(git(folder, "rev-parse", "HEAD^{tree}"), frozenset())
    unmerged = git(folder, "ls-files", "--unmerged", "-z").split("\0")
    git(folder, "reset", "--quiet", "--hard")
    paths = (entry.partition("\t")[2] for entry in unmerged if entry)
    return Verdict(None, frozenset(re.sub(r"~(HEAD|b\d+)(_\d+)?$", "", path) for path in paths))


def differences(folder: Path, count: int) -> tuple[list[str], int]:
    """The pairs that came out differently, and how many were clean."""
    tips = [(git(folder, "rev-parse", f"a{number}"), git(folder, "rev-parse", f"b{number}")) for number in range(count)]
    repository = Repository.discover(folder)
    found, clean = [], 0
    for number, (ours, theirs) in enumerate(tips):
        expected = merged_by_git(folder, number)
        result = threeway.merge(repository, ours, theirs)
        verdict = Verdict(None if result.conflicts else result.tree, frozenset(result.conflicts))
        clean += expected.tree is not None
        if verdict != expected:
            found.append(f"pair {number}: git {expected}, we {verdict}")
    return found, clean


def main(count: int, seed: int = 1) -> int:
    with tempfile.TemporaryDirectory() as name:
        found, clean = differences(make_pairs(Path(name) / "pairs", count, seed), count)
    print("\n".join([*found, f"{count} pairs, {clean} of them clean: {len(found)} differ from git merge"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:] or ["500"])))
