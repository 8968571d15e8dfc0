"""Codex as the engine of a session: where it is, how it is called, and whether its sandbox works here.

One process a turn: `codex exec --json`. Following one at work is in `supervision`, what it says in `events`, how a turn ended
in `ends`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from . import process
from .errors import AutonomousError, UsageError
from .rollout import THREAD

MINIMUM = (0, 163, 0)

_PATIENCE = 30.0  # seconds; the first start of a fresh binary of 300 MB takes four
_LEFTOVERS = (".agents", ".aws", ".codex")
_MACHINES = {"x86_64": "x64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class Codex:
    """A Codex that can be used: the absolute path of the native program, and its version."""

    path: Path
    version: tuple[int, int, int]

    @property
    def typed(self) -> str:
        """What a person types for it: its name where a shell finds one of that name, as it does not find the Python package's."""
        return "codex" if shutil.which("codex") else shlex.quote(str(self.path))


def home() -> Path:
    """Codex's own folder: $CODEX_HOME, or ~/.codex."""
    return Path(os.environ.get("CODEX_HOME") or Path.home() / ".codex")


def find(setting: str | None, *, path: str | None = None, outside: Path | None = None) -> Codex:
    """Find Codex: the one that `setting` names and no other, else on `path` ($PATH), else the Python package's.

    One that is too old is passed over. Whatever lies in `outside`, the folder that the agent may write to, does not count.
    Raises AutonomousError, with the command that installs Codex.
    """
    if setting:
        candidates = _named(setting, path)
    else:
        candidates = [*_on_path("codex", path), *_packaged()]
    problem = f"there is no Codex at '{setting}'" if setting else "Codex is not installed"
    for candidate in candidates:
        native = _native(candidate)
        if outside and any(_inside(place, outside) for place in (candidate, native)):
            problem = f"the Codex at {candidate} lies in the task's worktree, where the agent could have put it"
            continue
        version = _version(native)
        if version is None:
            problem = f"{candidate} does not answer 'codex --version'"
        elif version < MINIMUM:
            problem = f"the Codex at {candidate} has version {_dotted(version)}; {_dotted(MINIMUM)} or newer is needed"
        else:
            return Codex(native, version)
    raise AutonomousError(problem, f"{_install_command()}   # or: npm install -g @openai/codex")


def _install_command() -> str:
    """The command that puts the Python package with Codex where this program is installed."""
    place = Path(sys.prefix).parts
    if place[-3:-1] == ("pipx", "venvs"):
        return "pipx inject git-autonomous openai-codex-cli-bin"
    if place[-3:-1] == ("uv", "tools"):
        return "uv tool install 'git-autonomous[codex]'"
    return "pip install openai-codex-cli-bin"


def _named(setting: str, path: str | None) -> list[Path]:
    if "/" not in setting:
        return list(_on_path(setting, path))[:1]
    place = Path(setting).expanduser()
    if not place.is_absolute():
        raise UsageError(
            f"the path of Codex has to be absolute, not '{setting}'",
            'git config autonomous.codex "$(command -v codex)"',
        )
    return [place] if place.is_file() else []


def _on_path(name: str, path: str | None) -> Iterator[Path]:
    """Every program with that name, in order. Relative entries of the path depend on where one stands: they do not count."""
    for folder in (os.environ.get("PATH", "") if path is None else path).split(os.pathsep):
        if os.path.isabs(folder) and (found := shutil.which(name, path=folder)):
            yield Path(found)


def _packaged() -> Iterator[Path]:
    import importlib.util

    spec = importlib.util.find_spec("codex_cli_bin")
    if spec is not None and spec.origin:
        program = Path(spec.origin).parent / "bin" / "codex"
        if program.is_file():
            yield program


def _native(program: Path) -> Path:
    """The native program behind npm's wrapper, which costs a process, and whose death leaves Codex running.

    npm installs the native program as a package of its own, for one platform, where node looks for packages.
    """
    real = Path(os.path.realpath(program))
    if real.suffix != ".js":
        return real
    machine = os.uname().machine
    package = f"node_modules/@openai/codex-{sys.platform}-{_MACHINES.get(machine, machine)}"
    vendors = [folder / package / "vendor" for folder in real.parents] + [real.parents[1] / "vendor"]
    return next((found for vendor in vendors for found in vendor.glob("*/bin/codex")), real)


