"""`git merge` of a task's branch by hand ends as `git autonomous merge` does: refused while the task is unfinished, without its tracking folder, and cleared away.

What git lets a hook do decides how. A merge that makes a commit is refused by pre-merge-commit, one that is concluded by `git commit` (after conflicts, `--no-commit`, `--squash`)
by pre-commit. A fast-forward asks nobody before it is done: post-merge takes it back, and turns an allowed one into a merge commit. git 2.39 takes no notice of what
pre-merge-commit does to the index, so the tracking folder leaves a merge commit in post-merge too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto

from . import absorbed, backup, listing, merge, removal, states
from .calling import Here, Refused, refuse, settings, tell, unfinished
from .errors import AutonomousError
from .merge import Situation, Wish
from .tasks import Place, open_place, read_task

MARKER = "autonomous-merge"
"""The file in the worktree's git dir that tells post-commit which tasks pre-commit let through."""

FORCED = "merged by hand"
NOTICED = 10
"""Tasks that are looked for in the base after a pull."""


@dataclass(frozen=True)
class Merged:
    """A task that git merges now. `commit`: what is merged of it, its tip unless somebody names an older one."""

    task: listing.Fields
    commit: str

    @property
    def name(self) -> str:
        return str(self.task["name"])

    @property
    def folder(self) -> str:
        return f".autonomous/{self.name}"


# -- which task ----------------------------------------------------------------------------------------------------------------------------------


def commits_being_merged(here: Here) -> list[str]:
    """What `git merge` says that it merges: by GITHEAD_<id> in the environment, and in MERGE_HEAD once it stands still for a person."""
    told = [name.removeprefix("GITHEAD_") for name in os.environ if name.startswith("GITHEAD_")]
    return told or _lines(here, "MERGE_HEAD")


def commits_being_squashed(here: Here) -> list[str]:
    """The commits that `git merge --squash` wrote down, newest first, cut to the newest."""
    return [line.split()[1] for line in _lines(here, "SQUASH_MSG") if line.startswith("commit ")][:1]


def _lines(here: Here, file: str) -> list[str]:
    try:
        with open(os.path.join(here.git_dir, file), errors="replace") as opened:
            return opened.read().splitlines()
    except OSError:
        return []


def tasks_in(here: Here, commits: Sequence[str]) -> list[Merged]:
    """The tasks among the commits that are merged into this branch, where it is to be guarded: every branch but another task's, unless that is the base."""
    if here.branch is None or not commits:
        return []
    found = []
    for task in here.tasks():
        if task["branch"] == here.branch or (here.task is not None and task["base"] != here.branch):
            continue
        named = naming(here, str(task["branch"]))
        if named is Naming.OLDER:
            found.append(Merged(task, commits[0]))
        elif named is not Naming.ANOTHER and task["tip"] in commits:
            found.append(Merged(task, str(task["tip"])))
    return found


class Naming(Enum):
    """What the command that merges says of a branch."""

    THIS = auto()
    OLDER = auto()
    """An older commit of it: autonomous/x~2."""
    ANOTHER = auto()
    """Another branch, which may point to the same commit: somebody else merged the task, and that is pulled."""
    UNKNOWN = auto()
    """Neither, as for a commit's id."""


def naming(here: Here, branch: str) -> Naming:
    action, _, named = os.environ.get("GIT_REFLOG_ACTION", "").partition(" ")
    words = named.split()
    if action not in ("merge", "pull"):
        first = next(iter(_lines(here, "MERGE_MSG")), "")
        if not first.startswith(("Merge branch '", "Merge remote-tracking branch '")):
            return Naming.UNKNOWN
        return Naming.THIS if f"{branch}'" in first else Naming.ANOTHER
    if any(word == branch or word.endswith(f"/{branch}") for word in words):
        return Naming.THIS
    if any(word.startswith((f"{branch}~", f"{branch}^", f"{branch}@")) for word in words):
        return Naming.OLDER
    if action == "pull":
        return Naming.ANOTHER
    full = {here.git.output("rev-parse", "--symbolic-full-name", word).strip() for word in words}
    return Naming.UNKNOWN if full & {b"", os.fsencode(f"refs/heads/{branch}")} else Naming.ANOTHER


