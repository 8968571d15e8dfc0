"""The two tracking files never conflict: what one side did to a task's list and notes goes onto the other side. Pure.

Both functions take the texts of three commits, as a merge does, and give `theirs` with what `ours` changed since `base`. Where both sides changed the same thing, `theirs`
stays. So a session is taken out of a branch by merging each later session (`theirs`, its parent is `base`) onto the history without it (`ours`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from functools import lru_cache

from . import checklist, markdown
from .checklist import Checklist, Item

LONGEST = 2000
"""Lines on either side, equal ends aside, that are compared line by line: the comparison takes quadratic time, and an agent writes these files."""

Key = tuple[str | None, str, int]
_SECTION = re.compile(r"^(?=## )", re.MULTILINE)

_BOX = re.compile(r"[ \t]*(?:[-*+]|[0-9]{1,9}[.)])[ \t]+\[[ xX]\][ \t]")

parse = lru_cache(maxsize=16)(checklist.parse)
"""checklist.parse, with the last few lists remembered: a history is merged step by step, and the lists of one step come again in the next."""

_read = lru_cache(maxsize=8)(markdown.read)


def merge_list(base: str, ours: str, theirs: str) -> str:
    """task_list.md: the items and everything around them are those of `theirs`; ticks, notes and proposed items are merged one by one."""
    if base == ours:
        return theirs
    if base == theirs:
        return ours
    simple = _by_lines(base, ours, theirs)
    if simple is not None:
        return simple
    old, mine = by_identity(parse(base)), by_identity(parse(ours))
    document = _read(theirs)
    boxes = {entry.line: entry for entry in document.entries if entry.box is not None}
    lines = list(document.lines)
    for key, item in by_identity(parse(theirs)).items():
        was, now = old.get(key), mine.get(key)
        if was is not None and now is not None:
            done = now.done if item.done == was.done else item.done
            note = now.note if item.note == was.note else item.note
            if (done, note) != (item.done, item.note):
                lines[item.line] = _marked(lines[item.line], boxes[item.line], item, done, note)
    marked = "".join(lines)
    proposed = _with_proposed(base, ours, theirs, lines)
    return proposed if proposed == marked or _same_items(proposed, marked) else marked


def merge_notes(base: str, ours: str, theirs: str) -> str:
    """progress.md, section by section: an entry that `ours` took out is gone, the others stay."""
    if base == ours:
        return theirs
    if base == theirs:
        return ours
    old, mine, its = (_sections(text) for text in (base, ours, theirs))
    kept: list[tuple[tuple[str, int], str]] = []
    for key, text in its.items():
        was, now = old.get(key), mine.get(key)
        if was is None or _alike(was, now):
            kept.append((key, text))
        elif now is not None:
            kept.append((key, merge_text(was, now, text)))
        elif not _alike(was, text):
            kept.append((key, text))
    for key in [key for key in mine if key not in old and key not in its]:
        order = list(mine)
        above = set(order[: order.index(key)])
        at = max((number + 1 for number, (other, _) in enumerate(kept) if other in above), default=0)
        kept.insert(at, (key, mine[key]))
    texts = [text for _, text in kept if text]
    return "".join(text if text.endswith("\n") else text + "\n" for text in texts[:-1]) + "".join(texts[-1:])


def merge_text(base: str, ours: str, theirs: str) -> str:
    """`theirs` with the lines that `ours` changed since `base`."""
    if base == ours:
        return theirs
    if base == theirs:
        return ours
    return "".join(merge_lines(*(text.splitlines(keepends=True) for text in (base, ours, theirs))))


def merge_lines(base: Sequence[str], ours: Sequence[str], theirs: Sequence[str]) -> list[str]:
    """Each run of lines that `ours` replaced in `base` is replaced in `theirs` where it still stands there as it was, with its neighbours in order."""
    place: dict[int, int] = {}
    for tag, first, last, other, _ in _differences(base, theirs):
        if tag == "equal":
            place.update((first + step, other + step) for step in range(last - first))
    merged = list(theirs)
    for tag, first, last, start, stop in reversed(_differences(base, ours)):
        if tag == "equal":
            continue
        here = [place.get(line) for line in range(first, last)]
        at = here[0] if here else _between(place, first, bool(base))
        if at is not None and here == list(range(at, at + len(here))):
            merged[at : at + len(here)] = ours[start:stop]
    return merged


def _between(place: Mapping[int, int], line: int, any_lines: bool) -> int | None:
    """Where something goes that stands before `line` of the base; None when neither neighbour is left."""
    if line - 1 in place:
        return place[line - 1] + 1
    return place.get(line) if any_lines else 0


def _by_lines(base: str, ours: str, theirs: str) -> str | None:
    """The merged list where only lines with a box differ, and no line on both sides: as exact as item by item, and a hundred times as fast. Else None."""
    was, mine, its = (text.split("\n") for text in (base, ours, theirs))
    if not len(was) == len(mine) == len(its):
        return None
    for number, (old, our, their) in enumerate(zip(was, mine, its, strict=True)):
        if old != our:
            if their != old or not (_BOX.match(old) and _BOX.match(our)):
                return None
            its[number] = our
        elif old != their and not (_BOX.match(old) and _BOX.match(their)):
            return None
    return "\n".join(its)


def _differences(first: Sequence[str], second: Sequence[str]) -> list[tuple[str, int, int, int, int]]:
    """As SequenceMatcher.get_opcodes; equal beginnings and ends are taken off first, and what is too long is one replacement."""
    head = 0
    while head < min(len(first), len(second)) and first[head] == second[head]:
        head += 1
    tail = 0
    while tail < min(len(first), len(second)) - head and first[-1 - tail] == second[-1 - tail]:
        tail += 1
    left, right = first[head : len(first) - tail], second[head : len(second) - tail]
    codes: list[tuple[str, int, int, int, int]] = [("equal", 0, head, 0, head)] if head else []
    if max(len(left), len(right)) > LONGEST:
        codes.append(("replace", head, head + len(left), head, head + len(right)))
    else:
        for tag, i1, i2, j1, j2 in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
            codes.append((tag, head + i1, head + i2, head + j1, head + j2))
    if tail:
        codes.append(("equal", len(first) - tail, len(first), len(second) - tail, len(second)))
    return codes


def by_identity(listed: Checklist) -> dict[Key, Item]:
    """The items by what identifies them: phase, text, and the how-manyth of its kind."""
    found: dict[Key, Item] = {}
    seen: dict[tuple[str | None, str], int] = {}
    for item in listed.items:
        name = (item.phase, " ".join(item.text.split()))
        number = seen[name] = seen.get(name, 0) + 1
        found[(*name, number)] = item
    return found


def _marked(line: str, entry: markdown.Entry, item: Item, done: bool, note: str | None) -> str:
    """The item's line with this box and note."""
    assert entry.box is not None
    box = line[entry.box] if done == item.done else "x" if done else " "
    text = line[entry.box + 1 : entry.start + len(item.text)]
    rest = line[entry.start + len(item.text) :]
    if note != item.note:
        rest = (f" ({note})" if note is not None else "") + rest[len(rest.rstrip()) :]
    return line[: entry.box] + box + text + rest


