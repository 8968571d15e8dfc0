"""task_list.md: read it, and hold the agent to what it may change. Text in, values out; no text raises an error.

Items are the entries with a checkbox (`- [ ]`, also `*`, `+`, `1.`, `1)`) in every section `## Tasks`, nested ones
included; section names are compared without case. An item's text ends where its notes begin: `(blocked: why)` or
`(skipped: why)` at the end of its line. Two texts are the same when they agree after Unicode normalisation (NFC) and
with every run of white space taken as one space; the bytes that a person wrote stay as they are.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from . import markdown

NOTE_LIMIT = 300
"""Characters of a note that are taken over from the agent."""

PROPOSED_LIMIT = 64 * 1024
"""Bytes (UTF-8) of a Proposed section that are taken over from the agent."""

_SENTENCES = 20
_QUOTED = 100
_NORMALISED = 500
_ALIKE = 2 / 3
_NOTE = re.compile(r"\((?:blocked|skipped):", re.IGNORECASE | re.ASCII)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Item:
    """One checkbox: `text` without box, notes and surrounding space; `line` counts from 0.

    `note` is the last note without its parentheses ("blocked: no docker"). `phase` is the nearest heading below
    `## Tasks`. `depth` is the number of list entries around it. `details` are the further lines that belong to it,
    stripped, without blank lines and comments.
    """

    text: str
    done: bool
    note: str | None
    phase: str | None
    depth: int
    line: int
    details: tuple[str, ...]

    @property
    def blocked(self) -> bool:
        return self.note is not None and self.note.lower().startswith("blocked:")

    @property
    def skipped(self) -> bool:
        return self.note is not None and self.note.lower().startswith("skipped:")


@dataclass(frozen=True)
class Checklist:
    """A task list: its items, the texts of its proposed items, and the commands of its `## Checks`."""

    text: str
    items: tuple[Item, ...]
    proposed: tuple[str, ...]
    checks: tuple[str, ...]
    has_tasks_section: bool

    @property
    def total(self) -> int:
        return len(self.items)

    @property
    def done(self) -> int:
        return sum(item.done for item in self.items)

    @property
    def open_items(self) -> tuple[Item, ...]:
        return tuple(item for item in self.items if not item.done)

    @property
    def finished(self) -> bool:
        """There is at least one item, and every item is ticked."""
        return self.total > 0 and not self.open_items

    @property
    def stuck(self) -> bool:
        """There are open items, and each is blocked or skipped."""
        return bool(self.open_items) and all(item.blocked or item.skipped for item in self.open_items)


@dataclass(frozen=True)
class Enforced:
    """The list that counts after a session.

    `restored` says in short sentences what the agent had changed without the right to and was put back. `ticked` and
    `unticked` are the items of `text` whose box differs from the list before.
    """

    text: str
    restored: tuple[str, ...]
    ticked: tuple[Item, ...]
    unticked: tuple[Item, ...]


def parse(text: str) -> Checklist:
    """Read a task list. Commands come from all fenced code blocks of `## Checks`: one a line, blank and `#` lines
    dropped, lines that end in a backslash joined with the next. Proposed items are the outermost list entries of
    `## Proposed`, with a checkbox or without."""
    source = _read(text)
    document = source.document
    commands = [c for part in source.checks for code in document.codes_in(part) for c in _commands(code.content)]
    proposed = [_text(document.lines[entry.line], entry)[0] for entry in source.proposals]
    return Checklist(text, tuple(row.item for row in source.rows), tuple(proposed), tuple(commands), bool(source.tasks))


def enforce(before: str, after: str | None) -> Enforced:
    """Take over from `after` what an agent may change in `before`: ticks, notes, and the body of `## Proposed`.

    Everything else is `before`, byte for byte. `after` is None when the agent deleted the file. A tick goes where the
    item's text is found; an item whose text was changed keeps its place's tick only when no item was added or removed
    and most of its words are still there. Notes are cut at NOTE_LIMIT, the Proposed section at PROPOSED_LIMIT.
    """
    if after is None:
        return Enforced(before, ("The list had been deleted and was put back.",), (), ())
    old, new = _read(before), _read(after)
    pairs = _pair(old.rows, new.rows)
    lines = list(old.document.lines)
    for mine, its in pairs.items():
        row = old.rows[mine]
        lines[row.item.line] = _marked(lines[row.item.line], row, new.rows[its].item)
    text, proposed = _with_proposed(old, new, lines)
    restored = [*_differences(old, new, pairs), *proposed]
    if len(restored) > _SENTENCES:
        restored[_SENTENCES - 1 :] = [f"And {len(restored) - _SENTENCES + 1} more changes were put back."]
    items = parse(text).items
    changed = [item for item, row in zip(items, old.rows, strict=True) if item.done != row.item.done]
    ticked = tuple(item for item in changed if item.done)
    return Enforced(text, tuple(restored), ticked, tuple(item for item in changed if not item.done))


def accept(text: str, numbers: Sequence[int]) -> str:
    """Move proposed items, counted from 1, with all that belongs to them to the end of `## Tasks`, unticked.

    They stand there in the order of `numbers`. Raises ValueError for a number that is not there or is named twice, for
    a list without that section, and where the rest of the list would read differently without them.
    """
    source = _read(text)
    document, proposals = source.document, source.proposals
    if not source.tasks:
        raise ValueError("the list has no section ## Tasks")
    for number in numbers:
        if not 1 <= number <= len(proposals):
            raise ValueError(f"there is no proposed item {number}")
        if numbers.count(number) > 1:
            raise ValueError(f"proposed item {number} is named twice")
    if not numbers:
        return text
    chosen = [proposals[number - 1] for number in numbers]
    newline = document.newline
    lines = [line if _is_ended(line) else line + newline for line in document.lines]
    moved = [line for entry in chosen for line in _as_item(document, lines, entry)]
    listed = {number for entry in document.entries for number in range(entry.line, entry.last + 1)}
    for entry in chosen:
        rest = [""] * (entry.last - entry.line)
        after_text = entry.line - 1 not in listed and lines[entry.line - 1].strip()
        lines[entry.line : entry.last + 1] = [newline if after_text else "", *rest]
    body = source.tasks[-1].body
    at = max((number + 1 for number in body if document.lines[number].strip()), default=body.start)
    if at - 1 not in listed:
        moved.insert(0, newline)
    if document.closer and body.stop == len(lines):
        moved.insert(0, document.closer + newline)
    if at < len(lines) and lines[at].strip():
        moved.append(newline)
    result = "".join([*lines[:at], *moved, *lines[at:]])
    paths, commands = _shape(_read(result))
    if (paths[: len(source.rows)], commands) != _shape(source):
        raise ValueError("the list reads differently without this item: move it by hand")
    return result


@dataclass(frozen=True)
class _Row:
    """An item with the places in its line where its text and its notes end.

    `key` is what its text is compared by, `path` adds those of the items around it and of its phase.
    """

    item: Item
    entry: markdown.Entry
    end: int
    stop: int
    key: str
    path: tuple[object, ...]


@dataclass(frozen=True)
class _List:
    """A task list with all that it takes to change it."""

    document: markdown.Document
    rows: tuple[_Row, ...]
    proposals: tuple[markdown.Entry, ...]
    tasks: tuple[markdown.Section, ...]
    checks: tuple[markdown.Section, ...]
    proposed: tuple[markdown.Section, ...]


@lru_cache(maxsize=2)
def _read(text: str) -> _List:
    """A list in its parts, which nobody changes: a runner asks nine times a session for that before it and that after it."""
    document = markdown.read(text)
    tasks, checks, proposed = (document.sections(title) for title in ("Tasks", "Checks", "Proposed"))
    paths: dict[int, tuple[object, ...]] = {}
    rows = [
        _row(document, entry, paths) for part in tasks for entry in document.entries_in(part) if entry.box is not None
    ]
    proposals = [entry for part in proposed for entry in document.entries_in(part) if entry.depth == 0]
    return _List(document, tuple(rows), tuple(proposals), tasks, checks, proposed)


def _row(document: markdown.Document, entry: markdown.Entry, paths: dict[int, tuple[object, ...]]) -> _Row:
    line = document.lines[entry.line]
    text, note, stop = _text(line, entry)
    phase = entry.heading.title if entry.heading is not None and entry.heading.level > 2 else None
    details = tuple(document.lines[number].strip() for number in entry.details)
    item = Item(text, line[entry.box or 0] != " ", note, phase, entry.depth, entry.line, details)
    key = _key(item.text)
    around = paths[entry.parent.line] if entry.parent is not None else (_key(phase or ""),)
    paths[entry.line] = (around, key)
    return _Row(item, entry, entry.start + len(text), stop, key, paths[entry.line])


def _text(line: str, entry: markdown.Entry) -> tuple[str, str | None, int]:
    """An entry's text, its last note, and the place in the line where the notes end."""
    rest = line[entry.start :].rstrip()
    end, note = _split_note(rest, 1)
    return rest[:end], note, entry.start + len(rest)


