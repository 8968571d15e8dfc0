"""transcript.py: what `git autonomous log` shows of Codex's events."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitautonomous import show
from gitautonomous.events import LONGEST_LINE
from gitautonomous.transcript import lines, split


def item(phase: str, kind: str, **fields: object) -> dict[str, object]:
    """An event about an item."""
    return {"type": f"item.{phase}", "item": {"id": "item_0", "type": kind} | fields}


def command(phase: str, text: str, output: str = "", code: int | None = None, id: str = "item_0") -> dict[str, object]:
    """An event about a command."""
    fields = {"command": text, "aggregated_output": output, "exit_code": code, "status": "", "id": id}
    return item(phase, "command_execution", **fields)


def write(folder: Path, session: str, *events: object) -> Path:
    """Add events to the transcript of a session."""
    path = folder / f"{session}.jsonl"
    with path.open("a") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)
    return path


def log(folder: Path, *, colour: bool = False, ascii: bool = False, root: str = "") -> str:
    """The whole log of the transcripts in a folder."""
    found = lines(lambda: list(folder.glob("*.jsonl")), colour=colour, ascii=ascii, root=root)
    return "\n" + "".join(found)


SESSION = (
    {"type": "thread.started", "thread_id": "01a20a56-ffec"},
    {"type": "turn.started"},
    item("completed", "reasoning", text="**Looking**\n\nat tests"),
    item("completed", "agent_message", text="I look at the tests.\n\n$ pytest\n\texit 0\x1b]0;owned\x07\n"),
    command("started", "/bin/bash -lc 'pytest -q'"),
    command("completed", "/bin/bash -lc 'pytest -q'", "E\x1b[31m red\x1b[0m\n10%\r100%\n\n\ta\tb\n", 1),
    command("started", "cat <<EOF\n[b]\nEOF", id="item_1"),
    command("started", "true", id="item_2"),
    command("completed", "cat <<EOF\n[b]\nEOF", "[b]\n", 0, id="item_1"),
    command("completed", "true", "", 0, id="item_2"),
    command("completed", "rm -rf /", "", None, id="item_3"),
    item("started", "file_change", changes=[{"path": "/w/a.py", "kind": "add"}], status="in_progress"),
    item(
        "completed",
        "file_change",
        changes=[{"path": "/w/a.py", "kind": "add"}, {"path": "/etc/\u202ex", "kind": "update"}],
        status="completed",
    ),
    item("completed", "file_change", changes=[{"path": "/w/b.py", "kind": "delete"}], status="failed"),
    item("started", "mcp_tool_call", server="docs", tool="find", status="in_progress"),
    item("completed", "mcp_tool_call", server="docs", tool="find", status="completed"),
    item("completed", "mcp_tool_call", server="docs", tool="find", status="failed", error={"message": "no\npage"}),
    item("completed", "web_search", query="wtforms csrf"),
    item("started", "todo_list", items=[{"text": "look", "completed": True}, {"text": "fix", "completed": False}]),
    item("updated", "todo_list", items=[{"text": "look", "completed": True}]),
    item("completed", "error", message="a setting is ignored"),
    {"type": "error", "message": "Reconnecting... 1/5"},
    {"type": "something.new"},
    command("started", "npm run dev", id="item_9"),
    {"type": "turn.completed", "usage": {"input_tokens": 12000, "output_tokens": 345}},
)

READABLE = """
    ── session 3 ───────────────────────────────────────────────
    thread 01a20a56-ffec

    · **Looking**

      at tests

    • I look at the tests.

      $ pytest
      	exit 0␛]0;owned␇

    $ pytest -q
        E red
        10% 100%

            a   b
      exit 1

    $ cat <<EOF
      [b]
      EOF

    $ true

    $ cat <<EOF
      [b]
      EOF
        [b]
      exit 0

    $ true
      exit 0

    $ rm -rf /
      declined

    ✓ added a.py
    ✓ changed /etc/�x

    ✗ could not change b.py

    ✓ called docs.find

    ✗ called docs.find: no page

    ✓ searched: wtforms csrf

    plan
      [x] look
      [ ] fix

    ! a setting is ignored

    ! Reconnecting... 1/5

    $ npm run dev

    ! still running: npm run dev
    ✓ turn completed, 12.3k tokens on this thread

    """


def test_every_kind_of_event_is_readable_and_harmless(tmp_path: Path) -> None:
    write(tmp_path, "003", *SESSION)
    assert log(tmp_path, root="/w") == dedent(READABLE)


def test_ascii_where_only_ascii_can_be_shown(tmp_path: Path) -> None:
    write(tmp_path, "003", *SESSION)
    assert log(tmp_path, root="/w/", ascii=True) == dedent(READABLE).translate(str.maketrans("─·•✓✗␛␇�", "--*+x???"))


def test_colours_change_nothing_but_the_colour_and_end_with_the_line(tmp_path: Path) -> None:
    write(tmp_path, "003", *SESSION)
    coloured = log(tmp_path, root="/w", colour=True)
    assert show.clean(coloured, keep_newlines=True) == dedent(READABLE)
    assert "\x1b[1m$ pytest -q\x1b[m\n\x1b[2m    E red\x1b[m\n" in coloured
    assert "\x1b[31m  exit 1\x1b[m\n" in coloured
    assert all(line.count("\x1b[") % 2 == 0 for line in coloured.split("\n"))


def test_sessions_come_in_order_also_after_the_thousandth(tmp_path: Path) -> None:
    for session in ("1000", "002", "999"):
        write(tmp_path, session, {"type": "turn.failed", "error": {"message": f"no {session}"}})
    assert log(tmp_path) == dedent("""
        ── session 2 ───────────────────────────────────────────────
        ✗ turn failed: no 002

        ── session 999 ─────────────────────────────────────────────
        ✗ turn failed: no 999

        ── session 1000 ────────────────────────────────────────────
        ✗ turn failed: no 1000

        """)


def test_no_transcripts_are_no_text(tmp_path: Path) -> None:
    assert log(tmp_path) == "\n"


def test_a_long_output_keeps_its_head_and_its_tail_and_long_lines_are_cut(tmp_path: Path) -> None:
    output = "".join(f"{number}\n" for number in range(100_000)) + "x" * 501
    write(tmp_path, "001", command("completed", "seq", output, 0))
    head = "".join(f"            {number}\n" for number in range(20))
    tail = "".join(f"            {number}\n" for number in range(99_981, 100_000))
    assert log(tmp_path) == dedent(f"""
        ── session 1 ───────────────────────────────────────────────
        $ seq
{head}            … 99961 lines left out …
{tail}            {"x" * 500}…
          exit 0

        """)


def test_forty_lines_are_shown_in_full(tmp_path: Path) -> None:
    write(tmp_path, "001", command("completed", "seq", "".join(f"{number}\n" for number in range(40)), 0))
    shown = log(tmp_path).splitlines()[3:-2]
    assert shown == [f"    {number}" for number in range(40)]


def test_a_command_of_a_killed_attempt_does_not_hide_one_of_the_next(tmp_path: Path) -> None:
    attempt = ({"type": "thread.started", "thread_id": "t"}, command("started", "make"))
    write(tmp_path, "001", *attempt, *attempt, {"type": "turn.completed"})
    assert log(tmp_path) == dedent("""
        ── session 1 ───────────────────────────────────────────────
        thread t

        $ make

        thread t

        $ make

        ! still running: make
        ✓ turn completed

        """)


def test_lines_that_are_no_events_are_passed_over_and_huge_ones_are_mentioned(tmp_path: Path) -> None:
    path = write(tmp_path, "001", "a string", [], {}, {"type": "item.completed"}, {"type": "turn.completed"})
    with path.open("ab") as file:
        file.write(b"\xff\xfe\n\n{}\n" + b"[" * 100_000 + b"\n" + b"x" * (LONGEST_LINE + 1) + b"\n")
        file.write(b'{"type":"error","message":"the last line has no end"}')
    assert log(tmp_path) == dedent("""
        ── session 1 ───────────────────────────────────────────────
        ✓ turn completed

        ! a line of 16.8MB was left out

        ! the last line has no end

        """)


@given(st.binary(max_size=60).map(lambda data: data.replace(b"x", b"\n")), st.integers(1, 7))
def test_lines_are_split_alike_whatever_the_pieces(data: bytes, size: int) -> None:
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    *whole, rest = data.split(b"\n")
    assert list(split(pieces)) == [line + b"\n" for line in whole] + ([rest] if rest else [])


def test_memory_stays_flat_however_long_the_transcript_and_its_lines_are(tmp_path: Path) -> None:
    path = tmp_path / "001.jsonl"
    usual = json.dumps(command("completed", "make", "some output\n" * 100, 0)).encode() + b"\n"
    with path.open("wb") as file:
        for _ in range(400):
            file.write(usual * 20)
        for _ in range(4 * LONGEST_LINE >> 20):
            file.write(b"x" * (1 << 20))
    tracemalloc.start()
    try:
        assert sum(map(len, lines(lambda: [path]))) > 5_000_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < LONGEST_LINE + (8 << 20)


# Following


class Followed:
    """The pieces that a reader who follows gets, one at a time."""

    def __init__(self, folder: Path) -> None:
        self.stopped = False
        self.pieces: Iterator[str] = lines(lambda: list(folder.glob("*.jsonl")), follow=True, stop=lambda: self.stopped)

    def next(self) -> str:
        return next(self.pieces)


def failed(message: str) -> dict[str, object]:
    return {"type": "turn.failed", "error": {"message": message}}


def test_a_follower_sees_what_is_added_and_goes_on_to_the_next_session(tmp_path: Path) -> None:
    write(tmp_path, "001", failed("old"))
    path = write(tmp_path, "002", failed("first"))
    followed = Followed(tmp_path)
    assert followed.next() == "── session 2 ───────────────────────────────────────────────\n"
    assert followed.next() == "✗ turn failed: first\n\n"
    with path.open("a") as file:
        text = json.dumps(failed("in two parts"))
        file.write(text[:10])
        file.flush()
        file.write(text[10:] + "\n")
    assert followed.next() == "✗ turn failed: in two parts\n\n"
    write(tmp_path, "003", failed("next session"))
    write(tmp_path, "002", failed("late"))
    write(tmp_path, "004")
    assert followed.next() == "✗ turn failed: late\n\n"
    assert followed.next() == "── session 3 ───────────────────────────────────────────────\n"
    assert followed.next() == "✗ turn failed: next session\n\n"
    assert followed.next() == "── session 4 ───────────────────────────────────────────────\n"
    write(tmp_path, "004", failed("the end"))
    followed.stopped = True
    assert followed.next() == "✗ turn failed: the end\n\n"
    with pytest.raises(StopIteration):
        followed.next()


def test_a_follower_waits_for_the_first_session(tmp_path: Path) -> None:
    calls = 0

    def find() -> list[Path]:
        nonlocal calls
        calls += 1
        return [write(tmp_path, "001", failed("x"))] if calls == 2 else list(tmp_path.glob("*.jsonl"))

    followed = lines(find, follow=True)
    assert next(followed) == "── session 1 ───────────────────────────────────────────────\n"


def test_a_follower_that_is_told_to_stop_before_anything_happens_ends(tmp_path: Path) -> None:
    assert list(lines(list, follow=True, stop=lambda: True)) == []
