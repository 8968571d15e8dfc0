"""Killing the program at chosen places, and what must hold after that.

A place is before the n-th system call of a kind (with strace, where it is installed), around or inside the n-th git command, or as soon as the journal has n lines. The
product knows nothing of it: git is replaced by a script that is first on PATH, and the rest is done from outside. The agent is the stand-in, so that hundreds of places can
be tried; `python tests/crashes.py` tries them all.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import standin
from conftest import git, make_repository, sealed
from program import PROGRAM, Ended, autonomous, listed

from gitautonomous import process

NAME = "todo"
START = ("start", "Do the work", "--name", NAME, "--delay", "0", "--check", "true")
RESUME = ("resume", NAME, "--delay", "0")
STRACE = shutil.which("strace")

# Each turn leaves a file of its own, and notes it outside.
WORK = 'n=$$-$(date +%s%N); mkdir -p work && echo $n > work/$n && echo work/$n >> "$NOTES"'

GIT = """\
#!/bin/sh
# The git of a test: the call with the number in $KILL_AT is where its caller is killed.
echo >> "$CALLS"
if [ "$(wc -l < "$CALLS")" = "$KILL_AT" ]; then
    case $KILL_HOW in
    before) kill -9 $PPID; exit 137 ;;
    after) {git} "$@"; kill -9 $PPID; exit 137 ;;
    *) strace -f -qq -o /dev/null -e "trace=$KILL_HOW" -e "inject=$KILL_HOW:signal=KILL:when=1" {git} "$@"; kill -9 $PPID; exit 137 ;;
    esac
fi
exec {git} "$@"
"""


@dataclass
class World:
    """A repository with a task whose agent is the stand-in, in a folder of its own."""

    area: Path
    repository: Path = field(init=False)
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.repository = make_repository(self.area / "repo")
        (self.area / "bin").mkdir()
        self.environment = {
            "GIT_AUTONOMOUS_CODEX": standin.install(str(self.area)),
            "CODEX_HOME": str(self.area / "codex-home"),
            "STANDIN_ITEMS": "2",
            "STANDIN_WORK": WORK,
            "STANDIN_ALONE": str(self.area / "alone"),
            "NOTES": str(self.area / "notes"),
        }

    @property
    def worktree(self) -> Path:
        return self.area / "repo.autonomous" / NAME

    @property
    def local(self) -> Path:
        return self.repository / ".git/autonomous/tasks" / NAME

    @property
    def branch(self) -> str:
        return f"autonomous/{NAME}"

    def run(self, *arguments: str) -> Ended:
        return autonomous(self.repository, *arguments, stdin=b"", **self.environment)

    def begin(self, *argv: str, **environment: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            argv,
            cwd=self.repository,
            env={**os.environ, **self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def exists(self) -> bool:
        command = ["git", "-C", str(self.repository), "show-ref", "--verify", "--quiet", f"refs/heads/{self.branch}"]
        return subprocess.run(command, check=False).returncode == 0

    # -- what must always hold -------------------------------------------------------------------------------------------------------------------

    def violations(self) -> Iterator[str]:
        """What is wrong at this moment, in words."""
        checked = subprocess.run(
            ["git", "-C", str(self.repository), "fsck", "--strict", "--no-dangling", "--no-progress"],
            capture_output=True,
            text=True,
            check=False,
        )
        if checked.returncode or checked.stdout:
            yield f"fsck: {checked.stdout}{checked.stderr}"
        alone = self.area / "alone"
        if alone.exists() and alone.read_text():
            yield f"two agents at once: {alone.read_text()}"
        if self.exists():
            yield from self._lost_files()
            yield from self._sessions()
            yield from self._listing()

    def _lost_files(self) -> Iterator[str]:
        notes = self.area / "notes"
        written = notes.read_text().split() if notes.exists() else []
        committed = set(git(self.repository, "log", "--format=", "--name-only", self.branch).splitlines())
        for path in written:
            if path not in committed and not (self.worktree / path).exists():
                yield f"{path} is neither in a commit nor in the worktree"

    def _sessions(self) -> Iterator[str]:
        form = "--format=%(trailers:key=Autonomous-Session,valueonly,separator=%x20)"
        numbers = [
            int(line)
            for line in git(self.repository, "log", "--reverse", form, f"main..{self.branch}").splitlines()
            if line
        ]
        if numbers != list(range(len(numbers))):
            yield f"the sessions are numbered {numbers}"

    def _listing(self) -> Iterator[str]:
        (task,) = listed(self.repository)
        shown = subprocess.run(
            ["git", "-C", str(self.repository), "show", f"{self.branch}:.autonomous/{NAME}/task_list.md"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        boxes = re.findall(r"^- \[([ x])\]", shown, re.MULTILINE)
        if (task["done"], task["total"]) != (boxes.count("x"), len(boxes)):
            yield f"list says {task['done']}/{task['total']}, the branch {boxes}"
        if task["state"] == "running" and not self.at_work():
            yield "list says running, but nobody is at work"

    def at_work(self) -> list[process.ProcessId]:
        """Who holds one of the task's locks: its runner, its agent."""
        return [who for name in ("runner.lock", "agent.lock") for who in process.holders(self.local / name)]

    def finish(self) -> Iterator[str]:
        """Go on until the task is finished, and say what is wrong then."""
        ended = self.run(*(RESUME if self.exists() else START))
        if (ended.status, ended.out) != (0, f"{NAME}: finished, all 2 items are ticked and the checks pass\n"):
            yield f"it could not go on: {ended}"
            return
        yield from self.violations()
        if git(self.worktree, "status", "--porcelain"):
            yield f"the worktree is not clean: {git(self.worktree, 'status', '--porcelain')}"
        left = [
            str(path)
            for path in (self.repository / ".git").rglob("*.lock")
            if "autonomous" not in path.relative_to(self.repository / ".git").parts[:1]
        ]
        if left:
            yield f"locks were left: {left}"
        if self.at_work():
            yield f"somebody is still at work: {self.at_work()}"


