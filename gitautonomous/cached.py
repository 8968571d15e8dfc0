"""Files below `<common git dir>/autonomous/cache`, which hold what can be found out again. Light on purpose: `list` imports this."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def write(path: str, lines: Iterable[str]) -> None:
    """Replace a file by rename, where the repository can be written to. The last writer wins."""
    temporary = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        with open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            file.writelines(lines)
        os.replace(temporary, path)
    except OSError:
        pass
