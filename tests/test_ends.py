from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitautonomous import ends
from gitautonomous.ends import End, EndKind, RolloutFacts, classify
from gitautonomous.events import Trouble, Turn

ZONE = timezone(timedelta(hours=1))
NOW = datetime(2026, 11, 23, 16, 0, 0, tzinfo=ZONE).timestamp()
NOTHING = RolloutFacts()


def failed(text: str, facts: RolloutFacts = NOTHING) -> End:
    return classify(Turn(thread="t", failed=text), 1, "exited", "", facts, NOW, ZONE)


def local(day: int, hour: int, minute: int) -> float:
    return datetime(2026, 11, day, hour, minute, tzinfo=ZONE).timestamp()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"error": {"message": "bad thing", "type": "invalid_request_error"}}', EndKind.failed),
        ("unexpected status 401 Unauthorized: Incorrect API key, url: http://h/v1/responses", EndKind.sign_in),
        ("Your access token could not be refreshed. Please log out and sign in again.", EndKind.sign_in),
        ("unexpected status 403 Forbidden: no, url: http://h/v1/responses", EndKind.sign_in),
        (
            "unexpected status 404 Not Found: The model `gpt-x` does not exist or you do not have access to it., url: x",
            EndKind.configuration,
        ),
        ("The 'gpt-x' model is not supported when using Codex with a ChatGPT account.", EndKind.configuration),
        ("model not found", EndKind.configuration),
        ("Missing environment variable: `NOPE`.", EndKind.configuration),
        ("exceeded retry limit, last status: 429 Too Many Requests", EndKind.overloaded),
        (
            "You’ve hit your usage limit. Visit https://chatgpt.com/settings/usage to purchase more credits or try again later.",
            EndKind.usage_limit,
        ),
        (
            "You've hit your usage limit. Upgrade to Plus to continue using Codex (https://chatgpt.com/explore/plus), or try again later.",
            EndKind.usage_limit,
        ),
        ("Quota exceeded. Check your plan and billing details.", EndKind.quota),
        ("To use Codex with your ChatGPT plan, upgrade to Plus: https://chatgpt.com/explore/plus.", EndKind.quota),
        ("We’re currently experiencing high demand, which may cause temporary errors.", EndKind.overloaded),
        ("Selected model is at capacity. Please try a different model.", EndKind.overloaded),
        ("stream disconnected before completion: stream closed before response.completed", EndKind.network),
        ("stream disconnected before completion: idle timeout waiting for SSE", EndKind.network),
        ("stream disconnected before completion: error sending request", EndKind.network),
        ("Connection failed: error sending request", EndKind.network),
        (
            "Codex ran out of room in the model's context window. Start a new thread or clear earlier history before retrying.",
            EndKind.context,
        ),
        ("remote compaction failed: no output", EndKind.context),
        ("rate limit exceeded: Rate limit reached. Please try again in 1.2s", EndKind.overloaded),
        ("Incomplete response returned, reason: max_output_tokens", EndKind.failed),
        ("something new", EndKind.failed),
        ("", EndKind.failed),
    ],
)
def test_the_text_of_a_failure_tells_what_it_calls_for(text: str, kind: EndKind) -> None:
    assert failed(text).kind is kind


def test_a_number_in_an_address_is_no_status() -> None:
    assert failed("stream disconnected before completion: url: http://127.0.0.1:40135/v1/403").kind is EndKind.network


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        (RolloutFacts(error_info="server_overloaded"), EndKind.overloaded),
        (RolloutFacts(error_info="context_window_exceeded"), EndKind.context),
        (RolloutFacts(error_info="usage_limit_exceeded"), EndKind.usage_limit),
        (RolloutFacts(error_info="http_connection_failed", http_status=401), EndKind.sign_in),
        (RolloutFacts(error_info="http_connection_failed", http_status=404), EndKind.configuration),
        (RolloutFacts(error_info="http_connection_failed"), EndKind.network),
        (RolloutFacts(error_info="response_too_many_failed_attempts", http_status=429), EndKind.overloaded),
        (RolloutFacts(error_info="cyber_policy"), EndKind.failed),
    ],
)
def test_the_code_decides_where_the_text_says_nothing(facts: RolloutFacts, kind: EndKind) -> None:
    assert failed("words that nobody knows", facts).kind is kind


