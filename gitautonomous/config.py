"""Settings with their sources, and what the user approved.

One table, the fields of `Settings`, gives each setting its name in every place, its type, default and help text:

    field silence_timeout = git config autonomous.silenceTimeout = GIT_AUTONOMOUS_SILENCE_TIMEOUT
                          = silenceTimeout in .autonomous.toml

A flag wins over the environment, that over git config (worktree, local, global), that over the `.autonomous.toml` of the
base commit, that over the default. A guarded setting runs something or widens what an agent may do, so one that
comes from the repository counts only after the user approved its exact text.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import locks, toml
from .errors import AutonomousError, UsageError

TOML_NAME = ".autonomous.toml"
TOML_LIMIT = 256 * 1024
"""A `.autonomous.toml` of more bytes than this is refused."""

MEND_TOML = f"${{EDITOR:-vi}} {TOML_NAME} && git commit -m 'Mend the settings' {TOML_NAME}"
"""The hint for a `.autonomous.toml` that is not usable: only what is committed counts."""

LONGEST = 366 * 86400.0
"""The longest duration a setting can have, in seconds."""

ATTEMPT = "GIT_AUTONOMOUS_ATTEMPT"
"""The variable that marks everything that an agent of ours started. It is no setting."""

_SECTION = "autonomous."
_ENVIRONMENT = "GIT_AUTONOMOUS_"
_LARGEST = 2**53
_LOOKALIKES = 100


@dataclass(frozen=True)
class Kind:
    """A type of setting. `read` takes text or the type's own value and raises ValueError for anything else; `example` is a word of a shell."""

    description: str
    example: str
    read: Callable[[object], object]


def duration(text: str) -> float:
    """Seconds of "90", "1.5", "10m", "2h30m" or "1d". Raises ValueError for anything else and above LONGEST."""
    number = r"(\d{1,12}(?:\.\d{1,6})?)"
    match = re.fullmatch(rf"{number}|(?:{number}d)?(?:{number}h)?(?:{number}m)?(?:{number}s)?", text.strip(), re.ASCII)
    if match is None or not any(match.groups()):
        raise ValueError(text)
    bare, *parts = match.groups(default="0")
    seconds = float(bare) + sum(float(part) * unit for part, unit in zip(parts, (86400, 3600, 60, 1), strict=True))
    if seconds > LONGEST:
        raise ValueError(text)
    return seconds


def _read_seconds(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LONGEST:
        return float(value)
    return duration(_read_text(value))


def _read_term(value: object) -> float:
    seconds = _read_seconds(value)
    if not 1 <= seconds <= 86400:
        raise ValueError(value)
    return seconds


def _read_count(value: object) -> int:
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,16}\s*", value, re.ASCII):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST:
        return value
    raise ValueError(value)


def _read_bytes(value: object) -> int:
    match = re.fullmatch(r"\s*(\d{1,16})([kmg])\s*", value.lower(), re.ASCII) if isinstance(value, str) else None
    if match is None:
        return _read_count(value)
    return _read_count(int(match[1]) << {"k": 10, "m": 20, "g": 30}[match[2]])


def _read_switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = _read_text(value).strip().lower()
    if word not in ("true", "yes", "on", "1", "false", "no", "off", "0"):
        raise ValueError(value)
    return word in ("true", "yes", "on", "1")


def _read_text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(value)
    return value


def _read_optional(value: object) -> str | None:
    return _read_text(value).strip() or None


def _read_commands(value: object) -> tuple[str, ...]:
    lines = value if isinstance(value, list | tuple) else _read_text(value).splitlines()
    return tuple(text for text in (_read_text(line).strip() for line in lines) if text)


def _read_path(value: object) -> str | None:
    path = _read_optional(value)
    if path is not None and os.path.expanduser(path).startswith("~"):
        raise ValueError  # there is no such user
    return path


def _read_prefix(value: object) -> str:
    text = _read_text(value)
    parts = text.split("/")
    if parts.pop() or not parts:
        raise ValueError(value)
    for part in parts:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", part) or ".." in part or part.endswith((".", ".lock")):
            raise ValueError(value)
    return text


