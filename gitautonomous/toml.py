"""TOML that somebody else wrote, read without being kept busy by it."""

from __future__ import annotations

from typing import Any

DEEPEST = 100
"""Parts of a dotted key. Python's parser takes time by their square: 50,000 of them, in 100 KB, took it a minute."""


def loads(content: bytes) -> dict[str, Any]:
    """The table that a TOML document describes. Raises ValueError (UnicodeDecodeError for what is not UTF-8) or RecursionError."""
    import tomllib

    if any(_too_deep(line) for line in content.split(b"\n")):
        raise ValueError(f"a key has more than {DEEPEST} parts")
    return tomllib.loads(content.decode())


def _too_deep(line: bytes) -> bool:
    if line.count(b".") < DEEPEST:
        return False
    parts = 0
    for part in (part.strip() for part in line.split(b".")):
        quoted = part[:1] in (b'"', b"'") and part[-1:] == part[:1]
        parts = parts + 1 if part and (quoted or not part.split()[1:]) else 0
        if parts >= DEEPEST:
            return True
    return False
