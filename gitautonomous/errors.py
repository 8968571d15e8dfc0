"""What a command may fail with: one clear message, one hint, one exit status."""

from __future__ import annotations


class AutonomousError(Exception):
    """An expected failure.

    `message` is one line without a prefix; `hint` is a command to paste, or None.
    """

    exit_status = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(AutonomousError):
    """The command line or a setting is not usable as given."""

    exit_status = 2


class NeedsPerson(AutonomousError):
    """The task cannot go on without a decision of a person."""

    exit_status = 3


class Interrupted(AutonomousError):
    """A signal ended the command; `signum` gives the exit status 128 + signum."""

    def __init__(self, message: str, hint: str | None = None, *, signum: int) -> None:
        super().__init__(message, hint)
        self.signum = signum

    @property
    def exit_status(self) -> int:  # type: ignore[override]
        return 128 + self.signum
