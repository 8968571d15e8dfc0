"""A conflict as the work of a session: the base is brought into the task with its conflicts marked, and a new item of the list says what is to be done.

So it is worked off, checked and committed like any other item, `log` and `review` show it, and `restore` undoes it. That the marks are gone is not left to the agent's word.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import absorbed, backup, checklist, merge, model, moving, sync, threeway
from .errors import AutonomousError, NeedsPerson
from .git import ZERO, text
from .model import Task, one_line
from .tasks import Place, known_task, read_task

TOLD = 20
"""Conflicts that the item describes one by one."""


@dataclass(frozen=True)
class Marked:
    """A task that has its base with the conflicts marked. `sides`: the commits that the marks name, the task's and the base's; `kept`: the ref of the tip before."""

    task: str
    base: str
    sides: tuple[str, str]
    files: tuple[str, ...]
    kept: str


def mark(place: Place, name: str, into: str | None) -> Marked | None:
    """Bring the base (or `into`) into a task with its conflicts marked; None when there is no conflict.

    Raises AutonomousError when somebody works on the task, its list cannot take an item, or its worktree has work in the way; nothing has changed then.
    """
    known_task(place, name)
    repository, objects = place.repository, place.objects
    with backup.at_rest(repository, name):
        task = read_task(place, name)
        tip = place.tip(name)
        base = into or task.base
        base_tip = merge.tip_of_base(place, task, base)
        theirs = absorbed.plain_tip(repository, objects, name, base_tip, tip)
        merged = threeway.merge(repository, tip, theirs)
        if not merged.conflicts:
            return None
        told = threeway.explain(repository, tip, theirs, names=("this task", base))
        listed = objects.read(tip, task.list_file) or b""
        files = {task.list_file: _with_item(task, listed, base, merged.conflicts, told)}
        tree = objects.with_files(merged.tree, files)
        message = model.news_message(name, base, base_tip, conflicts=True)
        new = objects.write_commit(None, message, tree, [tip, base_tip], identity=repository.identity())
        sync.refuse_in_the_way(place, name, tip, new)
        with moving.unbroken():
            kept = backup.next_ref(objects, f"{backup.BACKUP}{name}/")
            repository.update_ref(kept, tip, ZERO, f"keep {name}")
            moving.advance(repository, place.branch(name), tip, new, reason=f"conflicts of {name}", hooks=False)
    return Marked(name, base, (tip, theirs), merged.conflicts, kept)


def _with_item(task: Task, listed: bytes, base: str, files: tuple[str, ...], told: list[str]) -> bytes:
    """The list with one more item at the end. Raises AutonomousError when it cannot take one."""
    details = [one_line(line, 300) for line in told[:TOLD]]
    details += [f"and {len(told) - TOLD} more: `git grep -n '^<<<<<<<'` finds them"] * (len(told) > TOLD)
    lines = [
        f"- Resolve the conflicts with {base} in {moving.shown(files)}",
        *(f"  - {detail}" for detail in details),
        f"  - of what stands between two marks, the first part is this task's and the second that of {base}: keep what both meant, and leave no mark",
    ]
    content = listed.decode("utf-8", "surrogateescape")
    proposal = f"{content.rstrip()}\n\n## Proposed\n\n" + "\n".join(lines) + "\n"
    try:
        accepted = checklist.accept(proposal, [len(checklist.parse(proposal).proposed)])
    except ValueError as error:
        raise AutonomousError(
            f"the list of '{task.name}' cannot take the conflict as an item: {error}",
            f"git autonomous review {task.name}",
        ) from error
    return (accepted.rstrip().removesuffix("## Proposed").rstrip() + "\n").encode("utf-8", "surrogateescape")


def refuse_marks(place: Place, marked: Marked) -> None:
    """Raise NeedsPerson while a mark of one of these conflicts is left in a file of the task's tip."""
    ours, theirs = marked.sides
    tip = place.tip(marked.task)
    done = place.repository.call(
        "grep", "--files-with-matches", "--fixed-strings", "-z", "--no-textconv", "-e", f"<<<<<<< {ours}", "-e", f">>>>>>> {theirs}",
        tip, "--",
    )  # fmt: skip
    left = [path.removeprefix(f"{tip}:") for path in text(done.stdout).split("\0") if path]
    if left:
        entry = place.repository.worktree_of(place.branch(marked.task))
        where = f"-C {entry.path} " if entry is not None else ""
        raise NeedsPerson(
            f"'{marked.task}' says that its conflicts are resolved, but marks are left in {moving.shown(left)}",
            f"git {where}grep -n '^<<<<<<< '    # or undo it: git autonomous restore {marked.task}",
        )
