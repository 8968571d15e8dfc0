"""Blocks are told apart as CommonMark does; an independent implementation is asked for the same answer."""

from __future__ import annotations

import re
import time

from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from gitautonomous import markdown

PIECES = [
    *("- ", "* ", "+ ", "1. ", "12) ", "-\t", "-\n", "- - ", "  ", " ", "    ", "\t"),
    *("[ ] ", "[x] ", "[X]", "a", "b", "## ", "### ", "#", "Tasks", "---", "--", "===", "***", "_"),
    *("```", "````", "`", "~~~", "<!--", "-->", "<pre>", "x</pre>", "\n", "\n", "\n", "\n\n", "\r\n"),
]


def reference(text: str) -> tuple[list[tuple[int, int]], list[tuple[int, int, str]], int]:
    """Checkboxes (line, depth), headings (line, level, title) and the number of fences, by markdown-it."""
    tokens = MarkdownIt("commonmark", {"maxNesting": 1000}).parse(text)
    boxes: list[tuple[int, int]] = []
    headings: list[tuple[int, int, str]] = []
    depth = 0
    for number, token in enumerate(tokens):
        depth += {"list_item_open": 1, "list_item_close": -1}.get(token.type, 0)
        first = token.map[0] if token.map else -1
        if token.type == "list_item_open":
            child, inline = tokens[number + 1], tokens[number + 2 : number + 3]
            paragraph = child.type == "paragraph_open" or (child.type == "heading_open" and child.markup in ("-", "="))
            at_marker = bool(inline and inline[0].map and inline[0].map[0] == first)
            if paragraph and at_marker and re.match(r"\[[ xX]\][ \t]+\S", inline[0].content):
                boxes.append((first, depth - 1))
        elif token.type == "heading_open" and depth == 0:
            headings.append((first, int(token.tag[1]), " ".join(tokens[number + 1].content.split())))
    return boxes, headings, sum(token.type == "fence" for token in tokens)


@settings(deadline=None, max_examples=1500)
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_checkboxes_headings_and_fences_are_those_of_commonmark(text: str) -> None:
    document = markdown.read(text)
    boxes = [(entry.line, entry.depth) for entry in document.entries if entry.box is not None]
    headings = [(heading.first, heading.level, " ".join(heading.title.split())) for heading in document.headings]
    assert (boxes, headings, len(document.codes)) == reference(text)


@settings(deadline=None)
@given(st.text())
def test_any_text_is_read_and_its_lines_put_together_are_the_text(text: str) -> None:
    assert "".join(markdown.read(text).lines) == text


def test_a_line_ends_only_where_markdown_ends_it() -> None:
    assert markdown.read("a\u2028b\x0bc\x85d\ne\rf\r\ng").lines == ["a\u2028b\x0bc\x85d\n", "e\r", "f\r\n", "g"]


def test_sections_are_found_by_name_and_end_at_the_next_heading_of_their_level() -> None:
    document = markdown.read("## tasks\na\n### Phase\nb\n\nOther\n---\nc\n## Tasks ##\nd\n# Tasks\ne\n")
    assert [section.body for section in document.sections("Tasks")] == [range(1, 5), range(9, 10)]


def test_the_closer_ends_what_was_left_open() -> None:
    texts = ["a\n", "````\nx", "~~~\nx", "<!-- x\n", "<pre>\n", "- a\n  ```\n  x\n", "```\n```\n"]
    assert [markdown.read(text).closer for text in texts] == ["", "````", "~~~", "-->", "</pre>", "", ""]


def test_the_line_ending_is_that_of_the_first_line() -> None:
    assert [markdown.read(text).newline for text in ["a\r\nb\n", "a\nb\r\n", "a\rb", "a", ""]] == [
        *("\r\n", "\n", "\r", "\n", "\n")
    ]


def test_a_byte_order_mark_does_not_hide_the_first_heading() -> None:
    assert [heading.title for heading in markdown.read("\ufeff## Tasks\n").headings] == ["Tasks"]


def test_block_quotes_and_what_they_quote_are_no_items() -> None:
    assert markdown.read("> - [ ] a\n> ## Tasks\n>\n> ```\n").entries == []


def test_a_megabyte_of_any_one_thing_is_read_in_seconds() -> None:
    size = 1_000_000
    texts = [
        *(" " * size, "\t" * size + "x", "- " * (size // 2) + "x", "`" * size + "x `", "#" * size, "# " * size),
        *("1" * size + ". x", "*" * size + " x", ">" * size, "<!--" * (size // 4), "<" * size, "- [ ] " * (size // 6)),
        *("-" + " " * size + "-" + " " * size + "x", "\n" * size, "## Tasks\n" * (size // 9), "a\n" * (size // 2)),
        "".join(" " * (2 * depth) + "- [ ] a\n" for depth in range(1000)),
    ]
    start = time.process_time()
    for text in texts:
        markdown.read(text)
    assert time.process_time() - start < 30
