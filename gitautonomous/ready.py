"""Making a new worktree ready for work: its submodules, files of `.worktreeinclude`, then the `setup` commands."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from . import nested, process
from .errors import AutonomousError
from .git import Repository, Worktree, last_words

INCLUDE_FILE = ".worktreeinclude"


def included(repository: Repository, source: Path, patterns: bytes) -> list[str]:
    """The paths below `source` that git ignores and that `patterns` (gitignore syntax) name."""

    def others(*options: str) -> set[str]:
        output = repository.run(
            "ls-files", "--others", "--ignored", "-z", *options, git_dir=repository.git_dir, work_tree=source
        )
        return {path for path in output.split("\0") if path}

    with tempfile.NamedTemporaryFile() as file:
        file.write(patterns)
        file.flush()
        return sorted(others(f"--exclude-from={file.name}") & others("--exclude-standard"))


def copy_included(repository: Repository, source: Path, target: Path, patterns: bytes) -> list[str]:
    """Copy ignored files that the work needs (such as .env) into a worktree. Nothing is overwritten, and no link leads out of it. Returns the paths."""
    copied = []
    for path in included(repository, source, patterns):
        origin, copy = source / path, target / path
        wanted = origin.is_symlink() or origin.is_file()
        if not wanted or os.path.lexists(copy) or not nested.inside(target, copy):
            continue
        with suppress(FileExistsError, NotADirectoryError):  # a file has taken the place of its folder
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(origin, copy, follow_symlinks=False)
            copied.append(path)
    return copied


def fill_submodules(repository: Repository, worktree: Worktree, *, timeout: float) -> list[str]:
    """Check out those submodules in a new worktree that the user's repository has cloned. Returns their paths. `timeout`: seconds for each, 0 for none.

    They are cloned from there, with hard links and without a network; only a commit that is missing is fetched, from the address in the user's own configuration. What
    `.gitmodules` says decides where a submodule goes, never where it comes from. Raises AutonomousError when one cannot be had.
    """
    return _fill(repository, repository.common_dir, worktree.git_dir, worktree.path, timeout or None)


def _fill(repository: Repository, known: Path, git_dir: Path, folder: Path, timeout: float | None) -> list[str]:
    """`known`: the git dir whose submodules are cloned already; `git_dir`, `folder`: of the worktree that gets them."""
    if not (known / "modules").is_dir():
        return []
    addresses = _submodules(repository, "url", "--local", git_dir=known)
    filled = []
    for name, path in _submodules(repository, "path", "--blob", "HEAD:.gitmodules", git_dir=git_dir).items():
        source, address = known / "modules" / name, addresses.get(name)
        if address is None or not source.is_dir():
            continue
        for origin in (str(source), address):
            values = {f"submodule.{name}.url": origin, "protocol.file.allow": "always" if origin != address else "user"}
            extra = {"GIT_CONFIG_COUNT": str(len(values)), "GIT_LITERAL_PATHSPECS": "1"}
            for number, (key, value) in enumerate(values.items()):
                extra |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
            command = ("submodule", "--quiet", "update", "--checkout", "--", path)
            done = repository.call(*command, git_dir=git_dir, work_tree=folder, extra=extra, timeout=timeout)
            module = git_dir / "modules" / name
            if (module / "config").is_file():
                repository.call("config", "remote.origin.url", address, git_dir=module)
            if done.returncode == 0:
                break
        else:
            raise AutonomousError(
                f"the submodule {path} cannot be checked out: {last_words(done.stderr)}",
                f"git submodule update --init -- {shlex.quote(path)}    # then: git autonomous resume",
            )
        if known != repository.common_dir:  # a clone of its own, which knows nothing of what is in it yet
            repository.call("config", f"submodule.{name}.url", address, git_dir=git_dir)
        filled += [path, *(f"{path}/{below}" for below in _fill(repository, source, module, folder / path, timeout))]
    return filled


def _submodules(repository: Repository, key: str, *options: str, git_dir: Path) -> dict[str, str]:
    """The value of `submodule.<name>.<key>` by name, from one place of configuration."""
    done = repository.call("config", *options, "-z", "--get-regexp", rf"^submodule\..*\.{key}$", git_dir=git_dir)
    entries = [entry.partition("\n") for entry in os.fsdecode(done.stdout).split("\0") if entry]
    return {name.removeprefix("submodule.").removesuffix(f".{key}"): value for name, _, value in entries}


def run_setup(
    commands: Sequence[str],
    worktree: Path,
    log: Path,
    *,
    timeout: float,
    say: Callable[[str], None],
    argv: Callable[[str], Sequence[str]] = lambda command: ("sh", "-c", command),
) -> None:
    """Run the user's setup commands in the new worktree, with their output kept in `log`. `timeout`: seconds for each, 0 for none.

    `argv`: how a command is run; outside of the sandbox only before any agent's files are here. Raises AutonomousError naming the command and the end of its output.
    """
    for command in commands:
        say(f"setup: {command}")
        done = process.run(argv(command), cwd=worktree, timeout=timeout or None)
        output = done.stdout + done.stderr
        with open(log, "ab") as file:
            file.write(b"$ " + command.encode() + b"\n" + output)
        if done.returncode or done.timed_out:
            words = output.decode("utf-8", "replace").strip().splitlines()
            why = f"was ended after {timeout:.0f} s" if done.timed_out else f"failed with exit status {done.returncode}"
            raise AutonomousError(
                f"the setup command '{command}' {why}" + (f": {words[-1][:200]}" if words else ""), f"cat {log}"
            )
