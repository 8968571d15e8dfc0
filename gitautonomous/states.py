"""What state a task is in: worked out, never stored.

Light on purpose (no dataclasses, typing, re or subprocess): `git autonomous list` imports this and must start as fast as git itself.
"""

from __future__ import annotations

import os

BROKEN = "broken"
RUNNING = "running"
WAITING = "waiting"
MERGED = "merged"
FINISHED = "finished"
FAILING = "failing"
BLOCKED = "blocked"
STALLED = "stalled"
FAILED = "failed"
NEW = "new"
PAUSED = "paused"

UNFINISHED = (RUNNING, WAITING, FAILING, BLOCKED, STALLED, FAILED, NEW, PAUSED)

TRAILER_TASK = "Autonomous-Task"

TRAILER_PULL_REQUEST = "Autonomous-Pull-Request"
"""Of the commit that takes a task's own folder out of what is pushed for a pull request. The task goes on below it."""


def trailers(message: str) -> dict[str, str]:
    """The last paragraph of a commit message as a mapping, empty when that paragraph is not a block of `Autonomous-*` trailers.

    The runner always writes its block last and neutralises trailer-like lines of the agent's text, so the last paragraph alone is to be believed.
    """
    return dict(zip(*trailer_lists(message), strict=True))


def trailer_lists(message: str) -> tuple[list[str], list[str]]:
    """As `trailers`, but as keys and values: a dict takes longer to make than to read the block, which counts with thousands of tasks."""
    block = message[message.rfind("\n\nAutonomous-Task: ") + 2 :].rstrip()
    if not block.startswith("Autonomous-Task: ") or "\n\n" in block:
        return [], []
    flat = block.replace("\n", ": ").split(": ")
    if len(flat) == 2 * (block.count("\n") + 1):  # no value holds a colon
        return flat[::2], flat[1::2]
    pairs = [line.split(": ", 1) for line in block.split("\n") if ": " in line]
    return [key for key, _ in pairs], [value for _, value in pairs]


def pair(value: str | None) -> tuple[int, int]:
    """`3/12` as (3, 12); (0, 0) for anything else. Used by Progress, Tokens and Seconds."""
    first, slash, second = (value or "").partition("/")
    if slash and first.isdecimal() and second.isdecimal() and len(first) < 16 and len(second) < 16:
        return int(first), int(second)
    return 0, 0


def state_of(
    *,
    readable: bool,
    sessions: int,
    done: int,
    total: int,
    stuck: bool,
    check: str,
    running: str | None,
    merged: bool,
    word: tuple[str, str] | None,
    waiting: str | None,
) -> tuple[str, str]:
    """The first state that matches (DESIGN: the table of states), with its reason.

    `readable`: task.toml could be read. `check`: passed, failed, none or unknown, for the tip. `running`: who runs it, or None.
    `word`: the runner's last word about this very tip as (state, reason). `waiting`: why a waiting runner waits.
    """
    if not readable:
        return BROKEN, "task.toml cannot be read"
    if running is not None:
        return (WAITING, waiting) if waiting is not None else (RUNNING, running)
    if merged:
        return MERGED, ""
    if total and done == total:
        if check in ("passed", "none") or word is not None and word[0] == FINISHED:
            return FINISHED, ""
        return (
            (FAILING, "a check fails")
            if check == "failed"
            else (PAUSED, "the checks have not run on the newest commit")
        )
    if stuck:
        return BLOCKED, "only blocked or skipped items are left"
    if word is not None and word[0] in (STALLED, FAILED):
        return word
    if sessions and not total:
        return PAUSED, "task_list.md has no items"
    return (PAUSED, "") if total else (NEW, "")


def items_done(done: int, total: int) -> str:
    """How far a task is, in words."""
    return f"{done} of {total} {'item is' if total == 1 else 'items are'} done"


# -- a runner's words --------------------------------------------------------------------------------------------------------------------------------

AT_WORK = os.path.join("autonomous", "running")
WORDS = os.path.join("autonomous", "words")
"""The folders, below the common git dir, of what runners say while they run and at last. Each has a file for a task, so that a listing looks only where there is one: one
look at a folder tells that nobody works on thousands of tasks."""


def at_work_file(folder: str) -> str:
    """What says that somebody works on the task with this local folder, as long as a lock in that is held."""
    return _file(folder, AT_WORK)


def word_file(folder: str) -> str:
    """What the last runner of the task with this local folder said in the end. There is none where its commits tell as much."""
    return _file(folder, WORDS)


def _file(folder: str, kind: str) -> str:
    tasks, name = os.path.split(folder)
    return os.path.join(os.path.dirname(tasks), os.path.basename(kind), name)


def begin(folder: str) -> None:
    """Whoever takes the lock of the task with this local folder says so. What the last runner said stands."""
    _write(at_work_file(folder), RUNNING, 0, "", "at work")


def end(folder: str) -> None:
    """Whoever said so lets go of the lock now."""
    _remove(at_work_file(folder))


def write_word(folder: str, state: str, at: float, tip: str, reason: str) -> None:
    """Put a runner's word where `list` finds it, as its only one. `folder`: the task's local one; `at`: epoch seconds (waiting: until when)."""
    working = state in (RUNNING, WAITING)
    said, other = (at_work_file(folder), word_file(folder)) if working else (word_file(folder), at_work_file(folder))
    if state == PAUSED:
        _remove(said)
    else:
        _write(said, state, at, tip, reason)
    _remove(other)


def forget(folder: str) -> None:
    """There is nothing to say any more of a task with this local folder."""
    _remove(at_work_file(folder))
    _remove(word_file(folder))


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _write(path: str, state: str, at: float, tip: str, reason: str) -> None:
    """Four lines, replaced by rename."""
    text = "\n".join((state, f"{at:.0f}", tip, reason.replace("\n", " ")[:500]))
    folder, name = os.path.split(path)
    os.makedirs(folder, 0o700, exist_ok=True)
    temporary = f"{folder}/.{name}.{os.getpid()}"  # no task's name begins with a full stop
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, text.encode("utf-8", "replace"))
    finally:
        os.close(descriptor)
    os.replace(temporary, path)


def read_word(path: str) -> tuple[str, float, str, str] | None:
    """What a file of a runner's says as (state, at, tip, reason), or None when there is nothing readable."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        lines = os.read(descriptor, 4096).decode("utf-8", "replace").split("\n", 3)
    finally:
        os.close(descriptor)
    if len(lines) != 4 or not lines[1].isdecimal():
        return None
    return lines[0], float(lines[1]), lines[2], lines[3]
