"""The places a setting can stand in, read and changed: git config (local, worktree, global) and `.autonomous.toml`.

The file is edited as text of people: its comments, order and line ends stay.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from . import base_settings, config, git, hostile, origins, process
from .config import SETTINGS, TOML_NAME, Approvals, Loaded, Setting
from .errors import AutonomousError, UsageError
from .git import Repository

if TYPE_CHECKING:
    from tomlkit import TOMLDocument


class Scope(StrEnum):
    """Where `set` and `unset` work: a scope of git config, or `.autonomous.toml`."""

    LOCAL = "local"
    WORKTREE = "worktree"
    GLOBAL = "global"
    SHARED = "shared"

    @property
    def where(self) -> str:
        return TOML_NAME if self is Scope.SHARED else f"git config ({self})"


@dataclass(frozen=True)
class Here:
    """The settings that hold in the current folder, and its repository (None outside of every one)."""

    repository: Repository | None
    loaded: Loaded

    def ignored(self) -> list[str]:
        """The keys that `.autonomous.toml` sets and that do not count before the user approved them."""
        return [line.partition(" = ")[0] for line in self.loaded.unapproved.splitlines()]


def read_here() -> Here:
    """Raises UsageError for a setting that is wrong in whichever place, AutonomousError for a repository that git refuses."""
    repository = find_repository()
    content = base_settings.read(repository) if repository is not None else None
    approvals = Approvals(config.state_directory(os.environ) / "approvals.json")
    loaded = config.load(
        flags={},
        environ=os.environ,
        git_config=repository.config() if repository is not None else user_config(),
        base_toml=content,
        approved=lambda text: repository is not None and approvals.approved(repository.common_dir, text),
        place=lambda *setting: origins.place(repository, *setting),
    )
    return Here(repository, loaded)


def find_repository() -> Repository | None:
    """The repository around the current folder. Raises AutonomousError where there is one that git refuses."""
    try:
        return Repository.discover()
    except AutonomousError as error:
        if not error.message.startswith("not a git repository"):
            raise
        return None


def user_config() -> list[tuple[str, str, str]]:
    """What git config holds outside of every repository, as `Repository.config` gives it."""
    return git.parse_config(process.run([git.find_git(), "config", *git.CONFIG]).stdout)


def write(setting: Setting, values: Sequence[str], scope: Scope) -> None:
    """Give a setting its value in one place; several values are several commands. Raises UsageError for what is not one."""
    option = "" if scope is Scope.LOCAL else f"--{scope} "
    example = f"git autonomous config set {option}{setting.key} {setting.example}"
    if len(values) > 1 and not isinstance(setting.default, tuple):
        raise UsageError(f"{setting.key} takes one value, not {len(values)}", example)
    text = "\n".join(values)
    read = config.parse(setting, text, source=scope.where, hint=example)
    if scope is Scope.SHARED:
        _edit(lambda content: with_value(content, setting, toml_value(text, read)))
    else:
        _git_config(scope, "--replace-all", "--", _name(setting), text)


def erase(setting: Setting, scope: Scope) -> None:
    """Take a setting out of one place. Raises AutonomousError where it does not stand there."""
    try:
        if scope is Scope.SHARED:
            _edit(lambda content: without(content, setting))
        elif _git_config(scope, "--unset-all", "--", _name(setting)) == NOT_SET:
            raise KeyError(setting.key)
    except KeyError:
        message = f"{setting.key} is not set in {scope.where}"
        raise AutonomousError(message, "git autonomous config list --show-origin") from None


NOT_SET = 5
"""The exit status of `git config --unset-all` for a key that is not there (git-config(1))."""


def _name(setting: Setting) -> str:
    return f"autonomous.{setting.key}"


def _git_config(scope: Scope, *arguments: str) -> int:
    repository = find_repository()
    if repository is not None:
        with repository.lock():
            done = repository.call("config", f"--{scope}", *arguments, git_dir=repository.git_dir)
    elif scope is Scope.GLOBAL:
        done = process.run([git.find_git(), "config", "--global", *arguments])
    else:
        raise AutonomousError(
            "not a git repository (or any of the parent directories)", "git autonomous config set --global KEY VALUE"
        )
    if done.returncode not in (0, NOT_SET):
        reason = " ".join(git.text(done.stderr).split()).removeprefix("fatal: ").removeprefix("error: ")
        raise AutonomousError(f"git config failed: {reason}", "git config --list --show-origin")
    return done.returncode


# -- .autonomous.toml ------------------------------------------------------------------------------------------------------


def _edit(change: Callable[[str], str]) -> None:
    """Change the file of the checkout that the user stands in, by rename. Raises AutonomousError."""
    repository = Repository.discover()
    if repository.toplevel is None:
        raise AutonomousError(
            f"there is no checkout here to edit {TOML_NAME} in", "git autonomous config set KEY VALUE"
        )
    try:
        content = hostile.read(repository.toplevel, TOML_NAME, config.TOML_LIMIT) or b""
        new = change(content.decode())
    except hostile.NotAFile as error:
        raise AutonomousError(str(error), f"ls -ld {TOML_NAME}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{TOML_NAME} is not UTF-8", config.MEND_TOML) from error
    hostile.write(repository.toplevel, TOML_NAME, new.encode(), attic=repository.state_dir / "attic")


def with_value(text: str, setting: Setting, value: object) -> str:
    """The text of a `.autonomous.toml` with a setting at `value`: in its old place, in place of its commented line, or at the end.

    Raises UsageError where the text is not TOML.
    """
    import tomlkit

    document = _parse(text)
    if setting.key not in document:
        line = f"{setting.key} = {tomlkit.item(value).as_string()}"
        commented = re.compile(rf"^#[ \t]*{setting.key}[ \t]*=[^\r\n]*", re.MULTILINE)
        uncommented = commented.sub(lambda _: line, text, count=1)
        if _parse(uncommented).get(setting.key) == value:  # not so where the line is part of a longer text
            return uncommented
    document[setting.key] = value
    return tomlkit.dumps(document)


def without(text: str, setting: Setting) -> str:
    """The text of a `.autonomous.toml` without a setting. Raises UsageError where it is not TOML, KeyError where the setting is not there."""
    import tomlkit

    document = _parse(text)
    del document[setting.key]
    return tomlkit.dumps(document)


def _parse(text: str) -> TOMLDocument:
    import tomlkit

    try:
        return tomlkit.parse(text)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{TOML_NAME} is not TOML: {reason}", config.MEND_TOML) from None


def toml_value(text: str, read: object) -> object:
    """What to write for a value that was given as `text` and read as `read`: "10m" stays as it was typed."""
    if isinstance(read, tuple):
        return list(read)
    return read if isinstance(read, bool) else int(text) if text.isdecimal() else text


HEADER = f"""\
# Settings of git autonomous for everybody who works on this repository.
#
# They count once this file is committed, for tasks that start from that commit. Your own `git config autonomous.KEY`,
# your environment and the command line win over them. A setting marked (*) runs something or widens what an agent may do:
# it counts for each person only after that person was shown its exact text and said yes, once.
#
# Change a setting here, or with: git autonomous config set --{Scope.SHARED} KEY VALUE
"""


def commented_file() -> str:
    """The `.autonomous.toml` that `init` writes: every setting with its help and its default (or an example), commented out."""
    import tomlkit

    parts = [HEADER]
    for setting in SETTINGS:
        value = tomlkit.item(_spelled(setting)).as_string()
        mark = " (*)" if setting.guarded else ""
        parts.append(f"# {setting.help}{mark}\n#{setting.key} = {value}\n")
    return "\n".join(parts)


def _spelled(setting: Setting) -> object:
    """A setting's default as a person would write it, an example where the default is nothing."""
    if setting.default == ():
        return shlex.split(setting.example)
    if setting.default in (None, setting.kind.read(setting.example)):
        return toml_value(setting.example, setting.default)
    return _compact(setting.default) if isinstance(setting.default, float) else setting.default


def _compact(seconds: float) -> object:
    for unit, letter in ((3600, "h"), (60, "m")):
        if seconds and seconds % unit == 0:
            return f"{seconds / unit:.0f}{letter}"
    return int(seconds)
