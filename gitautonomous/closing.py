"""Closing a session: from "Codex is gone" to one commit. Every step may be repeated; a kill between two of them loses nothing.

The order is the crash table's: survivors are ended, the list contract is enforced, everything is staged and the tree written, the checks run on exactly that tree, what
they changed is put back, and the commit moves the branch by compare-and-swap.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from . import checklist, checks, codex, guard, hostile, locks, model, process, prompt
from .checklist import Checklist
from .checks import CheckResult
from .ends import End, EndKind
from .errors import NeedsPerson
from .events import Turn, Usage
from .git import SwappedPointer
from .model import Session
from .nested import Listing
from .workspace import Workspace

LIST_LIMIT = 1024 * 1024
PROGRESS_LIMIT = 4 * 1024 * 1024


@dataclass(frozen=True)
class Attempt:
    """One start of Codex, as the journal has it. `offset`: where its events begin in the session's transcript, in bytes;
    `guard`: the fingerprint of the repository's configuration and hooks."""

    id: str
    number: int
    role: str
    tip: str
    thread: str | None
    offset: int
    full: bool
    guard: str

    @property
    def marker(self) -> str:
        """The variable in the environment of Codex and of everything that it starts."""
        return f"GIT_AUTONOMOUS_ATTEMPT={self.id}"


@dataclass(frozen=True)
class Closed:
    """What came of an attempt. `commit`: None when it was no session; `notes`: sentences for the person; `alarm`: why the task must stop here."""

    commit: str | None
    session: Session | None
    results: tuple[CheckResult, ...]
    restored: tuple[str, ...]
    notes: tuple[str, ...]
    alarm: str = ""


def outcome_of(end: End) -> str:
    if end.kind is EndKind.completed:
        return "completed"
    if end.kind is EndKind.interrupted:
        return "interrupted"
    return "timed-out" if end.kind is EndKind.timed_out else "failed"


def end_survivors(workspace: Workspace, attempt: Attempt | None, thread: str | None) -> None:
    """Make sure that nothing of the attempt, and no check, lives any more. Raises NeedsPerson when something cannot be ended."""
    markers = [workspace.marker]
    if attempt is not None:
        threads = {attempt.thread, thread} - {None}
        markers += [attempt.marker, *(f"CODEX_THREAD_ID={thread}" for thread in threads)]
    lock = workspace.directory / "agent.lock"
    process.sweep(*markers)
    began, suspects = time.monotonic(), None
    while locks.is_held(str(lock)):
        # By what was not marked yet when it was looked for, or by the agent of an attempt that nobody knows.
        if time.monotonic() > began + 10.0:
            raise NeedsPerson("a process of an earlier session could not be ended", f"fuser -v {lock}")
        holders = set(process.holders(lock))
        suspects = holders if suspects is None else suspects & holders
        if time.monotonic() > began + 1.0:  # listings have the lock open for a moment too
            for who in suspects:
                process.terminate(who)
        time.sleep(0.05)
        process.sweep(*markers)
    codex.clean_leftovers(workspace.worktree.path)


