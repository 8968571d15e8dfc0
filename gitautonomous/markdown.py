"""The block structure of a Markdown text: its top-level headings, its list entries, its code.

Blocks are told apart as CommonMark does, so that what GitHub shows as a checkbox is what counts as one: fences and
comments hide what they hold and end with the list entry that they are in, tabs stop at every fourth column, a paragraph
goes on lazily. Left out on purpose: block quotes hold nothing of interest, and of the HTML blocks only those that hide
their text (comments, declarations, `<pre>` and its kind) are known. Time and memory grow with the size of the text.
"""

from __future__ import annotations

import io
import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

_DEEPEST = 100
_ATX = re.compile(r"(#{1,6})(?:[ \t]|\Z)")
_SETEXT = re.compile(r"(?:=+|(-+))[ \t]*\Z")
_FENCE = re.compile(r"(`{3,}+)[^`]*+\Z|(~{3,}+)")
_MARKER = re.compile(r"(?:[-+*]|([0-9]{1,9})[.)])(?=[ \t]|\Z)")
_BOX = re.compile(r"\[([ xX])\][ \t]++(?=\S)")
_HTML = (
    (re.compile(r"<!--"), re.compile(r"-->"), "-->"),
    (re.compile(r"<\?"), re.compile(r"\?>"), "?>"),
    (re.compile(r"<!\[CDATA\["), re.compile(r"\]\]>"), "]]>"),
    (re.compile(r"<![A-Za-z]"), re.compile(r">"), ">"),
    (
        re.compile(r"<(?:pre|script|style|textarea)(?:[ \t>]|\Z)", re.IGNORECASE),
        re.compile(r"</(?:pre|script|style|textarea)>", re.IGNORECASE),
        "</pre>",
    ),
)


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading outside lists: its lines are `first` up to, not including, `after`."""

    level: int
    title: str
    first: int
    after: int


@dataclass(slots=True)
class Entry:
    """A list entry that starts with text on the line of its marker.

    `start` and `box` are positions in that line: where the text begins after marker and box, and the character between
    the brackets (None: no checkbox). `column` is where its content stands, tabs expanded. `depth` is the number of
    entries around it, `parent` the nearest of them with a box, `heading` the nearest heading above. `details` are the
    numbers of further lines that belong to it and to no entry with a box inside it, without blank lines and comments;
    only an entry with a box has them. `last` is the last line inside it, kept for entries of depth 0.
    """

    line: int
    start: int
    box: int | None
    column: int
    depth: int
    parent: Entry | None
    heading: Heading | None
    details: list[int] = field(default_factory=list)
    last: int = 0


@dataclass(frozen=True, slots=True)
class Code:
    """A fenced code block that opens on `line`; `content` are the lines inside it, without their endings."""

    line: int
    content: list[str]


@dataclass(frozen=True, slots=True)
class Section:
    """A heading of level 2 with the lines of its body, up to the next heading of level 1 or 2."""

    heading: Heading
    body: range


@dataclass(frozen=True, slots=True)
class Document:
    """A text's lines (with their endings) and blocks, each in the order of the text.

    `closer` is the line that would end a fence or comment left open at the end of the text, "" when there is none.
    """

    lines: list[str]
    headings: list[Heading]
    entries: list[Entry]
    codes: list[Code]
    closer: str

    @property
    def newline(self) -> str:
        """The line ending of the first line, a line feed where it has none."""
        first = self.lines[0] if self.lines else ""
        return first[len(first.rstrip("\r\n")) :] or "\n"

    def sections(self, title: str) -> tuple[Section, ...]:
        """The sections of this name; case does not matter."""
        bounds = [heading for heading in self.headings if heading.level <= 2]
        ends = [heading.first for heading in bounds[1:]] + [len(self.lines)]
        return tuple(
            Section(heading, range(heading.after, end))
            for heading, end in zip(bounds, ends, strict=False)
            if heading.level == 2 and heading.title.lower() == title.lower()
        )

    def entries_in(self, section: Section) -> list[Entry]:
        return self.entries[_index(self.entries, section.body.start) : _index(self.entries, section.body.stop)]

    def codes_in(self, section: Section) -> list[Code]:
        return self.codes[_index(self.codes, section.body.start) : _index(self.codes, section.body.stop)]


def read(text: str) -> Document:
    """Read any text; lines end with LF, CRLF or CR, as in CommonMark."""
    reader = _Reader(text)
    for number in range(len(reader.lines)):
        reader.read_line(number)
    leaf = reader.leaf
    closer = leaf.closer if leaf is not None and leaf.depth == 0 else ""
    return Document(reader.lines, reader.headings, reader.entries, reader.codes, closer)


@dataclass(slots=True)
class _Container:
    """An open list entry: its column, its own Entry where it has one, and the nearest entry with a box."""

    column: int
    entry: Entry | None
    owner: Entry | None


@dataclass(slots=True)
class _Leaf:
    """An open fence or HTML block, `depth` list entries deep; `code` collects a fence's lines."""

    depth: int
    ends: Callable[[str, int], bool]
    closer: str
    code: list[str] | None


