"""TOML that somebody else wrote is read as TOML, or refused at once."""

from __future__ import annotations

import time

import pytest

from gitautonomous import toml


def test_ordinary_documents_are_read() -> None:
    goal = "Chapter 1 " + "." * 300 + " 5\n" + "A sentence. " * 200 + "\n" + "a.b " * 200
    content = f'goal = """{goal}"""\na.b."c.d".e = 1\n[x.y]\n"k" = "{"." * 500}"\n'
    assert toml.loads(content.encode()) == {
        "goal": goal, "a": {"b": {"c.d": {"e": 1}}}, "x": {"y": {"k": "." * 500}},
    }  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        b"a." * 50_000 + b"a = 1", b"[" + b"a." * 50_000 + b"a]", b"[[" + b"'a b' . " * 50_000 + b"a]]", b"x = {" + b"a." * 50_000 + b"a = 1}",
        b"x = " + b"[" * 100_000, b"x = " + b"9" * 5000, b"\xff", b"\0",
    ],
    ids=["key", "table", "quoted keys", "inline", "arrays", "number", "no UTF-8", "NUL"],
)  # fmt: skip
def test_a_bomb_is_refused_at_once(content: bytes) -> None:
    began = time.process_time()
    with pytest.raises((ValueError, RecursionError)):
        toml.loads(content)
    assert time.process_time() - began < 1
