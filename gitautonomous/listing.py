"""Every task of a repository with its state, read from the refs in one go.

Light on purpose, like states.py: one `git for-each-ref` gives nearly everything, since each session's commit carries its own summary. Only for tips that a person made
are objects read, by one `git cat-file --batch`. Never a process per task.
"""

from __future__ import annotations

import os
import time

from . import conflicts, locks, states

FORMAT = "%(refname)%00%(objectname)%00%(committerdate:unix)%00%(worktreepath)%00%(contents)%00%00"
ANCESTORS = 512
"""How many commits of a person above the last session's are looked through for its summary."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Fields = dict[str, Any]


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
    """The git binary started with posix_spawn: `import subprocess` alone would take a quarter of the time that a listing may take."""

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

    def output(self, *arguments: str) -> bytes:
        return self.finish(*self.start(*arguments))

    @staticmethod
    def finish(pid: int, descriptor: int) -> bytes:
        with open(descriptor, "rb", buffering=1 << 16) as file:
            data = file.read()
        os.waitpid(pid, 0)
        return data


def settings(git: Git) -> dict[str, str]:
    """The few settings that a listing obeys, by lower-case key."""
    found = {}
    for entry in git.output(
        "config", "-z", "--get-regexp", r"^(autonomous\.branchprefix|color\.(ui|autonomous|pager))$"
    ).split(b"\0"):
        key, _, value = entry.decode("utf-8", "replace").partition("\n")
        if key:
            found[key.lower()] = value
    return found


def tasks(common_dir: str, prefix: str, now: float, *, only: str | None = None) -> list[Fields]:
    """The tasks, newest first. `now`: epoch seconds. `only`: just the task of this name."""
    git = Git(common_dir)
    where = f"refs/heads/{prefix}"
    start = len(where)
    found: list[Fields] = []
    kept: set[str] = set()
    by_person = []
    patterns = (where + only if only else where, "refs/autonomous/merged/")
    for record in records(*git.start("for-each-ref", f"--format={FORMAT}", *patterns)):
        ref, tip, date, worktree, message = record.split("\0", 4)
        if ref.startswith("refs/autonomous/merged/"):
            kept.add(tip)
            continue
        name = ref[start:]
        if "/" in name:
            continue
        task: Fields = {"name": name, "branch": ref[11:], "worktree": worktree or None, "tip": tip}
        task["updated"] = int(date or 0)
        summary = states.trailers(message)
        if summary.get(states.TRAILER_TASK) == name:
            done, total = add_summary(task, summary)
            blocked = summary.get("Autonomous-Blocked", "")
            task["stuck"] = blocked.isdecimal() and total > done and int(blocked[:9]) == total - done
        else:
            by_person.append(task)
        found.append(task)
    if by_person:
        read_tips(git, by_person)
    merged = kept | reachable(git, where, found)
    local = local_tasks(common_dir)
    for task in found:
        add_state(task, local, merged, now)
    conflicts.add(found, common_dir, lambda ref: ref_tip(common_dir, ref))
    found.sort(key=lambda task: (-task["updated"], task["name"]))
    return found


def records(pid: int, descriptor: int) -> Iterator[str]:
    """The records of FORMAT, parsed while git still writes: there are two processors."""
    rest = b""
    with open(descriptor, "rb", buffering=0) as file:
        while chunk := file.read(1 << 18):
            whole, end, rest = (rest + chunk).rpartition(b"\0\0\n")
            if end:
                yield from whole.decode("utf-8", "surrogateescape").split("\0\0\n")
    os.waitpid(pid, 0)


def add_summary(task: Fields, summary: dict[str, str]) -> tuple[int, int]:
    """Put what the trailers say into `task`. Returns (done, total)."""
    done, total = states.pair(summary.get("Autonomous-Progress"))
    number = summary.get("Autonomous-Session", "")
    task["base"] = summary.get("Autonomous-Base") or None
    task["done"] = done
    task["total"] = total
    task["sessions"] = int(number[:9]) if number.isdecimal() else 0
    task["check"] = summary.get("Autonomous-Check", "none")
    task["thread"] = summary.get("Codex-Thread") or None
    task["tokens"] = states.pair(summary.get("Autonomous-Tokens"))[1]
    return done, total


def read_tips(git: Git, found: list[Fields]) -> None:
    """Fill in tasks whose newest commit a person made: the list as it is now, the rest from the last session below."""
    from . import checklist

    ours, theirs = os.pipe()
    pid, output = git.start("cat-file", "--batch", stdin=ours)
    os.close(ours)
    with open(theirs, "wb", buffering=0) as ask, open(output, "rb") as answers:

        def read(name: str) -> bytes | None:
            ask.write(os.fsencode(name) + b"\n")
            head = answers.readline().split()
            if len(head) != 3 or not head[2].isdigit():
                return None
            return answers.read(int(head[2]) + 1)[:-1]

        for task in found:
            name, commit = task["name"], str(task["tip"])
            add_summary(task, {})
            for _ in range(ANCESTORS):
                content = (read(commit) or b"").decode("utf-8", "surrogateescape")
                header, _, message = content.partition("\n\n")
                summary = states.trailers(message)
                if summary.get(states.TRAILER_TASK) == name:
                    add_summary(task, summary)
                    break
                parents = [line[7:] for line in header.split("\n") if line.startswith("parent ")]
                if not parents:
                    break
                commit = parents[0]
            task["readable"] = read(f"{task['tip']}:.autonomous/{name}/task.toml") is not None
            listed = checklist.parse(
                (read(f"{task['tip']}:.autonomous/{name}/task_list.md") or b"").decode("utf-8", "replace")
            )
            task.update(done=listed.done, total=listed.total, stuck=listed.stuck)
            if task["check"] != "none":
                task["check"] = "unknown"
    os.waitpid(pid, 0)


def reachable(git: Git, where: str, found: list[Fields]) -> set[str]:
    """The tips of finished tasks that are reachable from their base: merged by hand, or fast-forwarded."""
    bases = {str(task["base"]) for task in found if task["total"] and task["done"] == task["total"] and task["base"]}
    merged: set[str] = set()
    for base in bases:
        if ref_tip(git.common_dir, f"refs/heads/{base}") is None:
            continue
        output = git.output("for-each-ref", "--format=%(objectname)", f"--merged=refs/heads/{base}", where)
        merged.update(output.decode().split())
    return merged


def ref_tip(common_dir: str, ref: str) -> str | None:
    """The object that a ref names, without asking git: from its own file, else from packed-refs. None where there is none."""
    name = os.fsencode(ref)
    for _ in range(5):
        if b".." in name:
            break
        try:
            with open(os.path.join(os.fsencode(common_dir), name), "rb") as file:
                content = file.read(4096).strip()
        except OSError:
            return packed_tip(common_dir, name)
        if not content.startswith(b"ref: "):
            return content.decode("ascii", "replace") if len(content) == 40 else None
        name = content[5:]
    return None


def packed_tip(common_dir: str, name: bytes) -> str | None:
    try:
        with open(os.path.join(common_dir, "packed-refs"), "rb") as file:
            content = file.read()
    except OSError:
        return None
    at = content.find(b" " + name + b"\n")
    return content[at - 40 : at].decode("ascii", "replace") if at >= 40 else None


def local_tasks(common_dir: str) -> dict[str, str]:
    """The tasks that have local files here, with their folders."""
    try:
        with os.scandir(os.path.join(common_dir, "autonomous", "tasks")) as entries:
            return {entry.name: entry.path for entry in entries}
    except OSError:
        return {}


def add_state(task: Fields, local: dict[str, str], merged: set[str], now: float) -> None:
    """Work out the state, with what only this machine knows: locks and the runner's last word."""
    running = waiting = word = None
    folder = local.get(str(task["name"]))
    if folder is not None:
        said = states.read_word(f"{folder}/state")
        if locks.is_held(f"{folder}/runner.lock"):
            running = said[3] if said is not None and said[0] == states.RUNNING else "at work"
            if said is not None and said[0] == states.WAITING and said[1] > now:
                near = said[1] < now + 12 * 3600
                waiting = said[3] + time.strftime(
                    f" (until {'%H:%M' if near else '%Y-%m-%d %H:%M'})", time.localtime(said[1])
                )
        elif locks.is_held(f"{folder}/agent.lock"):
            running = "Codex works on without its runner"
        elif said is not None and said[2] == task["tip"]:
            word = (said[0], said[3])
    task["state"], task["reason"] = states.state_of(
        readable=task.pop("readable", True),
        sessions=task["sessions"],
        done=task["done"],
        total=task["total"],
        stuck=task.pop("stuck", False),
        check=task["check"],
        running=running,
        merged=task["tip"] in merged,
        word=word,
        waiting=waiting,
    )
    task["conflicts"] = None


ORDER = (
    "name",
    "branch",
    "base",
    "worktree",
    "state",
    "reason",
    "done",
    "total",
    "sessions",
    "check",
    "thread",
    "tokens",
    "updated",
    "conflicts",
)


def to_json(task: Fields) -> Fields:
    """A task as the documented JSON object: `updated` as ISO 8601 in UTC."""
    known: Fields = {key: task.get(key) for key in ORDER}
    known["updated"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(str(task["updated"]))))
    known["reason"] = task.get("reason") or None
    return known
