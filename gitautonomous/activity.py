"""What the agent of a running task does at this moment, told from the end of its transcript: cheap enough to ask for every task each second."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from . import locks, states
from .events import ThreadStarted, Turn, parse_event

_TAIL = 1 << 16  # bytes of a transcript's end that are read
_HEAD = 1 << 12

CLOSING = "closing the session"
"""What is said when Codex is gone and the checks run, or the commit is made."""


@dataclass(frozen=True)
class Activity:
    """`session`: its number; `began`: when it began; `action`: what the agent does, in foreign words; `since`: when that began. Times: epoch seconds."""

    session: int
    began: float
    action: str
    since: float


def now(directory: Path) -> Activity | None:
    """The activity of the task with this local folder; None when no session is at work. Never raises."""
    word = states.read_word(states.at_work_file(str(directory)))
    if word is None or word[0] != states.RUNNING or not word[3].removeprefix("session ").isdecimal():
        return None
    number = int(word[3].removeprefix("session "))
    turn, since = Turn(), word[1]
    try:
        with open(transcript(directory, number), "rb") as file:
            status = os.fstat(file.fileno())
            start = max(0, status.st_size - _TAIL)
            file.seek(start)
            lines = file.read(_TAIL).split(b"\n")
    except OSError:
        return Activity(number, word[1], turn.last_action, since)
    for line in lines[1:] if start else lines:
        event = parse_event(line)
        if isinstance(event, ThreadStarted):
            turn = Turn()
        if event is not None:
            turn.feed(event)
    if status.st_mtime >= word[1] - 1:  # what is at work began with the newest event; the word's time is a rounded one
        since = max(word[1], status.st_mtime)
    else:  # an earlier attempt wrote it
        turn = Turn()
    return Activity(number, word[1], CLOSING if turn.ended else turn.last_action, since)


def transcript(directory: Path, session: int) -> Path:
    return directory / "sessions" / f"{session:03}.jsonl"


def is_agent(directory: Path, thread: str) -> bool:
    """Whether the Codex thread with this id is the agent that works on the task with this folder now."""
    activity = now(directory)
    if activity is None or not locks.is_held(str(directory / "agent.lock")):
        return False
    try:
        with open(transcript(directory, activity.session), "rb") as file:
            head = file.read(_HEAD)
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = [*head.split(b"\n"), *file.read(_TAIL).split(b"\n")]
    except OSError:
        return False
    return any(parse_event(line) == ThreadStarted(thread) for line in lines)
