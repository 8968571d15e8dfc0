"""The signals that ask a program to end: what counts as one of them, and what a second one does.

Through `git autonomous` a Ctrl-C comes twice: from the terminal, and from git, which passes on what it got itself.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

ECHO = 1.0
"""Seconds after a signal in which another one is the same one again."""


@contextmanager
def heard(first: Callable[[int], None], again: Callable[[int], None]) -> Iterator[None]:
    """While the block runs, `first` is told the number of the signal that asks to end, and `again` each later one that is no echo."""
    told_at: list[float] = []

    def tell(number: int, _: FrameType | None) -> None:
        if not told_at:
            told_at.append(time.monotonic())
            first(number)
        elif time.monotonic() - told_at[0] > ECHO:
            again(number)

    previous = {number: signal.signal(number, tell) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def interrupt_once() -> None:
    """From now on the first Ctrl-C raises KeyboardInterrupt, wherever the program is, and no other one disturbs what is done about it."""

    def interrupt(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)


@contextmanager
def held_back() -> Iterator[None]:
    """The signals wait until the block is left."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
