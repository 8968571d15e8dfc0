"""How a turn ended, and what that calls for. Pure.

Codex's exit status says little: 0 when every command failed, 1 for each kind of failure. What counts is the turn's last
event, the text of its failure, and the machine-readable code that Codex writes into its own file of the conversation (the
rollout) but not into the stream. Texts and codes were measured with Codex 0.163 and 0.169.
"""

from __future__ import annotations

import json
import re
import signal
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum

from .events import Turn, Usage

_LONGEST_MESSAGE = 500
_DAY = 86400.0


class EndKind(StrEnum):
    """What the end of a turn calls for."""

    completed = "completed"  # the next turn
    interrupted = "interrupted"  # it was stopped or killed: go on with the thread
    timed_out = "timed_out"  # it hung: go on with the thread
    usage_limit = "usage_limit"  # wait until the account's limit is reset
    overloaded = "overloaded"  # the service is busy: wait, then go on
    network = "network"  # the service was not reached: wait, then go on
    context = "context"  # the thread is full or unusable: go on with a new one
    sign_in = "sign_in"  # a person has to sign in
    quota = "quota"  # a person has to see to the plan or the bill
    configuration = "configuration"  # a person has to change the settings
    failed = "failed"  # anything else: try again, but not for ever


@dataclass(frozen=True)
class End:
    """The end of a turn. `message`: one line in Codex's words; `retry_at`: seconds since the epoch, where it is known."""

    kind: EndKind
    message: str
    retry_at: float | None = None


@dataclass(frozen=True)
class RolloutFacts:
    """What the rollout file adds, about the newest turn in it. Everything may be missing.

    `error_info` is Codex's code for a failure and `http_status` the status behind it; `resets_at` (seconds since the epoch)
    is when a used-up limit ends; `usage` is cumulative over the thread, and is there for failed turns too; `last_usage` is what
    fills the context window of `context_window` tokens.
    """

    error_info: str | None = None
    http_status: int | None = None
    message: str | None = None
    resets_at: float | None = None
    model: str | None = None
    usage: Usage | None = None
    last_usage: Usage | None = None
    context_window: int | None = None


# The first rule with a phrase that the text holds decides. The texts of a usage limit also speak of plans and credits, so
# they come first; a number such as 401 may be part of an address, so it is looked for with its words.
_BY_TEXT: tuple[tuple[EndKind, tuple[str, ...]], ...] = (
    (EndKind.usage_limit, ("hit your usage limit",)),
    (
        EndKind.quota,
        (
            *("quota exceeded", "exceeded your current quota", "upgrade to plus", "insufficient_quota", "spend limit"),
            *("usage_not_included", "billing"),
        ),
    ),
    (
        EndKind.sign_in,
        (
            *("could not be refreshed", "sign in again", "log in again", "not logged in", "refresh token"),
            *("status 401", "401 unauthorized", "status 403", "403 forbidden", "incorrect api key", "invalid_api_key"),
        ),
    ),
    (
        EndKind.context,
        ("ran out of room", "context_length_exceeded", "context window", "maximum context length", "compact"),
    ),
    (
        EndKind.configuration,
        (
            *(
                "missing environment variable",
                "model not found",
                "model_not_found",
                "does not exist",
                "is not supported",
            ),
            *("error loading config", "failed to load config", "not inside a trusted directory", "invalid --profile"),
            *("unexpected argument", "invalid value", "input exceeds the maximum length", "unknown model"),
        ),
    ),
    (
        EndKind.overloaded,
        (
            *("at capacity", "high demand", "exceeded retry limit", "rate limit", "too many requests", "overloaded"),
            *("status 500", "status 502", "status 503", "status 504", "capacity unavailable"),
        ),
    ),
    (
        EndKind.network,
        (
            *("stream disconnected", "connection failed", "error sending request", "waiting for network", "timed out"),
            *("idle timeout", "reading the server response"),
        ),
    ),
)

_BY_CODE = {
    "usage_limit_exceeded": EndKind.usage_limit,
    "context_window_exceeded": EndKind.context,
    "unauthorized": EndKind.sign_in,
    "server_overloaded": EndKind.overloaded,
    "rate_limit_exceeded": EndKind.overloaded,
    "internal_server_error": EndKind.overloaded,
    "response_too_many_failed_attempts": EndKind.overloaded,
    "http_connection_failed": EndKind.network,
    "response_stream_connection_failed": EndKind.network,
    "response_stream_disconnected": EndKind.network,
}

_BY_STATUS = {
    401: EndKind.sign_in,
    402: EndKind.quota,
    403: EndKind.sign_in,
    404: EndKind.configuration,
    429: EndKind.overloaded,
}

_TIMED_OUT = {
    "startup": "Codex did not begin the turn in time",
    "silence": "Codex was silent for too long",
    "command": "a command did not end in time",
    "session": "the session took too long",
}


