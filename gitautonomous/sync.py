"""Bringing the base into a task between two sessions, by merge or by rebase. The task's tracking files survive both, byte for byte."""

from __future__ import annotations

from dataclasses import dataclass

from . import absorbed, backup, checklist, decisions, model, moving, replay, threeway
from .errors import AutonomousError, NeedsPerson
from .git import ZERO
from .model import Task
from .tasks import Place, bases, known_task, read_task
from .trees import Trees

MERGE, REBASE = "merge", "rebase"


@dataclass(frozen=True)
class Synced:
    """A task that has its base's news. `base`: the ref it came from, short; `base_tip`: its commit; `tip`: the task's new one, the old one where there was no news;
    `kept`: the ref of the tip before a rebase."""

    task: str
    base: str
    base_tip: str
    tip: str
    news: bool
    kept: str | None = None


def sync(place: Place, name: str, by: str) -> Synced:
    """Bring the base's newest commit into a task; `by` is "merge" or "rebase".

    Raises AutonomousError when somebody works on the task, its worktree has work in the way or a rebase would leave nothing, NeedsPerson for a conflict; nothing has
    changed then.
    """
    known_task(place, name)
    with backup.at_rest(place.repository, name):
        task = read_task(place, name)
        tip = place.tip(name)
        base, base_tip = _base(place, task)
        if place.objects.is_ancestor(base_tip, tip):
            return Synced(name, base, base_tip, tip, news=False)
        new = _merged(place, task, tip, base, base_tip) if by == MERGE else _rebased(place, task, tip, base_tip)
        refuse_in_the_way(place, name, tip, new)
        with moving.unbroken():
            if by == MERGE:
                moving.advance(
                    place.repository, place.branch(name), tip, new, reason=f"sync {name} with {base}", hooks=False
                )
                return Synced(name, base, base_tip, new, news=True)
            kept = backup.next_ref(place.objects, f"{backup.BACKUP}{name}/")
            place.repository.update_ref(kept, tip, ZERO, f"keep {name}")
            moving.switch(place.repository, place.branch(name), tip, new, reason=f"sync {name} with {base}")
    return Synced(name, base, base_tip, new, news=True, kept=kept)


def _base(place: Place, task: Task) -> tuple[str, str]:
    """(short name, commit) of the task's base: the local branch, else what a remote has of it. Raises AutonomousError when it is gone."""
    for ref in bases(place, task.base):
        tip = place.objects.tip(ref)
        if tip is not None:
            return ref.partition("/")[2].partition("/")[2], tip
    raise AutonomousError(
        f"the base of '{task.name}', {task.base}, is gone", f"git branch {task.base} {task.base_commit[:10]}"
    )


def _merged(place: Place, task: Task, tip: str, base: str, base_tip: str) -> str:
    theirs = absorbed.plain_tip(place.repository, place.objects, task.name, base_tip, tip)
    merged = threeway.merge(place.repository, tip, theirs)
    if merged.conflicts:
        raise NeedsPerson(
            f"'{task.name}' conflicts with {base} in {moving.shown(merged.conflicts)}",
            f"git autonomous merge --resolve {task.name}",
        )
    message = model.news_message(task.name, base, base_tip)
    return place.objects.write_commit(None, message, merged.tree, [tip, base_tip], identity=place.repository.identity())


def _rebased(place: Place, task: Task, tip: str, base_tip: str) -> str:
    """The task's commits on top of the base, with their authors; a check of a session whose content has changed counts no more."""
    trees = Trees(place.repository)
    hint = f"git autonomous sync --merge {task.name}"
    at, identity = base_tip, place.repository.identity()
    for step in replay.replay(place.repository, task, tip, base_tip, tracking=True, hint=hint):
        message = step.commit.message
        record = model.read_session(message, task.name)
        if record is not None and record.number:
            listed = checklist.parse((trees.read(step.tree, task.list_file) or b"").decode("utf-8", "surrogateescape"))
            same = trees.same_outside(step.commit.tree, step.tree, ".autonomous")
            message = decisions.with_record(message, record, listed, checked=same)
        at = trees.rewrite(step.commit.oid, message, step.tree, [at], identity=identity)
    if at == base_tip:
        raise AutonomousError(f"all of '{task.name}' is in {task.base} already, so a rebase would leave no task", hint)
    return at


def refuse_in_the_way(place: Place, name: str, old: str, new: str) -> None:
    """Raise AutonomousError when moving a task from one commit to another would touch work in its worktree."""
    branch = place.branch(name)
    checkout = moving.checkout_of(place.repository, branch)
    if checkout is None:
        return
    place.repository.refuse_unsafe_filters(checkout.path)
    changes = threeway.changes(place.repository, place.objects, old, new)
    found = moving.in_the_way(place.repository, checkout, changes)
    if found:
        raise moving.refusal(branch, checkout, found)
