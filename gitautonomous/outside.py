"""Which finished tasks are in their base: merged by hand, or fast-forwarded. Light on purpose: `list` imports this.

To tell, git walks all that is in no base. So what was found outside is kept in `<common git dir>/autonomous/cache/outside`, a line for each base::

    <the base's tip> <tip of a task> <tip of a task> ...

That stays true whatever becomes of the branches: it is about commits.
"""

from __future__ import annotations

import os

from . import cached
from .quick_git import Git

FILE = os.path.join("autonomous", "cache", "outside")

TYPE_CHECKING = False
if TYPE_CHECKING:
    Tips = dict[str, set[str]]


class Question:
    """Which of some tasks' tips, given by the tip of their base, that base has. Git looks while the caller does something else."""

    def __init__(self, git: Git, tips: Tips) -> None:
        self._git = git
        self._tips = tips
        self._kept = read(git.common_dir)
        self._outside = {base: its & self._kept.get(base, set()) for base, its in tips.items()}
        self._asked = {
            base: git.feed("\n".join((*new, f"^{base}", "")).encode(), "rev-list", "--stdin")
            for base, its in tips.items()
            if (new := its - self._outside[base])
        }

    def answer(self, *, keep: bool) -> set[str]:
        """The tips that are in their base; none of a base that git knows nothing of. `keep`: they were those of all tasks, so that nothing else is worth keeping."""
        merged: set[str] = set()
        for base, asked in self._asked.items():
            listed, known = self._git.finish(*asked)
            if known:
                self._outside[base] |= self._tips[base].intersection(listed.decode().split())
                merged |= self._tips[base] - self._outside[base]
        if keep and self._outside != self._kept:
            write(self._git.common_dir, self._outside)
        return merged


def read(common_dir: str) -> Tips:
    """The tips that are known to be outside, by the tip of the base."""
    try:
        with open(os.path.join(common_dir, FILE), encoding="utf-8", errors="replace") as file:
            return {base: set(tips) for base, *tips in map(str.split, file)}
    except (OSError, ValueError):
        return {}


def write(common_dir: str, outside: Tips) -> None:
    """Keep what was found."""
    cached.write(os.path.join(common_dir, FILE), (f"{' '.join((base, *tips))}\n" for base, tips in outside.items()))