def test_a_quota_is_no_limit_that_passes_although_codex_has_one_code_for_both() -> None:
    text = "Quota exceeded. Check your plan and billing details."
    assert failed(text, RolloutFacts(error_info="usage_limit_exceeded")) == End(EndKind.quota, text)


@pytest.mark.parametrize(
    ("text", "until"),
    [
        ("You’ve hit your usage limit. Try again at 5:08 PM.", local(23, 17, 9)),
        ("You’ve hit your usage limit. Visit us or try again at 11:59 PM.", local(24, 0, 0)),
        ("You’ve hit your usage limit. Try again at 12:05 PM.", local(23, 12, 6)),
        ("You’ve hit your usage limit. Try again at 12:05 AM.", local(23, 0, 6)),
        ("You’ve hit your usage limit. Try again at Nov 24th, 2026 5:26 PM.", local(24, 17, 27)),
        ("You’ve hit your usage limit. Try again at Dec 1st, 2026 9:00\u202fAM.", local(30, 9, 1) + 86400),
        ("You’ve hit your usage limit. Try again later.", None),
        ("You’ve hit your usage limit. Try again at Nov 31st, 2026 5:26 PM.", None),
        ("You’ve hit your usage limit. Try again at Xxx 3rd, 2026 5:26 PM.", None),
        ("You’ve hit your usage limit. Try again at Nov 24th, 9999 5:26 PM.", None),
        ("You’ve hit your usage limit. Try again at 25:99 PM.", None),
    ],
)
def test_a_usage_limit_tells_in_local_time_when_it_ends(text: str, until: float | None) -> None:
    assert failed(text) == End(EndKind.usage_limit, text.replace("\u202f", " "), until)


def test_the_local_time_zone_is_meant_when_none_is_given() -> None:
    summer = datetime(2026, 7, 1, 8, 0, tzinfo=UTC).timestamp()  # 10:00 in the tests' zone
    until = ends.retry_time("try again at 10:30 AM", summer)
    assert until == datetime(2026, 7, 1, 8, 31, tzinfo=UTC).timestamp()


def test_the_exact_reset_beats_the_text() -> None:
    text = "You’ve hit your usage limit. Try again at 5:08 PM."
    exact = RolloutFacts(error_info="usage_limit_exceeded", resets_at=NOW + 4061.0)
    assert failed(text, exact) == End(EndKind.usage_limit, text, NOW + 4061.0)


def test_an_absurd_reset_is_not_believed() -> None:
    text = "You’ve hit your usage limit. Try again at 5:08 PM."
    assert failed(text, RolloutFacts(resets_at=NOW + 1e9)) == End(EndKind.usage_limit, text, local(23, 17, 9))


@given(st.text(max_size=60), st.floats(0, 4e9))
def test_no_text_can_break_the_classification(text: str, now: float) -> None:
    for said in (text, f"you've hit your usage limit, try again at {text}", f'{{"error": {text}'):
        end = classify(Turn(failed=said), 1, "exited", "", NOTHING, now, UTC)
        assert "\n" not in end.message


def test_a_completed_turn_is_completed_whatever_came_after() -> None:
    turn = Turn(thread="t", completed=True)
    for returncode, reason in ((0, "exited"), (-9, "exited"), (None, "exited"), (-15, "stopped"), (-15, "silence")):
        assert classify(turn, returncode, reason, "noise", NOTHING, NOW) == End(EndKind.completed, "")


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("startup", "Codex did not begin the turn in time"),
        ("silence", "Codex was silent for too long"),
        ("command", "a command did not end in time"),
        ("session", "the session took too long"),
    ],
)
def test_a_deadline_that_passed_is_named(reason: str, message: str) -> None:
    assert classify(Turn(thread="t"), -15, reason, "", NOTHING, NOW) == End(EndKind.timed_out, message)


