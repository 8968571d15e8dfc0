"""When a runner waits, for how long, and who is told."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gitautonomous import waiting
from gitautonomous.account import Account
from gitautonomous.ends import End, EndKind
from gitautonomous.events import Said, TurnStarted
from gitautonomous.waiting import Waiting


class Left(Exception):
    """The wait was left."""


class Log:
    """What a runner would say: (seconds, why) of each announcement and of the first tick, at which it leaves."""

    def __init__(self) -> None:
        self.announced: list[tuple[int, str]] = []
        self.ticked: list[tuple[int, str]] = []
        self.leave = True

    def announce(self, until: float, why: str) -> None:
        self.announced.append((round(until - time.time()), why))

    def tick(self, left: float, why: str) -> None:
        self.ticked.append((round(left), why))
        if self.leave:
            raise Left


def make(account: Account, *, delay: float = 0.0, eager: bool = False) -> tuple[Waiting, Log]:
    log = Log()
    return Waiting(account, delay=delay, eager=eager, announce=log.announce, tick=log.tick), log


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account(tmp_path, tmp_path / "codex")


def test_the_delay_comes_once_after_each_session_and_not_before_the_first(account: Account) -> None:
    waits, log = make(account, delay=0.05)
    log.leave = False
    assert not waits.before_session()
    waits.after_session()
    assert waits.before_session()
    assert {why for _, why in log.ticked} == {"next session"}
    assert not waits.before_session()
    assert log.announced == []


def test_a_failure_is_waited_for_instead_of_the_delay(account: Account) -> None:
    waits, log = make(account, delay=300)
    waits.after_session()
    with pytest.raises(Left):
        waits.after_failure(3, "stream disconnected")
    assert log.announced == log.ticked
    ((seconds, why),) = log.announced
    assert (20 <= seconds <= 25, why) == (True, "stream disconnected")
    assert not waits.before_session()


def test_what_an_earlier_runner_left_cut_off_is_not_waited_for_when_a_person_asks(account: Account) -> None:
    waits, log = make(account, delay=300, eager=True)
    waits.after_session()
    waits.after_failure(1, "Codex was cut off in the middle of the turn")
    assert not waits.before_session()
    assert (log.announced, log.ticked) == ([], [])
    with pytest.raises(Left):
        waits.after_failure(2, "stream disconnected")


@pytest.mark.parametrize(
    ("ahead", "waited"),
    [
        (None, waiting.UNKNOWN_WAIT),
        (3600, 3600),
        (1, waiting.SHORTEST_WAIT),
        (-60, waiting.SHORTEST_WAIT),
        (90000, waiting.LONGEST_WAIT),
    ],
)
def test_a_usage_limit_is_waited_for_until_its_end_but_neither_too_short_nor_too_long(
    account: Account, ahead: float | None, waited: float
) -> None:
    waits, log = make(account)
    retry_at = None if ahead is None else time.time() + ahead
    waits.after_limit(End(EndKind.usage_limit, "You’ve hit your usage limit.", retry_at))
    with pytest.raises(Left):
        waits.before_session()
    assert log.announced == [(waited, "usage limit: You’ve hit your usage limit.")]


def test_a_person_who_asks_is_obeyed_once_and_the_agents_first_word_ends_the_limit(account: Account) -> None:
    account.limited(time.time() + 3600, "limit")
    waits, log = make(account, eager=True)
    assert not waits.before_session()
    waits.saw(TurnStarted())
    assert account.limit() is not None
    waits.saw(Said("hello"))
    assert account.limit() is None
    account.limited(time.time() + 3600, "again")
    with pytest.raises(Left):
        waits.before_session()
    assert log.ticked == [(3600, "usage limit: again")]


def test_a_state_folder_that_cannot_be_written_makes_nobody_hammer(tmp_path: Path) -> None:
    (tmp_path / "limits").write_text("in the way")
    waits, log = make(Account(tmp_path, tmp_path / "codex"))
    with pytest.raises(Left):
        waits.after_limit(End(EndKind.usage_limit, "limit", time.time() + 600))
    ((seconds, why),) = log.announced
    assert (seconds, why.startswith("usage limit (other tasks cannot be told: "), why.endswith("): limit")) == (
        600,
        True,
        True,
    )
