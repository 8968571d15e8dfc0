"""The journal survives the death of its writer at any byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitautonomous import journal
from gitautonomous.errors import AutonomousError
from gitautonomous.journal import Journal


def events(book: Journal) -> list[str]:
    return [record["event"] for record in book.read()]


def test_a_line_cut_at_any_byte_is_dropped_and_the_rest_is_kept(tmp_path: Path) -> None:
    book = Journal(tmp_path / "journal.jsonl")
    book.append("attempt", id="1", number=1)
    whole = book.path.read_bytes()
    book.append("result", id="1", commit=None)
    longer = book.path.read_bytes()
    for end in range(len(whole), len(longer)):
        book.path.write_bytes(longer[:end])
        assert events(book) == ["journal", "attempt"]
        book.append("word", state="paused", reason="")
        assert events(book) == ["journal", "attempt", "word"]


def test_a_damaged_or_newer_journal_is_refused_and_kept(tmp_path: Path) -> None:
    book = Journal(tmp_path / "journal.jsonl")
    for content in (
        b"{]\n",
        b"[]\n",
        b'{"event": "journal", "format": 2}\n',
        b"\0" * 40 + b"\n",
        b"[" * 100_000 + b"\n",
    ):
        book.path.write_bytes(content)
        with pytest.raises(AutonomousError) as caught:
            book.read()
        assert caught.value.hint == "git autonomous doctor --repair"
        assert book.path.read_bytes() == content


def test_a_flipped_bit_anywhere_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    book = Journal(tmp_path / "journal.jsonl")
    book.append("attempt", id="1", number=12, tip="0a1b", thread=None)
    book.append("result", id="1", commit="2c3d", outcome="completed", thread="T")
    whole, records = book.path.read_bytes(), book.read()
    says = ("event", "id", "number", "tip", "thread", "commit", "outcome")
    expected = [[record.get(key) for key in says] for record in records]
    for place in range(len(whole)):
        for bit in (0, 5):
            book.path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
            try:
                found = [[record.get(key) for key in says] for record in book.read()]
            except AutonomousError:
                continue
            assert found in (expected, expected[:-1]), (place, bit)


def test_the_readable_lines_of_a_damaged_journal_begin_a_new_one(tmp_path: Path) -> None:
    book = Journal(tmp_path / "journal.jsonl")
    for number in range(3):
        book.append("attempt", id=str(number), number=number)
    damaged = book.path.read_bytes().replace(b'"number": 1', b'"number": 7')
    book.path.write_bytes(damaged)
    saved = book.salvage()
    kept = book.replace(saved)
    assert (kept.read_bytes(), events(book)) == (damaged, ["journal", "attempt", "attempt"])
    assert [record["id"] for record in book.read()[1:]] == ["0", "2"]
    newer = b'{"event": "journal", "format": 2}\n{"event": "attempt"}\n'
    book.path.write_bytes(newer)
    assert book.salvage() == []
    assert (book.replace([]).read_bytes(), book.read()) == (newer, [])


def test_an_attempt_without_a_result_is_open_and_knows_its_process(tmp_path: Path) -> None:
    book = Journal(tmp_path / "journal.jsonl")
    assert journal.open_attempt(book.read()) is None
    book.append("attempt", id="1", number=1, tip="t")
    book.append("result", id="1", commit="c", thread="T", usage={"input": 3})
    assert journal.open_attempt(book.read()) is None
    book.append("attempt", id="2", number=2, tip="u", thread=None)
    book.append("started", id="2", pid=7, start=8, boot="b")
    book.append("started", id="1", pid=1, start=1, boot="old")
    found = journal.open_attempt(book.read())
    assert found is not None
    assert {key: found[key] for key in ("id", "number", "tip", "pid", "start", "boot")} == {
        "id": "2", "number": 2, "tip": "u", "pid": 7, "start": 8, "boot": "b",
    }  # fmt: skip
    assert journal.last_thread(book.read()) == ("T", True)
    assert journal.usages(book.read()) == {"T": {"input": 3}}