def close(
    workspace: Workspace,
    attempt: Attempt,
    turn: Turn,
    end: End,
    *,
    previous: Session,
    spent: Usage | None,
    seconds: float,
    model_name: str,
    on_check: Callable[[str], None],
    stopped: Callable[[], bool],
) -> Closed:
    """Turn what an attempt left behind into one commit, or into nothing when the agent did nothing.

    `previous`: the record of the session before; `spent`: this session's tokens; `seconds`: its length; `stopped`: whether there is no time for checks. Raises NeedsPerson when the worktree or the branch is
    not as it was left (nothing has been written then), AutonomousError when git refuses.
    """
    end_survivors(workspace, attempt, turn.thread)
    check_surroundings(workspace, attempt)
    alarm = mend_pointer(workspace)
    tip, parent = parent_of(workspace, attempt)
    task, objects, worktree = workspace.task, workspace.objects, workspace.worktree
    listing = worktree.listing()
    notes = worktree.disarm_submodules(listing, workspace.attic)
    if not (turn.did_something or turn.completed) and worktree.clean():
        workspace.journal.append(
            "result", id=attempt.id, commit=None, outcome=outcome_of(end), thread=turn.thread or attempt.thread
        )
        return Closed(None, None, (), (), tuple(notes), alarm)

    before = decode(objects.read(parent, task.list_file))
    after = decode(read_foreign(workspace, task.list_file, LIST_LIMIT, notes))
    enforced = enforce(before, after)
    listed = checklist.parse(enforced.text) if enforced else checklist.parse("")
    restored = enforced.restored if enforced and before is not None else ()
    ticked = tuple(item.text for item in enforced.ticked) if enforced else ()
    if attempt.role == "initializer" and listed.total and not task.checks and not task.options.no_check:
        allowed = tuple(
            command for command in listed.checks if workspace.approvals.allows(command) and model.is_text(command)
        )
        notes += [
            f"check left out, it is not allowed here: {model.one_line(command, 120)}"
            for command in listed.checks
            if command not in allowed
        ]
        task = model.freeze_checks(task, allowed)
        workspace = workspace.with_task(task)
        workspace.approvals.approve(workspace.repository.common_dir, model.approval_text(task))

    entry = entry_lines(attempt, end, ticked, turn)
    progress = prompt.ensure_entry(
        decode(read_foreign(workspace, task.progress_file, PROGRESS_LIMIT, notes)),
        decode(objects.read(parent, task.progress_file)),
        session=attempt.number,
        lines=entry,
    )
    files = tracking_files(workspace, parent, enforced.text if enforced else None, progress)
    for path, content in files.items():
        notes += hostile.write(worktree.path, path, content, attic=workspace.attic)

    check_size(workspace, listing)
    tree, excluded = worktree.stage(files, listing)
    results: tuple[CheckResult, ...] | None = ()
    if task.checks and listed.total:
        results = run_on(workspace, tree, on_check, stopped, keep=excluded)
    session = Session(
        task=task.name,
        number=attempt.number,
        role=attempt.role,
        outcome=outcome_of(end),
        done=listed.done,
        total=listed.total,
        blocked=sum(1 for item in listed.open_items if item.blocked or item.skipped),
        check="unknown" if results is None else checks.verdict(results),
        base=task.base,
        tokens=spent.total if spent else 0,
        all_tokens=previous.all_tokens + (spent.total if spent else 0),
        seconds=round(seconds),
        all_seconds=previous.all_seconds + round(seconds),
        thread=turn.thread or attempt.thread or "",
        restored=restored,
        excluded=tuple(excluded),
        assisted_by=f"Codex:{model_name}" if workspace.settings.assisted_by and model_name else "",
    )
    message = model.commit_message(
        session, ticked=ticked, closing=turn.last_message or (end.message if outcome_of(end) != "completed" else "")
    )
    commit = write(workspace, attempt, tip, parent, tree, message)
    workspace.journal.append(
        "result",
        id=attempt.id,
        commit=commit,
        outcome=session.outcome,
        thread=session.thread,
        usage=asdict(turn.usage) if turn.usage else None,
    )
    notes += [f"left out of the commit: {model.one_line(path, 120)} ({why})" for path, why in excluded.items()]
    return Closed(commit, session, results or (), restored, tuple(notes), alarm)


def check_surroundings(workspace: Workspace, attempt: Attempt) -> None:
    """Raise NeedsPerson when the repository's configuration or hooks are not as they were: once, then the person has been told."""
    now = guard.snapshot(workspace.repository, workspace.worktree, full=attempt.full)
    changed = guard.difference(workspace.guard_file, attempt.guard, now)
    if changed:
        workspace.journal.append("told", id=attempt.id, guard=guard.SETTLED)
        shown = ", ".join(model.one_line(name, 80) for name in changed[:10])
        raise NeedsPerson(
            f"not by git autonomous, and while session {attempt.number} ran, the repository changed: {shown}",
            f"{guard.look(workspace.repository, changed)}    # if all is well: git autonomous resume {workspace.task.name}",
        )
    workspace.repository.refuse_unsafe_filters(workspace.worktree.path)


