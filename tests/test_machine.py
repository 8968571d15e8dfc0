"""Everything that may happen to a task, in any order: its commands, deaths, a person who works beside it. After each step nothing is lost and nothing is said wrongly.

A Hypothesis state machine against the real program. The suite runs a short sample; `python tests/test_machine.py --steps 2000` is the long run, and prints what it did.
The agent is the stand-in, and in one machine of the long run in ten the real Codex in its sandbox with a scripted model.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import hypothesis
import made
import pytest
from benchmarks import standin
from conftest import AREA, git, sealed
from crashes import NAME, RESUME, START, STRACE, WORK, Place, World
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import StopTest
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from program import PROGRAM, Ended, listed

from gitautonomous import locks, process, scripted, states

BRANCH = f"refs/heads/autonomous/{NAME}"
OURS = ("refs/autonomous/", BRANCH)
ONE_SESSION = ("--max-sessions", "1")
GATE = f'{WORK} 2>/dev/null; while [ -e "$HOLD" ]; do sleep 0.05; done'
"""The work of an agent that does not end before the file $HOLD is gone."""
PATIENCE = 60.0
"""Seconds in which whatever was begun must have come to an end, or to the gate."""

GIT_PLACES = ["git before", "git after"]
CALL_PLACES = ["write", "fsync", "rename", "unlink", "vfork", "mkdir", "flock"] if STRACE else []
DEEP_PLACES = [f"git {call}" for call in ("rename", "link", "fsync", "unlink")] if STRACE else []


def place(kinds: Sequence[str], longest: int) -> st.SearchStrategy[Place]:
    """Somewhere in a command: at the n-th event of a kind, or after a number of milliseconds."""
    return st.one_of(
        st.builds(Place, st.sampled_from(kinds), st.integers(1, longest)),
        st.builds(Place, st.just("milliseconds"), st.integers(1, 1500)),
    )


@dataclass(frozen=True)
class Process:
    pid: int
    argv: tuple[str, ...]

    @property
    def is_agent(self) -> bool:
        return "exec" in self.argv and "--json" in self.argv and self.argv[0].rpartition("/")[2] not in ("sh", "strace")


class Ground(World):
    """The repository, with more beside the task: another task with uncommitted work, a worktree of the person's own, a stash, edits of all kinds."""

    def __post_init__(self) -> None:
        super().__post_init__()
        tools = self.area / "tools"
        tools.mkdir()
        (tools / "git-autonomous").write_text(f'#!/bin/sh\nexec {" ".join(PROGRAM)} "$@"\n')
        (tools / "git-autonomous").chmod(0o755)
        self.hold = self.area / "hold"
        self.log = self.area / "begun.err"
        self.environment |= {
            "HOLD": str(self.hold),
            "STANDIN_WORK": GATE,
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "EDITOR": "true",
        }
        repo = self.repository
        made.finished(repo, "other", {"a": "1\n"}, left=1)
        (made.worktree_of(repo, "other") / "draft").write_text("uncommitted\n")
        git(repo, "branch", "topic")
        git(repo, "worktree", "add", "--quiet", "-b", "own", str(self.area / "own"))
        (self.area / "own/README.md").write_text("edited\n")
        (repo / "stashed").write_text("stashed\n")
        git(repo, "stash", "push", "--quiet", "--include-untracked")
        for name in ("edited", "staged", "untracked"):
            (repo / name).write_text(f"{name}, first\n")
        git(repo, "add", "edited")
        git(repo, "commit", "--quiet", "-m", "A file to edit")
        (repo / "edited").write_text("edited, second\n")
        git(repo, "add", "staged")

    def begin(self, *argv: str, **environment: str) -> subprocess.Popen[bytes]:
        with self.log.open("wb") as log:
            return subprocess.Popen(
                argv,
                cwd=self.repository,
                env={**os.environ, **self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def person(self, *arguments: str, folder: Path | None = None) -> int:
        """A git command of the person's, which may fail. Returns its exit status."""
        command = ["git", "-C", str(folder or self.repository), *arguments]
        return subprocess.run(command, capture_output=True, check=False).returncode

    def processes(self) -> list[Process]:
        """Everything that lives and was started from here, by the mark in its environment."""
        mark = f"CODEX_HOME={self.environment['CODEX_HOME']}".encode()
        found = []
        for folder in Path("/proc").iterdir():
            with suppress(OSError):
                if folder.name.isdigit() and mark in (folder / "environ").read_bytes().split(b"\0"):
                    argv = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
                    if argv:
                        found.append(Process(int(folder.name), tuple(argv)))
        return found

    def what_is_not_the_tasks(self) -> dict[str, object]:
        """All that no command may change while a task runs, byte for byte."""
        repo, dot_git = self.repository, self.repository / ".git"
        refs = git(repo, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        found: dict[str, object] = {ref: oid for ref, oid in map(str.split, refs) if not ref.startswith(OURS)}
        files = [dot_git / name for name in ("HEAD", "index", "config", "logs/refs/stash")]
        files += [dot_git / "worktrees" / name / file for name in ("own", "other") for file in ("HEAD", "index")]
        for root in (repo, self.area / "own", made.worktree_of(repo, "other"), dot_git / "hooks"):
            files += [path for path in root.rglob("*") if ".git" not in path.relative_to(root).parts]
        for path in files:
            with suppress(FileNotFoundError):
                if not path.is_dir():
                    found[str(path.relative_to(self.area))] = (path.stat().st_mode, path.read_bytes())
        return found


class Machine(RuleBasedStateMachine):
    """A task, its program and a person. `counts`: of the steps, by rule, over all machines; `outcomes`: of commands; `broken`: the steps of those that found something."""

    real = False
    counts: ClassVar[Counter[str]] = Counter()
    steps: ClassVar[list[str]] = []
    outcomes: ClassVar[Counter[str]] = Counter()
    broken: ClassVar[list[list[str]]] = []
    keep: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.steps.clear()
        AREA.mkdir(parents=True, exist_ok=True)
        self.area = Path(tempfile.mkdtemp(dir=AREA, prefix="machine-"))
        self.ground = Ground(self.area)
        self.model: scripted.Server | None = None
        if self.real:
            self.use_codex()
        self.runner: subprocess.Popen[bytes] | None = None
        self.killed = False
        self.number = 0
        self.hint: str | None = None
        self.commits: set[str] = set()
        self.files: dict[str, str] = {}
        self.noted = 0
        self.fixed = self.ground.what_is_not_the_tasks()

    def use_codex(self) -> None:
        """The real Codex in place of the stand-in; its model runs what the stand-in would do."""
        world = self.ground
        script = self.area / "agent.sh"
        body = f"import sys; sys.path.insert(0, {str(Path(standin.__file__).parent)!r}); import standin; print(standin.work('.autonomous/{NAME}'))"
        script.write_text(
            f'export STANDIN_ITEMS=2 HOLD="{world.hold}" NOTES=/dev/null\n{sys.executable} -I -S -c "{body}"\n{GATE}\n'
        )
        call: scripted.Step = {
            "call": {"name": "exec_command", "arguments": {"cmd": f"sh {script}", "yield_time_ms": 30_000}}
        }

        def respond(request: scripted.Request) -> scripted.Step:
            newest = request.body["input"][-1]["type"]
            return {"say": "It is done."} if str(newest).endswith("_output") else call

        self.model = scripted.Server(respond).__enter__()
        del world.environment["GIT_AUTONOMOUS_CODEX"]
        scripted.codex_home(self.area / "codex-home", self.model.port, request_max_retries=1, stream_max_retries=1)

    # -- what happens ----------------------------------------------------------------------------------------------------------------------------

    def did(self, what: str) -> None:
        if self.steps or what != "git_prune":  # Hypothesis begins with a machine that does the simplest thing only
            self.counts[what.split(" ")[0]] += 1
            self.steps.append(what)

    def run(self, *argv: str) -> Ended:
        """Run a command of the program to its end and judge what it said."""
        ended = self.ground.run(*argv)
        self.judge(argv, ended)
        return ended

    def judge(self, argv: Sequence[str], ended: Ended) -> None:
        said = f"{' '.join(argv)}: {ended}"
        self.outcomes[f"{argv[0]}: {ended.status}"] += 1
        assert "Traceback" not in ended.err, said
        assert ended.status in (0, 1, 2, 3, 130, 143), said
        errors = re.findall(r"^error: .+", ended.err, re.MULTILINE)
        hints = re.findall(r"^hint: (.+)", ended.err, re.MULTILINE)
        if ended.status == 0:
            assert not errors, said
        else:
            word = re.search(rf"^{NAME}: (failed|stalled|blocked|failing|paused)", ended.out, re.MULTILINE)
            assert len(errors) == 1 or (not errors and word), said
            assert hints, said
        if hints:
            self.hint = hints[0]

    def begin(self, *argv: str) -> None:
        self.runner, self.killed = self.ground.begin(*PROGRAM, *argv), False

    def settle(self) -> None:
        """Wait until everything that was begun has ended, or stands at the gate, or waits."""
        deadline = time.monotonic() + PATIENCE
        while not self.at_rest():
            assert time.monotonic() < deadline, f"it came to no end: {self.ground.processes()}"
            time.sleep(0.03)
        if self.runner is not None and self.runner.poll() is not None:
            self.runner.wait()
            said = self.ground.log.read_text()
            if self.killed:
                assert "Traceback" not in said, said
            else:
                self.judge(("background",), Ended(self.runner.returncode, said, said))
            self.runner = None

    def at_rest(self) -> bool:
        local = self.ground.local
        runs, alone = locks.is_held(str(local / "runner.lock")), locks.is_held(str(local / "agent.lock"))
        self.alive = processes = self.ground.processes()
        if not processes:  # who is killed lets go of its locks after its command line can no longer be read
            return not runs and not alone and (self.runner is None or self.runner.poll() is not None)
        if not self.ground.hold.exists() or any(each.argv[0].endswith("git") for each in processes):
            return False
        at_gate = any(each.argv[0] == "sleep" for each in processes) and any(each.is_agent for each in processes)
        if not runs:  # a runner that was begun, and has not its lock yet, will
            return alone and at_gate and (self.runner is None or self.runner.poll() is not None)
        word = self.word(states.at_work_file)
        if word and word[0] == "waiting" and float(word[1]) > time.time() + 3:
            return True
        return at_gate and "\nsession " in f"\n{self.said()}"

    def said(self) -> str:
        """What the runner that was begun last has printed."""
        log = self.ground.local / "runner.log"
        return self.ground.log.read_text() + (log.read_text() if log.exists() else "")

    def word(self, file: Callable[[str], str] = states.word_file) -> list[str]:
        try:
            return Path(file(str(self.ground.local))).read_text().split("\n")
        except FileNotFoundError:
            return []

    def runners(self) -> list[process.ProcessId]:
        return process.holders(self.ground.local / "runner.lock")

    def look_around(self) -> None:
        """What the rules that come next are chosen by."""
        world = self.ground
        self.exists = world.exists()
        self.kept = git(world.repository, "for-each-ref", "--count=1", "refs/autonomous/") != ""
        self.runs = locks.is_held(str(world.local / "runner.lock"))
        self.busy = self.runs or locks.is_held(str(world.local / "agent.lock"))
        self.at_hand = (world.worktree / ".git").exists() and world.person("status", folder=world.worktree) == 0

    def open(self) -> None:
        """No agent stops at the gate any more."""
        self.ground.hold.unlink(missing_ok=True)

    def fresh(self) -> str:
        self.number += 1
        return f"{self.number}"

    # -- the program's commands ------------------------------------------------------------------------------------------------------------------

    @rule(more=st.sampled_from([ONE_SESSION, ONE_SESSION, ("--plan",), ()]))
    @precondition(lambda self: not self.busy and not self.exists)
    def start(self, more: tuple[str, ...]) -> None:
        self.did(f"start {more}")
        self.open()
        self.run(*START, *more)

    @rule()
    def start_again(self) -> None:
        self.did("start_again")
        if self.busy:
            assert self.run(*START).status == 1
            assert self.run(*START, "--replace").status == 1
        else:
            self.open()
            self.run(*START, "--replace", *ONE_SESSION)

    @rule()
    @precondition(lambda self: not self.busy)
    def session(self) -> None:
        self.did("session")
        self.open()
        self.run(*RESUME, *ONE_SESSION)

    @rule()
    @precondition(lambda self: not self.busy)
    def resume(self) -> None:
        self.did("resume")
        self.open()
        self.run(*RESUME)

    @rule(more=st.sampled_from([ONE_SESSION, (), ("--detach",), ("--resume-last",)]))
    @precondition(lambda self: not self.runs)
    def begin_at_the_gate(self, more: tuple[str, ...]) -> None:
        self.did(f"begin {more}")
        self.ground.hold.touch()
        (self.ground.local / "runner.log").unlink(missing_ok=True)
        self.begin(*(RESUME if self.ground.exists() else START), *more)
        if "--detach" in more:
            assert self.runner is not None
            self.runner.wait()
        self.settle()

    @rule()
    @precondition(lambda self: self.ground.hold.exists())
    def open_the_gate(self) -> None:
        self.did("open_the_gate")
        self.open()
        self.settle()

    @rule(after=st.booleans())
    @precondition(lambda self: self.exists)
    def stop(self, after: bool) -> None:
        self.did(f"stop {after}")
        ended = self.run("stop", NAME, *(["--after-session"] if after else []))
        assert (ended.status == 0) == self.busy or not self.exists, ended
        if after and self.runs:
            self.open()
        self.settle()
        assert self.alive == []

    @rule()
    @precondition(lambda self: self.exists)
    def two_at_once(self) -> None:
        """Only one of two runners gets the task; where one is at work already, neither."""
        self.did("two_at_once")
        if not self.runs:
            self.open()
        rivals = [
            subprocess.Popen(
                [*PROGRAM, *RESUME, *ONE_SESSION],
                cwd=self.ground.repository,
                env={**os.environ, **self.ground.environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                stdin=subprocess.DEVNULL,
                text=True,
            )
            for _ in range(2)
        ]
        for rival in rivals:
            out, err = rival.communicate(timeout=PATIENCE)
            self.judge(("rival",), Ended(rival.returncode, out, err))
            assert not self.runs or rival.returncode == 1, err
        self.settle()

    @rule(style=st.sampled_from(["--squash", "--rebase", "--dry-run", "--ff-only"]) | st.none())
    @precondition(lambda self: self.exists)
    def merge(self, style: str | None) -> None:
        self.did(f"merge {style}")
        ended = self.run("merge", NAME, *([style] if style else []))
        assert not self.busy or ended.status, ended
        self.has_moved()

    @rule(by=st.sampled_from(["--merge", "--rebase"]))
    @precondition(lambda self: self.exists)
    def sync(self, by: str) -> None:
        self.did(f"sync {by}")
        self.run("sync", NAME, by)

    @rule()
    @precondition(lambda self: self.exists)
    def remove(self) -> None:
        self.did("remove")
        self.run("remove", NAME)

    @rule(number=st.none() | st.integers(1, 6))
    @precondition(lambda self: self.kept)
    def restore(self, number: int | None) -> None:
        self.did(f"restore {number}")
        self.run("restore", NAME, *(["--number", str(number)] if number else []))

    @rule(number=st.integers(1, 4), verb=st.sampled_from(["--drop", "--keep", "--rewind-to"]))
    @precondition(lambda self: self.exists)
    def review(self, number: int, verb: str) -> None:
        self.did(f"review {verb} {number}")
        self.run("review", NAME, verb, str(number), "--yes")

    @rule()
    def prune(self) -> None:
        self.did("prune")
        self.run("prune")

    @rule(
        what=st.sampled_from(
            [("status", NAME, "--json"), ("log", NAME), ("review", NAME), ("list",), ("restore", NAME, "--list")]
        )
    )
    def look(self, what: tuple[str, ...]) -> None:
        self.did(f"look {what[0]}")
        before = git(self.ground.repository, "for-each-ref")
        self.run(*what)
        assert git(self.ground.repository, "for-each-ref") == before

    @rule()
    @precondition(lambda self: not self.busy and self.hint)
    def obey(self) -> None:
        """The person pastes the newest hint into a shell."""
        assert self.hint is not None
        self.did(f"obey {self.hint}")
        if re.search(r"attach|log .*-f|--watch|WHY|TEXT|doctor|git config", self.hint):
            return
        self.open()
        subprocess.run(
            ["sh", "-c", self.hint],
            cwd=self.ground.repository,
            env={**os.environ, **self.ground.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        if " switch " in self.hint:
            self.left_behind()  # what was committed where no branch is, as git says then
        self.hint = None
        self.has_moved()

    # -- deaths ----------------------------------------------------------------------------------------------------------------------------------

    def cut(self, where: Place, command: Sequence[str]) -> None:
        self.did(f"cut {where} in {command[0]}")
        if where.kind == "journal":
            journal = self.ground.local / "journal.jsonl"
            already = journal.read_bytes().count(b"\n") if journal.exists() else 0
            where = Place("journal", already + where.number)
        where.kill(self.ground, command)
        said = self.ground.log.read_text()
        assert "Traceback" not in said, said
        self.settle()
        self.has_moved()

    @rule(where=place(["journal", "journal", *GIT_PLACES, *GIT_PLACES, *CALL_PLACES, *DEEP_PLACES], 70))
    @precondition(lambda self: not self.busy)
    def cut_a_run(self, where: Place) -> None:
        self.open()
        self.cut(where, RESUME if self.ground.exists() else START)

    @rule(
        where=place([*GIT_PLACES, *CALL_PLACES], 30),
        command=st.sampled_from(
            [
                ("merge", NAME),
                ("merge", NAME, "--squash"),
                ("remove", NAME),
                ("restore", NAME),
                ("sync", NAME, "--merge"),
                ("sync", NAME, "--rebase"),
                ("review", NAME, "--drop", "2", "--yes"),
                (*START, "--replace", *ONE_SESSION),
            ]
        ),
    )
    @precondition(lambda self: not self.busy)
    def cut_a_command(self, where: Place, command: tuple[str, ...]) -> None:
        self.open()
        self.cut(where, command)

    @rule()
    @precondition(lambda self: self.runs)
    def kill_the_runner(self) -> None:
        self.did("kill_the_runner")
        for who in self.runners():
            if who.pid not in [each.pid for each in self.ground.processes() if each.is_agent]:
                os.kill(who.pid, signal.SIGKILL)
        self.killed = True
        if self.runner is not None:
            self.runner.wait()
        self.settle()

    @rule()
    @precondition(lambda self: self.busy)
    def kill_codex(self) -> None:
        self.did("kill_codex")
        killed = [each.pid for each in self.ground.processes() if each.is_agent]
        for pid in killed:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while any(each.pid in killed for each in self.ground.processes()):
            time.sleep(0.01)  # a busy machine lets a killed process be seen for a moment
        if not self.runs:
            self.open()  # what it started has nobody to end it
        self.settle()

    @rule()
    @precondition(lambda self: self.busy)
    def kill_everything(self) -> None:
        self.did("kill_everything")
        self.kill_all()
        self.settle()

    def kill_all(self) -> None:
        self.killed = True
        while left := self.ground.processes():
            for each in left:
                with suppress(ProcessLookupError):
                    os.kill(each.pid, signal.SIGKILL)
            if self.runner is not None:
                self.runner.poll()
            time.sleep(0.01)

    # -- the person ------------------------------------------------------------------------------------------------------------------------------

    def has_moved(self) -> None:
        """A merge may have moved main. Then it was only that, and the person's own edits are as they were."""
        after = self.ground.what_is_not_the_tasks()
        tip, before = after["refs/heads/main"], self.fixed["refs/heads/main"]
        if tip == before:
            return
        merged = git(self.ground.repository, "merge-base", "--is-ancestor", str(before), str(tip))
        assert merged == ""
        status = git(self.ground.repository, "status", "--porcelain").splitlines()
        assert status == [" M edited", "A  staged", "?? untracked"], status
        changed = git(self.ground.repository, "diff", "--name-only", str(before), str(tip)).splitlines()
        free = {"refs/heads/main", "repo/.git/index", *(f"repo/{path}" for path in changed)}
        assert {key: value for key, value in after.items() if key not in free} == {
            key: value for key, value in self.fixed.items() if key not in free
        }
        self.fixed = after

    def by_hand(self, what: str) -> None:
        """What follows a step of the person's: what they threw away is theirs to throw away."""
        self.did(what)
        self.note_what_agents_wrote()
        self.fixed = self.ground.what_is_not_the_tasks()
        self.left_behind()

    def left_behind(self) -> None:
        reachable = self.reachable()
        self.commits &= reachable
        there = self.contents(reachable)
        self.files = {path: oid for path, oid in self.files.items() if oid in there}

    def write(self, path: str, content: str) -> None:
        target = self.ground.worktree / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        self.files[path] = blob(content.encode())

    @rule(kind=st.sampled_from(["new", "tracked", "staged", "nested", "toml", "removed"]))
    @precondition(lambda self: self.at_hand)
    def edit(self, kind: str) -> None:
        worktree, number = self.ground.worktree, self.fresh()
        if kind == "new":
            self.write(f"by-hand/{number}", f"{number} by hand\n")
        elif kind == "tracked":
            self.write("README.md", f"# A project, for the {number}th time\n")
        elif kind == "staged":
            self.write(f"by-hand/{number}", f"{number} staged\n")
            self.ground.person("add", "by-hand", folder=worktree)
        elif kind == "nested":
            inner = worktree / f"inner-{number}"
            inner.mkdir()
            git(inner, "init", "--quiet")
            self.write(f"inner-{number}/file", f"{number} of another repository\n")
        elif kind == "toml":
            file = worktree / f".autonomous/{NAME}/task.toml"
            if file.exists():
                file.write_text(f"{file.read_text()}# {number}\n")
        else:
            for path in sorted((worktree / "by-hand").glob("*"))[:1]:
                path.unlink()
        self.by_hand(f"edit {kind}")

    @rule(untick=st.booleans())
    @precondition(lambda self: not self.busy and self.at_hand)
    def change_the_list(self, untick: bool) -> None:
        file = self.ground.worktree / f".autonomous/{NAME}/task_list.md"
        if file.exists():
            text = file.read_text()
            if untick:
                file.write_text(text.replace("- [x]", "- [ ]", 1))
            elif text.count("- [") < 8:
                before, mark, after = text.rpartition("- [")
                file.write_text(f"{before}- [ ] Step {self.fresh()} by hand\n{mark}{after}")
        self.by_hand(f"change_the_list {untick}")

    @rule(number=st.integers(1, 3))
    @precondition(lambda self: self.at_hand)
    def commit(self, number: int) -> None:
        for _ in range(number):
            name = self.fresh()
            self.write(f"by-hand/{name}", f"{name} committed\n")
            self.ground.person("add", f"by-hand/{name}", folder=self.ground.worktree)
            self.ground.person(
                "commit", "--quiet", "-m", f"By hand {name}", "--", f"by-hand/{name}", folder=self.ground.worktree
            )
        self.by_hand("commit")

    @rule()
    @precondition(lambda self: self.exists)
    def commit_elsewhere(self) -> None:
        """In a clone, and pushed, which git refuses where the branch is checked out."""
        clone, name = self.area / "clone", self.fresh()
        if not clone.exists():
            git(self.area, "clone", "--quiet", str(self.ground.repository), str(clone))
        git(clone, "fetch", "--quiet")
        git(clone, "checkout", "--quiet", "--detach", f"origin/autonomous/{NAME}")
        (clone / f"elsewhere-{name}").write_text(f"{name} elsewhere\n")
        git(clone, "add", f"elsewhere-{name}")
        git(clone, "commit", "--quiet", "-m", f"Elsewhere {name}")
        pushed = self.ground.person("push", "--quiet", "origin", f"HEAD:{BRANCH}", folder=clone)
        self.by_hand(f"commit_elsewhere {'refused' if pushed else 'pushed'}")

    @rule(what=st.sampled_from(["README.md", "news"]))
    @precondition(lambda self: not self.busy)
    def base_news(self, what: str) -> None:
        """A commit on main, which may conflict with an edit of the task's."""
        repo = self.ground.repository
        (repo / what).write_text(f"{self.fresh()}, news\n")
        git(repo, "add", what)
        git(repo, "commit", "--quiet", "-m", f"News in {what}", "--", what)
        self.by_hand(f"base_news {what}")

    @rule(how=st.sampled_from(["rm", "mv", "git mv", "git rm", "repair"]))
    @precondition(lambda self: self.ground.worktree.exists())
    def lose_the_worktree(self, how: str) -> None:
        away = self.area / f"away-{self.fresh()}" / NAME
        away.parent.mkdir()
        worktree = self.ground.worktree
        if how == "rm":
            shutil.rmtree(worktree, ignore_errors=True)
            shutil.rmtree(worktree, ignore_errors=True)
        elif how == "git rm":
            self.ground.person("worktree", "remove", str(worktree))
        elif how == "git mv":
            self.ground.person("worktree", "move", str(worktree), str(away))
        else:
            worktree.rename(away)
            if how == "repair":
                self.ground.person("worktree", "repair", str(away))
        self.by_hand(f"lose_the_worktree {how}")

    @rule()
    def git_prune(self) -> None:
        self.ground.person("worktree", "prune", "--expire", "now")
        self.by_hand("git_prune")

    @rule(now=st.booleans())
    def gc(self, now: bool) -> None:
        self.ground.person("gc", "--quiet", *(["--prune=now"] if now else []))
        self.by_hand(f"gc {now}")

    @rule(how=st.sampled_from(["branch", "detached"]))
    @precondition(lambda self: self.at_hand)
    def switch_away(self, how: str) -> None:
        where = ("-c", f"aside-{self.fresh()}") if how == "branch" else ("--detach",)
        self.ground.person("switch", "--quiet", *where, folder=self.ground.worktree)
        self.by_hand(f"switch_away {how}")

    @rule()
    @precondition(lambda self: self.at_hand)
    def switch_back(self) -> None:
        self.ground.person("switch", "--quiet", f"autonomous/{NAME}", folder=self.ground.worktree)
        self.by_hand("switch_back")

    @rule(
        how=st.sampled_from(
            [
                ("commit", "--amend", "--quiet", "--no-edit"),
                ("reset", "--hard", "--quiet", "HEAD~1"),
                ("merge", "--quiet", "main"),
                ("merge", "--abort"),
            ]
        )
    )
    @precondition(lambda self: self.at_hand)
    def rewrite(self, how: tuple[str, ...]) -> None:
        last = self.ground.person("rev-parse", "--verify", "--quiet", "main..HEAD~2", folder=self.ground.worktree)
        if how[1] == "--amend":
            self.wait_for_the_next_second()
        if how[0] != "reset" or last == 0:
            self.ground.person(*how, folder=self.ground.worktree)
        self.by_hand(f"rewrite {' '.join(how[:2])}")

    def wait_for_the_next_second(self) -> None:
        """Nobody amends a commit in the second in which it was made: `list` knows by its dates that it was."""
        made = float(git(self.ground.worktree, "log", "-1", "--format=%ct"))
        while time.time() < made + 1:
            time.sleep(0.05)

    @rule(name=st.sampled_from(["index.lock", "HEAD.lock"]))
    @precondition(lambda self: not self.busy and self.at_hand)
    def leave_a_lock(self, name: str) -> None:
        """As a git does that was killed."""
        (self.ground.repository / ".git/worktrees" / NAME / name).touch()
        self.by_hand(f"leave_a_lock {name}")

    def note_what_agents_wrote(self) -> None:
        notes = self.area / "notes"
        written = notes.read_text().split() if notes.exists() else []
        for path in written[self.noted :]:
            self.files[path] = blob(f"{path.removeprefix('work/')}\n".encode())
        self.noted = len(written)
        for file in (self.ground.worktree / "work").glob("*-*[0-9]"):
            with suppress(OSError):
                self.files[f"work/{file.name}"] = blob(file.read_bytes())

    # -- what must always hold -------------------------------------------------------------------------------------------------------------------

    @invariant()
    def all_is_well(self) -> None:
        self.settle()
        self.look_around()
        self.the_repository_is_sound()
        self.nothing_is_lost()
        self.the_persons_own_is_untouched()
        self.at_most_one_agent_is_alive()
        self.nothing_is_left_behind()
        self.the_list_tells_the_truth()

    def reachable(self) -> set[str]:
        """Every object that a ref reaches."""
        return {
            line.split(" ", 1)[0] for line in git(self.ground.repository, "rev-list", "--objects", "--all").splitlines()
        }

    def contents(self, reachable: set[str]) -> set[str]:
        """The contents that are somewhere: behind a ref, in a worktree, in the attic."""
        if set(self.files.values()) <= reachable:
            return reachable
        beside = [self.ground.worktree.parent, self.area / "in-the-way", *self.area.glob("away-*")]
        found = set(reachable)
        for root in (*beside, self.ground.repository / ".git/autonomous"):
            for path in root.rglob("*"):
                with suppress(OSError):
                    if path.is_file() and not path.is_symlink():
                        found.add(blob(path.read_bytes()))
        return found

    def the_repository_is_sound(self) -> None:
        checked = subprocess.run(
            ["git", "-C", str(self.ground.repository), "fsck", "--strict", "--no-dangling", "--no-progress"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0 and not checked.stdout, checked

    def nothing_is_lost(self) -> None:
        self.note_what_agents_wrote()
        reachable = self.reachable()
        assert self.commits <= reachable, f"lost commits: {self.commits - reachable}"
        there = self.contents(reachable)
        lost = {path for path, oid in self.files.items() if oid not in there}
        assert not lost, f"lost files: {lost}"
        if self.exists:
            self.commits |= set(git(self.ground.repository, "rev-list", BRANCH, "--not", "main").split())

    def the_persons_own_is_untouched(self) -> None:
        found = self.ground.what_is_not_the_tasks()
        assert found == self.fixed, [key for key in {**found, **self.fixed} if found.get(key) != self.fixed.get(key)]

    def at_most_one_agent_is_alive(self) -> None:
        agents = [each for each in self.alive if each.is_agent]
        assert len(agents) <= 1, agents
        alone = self.area / "alone"
        assert not (alone.exists() and alone.read_text())

    def nothing_is_left_behind(self) -> None:
        assert self.busy or self.alive == []

    def the_list_tells_the_truth(self) -> None:
        repo = self.ground.repository
        shown = {task["name"]: task for task in listed(repo)}
        assert shown.keys() == {"other"} | ({NAME} if self.exists else set())
        if NAME not in shown:
            return
        task = shown[NAME]
        content = subprocess.run(
            ["git", "-C", str(repo), "show", f"{BRANCH}:.autonomous/{NAME}/task_list.md"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        boxes = re.findall(r"^- \[([ x])\]", content, re.MULTILINE)
        done, total = boxes.count("x"), len(boxes)
        assert (task["done"], task["total"]) == (done, total)
        form = "--format=%H %(trailers:key=Autonomous-Task,valueonly,separator=) %(trailers:key=Autonomous-Session,valueonly,separator=) %(trailers:key=Autonomous-Check,valueonly,separator=)"
        lines = [line.split(" ") for line in git(repo, "log", "--first-parent", form, BRANCH).splitlines()]
        tip = lines[0][0]
        commit, _, number, check = next(line for line in lines if line[1] == NAME)
        assert task["sessions"] == int(number)
        if commit != tip and check != "none":
            check = "unknown"
        assert task["check"] == (check or "none")
        assert task["state"] in self.states(tip, done, total, check or "none", int(number)), (task, self.word())

    def states(self, tip: str, done: int, total: int, check: str, sessions: int) -> Iterator[str]:
        """The states that the task can be in."""
        finished = 0 < total == done
        if self.busy:
            yield "running"
            if self.runs:
                yield "waiting"
        elif tip in git(
            self.ground.repository, "for-each-ref", "--format=%(objectname)", f"refs/autonomous/merged/{NAME}/"
        ) or (finished and self.ground.person("merge-base", "--is-ancestor", tip, "main") == 0):
            yield "merged"
        elif finished:
            passed = check in ("passed", "none") or self.word()[:3:2] == ["finished", tip]
            yield "finished" if passed else "failing" if check == "failed" else "paused"
        else:
            word = self.word()
            yield (
                word[0]
                if len(word) == 4 and word[2] == tip and word[0] in ("failed", "stalled")
                else "paused"
                if sessions or total
                else "new"
            )

    # -- the end ---------------------------------------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None and self.steps:
                self.it_can_always_go_on()
        finally:
            if sys.exc_info()[0] not in (None, StopTest):  # Hypothesis itself gives up on what it cannot draw
                self.broken.append([*self.steps, str(self.area), *traceback.format_exc().splitlines()[-60:]])
            self.kill_all()
            if self.model is not None:
                self.model.__exit__(None, None, None)
            if sys.exc_info()[0] is None or not self.keep:
                shutil.rmtree(self.area, ignore_errors=True)

    def it_can_always_go_on(self) -> None:
        """Whatever has happened: when the person has finished what they began, the task comes to its end."""
        world = self.ground
        self.open()
        self.settle()
        registered = f"worktree {world.worktree}\n" in git(world.repository, "worktree", "list", "--porcelain") + "\n"
        if world.worktree.exists():
            if registered and self.at_hand and world.exists():
                for _ in range(2):
                    world.person("merge", "--abort", folder=world.worktree)
                    if world.person("symbolic-ref", "HEAD", BRANCH, folder=world.worktree) == 0:
                        break
                    self.run(*RESUME)  # a lock that a dead git left is in the way, until the program was asked
            else:
                world.worktree.rename(self.area / "in-the-way")
        self.did("to_the_end")
        ended = self.run(*((*RESUME, "--max-sessions", "0") if world.exists() else START))
        if ended.status == 3 and self.was_the_persons_doing(ended.err):  # told once; then the person says so
            ended = self.run(*RESUME, "--max-sessions", "0")
        assert ended.status == 0 and ended.out.startswith(f"{NAME}: finished, "), ended
        assert git(world.repository, "status", "--porcelain").splitlines() == [" M edited", "A  staged", "?? untracked"]
        self.all_is_well()

    def was_the_persons_doing(self, told: str) -> bool:
        """Whether the program stopped at something that the person did indeed do: a false alarm is a violation."""
        did: tuple[str, ...] = ()
        if "was rewritten while session" in told:
            did += ("rewrite ",)
        if "the repository changed: the worktree's gitdir\n" in told:
            did += ("lose_the_worktree git mv", "lose_the_worktree repair")
        return any(step.startswith(did) for step in self.steps)


class RealMachine(Machine):
    """The same with the real Codex."""

    real = True


def blob(content: bytes) -> str:
    """The name that git gives to a content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def replay(*steps: Callable[[Machine], object]) -> None:
    """These steps alone, with everything looked at after each."""
    machine = Machine()
    try:
        machine.all_is_well()
        for step in steps:
            step(machine)
            machine.all_is_well()
    finally:
        machine.teardown()


def test_a_task_that_is_worked_on_is_not_replaced() -> None:
    replay(
        lambda it: it.begin_at_the_gate(more=ONE_SESSION), lambda it: it.start_again(), lambda it: it.open_the_gate()
    )


def test_a_lock_that_a_dead_git_left_does_not_stop_what_the_hint_says() -> None:
    replay(
        lambda it: it.start(more=ONE_SESSION),
        lambda it: it.switch_away(how="detached"),
        lambda it: it.leave_a_lock(name="HEAD.lock"),
        lambda it: it.session(),
        lambda it: it.obey(),
        lambda it: it.resume(),
    )


def how(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )


@pytest.mark.parametrize(("machine", "steps"), [(Machine, 8), (RealMachine, 3)], ids=["stand-in", "Codex"])
def test_whatever_happens_nothing_is_lost(machine: type[Machine], steps: int) -> None:
    run_state_machine_as_test(hypothesis.seed(4)(machine), settings=how(2, steps))


# -- the long run --------------------------------------------------------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the machine until enough steps are done.")
    parser.add_argument("--steps", type=int, default=2000, help="at least this many (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="of the first machine; each one after it has the next")
    parser.add_argument("--length", type=int, default=40, help="steps of one machine (default: 40)")
    parser.add_argument("--real", action="store_true", help="only with the real Codex")
    parser.add_argument("--keep", action="store_true", help="leave the repositories in which something was found")
    asked = parser.parse_args()
    Machine.keep = asked.keep
    began, violations, number = time.monotonic(), 0, asked.seed
    with tempfile.TemporaryDirectory() as home, sealed(Path(home)):
        while Machine.counts.total() < asked.steps:
            Machine.broken.clear()
            real = asked.real or number % 10 == 9
            machine = RealMachine if real else Machine
            hypothesis.seed(number)(machine).TestCase.settings = how(4, asked.length)
            result = machine.TestCase("runTest").run()
            assert result is not None
            if not result.wasSuccessful():
                violations += 1
                found = Machine.broken or [traces[1].splitlines() for traces in result.failures + result.errors]
                print(f"seed {number}: violation", *(line for each in found for line in each), sep="\n  ", flush=True)
            seconds = time.monotonic() - began
            print(
                f"seed {number}{' (Codex)' if real else ''}: {Machine.counts.total()} steps, {violations} violations, {seconds:.0f} s",
                flush=True,
            )
            number += 1
    for title, counts in (("steps", Machine.counts), ("commands by exit status", Machine.outcomes)):
        print(title, *(f"{count:6} {name}" for name, count in sorted(counts.items())), sep="\n")
    print(f"{Machine.counts.total()} steps, {violations} violations")
    return min(violations, 1)


if __name__ == "__main__":
    sys.exit(main())
