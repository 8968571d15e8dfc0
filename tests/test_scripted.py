from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitautonomous import scripted
from gitautonomous.scripted import Server, Step

Wait = Callable[[Callable[[], object]], None]
CREATED = {"type": "response.created", "response": {"id": "resp_0"}}


def user(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def ask(port: int, *items: dict[str, Any], thread: str = "t-1") -> tuple[int, dict[str, str], str]:
    """Status, headers and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", "/v1/responses", json.dumps({"input": items}), {"thread-id": thread})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, {key.lower(): value for key, value in answer.getheaders()}, body


def streamed(port: int, *items: dict[str, Any], thread: str = "t-1") -> list[dict[str, Any]]:
    """The events of a streamed answer."""
    status, headers, body = ask(port, *items, thread=thread)
    assert (status, headers["content-type"]) == (200, "text/event-stream")
    return [json.loads(line.removeprefix("data: ")) for line in body.splitlines() if line.startswith("data: ")]


def said(events: list[dict[str, Any]]) -> str:
    return str(events[1]["item"]["content"][0]["text"])


def test_a_step_becomes_the_items_of_a_response(model: Server) -> None:
    model.play(
        [
            {
                "think": "Hm.",
                "say": ["One.", "Two."],
                "exec": "ls",
                "patch": "*** Begin Patch\n*** End Patch",
                "call": {"name": "update_plan", "arguments": {"plan": []}},
                "usage": {"input": 7},
            }
        ]
    )
    message = {"type": "message", "role": "assistant"}
    assert streamed(model.port, user("go")) == [
        CREATED,
        *(
            {"type": "response.output_item.done", "output_index": index, "item": item}
            for index, item in enumerate(
                [
                    {
                        "id": "rs_0_0",
                        "type": "reasoning",
                        "encrypted_content": "x",
                        "summary": [{"type": "summary_text", "text": "Hm."}],
                    },
                    {"id": "msg_0_1", **message, "content": [{"type": "output_text", "text": "One."}]},
                    {"id": "msg_0_2", **message, "content": [{"type": "output_text", "text": "Two."}]},
                    {
                        "id": "fc_0_3",
                        "type": "function_call",
                        "call_id": "call_0_3",
                        "name": "exec_command",
                        "arguments": '{"cmd": "ls"}',
                    },
                    {
                        "id": "ct_0_4",
                        "type": "custom_tool_call",
                        "call_id": "call_0_4",
                        "name": "apply_patch",
                        "input": "*** Begin Patch\n*** End Patch",
                    },
                    {
                        "id": "fc_0_5",
                        "type": "function_call",
                        "call_id": "call_0_5",
                        "name": "update_plan",
                        "arguments": '{"plan": []}',
                    },
                ]
            )
        ),
        {
            "type": "response.completed",
            "response": {
                "id": "resp_0",
                "usage": {
                    "input_tokens": 7,
                    "input_tokens_details": {"cached_tokens": 10},
                    "output_tokens": 20,
                    "output_tokens_details": {"reasoning_tokens": 5},
                    "total_tokens": 27,
                },
            },
        },
    ]


@pytest.mark.parametrize(
    ("step", "types"),
    [
        ({"truncate": "headers"}, []),
        ({"truncate": "created"}, ["response.created"]),
        ({"say": "half", "truncate": "items"}, ["response.created", "response.output_item.done"]),
        ({"failed": {"code": "server_error", "message": "no"}}, ["response.created", "response.failed"]),
        ({"incomplete": "max_output_tokens"}, ["response.created", "response.incomplete"]),
    ],
)
def test_a_stream_can_end_badly(model: Server, step: Step, types: list[str]) -> None:
    model.play([step])
    assert [event["type"] for event in streamed(model.port, user("go"))] == types


def test_an_answer_can_be_any_status_with_headers_and_body(model: Server) -> None:
    model.play([{"status": 503, "headers": {"retry-after": "1"}, "body": {"error": {"code": "busy"}}}])
    status, headers, body = ask(model.port, user("go"))
    assert (status, headers["retry-after"], json.loads(body)) == (503, "1", {"error": {"code": "busy"}})


def test_a_connection_can_be_dropped(model: Server) -> None:
    model.play([{"drop": True}])
    with pytest.raises(ConnectionError):
        ask(model.port, user("go"))


def test_steps_are_answered_in_order_and_then_it_is_done(model: Server) -> None:
    model.play([{"say": "One."}, {"say": "Two."}])
    assert [said(streamed(model.port, user("go"))) for _ in range(3)] == ["One.", "Two.", "done"]
    model.play([{"say": "Again."}])
    assert said(streamed(model.port, user("go"))) == "Again."


def test_a_callable_sees_what_is_asked(model: Server) -> None:
    model.play(lambda request: {"say": f"{request.number} {request.turn} {request.thread} {request.text}"})
    assert said(streamed(model.port, user("go"), thread="a")) == "0 0 a go"
    assert said(streamed(model.port, user("go"), thread="b")) == "1 0 b go"
    answered = [
        user("go"),
        {"role": "assistant", "content": []},
        {"type": "function_call_output", "output": "x"},
        user("on"),
    ]
    assert said(streamed(model.port, *answered, thread="a")) == "2 1 a x\non"
    assert [request.text for request in model.requests] == ["go", "go", "x\non"]


def test_leaving_the_server_ends_an_answer_that_is_open() -> None:
    with Server([{"say": "so far", "stall": 600}]) as model:
        connection = http.client.HTTPConnection("127.0.0.1", model.port, timeout=20)
        connection.request("POST", "/v1/responses", json.dumps({"input": []}))
        answer = connection.getresponse()
        assert answer.readline() == b"event: response.created\n"
        began = time.monotonic()
    answer.read()
    connection.close()
    assert time.monotonic() - began < 60  # far below the stall


def test_a_used_up_limit_looks_as_the_service_tells_it(model: Server) -> None:
    model.play([scripted.usage_limit(1_800_000_000)])
    status, headers, body = ask(model.port, user("go"))
    assert (status, headers["x-codex-primary-reset-at"]) == (429, "1800000000")
    assert json.loads(body)["error"]["resets_at"] == 1_800_000_000


def test_a_home_of_codex_knows_only_the_scripted_model(tmp_path: Path) -> None:
    path = scripted.codex_home(tmp_path / "new" / "home", 4711, "gpt-5.4", stream_max_retries=0)
    assert tomllib.loads((path / "config.toml").read_text()) == {
        "model": "gpt-5.4",
        "model_provider": "scripted",
        "check_for_update_on_startup": False,
        "analytics": {"enabled": False},
        "model_providers": {
            "scripted": {
                "name": "scripted",
                "base_url": "http://127.0.0.1:4711/v1",
                "wire_api": "responses",
                "stream_max_retries": 0,
            }
        },
    }


def test_a_server_of_its_own_outlives_who_started_it_and_logs_what_it_is_asked(
    tmp_path: Path, wait_until: Wait
) -> None:
    scenario, port_file, log = tmp_path / "scenario.json", tmp_path / "port", tmp_path / "log"
    scenario.write_text(
        json.dumps({"rules": [{"when": "first.*second", "step": {"say": "Both."}}], "steps": [{"say": "One."}]})
    )
    command = [
        sys.executable,
        "-m",
        "gitautonomous.scripted",
        str(scenario),
        "--port-file",
        str(port_file),
        "--log",
        str(log),
    ]
    server = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        wait_until(port_file.exists)
        port = int(port_file.read_text())
        answers = [said(streamed(port, user(text))) for text in ("first\nsecond", "other", "first second", "other")]
    finally:
        server.terminate()
        _, stderr = server.communicate()
    assert answers == ["Both.", "One.", "Both.", "done"]
    assert stderr.decode() == f"listening on 127.0.0.1:{port}\n"
    logged = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["thread"], line["text"]) for line in logged[:2]] == [("t-1", "first\nsecond"), ("t-1", "other")]


@pytest.mark.parametrize("text", ["{", "7", '{"other": []}', '{"rules": [], "stepz": []}'])
def test_what_is_no_scenario_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        scripted.from_json(text)
