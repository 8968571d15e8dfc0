"""Taking tasks away, and bringing them back. Nothing goes that is not kept under a ref, in the attic or by the user; ignored files are named before they go."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from . import absorbed, backup, moving, ready, states, threeway
from .backup import Kept
from .errors import AutonomousError
from .git import ZERO, Entry, Worktree
from .tasks import Place, bases, known_task, listed, read_task

Say = Callable[[str], None]
CACHES = ("/__pycache__/", "/.pytest_cache/", "/.mypy_cache/", "/.ruff_cache/", "/node_modules/")


@dataclass(frozen=True)
class Gone:
    """A task that was taken away, or would be. `why`: in words; `kept`: the newest ref that holds it."""

    task: str
    why: str
    kept: str | None = None


# -- remove --------------------------------------------------------------------------------------------------------------------------------------


def remove(place: Place, name: str, say: Say) -> Gone:
    """Take a task's branch and worktree away, whatever its state; all of it is kept. Raises AutonomousError when somebody works on it."""
    known_task(place, name)
    with backup.at_rest(place.repository, name):
        refuse_where_user_is(place, name)
        name_ignored(place, name, say)
        kept = backup.keep(place.repository, place.objects, name, place.branch(name))
        take_away(place, name)
    return Gone(name, "removed", kept)


def refuse_where_user_is(place: Place, name: str) -> None:
    """Raise AutonomousError when the task's branch is in the user's own checkout, or they stand in its worktree."""
    entry = place.repository.worktree_of(place.branch(name))
    if entry is None:
        return
    if _is_main(place, entry):
        raise AutonomousError(
            f"{place.branch(name)} is checked out in your own checkout, {entry.path}",
            f"git -C {shlex.quote(str(entry.path))} switch --detach    # then try again",
        )
    with suppress(FileNotFoundError):
        if Path(os.path.realpath(os.getcwd())).is_relative_to(os.path.realpath(entry.path)):
            raise AutonomousError(
                f"you stand in the worktree of '{name}', {entry.path}",
                f"cd {shlex.quote(str(place.repository.main_root))} && git autonomous remove {name}",
            )


def _is_main(place: Place, entry: Entry) -> bool:
    return entry == place.repository.worktrees()[0]


def name_ignored(place: Place, name: str, say: Say) -> None:
    """Say which files of the task's worktree are kept nowhere: those that git ignores, but for what a tool makes again by itself."""
    entry = place.repository.worktree_of(place.branch(name))
    if entry is None or not entry.path.exists():
        return
    worktree = Worktree.registered(place.repository, entry.path)
    paths = [path for path in _ignored(worktree, "--directory") if not f"/{path}".endswith(CACHES)]
    if paths:
        say(f"ignored files go with the worktree of '{name}': {moving.shown(paths)}")


def _ignored(worktree: Worktree, *options: str) -> list[str]:
    output = worktree.run("ls-files", "--others", "--ignored", "--exclude-standard", "-z", *options)
    return [path for path in output.split("\0") if path]


def take_away(place: Place, name: str) -> None:
    """Delete the worktree and the branch of a task whose state is kept, in the order that a death in between does no harm to."""
    repository = place.repository
    tip = place.tip(name)
    entry = repository.worktree_of(place.branch(name))
    if entry is not None:
        backup.take_away(repository, entry.path)
    repository.delete_ref(place.ref(name), tip)
    with repository.lock():
        repository.call("config", "--local", "--remove-section", f"branch.{place.branch(name)}")
    backup.empty_trash(repository)


# -- prune ---------------------------------------------------------------------------------------------------------------------------------------


def prune(place: Place, say: Say, *, dry_run: bool = False) -> Iterator[Gone]:
    """Take away every task whose work is in its base, and what died halfway. A task that somebody works on, or stands in, is left with a word to `say`."""
    if not dry_run:
        backup.empty_trash(place.repository)
    for task in listed(place):
        name = str(task["name"])
        if task["state"] in (states.RUNNING, states.WAITING, states.BROKEN):
            continue
        found = how_absorbed(place, name, finished=bool(task["total"]) and task["done"] == task["total"])
        if found is None:
            continue
        why, result = found
        if dry_run:
            yield Gone(name, why)
            continue
        try:
            with backup.at_rest(place.repository, name):
                refuse_where_user_is(place, name)
                yield Gone(name, why, retire(place, name, result, say))
        except AutonomousError as error:
            say(f"'{name}' stays: {error.message}")


def how_absorbed(place: Place, name: str, *, finished: bool) -> tuple[str, str] | None:
    """(how a task's work came into its base, in words; a commit of the base that has it), None where it did not. What is not `finished` counts only when we merged
    it ourselves."""
    objects, tip = place.objects, place.tip(name)
    tips = [(ref, at) for ref in bases(place, read_task(place, name).base) if (at := objects.tip(ref)) is not None]
    for result in backup.results(objects, name, tip):
        if any(objects.is_ancestor(result, at) for _, at in tips):
            return "merged", result
    for ref, at in tips if finished else ():
        found = absorbed.how(place.repository, objects, name, tip, at)
        if found is not None:
            how = {"merged": "merged into {}", "contained": "all of it is in {}"}.get(
                found, found.replace("squashed", "squashed into {}").replace("rebased", "rebased onto {}")
            )
            return how.format(ref.partition("/")[2].partition("/")[2]), at
    return None


