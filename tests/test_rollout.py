from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gitautonomous import rollout
from gitautonomous.ends import RolloutFacts
from gitautonomous.events import Usage
from gitautonomous.rollout import Growth, find_rollout, read_rollout

THREAD = "01a20a3b-356e-76e1-b2fb-b59965bd8342"


def event(kind: str, **payload: Any) -> dict[str, Any]:
    return {"timestamp": "2026-11-23T21:06:22.244Z", "type": "event_msg", "payload": {"type": kind, **payload}}


def token_count(total: int, used: float = 40.0, resets_at: int = 1000, **more: Any) -> dict[str, Any]:
    usage = {"input_tokens": total, "cached_input_tokens": 1, "output_tokens": 2, "reasoning_output_tokens": 0}
    primary = {"used_percent": used, "window_minutes": 300, "resets_at": resets_at}
    info = {"total_token_usage": usage, "last_token_usage": usage, "model_context_window": 258400}
    return event("token_count", info=info, rate_limits={"primary": primary, "secondary": None, **more})


def failure(message: str, code: object) -> dict[str, Any]:
    return event("task_complete", error={"message": message, "codex_error_info": code})


MODEL = {"type": "turn_context", "payload": {"cwd": "/w", "model": "gpt-5.5"}}


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(*entries: Any) -> Path:
        file = tmp_path / "sessions" / "2026" / "11" / "23" / f"rollout-2026-11-23T21-06-22-{THREAD}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries]
        file.write_text("".join(f"{line}\n" for line in lines))
        return file

    return write


def test_the_facts_of_a_failed_turn_are_read(write: Any, tmp_path: Path) -> None:
    write(
        {"type": "session_meta", "payload": {"id": THREAD}},
        event("task_started"),
        MODEL,
        token_count(100),
        token_count(200, used=100.0, resets_at=1795486731),
        failure("You've hit your usage limit.", "usage_limit_exceeded"),
    )
    assert read_rollout(tmp_path, THREAD) == RolloutFacts(
        error_info="usage_limit_exceeded",
        message="You've hit your usage limit.",
        resets_at=1795486731.0,
        model="gpt-5.5",
        usage=Usage(200, 1, 2, 0),
        last_usage=Usage(200, 1, 2, 0),
        context_window=258400,
    )


def test_the_failure_of_an_earlier_turn_is_not_this_ones(write: Any, tmp_path: Path) -> None:
    write(MODEL, token_count(100, used=100.0), failure("no", "usage_limit_exceeded"), event("task_started"))
    assert read_rollout(tmp_path, THREAD) == RolloutFacts(
        model="gpt-5.5", usage=Usage(100, 1, 2, 0), last_usage=Usage(100, 1, 2, 0), context_window=258400
    )


def test_a_code_may_carry_the_status_of_the_answer(write: Any, tmp_path: Path) -> None:
    write(failure("no", {"http_connection_failed": {"http_status_code": 401}}))
    assert read_rollout(tmp_path, THREAD) == RolloutFacts(
        error_info="http_connection_failed", http_status=401, message="no"
    )


def test_of_two_used_up_limits_the_later_reset_counts(write: Any, tmp_path: Path) -> None:
    weekly = {"used_percent": 100.0, "window_minutes": 10080, "resets_at": 5000}
    write(token_count(1, used=100.0, resets_at=1000, secondary=weekly))
    assert read_rollout(tmp_path, THREAD).resets_at == 5000.0
    write(token_count(1, used=99.0, resets_at=9000, secondary=weekly))
    assert read_rollout(tmp_path, THREAD).resets_at == 5000.0
    write(token_count(1, used=99.0, resets_at=9000))
    assert read_rollout(tmp_path, THREAD).resets_at is None


def test_the_model_is_found_at_the_beginning_of_a_long_turn(write: Any, tmp_path: Path) -> None:
    noise = event("item_completed", text="x" * 100_000)
    write(MODEL, *[noise] * 50, failure("no", "other"))
    assert read_rollout(tmp_path, THREAD) == RolloutFacts(error_info="other", message="no", model="gpt-5.5")


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "cut off in the mid",
        "[" * 100_000,
        '{"type":"event_msg","payload":{"type":"token_count","info":{"model_context_window":' + "9" * 5000 + "}}}",
        "[]",
        {"type": "event_msg", "payload": None},
        event("token_count", info=None, rate_limits=[]),
        event("token_count", info={"model_context_window": 10**30}, rate_limits={"primary": {"used_percent": "all"}}),
        event("task_complete", error="no"),
        failure("", {"a": 1, "b": 2}),
        failure("", ["other"]),
        {"type": "turn_context", "payload": {"model": 7}},
    ],
)
def test_nothing_odd_in_the_file_is_believed_or_fatal(write: Any, tmp_path: Path, entry: Any) -> None:
    write(entry)
    assert read_rollout(tmp_path, THREAD) == RolloutFacts()


def test_a_missing_file_tells_nothing(tmp_path: Path) -> None:
    assert read_rollout(tmp_path, THREAD) == RolloutFacts()
    assert read_rollout(tmp_path / "missing", THREAD) == RolloutFacts()


@pytest.mark.parametrize("name", ["*", "../../../etc/passwd", "", THREAD.upper(), f"{THREAD}\n", "a-name"])
def test_only_an_id_finds_a_file(write: Any, tmp_path: Path, name: str) -> None:
    file = write(MODEL)
    assert find_rollout(tmp_path, THREAD) == file
    assert find_rollout(tmp_path, name) is None


def test_a_huge_file_is_read_at_its_end_only(write: Any, tmp_path: Path) -> None:
    file = write(MODEL)
    with file.open("r+b") as stream:
        stream.truncate(10 << 30)
        stream.seek(0, 2)
        stream.write(b"\n" + json.dumps(failure("no", "other")).encode() + b"\n")
    assert read_rollout(tmp_path, THREAD) == RolloutFacts(error_info="other", message="no", model="gpt-5.5")


def test_growth_is_seen_once(write: Any, tmp_path: Path) -> None:
    growth = Growth(tmp_path)
    assert not growth.seen(None)
    assert not growth.seen(THREAD)
    file = write(MODEL)
    assert growth.seen(THREAD)
    assert not growth.seen(THREAD)
    with file.open("a") as stream:
        stream.write("more\n")
    assert growth.seen(THREAD)
    file.unlink()
    assert not growth.seen(THREAD)


def test_the_id_of_a_thread_is_a_uuid_in_lower_case() -> None:
    assert rollout.THREAD.fullmatch(THREAD)
    assert not rollout.THREAD.fullmatch("01a20a3b356e76e1b2fbb59965bd8342")