def mend_pointer(workspace: Workspace) -> str:
    """Put the worktree's `.git` back where it is not git's own; what stood there goes to the attic. Returns what to tell, empty when all was well.

    Raises NeedsPerson when the worktree is gone.
    """
    workspace.check_there()
    try:
        workspace.worktree.check_pointer()
    except SwappedPointer as error:
        moved = hostile.write(workspace.worktree.path, ".git", workspace.worktree.pointers()[0], attic=workspace.attic)
        return "; ".join((f"{error.message} and was put back", *moved))
    return ""


def parent_of(workspace: Workspace, attempt: Attempt) -> tuple[str, str]:
    """The branch's tip, and the commit that the session's commit stands on: a person's commits made meanwhile are kept, an agent's own (full access only) folded.

    Raises NeedsPerson when it cannot be known; once, where only a person can have an opinion.
    """
    refuse_elsewhere(workspace)
    tip = workspace.tip()
    if tip == attempt.tip:
        return tip, tip
    if not workspace.objects.is_ancestor(attempt.tip, tip):
        workspace.journal.append("told", id=attempt.id, tip=tip)
        raise NeedsPerson(
            f"{workspace.branch} was rewritten while session {attempt.number} ran; its files are still in the worktree",
            f"git -C {workspace.worktree.path} status    # to have them committed onto it: git autonomous resume {workspace.task.name}",
        )
    return tip, attempt.tip if attempt.full else tip


def refuse_elsewhere(workspace: Workspace) -> None:
    """Raise NeedsPerson when somebody left the task's branch, or is in the middle of something that git has to finish."""
    path, branch = workspace.worktree.path, workspace.branch
    again = f"git autonomous resume {workspace.task.name}"
    what = workspace.worktree.unfinished()
    if what is not None:
        raise NeedsPerson(
            f"the worktree of '{workspace.task.name}' is in the middle of a {what}",
            f"git -C {path} status    # finish it or give it up, then: {again}",
        )
    head = workspace.worktree.head()
    if head != workspace.ref:
        raise NeedsPerson(
            f"the worktree of '{workspace.task.name}' is on {model.one_line(head.removeprefix('refs/heads/'), 80)}, not on {branch}",
            f"git -C {path} switch {branch} && {again}",
        )


def write(workspace: Workspace, attempt: Attempt, tip: str, parent: str, tree: str, message: str) -> str:
    """The session's commit onto `parent`, by compare-and-swap from `tip`, where the branch was when its files were looked at."""
    if tip == parent:
        return workspace.objects.write_commit(workspace.ref, message, tree, [parent], identity=workspace.identity)
    commit = workspace.objects.write_commit(None, message, tree, [parent], identity=workspace.identity)
    workspace.repository.update_ref(
        workspace.ref, commit, tip, f"session {attempt.number}, the agent's own commits folded in"
    )
    return commit


def decode(content: bytes | None) -> str | None:
    return None if content is None else content.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def read_foreign(workspace: Workspace, path: str, limit: int, notes: list[str]) -> bytes | None:
    """A tracking file from the worktree; what is no plain file counts as missing, and is said."""
    try:
        return hostile.read(workspace.worktree.path, path, limit)
    except hostile.NotAFile as error:
        notes.append(str(error))
        return None


def enforce(before: str | None, after: str | None) -> checklist.Enforced | None:
    """The list after a session: as the agent wrote it while there was none with items, else under the contract. None: there is no list."""
    if before is not None and checklist.parse(before).total:
        return checklist.enforce(before, after)
    if after is None:
        return checklist.Enforced(before, (), (), ()) if before is not None else None
    return checklist.Enforced(after, (), (), ())


def entry_lines(attempt: Attempt, end: End, ticked: tuple[str, ...], turn: Turn) -> list[str]:
    """What the runner writes into progress.md where the agent wrote nothing."""
    lines = [f"Outcome: {outcome_of(end)}" + (f" ({model.one_line(end.message, 200)})" if end.message else "")]
    lines += [f"Ticked: {model.one_line(text, 200)}" for text in ticked]
    if turn.last_message:
        lines.append(f"Last message: {model.one_line(turn.last_message, 400)}")
    return lines