def classify(
    turn: Turn,
    returncode: int | None,
    reason: str,
    stderr: str,
    facts: RolloutFacts,
    now: float,
    zone: tzinfo | None = None,
) -> End:
    """Decide how a turn ended.

    `returncode` is None for a process that was not ours; `reason` is the supervision's: exited, stopped, or the deadline that
    passed; `stderr` is the end of what this Codex printed there; `now` is when it ended, in seconds since the epoch; `zone` is
    the time zone of Codex, the local one when not given. A turn that was completed is completed, whatever came after.
    """
    if turn.completed:
        return End(EndKind.completed, "")
    if turn.failed is not None:
        return _failed(turn.failed, facts, now, zone)
    if reason in _TIMED_OUT:
        return End(EndKind.timed_out, _with_trouble(_TIMED_OUT[reason], turn))
    if reason == "stopped":
        return End(EndKind.interrupted, "it was stopped")
    if returncode is None:
        return End(EndKind.interrupted, "Codex was cut off in the middle of the turn")
    if returncode < 0:
        return End(EndKind.interrupted, f"Codex was ended by {_signal_name(-returncode)}")
    words = _reason(stderr)
    if returncode == 2 and turn.thread is None:
        return End(EndKind.configuration, words or "Codex refused its arguments")
    if returncode == 101:
        panic = re.search(r"panicked at .*\n(.+)", stderr)
        return End(EndKind.failed, f"Codex crashed: {one_line(panic[1])}" if panic else "Codex crashed")
    if turn.thread is None and words:
        return End(_kind_of(words, RolloutFacts()), words)
    return End(EndKind.failed, words or f"Codex ended with status {returncode} in the middle of the turn")


def _failed(text: str, facts: RolloutFacts, now: float, zone: tzinfo | None) -> End:
    message = one_line(text)
    kind = _kind_of(text, facts)
    if kind is not EndKind.usage_limit:
        return End(kind, message)
    return End(kind, message, _plausible(facts.resets_at, now) or retry_time(text, now, zone))


def _kind_of(text: str, facts: RolloutFacts) -> EndKind:
    """By the text first: Codex has one code for a limit that passes and for a quota that does not."""
    plain = text.lower().replace("\u2019", "'")
    for kind, phrases in _BY_TEXT:
        if any(phrase in plain for phrase in phrases):
            return kind
    if facts.http_status in _BY_STATUS:
        return _BY_STATUS[facts.http_status]
    return _BY_CODE.get(facts.error_info or "", EndKind.failed)


def _plausible(moment: float | None, now: float) -> float | None:
    """No limit lasts longer than a month; a reset that has just passed means: try now."""
    return moment if moment is not None and now - _DAY <= moment <= now + 32 * _DAY else None


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_TRY_AGAIN = re.compile(
    r"try again at (?:(?P<month>[a-z]{3}) (?P<day>\d{1,2})(?:st|nd|rd|th), (?P<year>\d{4}) )?"
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})\s?(?P<half>[ap])m",
    re.IGNORECASE,
)


def retry_time(text: str, now: float, zone: tzinfo | None = None) -> float | None:
    """The moment of "try again at 5:08 PM" or "... at Nov 24th, 2026 5:26 PM", in seconds since the epoch; None without one.

    Codex writes local time, and leaves the date out when it is today's. `now` decides which day that is.
    """
    found = _TRY_AGAIN.search(text)
    if found is None:
        return None
    try:
        day = datetime.fromtimestamp(now, zone)
        if found["month"]:
            month = _MONTHS.index(found["month"].lower()) + 1
            day = day.replace(year=int(found["year"]), month=month, day=int(found["day"]))
        hour = int(found["hour"]) % 12 + (12 if found["half"].lower() == "p" else 0)
        moment = day.replace(hour=hour, minute=int(found["minute"]), second=0, microsecond=0)
        # Codex leaves the seconds out: the whole minute has to pass.
        return _plausible((moment + timedelta(minutes=1)).timestamp(), now)
    except (ValueError, OverflowError):
        return None


def one_line(text: str) -> str:
    """A failure's text on one line of at most 500 characters; of a raw JSON answer the message that it holds."""
    if text.lstrip().startswith("{"):
        try:
            text = json.loads(text)["error"]["message"]
        except (ValueError, RecursionError, LookupError, TypeError):
            pass
    return " ".join(str(text).split())[:_LONGEST_MESSAGE]


def _reason(stderr: str) -> str:
    """The line that says what went wrong; Codex's log lines begin with a time stamp."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    told = [line for line in lines if not re.match(r"\d{4}-\d\d-\d\dT", line)] or lines
    if not told:
        return ""
    errors = [number for number, line in enumerate(told) if line.lower().startswith("error")]
    first = errors[-1] if errors else len(told) - 1
    words = told[first : first + 2] if told[first].endswith(":") else told[first : first + 1]
    return one_line(re.sub(r"(?i)^error: ", "", " ".join(words)))


def _with_trouble(sentence: str, turn: Turn) -> str:
    return f"{sentence} ({one_line(turn.errors[-1])})" if turn.errors else sentence


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
