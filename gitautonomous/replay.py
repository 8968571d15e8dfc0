"""Commits of a task made again on another commit, in memory: what a rebase does, with the tracking files apart, which are never the conflict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .errors import NeedsPerson
from .git import Repository
from .model import Task, one_line
from .objects import Commit
from .trees import Conflict, Trees


@dataclass(frozen=True)
class Step:
    """A commit and the tree that it has on its new place."""

    commit: Commit
    tree: str


def replay(repository: Repository, task: Task, tip: str, onto: str, *, tracking: bool, hint: str) -> tuple[Step, ...]:
    """The commits of `tip` (first parents) that `onto` lacks, oldest first, on top of `onto`; those that change nothing there are left out.

    `tracking`: each carries its task's own files along, exactly as they were; else the base's stay. Raises NeedsPerson with the files that conflict.
    """
    trees = Trees(repository)
    listed = repository.run("rev-list", "--first-parent", "--reverse", tip, f"^{onto}").split()
    return tuple(_steps(trees, task, [trees.commit(oid) for oid in listed], trees.commit(onto).tree, tracking, hint))


def _steps(trees: Trees, task: Task, commits: list[Commit], onto: str, tracking: bool, hint: str) -> Iterator[Step]:
    folder = task.directory
    fixed = trees.subtree(onto, folder)
    bare, written = onto, onto
    for commit in commits:
        before, after = (
            trees.with_subtree(tree, folder, fixed) for tree in (trees.commit(commit.parents[0]).tree, commit.tree)
        )
        try:
            bare = trees.merge(before, bare, after) if before != after else bare
        except Conflict as conflict:
            subject = one_line(commit.message.partition("\n")[0], 72)
            files = ", ".join(one_line(path, 120) for path in conflict.paths[:10])
            raise NeedsPerson(
                f"'{subject}' ({commit.oid[:10]}) does not go onto the base: {files} conflict", hint
            ) from conflict
        tree = trees.with_subtree(bare, folder, trees.subtree(commit.tree, folder)) if tracking else bare
        if tree != written:
            written = tree
            yield Step(commit, tree)
