"""Where the package's templates and hooks are: inside it (wheel, sdist) or beside it (a checkout, an editable install)."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Sequence
from pathlib import Path

from .errors import AutonomousError

LIMIT = 256 * 1024
"""A template or hook of more bytes than this is refused: a prompt may have 1,048,576 characters in all."""

_PACKAGE = Path(__file__).resolve().parent


def template(name: str, *, overrides: Sequence[Path] = ()) -> str:
    """The text of the template `name` ("executor.md"): the first of the folders `overrides` that has it, else ours.

    Raises AutonomousError for a folder that does not exist and for a template that cannot be read, is not UTF-8 or is over
    LIMIT bytes.
    """
    for folder in overrides:
        if not folder.is_dir():
            raise AutonomousError(f"there is no folder {folder} for templates", f"mkdir -p {shlex.quote(str(folder))}")
        text = _read(folder / name)
        if text is not None:
            return text
    return _ours("templates", name)


def hook(name: str) -> str:
    """The text of the hook `name` ("post-commit"). Raises AutonomousError where the installation lacks it."""
    return _ours("hooks", name)


def _ours(folder: str, name: str) -> str:
    for place in (_PACKAGE, _PACKAGE.parent):
        text = _read(place / folder / name)
        if text is not None:
            return text
    raise AutonomousError(
        f"this installation of git-autonomous has no {folder}/{name}", "pip install --force-reinstall git-autonomous"
    )


def _read(path: Path) -> str | None:
    """The text of a file, or None where there is none. Neither a FIFO nor a device can make this wait."""
    look = f"ls -ld {shlex.quote(str(path))}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AutonomousError(f"cannot read {path}: {error.strerror}", look) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise AutonomousError(f"cannot read {path}: not a file", look)
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(LIMIT + 1)
    finally:
        os.close(descriptor)
    if len(content) > LIMIT:
        raise AutonomousError(f"{path} is larger than {LIMIT // 1024} KiB", look)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise AutonomousError(f"{path} is not UTF-8 (byte {error.start})", f"file {shlex.quote(str(path))}") from error
