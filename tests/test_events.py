from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitautonomous import events
from gitautonomous.events import (
    Command,
    CommandRun,
    Event,
    FileChange,
    Plan,
    Said,
    Search,
    Thought,
    ThreadStarted,
    ToolCall,
    Trouble,
    Turn,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
    Usage,
    Warned,
    parse_event,
)


def parsed(value: Any) -> Event | None:
    return parse_event(json.dumps(value).encode())


def item(phase: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"item.{phase}", "item": {"id": "item_3", **fields}}


@pytest.mark.parametrize(
    ("raw", "event"),
    [
        ({"type": "thread.started", "thread_id": "0199-abc"}, ThreadStarted("0199-abc")),
        ({"type": "turn.started"}, TurnStarted()),
        (
            {
                "type": "turn.completed",
                "usage": {
                    "input_tokens": 100,
                    "cached_input_tokens": 10,
                    "cache_write_input_tokens": 0,
                    "output_tokens": 20,
                    "reasoning_output_tokens": 5,
                },
            },
            TurnCompleted(Usage(100, 10, 20, 5)),
        ),
        ({"type": "turn.completed"}, TurnCompleted(None)),
        ({"type": "turn.failed", "error": {"message": "Quota exceeded."}}, TurnFailed("Quota exceeded.")),
        ({"type": "error", "message": "Reconnecting... 2/5 (oops)"}, Trouble("Reconnecting... 2/5 (oops)")),
        (item("completed", type="error", message="a setting is ignored"), Warned("a setting is ignored")),
        (item("completed", type="agent_message", text="Done."), Said("Done.")),
        (item("completed", type="reasoning", text="**Hm**"), Thought("**Hm**")),
        (
            item(
                "started",
                type="command_execution",
                command="/bin/bash -lc 'make \"a b\" && ls'",
                aggregated_output="",
                exit_code=None,
                status="in_progress",
            ),
            Command("item_3", "started", 'make "a b" && ls', "", None, "in_progress"),
        ),
        (
            item(
                "completed",
                type="command_execution",
                command="/bin/bash -lc ls",
                aggregated_output="a\nb\n",
                exit_code=2,
                status="failed",
            ),
            Command("item_3", "completed", "ls", "a\nb\n", 2, "failed"),
        ),
        (
            item(
                "completed",
                type="file_change",
                changes=[{"path": "/w/a.py", "kind": "add"}, {"path": "/w/b.py", "kind": "delete"}],
                status="completed",
            ),
            FileChange("item_3", "completed", (("/w/a.py", "add"), ("/w/b.py", "delete")), "completed"),
        ),
        (
            item("started", type="mcp_tool_call", server="docs", tool="search", error=None, status="in_progress"),
            ToolCall("item_3", "started", "docs.search", "in_progress", ""),
        ),
        (
            item("completed", type="mcp_tool_call", server="d", tool="t", error={"message": "no"}, status="failed"),
            ToolCall("item_3", "completed", "d.t", "failed", "no"),
        ),
        (
            item("completed", type="collab_tool_call", tool="spawn_agent", status="completed"),
            ToolCall("item_3", "completed", "spawn_agent", "completed", ""),
        ),
        (item("completed", type="web_search", query="rust flock"), Search("item_3", "completed", "rust flock")),
        (
            item(
                "updated", type="todo_list", items=[{"text": "a", "completed": True}, {"text": "b", "completed": False}]
            ),
            Plan("updated", (("a", True), ("b", False))),
        ),
    ],
)
def test_each_line_of_the_stream_becomes_an_event(raw: dict[str, Any], event: Event) -> None:
    assert parsed(raw) == event


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"not json",
        b'{"type":"turn.comp',
        b"\xff\xfe\x00",
        b"null",
        b'["type"]',
        b'{"type":"thread.renamed"}',
        b'{"type":["thread.started"]}',
        b'{"type":"item.completed","item":{"type":"hologram"}}',
        b'{"type":"item.completed","item":[]}',
        b'{"type":"item.completed"}',
    ],
)
def test_what_is_cut_off_or_unknown_is_no_event(line: bytes) -> None:
    assert parse_event(line) is None


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"turn.started","x":' + b"[" * 1_000_000,
        b'{"type":"turn.started","x":' + b'{"a":' * 1_000_000 + b"1" + b"}" * 1_000_001,
        b'{"type":"turn.completed","usage":{"input_tokens":' + b"9" * 5000 + b"}}",
    ],
    ids=["never closed", "nested too deep", "a number of 5000 digits"],
)
def test_a_bomb_is_no_event(line: bytes) -> None:
    assert parse_event(line) is None