def test_the_trouble_before_a_deadline_is_told() -> None:
    turn = Turn(thread="t")
    turn.feed(Trouble("Reconnecting... waiting for network (Connection failed: error sending request)"))
    assert classify(turn, -15, "silence", "", NOTHING, NOW) == End(
        EndKind.timed_out,
        "Codex was silent for too long (Reconnecting... waiting for network (Connection failed: error sending request))",
    )


@pytest.mark.parametrize(
    ("returncode", "reason", "message"),
    [
        (-15, "stopped", "it was stopped"),
        (0, "stopped", "it was stopped"),
        (-9, "exited", "Codex was ended by SIGKILL"),
        (-15, "exited", "Codex was ended by SIGTERM"),
        (-99, "exited", "Codex was ended by signal 99"),
        (None, "exited", "Codex was cut off in the middle of the turn"),
    ],
)
def test_a_turn_that_was_cut_off_is_interrupted(returncode: int | None, reason: str, message: str) -> None:
    assert classify(Turn(thread="t"), returncode, reason, "", NOTHING, NOW) == End(EndKind.interrupted, message)


@pytest.mark.parametrize(
    ("returncode", "stderr", "end"),
    [
        (
            1,
            "Error loading config.toml:\n/home/u/.codex/config.toml:1:9: unclosed array\n  |\n1 | model = [\n",
            End(EndKind.configuration, "Error loading config.toml: /home/u/.codex/config.toml:1:9: unclosed array"),
        ),
        (
            1,
            "Not inside a trusted directory and --skip-git-repo-check was not specified.\n",
            End(EndKind.configuration, "Not inside a trusted directory and --skip-git-repo-check was not specified."),
        ),
        (
            2,
            "error: unexpected argument '--nope' found\n\nUsage: codex exec\n\nFor more information, try '--help'.\n",
            End(EndKind.configuration, "unexpected argument '--nope' found"),
        ),
        (
            1,
            "Error: thread/resume: thread/resume failed: no rollout found for thread id 0 (code -32600)\n",
            End(EndKind.failed, "thread/resume: thread/resume failed: no rollout found for thread id 0 (code -32600)"),
        ),
        (1, "Error: database is locked\n", End(EndKind.failed, "database is locked")),
        (
            101,
            "\nthread 'codex-main' panicked at stdio.rs:1165:9:\nfailed printing to stdout: disk full\nstack backtrace:\n",
            End(EndKind.failed, "Codex crashed: failed printing to stdout: disk full"),
        ),
        (101, "", End(EndKind.failed, "Codex crashed")),
        (1, "", End(EndKind.failed, "Codex ended with status 1 in the middle of the turn")),
    ],
)
def test_a_codex_that_never_began_says_why_on_its_standard_error(returncode: int, stderr: str, end: End) -> None:
    assert classify(Turn(), returncode, "exited", stderr, NOTHING, NOW) == end


def test_log_lines_are_not_taken_for_the_reason() -> None:
    stderr = "Error: something real\n2026-11-23T21:29:37.111103Z ERROR codex_core: noise\n"
    assert classify(Turn(), 1, "exited", stderr, NOTHING, NOW).message == "something real"


def test_a_failure_is_told_on_one_line_of_bounded_length() -> None:
    assert failed("first\n\tsecond \x0b third").message == "first second third"
    assert len(failed("long " * 1000).message) == 500
    assert failed('{"error": {"message": "bad thing"}}').message == "bad thing"
    assert failed('{"error": ["bad thing"]}').message == '{"error": ["bad thing"]}'
    assert failed("{" * 100_000).message == "{" * 500