def _with_proposed(base: str, ours: str, theirs: str, lines: list[str]) -> str:
    """`lines` of `theirs` with what `ours` did to the body of `## Proposed`, where there is one of it on each side."""
    documents = [_read(text) for text in (base, ours, theirs)]
    sections = [document.sections("Proposed") for document in documents]
    if any(len(found) != 1 for found in sections):
        return "".join(lines)
    bodies = [
        document.lines[found[0].body.start : found[0].body.stop]
        for document, found in zip(documents, sections, strict=True)
    ]
    body = sections[2][0].body
    return "".join([*lines[: body.start], *merge_lines(*bodies), *lines[body.stop :]])


def _alike(first: str, second: str | None) -> bool:
    """Whether two sections are the same but for empty lines at their ends."""
    return second is not None and first.rstrip("\n") == second.rstrip("\n")


def _same_items(first: str, second: str) -> bool:
    """Whether the items and the checks of two lists read the same."""
    one, other = checklist.parse(first), checklist.parse(second)
    marks = [
        [(item.phase, item.text, item.done, item.note, item.depth) for item in listed.items] for listed in (one, other)
    ]
    return marks[0] == marks[1] and one.checks == other.checks


def _sections(text: str) -> dict[tuple[str, int], str]:
    """A text cut before each `## ` heading, by heading and how-manyth of its kind; what stands above the first is named ""."""
    found: dict[tuple[str, int], str] = {}
    seen: dict[str, int] = {}
    for part in _SECTION.split(text):
        name = part.partition("\n")[0].strip() if part.startswith("## ") else ""
        number = seen[name] = seen.get(name, 0) + 1
        found[name, number] = part
    return found
