"""HTML by elements: whatever is put into one is text, unless it is an element itself. No caller can forget to escape. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from .patch import visible

VOID = frozenset(["link", "meta", "path"])
"""Elements that hold nothing."""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escaped(text: str) -> Markup:
    """Foreign text as HTML that shows it and does nothing: controls, escape sequences and invisible characters are spelled out.

    Line breaks and tabs stay. This is the one way of foreign text into a page. Text that is Markup already comes back as it is.
    """
    if isinstance(text, Markup):
        return text
    if not text.isprintable():
        text = "\n".join([visible(line) for line in text.split("\n")])
    return Markup(escape(text))


def joined(parts: Iterable[str], separator: str = "") -> Markup:
    """Several texts or elements one after the other."""
    return Markup(separator.join([escaped(part) for part in parts]))


def tag(element: str, *children: str, **attributes: str | None) -> Markup:
    """An element. `attributes`: `class_` stands for class, `aria_label` for aria-label; None leaves one out, "" has no value."""
    head = element
    for key, value in attributes.items():
        if value is not None:
            attribute = key.rstrip("_").replace("_", "-")
            head += f' {attribute}="{escaped(value)}"' if value else f" {attribute}"
    return Markup(f"<{head}/>" if element in VOID else f"<{head}>{joined(children)}</{element}>")