class _Reader:
    def __init__(self, text: str) -> None:
        self.lines = list(io.StringIO(text, newline=""))
        self.headings: list[Heading] = []
        self.entries: list[Entry] = []
        self.codes: list[Code] = []
        self.containers: list[_Container] = []
        self.leaf: _Leaf | None = None
        self.paragraph: list[int] | None = None
        self.hollow = False

    def read_line(self, number: int) -> None:
        content = self.lines[number].rstrip("\r\n")
        start, column = _skip_space(content, 1 if number == 0 and content.startswith("\ufeff") else 0, 0)
        blank = start == len(content)
        inside = len(self.containers)
        if not blank:
            inside = next((n for n, open_ in enumerate(self.containers) if column < open_.column), inside)
        if self.leaf is not None and inside >= self.leaf.depth:
            self._read_leaf(number, content, start, column)
            return
        self.leaf = None
        hollow, self.hollow = self.hollow, False
        if blank:
            if hollow:
                self.containers.pop()
            self.paragraph = None
            return
        self._read_block(number, content, start, column, inside)

    def _read_leaf(self, number: int, content: str, start: int, column: int) -> None:
        leaf = self.leaf
        assert leaf is not None
        blank = start == len(content)
        if not blank:
            self._belongs(number, detail=leaf.code is not None)
        base = self.containers[leaf.depth - 1].column if leaf.depth else 0
        if not blank and leaf.ends(content, column - base):
            self.leaf = None
        elif leaf.code is not None:
            leaf.code.append(content)

    def _read_block(self, number: int, content: str, start: int, column: int, inside: int) -> None:
        base = self.containers[inside - 1].column if inside else 0
        direct = self.paragraph is not None and inside == len(self.containers)
        marked = False
        while column - base <= 3:
            if self._read_leaf_start(number, content, start, inside, direct):
                return
            marker = _MARKER.match(content, start)
            if marker is None or inside == _DEEPEST:
                break
            text_column = column + len(marker[0])
            text, text_column = _skip_space(content, marker.end(), text_column)
            empty = text == len(content)
            if direct and (empty or (marker[1] is not None and int(marker[1]) != 1)):
                break
            width = text_column - column - len(marker[0])
            base = column + len(marker[0]) + (1 if empty or width > 4 else width)
            self._close(inside)
            self.containers.append(_Container(base, None, self.containers[-1].owner if inside else None))
            inside, start, column, direct, marked = inside + 1, text, text_column, False, True
            if empty:
                self.hollow = True
                self._belongs(number)
                return
            if width <= 4 and self._read_item(number, content, start):
                return
        if self.paragraph is not None:
            self.paragraph.append(number)
        else:
            self._close(inside)
            if column - base <= 3:
                self.paragraph = [number]
                if marked:
                    self._add_entry(number, start, None)
        self._belongs(number)

    def _read_leaf_start(self, number: int, content: str, start: int, inside: int, direct: bool) -> bool:
        """Read a heading, fence, HTML block, rule or quote that begins at `start`; False when there is none."""
        if heading := _ATX.match(content, start):
            self._close(inside)
            if not inside:
                self.headings.append(Heading(len(heading[1]), _title(content[heading.end() :]), number, number + 1))
        elif fence := _FENCE.match(content, start):
            self._close(inside)
            mark = fence[1] or fence[2]
            code = Code(number, [])
            self.codes.append(code)
            self.leaf = _Leaf(inside, _fence_end(mark), mark, code.content)
        elif direct and (under := _SETEXT.match(content, start)):
            lines = self.paragraph or []
            self.paragraph = None
            if not inside:
                title = " ".join(self.lines[line].strip() for line in lines)
                self.headings.append(Heading(2 if under[1] else 1, title, lines[0], number + 1))
        elif _is_rule(content, start) or content.startswith(">", start):
            self._close(inside)
        else:
            return self._read_html(number, content, start, inside)
        self._belongs(number)
        return True

    def _read_html(self, number: int, content: str, start: int, inside: int) -> bool:
        for begins, ends, closer in _HTML:
            if begins.match(content, start):
                self._close(inside)
                if not ends.search(content, start):
                    self.leaf = _Leaf(inside, _html_end(ends), closer, None)
                self._belongs(number, detail=False)
                return True
        return False

    def _read_item(self, number: int, content: str, start: int) -> bool:
        box = _BOX.match(content, start)
        if box is None:
            return False
        self._add_entry(number, box.end(), box.start(1))
        self.paragraph = [number]
        self._belongs(number)
        return True

    def _add_entry(self, number: int, start: int, box: int | None) -> None:
        here = self.containers[-1]
        depth = len(self.containers) - 1
        heading = self.headings[-1] if self.headings else None
        here.entry = Entry(number, start, box, here.column, depth, here.owner, heading, last=number)
        if box is not None:
            here.owner = here.entry
        self.entries.append(here.entry)

    def _belongs(self, number: int, *, detail: bool = True) -> None:
        if not self.containers:
            return
        outermost, owner = self.containers[0].entry, self.containers[-1].owner
        if outermost is not None:
            outermost.last = number
        if detail and owner is not None and owner.line != number:
            owner.details.append(number)

    def _close(self, inside: int) -> None:
        del self.containers[inside:]
        self.paragraph = None


def _index(blocks: Sequence[Entry] | Sequence[Code], line: int) -> int:
    return bisect_left(blocks, line, key=lambda block: block.line)


def _skip_space(content: str, start: int, column: int) -> tuple[int, int]:
    while start < len(content) and content[start] in " \t":
        column += 4 - column % 4 if content[start] == "\t" else 1
        start += 1
    return start, column


def _is_rule(content: str, start: int) -> bool:
    mark = content[start]
    return mark in "*-_" and not content[start:].rstrip(mark + " \t") and content.count(mark, start) >= 3


def _title(text: str) -> str:
    title = text.strip()
    bare = title.rstrip("#")
    return bare.rstrip() if not bare or bare[-1] in " \t" else title


def _fence_end(mark: str) -> Callable[[str, int], bool]:
    def ends(content: str, indent: int) -> bool:
        rest = content.strip(" \t")
        return indent <= 3 and len(rest) >= len(mark) and not rest.strip(mark[0])

    return ends


def _html_end(pattern: re.Pattern[str]) -> Callable[[str, int], bool]:
    return lambda content, _: pattern.search(content) is not None
