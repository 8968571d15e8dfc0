"""When a runner waits between two sessions, and how long: its delay, a back-off after failures, the usage limit of the account."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial

from . import model
from .account import Account
from .ends import End
from .events import Command, Event, FileChange, Said, Thought, ToolCall

UNKNOWN_WAIT = 900.0
"""Seconds that a usage limit is waited for whose end is not told."""

SHORTEST_WAIT = 30.0
LONGEST_WAIT = 6 * 3600.0
"""Seconds after which a usage limit is tried again even though its reset lies later: the times that are told are not always right."""

TRYING = 900.0
"""Seconds in which another runner must have found out whether a usage limit is over."""

SPREAD = 5.0
"""Seconds over which the runners that waited for that begin again."""

_TICK = 0.1


class Waiting:
    """The waits of one runner.

    `delay`: seconds between two sessions. `eager`: a person asked for this runner, so its first session tries at once, even while a limit is known. `announce` is told until when
    (epoch seconds) and why others have to know that it waits; `tick` how many seconds are left and why, again and again, and ends a wait by raising.
    """

    def __init__(
        self,
        account: Account,
        *,
        delay: float,
        eager: bool,
        announce: Callable[[float, str], None],
        tick: Callable[[float, str], None],
    ) -> None:
        self._account = account
        self._delay = delay
        self._eager = eager
        self._announce = announce
        self._tick = tick
        self._rested = True

    def before_session(self) -> bool:
        """Wait where there is reason to. Returns whether it did: somebody may have changed the worktree meanwhile."""
        if self._delay and not self._rested:
            self._rested = True
            self._wait(self._delay, "next session")
            return True
        waited = False
        while (limit := self._account.limit()) is not None:
            if (self._eager or limit.until <= time.time()) and self._account.try_it():
                break
            left = limit.until - time.time()
            why = f"usage limit: {limit.reason}"
            self._wait(left if left > 0 else TRYING, why, told=True, over=partial(self._account.moved_on, limit))
            waited = True
        self._eager = False
        if waited and not self._account.trying:
            self._wait(random.uniform(0, SPREAD), "the usage limit is over")
        return waited

    def saw(self, event: Event) -> None:
        """What the agent does shows that there is no limit, or none any more."""
        if self._account.trying and isinstance(event, Said | Thought | Command | FileChange | ToolCall):
            self._account.over()

    def after_session(self) -> None:
        """A session is closed, and it was no usage limit that ended it."""
        self._rested = False
        self._account.leave()

    def after_limit(self, end: End) -> None:
        """Tell every runner of this account how long there is nothing to be had; this one hears it too, before its next session."""
        now = time.time()
        until = end.retry_at if end.retry_at is not None else now + UNKNOWN_WAIT
        until = min(max(until, now + SHORTEST_WAIT), now + LONGEST_WAIT)
        try:
            self._account.limited(until, end.message)
        except OSError as error:
            self._wait(until - now, f"usage limit (other tasks cannot be told: {error}): {end.message}", told=True)

    def after_failure(self, failures: int, why: str) -> None:
        """Wait the longer the more failures in a row there were. No delay comes on top of it. An eager runner's own failures alone count, not what it found cut off."""
        self._rested = True
        if not self._eager:
            self._wait(model.backoff(failures, random.random()), why or "a failure", told=True)

    def _wait(self, seconds: float, why: str, *, told: bool = False, over: Callable[[], bool] = lambda: False) -> None:
        until = time.time() + seconds
        if told:
            self._announce(until, why)
        end = time.monotonic() + seconds
        while (left := min(end - time.monotonic(), until - time.time())) > 0 and not over():
            self._tick(left, why)
            time.sleep(min(left, _TICK))