def judge(merged: Sequence[Merged], branch: str, hint: str, command: str) -> None:
    """Raise Refused for a task that is not to be merged, unless the user said that it is. `hint`: what undoes the merge, `command`: what goes on with it."""
    for each in merged:
        if each.commit != each.task["tip"]:
            refuse(f"{each.commit[:10]} is not the newest commit of '{each.name}'", hint, command)
        elif why := unfinished(each.task):
            refuse(f"'{each.name}' is not to be merged into {branch}: {why}", hint, command)


# -- before the commit ---------------------------------------------------------------------------------------------------------------------------


def pre_merge_commit(here: Here) -> None:
    merged = tasks_in(here, commits_being_merged(here))
    judge(merged, here.branch or "", "git merge --abort", "git commit")


def prepare_message(here: Here, file: str, source: str) -> None:
    """Put our message where git has put its own."""
    commits = commits_being_merged(here) if source == "merge" else commits_being_squashed(here)
    merged = tasks_in(here, commits)
    if len(merged) != 1 or len(commits) != 1:
        return
    with open(file, encoding="utf-8", errors="surrogateescape") as opened:
        written = opened.read()
    own, comments = _split_comments(written)
    first, _, rest = own.partition("\n")
    if source == "merge" and (rest.strip() or not first.startswith("Merge ")):
        return
    if source == "squash" and first != "Squashed commit of the following:":
        return
    ours = message(
        open_place({}, None), merged[0], here.branch or "", merge.MERGE if source == "merge" else merge.SQUASH
    )
    if comments and os.environ.get("GIT_EDITOR") != ":":  # without an editor git does not take the comments out again
        ours += f"\n{comments}"
    with open(file, "w", encoding="utf-8", errors="surrogateescape") as opened:
        opened.write(ours)


def _split_comments(written: str) -> tuple[str, str]:
    """A message and the comments below it."""
    lines = written.splitlines(keepends=True)
    start = next((number for number, line in enumerate(lines) if line.startswith("#")), len(lines))
    return "".join(lines[:start]).strip(), "".join(lines[start:])


def message(place: Place, merged: Merged, branch: str, style: str) -> str:
    """What `git autonomous merge` would write."""
    task, fields = read_task(place, merged.name), merged.task
    situation = Situation(
        task=task, base=branch, base_tip="", tip=merged.commit, done=fields["done"], total=fields["total"], check=fields["check"],
        keep_tracking=place.settings.keep_tracking, ahead=False, tree="",
    )  # fmt: skip
    forced = FORCED if unfinished(fields) else None
    return merge.message(merge.with_record(place, situation), Wish(style=style, force=forced))


def pre_commit(here: Here) -> None:
    """A merge or a squash of a task is concluded by `git commit`."""
    squashed = not here.has("MERGE_HEAD")
    merged = tasks_in(here, commits_being_squashed(here) if squashed else commits_being_merged(here))
    if not merged:
        return
    judge(merged, here.branch or "", "git reset --merge" if squashed else "git merge --abort", "git commit")
    place = open_place({}, None)
    if not place.settings.keep_tracking:
        leave_out(here, place, merged)
    marker = [{"task": each.name, "commit": each.commit} for each in merged]
    with open(os.path.join(here.git_dir, MARKER), "w") as opened:
        json.dump(marker, opened)


def leave_out(here: Here, place: Place, merged: Sequence[Merged]) -> None:
    """Give index and worktree the tracking folders that HEAD has: as a rule none."""
    folders = [each.folder for each in merged if here.git.output("ls-files", "-z", "--", each.folder)]
    if folders:
        index = here.git.environment.get("GIT_INDEX_FILE")
        place.repository.run(
            "restore", "--source=HEAD", "--staged", "--worktree", "--quiet", "--", *folders,
            git_dir=place.repository.git_dir, work_tree=place.repository.toplevel,
            extra={"GIT_INDEX_FILE": index} if index else {},
        )  # fmt: skip


# -- after it ------------------------------------------------------------------------------------------------------------------------------------


