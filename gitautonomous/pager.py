"""The user's own pager, found and started by git's rules."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO, cast

from . import process, show
from .git import CONFIG, Repository, find_git, parse_config, text

YES, NO = ("true", "yes", "on", "1", ""), ("false", "no", "off", "0")
NAMES = ("autonomous",)
"""Whose setting `pager.<name>` holds for what is output of no other command's kind."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def write(shown: str, stdout: TextIO, repository: Repository | None = None) -> None:
    """Print a whole text, through the pager where it does not fit on the terminal. `repository`: where it is known already."""
    if show.fits(shown, stdout):
        stdout.write(shown)
        return
    chosen = command(repository, os.environ, NAMES)
    if chosen is not None and settings(repository).get("color.pager", "true").lower() in NO:
        shown = _COLOURS.sub("", shown)
    with output(stdout, chosen, repository.main_root if repository is not None else Path("/")) as out:
        out.write(shown)


def settings(repository: Repository | None) -> dict[str, str]:
    """git's settings by lower-case key; `repository` is None outside of every one."""
    if repository is not None:
        return {key: value for _, key, value in repository.config()}
    return {key: value for _, key, value in parse_config(process.run([find_git(), "config", *CONFIG]).stdout)}


def command(repository: Repository | None, environ: Mapping[str, str], names: Sequence[str] = ()) -> str | None:
    """The shell command of the pager, None for no pager: GIT_PAGER, `pager.<name>`, then what git says (core.pager, PAGER, the one that git was built with).

    `names`: of the commands that the output is like; the first with a setting counts, and `pager.<name>` may also be a yes or a no.
    """
    values = settings(repository)
    own = next((values[f"pager.{name}"] for name in names if f"pager.{name}" in values), "true")
    if own.lower() in NO:
        return None
    chosen = environ.get("GIT_PAGER", own if own.lower() not in YES else None)
    if chosen is None:
        told = repository.call("var", "GIT_PAGER") if repository else process.run([find_git(), "var", "GIT_PAGER"])
        chosen = text(told.stdout).removesuffix("\n")
    return chosen if chosen not in ("", "cat") else None


@contextmanager
def output(stdout: TextIO, pager: str | None, folder: Path) -> Iterator[TextIO]:
    """A stream that ends in the pager, or `stdout` itself when there is none. A pager that is left early is no error.

    `folder`: where the pager runs. Pagers such as delta look for a repository there, so it must not be an agent's worktree.
    """
    if pager is None:
        yield stdout
        return
    stdout.flush()
    environment = process.clean_environment({"GIT_PAGER_IN_USE": "true"})
    environment.setdefault("LESS", "FRX")
    environment.setdefault("LV", "-c")
    running = subprocess.Popen(
        pager, shell=True, stdin=subprocess.PIPE, stdout=stdout.fileno(), cwd=folder, env=environment,
        encoding=stdout.encoding, errors="replace",
    )  # fmt: skip
    assert running.stdin is not None
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the pager's
    try:
        with suppress(BrokenPipeError):
            yield cast(TextIO, running.stdin)
        with suppress(BrokenPipeError):
            running.stdin.close()
    finally:
        if not running.stdin.closed:
            with suppress(OSError):
                running.stdin.close()
        running.wait()
        signal.signal(signal.SIGINT, before)