def test_a_line_that_is_too_long_is_no_event() -> None:
    said = b'{"type":"item.completed","item":{"type":"agent_message","text":"%s"}}'
    longest = said % (b"a" * (events.LONGEST_LINE - len(said) + 2))
    assert isinstance(parse_event(longest), Said)
    assert parse_event(longest + b" ") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\\",
        '"',
        '","exit_code":1',
        '\\","exit_code":',
        ',"aggregated_output":"',
        "\x00\u2028\n",
        '\\"' * 50,
        "x" * 10_000,
    ],
)
@pytest.mark.parametrize("key", ["aggregated_output", "command", "status", "id"])
def test_a_line_without_its_output_says_the_rest_whatever_stands_in_it(key: str, text: str) -> None:
    fields = {
        "type": "command_execution",
        "command": "ls",
        "aggregated_output": "1\n",
        "exit_code": 0,
        "status": "completed",
    }
    value = item("completed", **fields)
    value["item"][key] = text
    line = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    whole, event = parse_event(line), parse_event(events.without_output(line))
    assert isinstance(whole, Command)
    assert replace(whole, output="") == event
    saved = len(json.dumps(whole.output, ensure_ascii=False).encode()) - 2
    assert len(events.without_output(line)) == len(line) - saved
    said = json.dumps(item("completed", type="agent_message", text=text), separators=(",", ":")).encode()
    assert events.without_output(said) == said


def test_fields_of_a_wrong_type_count_as_missing() -> None:
    assert parsed({"type": "turn.failed", "error": "no"}) == TurnFailed("")
    assert parsed({"type": "turn.completed", "usage": {"input_tokens": "many", "output_tokens": 3}}) == TurnCompleted(
        Usage(output=3)
    )
    odd = item("completed", type="command_execution", command=7, aggregated_output=None, exit_code="0")
    assert parsed(odd) == Command("item_3", "completed", "", "", None, "")
    assert parsed(item("completed", type="file_change", changes=[1, {"path": 2}])) == FileChange(
        "item_3", "completed", (("", ""),), ""
    )


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("/bin/bash -lc 'ls -l'", "ls -l"),
        ("/usr/bin/zsh -lc pwd", "pwd"),
        ("sh -c 'echo '\"'\"'x'\"'\"''", "echo 'x'"),
        ("/bin/bash -lc 'never closed", "/bin/bash -lc 'never closed"),
        ("/bin/bash -lc 'ls' -- more", "/bin/bash -lc 'ls' -- more"),
        ("python3 -c 'print(1)'", "python3 -c 'print(1)'"),
        ("/bin/bash -lc ''", ""),
    ],
)
def test_a_command_is_shown_as_a_person_would_type_it(command: str, text: str) -> None:
    assert events.shell_text(command) == text


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    ["type", "item", "id", "status", "command", "exit_code", "changes", "items", "usage", "error", "message", "path"]
)
types = st.sampled_from(
    [
        *("thread.started", "turn.started", "turn.completed", "turn.failed", "error"),
        *("item.started", "item.updated", "item.completed"),
        *("agent_message", "command_execution", "file_change", "mcp_tool_call", "web_search", "todo_list"),
    ]
)
objects = st.dictionaries(names, values | types | st.dictionaries(names, values | types, max_size=6), max_size=6)


@given(st.lists(objects | values, max_size=10))
def test_no_json_can_break_parser_or_fold(lines: list[Any]) -> None:
    turn = Turn()
    for line in lines:
        event = parsed(line)
        if event is not None:
            turn.feed(event)
    assert turn.ended == (turn.completed or turn.failed is not None)


@given(st.binary(max_size=200))
def test_no_bytes_can_break_the_parser(line: bytes) -> None:
    parse_event(line)


