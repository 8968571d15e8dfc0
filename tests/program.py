"""The program as its users run it: a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitautonomous import process

PROGRAM = (sys.executable, "-P", "-m", "gitautonomous")


@dataclass(frozen=True)
class Ended:
    """How a run of the program ended."""

    status: int
    out: str
    err: str


def autonomous(folder: Path, *arguments: str, stdin: bytes = b"", **environment: str) -> Ended:
    """Run `git autonomous` in `folder` to its end."""
    done = subprocess.run(
        [*PROGRAM, *arguments],
        cwd=folder,
        input=stdin,
        capture_output=True,
        env={**os.environ, **environment},
        check=False,
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def running(folder: Path, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start `git autonomous` in `folder` and return at once."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*PROGRAM, *arguments], cwd=folder, **{**streams, **options})


def listed(folder: Path) -> list[dict[str, Any]]:
    """The tasks, as `list --json` gives them."""
    tasks: list[dict[str, Any]] = json.loads(autonomous(folder, "list", "--json").out)["tasks"]
    return tasks


def commits(folder: Path, revisions: str, form: str = "%s") -> list[str]:
    """One line for each commit, oldest first."""
    argv: Sequence[str] = ("git", "-C", str(folder), "log", "--reverse", f"--format={form}", revisions)
    return process.run(argv).stdout.decode().splitlines()
