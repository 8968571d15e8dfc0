"""Telling a person who is not looking: a command of their own, the terminal's bell and its title."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from . import process, show, states
from .model import Next

FINISHED = "finished"
STOPPED = "stopped"
WAITING = "waiting"
NEEDS_PERSON = "needs-person"

NOTICEABLE = 60.0
"""Seconds: a shorter wait is not told."""


@dataclass(frozen=True)
class Notice:
    """What a command is told: as one JSON object on its standard input, and field by field in AUTONOMOUS_EVENT, AUTONOMOUS_TASK and so on.

    `event` is finished, stopped, waiting or needs-person; the rest is as `list` has it.
    """

    event: str
    task: str
    state: str
    reason: str
    done: int
    total: int
    branch: str


def event_of(step: Next) -> str:
    """The event that a decision to stop is."""
    if step.state == states.FINISHED:
        return FINISHED
    return NEEDS_PERSON if step.status else STOPPED


def tell(command: str, notice: Notice, *, cwd: Path, timeout: float, should_stop: Callable[[], bool]) -> str:
    """Run `command` with sh, for at most `timeout` seconds (0: no limit). Returns what went wrong, on one line; "" when nothing did.

    Its variables do not begin with GIT_: it may well call git, or git autonomous.
    """
    variables = {f"AUTONOMOUS_{name.upper()}": str(value) for name, value in asdict(notice).items()}
    try:
        done = process.run(
            ["/bin/sh", "-c", command],
            cwd=cwd,
            env=process.clean_environment(variables),
            input=json.dumps(asdict(notice)).encode() + b"\n",
            timeout=timeout or None,
            limit=4096,
            should_stop=should_stop,
        )
    except (OSError, ValueError) as error:
        return f"the notify command could not be run: {error}"
    if done.timed_out:
        return f"the notify command was ended after {show.duration(timeout)}"
    if done.returncode:
        said = show.one_line(done.stderr.decode("utf-8", "replace"))[-200:]
        return f"the notify command ended with status {done.returncode}" + (f": {said}" if said else "")
    return ""


class Signs:
    """The bell and the title of the terminal that `stream` is; where it is none, nothing happens."""

    def __init__(self, stream: TextIO, *, bell: bool, title: bool) -> None:
        self._stream = stream
        self._bell = bell
        self._title = title
        self._titled = False

    def ring(self) -> None:
        if self._bell:
            self._write("\a")

    def title(self, text: str) -> None:
        """Show `text` as the title of the window; the first time what stood there before is kept."""
        if self._title and os.environ.get("TERM") != "linux":
            keep = "" if self._titled else "\x1b[22;2t"
            self._titled = self._write(f"{keep}\x1b]2;{show.one_line(text)}\a")

    def close(self) -> None:
        """Give the window its old title back."""
        if self._titled:
            self._write("\x1b[23;2t")
            self._titled = False

    def _write(self, sequence: str) -> bool:
        try:
            if not show.terminal(self._stream, os.environ):
                return False
            self._stream.write(sequence)
            self._stream.flush()
        except (OSError, ValueError):  # the terminal is gone, or the stream is closed
            return False
        return True
