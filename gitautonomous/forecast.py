"""Which tasks will conflict, with their base and with each other, found before anybody merges.

A task is merged with its base in memory; two tasks only when they changed something in common, which spares nearly all of their many pairs. What two tasks conflict in
counts as theirs only where neither conflicts with the base there. Verdicts are kept by the tips (conflicts.py has the format), so after a session only what is new is looked at.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import conflicts, listing, threeway
from .errors import AutonomousError
from .git import Repository, text
from .model import one_line
from .objects import Objects
from .workspace import Workspace

MOST_TASKS = 100
"""The newest tasks that are looked at: they make 4,950 pairs, a second or two of merging at the very worst."""
PATIENCE = 20.0
"""Seconds that the merges of one go may take."""
SHOWN_FILES = 20
MEMORY = Path("/dev/shm")
"""Where Linux keeps files in memory: merge-tree cannot but write every tree and file that it makes, which on a disk takes several times longer than the merging."""

Pair = tuple[str, str]


@dataclass(frozen=True)
class Tip:
    """A task as a forecast sees it. `fork`: the newest commit that it has from its base."""

    name: str
    tip: str
    base: str
    base_tip: str
    fork: str


@dataclass(frozen=True)
class Touched:
    """What a task changed since its fork: paths, the folders that paths were added below, and those that paths were taken from."""

    paths: frozenset[str]
    added_below: frozenset[str]
    taken_from: frozenset[str]

    def own(self) -> Iterator[tuple[str, str]]:
        """What it can have in common with another, by kind."""
        for kind, names in (("path", self.paths), ("below", self.added_below), ("from", self.taken_from)):
            for name in names:
                yield kind, name

    def meets(self) -> Iterator[tuple[str, str]]:
        """The kinds of the other that each of its own can collide with: the same path, a file where the other has a folder, a new file in a folder that the other moved."""
        for name in self.paths:
            yield "path", name
            yield "below", name
        for name in self.added_below:
            yield "from", name


def refresh(repository: Repository, objects: Objects, prefix: str) -> None:
    """Bring the kept forecast up to date. `prefix`: of the tasks' branches. Raises AutonomousError or OSError."""
    common = str(repository.common_dir)
    tasks = [task for task in listing.tasks(common, prefix, time.time()) if conflicts.counts(task)]
    tips = {tip.name: tip for task in tasks[:MOST_TASKS] if (tip := _tip(objects, common, task)) is not None}
    known, found = conflicts.read(common)
    same = {name for name, tip in tips.items() if known.get(name, ("",))[0] == tip.tip}
    settled = {name for name in same if known[name] == (tips[name].tip, tips[name].base, tips[name].base_tip)}
    kept = {
        (first, second): files
        for (first, second), files in found.items()
        if (first in settled if not second else first in same and second in same)
    }
    if len(settled) < len(tips) or kept != found or len(known) != len(tips):
        _write(repository, tips, kept | _found(repository, tips, settled, same, kept))


def _tip(objects: Objects, common: str, task: listing.Fields) -> Tip | None:
    base, tip = str(task["base"]), str(task["tip"])
    base_tip = listing.ref_tip(common, f"refs/heads/{base}") or listing.ref_tip(common, f"refs/remotes/{base}")
    fork = objects.merge_base(tip, base_tip) if base_tip is not None else None
    return Tip(str(task["name"]), tip, base, base_tip, fork) if base_tip is not None and fork is not None else None


def _found(
    repository: Repository, tips: dict[str, Tip], settled: set[str], same: set[str], known: dict[Pair, list[str]]
) -> dict[Pair, list[str]]:
    """The conflicts that are not `known` yet: with their base those of tasks that are not `settled`, and those of pairs of which one is not the `same` as before.

    All is merged in one go. Files in which either of a pair conflicts with its base are not that pair's.
    """
    ahead = [tip for tip in tips.values() if tip.name not in settled and tip.fork != tip.base_tip]
    pairs = _pairs(repository, tips, same) if len(same) < len(tips) else []
    merges = [(tip.base_tip, tip.base_tip, tip.tip) for tip in ahead]
    merges += [(tips[first].base_tip, tips[first].tip, tips[second].tip) for first, second in pairs]
    merged = iter(_merge(repository, merges))
    with_bases = {(tip.name, ""): files for tip in ahead if (files := next(merged))}
    known = known | with_bases
    with_each_other = {}
    for (first, second), files in zip(pairs, merged, strict=True):
        others = {*known.get((first, ""), ()), *known.get((second, ""), ())}
        if own := [file for file in files if file not in others]:
            with_each_other[first, second] = own
    return with_bases | with_each_other


