"""A task folder of run-session.sh becomes a task: its list, its notes and the thread of its last session."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import checklist, git, hostile, markdown, model, process, starting, tasks
from .errors import AutonomousError, UsageError
from .journal import Journal
from .model import Task
from .screen import Screen
from .tasks import Ask, Place, Request

LIMIT = 8 << 20
"""A file of more bytes than this is refused."""

LOCKS = (".runner.lock/pid", "run.lock/pid", "run.lock")
"""Where the runners of the origin write their process's id, below the task's folder."""

NOT_TASKS = frozenset(("meta", "progress notes", "completion criteria", "checks", "proposed"))
_THREAD = re.compile(r"[0-9A-Za-z-]{8,64}")


@dataclass(frozen=True)
class Found:
    """What `folder` holds: `title` is the list's heading, "" for none; `thread` is Codex's, None where no session was noted."""

    folder: Path
    name: str
    title: str
    list: str
    progress: str
    thread: str | None


def read(folder: Path) -> Found:
    """Raises UsageError for what is no task folder, AutonomousError for one that somebody works in."""
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", "ls -d .autonomous/*/")
    text = _text(folder, "task_list.md")
    if text is None:
        below = sorted(path.parent for path in folder.glob("*/task_list.md"))
        hint = f"git autonomous import {shlex.quote(str(below[0]))}" if below else "ls -d .autonomous/*/"
        raise UsageError(f"{folder} has no task_list.md", hint)
    pid = runner(folder)
    if pid is not None:
        raise AutonomousError(f"run-session.sh works in {folder} (process {pid})", f"kill {pid}")
    listed = with_tasks_section(text)
    if not checklist.parse(listed).total:
        raise UsageError(f"{folder}/task_list.md has no items", 'git autonomous start "GOAL"')
    titles = [heading.title for heading in markdown.read(text).headings if heading.level == 1]
    thread = (_text(folder, "session.id") or "").strip()
    return Found(
        folder=folder,
        name=folder.resolve().name,
        title=re.sub(r"^task list:\s*", "", titles[0], flags=re.IGNORECASE).strip() if titles else "",
        list=listed,
        progress=_text(folder, "progress.md") or "# Progress\n",
        thread=thread if _THREAD.fullmatch(thread) else None,
    )


def runner(folder: Path) -> int | None:
    """The process of run-session.sh that works in a task's folder now, None where there is none."""
    for lock in LOCKS:
        try:
            pid = (hostile.read(folder, lock, 100) or b"").strip()
        except hostile.NotAFile:
            continue
        if re.fullmatch(rb"[1-9][0-9]{0,8}", pid) and process.identify(int(pid)) is not None:
            return int(pid)
    return None


def _text(folder: Path, name: str) -> str | None:
    """A file's text, None where there is none. Raises AutonomousError for what is no plain file."""
    try:
        content = hostile.read(folder, name, LIMIT)
    except hostile.NotAFile as error:
        raise AutonomousError(f"{folder}: {error}", f"ls -ld {shlex.quote(str(folder / name))}") from error
    return None if content is None else content.decode("utf-8", "replace")


def with_tasks_section(text: str) -> str:
    """A list whose items count: one without items below `## Tasks` gets that heading above its first item, and the headings of its phases
    go a level down. Items of NOT_TASKS stay what they are."""
    if checklist.parse(text).total:
        return text
    document = markdown.read(text)
    sections = [heading for heading in document.headings if heading.level <= 2]
    items = [
        (entry.line, above[-1] if above else None)
        for entry in document.entries
        if entry.box is not None
        for above in [[heading for heading in sections if heading.first < entry.line]]
        if not above or above[-1].title.lower() not in NOT_TASKS
    ]
    if not items:
        return text
    lines = list(document.lines)
    (first, phase), last = items[0], items[-1][0]
    start = phase.first if phase is not None and phase.level == 2 else first
    for heading in sections:
        if start <= heading.first < last and heading.title.lower() not in NOT_TASKS:
            lines[heading.first : heading.after] = [f"### {heading.title}{document.newline}"] + [""] * (
                heading.after - heading.first - 1
            )
    lines.insert(start, f"## Tasks{document.newline}{document.newline}")
    return "".join(lines)


def take_over(
    found: Found,
    ask: Ask,
    screen: Screen,
    *,
    name: str | None = None,
    goal: str | None = None,
    base: str | None = None,
    checks: Sequence[str] = (),
) -> str:
    """Make a task of `found`: its branch with the list and the notes, and its worktree. Returns its name; no session runs.

    Everything is checked before anything is made, and a failure after that, as of a setup command, leaves nothing behind. Raises AutonomousError and UsageError as
    `starting.start` does.
    """
    request = Request(flags={"checks": tuple(checks) or None})
    place = tasks.open_place(request.flags, ask, base=base or "HEAD")
    tasks.refuse_nested(place)
    base_name, base_commit = starting.resolve_base(place.repository, base)
    task = Task(
        name=model.check_name(name or found.name),
        goal=model.check_goal(goal or found.title or found.name),
        base=base_name,
        base_commit=base_commit,
        created=model.iso(time.time()),
        options=starting.options_of(place.settings, request),
    )
    git.check_branch_name(place.repository, place.branch(task.name))
    if task.name.lower() in {other.lower() for other in place.names()}:
        other = model.free_name(task.name, place.names())
        raise AutonomousError(
            f"there is a task named '{task.name}' already",
            f"git autonomous import {shlex.quote(str(found.folder))} --name {other}",
        )
    place.repository.refuse_unsafe_filters()
    place.approvals.approve(place.repository.common_dir, model.approval_text(task))
    files = {task.list_file: found.list.encode(), task.progress_file: found.progress.encode()}
    worktree, lock = starting.create(
        place, task, screen.note, files, f"{task.name}: list and notes of run-session.sh\n"
    )
    with lock:
        try:
            if found.thread is not None:
                _remember_thread(place, task, found.thread)
            tasks.make_ready(place, task, worktree, screen)
        except BaseException:
            starting.undo(place, task.name, worktree.path, place.tip(task.name), lock)
            raise
    return task.name


def _remember_thread(place: Place, task: Task, thread: str) -> None:
    """So that `resume --resume-last` goes on in the thread of the last session."""
    folder = place.repository.make_state_dir("tasks", task.name)
    Journal(folder / "journal.jsonl").append("result", id="imported", commit=None, outcome="imported", thread=thread)