def _read_merge_or_rebase(value: object) -> str:
    if value not in ("merge", "rebase"):
        raise ValueError(value)
    return str(value)


_SECONDS = Kind("a duration such as 90, 10m or 2h30m (0: none)", "10m", _read_seconds)
_TERM = Kind("a duration between 1 second and 1 day", "10m", _read_term)
_COUNT = Kind("a whole number, 0 or more", "10", _read_count)
_BYTES = Kind("a number of bytes such as 500m or 1g", "1g", _read_bytes)
_SWITCH = Kind("true or false", "true", _read_switch)
_TEXT = Kind("a text", "NAME", _read_optional)
_PATH = Kind("a path", "/PATH", _read_path)
_COMMANDS = Kind("commands, one a line", "'make test'", _read_commands)
_PREFIX = Kind("the beginning of a branch name, with a final /", "autonomous/", _read_prefix)
_MERGE_OR_REBASE = Kind("merge or rebase", "rebase", _read_merge_or_rebase)


def _setting(default: object, kind: Kind, help: str, *, guarded: bool = False, example: str = "") -> Any:
    metadata = {"kind": kind, "help": help, "guarded": guarded, "example": example or kind.example}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """What a user can set. Durations are in seconds, 0 switches a limit off; commands are run by `sh -c`."""

    branch_prefix: str = _setting("autonomous/", _PREFIX, "beginning of every task's branch name")
    worktree_root: str | None = _setting(
        None, _PATH, "folder of the tasks' worktrees (default: ../<repository>.autonomous)", guarded=True
    )
    templates: str | None = _setting(None, _PATH, "folder with your own templates", guarded=True)
    codex: str | None = _setting(None, _PATH, "the Codex binary (default: from PATH)", guarded=True)
    model: str | None = _setting(None, _TEXT, "Codex model (default: Codex decides)")
    profile: str | None = _setting(None, _TEXT, "Codex profile", guarded=True)
    sandbox_network: bool = _setting(False, _SWITCH, "open the network inside the sandbox", guarded=True)
    network: bool = _setting(False, _SWITCH, "run the agent without a sandbox: full access", guarded=True)
    setup: tuple[str, ...] = _setting(
        (), _COMMANDS, "commands that make a new worktree ready", guarded=True, example="'npm ci'"
    )
    checks: tuple[str, ...] = _setting((), _COMMANDS, "commands that must pass before work counts", guarded=True)
    notify: str | None = _setting(
        None, _TEXT, "command that is told when a task stops", guarded=True, example="~/bin/tell-me"
    )
    notify_timeout: float = _setting(30.0, _SECONDS, "length of the notify command")
    bell: bool = _setting(True, _SWITCH, "ring the terminal's bell when a task stops")
    title: bool = _setting(True, _SWITCH, "show the task and its progress in the terminal's title")
    assisted_by: bool = _setting(True, _SWITCH, "name the model in an Assisted-by trailer")
    delay: float = _setting(3.0, _SECONDS, "pause between two sessions")
    max_sessions: int = _setting(0, _COUNT, "sessions of one task (0: three an item and five)")
    max_tokens: int = _setting(0, _COUNT, "tokens of one task (0: no limit)")
    max_time: float = _setting(0.0, _SECONDS, "working time of one task")
    max_failures: int = _setting(5, _COUNT, "failures in a row before a task stops (0: no limit)")
    max_idle: int = _setting(3, _COUNT, "sessions in a row with neither a tick nor a change before a task stops")
    max_unticked: int = _setting(5, _COUNT, "sessions in a row without a tick before a task stops")
    startup_timeout: float = _setting(60.0, _SECONDS, "wait for Codex's first event")
    silence_timeout: float = _setting(600.0, _SECONDS, "silence of Codex before it is ended")
    command_timeout: float = _setting(3600.0, _SECONDS, "length of one command of the agent")
    session_timeout: float = _setting(14400.0, _SECONDS, "length of one session")
    check_timeout: float = _setting(1800.0, _SECONDS, "length of one check")
    setup_timeout: float = _setting(900.0, _SECONDS, "length of one setup command")
    max_files: int = _setting(20000, _COUNT, "changed files in one session before the task pauses")
    max_bytes: int = _setting(1 << 30, _BYTES, "changed bytes in one session before the task pauses")
    lease_term: float = _setting(
        600.0, _TERM, "a worker that is silent for this long may lose its task to another", example="10m"
    )
    worker_poll: float = _setting(15.0, _SECONDS, "pause of an idle worker between two looks at the remote")
    worker_checks: tuple[str, ...] = _setting(
        ("*",), _COMMANDS, "patterns of the checks that a worker runs, in the sandbox", example="'make *'"
    )
    worker_network: bool = _setting(
        False, _SWITCH, "a worker takes tasks that need the network in the sandbox", guarded=True
    )
    keep_tracking: bool = _setting(False, _SWITCH, "keep .autonomous/<task>/ in the base's tree after a merge")
    sync_by: str = _setting("merge", _MERGE_OR_REBASE, "how sync brings the base into a task")
    announce: bool = _setting(True, _SWITCH, "git hooks say on a checkout where tasks stand")
    guard: bool = _setting(True, _SWITCH, "git hooks refuse what harms a task", guarded=True)
    resume_on_commit: bool = _setting(
        False, _SWITCH, "a person's commit sends a paused task back to work (git hooks)", guarded=True
    )