@dataclass(frozen=True)
class Place:
    """Where to kill. `kind`: a system call of the runner, "journal", "milliseconds", or "git before", "git after", "git <system call>"; `number` counts from 1."""

    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.kind} {self.number}"

    def kill(self, world: World, command: Sequence[str] = START) -> bool:
        """Run a command of the program, the start of the task, and kill it here. Returns whether the place was reached."""
        if self.kind == "journal":
            return self._at_journal(world, command)
        if self.kind == "milliseconds":
            return self._at_time(world, command)
        if self.kind.startswith("git "):
            how = self.kind.removeprefix("git ")
            calls = world.area / "calls"
            calls.write_text("")
            wrapper = world.area / "bin/git"
            wrapper.write_text(GIT.format(git=shutil.which("git")))
            wrapper.chmod(0o755)
            path = f"{world.area}/bin{os.pathsep}{os.environ['PATH']}"
            runner = world.begin(
                *PROGRAM, *command, PATH=path, CALLS=str(calls), KILL_AT=str(self.number), KILL_HOW=how
            )
            return runner.wait() == -signal.SIGKILL
        inject = ["-e", f"trace={self.kind}", "-e", f"inject={self.kind}:signal=KILL:when={self.number}"]
        return world.begin("strace", "-qq", "-o", "/dev/null", *inject, *PROGRAM, *command).wait() != 0

    def _at_time(self, world: World, command: Sequence[str]) -> bool:
        runner = world.begin(*PROGRAM, *command)
        try:
            runner.wait(self.number / 1000)
        except subprocess.TimeoutExpired:
            runner.kill()
        return runner.wait() == -signal.SIGKILL

    def _at_journal(self, world: World, command: Sequence[str]) -> bool:
        runner = world.begin(*PROGRAM, *command)
        journal = world.local / "journal.jsonl"
        while runner.poll() is None:
            try:
                lines = journal.read_bytes().count(b"\n")
            except FileNotFoundError:
                continue
            if lines >= self.number:
                runner.kill()
                return runner.wait() == -signal.SIGKILL
        return False


def problems(area: Path, place: Place) -> list[str]:
    """Kill at a place in a new world and go on from there. Returns what is wrong; a place that is not reached is no problem."""
    world = World(area)
    if not place.kill(world):
        return []
    deadline = time.monotonic() + 20
    while process.holders(world.local / "agent.lock") and time.monotonic() < deadline:
        time.sleep(0.01)  # the agent finishes its turn, or is adopted: both are tried, as it happens
        if place.number % 2:
            break
    return [f"at once: {problem}" for problem in world.violations()] + [
        f"later: {problem}" for problem in world.finish()
    ]


CALLS = {
    "write": 100, "fsync": 50, "rename": 16, "renameat": 10, "link": 12, "unlink": 16, "unlinkat": 10, "vfork": 80, "mkdir": 40, "flock": 14, "ftruncate": 1,
}  # fmt: skip
"""The system calls of a runner that change something, and about how many of each a task takes."""


def places() -> list[Place]:
    """Every place, those that need strace only where it is installed."""
    kinds = {"journal": 17, "git before": 75, "git after": 75}
    if STRACE:
        kinds |= CALLS | {f"git {call}": 75 for call in ("rename", "link", "fsync", "unlink")}
    return [Place(kind, number) for kind, count in kinds.items() for number in range(1, count + 1)]


def main() -> int:
    """Try every place; print what is wrong and return how much."""
    found = 0
    chosen = [place for place in places() if not sys.argv[1:] or place.kind in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as home, sealed(Path(home)):
        for number, place in enumerate(chosen, start=1):
            area = Path(tempfile.mkdtemp(prefix="crashes-"))
            for problem in problems(area, place):
                found += 1
                print(f"\rkilled at {place}: {problem[-2000:]}", flush=True)
            shutil.rmtree(area)
            print(f"\r{number}/{len(chosen)} places, {found} problems", end="", flush=True)
    print()
    return min(found, 1)


if __name__ == "__main__":
    sys.exit(main())
