"""What an agent is told: templates filled in for one session. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .checklist import Item
from .errors import AutonomousError

_ENTRY = re.compile(r"^##\s+Session\b.*$", re.MULTILINE)
_SECTION = re.compile(r"\{\{#(\w+)\}\}(.*?)\{\{/\1\}\}\n?", re.DOTALL)
_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")


@dataclass(frozen=True)
class Brief:
    """What is said about the task in a prompt. `interrupted`: how the last session ended, None when it was completed."""

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
    """The prompt of the session that writes the list; `shape` is the example of a list. Raises AutonomousError for an unknown placeholder."""
    return _fill(template, {**_values(brief), "shape": shape.strip()}, "initializer.md")


def executor(template: str, brief: Brief) -> str:
    """The prompt of a session that works the list off. Raises AutonomousError for an unknown placeholder."""
    return _fill(template, _values(brief), "executor.md")


def _values(brief: Brief) -> dict[str, str]:
    return {
        "goal": brief.goal,
        "task": brief.task,
        "directory": brief.directory,
        "session": str(brief.session),
        "done": str(brief.done),
        "total": str(brief.total),
        "next_items": "\n".join(_item(item) for item in brief.next_items),
        "last_entry": brief.last_entry.strip(),
        "failing_checks": "\n\n".join(f"$ {command}\n{tail.strip()}" for command, tail in brief.failing_checks),
        "checks": "\n".join(f"    {command}" for command in brief.checks),
        "restored": "\n".join(f"- {text}" for text in brief.restored),
        "blocked": "\n".join(_item(item) for item in brief.blocked),
        "background": "\n".join(f"- {command}" for command in brief.background),
        "interrupted": brief.interrupted or "",
        "limits": brief.limits,
        "all_ticked": "yes" if brief.total and brief.done == brief.total else "",
    }


def _item(item: Item) -> str:
    note = f" ({item.note})" if item.note else ""
    return "\n".join([f"- {item.text}{note}", *(f"  {line}" for line in item.details)])


def _fill(template: str, values: Mapping[str, str], name: str) -> str:
    """Fill in one pass, so that nothing in a value is ever taken for a placeholder. `{{#x}}…{{/x}}` vanishes where x is empty."""
    for key in {*_PLACEHOLDER.findall(template), *(match[0] for match in _SECTION.findall(template))}:
        if key not in values:
            raise AutonomousError(
                f"the template {name} has an unknown placeholder {{{{{key}}}}}",
                "git config --unset autonomous.templates    # or use one of: " + ", ".join(sorted(values)),
            )
    kept = _SECTION.sub(lambda match: match[2].lstrip("\n") if values[match[1]] else "", template)
    filled = _PLACEHOLDER.sub(lambda match: values[match[1]], kept)
    return filled.strip() + "\n"


def last_entry(progress: str, limit: int = 4000) -> str:
    """The newest `## Session` entry of progress.md, at most `limit` characters of its beginning; "" where there is none."""
    starts = [match.start() for match in _ENTRY.finditer(progress)]
    return progress[starts[-1] :][:limit].strip() if starts else ""


SEED = "# Progress\n\n## How to work here\n\nNobody has written down yet how to set up, build, test and run.\n\n## Decisions\n"


def ensure_entry(progress: str | None, before: str | None, *, session: int, lines: Sequence[str]) -> str:
    """progress.md with an entry for this session: the agent's where it wrote one, else the runner's `lines`."""
    if (
        progress is not None
        and progress != before
        and len(_ENTRY.findall(progress)) > len(_ENTRY.findall(before or ""))
    ):
        return progress
    text = progress if progress is not None else before if before is not None else SEED
    return text.rstrip("\n") + f"\n\n## Session {session}\n" + "".join(f"{line}\n" for line in lines)
