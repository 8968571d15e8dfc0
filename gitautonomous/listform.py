"""What a person's edit must not do to task_list.md: leave nothing in it that can be worked off, or boxes that do not count. Pure.

A person may change a list in every way that leaves it a list. These are the slips after which it is one no more, or has fewer items than it seems to have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from . import checklist, markdown

_CONFLICT = re.compile(r"^(?:<{7}|>{7}|\|{7})(?: |$)", re.MULTILINE)
_ALMOST_BOX = re.compile(r"[ \t]*(?:[-*+]|[0-9]{1,9}[.)])[ \t]*\[[ \t]*[xX✓✔]?[ \t]*\](?![(\[:])")


def problem(before: str, after: str) -> str:
    """What is wrong with a list that was fine until now, in words; "" when nothing is. An empty text stands for no file."""
    worked = checklist.parse(before).total > 0
    if worked and not after:
        return "task_list.md would be gone"
    conflict = _CONFLICT.search(after)
    if conflict and not _CONFLICT.search(before):
        return f"task_list.md has a conflict marker in line {after.count(chr(10), 0, conflict.start()) + 1}"
    listed = checklist.parse(after)
    if worked and not listed.total:
        return "task_list.md would have no items: they are the entries `- [ ] TEXT` below the heading `## Tasks`"
    known = set(before.splitlines())
    for number, line in _almost_items(after, listed):
        if line not in known:
            return f"line {number} of task_list.md would not count as an item; write it as `- [ ] TEXT`: {line.strip()}"
    return ""


def _almost_items(text: str, listed: checklist.Checklist) -> Iterator[tuple[int, str]]:
    """The lines below `## Tasks`, with their numbers from 1, that look like an item to a person and are none."""
    document = markdown.read(text)
    known = {item.line for item in listed.items}
    for section in document.sections("Tasks"):
        for code in document.codes_in(section):
            known.update(range(code.line, code.line + len(code.content) + 1))
        for number in section.body:
            line = document.lines[number].rstrip("\r\n")
            if number not in known and _ALMOST_BOX.match(line):
                yield number + 1, line
