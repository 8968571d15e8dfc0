"""Finding a repository and asking its git, for what has to start as fast as git itself."""

from __future__ import annotations

import os


def find_common_dir() -> str | None:
    """The common git dir around the current folder without asking git; None where that takes more than a look (then ask git)."""
    if any(
        name in os.environ
        for name in ("GIT_DIR", "GIT_COMMON_DIR", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM")
    ):
        return None
    try:
        folder = os.getcwd()
    except FileNotFoundError:
        return None
    while True:
        dot_git = os.path.join(folder, ".git")
        if os.path.isdir(dot_git):
            return common_of(dot_git)
        if os.path.isfile(dot_git):
            with open(dot_git, "rb") as file:
                pointer = os.fsdecode(file.read(8192)).strip()
            if not pointer.startswith("gitdir: "):
                return None
            return common_of(os.path.join(folder, pointer[8:]))
        if all(os.path.exists(os.path.join(folder, name)) for name in ("HEAD", "objects", "refs")):
            return common_of(folder)
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


def common_of(git_dir: str) -> str | None:
    try:
        with open(os.path.join(git_dir, "commondir"), "rb") as file:
            return os.path.realpath(os.path.join(git_dir, os.fsdecode(file.read(8192)).strip()))
    except FileNotFoundError:
        return os.path.realpath(git_dir) if os.path.exists(os.path.join(git_dir, "HEAD")) else None


class Git:
    """The git binary started with posix_spawn: `import subprocess` alone would take a quarter of the time that `list` may take."""

    def __init__(self, common_dir: str) -> None:
        self.common_dir = common_dir
        self.environment = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith("GIT_") or key == "GIT_CONFIG_NOSYSTEM" or key == "GIT_CONFIG_GLOBAL"
        }
        self.environment["LC_ALL"] = "C"

    def start(self, *arguments: str, stdin: int | None = None) -> tuple[int, int]:
        """(pid, descriptor of its stdout)."""
        ours, theirs = os.pipe()
        actions: list[tuple[int, int, int]] = [(os.POSIX_SPAWN_DUP2, theirs, 1)]
        if stdin is not None:
            actions.append((os.POSIX_SPAWN_DUP2, stdin, 0))
        argv = ["git", f"--git-dir={self.common_dir}", "-c", "core.fsmonitor=false", *arguments]
        pid = os.posix_spawnp("git", argv, self.environment, file_actions=actions)
        os.close(theirs)
        return pid, ours

    def feed(self, data: bytes, *arguments: str) -> tuple[int, int]:
        """As `start`, with `data` on its standard input: git has to read all of that before it writes more than a pipe holds."""
        ours, theirs = os.pipe()
        started = self.start(*arguments, stdin=ours)
        os.close(ours)
        with open(theirs, "wb") as file:
            file.write(data)
        return started

    def output(self, *arguments: str) -> bytes:
        return self.finish(*self.start(*arguments))[0]

    @staticmethod
    def finish(pid: int, descriptor: int) -> tuple[bytes, bool]:
        """What a git prints, and whether it succeeded."""
        with open(descriptor, "rb", buffering=1 << 16) as file:
            data = file.read()
        return data, os.waitpid(pid, 0)[1] == 0