def tracking_files(workspace: Workspace, parent: str, list_text: str | None, progress: str) -> dict[str, bytes]:
    """The three files as they go into the commit. task.toml is the previous commit's, whatever stands in the worktree."""
    task = workspace.task
    stored = workspace.objects.read(parent, task.file)
    if stored is None or model.read_task(task.name, stored) != task:
        stored = model.write_task(task).encode()
    files = {task.file: stored, task.progress_file: encode(progress)}
    if list_text is not None:
        files[task.list_file] = encode(list_text)
    return files


def check_size(workspace: Workspace, listing: Listing) -> None:
    """Refuse to stage more than the settings allow: 200,000 files or 10 GB in a commit are a mistake. Raises NeedsPerson with the largest paths."""
    settings, root = workspace.settings, workspace.worktree.path
    sizes: list[tuple[int, str]] = []
    for path in listing.changed:
        try:
            sizes.append((os.lstat(f"{root}/{path}").st_size, path))
        except OSError:
            continue
    total = sum(size for size, _ in sizes)
    if (settings.max_files and len(sizes) > settings.max_files) or (settings.max_bytes and total > settings.max_bytes):
        largest = ", ".join(model.one_line(path, 60) for _, path in sorted(sizes, reverse=True)[:5])
        raise NeedsPerson(
            f"the session left {len(sizes):,} new or changed files with {total:,} bytes, more than one commit should take (largest: {largest})",
            f"cd {root}    # delete or ignore them, then: git autonomous resume {workspace.task.name}",
        )


def run_on(
    workspace: Workspace,
    tree: str,
    on_check: Callable[[str], None],
    stopped: Callable[[], bool],
    keep: Iterable[str] = (),
) -> tuple[CheckResult, ...] | None:
    """Run the checks on exactly `tree`, which the worktree holds, put back what they changed, and journal the results; None when `stopped` ended them.

    `keep`: untracked paths that are left out of commits and must not be taken for something that a check left behind.
    """
    results = checks.run_checks(workspace, on_check, stopped)
    if not workspace.worktree.as_tree(tree, keep):
        workspace.worktree.restore(tree, keep)
    if results is not None:
        workspace.journal.append("checks", tree=tree, results=checks.to_journal(results))
    return results


def commit_by_hand(workspace: Workspace) -> str | None:
    """Commit what a person changed in the worktree while no attempt was open; task.toml stays out. Returns the commit, None when nothing was changed."""
    worktree, task = workspace.worktree, workspace.task
    workspace.repository.refuse_unsafe_filters(worktree.path)
    tip = workspace.tip()
    tree = workspace.objects.commit(tip).tree
    if worktree.clean():
        return None
    edited = keep_edited_task(workspace, tip)
    files = {}
    for path in (task.list_file, task.progress_file):
        content = read_foreign(workspace, path, PROGRESS_LIMIT, [])
        if content is not None:
            files[path] = content
    stored = workspace.objects.read(tip, task.file)
    if stored is not None:
        files[task.file] = stored
        hostile.write(worktree.path, task.file, stored, attic=workspace.attic)
    listing = worktree.listing()
    check_size(workspace, listing)
    staged, _ = worktree.stage(files, listing)
    if staged == tree:
        return None
    message = f"{task.name}: changes by hand\n" + (
        f"\ntask.toml was edited too and left out; see {edited.name}\n" if edited else ""
    )
    return workspace.objects.write_commit(workspace.ref, message, staged, [tip], identity=workspace.identity)


def keep_edited_task(workspace: Workspace, tip: str) -> Path | None:
    """An uncommitted edit of task.toml does not count, but is not lost either: a copy goes to the task's local folder."""
    try:
        edited = hostile.read(workspace.worktree.path, workspace.task.file, LIST_LIMIT)
    except hostile.NotAFile:
        return None
    if edited is None or edited == workspace.objects.read(tip, workspace.task.file):
        return None
    copy = workspace.directory / "task.toml.edited"
    copy.write_bytes(edited)
    return copy


def current_list(workspace: Workspace, tip: str) -> Checklist:
    return checklist.parse(decode(workspace.objects.read(tip, workspace.task.list_file)) or "")