def post_commit(here: Here) -> None:
    """What pre-commit let through is in the branch now, unless the commit came to nothing and this is another one."""
    file = os.path.join(here.git_dir, MARKER)
    try:
        with open(file) as opened:
            let_through = {entry["commit"]: str(entry["task"]) for entry in json.load(opened)}
    finally:
        with suppress(OSError):
            os.unlink(file)
    place = open_place({}, None)
    head = place.repository.resolve("HEAD")
    for merged in tasks_in(here, list(let_through)):
        if head is not None and absorbed.how(place.repository, place.objects, merged.name, merged.commit, head):
            clear_away(here, place, merged, head)


def post_merge(here: Here, squashed: bool) -> None:
    """Finish, or take back, what git has merged."""
    merged = tasks_in(here, commits_being_merged(here))
    if merged and squashed:
        place = open_place({}, None)
        if not place.settings.keep_tracking:
            leave_out(here, place, merged)
        judge(merged, here.branch or "", "git reset --merge", "git commit")
    elif merged:
        _finish(here, open_place({}, None), merged)
    if not squashed:
        notice(here)


def _finish(here: Here, place: Place, merged: Sequence[Merged]) -> None:
    branch, repository, objects = here.branch or "", place.repository, place.objects
    head, before = repository.resolve("HEAD"), repository.resolve("ORIG_HEAD")
    if head is None or before is None or not objects.is_ancestor(before, head):
        return
    commit = objects.commit(head)
    parents, written, author = list(commit.parents), commit.message, _author(place, head)
    if head == merged[0].commit:  # a fast-forward
        try:
            judge(merged, branch, f"git autonomous resume {merged[0].name}", f"git merge {merged[0].task['branch']}")
        except Refused as error:
            move(place, branch, head, before, f"fast-forward to {merged[0].name} taken back")
            raise Refused(f"{error.message}; {branch} is back at {before[:10]}", error.hint) from error
        parents, written, author = [before, head], message(place, merged[0], branch, merge.MERGE), {}
    tree = commit.tree
    if not place.settings.keep_tracking:
        for each in merged:
            tree = objects.with_subtree(tree, each.folder, objects.subtree(objects.commit(before).tree, each.folder))
        if tree != commit.tree:
            new = merge.commit_tree(place, tree, parents, written, author)
            move(place, branch, head, new, f"merge {merged[0].name}")
            head = new
    for each in merged:
        clear_away(here, place, each, head)


def _author(place: Place, commit: str) -> dict[str, str]:
    facts = place.repository.run("show", "--no-patch", "--format=%an%x00%ae%x00%ad", "--date=raw", commit)
    return dict(
        zip(("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_AUTHOR_DATE"), facts.rstrip("\n").split("\0"), strict=True)
    )


def move(place: Place, branch: str, old: str, new: str, reason: str) -> None:
    """Move the branch that is checked out here, with index and files. `git reset --keep` would refuse: to git the merge is still under way."""
    repository = place.repository
    repository.run(
        "read-tree",
        "-m",
        "-u",
        "--no-recurse-submodules",
        old,
        new,
        git_dir=repository.git_dir,
        work_tree=repository.toplevel,
    )
    repository.update_ref(f"refs/heads/{branch}", new, old, reason)


def clear_away(here: Here, place: Place, merged: Merged, commit: str) -> None:
    """Take the merged task away as `git autonomous merge` does, and say so."""
    try:
        with backup.at_rest(place.repository, merged.name):
            kept = merge.clear_away(place, merged.name, commit, tell)
    except AutonomousError as error:
        tell(f"'{merged.name}' is merged, but its branch and worktree stay: {error.message}")
        return
    if kept is not None:
        tell(
            f"{merged.name} is in {here.branch} as {commit[:10]}, and its branch and worktree are gone: git autonomous restore {merged.name}"
        )


def notice(here: Here) -> None:
    """Say which finished tasks are in this branch by now although nobody merged them here: pulled in, squashed or rebased elsewhere."""
    done = (states.FINISHED, states.MERGED)
    candidates = [task for task in here.tasks() if task["base"] == here.branch and task["state"] in done]
    if not candidates or not settings().announce:
        return
    place = open_place({}, None)
    for task in candidates[:NOTICED]:
        found = removal.how_absorbed(place, str(task["name"]), finished=True)
        if found is not None:
            tell(f"{task['name']} is done with ({found[0]}): git autonomous prune")
