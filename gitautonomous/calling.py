"""Where git called a hook, and how to answer: go on, go on and tell something, or refuse.

Light on purpose, like listing.py: a person waits for it. What needs more than git and a look at the locks is imported where it is needed.
"""

from __future__ import annotations

import os
import sys
import time

from . import listing, locks, quick_git, show, states
from .errors import NeedsPerson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .config import Settings
    from .listing import Fields

LIMIT = 1024 * 1024
"""Bytes of a file that are looked at."""


class Refused(NeedsPerson):
    """git must not go on."""


class Here:
    """Where git called the hook: `git_dir` of the worktree, `branch` (short name, None where HEAD is detached; in a rebase the one that is rebased), `task` (its name on a task's
    branch, else None)."""

    def __init__(self, prefix: str, head: str) -> None:
        self.prefix = prefix
        self.git_dir = os.path.abspath(os.environ.get("GIT_DIR", ".git"))
        self.common_dir = quick_git.common_of(self.git_dir) or self.git_dir
        self.branch = head.removeprefix("ref: refs/heads/") if head.startswith("ref: refs/heads/") else None
        self.task = self.branch.removeprefix(prefix) if self.branch and self.branch.startswith(prefix) else None
        self.git = quick_git.Git(self.git_dir)
        if index := os.environ.get("GIT_INDEX_FILE"):
            self.git.environment["GIT_INDEX_FILE"] = os.path.abspath(index)

    def tasks(self, only: str | None = None) -> list[Fields]:
        return listing.tasks(self.common_dir, self.prefix, time.time(), only=only)

    def find(self, name: str) -> Fields | None:
        return next((task for task in self.tasks(only=name) if task["name"] == name), None)

    def folder(self, name: str) -> str:
        """The task's local files."""
        return os.path.join(self.common_dir, "autonomous", "tasks", name)

    def feed(self, data: bytes, *arguments: str) -> bytes:
        """What git makes of `data` on its standard input."""
        return self.git.finish(*self.git.feed(data, *arguments))[0]

    def text(self, name: str) -> str:
        """A blob by its name (HEAD:path, or :path in the index), "" where there is none."""
        head, _, content = self.feed(os.fsencode(f"{name}\n"), "cat-file", "--batch").partition(b"\n")
        return "" if head.endswith(b" missing") else content[:LIMIT].removesuffix(b"\n").decode("utf-8", "replace")

    def message(self, commit: str) -> str:
        return self.git.output("show", "--no-patch", "--format=%B", commit).decode("utf-8", "replace")

    def has(self, file: str) -> bool:
        """Whether the worktree's git dir has a file such as MERGE_HEAD."""
        return os.path.exists(os.path.join(self.git_dir, file))


def settings() -> Settings:
    """The settings that hold here. Raises UsageError for a wrong one."""
    from . import layers

    return layers.read_here().loaded.settings


def refuse(message: str, hint: str, command: str) -> None:
    """Raise Refused, with the command that does it all the same, unless the user said so already."""
    if settings().guard:
        raise Refused(message, f"{hint}    # or, all the same: GIT_AUTONOMOUS_GUARD=0 {command}")


def tell(text: str) -> None:
    print(f"autonomous: {show.one_line(text)}", file=sys.stderr, flush=True)


def busy(here: Here, name: str) -> bool:
    """Whether a runner, or a Codex that lost its own, works on the task."""
    return any(locks.is_held(f"{here.folder(name)}/{lock}.lock") for lock in ("runner", "agent"))


def who(here: Here, name: str) -> str:
    return locks.owner(f"{here.folder(name)}/runner.lock") or "Codex, without its runner"


def unfinished(task: Fields) -> str:
    """Why a task is not to be merged, in words; "" for one that is finished."""
    if task["state"] in (states.RUNNING, states.WAITING):
        return f"it is being worked on ({task['reason']})"
    if task["state"] == states.BROKEN:
        return str(task["reason"])
    if not task["total"]:
        return "it has no task list yet"
    if task["done"] < task["total"]:
        return f"it is not finished: {states.items_done(task['done'], task['total'])}"
    if task["check"] == "failed":
        return "its checks fail"
    return "" if task["check"] in ("passed", "none") else "its checks have not run on its newest commit"