def _pairs(repository: Repository, tips: dict[str, Tip], same: set[str]) -> list[Pair]:
    """The pairs on one base that could conflict and of which one is not the same as before."""
    touched = touched_by(repository, list(tips.values()))
    return [
        pair for pair in overlapping(touched) if not same.issuperset(pair) and tips[pair[0]].base == tips[pair[1]].base
    ]


def overlapping(changed: dict[str, Touched]) -> list[Pair]:
    """The pairs of tasks, names in order, that could conflict."""
    owners: dict[tuple[str, str], list[str]] = {}
    for name, its in changed.items():
        for key in its.own():
            owners.setdefault(key, []).append(name)
    pairs = {
        (min(name, other), max(name, other))
        for name, its in changed.items()
        for key in its.meets()
        for other in owners.get(key, ())
        if other != name
    }
    return sorted(pairs)


def touched_by(repository: Repository, tips: Sequence[Tip]) -> dict[str, Touched]:
    """What each task changed since its fork, by name; tracking files aside."""
    listed = "".join(f"{tip.tip} {tip.fork}\n" for tip in tips).encode()
    output = repository.call(
        "diff-tree", "--stdin", "--always", "-r", "-z", "--name-status", "--no-renames", input=listed
    ).stdout
    changes: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] = []
    fields = iter(text(output).split("\0"))
    for field in fields:
        if len(field) == 40:
            current = changes.setdefault(field, [])
        elif field:
            current.append((field, next(fields)))
    return {tip.name: touched(changes.get(tip.tip, [])) for tip in tips}


def touched(changes: Sequence[tuple[str, str]]) -> Touched:
    """What these changes (git's letter, path) touch, tracking files aside."""
    own = [(status, path) for status, path in changes if not path.startswith(".autonomous/")]
    return Touched(
        paths=frozenset(path for _, path in own),
        added_below=frozenset(folder for status, path in own if status == "A" for folder in _above(path)),
        taken_from=frozenset(os.path.dirname(path) for status, path in own if status == "D" and "/" in path),
    )


def _above(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _merge(repository: Repository, merges: Sequence[tuple[str, str, str]]) -> list[list[str]]:
    """The files that conflict in each of (commit whose attributes count, ours, theirs); tracking files aside. Leaves no object behind."""
    results: list[list[str]] = [[] for _ in merges]
    by_attributes: dict[str, list[int]] = {}
    for number, (attributes, _, _) in enumerate(merges):
        by_attributes.setdefault(attributes, []).append(number)
    for attributes, numbers in by_attributes.items():
        memory = MEMORY if os.access(MEMORY, os.W_OK) else None
        with tempfile.TemporaryDirectory(prefix="git-autonomous-", dir=memory) as scratch:
            pairs = [merges[number][1:] for number in numbers]
            merged = threeway.merge_all(
                repository, pairs, attributes_of=attributes, scratch=Path(scratch), timeout=PATIENCE
            )
            for number, result in zip(numbers, merged, strict=True):
                results[number] = [path for path in result.conflicts if not path.startswith(".autonomous/")]
    return results


def _write(repository: Repository, tips: dict[str, Tip], found: dict[Pair, list[str]]) -> None:
    """Put the forecast where `list` finds it, replaced by rename. The last writer wins: each writes only what it looked at."""
    lines = [f"T\t{tip.name}\t{tip.tip}\t{tip.base}\t{tip.base_tip}" for tip in tips.values()]
    for (first, second), files in found.items():
        shown = [one_line(file, 300) for file in files[:SHOWN_FILES]]
        lines.append("\t".join(("C", first, second, *shown)))
    path = repository.make_state_dir("cache") / os.path.basename(conflicts.FILE)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", errors="replace")
    temporary.chmod(0o600)
    os.replace(temporary, path)


def files_of(common_dir: Path, task: str) -> dict[str, list[str]]:
    """The files that a task was found to conflict in, by the name of its base or of the other task."""
    tips, found = conflicts.read(str(common_dir))
    result = {}
    for (first, second), files in found.items():
        if task in (first, second) and task in tips:
            result[(second if first == task else first) or tips[task][1]] = files
    return result


def described(common_dir: Path, task: Mapping[str, Any]) -> list[str]:
    """The `conflicts` of a task, as `list --json` has it, with the files of each: `main (src/a.py, b)`."""
    files = files_of(common_dir, str(task["name"]))
    return [f"{name} ({', '.join(files[name])})" if name in files else name for name in task["conflicts"] or ()]


def after_session(workspace: Workspace) -> None:
    """Refresh the forecast between two sessions."""
    try_refresh(workspace.repository, workspace.objects, workspace.settings.branch_prefix)


def try_refresh(repository: Repository, objects: Objects, prefix: str) -> None:
    """As `refresh`. It is a help: whatever goes wrong with it, the rest goes on."""
    with suppress(AutonomousError, OSError, ValueError, LookupError):
        refresh(repository, objects, prefix)