@dataclass(frozen=True)
class Setting:
    """One line of the table: a field of `Settings` under all its names."""

    field: str
    kind: Kind
    help: str
    default: object
    guarded: bool
    example: str

    @property
    def key(self) -> str:
        """Its name in `.autonomous.toml` and after "autonomous." in git config: silenceTimeout."""
        first, *rest = self.field.split("_")
        return first + "".join(word.capitalize() for word in rest)

    @property
    def variable(self) -> str:
        """Its name in the environment: GIT_AUTONOMOUS_SILENCE_TIMEOUT."""
        return _ENVIRONMENT + self.field.upper()


SETTINGS: tuple[Setting, ...] = tuple(
    Setting(field=field.name, default=field.default, **field.metadata) for field in dataclasses.fields(Settings)
)


@dataclass(frozen=True)
class Loaded:
    """Settings in effect; `origins` names the source of each field ("--delay", "git config (local)", "default").

    `unapproved` is the text of the guarded settings in `.autonomous.toml` that were left out, "" where there is none:
    show it, ask, `Approvals.approve` it and load again.
    """

    settings: Settings
    origins: Mapping[str, str]
    unapproved: str


@dataclass(frozen=True)
class _Given:
    setting: Setting
    value: object
    source: str


def load(
    *,
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    git_config: Sequence[tuple[str, str, str]],
    base_toml: bytes | None,
    approved: Callable[[str], bool],
    place: Callable[[str, str, str], str] = lambda scope, key, value: f"git config ({scope})",
) -> Loaded:
    """Work out the settings.

    `flags` maps fields to values, None for a flag that was not given. `git_config` holds (scope, key, value) in the order of
    `git config --list --show-scope`, so that a later scope wins; of a setting with several commands the last scope gives all.
    `base_toml` is the content of `.autonomous.toml` in the base commit; `approved` answers for the text of its guarded part. `place` says for people where a
    value of `git_config` stands.
    Raises UsageError for an unknown name and for a value of the wrong type, from whichever source.
    """
    committed = _from_toml(base_toml) if base_toml is not None else []
    guarded = guarded_text({given.setting.field: given.value for given in committed})
    unapproved = "" if not guarded or approved(guarded) else guarded
    if unapproved:
        committed = [given for given in committed if not given.setting.guarded]
    values: dict[str, Any] = {}
    origins = {setting.field: "default" for setting in SETTINGS}
    for given in (*committed, *_from_git(git_config, place), *_from_environment(environ), *_from_flags(flags)):
        values[given.setting.field] = given.value
        origins[given.setting.field] = given.source
    return Loaded(Settings(**values), origins, unapproved)


