"""A task on a small disk that its agent fills: a program of its own, since the disk is there for one process alone.

`python tests/full_disk.py FOLDER` prints what is wrong; FOLDER is on a disk of about 130 MiB.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from conftest import git
from crashes import RESUME, START, WORK, World


def wrong(world: World) -> Iterator[str]:
    begun = world.run(*START, "--plan")
    if begun.status:
        yield f"it did not begin: {begun}"
    tip = git(world.repository, "rev-parse", world.branch)
    world.environment["STANDIN_WORK"] = f"{WORK}; dd if=/dev/zero of=fill bs=64k 2>/dev/null; true"
    ended = world.run(*RESUME)
    if ended.status not in (1, 3) or "Traceback" in ended.err:
        yield f"the disk is full, and: {ended}"
    yield from world.violations()
    ended = world.run(*RESUME)
    if ended.status != 1 or "GiB of disk space are free at" not in ended.err:
        yield f"the disk is still full, and: {ended}"
    yield from world.violations()
    if git(world.repository, "rev-parse", world.branch) != tip:
        yield "something was committed to a full disk"
    if (world.local / "journal.jsonl").read_bytes().count(b'"attempt"') > 2:
        yield "it was tried again and again"
    (world.worktree / "fill").unlink()
    world.environment["STANDIN_WORK"] = WORK
    yield from world.finish()


if __name__ == "__main__":
    print("\n".join(wrong(World(Path(sys.argv[1]) / "world"))))
