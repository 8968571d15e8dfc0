"""What must hold on a remote that a fleet worked on, whatever died meanwhile. Its reflogs know every move of every ref."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import pygit2

from gitautonomous import lease


def violations(bare: Path, tasks: Sequence[str], prefix: str = "refs/heads/autonomous/") -> Iterator[str]:
    """What is wrong, in words: unfinished tasks, pushed commits that were lost, and commits of one epoch above those of a later one."""
    repository = pygit2.Repository(str(bare))
    for task in tasks:
        branch, ref = prefix + task, lease.REFS + task
        tip = str(repository.references[branch].target)
        found = read(repository, str(repository.references[ref].target))
        if found is None or found.state != "finished" or found.tip != tip:
            yield f"{task} is {found.state if found else 'unreadable'}: {found.reason if found else ''}"
        epochs: dict[str, int] = {}
        last = 0
        for oid in reflog(bare, ref):
            seen = read(repository, oid)
            if seen is None:
                yield f"{task} had a lease that cannot be read"
                continue
            if seen.epoch < last:
                yield f"{task} had epoch {seen.epoch} after {last}"
            last = seen.epoch
            epochs.setdefault(seen.tip, seen.epoch)
        moves = reflog(bare, branch)
        for older, newer in itertools.pairwise(moves):
            if not repository.descendant_of(newer, older):
                yield f"{task} lost commits: {older} is not below {newer}"
            if newer not in epochs or epochs[older] > epochs[newer]:
                yield f"{task} has commits of epoch {epochs.get(newer)} above those of {epochs[older]}"
        if moves[-1] != tip:
            yield f"{task} is not where its last push left it"


def read(repository: pygit2.Repository, oid: str) -> lease.Lease | None:
    found = repository[oid]
    return lease.read(found.data) if isinstance(found, pygit2.Blob) else None


def reflog(bare: Path, ref: str) -> list[str]:
    """Where a ref has been, oldest first."""
    return [line.split(" ")[1] for line in (bare / "logs" / ref).read_text().splitlines()]