def fold(*fed: Event) -> Turn:
    turn = Turn()
    for now, event in enumerate(fed):
        turn.feed(event, float(now))
    return turn


def test_a_turn_is_the_sum_of_its_events() -> None:
    turn = fold(
        ThreadStarted("t-1"),
        TurnStarted(),
        Said("First I look around."),
        Command("item_1", "started", "ls", "", None, "in_progress"),
        Command("item_1", "completed", "ls", "a\n", 0, "completed"),
        FileChange("item_2", "started", (("/w/a", "update"),), "in_progress"),
        FileChange("item_2", "completed", (("/w/a", "update"),), "completed"),
        Command("item_3", "started", "npm start", "", None, "in_progress"),
        Said("All done."),
        TurnCompleted(Usage(200, 20, 40, 10)),
    )
    assert turn == Turn(
        thread="t-1",
        did_something=True,
        completed=True,
        last_message="All done.",
        usage=Usage(200, 20, 40, 10),
        last_action="done",
        open_commands={"item_3": ("npm start", 7.0)},
        commands=turn.commands,
        files={"/w/a": "update"},
    )
    assert list(turn.commands) == [CommandRun("ls", 0)]
    assert turn.running_commands() == ["npm start"]
    assert (turn.ended, turn.busy) == (True, True)


def test_a_turn_in_which_nothing_was_done_says_so() -> None:
    turn = fold(ThreadStarted("t-1"), TurnStarted(), Thought("Hm."), Warned("odd"), Plan("started", ()), Trouble("no"))
    assert (turn.did_something, turn.ended, list(turn.errors)) == (False, False, ["no"])


def test_what_the_agent_does_now_is_always_known() -> None:
    turn = Turn()
    seen = [turn.last_action]
    for event in (
        TurnStarted(),
        Command("a", "started", "make", "", None, "in_progress"),
        Command("b", "started", "make test", "", None, "in_progress"),
        Command("b", "completed", "make test", "", 0, "completed"),
        Command("a", "completed", "make", "", 0, "completed"),
        FileChange("c", "started", (("/w/src/a.py", "add"), ("/w/b.py", "add")), "in_progress"),
        ToolCall("d", "started", "docs.find", "in_progress", ""),
        ToolCall("d", "completed", "docs.find", "completed", ""),
        Search("e", "started", "flock"),
        Trouble("Reconnecting... waiting for network (Connection failed: error sending request)"),
        Trouble("Reconnecting... 1/5 (oops)"),
        TurnFailed("oops"),
    ):
        turn.feed(event)
        seen.append(turn.last_action)
    assert seen == [
        "starting",
        "thinking",
        "running make",
        "running make test",
        "running make",
        "thinking",
        "editing a.py, b.py",
        "calling docs.find",
        "thinking",
        "searching flock",
        "waiting for the network",
        "trying again",
        "failed",
    ]
    assert (turn.failed, turn.waiting_network, turn.open_calls) == ("oops", 1, {"e"})


def test_a_failed_patch_changes_no_file() -> None:
    assert fold(FileChange("a", "completed", (("/w/a", "add"),), "failed")).files == {}


def test_a_turn_of_any_length_takes_little_memory() -> None:
    turn = Turn()
    for number in range(5000):
        turn.feed(Command(f"item_{number}", "completed", "x" * 100_000, "", 0, "completed"))
        turn.feed(FileChange("f", "completed", ((f"/w/{number}", "add"),), "completed"))
        turn.feed(Trouble("y" * 100_000))
        turn.feed(Said("z" * 100_000))
    assert (len(turn.commands), len(turn.files), len(turn.errors)) == (1000, 1000, 1000)
    assert max(len(turn.commands[0].command), len(turn.errors[0])) == 4000
    assert len(turn.last_message) == 65536
    assert list(turn.files)[-1] == "/w/4999"


def test_the_tokens_of_a_resumed_turn_are_a_difference() -> None:
    assert Usage(300, 30, 60, 15) - Usage(100, 10, 20, 5) == Usage(200, 20, 40, 10)
    assert Usage(200, 20, 40, 10).total == 240