def _split_note(text: str, least: int) -> tuple[int, str | None]:
    """Where the text before the notes at its end stops, and the last note; `least` characters are never a note."""
    end, note = len(text), None
    for opening in reversed([*_NOTE.finditer(text)]):
        if text[end - 1] != ")":
            break
        before = opening.start()
        while before and text[before - 1].isspace():
            before -= 1
        if before < least:
            break
        note = note or " ".join(text[opening.start() + 1 : end - 1].split())
        end = before
    return end, note


def _key(text: str) -> str:
    """What texts are compared by. Normalising a long run of combining marks takes quadratic time: no text that a
    person would write is as long as the limit."""
    key = " ".join(text.split())
    return unicodedata.normalize("NFC", key) if len(key) <= _NORMALISED else key


def _commands(lines: Sequence[str]) -> Iterator[str]:
    parts: list[str] = []
    for line in [*lines, ""]:
        if not parts and line.lstrip().startswith("#"):
            continue
        goes_on = (len(line) - len(line.rstrip("\\"))) % 2 == 1
        parts.append(line[:-1] if goes_on else line)
        if not goes_on:
            if command := "".join(parts).strip():
                yield command
            parts = []


def _pair(old: Sequence[_Row], new: Sequence[_Row]) -> dict[int, int]:
    """Which item is which, as indices in `old` and `new`: by text and surroundings, by text, by place when safe.

    Of several items with the same text the order decides, unless one of them is gone: then nobody knows which.
    """
    pairs: dict[int, int] = {}
    for by_path in (True, False):
        taken = set(pairs.values())
        mine, its = defaultdict[object, list[int]](list), defaultdict[object, list[int]](list)
        for groups, rows, known in ((mine, old, pairs.keys()), (its, new, taken)):
            for number, row in enumerate(rows):
                if number not in known:
                    groups[row.path if by_path else row.key].append(number)
        for key, numbers in mine.items():
            if len(its[key]) >= len(numbers):
                pairs.update(zip(numbers, its[key], strict=False))
    if len(old) == len(new):
        taken = set(pairs.values())
        for number, (row, other) in enumerate(zip(old, new, strict=True)):
            if number not in pairs and number not in taken and _alike(row, other):
                pairs[number] = number
    return dict(sorted(pairs.items()))


