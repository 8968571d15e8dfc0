"""Watching a task that another process runs: what its journal and its transcript tell, on a screen of one's own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

from . import activity, checklist, model, states, stopping
from .events import parse_event
from .journal import Record
from .objects import Objects
from .screen import Screen
from .supervision import Lines

POLL = 0.1
"""Seconds between two looks."""


class Watcher:
    """Shows one task's sessions on `screen`, from the one at work on. `directory`: its local folder; `root`: its worktree, or ""."""

    def __init__(self, objects: Objects, name: str, directory: Path, root: str, screen: Screen) -> None:
        self._objects = objects
        self._name = name
        self._directory = directory
        self._root = root
        self._screen = screen
        self._why = ""
        self._wait: tuple[float, str] | None = None
        self._word: Record | None = None
        self._events: Lines | None = None

    def watch(self) -> Record | None:
        """Show what happens until nobody works on the task any more, and return the runner's last word; None when it left none.

        A KeyboardInterrupt leaves: the runner does not notice.
        """
        with Lines(self._directory / "journal.jsonl", 0) as lines:
            self._catch_up(lines)
            while stopping.busy(self._directory):
                self._read(lines)
                self._screen.tick()
                if self._wait is not None:
                    until, why = self._wait
                    self._screen.countdown(max(0.0, until - time.time()), why)
                time.sleep(POLL)
            self._read(lines)
        return self._word

    def _catch_up(self, lines: Lines) -> None:
        """Begin with the newest attempt; what was before it is past."""
        records = list(_records(lines))
        newest = max((n for n, record in enumerate(records) if record["event"] == "attempt"), default=len(records))
        if newest == len(records):
            self._screen.note(f"{self._name}: no session has begun yet")
        for record in records[newest:]:
            self._take(record)
        self._word = None  # of an earlier runner: this one is at work

    def _read(self, lines: Lines) -> None:
        # The journal first: what it tells of a session's end was written after the session's last event.
        records = list(_records(lines))
        self._show_events()
        for record in records:
            self._take(record)

    def _take(self, record: Record) -> None:
        match record["event"]:
            case "attempt":
                self._begin(record)
            case "ended":
                self._show_events()
                self._why = record["message"]
                self._screen.note(activity.CLOSING)
            case "result":
                self._end(record)
            case "word" if record["state"] == states.WAITING:
                self._wait = record["until"], record["reason"]
            case "word":
                self._word = record

    def _begin(self, record: Record) -> None:
        self._wait = self._word = None
        tip = record["tip"]
        task = f".autonomous/{self._name}"
        listed = checklist.parse((self._objects.read(tip, f"{task}/task_list.md") or b"").decode("utf-8", "replace"))
        item = next((item.text for item in listed.open_items if not (item.blocked or item.skipped)), "")
        last = model.read_session(self._objects.commit(tip).message, self._name)
        spent = last.all_tokens if last else 0
        self._screen.session(
            record["number"],
            record["role"],
            item,
            listed.done,
            listed.total,
            tokens=spent,
            root=self._root,
            elapsed=max(0.0, time.time() - record["at"]),
        )
        self._events = Lines(activity.transcript(self._directory, record["number"]), record["offset"])

    def _show_events(self) -> None:
        if self._events is None:
            return
        with self._events as lines:
            while True:
                for line in lines.read():
                    event = parse_event(line)
                    if event is not None:
                        self._screen.event(event)
                if lines.at_end:
                    return

    def _end(self, record: Record) -> None:
        self._events = None
        commit = record["commit"]
        session = model.read_session(self._objects.commit(commit).message, self._name) if commit else None
        if session is not None:
            self._screen.closed(model.session_line(session, commit, self._why))
        else:
            self._screen.closed(f"it ended before the agent did anything: {self._why}")


def _records(lines: Lines) -> Iterator[Record]:
    """The journal's records that are new and whole. A damaged line is the runner's business, not a watcher's."""
    while True:
        for line in lines.read():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and "event" in record:
                yield record
        if lines.at_end:
            return
