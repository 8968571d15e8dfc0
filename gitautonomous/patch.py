"""A diff as the user's git shows it, made safe to look at: in the user's colours, with nothing of the content able to reach the terminal or to hide.

git is asked for a diff without external programs and without the attributes of the tree, which an agent wrote: neither a filter can run nor a file pass for binary. Colours are
asked for as secret ones, which content cannot know, and only those become the user's colours; every other control or invisible character is shown as what it is.
"""

from __future__ import annotations

import re
import secrets
import subprocess
from collections.abc import Iterator
from itertools import islice

from . import git, process, show
from .git import Repository

LONGEST_LINE = 1 << 16

COLOURS = {
    "meta": "\x1b[1m", "frag": "\x1b[36m", "func": "", "context": "", "old": "\x1b[31m", "new": "\x1b[32m", "whitespace": "\x1b[41m",
    "oldMoved": "\x1b[1;35m", "oldMovedAlternative": "\x1b[1;34m", "oldMovedDimmed": "\x1b[2m", "oldMovedAlternativeDimmed": "\x1b[2;3m",
    "newMoved": "\x1b[1;36m", "newMovedAlternative": "\x1b[1;33m", "newMovedDimmed": "\x1b[2m", "newMovedAlternativeDimmed": "\x1b[2;3m",
}  # fmt: skip
"""git's own colours of a diff, by the slots of `color.diff.<slot>`."""

_RESET = "\x1b[m"
_SEQUENCE = re.compile(r"(\x1b\[[0-9;]*m)")


def lines(
    repository: Repository, old: str, new: str, *, without: str, colour: bool, width: int | None = None
) -> Iterator[str]:
    """The diff between two commits with a summary above, line by line, each ended by a newline. `without`: a folder that is left out; `width`: columns for the
    summary.

    A line longer than 64 KiB is cut, and says so. The user's diff settings hold (algorithm, prefixes, moved lines, context).
    """
    slots = _colours(repository) if colour else {}
    secret = dict(zip(slots, _secrets(len(slots)), strict=True))
    settings = [part for slot, value in secret.items() for part in ("-c", f"color.diff.{slot}=#{value:06x}")]
    argv = [
        repository.git, "--no-pager", f"--git-dir={repository.common_dir}", *git.QUIET, *settings, "diff", "--no-ext-diff", "--no-textconv", "--no-relative",
        "--submodule=short", "--ignore-submodules=none", "--stat", "--patch", f"--color={'always' if colour else 'never'}", old, new, "--", ":(top)",
        f":(top,exclude,literal){without}",
    ]  # fmt: skip
    shown = {f"\x1b[38;2;{v >> 16};{v >> 8 & 255};{v & 255}m": slots[slot] for slot, v in secret.items()}
    if colour:
        shown[_RESET] = _RESET
    environment = process.clean_environment({"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "COLUMNS": str(width or 80)})
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=repository.common_dir, env=environment
    ) as running:  # fmt: skip
        assert running.stdout is not None
        try:
            while line := running.stdout.readline(LONGEST_LINE):
                rest = 0
                while not line.endswith(b"\n") and (more := running.stdout.readline(LONGEST_LINE)):
                    rest += len(more)
                    if more.endswith(b"\n"):
                        break
                yield _line(line, shown) + (f"{_RESET if colour else ''} [{rest:,} more bytes]" if rest else "") + "\n"
        finally:
            running.kill()


def _line(line: bytes, shown: dict[str, str]) -> str:
    parts = _SEQUENCE.split(line.removesuffix(b"\n").decode("utf-8", "backslashreplace"))
    return "".join(shown[part] if part in shown else visible(part) for part in parts)


def visible(text: str) -> str:
    """One line of content with tabs kept and everything else that is not printable spelled out: `^M`, `^[`, `<U+202E>`."""
    if text.isprintable():
        return text
    spelled = "".join(char if char.isprintable() or char == "\t" else _spelled(char) for char in text)
    return show.clean(spelled, keep_newlines=True)


def _spelled(char: str) -> str:
    if char < " " or char == "\x7f":
        return "^" + chr(ord(char) ^ 64)
    return f"<U+{ord(char):04X}>"


def _colours(repository: Repository) -> dict[str, str]:
    """The user's colour of each slot, as the escape sequence that switches it on; slots without a colour are left out."""
    configured = {key for _, key, _ in repository.config() if key.startswith("color.diff.")}
    found = {}
    for slot, default in COLOURS.items():
        names = [slot, "plain"] if slot == "context" else [slot]
        for name in names:
            if f"color.diff.{name.lower()}" in configured:
                default = repository.run("config", "--get-color", f"color.diff.{name}", git_dir=repository.git_dir)
        found[slot] = default
    return {slot: sequence for slot, sequence in found.items() if sequence}


def _secrets(count: int) -> Iterator[int]:
    """Different random colours."""
    return islice(iter(dict.fromkeys(secrets.randbelow(1 << 24) for _ in range(count + 50))), count)
