"""Conflicts ahead, as they were found last: what `list` shows without asking git. forecast.py finds them.

`<common git dir>/autonomous/cache/forecast` has one line for each task that was looked at, and one for each conflict, their fields separated by tabs::

    T <task> <tip> <base> <the base's tip>
    C <task> <other task, or nothing for the base> <file> <file> ...

Two tasks without a line C were found to fit. What was found holds as long as the tips do. Light on purpose (no dataclasses, typing or re): `list` imports this.
"""

from __future__ import annotations

import os

FILE = os.path.join("autonomous", "cache", "forecast")
UNKNOWN = "?"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Tips = dict[str, tuple[str, str, str]]
    Found = dict[tuple[str, str], list[str]]


def read(common_dir: str) -> tuple[Tips, Found]:
    """(task: its tip, its base, the base's tip; (task, other): the conflicting files). The base's conflict has "" for the other."""
    tips: Tips = {}
    found: Found = {}
    try:
        with open(os.path.join(common_dir, FILE), encoding="utf-8", errors="replace") as file:
            for line in file:
                kind, *fields = line.rstrip("\n").split("\t")
                if kind == "T" and len(fields) == 4:
                    tips[fields[0]] = (fields[1], fields[2], fields[3])
                elif kind == "C" and len(fields) > 2:
                    found[fields[0], fields[1]] = fields[2:]
    except OSError:
        pass
    return tips, found


def counts(task: dict[str, Any]) -> bool:
    """Whether a task has something that could conflict: it is neither merged nor broken, and a session has been at work."""
    return bool(task["sessions"]) and task["state"] not in ("merged", "broken") and bool(task["base"])


def add(tasks: list[dict[str, Any]], common_dir: str, tip_of: Callable[[str], str | None]) -> None:
    """Give each task its `conflicts`: names of its base and of other tasks, with "?" where something may have changed since; None for one that was never looked at.

    `tip_of`: the commit of a full ref name, None when it is gone.
    """
    tips, found = read(common_dir)
    if not tips or not tasks:
        return
    prefix = str(tasks[0]["branch"])[: -len(tasks[0]["name"])]
    present = {str(task["name"]): task for task in tasks}
    now = {name: (str(task["tip"]), str(task["base"])) for name, task in present.items() if counts(task)}
    for name, (_, base, _) in tips.items():
        # A listing of one task alone does not have the others.
        if name not in present and (tip := tip_of(f"refs/heads/{prefix}{name}")) is not None:
            now[name] = (tip, base)
    moved = {name for name, (tip, _) in now.items() if tips.get(name, ("",))[0] != tip}
    bases_of_moved = {now[name][1] for name in moved}
    with_others: dict[str, list[str]] = {}
    for first, second in found:
        if second and first in now and second in now and not moved.intersection((first, second)):
            with_others.setdefault(first, []).append(second)
            with_others.setdefault(second, []).append(first)
    bases: dict[str, str | None] = {}
    for task in tasks:
        name, base = str(task["name"]), str(task["base"])
        if name not in tips or name not in now:
            continue
        if name in moved:
            task["conflicts"] = [UNKNOWN]
            continue
        if base not in bases:
            bases[base] = tip_of(f"refs/heads/{base}") or tip_of(f"refs/remotes/{base}")
        base_moved = tips[name][1:] != (base, bases[base])
        names = [base] if not base_moved and (name, "") in found else []
        names += sorted(with_others.get(name, ()))
        if base_moved or base in bases_of_moved:
            names.append(UNKNOWN)
        task["conflicts"] = names
