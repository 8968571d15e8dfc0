"""What an agent is told: templates filled in for one session, and the entries of progress.md. Pure.

In a template, `{{goal}}` stands for a value. What is between `{{#checks}}` and `{{/checks}}` stays only where that value
is not empty, what is between `{{^checks}}` and `{{/checks}}` only where it is; a tag of that kind alone on its line takes
the whole line. Values go in as they are: nothing in them is ever taken for a placeholder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .checklist import Item
from .errors import AutonomousError

SEED = """\
# Progress

## How to work here

Nobody has written down yet how to set up, build, test and run.

## Decisions

None yet.

## Surprises

None yet.

## Known problems

None yet.
"""
"""progress.md where no agent has begun it."""

# What a prompt quotes is cut, so that there is room for the longest goal (model.GOAL_LIMIT) in what Codex takes.
_TEXT = 500
_ROWS = 10
_COMMANDS = 20
_TAIL = 4000
_TAILS = 3

_TAG = re.compile(r"^[ \t]*\{\{([#^/])([^{}\n]*)\}\}[ \t]*(?:\r?\n|\Z)|\{\{([#^/]?)([^{}\n]*)\}\}", re.MULTILINE)
_ENTRY = re.compile(r"^ {0,3}#{1,4}[ \t]+Session[ \t]+#?([0-9]{1,9})\b", re.MULTILINE | re.IGNORECASE)
_PART = re.compile(r"^##[ \t]", re.MULTILINE)


@dataclass(frozen=True)
class Brief:
    """What a prompt says about the task.

    `directory` is where the task's files are, seen from the worktree. `next_items` are the next open items, `blocked`
    those that were set aside. `failing_checks` are commands with the end of their output. `restored` are edits of the
    list that were put back, `background` commands that still ran when the last session ended. `interrupted` says how
    that session ended, None when it was completed. `limits` is a phrase without a full stop, "" for none.
    """

    goal: str
    task: str
    directory: str
    session: int
    done: int
    total: int
    next_items: tuple[Item, ...]
    last_entry: str
    failing_checks: tuple[tuple[str, str], ...]
    checks: tuple[str, ...]
    restored: tuple[str, ...]
    blocked: tuple[Item, ...]
    background: tuple[str, ...]
    interrupted: str | None
    limits: str


def initializer(template: str, brief: Brief, shape: str) -> str:
    """The prompt of the session that writes the list; `shape` shows what a list looks like. Raises as `render`."""
    return render(template, {**_values(brief), "shape": shape.strip("\n")}, "initializer.md")


def executor(template: str, brief: Brief) -> str:
    """The prompt of a session that works the list off. Raises as `render`."""
    return render(template, _values(brief), "executor.md")


def render(template: str, values: Mapping[str, str], name: str) -> str:
    """The template filled in. Raises AutonomousError, which names the template, for a placeholder that is not in
    `values` and for a section that is not closed."""
    parts: list[str] = []
    sections: list[tuple[str, bool]] = []
    position = 0
    for tag in _TAG.finditer(template):
        shown = all(stays for _, stays in sections)
        if shown:
            parts.append(template[position : tag.start()])
        position = tag.end()
        kind, key = tag[1] or tag[3], (tag[2] or tag[4] or "").strip()
        if key not in values:
            raise _broken(name, f"has an unknown placeholder {tag[0].strip()}", values)
        if kind == "/":
            if not sections or sections.pop()[0] != key:
                raise _broken(name, f"closes a section that is not open with {tag[0].strip()}", values)
        elif kind:
            sections.append((key, (kind == "#") == bool(values[key])))
        elif shown:
            parts.append(values[key])
    if sections:
        raise _broken(name, f"does not close its section {sections[-1][0]}", values)
    return "".join([*parts, template[position:]]).strip() + "\n"


def _broken(name: str, problem: str, values: Mapping[str, str]) -> AutonomousError:
    hint = f"git config --unset autonomous.templates    # or mend it; known are {', '.join(sorted(values))}"
    return AutonomousError(f"the template {name} {problem}", hint)


def _values(brief: Brief) -> dict[str, str]:
    failing = [
        f"$ {_cut(command)}\n{tail.strip()[-_TAIL:] if number < _TAILS else ''}".rstrip()
        for number, (command, tail) in enumerate(brief.failing_checks[:_COMMANDS])
    ]
    return {
        "goal": brief.goal,
        "task": brief.task,
        "directory": brief.directory,
        "session": str(brief.session),
        "done": str(brief.done),
        "total": str(brief.total),
        "next_items": "\n".join(_item(item) for item in brief.next_items),
        "last_entry": _indented("> ", brief.last_entry.strip()),
        "failing_checks": "\n\n".join(_indented("    ", output) for output in failing),
        "checks": "\n".join(_indented("    ", _cut(command)) for command in brief.checks[:_COMMANDS]),
        "restored": _bullets(brief.restored),
        "blocked": _bullets(f"{_cut(item.text)} ({item.note})" if item.note else item.text for item in brief.blocked),
        "background": _bullets(brief.background),
        "interrupted": _cut(brief.interrupted or ""),
        "limits": brief.limits,
        "all_ticked": "yes" if brief.total and brief.done == brief.total else "",
    }


def _item(item: Item) -> str:
    return "\n".join([f"- {_cut(item.text)}", *(f"  {_cut(line)}" for line in item.details[:_ROWS])])


def _bullets(texts: Iterable[str]) -> str:
    lines = [f"- {_cut(' '.join(text.split()))}" for text in texts]
    more = [f"- and {len(lines) - _ROWS} more"] if len(lines) > _ROWS else []
    return "\n".join([*lines[:_ROWS], *more])


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT else text[: _TEXT - 1] + "…"


def _indented(by: str, text: str) -> str:
    return "\n".join((by + line).rstrip() for line in text.split("\n")) if text else ""


def last_entry(progress: str, limit: int = 4000) -> str:
    """The `## Session` entry of progress.md with the highest number (of several the last), at most `limit` characters
    from its two ends; "" where there is none."""
    starts = [(int(entry[1]), entry.start()) for entry in _ENTRY.finditer(progress)]
    entry = _entry(progress, max(starts)[1]) if starts else ""
    if len(entry) <= limit:
        return entry
    gap = "\n[…]\n"
    tail = (limit - len(gap)) // 3
    return entry[: limit - len(gap) - tail] + gap + entry[-tail:]


def ensure_entry(progress: str | None, before: str | None, *, session: int, lines: Sequence[str]) -> str:
    """progress.md with an entry for this session: the agent's where it wrote one, else one made of `lines`.

    `progress` is the file as the session left it, `before` as the session found it, None where there was none. A file
    that was deleted or emptied comes back. Doing it twice adds nothing.
    """
    text = progress if progress and progress.strip() else before or SEED
    before = before or ""
    found = [*_ENTRY.finditer(text)]
    own = [_entry(text, entry.start()) for entry in found if int(entry[1]) == session]
    if len(found) > len(_ENTRY.findall(before)) or any(entry not in before for entry in own):
        return text
    newline = "\r\n" if text.partition("\n")[0].endswith("\r") else "\n"
    added = [f"## Session {session}", "", *(f"- {' '.join(line.split())}" for line in lines)]
    return newline.join([text.rstrip("\r\n"), "", *added, ""])


def _entry(progress: str, start: int) -> str:
    """The entry that begins at `start`: up to the next one, or the next part of the notes."""
    ends = [found.start() for pattern in (_ENTRY, _PART) if (found := pattern.search(progress, start + 1))]
    return progress[start : min(ends, default=len(progress))].strip()
