"""What has to be right before a session starts: git, Codex, its sandbox, the sign-in, the user and the repository.

`examine_here` looks at everything for `git autonomous doctor`. `preflight` asks the same questions before a task runs, stops
at the first that is answered badly, and is quick where a good answer is known already.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from . import codex, config, git, origins, process, show
from .codex import Codex
from .config import Settings
from .errors import AutonomousError
from .git import Repository
from .objects import Objects
from .workspace import NEEDED_SPACE

LOW_SPACE = 1 << 30
"""Bytes: less free disk space than this is worth a warning."""

PATIENCE = 30.0
"""Seconds that Codex may take to describe its own state."""

PROJECT_SETTINGS = ".codex/config.toml"


@dataclass(frozen=True)
class Finding:
    """One answer. `ok`: True, False (must be mended before a task can run) or None (worth knowing); `hint`: what mends it."""

    name: str
    ok: bool | None
    message: str
    hint: str | None = None

    def to_json(self) -> dict[str, object]:
        return asdict(self)


# -- the two ways to ask ---------------------------------------------------------------------------------------------


def examine_here(environ: Mapping[str, str]) -> list[Finding]:
    """Everything, for the repository around the current folder or, outside of one, without those questions."""
    try:
        git_path = git.find_git(environ.get("PATH"))
    except AutonomousError as error:
        return [_failure("git", error), *_codex_alone(Settings())]
    try:
        repository = Repository.discover()
    except AutonomousError as error:
        found = _git(git_path, _version(git_path), None)
        return [found, *_codex_alone(Settings()), _failure("repository", error)]
    findings = [_git(repository.git, repository.version(), repository.toplevel)]
    try:
        settings = _settings(repository, environ)
    except AutonomousError as error:
        findings.append(_failure("settings", error))
        settings = Settings()
    parts = _with_codex(settings, repository), _repository(repository, settings), _circumstances(repository)
    return [*findings, *(finding for part in parts for finding in _as_far_as_it_goes(part))]


def _as_far_as_it_goes(part: Iterator[Finding]) -> Iterator[Finding]:
    """Findings, and as the last one what cannot be read or written and kept the others away."""
    try:
        yield from part
    except AutonomousError as error:
        yield _failure("repository", error)
    except OSError as error:
        where = shlex.quote(os.path.dirname(str(error.filename or "")) or ".")
        yield Finding("repository", False, f"{error.filename}: {error.strerror}", f"ls -ld {where}")


def preflight(
    repository: Repository, settings: Settings, *, say: Callable[[str], None], overrides: Sequence[str] = ()
) -> Codex:
    """Make sure that a task can run, and return the Codex to run it with.

    `settings` are the task's: with `network` no sandbox is needed. `overrides` are its `-c` values. Each warning goes to `say`.
    Raises AutonomousError for the first thing that must be mended.
    """
    _insist([_git(repository.git, repository.version(), repository.toplevel)], say)
    engine = codex.find(settings.codex, outside=repository.toplevel)
    _insist(_repository(repository, settings), say)
    _insist(_engine(engine, settings, repository, overrides, quick=True), say)
    return engine


def refuse_unsupported(repository: Repository) -> None:
    """Raise AutonomousError for a repository in a form that cannot be worked on, before libgit2 says so in its own words."""
    finding = _format(repository.configured)
    if finding:
        raise AutonomousError(finding.message, finding.hint)


def report(findings: Sequence[Finding], *, colour: bool, ascii: bool) -> str:
    """The findings as lines for people."""
    signs = {True: ("✓", show.GREEN), False: ("✗", show.RED), None: ("!", show.YELLOW)}
    lines = []
    for finding in findings:
        sign, style = signs[finding.ok]
        lines.append(f"{show.paint(sign, style) if colour else sign} {show.one_line(finding.message)}")
        if finding.hint:
            lines.append(f"  hint: {show.one_line(finding.hint)}")
    bad = sum(finding.ok is False for finding in findings)
    lines.append("")
    lines.append(f"{bad} to mend before a task can run." if bad else "A task can run here.")
    text = "\n".join(lines) + "\n"
    return show.to_ascii(text) if ascii else text


def _insist(findings: Iterable[Finding], say: Callable[[str], None]) -> None:
    for finding in findings:
        if finding.ok is False:
            raise AutonomousError(finding.message, finding.hint)
        if finding.ok is None:
            say(finding.message)


def _failure(name: str, error: AutonomousError) -> Finding:
    return Finding(name, False, error.message, error.hint)


# -- git -------------------------------------------------------------------------------------------------------------


def _version(path: str) -> tuple[int, ...]:
    # Without the user's settings: git tells not even its version where it cannot read them.
    unset = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    words = process.run([path, "--version"], cwd=Path("/"), env=unset).stdout.decode("utf-8", "replace").split()
    return tuple(int(part) for part in (words[2] if len(words) > 2 else "0").split(".")[:3] if part.isdecimal())


def _git(path: str, version: tuple[int, ...], worktree: Path | None) -> Finding:
    shown = ".".join(map(str, version))
    if worktree is not None and Path(path).resolve().is_relative_to(worktree.resolve()):
        return Finding("git", False, f"the first git on PATH is inside this worktree: {path}", "which -a git")
    if version < git.MINIMUM_GIT:
        wanted = ".".join(map(str, git.MINIMUM_GIT))
        return Finding("git", False, f"git {shown} at {path} is older than {wanted}", "apt install git")
    return Finding("git", True, f"git {shown} at {path}")


# -- Codex -----------------------------------------------------------------------------------------------------------


def _codex_alone(settings: Settings) -> Iterator[Finding]:
    return _with_codex(settings, None)


def _with_codex(settings: Settings, repository: Repository | None) -> Iterator[Finding]:
    try:
        engine = codex.find(settings.codex, outside=repository.toplevel if repository else None)
    except AutonomousError as error:
        yield _failure("codex", error)
        return
    yield Finding("codex", True, f"Codex {'.'.join(map(str, engine.version))} at {engine.path}")
    yield from _engine(engine, settings, repository, (), quick=False)


def _engine(
    engine: Codex, settings: Settings, repository: Repository | None, overrides: Sequence[str], *, quick: bool
) -> Iterator[Finding]:
    if settings.profile is not None:
        yield _profile(settings.profile)
    yield from _sign_in(engine, settings.profile, overrides, quick=quick)
    if settings.network:
        yield Finding("sandbox", True, "no sandbox is asked for: the agent has full access")
    else:
        yield _sandbox(engine, repository, quick=quick)


def _profile_file(profile: str) -> Path:
    return codex.home() / f"{profile}.config.toml"


def _profile(profile: str) -> Finding:
    """Codex itself goes on without a profile that does not exist, and says nothing."""
    path = _profile_file(profile)
    if path.parent == codex.home() and path.is_file():
        return Finding("profile", True, f"Codex profile {profile}: {path}")
    look = f"ls {shlex.quote(str(codex.home()))}/*.config.toml"
    return Finding("profile", False, f"Codex has no profile '{profile}': there is no file {path}", look)


def _sign_in(engine: Codex, profile: str | None, overrides: Sequence[str], *, quick: bool) -> Iterator[Finding]:
    """Whether Codex can load its settings and has something to sign in with. Nothing here proves that a server accepts it."""
    command = engine.typed
    options = [part for override in overrides for part in ("-c", override)]
    status = _ask(engine, ["login", *options, "status"])
    if status is None:
        yield Finding("sign-in", False, "Codex did not answer `codex login status`", f"{command} login status")
        return
    said = (status.stdout + status.stderr).decode("utf-8", "replace").strip().splitlines()
    for line in said:
        if line.startswith("Error loading configuration: "):
            reason = line.removeprefix("Error loading configuration: ")
            yield Finding("codex settings", False, f"Codex cannot load its settings: {reason}", f"{command} doctor")
            return
    if quick and (status.returncode == 0 or os.environ.get("CODEX_API_KEY")):
        yield Finding("sign-in", True, "Codex has something to sign in with")
        return
    if profile is not None and _names_a_provider(_profile_file(profile)):
        yield Finding("sign-in", True, f"the profile {profile} has a model provider of its own")
        return
    checks = _own_findings(engine, options)
    if checks is None:
        yield Finding("sign-in", None, "`codex doctor` did not say whether Codex can sign in", f"{command} doctor")
        return
    yield _credentials(checks.get("auth.credentials", {}), said, command)
    reach = checks.get("network.provider_reachability", {})
    if reach.get("status") == "fail":
        yield Finding("network", None, "Codex cannot reach its model provider now", f"{command} doctor")


def _ask(engine: Codex, arguments: Sequence[str]) -> process.Completed | None:
    """Run Codex outside of every repository. OPENAI_API_KEY is kept from it: `codex doctor` counts it, `codex exec` does not."""
    environment = process.clean_environment()
    environment.pop("OPENAI_API_KEY", None)
    done = process.run([engine.path, *arguments], cwd=Path("/"), env=environment, timeout=PATIENCE)
    return None if done.timed_out else done


def _own_findings(engine: Codex, options: Sequence[str]) -> Mapping[str, Mapping[str, object]] | None:
    done = _ask(engine, ["doctor", *options, "--json"])
    try:
        checks = json.loads(done.stdout)["checks"] if done else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return checks if isinstance(checks, dict) and all(isinstance(check, dict) for check in checks.values()) else None


def _credentials(check: Mapping[str, object], said: Sequence[str], command: str) -> Finding:
    if check.get("status") == "ok":
        signed_in = next((line for line in said if line.startswith("Logged in")), None)
        return Finding("sign-in", True, signed_in or f"Codex: {check.get('summary')}")
    details = check.get("details")
    variable = str(details.get("provider auth env var", "")).split(" ")[0] if isinstance(details, dict) else ""
    if variable == "OPENAI_API_KEY" and os.environ.get("OPENAI_API_KEY"):
        return Finding("sign-in", True, "OPENAI_API_KEY is set for Codex's model provider")
    if variable:
        return Finding(
            "sign-in",
            False,
            f"{variable} is not set, and Codex's model provider needs it",
            f"export {variable}=YOUR_KEY",
        )
    if os.environ.get("OPENAI_API_KEY"):
        return Finding(
            "sign-in",
            False,
            "Codex is not signed in: it does not use OPENAI_API_KEY on its own",
            f"printenv OPENAI_API_KEY | {command} login --with-api-key",
        )
    return Finding("sign-in", False, "Codex is not signed in", f"{command} login")


def _names_a_provider(path: Path) -> bool:
    import tomllib

    try:
        return "model_provider" in tomllib.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return False


def _sandbox(engine: Codex, repository: Repository | None, *, quick: bool) -> Finding:
    """Whether the sandbox works: tried out, unless it was with this Codex, kernel and boot."""
    cache = _cache(repository) if repository else None
    known = cache / "sandbox-works" if cache else None
    machine = os.uname()
    boot = Path("/proc/sys/kernel/random/boot_id")
    facts = (engine.path, engine.version, machine.release, machine.version, boot.read_text() if boot.exists() else "")
    key = "\n".join(map(str, facts))
    if not (quick and known and known.is_file() and known.read_text() == key):
        try:
            folder = cache or Path(tempfile.gettempdir())
            codex.canary(engine, main_root=repository.main_root if repository else folder, directory=folder)
        except AutonomousError as error:
            return _failure("sandbox", error)
        if known:
            known.write_text(key)
    return Finding("sandbox", True, "the sandbox works")


def _cache(repository: Repository) -> Path | None:
    """A folder of ours in the repository; None where nothing can be written."""
    return repository.make_state_dir("cache") if _writable(repository) else None


def _writable(repository: Repository) -> bool:
    """Whether our files can be made in the repository, or are there."""
    folder = repository.state_dir if repository.state_dir.exists() else repository.common_dir
    return folder.is_dir() and os.access(folder, os.W_OK)


# -- the repository --------------------------------------------------------------------------------------------------


def _repository(repository: Repository, settings: Settings) -> Iterator[Finding]:
    yield _identity(repository)
    unsupported = _format(repository.configured)
    if unsupported:
        yield unsupported
    elif not _writable(repository):
        where = shlex.quote(str(repository.common_dir))
        yield Finding("repository", False, f"{repository.state_dir} cannot be written", f"ls -ld {where} {where}/*")
    else:
        yield Finding("repository", True, f"repository {repository.common_dir}")
    if not unsupported:
        yield from _project_settings(repository)
    yield _space(repository, settings)


def _circumstances(repository: Repository) -> Iterator[Finding]:
    """What `start` would say itself."""
    try:
        repository.refuse_unsafe_filters()
    except AutonomousError as error:
        yield _failure("filters", error)
    if repository.is_bare:
        yield Finding("head", True, "a bare repository: its tasks' worktrees are its only ones")
    branch = repository.head_branch()
    if branch is None:
        yield Finding(
            "head", None, "HEAD is detached: name the branch to start from", 'git autonomous start --base main "GOAL"'
        )
    elif repository.resolve("HEAD") is None:
        yield Finding(
            "head",
            False,
            f"the branch {branch} has no commit to start from",
            "git commit --allow-empty -m 'First commit'",
        )


def _settings(repository: Repository, environ: Mapping[str, str]) -> Settings:
    content = None
    head = repository.resolve("HEAD")
    if head is not None and _format(repository.configured) is None:
        content = Objects(repository.common_dir).read(head, config.TOML_NAME)
    approvals = config.Approvals(config.state_directory(environ) / "approvals.json")
    return config.load(
        flags={},
        environ=environ,
        git_config=repository.configured,
        base_toml=content,
        approved=lambda text: approvals.approved(repository.common_dir, text),
        place=lambda *setting: origins.place(repository, *setting),
    ).settings


def _identity(repository: Repository) -> Finding:
    try:
        return Finding("identity", True, f"commits are made by {repository.identity()}")
    except AutonomousError as error:
        return _failure("identity", error)


def _format(entries: Sequence[tuple[str, str, str]]) -> Finding | None:
    """What libgit2 cannot work on, in words. (A split or sparse index is no obstacle: only git itself reads the index.)"""
    values = {key: value for scope, key, value in entries if scope == "local"}
    if values.get("extensions.objectformat", "sha1").lower() != "sha1":
        name = values["extensions.objectformat"]
        return Finding(
            "repository",
            False,
            f"this repository names its objects by {name}; only SHA-1 repositories can be worked on",
            "git init --object-format=sha1 ANOTHER-FOLDER",
        )
    if values.get("extensions.refstorage", "files").lower() != "files":
        return Finding(
            "repository",
            False,
            f"this repository keeps its refs as {values['extensions.refstorage']}; only files can be worked on",
            "git refs migrate --ref-format=files",
        )
    remotes = [key[7:-9] for key in values if key.startswith("remote.") and key.endswith(".promisor")]
    remote = values.get("extensions.partialclone") or (remotes[0] if remotes else None)
    if remote is not None:
        section = shlex.quote(f"remote.{remote}")
        return Finding(
            "repository",
            False,
            f"this repository is a partial clone of {remote}: objects that the work needs may be missing",
            f"git config --unset {section}.partialclonefilter; git config --unset extensions.partialClone; "
            f"git fetch --refetch {shlex.quote(remote)} && git config --unset {section}.promisor",
        )
    return None


def _project_settings(repository: Repository) -> Iterator[Finding]:
    head = repository.resolve("HEAD")
    if head is not None and Objects(repository.common_dir).read(head, PROJECT_SETTINGS) is not None:
        yield Finding(
            "project settings",
            None,
            f"this project's {PROJECT_SETTINGS} does not apply: an agent could change it to widen its own rights",
            f"git show HEAD:{PROJECT_SETTINGS} > {shlex.quote(str(_profile_file('project')))} && "
            "git config autonomous.profile project",
        )


def _space(repository: Repository, settings: Settings) -> Finding:
    """Free space where worktrees go and where objects go, whichever is less."""
    folder = repository.worktree_path("task", settings.worktree_root).parent
    while not folder.exists():
        folder = folder.parent
    return space(*min((shutil.disk_usage(place).free, place) for place in (repository.common_dir, folder)))


def space(free: int, where: Path) -> Finding:
    """What `free` bytes on the file system of `where` mean."""
    message = f"{free / (1 << 30):.1f} GiB of disk space are free at {where}"
    if free < LOW_SPACE:
        return Finding("disk", False if free < NEEDED_SPACE else None, f"only {message}", "git autonomous prune")
    return Finding("disk", True, message)
