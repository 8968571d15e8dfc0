"""PATH without the folders that an agent may write to, so that no git, Codex or shell of the agent's is taken for the user's.

Light on purpose, like listing.py: it runs before anything else.
"""

from __future__ import annotations

import os


def path(folders: str) -> str:
    """$PATH without folders that depend on where one stands, and without those in a task's worktree."""
    return os.pathsep.join(
        folder
        for folder in folders.split(os.pathsep)
        if os.path.isabs(folder) and not in_a_task(os.path.realpath(folder))
    )


def in_a_task(folder: str) -> bool:
    """Whether a folder lies in the worktree of a task: there `.git` is a file that names a git dir whose HEAD is a branch of a task."""
    while True:
        pointer = os.path.join(folder, ".git")
        if os.path.isdir(pointer):
            return False
        git_dir = first_line(pointer).partition("gitdir: ")[2]
        if git_dir:
            git_dir = os.path.join(folder, git_dir)
            task = first_line(os.path.join(git_dir, "HEAD")).rpartition("/")[2]
            common = os.path.join(git_dir, first_line(os.path.join(git_dir, "commondir")) or ".")
            return bool(task) and os.path.isdir(os.path.join(common, "autonomous", "tasks", task))
        above = os.path.dirname(folder)
        if above == folder:
            return False
        folder = above


def first_line(file: str) -> str:
    """The first line of a small file, empty where there is none."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        return os.fsdecode(os.read(descriptor, 8192).partition(b"\n")[0]).strip()
    except OSError:
        return ""
    finally:
        os.close(descriptor)