def _inside(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _version(program: Path) -> tuple[int, int, int] | None:
    try:
        answer = process.run([program, "--version"], timeout=_PATIENCE).stdout
    except OSError:
        return None
    found = re.match(rb"codex-cli (\d{1,9})\.(\d{1,9})\.(\d{1,9})", answer)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def _dotted(version: tuple[int, int, int]) -> str:
    return ".".join(map(str, version))


@dataclass(frozen=True)
class Access:
    """What the agent may do beyond its worktree: use the network inside the sandbox, or everything (no sandbox at all)."""

    network: bool = False
    full: bool = False


@dataclass(frozen=True)
class Invocation:
    """One turn. `thread` is the conversation to go on with, None for a new one.

    `main_root` is the main checkout of the repository, whose project settings do not count; `tmpdir` the only temporary folder
    of the agent; `config` holds KEY=VALUE entries for Codex's -c; the closing message goes to `last_message`.
    """

    codex: Codex
    worktree: Path
    main_root: Path
    access: Access
    tmpdir: Path
    model: str | None
    profile: str | None
    config: tuple[str, ...]
    thread: str | None
    last_message: Path


def exec_argv(inv: Invocation) -> list[str]:
    """The command that runs one turn; the prompt goes to its standard input.

    Everything stands before the word `resume`: after it Codex refuses most options. Sandbox and folder are not remembered by a
    thread, so they are always given. Raises UsageError for a value that Codex would misread, or silently ignore.
    """
    mode = "danger-full-access" if inv.access.full else "workspace-write"
    argv = [str(inv.codex.path), "exec", "--json", "-C", str(inv.worktree), "-s", mode, "-o", str(inv.last_message)]
    if inv.model is not None:
        argv += ["-m", _plain(inv.model, "model")]
    if inv.profile is not None:
        argv += ["-p", _plain(inv.profile, "profile")]
    settings = [*check_config(inv.config), *_settings(inv.access, (inv.main_root, inv.worktree))]
    # Without a network Codex would try again for ever, and never fail.
    settings.append("features.unbounded_connection_retries=false")
    argv += _flags(settings)
    if inv.thread is not None:
        if not THREAD.fullmatch(inv.thread):
            raise UsageError(f"'{inv.thread}' is not the id of a Codex thread")
        argv += ["resume", inv.thread]
    return [*argv, "-"]


def sandbox_argv(
    codex: Codex, command: str, *, main_root: Path, access: Access, config: Sequence[str] = ()
) -> list[str]:
    """The command that runs `command` with sh in the sandbox that the agent has, or without one where it has none.

    The folder that it may write to is the one that it is started in. Raises UsageError as `exec_argv`.
    """
    shell = ["/bin/sh", "-c", command]
    if access.full:
        return shell
    settings = ['sandbox_mode="workspace-write"', *check_config(config), *_settings(access, (main_root,))]
    return [str(codex.path), "sandbox", *_flags(settings), "--", *shell]


def _flags(settings: Sequence[str]) -> list[str]:
    return [word for setting in settings for word in ("-c", setting)]


def _settings(access: Access, projects: Sequence[Path]) -> list[str]:
    """What is decided here, whatever the user's own settings say; they come last, so they win.

    /tmp is out: a repository or a CODEX_HOME may lie there. A trusted project would let the agent's files (.codex) widen its rights.
    """
    untrusted = ", ".join(f'{_toml(root)}={{trust_level="untrusted"}}' for root in _roots(projects))
    network = "true" if access.network else "false"
    return [
        "sandbox_workspace_write.exclude_slash_tmp=true",
        "sandbox_workspace_write.exclude_tmpdir_env_var=false",
        f"sandbox_workspace_write.network_access={network}",
        f"projects={{{untrusted}}}",
    ]


def _roots(projects: Sequence[Path]) -> list[str]:
    """The folders, as given and with links resolved, each once."""
    return list(dict.fromkeys(form for root in projects for form in (str(root), os.path.realpath(root))))


def _toml(text: str) -> str:
    """A TOML basic string. Raises UsageError for a path that is no text, which Codex cannot be told."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"the path {text!r} is not valid UTF-8, which Codex demands") from None
    return '"' + re.sub(r'[\\"\x00-\x1f\x7f]', lambda match: f"\\u{ord(match[0]):04X}", text) + '"'


def _plain(value: str, what: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*", value):
        raise UsageError(f"'{value}' is not a name of a {what}")
    return value


_KEY = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*", re.ASCII)
_DECIDED = {
    "approval_policy": "nobody is there to approve anything",
    "default_permissions": "the sandbox is chosen with --network",
    "permissions": "the sandbox is chosen with --network",
    "sandbox_mode": "the sandbox is chosen with --network",
    "projects": "a task's project settings never count",
    "profile": "a profile is chosen with --profile",
    "features.unbounded_connection_retries": "an offline session has to end",
    "sandbox_workspace_write.exclude_slash_tmp": "each session has a temporary folder of its own",
    "sandbox_workspace_write.exclude_tmpdir_env_var": "each session has a temporary folder of its own",
    "sandbox_workspace_write.network_access": "the network is opened with --sandbox-network",
}


def check_config(entries: Sequence[str]) -> list[str]:
    """The entries for Codex's -c, unchanged. Codex ignores a key that it cannot read, so the shape is checked here.

    Raises UsageError for an entry that is not KEY=VALUE, and for keys that git autonomous decides itself.
    """
    for entry in entries:
        key, equals, _ = entry.partition("=")
        if not equals or not _KEY.fullmatch(key) or "\0" in entry:
            raise UsageError(
                f"'{entry}' is not KEY=VALUE with a dotted key",
                "git autonomous start -c model_reasoning_effort=high ...",
            )
        for decided, why in _DECIDED.items():
            if f"{key}.".startswith(f"{decided}.") or decided.startswith(f"{key}."):
                raise UsageError(f"'{key}' cannot be set with -c: {why}")
    return list(entries)


def environment(tmpdir: Path, worktree: Path | None = None) -> dict[str, str]:
    """The environment of Codex and of checks: this one's, cleaned, with a private folder for temporary files.

    Codex itself runs git outside of its sandbox, so PATH names no folder of the worktree.
    """
    return process.clean_environment({"TMPDIR": str(tmpdir)}, outside=worktree)


def canary(codex: Codex, *, main_root: Path, directory: Path) -> None:
    """Try the sandbox out below `directory`, which must exist: a command has to run in it, and must not write outside.

    Codex itself does not fail where its sandbox does not work: each command of the agent would, and the turn would be completed.
    Raises AutonomousError when the sandbox does not work or does not hold.
    """
    import tempfile

    with tempfile.TemporaryDirectory(dir=directory, prefix="sandbox-") as name:
        inside, outside = Path(name, "inside"), Path(name, "outside")
        inside.mkdir()
        command = "echo > ../outside; echo > file && echo works"
        argv = sandbox_argv(codex, command, main_root=main_root, access=Access())
        tried = process.run(argv, cwd=inside, env=environment(inside), timeout=_PATIENCE)
        if outside.exists():
            raise AutonomousError(
                "Codex's sandbox does not hold: a command wrote outside its folder", f"{codex.typed} doctor"
            )
        if tried.stdout != b"works\n":
            lines = [line.strip() for line in tried.stderr.decode(errors="replace").split("\n") if line.strip()]
            why = lines[-1][:300] if lines else f"status {tried.returncode}"
            raise AutonomousError(
                f"Codex's sandbox does not work on this machine: {why}", _sandbox_hint() or f"{codex.typed} doctor"
            )


def _sandbox_hint() -> str | None:
    """The command that lets an ordinary user make the name spaces that the sandbox is built of, where a switch keeps them from it."""
    for switch, blocking, free in (
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
        ("kernel.unprivileged_userns_clone", "0", "1"),
    ):
        with suppress(OSError):
            if Path("/proc/sys", *switch.split(".")).read_text().strip() == blocking:
                return f"sudo sysctl -w {switch}={free}"
    return None


def clean_leftovers(worktree: Path) -> None:
    """Remove the empty folders that Codex puts over its own settings in a worktree, and sometimes leaves there."""
    for name in _LEFTOVERS:
        with suppress(OSError):
            worktree.joinpath(name).rmdir()
