"""What the tips of tasks tell, as it was read once: a listing of thousands reads no commit twice. Light on purpose: `list` imports this.

`<common git dir>/autonomous/cache/summaries-1` has a line for each task, its values in the order of KEYS and separated by tabs. That stays true whatever becomes of the
branches: it is about commits. Whoever changes what is read from a commit, or how, gives the file another number.
"""

from __future__ import annotations

import os

from . import cached

FILE = os.path.join("autonomous", "cache", "summaries-1")
KEYS = (
    "name",
    "tip",
    "base",
    "check",
    "thread",
    "updated",
    "done",
    "total",
    "sessions",
    "tokens",
    "stuck",
    "readable",
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Fields = dict[str, Any]


def read(common_dir: str) -> dict[str, Fields]:
    """What is known of each task, by its name; it holds for this very tip."""
    found: dict[str, Fields] = {}
    try:
        with open(os.path.join(common_dir, FILE), encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            for line in file.read().split("\n"):
                fields = line.split("\t")
                if len(fields) == len(KEYS):
                    name, tip, base, check, thread, updated, done, total, sessions, tokens, stuck, readable = fields
                    found[name] = {
                        "name": name,
                        "tip": tip,
                        "base": base or None,
                        "check": check,
                        "thread": thread or None,
                        "updated": int(updated),
                        "done": int(done),
                        "total": int(total),
                        "sessions": int(sessions),
                        "tokens": int(tokens),
                        "stuck": stuck == "1",
                        "readable": readable == "1",
                    }
    except (OSError, ValueError):
        return {}
    return found


def write(common_dir: str, tasks: list[Fields]) -> None:
    """Keep what is known of all tasks."""
    lines = []
    for task in tasks:
        base, thread = task["base"] or "", task["thread"] or ""
        numbers = f"{task['updated']}\t{task['done']}\t{task['total']}\t{task['sessions']}\t{task['tokens']}"
        marks = f"{task['stuck']:d}\t{task['readable']:d}"
        lines.append(f"{task['name']}\t{task['tip']}\t{base}\t{task['check']}\t{thread}\t{numbers}\t{marks}\n")
    cached.write(os.path.join(common_dir, FILE), lines)