def retire(place: Place, name: str, result: str, say: Say) -> str:
    """Take a merged task away: its tip is kept as merged, and what was uncommitted in its worktree apart from it. Returns the tip's ref.

    `result`: a commit of the base that has it.
    """
    tip = place.tip(name)
    name_ignored(place, name, say)
    kept = backup.keep_merged(place.repository, place.objects, name, tip, result)
    uncommitted = backup.keep_uncommitted(place.repository, place.objects, name, place.branch(name))
    if uncommitted is not None:
        say(f"the worktree of '{name}' had uncommitted work that was not merged; it is kept at {uncommitted}")
    take_away(place, name)
    return kept


# -- restore -------------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Restored:
    """A task that is back. `before`: the ref that keeps what was there until now; `worktree`: where its uncommitted files are again; `left`: what had to stay in the attic."""

    task: str
    kept: Kept
    before: str | None
    worktree: Path | None
    left: tuple[str, ...]


def choices(place: Place, name: str) -> list[Kept]:
    """The kept states of a task, newest first. Raises AutonomousError when there is none."""
    import difflib

    found = backup.kept_states(place.objects, name)
    if not found:
        near = difflib.get_close_matches(name, backup.kept_tasks(place.objects), 1)
        raise AutonomousError(
            f"nothing is kept of a task '{moving.shown([name])}'",
            f"git autonomous restore {near[0]}" if near else "git for-each-ref refs/autonomous/",
        )
    return found


def restore(place: Place, name: str, number: int | None, say: Say) -> Restored:
    """Bring a kept state of a task back, the newest or the one with this number. What the task is now is kept first.

    Raises AutonomousError when there is no such state, nothing to bring back, or somebody works on the task.
    """
    found = choices(place, name)
    kept = found[0] if number is None else next((each for each in found if each.number == number), None)
    if kept is None:
        raise AutonomousError(f"no state {number} is kept of '{name}'", f"git autonomous restore {name} --list")
    repository, branch, ref = place.repository, place.branch(name), place.ref(name)
    with backup.at_rest(repository, name):
        tip = place.objects.tip(ref)
        before = None
        if tip is None:
            repository.update_ref(ref, kept.tip, ZERO, f"restore {name}")
        else:
            before = _make_room(place, name, tip, kept)
        entry = repository.worktree_of(branch)
        if kept.files is None and not backup.in_attic(repository, name, kept):
            return Restored(name, kept, before, entry.path if entry is not None else None, ())
        worktree = Worktree.registered(repository, entry.path) if entry is not None else _new_worktree(place, name, say)
        if kept.files is not None:
            backup.put_files(place.objects, worktree, kept)
        _, left = backup.from_attic(repository, name, kept, worktree)
    return Restored(name, kept, before, worktree.path, tuple(left))


def _make_room(place: Place, name: str, tip: str, kept: Kept) -> str | None:
    """Keep what a task is now, then bring its branch and a clean worktree to the kept tip."""
    repository, branch = place.repository, place.branch(name)
    entry = repository.worktree_of(branch)
    worktree = None
    if entry is not None:
        if _is_main(place, entry):
            refuse_where_user_is(place, name)
        if not entry.path.exists():
            backup.take_away(repository, entry.path)
        else:
            worktree = Worktree.registered(repository, entry.path)
    clean = worktree is None or worktree.clean()
    if tip == kept.tip and clean and kept.files is None and not backup.in_attic(repository, name, kept):
        raise AutonomousError(
            f"'{name}' is as it was kept at {kept.ref}: nothing to restore", f"git autonomous restore {name} --list"
        )
    if worktree is not None:
        _refuse_overwriting(place, worktree, tip, kept.tip)
    before = backup.keep(repository, place.objects, name, branch)
    if worktree is not None and not clean:
        worktree.restore(place.objects.commit(tip).tree)
    if tip != kept.tip:
        moving.switch(repository, branch, tip, kept.tip, reason=f"restore {name}")
    return before


def _refuse_overwriting(place: Place, worktree: Worktree, old: str, new: str) -> None:
    """Raise AutonomousError where a file would come back at the place of an ignored one, which no kept state holds."""
    checkout = moving.Checkout(worktree.path, worktree.git_dir)
    changes = threeway.changes(place.repository, place.objects, old, new)
    found = moving.in_the_way(place.repository, checkout, changes)
    ignored = set(_ignored(worktree)) if found else set()
    lost = [path for path in found if path in ignored]
    if lost:
        raise moving.untracked_refusal(checkout, lost)


def _new_worktree(place: Place, name: str, say: Say) -> Worktree:
    """A worktree for the uncommitted files. Setup commands are not run: an agent's files are in it."""
    repository = place.repository
    path = repository.worktree_path(name, place.settings.worktree_root)
    if os.path.lexists(path):
        raise AutonomousError(
            f"{path} exists, but is not the worktree of '{name}'",
            f"mv {shlex.quote(str(path))} {shlex.quote(f'{path}.old')} && git autonomous restore {name}",
        )
    worktree = backup.add_worktree(repository, place.objects, name, place.branch(name), path, say)
    source = repository.toplevel or (None if repository.is_bare else repository.main_root)
    patterns = place.objects.read(read_task(place, name).base_commit, ready.INCLUDE_FILE)
    if patterns is not None and source is not None:
        ready.copy_included(repository, source, worktree.path, patterns)
    if place.settings.setup:
        say(f"the setup commands were not run in {worktree.path}, since an agent's files are in it")
    return worktree