def _alike(row: _Row, other: _Row) -> bool:
    words = set(_WORD.findall(row.key.lower()))
    left = words.intersection(_WORD.findall(other.key.lower()))
    return row.item.depth == other.item.depth and bool(words) and len(left) >= _ALIKE * len(words)


def _marked(line: str, row: _Row, now: Item) -> str:
    """The item's line with the box and the note that it has `now`."""
    box, was = row.entry.box or 0, row.item
    mark = line[box] if now.done == was.done else "x" if now.done else " "
    note = now.note
    for detail in now.details:
        below = _split_note(detail, 0)[1]
        if below is not None and detail not in was.details:
            note = below
    notes = line[row.end : row.stop]
    if _cut_note(note) != _cut_note(was.note):
        notes = f" ({_cut_note(note)})" if note is not None else ""
    return line[:box] + mark + line[box + 1 : row.end] + notes + line[row.stop :]


def _cut_note(note: str | None) -> str | None:
    return note if note is None or len(note) <= NOTE_LIMIT else note[: NOTE_LIMIT - 1].rstrip() + "…"


def _with_proposed(old: _List, new: _List, lines: list[str]) -> tuple[str, list[str]]:
    """The list made of `lines`, with the bodies of `## Proposed` as they are in `new`, and what was not taken over.

    A body that would hide what follows it, as with a fence that is never closed, is not taken over.
    """
    text, newline = "".join(lines), old.document.newline
    own, bodies = _bodies(old, newline), _bodies(new, newline)
    current = [_cut_body(body, newline) for body in own]
    added = [body for body in bodies[len(own) :] if body]
    wanted = bodies[: len(own)] + own[len(bodies) :]
    if added:
        wanted[-1:] = [(newline * 2).join(body for body in [*wanted[-1:], *added] if body)]
    target = [_cut_body(body, newline) for body in wanted]
    if target == current:
        return text, []
    if not old.proposed:
        start = "" if _is_ended(text) else newline
        lines = [*lines, f"{start}{newline}## Proposed{newline}{newline}{target[0]}{newline}"]
    for section, body, now in reversed([*zip(old.proposed, target, current, strict=False)]):
        if body != now:
            start = "" if _is_ended(lines[section.body.start - 1]) else newline
            end = newline if section.body.stop < len(old.document.lines) else ""
            lines[section.body.start : section.body.stop] = [f"{start}{newline}{body}{newline}{end}" if body else end]
    result = _read("".join(lines))
    if _shape(result) != _shape(old) or _bodies(result, newline) != target:
        return text, ["The Proposed section was not taken over: it would have hidden other parts of the list."]
    cut = [f"The Proposed section was cut to {PROPOSED_LIMIT // 1024} KiB."] if target != wanted else []
    return "".join(lines), cut


