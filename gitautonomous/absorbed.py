"""Whether everything of a task is in its base already, however it got there: merged, squashed or rebased by hand, or on a hosting site.

Ancestry alone is the wrong question: a squash leaves no trace of the branch. So two more are asked. Would merging change anything? And, since the base may have gone on from there:
is there a commit whose patch is that of the whole task, or one for each of the task's own? Tracking files count in neither.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from . import threeway
from .git import Repository, text
from .objects import Objects

DIFF = (
    "-p", "-r", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color", "--full-index", "--unified=3", "--diff-algorithm=myers",
    "--src-prefix=a/", "--dst-prefix=b/",
)  # fmt: skip
OURS = (":(top)", ":(top,exclude).autonomous")
MOST_COMMITS = 5000
"""Commits of a base, the newest, that are compared with a task's."""


def plain_tip(repository: Repository, objects: Objects, name: str, tip: str, base: str) -> str:
    """A commit on top of a task's tip in which its tracking files are as in the base: what is merged, so that they never conflict."""
    folder = f".autonomous/{name}"
    tree, wanted = objects.commit(tip).tree, objects.commit(base).tree
    bare = objects.with_subtree(tree, folder, objects.subtree(wanted, folder))
    return tip if bare == tree else objects.write_commit(None, "", bare, [tip], identity=threeway.WHO)


def how(repository: Repository, objects: Objects, name: str, tip: str, base: str) -> str | None:
    """How the task's tip came into the base's (both commits), in words; None when it did not, or when the task changed nothing."""
    if objects.is_ancestor(tip, base):
        return "merged"
    fork = objects.merge_base(tip, base)
    if fork is None:
        return None
    changes = threeway.changes(repository, objects, fork, tip)
    paths = [change.path for change in threeway.outside(changes, ".autonomous")]
    if not paths:
        return None
    merged = threeway.merge(repository, base, plain_tip(repository, objects, name, tip, base))
    if not merged.conflicts and merged.tree == objects.commit(base).tree:
        return "contained"
    return _by_patches(repository, fork, tip, base, paths)


def _by_patches(repository: Repository, fork: str, tip: str, base: str, paths: Sequence[str]) -> str | None:
    listed = repository.run(
        "rev-list", "--no-merges", f"--max-count={MOST_COMMITS}", "--stdin",
        input=os.fsencode("\n".join([base, f"^{fork}", "--", *(path for path in paths if "\n" not in path)]) + "\n"), extra={"GIT_LITERAL_PATHSPECS": "1"},
    )  # fmt: skip
    there = _patches(repository, listed.split())
    whole = repository.call("diff-tree", *DIFF, fork, tip, "--", *OURS).stdout
    squashed = there.get(next(iter(_ids(repository, tip.encode() + b"\n" + whole)), ""))
    if squashed is not None:
        return f"squashed as {squashed[:10]}"
    own = repository.run("rev-list", "--first-parent", "--no-merges", tip, f"^{base}").split()
    patches = _patches(repository, own)
    return "rebased" if patches and all(patch in there for patch in patches) else None


def _patches(repository: Repository, commits: Sequence[str]) -> dict[str, str]:
    """The patches of commits by their ids, with the commit of each; a commit that changes nothing but tracking files has none."""
    if not commits:
        return {}
    listed = "".join(f"{commit}\n" for commit in commits).encode()
    return _ids(repository, repository.call("diff-tree", "--stdin", *DIFF, "--", *OURS, input=listed).stdout)


def _ids(repository: Repository, patches: bytes) -> dict[str, str]:
    lines = text(repository.call("patch-id", "--stable", input=patches).stdout).splitlines()
    return {patch: commit for patch, commit in (line.split() for line in lines)}
