"""The table of tasks that is drawn again and again, with what each agent does at the moment."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from typing import TextIO

from . import activity, listing, show, states
from .git import Repository

AT_WORK = (states.RUNNING, states.WAITING)


class Table:
    """The tasks of a repository as lines for `stream`. `only`: just these; `colours`: git's color.ui."""

    def __init__(
        self,
        repository: Repository,
        prefix: str,
        stream: TextIO,
        colours: str = "auto",
        only: Collection[str] | None = None,
    ) -> None:
        self._repository = repository
        self._prefix = prefix
        self._colour = show.colour(stream, os.environ, colours)
        self._ascii = not show.unicode(stream)
        self._only = only

    def lines(self, columns: int, rows: int) -> list[str]:
        """At most `rows` - 1 lines of at most `columns` columns; tasks at work come first."""
        now = time.time()
        found = [
            task for task in listing.tasks(str(self._repository.common_dir), self._prefix, now) if self._is_meant(task)
        ]
        if not found:
            return ["No tasks yet."]
        found.sort(key=lambda task: task["state"] not in AT_WORK)
        for task in found:
            self._add_action(task, now)
        text = show.list_table(found, width=columns, colour=self._colour, ascii=self._ascii, now=now)
        lines = text.splitlines()
        if len(lines) < rows:
            return lines
        kept = max(rows - 2, 1)
        return [*lines[:kept], f"and {len(lines) - kept} more"]

    def _is_meant(self, task: listing.Fields) -> bool:
        return self._only is None or task["name"] in self._only

    def _add_action(self, task: listing.Fields, now: float) -> None:
        if task["state"] != states.RUNNING:
            return
        doing = activity.now(self._repository.task_dir(task["name"]))
        if doing is not None:
            task["reason"] = f"session {doing.session}: {doing.action} ({show.duration(now - doing.since)})"