def _bodies(source: _List, newline: str) -> list[str]:
    """The bodies of `## Proposed` with one kind of line ending, without the blank lines around them."""
    bodies = []
    for section in source.proposed:
        lines = [line.rstrip("\r\n") for line in source.document.lines[section.body.start : section.body.stop]]
        full = [number for number, line in enumerate(lines) if line.strip()]
        bodies.append(newline.join(lines[full[0] : full[-1] + 1]) if full else "")
    return bodies


def _cut_body(body: str, newline: str) -> str:
    data = body.encode("utf-8", "replace")
    if len(data) <= PROPOSED_LIMIT:
        return body
    cut = data[:PROPOSED_LIMIT].decode("utf-8", "ignore")
    return (cut[: cut.rfind(newline)] if newline in cut else cut).rstrip()


def _shape(source: _List) -> tuple[list[tuple[object, ...]], list[list[str]]]:
    """What no session may change."""
    return [row.path for row in source.rows], _check_lines(source)


def _differences(old: _List, new: _List, pairs: Mapping[int, int]) -> Iterator[str]:
    """What differs and is not the agent's to change, one sentence each."""
    if old.rows and not new.rows:
        yield "All items had been removed and were put back."
    else:
        for number, row in enumerate(old.rows):
            if number not in pairs:
                yield f"Item {number + 1} was missing and was put back: {_quoted(row)}."
    for mine, its in pairs.items():
        row, other = old.rows[mine], new.rows[its]
        if row.key != other.key:
            yield f"Item {mine + 1} had been reworded, its text was put back: {_quoted(row)}."
        if _kept_details(row) != _kept_details(other):
            yield f"The lines below item {mine + 1} were put back."
    for number in sorted(set(range(len(new.rows))) - set(pairs.values())):
        yield f"An item had been added and was taken out: {_quoted(new.rows[number])}."
    order = [*pairs.values()]
    places = [(old.rows[mine], new.rows[its]) for mine, its in pairs.items()]
    if order != sorted(order) or any(_place(row) != _place(other) for row, other in places):
        yield "The order and nesting of the items were put back."
    if _check_lines(old) != _check_lines(new):
        yield "The checks were put back."
    if _frame(old) != _frame(new):
        yield "The text around the items was put back."


def _quoted(row: _Row) -> str:
    text = " ".join(row.item.text[: 2 * _QUOTED].split())
    return f'"{text}"' if len(text) <= _QUOTED else f'"{text[: _QUOTED - 1]}…"'


def _place(row: _Row) -> tuple[int, str]:
    return row.item.depth, _key(row.item.phase or "")


def _kept_details(row: _Row) -> list[str]:
    kept = (detail[: _split_note(detail, 0)[0]].rstrip(" -*+") for detail in row.item.details)
    return [detail for detail in kept if detail]


def _frame(source: _List) -> list[str]:
    """The lines that are neither items nor belong to one, to the checks or to the proposed items."""
    elsewhere = {number for row in source.rows for number in (row.entry.line, *row.entry.details)}
    for section in (*source.checks, *source.proposed):
        elsewhere.update(range(section.heading.first, section.body.stop))
    return [
        line.rstrip() for number, line in enumerate(source.document.lines) if line.strip() and number not in elsewhere
    ]


def _check_lines(source: _List) -> list[list[str]]:
    bodies = [source.document.lines[part.body.start : part.body.stop] for part in source.checks]
    return [[line.rstrip() for line in body if line.strip()] for body in bodies]


def _is_ended(line: str) -> bool:
    return line.endswith(("\n", "\r"))


def _as_item(document: markdown.Document, lines: Sequence[str], entry: markdown.Entry) -> Iterator[str]:
    """The lines of a proposed entry as those of an unticked item at the left margin.

    A line left of the entry's column only continues a paragraph; moved further in, it cannot become anything else.
    """
    yield "- [ ] " + lines[entry.line][entry.start :]
    boxes = {other.line: other.box for other in document.entries if other.box is not None}
    for number in range(entry.line + 1, entry.last + 1):
        line, box = lines[number], boxes.get(number)
        if box is not None:
            line = line[:box] + " " + line[box + 1 :]
        rest = line.lstrip(" \t")
        indent = len(line[: len(line) - len(rest)].expandtabs(4))
        if entry.column != 2 and rest.strip():
            line = " " * (indent - entry.column + 2 if indent >= entry.column else 6) + rest
        yield line