def find(name: str) -> Setting:
    """The setting called `name` ("silenceTimeout" or "autonomous.silenceTimeout", in any case), for `config get` and `set`.

    Raises UsageError that names the nearest one.
    """
    key = name.lower().removeprefix(_SECTION)
    for setting in SETTINGS:
        if setting.key.lower() == key:
            return setting
    raise UsageError(
        f"there is no setting {name!r}{_nearest(name, [s.key for s in SETTINGS])}", "git autonomous config list"
    )


def parse(setting: Setting, value: object, *, source: str, hint: str | None = None) -> object:
    """`value` as the setting's type. Raises UsageError that names `source`."""
    try:
        return setting.kind.read(value)
    except ValueError:
        raise _wrong(setting, value, source, hint) from None


def _wrong(setting: Setting, value: object, source: str, hint: str | None) -> UsageError:
    return UsageError(f"{source}: {setting.key} must be {setting.kind.description}, not {_shown(value)}", hint)


def render(value: object) -> str:
    """A setting's value as `config get` prints it and `parse` reads it; several commands become lines."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, tuple):
        return "\n".join(value)
    return "" if value is None else str(value)


def guarded_text(values: Mapping[str, object]) -> str:
    """The guarded settings among `values` (field to value) as lines of TOML, the text that a user approves; "" for none."""
    return "".join(
        f"{setting.key} = {json.dumps(values[setting.field], ensure_ascii=False)}\n"
        for setting in SETTINGS
        if setting.guarded and values.get(setting.field) not in (None, (), False)
    )


def _from_flags(flags: Mapping[str, object]) -> Iterator[_Given]:
    fields = {setting.field: setting for setting in SETTINGS}
    for field, value in flags.items():
        if value is not None:
            flag = "--" + field.replace("_", "-")
            yield _Given(fields[field], parse(fields[field], value, source=flag), flag)


def _from_environment(environ: Mapping[str, str]) -> Iterator[_Given]:
    variables = {setting.variable: setting for setting in SETTINGS}
    for name, value in environ.items():
        if not name.startswith(_ENVIRONMENT) or not value or name == ATTEMPT:
            continue
        if name not in variables:
            raise UsageError(f"environment: there is no setting {name}{_nearest(name, variables)}", f"unset {name}")
        setting = variables[name]
        yield _Given(setting, parse(setting, value, source=name, hint=f"unset {name}"), name)


def _from_git(git_config: Sequence[tuple[str, str, str]], place: Callable[[str, str, str], str]) -> Iterator[_Given]:
    keys = {(_SECTION + setting.key).lower(): setting for setting in SETTINGS}
    commands: dict[tuple[str, str], tuple[str, ...]] = {}
    for scope, key, value in git_config:
        if not key.lower().startswith(_SECTION):
            continue
        source = f"git config ({scope})"
        option = f"--{scope} " if scope in ("system", "global", "local", "worktree") else ""
        setting = keys.get(key.lower())
        if setting is None:
            hint = f"git config {option}--unset-all {shlex.quote(key)}"
            names = [_SECTION + each.key for each in SETTINGS]
            where = place(scope, key, value)
            raise UsageError(f"{where}: there is no setting {key}{_nearest(key, names)}", hint)
        hint = f"git config {option}{_SECTION}{setting.key} {setting.example}"
        try:
            read = setting.kind.read(value)
        except ValueError:
            raise _wrong(setting, value, place(scope, key, value), hint) from None
        if isinstance(read, tuple):
            read = commands[scope, setting.field] = (*commands.get((scope, setting.field), ()), *read) if read else ()
        yield _Given(setting, read, source)


def _from_toml(content: bytes) -> list[_Given]:
    if len(content) > TOML_LIMIT:
        raise UsageError(f"{TOML_NAME} is larger than {TOML_LIMIT // 1024} KiB", MEND_TOML)
    try:
        table = toml.loads(content)
    except UnicodeDecodeError:
        raise UsageError(f"{TOML_NAME} is not UTF-8", MEND_TOML) from None
    except RecursionError:
        raise UsageError(f"{TOML_NAME} is nested too deeply", MEND_TOML) from None
    except ValueError as error:
        raise UsageError(f"{TOML_NAME} is not TOML: {' '.join(str(error).split())[:200]}", MEND_TOML) from None
    keys = {setting.key: setting for setting in SETTINGS}
    given = []
    for key, value in table.items():
        if key not in keys:
            where = _place(content.decode(), key)
            raise UsageError(f"{where}: there is no setting {key!r}{_nearest(key, keys)}", MEND_TOML)
        try:
            given.append(_Given(keys[key], keys[key].kind.read(value), TOML_NAME))
        except ValueError:
            raise _wrong(keys[key], value, _place(content.decode(), key), MEND_TOML) from None
    return given


def _place(text: str, key: str) -> str:
    """Where a top-level key of valid TOML stands, for people: tomllib says it of wrong syntax only."""
    import tomllib

    start = re.compile(rf"""\s*\[{{0,2}}\s*["']?{re.escape(key)}["']?\s*[].=]""")
    lines = text.split("\n")
    for index in [index for index, line in enumerate(lines) if start.match(line)][:_LOOKALIKES]:
        try:
            known = tomllib.loads("\n".join([*lines[:index], ""]))
        except ValueError:  # the line is part of a longer value
            continue
        if key not in known:
            return f"{TOML_NAME}, line {index + 1}"
    return TOML_NAME


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python prints no number of more than 4,300 digits, and TOML's hexadecimal ones can have more.
        return "a number with thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _nearest(name: str, names: Sequence[str] | Mapping[str, object]) -> str:
    import difflib

    lower = {each.lower(): each for each in names}
    close = difflib.get_close_matches(name.lower()[:100], lower, 1)
    return f", did you mean {lower[close[0]]}?" if close else ""


def state_directory(environ: Mapping[str, str]) -> Path:
    """Where this program keeps a user's own state, outside every repository: $XDG_STATE_HOME/git-autonomous."""
    home = environ.get("XDG_STATE_HOME", "")
    base = Path(home) if os.path.isabs(home) else Path(environ.get("HOME") or Path.home()) / ".local" / "state"
    return base / "git-autonomous"


class Approvals:
    """What the user approved, by repository and exact text, in one file that only the user can read."""

    def __init__(self, file: Path) -> None:
        """`file` is made by the first `approve`; usually `state_directory(os.environ) / "approvals.json"`."""
        self.file = file

    def approved(self, repository: Path, text: str) -> bool:
        """Whether `text` was approved for the repository with this common git dir.

        Raises AutonomousError where the file cannot be read or was written by a newer version.
        """
        return _digest(repository, text) in self._read()

    def allows(self, check: str) -> bool:
        """Whether a check that an agent proposes may become one of its task, which runs it in the sandbox."""
        return True

    def approve(self, repository: Path, text: str) -> None:
        """Remember that `text` is approved. Raises AutonomousError where the file cannot be read or written."""
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with locks.exclusive(str(self.file.with_suffix(".lock"))):
                entries = {**self._read(), _digest(repository, text): {"repository": str(repository), "text": text}}
                self._write(json.dumps({"schema": 1, "approved": entries}, indent=1).encode())
        except OSError as error:
            raise AutonomousError(
                f"cannot write {self.file}: {error.strerror}", f"ls -ld {shlex.quote(str(self.file.parent))}"
            ) from error

    def _read(self) -> dict[str, Any]:
        path = shlex.quote(str(self.file))
        try:
            content = json.loads(self.file.read_bytes())
            if content["schema"] != 1:
                raise AutonomousError(
                    f"{self.file} was written by a newer git-autonomous", "pip install -U git-autonomous"
                )
            return dict(content["approved"])
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise AutonomousError(f"cannot read {self.file}: {error.strerror}", f"ls -l {path}") from error
        except (ValueError, KeyError, TypeError, RecursionError):
            raise AutonomousError(f"{self.file} is damaged", f"mv {path} {path}.damaged") from None

    def _write(self, content: bytes) -> None:
        import tempfile

        descriptor, name = tempfile.mkstemp(dir=self.file.parent, prefix=self.file.name)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            os.replace(name, self.file)
        except BaseException:
            os.unlink(name)
            raise


def _digest(repository: Path, text: str) -> str:
    import hashlib

    return hashlib.sha256(os.fsencode(repository) + b"\0" + text.encode("utf-8", "surrogateescape")).hexdigest()
