"""A worker: takes tasks of the fleet from a remote and runs each exactly as a single machine does.

One process looks for tasks, claims them and renews all of their leases in one push; each task runs in a child of it, which pushes every session's commit. A child that
loses its parent stops as if it was told to. What a task brings along widens nothing: `refusal` says which tasks this machine does not take, its own settings hold, no
ignored file of it is copied, and setup commands run in the sandbox.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from . import (
    backup,
    closing,
    detach,
    doctor,
    lease,
    many,
    model,
    moving,
    process,
    show,
    signals,
    states,
    stopping,
    sync,
    tasks,
    tracking,
)
from .config import Approvals, Settings
from .errors import AutonomousError, Interrupted
from .lease import FREE, HELD, BranchMoved, Hold, Lease, Lost, Moved, Refused, Remote, Seen, Unreachable, Watch, Who
from .locks import Held
from .model import Task
from .screen import Screen
from .tasks import Place, Request, Result
from .trees import Conflict, Trees

ENGINES = (
    ("slurm", "SLURM_JOB_ID"),
    ("github", "GITHUB_RUN_ID"),
    ("kubernetes", "POD_NAME"),
    ("systemd", "INVOCATION_ID"),
)
"""Engines that start workers, and the variable in which each tells its job's name."""

RENEWALS = 3
"""How often a lease is renewed within its term."""

STARTS = 3
"""How often the process that runs a task is started under one lease."""

STRIKES = 3
"""Workers in a row that give up on a task before it is left to a person."""

GIVE_UP = 20.0
"""Seconds that a worker which was told to stop goes on trying to reach the remote."""

LONGEST_PAUSE = 60.0
TICK = 0.2
AGAIN = 30.0
"""Seconds after which a child that was told to stop is told again."""


def who(environ: Mapping[str, str]) -> Who:
    """This worker, under a name that no other has."""
    host = os.uname().nodename
    job = next((f"{engine}:{environ[name]}" for engine, name in ENGINES if environ.get(name)), "")
    return Who(f"{host}-{uuid.uuid4().hex[:12]}", host, job)


# -- the policy ----------------------------------------------------------------------------------------------------------------------------------


def refusal(task: Task, settings: Settings) -> str:
    """Why this machine does not take a task that somebody pushed; "" when it does."""
    options = task.options
    if options.network:
        return "it asks for full access, which a worker never gives"
    if options.config:
        return "it brings settings for Codex (-c), which a worker never takes"
    if options.profile:
        return "it names a Codex profile, which a worker never takes"
    if options.sandbox_network and not settings.worker_network:
        return "it asks for the network, and autonomous.workerNetwork is not set"
    for command in task.checks:
        if not allowed(command, settings.worker_checks):
            return f"its check '{model.one_line(command, 80)}' is not among autonomous.workerChecks"
    return ""


def allowed(check: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(check, pattern) for pattern in patterns)


class Sanctioned(Approvals):
    """The policy has spoken: nobody is asked, and nothing is remembered for the tasks of a person."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(Path(os.devnull))
        self._checks = settings.worker_checks

    def approved(self, repository: Path, text: str) -> bool:
        return True

    def approve(self, repository: Path, text: str) -> None:
        pass

    def allows(self, check: str) -> bool:
        return allowed(check, self._checks)


def check_machine() -> None:
    """Raise AutonomousError unless Codex, its sandbox, the sign-in and the way to the model are all right here."""
    for finding in doctor.examine_here(os.environ):
        if finding.ok is False or finding.name == "network":
            raise AutonomousError(f"this machine cannot work: {finding.message}", finding.hint)


# -- the process that claims and renews ------------------------------------------------------------------------------------------------------------


@dataclass
class Slot:
    """A task at work. `starts`: how often its process was started; `offset`: where its output begins in the log, in bytes."""

    hold: Hold
    alive: Held
    pid: int = 0
    starts: int = 0
    offset: int = 0
    told: float = 0.0


@dataclass
class Worker:
    """Takes tasks from a remote. `only`: just this task, until it is done; `once`: what can be taken now, at most `slots`, and no more; `idle`: seconds without a task
    after which it ends (0: never)."""

    place: Place
    remote: Remote
    me: Who
    say: Callable[[str], None]
    slots: int = 1
    only: str | None = None
    once: bool = False
    idle: float = 0.0
    watch: Watch = field(default_factory=Watch)
    _running: dict[str, Slot] = field(default_factory=dict)
    _refused: dict[str, str] = field(default_factory=dict)
    _statuses: list[int] = field(default_factory=list)
    _said: str = ""
    _signal: int | None = None
    _doubt: bool = False
    _pipe: tuple[int, int] = field(default_factory=os.pipe)
    _folder: str = field(default_factory=os.getcwd)

    def run(self) -> int | Hold:
        """Work until there is nothing to do. Returns the exit status; in each process that is made for a task: the task's lease, for `work`."""
        check_machine()
        with signals.heard(self._told, lambda _: self._tell_all()):
            return self._loop()

    def _told(self, number: int) -> None:
        self._signal = number
        self._tell_all()

    def _tell_all(self) -> None:
        for slot in self._running.values():
            self._tell(slot)

    def _tell(self, slot: Slot) -> None:
        slot.told = time.monotonic()
        with suppress(ProcessLookupError):
            os.kill(slot.pid, signal.SIGTERM)  # a child that was not waited for: its id is still its own

    def _loop(self) -> int | Hold:
        term = self.place.settings.lease_term
        busy = renewed = time.monotonic()
        looked, pause = 0.0, 0.0
        while True:
            now = time.monotonic()
            for slot in list(self._running.values()):
                mine = self._look_after(slot, now)
                if mine is not None:
                    return mine
            if self._running:
                busy = now
            elif self._signal is not None:
                return 128 + self._signal
            if self._running and now - renewed >= term / RENEWALS:
                renewed = now
                self._renew()
            if self._signal is None and len(self._running) < self.slots and now - looked >= pause:
                if self._doubt:
                    check_machine()
                    self._doubt = False
                before = len(self._running)
                try:
                    mine, more = self._take()
                    self._said = ""
                    pause = (
                        0.0
                        if len(self._running) > before
                        else self.place.settings.worker_poll * random.uniform(0.8, 1.2)
                    )
                except (Unreachable, Refused) as error:
                    if not self._running and (self.once or isinstance(error, Refused)):
                        raise
                    mine, more = None, True
                    self._once_said(error.message)
                    pause = min(LONGEST_PAUSE, max(1.0, 2 * pause))
                looked = time.monotonic()
                if mine is not None:
                    return mine
                if not self._running and (self.once or not more or (self.idle and looked - busy >= self.idle)):
                    return many.worst(self._statuses)
            time.sleep(TICK)

    def _once_said(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self.say(text)

    # -- claiming ----------------------------------------------------------------------------------------------------------------------------------

    def _take(self) -> tuple[Hold | None, bool]:
        """Claim a task and start it, where there is one. Returns (its lease in the process made for it, whether there may be more to do later)."""
        if self.once and len(self._running) + len(self._statuses) >= self.slots:
            return None, False
        found = self.remote.look()
        self.watch.saw(found)
        names = [task for task in found if self.only in (None, task) and task not in self._running]
        random.shuffle(names)
        for task in names:
            seen = found[task]
            slot = self._claim(task, seen) if self._may_come(task, seen) else None
            if slot is not None:
                self._running[task] = slot
                return self._start(slot), True
        return None, self.only is None or any(self._may_come(task, found[task]) for task in names)

    def _may_come(self, task: str, seen: Seen) -> bool:
        """Whether this machine may work on a task, now or later."""
        return self._refused.get(task) != seen.oid and seen.lease is not None and seen.lease.state in (FREE, HELD)

    def _claim(self, task: str, seen: Seen) -> Slot | None:
        assert seen.lease is not None
        hold = Hold(self.remote, task)
        alive = hold.alive()
        if alive is None:
            return None
        record = hold.record()
        ours = record is not None and seen.lease.state == HELD and record.lease.same_hold(seen.lease)
        # Nobody here works on it, so the lease of this very clone needs no waiting for: its owner is dead.
        if ours or self.watch.claimable(task, seen.lease):
            try:
                why, tip = self._examine(task)
                if tip is not None and not why:
                    hold.claim(seen, self.me, self.place.settings.lease_term, self.place.ref(task), tip)
                    silent = f"{seen.lease.host}, which was silent for {show.duration(seen.lease.term)}"
                    how = f"taken over from {silent}" if seen.lease.state == HELD and not ours else "claimed"
                    self.say(f"{task}: {how}, epoch {seen.lease.epoch + 1}")
                    return Slot(hold, alive)
                self._refused[task] = seen.oid
                self.say(f"{task}: left to others: {why}")
            except Moved:
                pass
            except BaseException:
                alive.close()
                raise
        alive.close()
        return None

    def _examine(self, task: str) -> tuple[str, str | None]:
        """(why this machine does not take it, its newest commit). Looked at before the claim, so that a task that no worker takes is handed around by none."""
        try:
            model.check_name(task)
            tip = self.remote.branch(self.place.ref(task))
            content = self.place.objects.read(tip, f".autonomous/{task}/task.toml") if tip else None
            if tip is None or content is None:
                return "it has no branch with a task.toml", None
            why = refusal(model.read_task(task, content), self.place.settings) or self._in_the_way(task, tip)
            return why, tip
        except (Unreachable, Refused):
            raise
        except AutonomousError as error:
            return error.message, None

    def _in_the_way(self, task: str, tip: str) -> str:
        local = self.place.objects.tip(self.place.ref(task))
        if local in (None, tip) or Hold(self.remote, task).record() is not None:
            return ""
        return f"this clone has a branch {self.place.branch(task)} of its own"

    # -- the children ------------------------------------------------------------------------------------------------------------------------------

    def _start(self, slot: Slot) -> Hold | None:
        """Make a process for a task. Returns its lease in that process: it has a session of its own, and prints into the task's log."""
        log = slot.hold.log
        slot.starts += 1
        slot.offset = log.stat().st_size if log.exists() else 0
        sys.stdout.flush()
        sys.stderr.flush()
        with signals.held_back():
            slot.pid = os.fork()
            if slot.pid:
                return None
            self._running.clear()
            for number in signals.ENDING:
                signal.signal(number, signal.SIG_DFL)
            os.close(self._pipe[1])
            os.setsid()
            os.chdir(self._folder)
            detach.redirect(log)
        threading.Thread(target=_end_with_parent, args=(self._pipe[0],), daemon=True).start()
        return slot.hold

    def _look_after(self, slot: Slot, now: float) -> Hold | None:
        with signals.held_back():  # once it was waited for, its id may be a stranger's
            gone, status = os.waitpid(slot.pid, os.WNOHANG)
        if not gone:
            if slot.told and now - slot.told > AGAIN:
                self._tell(slot)
            return None
        task, code = slot.hold.task, os.waitstatus_to_exitcode(status)
        code = code if code >= 0 else 128 - code
        self.say(many.last_line(slot.hold.log, slot.offset, task) or f"{task}: ended with status {code} and no word")
        record = slot.hold.record()
        if record is not None and record.lease.state == HELD:
            if self._signal is None and slot.starts < STARTS and not slot.told:
                return self._start(slot)
            why = f"its process ended with status {code}"
            now_free = record.lease.left(FREE, "handed over") if slot.told else given_up(record.lease, why)
            with suppress(Lost, BranchMoved, Unreachable, Refused):
                slot.hold.publish(str(record.tip), now_free)
        self._doubt = self._doubt or (record is not None and record.lease.failures > 0)
        self._statuses.append(code)
        slot.alive.close()
        del self._running[task]
        return None

    def _renew(self) -> None:
        try:
            lost = lease.renew([slot.hold for slot in self._running.values()])
        except (Unreachable, Refused) as error:
            self._once_said(error.message)
            return
        for task, why in lost.items():
            slot = self._running[task]
            if not slot.told:
                self.say(f"{task}: {why.message}; its agent is stopped")
                self._tell(slot)


def _end_with_parent(descriptor: int) -> None:
    os.read(descriptor, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def given_up(now: Lease, reason: str) -> Lease:
    """The lease of a task that a worker could not go on with: for another worker, or after STRIKES of them for a person."""
    failures = now.failures + 1
    return now.left(FREE if failures < STRIKES else states.FAILED, reason, failures)


# -- the process that runs a task ------------------------------------------------------------------------------------------------------------------


@dataclass
class Job:
    """A task that this machine holds the lease of."""

    place: Place
    hold: Hold
    screen: Screen
    signal: int | None = None

    @property
    def task(self) -> str:
        return self.hold.task

    def run(self) -> Result:
        """Run the task's sessions and let go of its lease. Raises Interrupted when told to stop, Lost and BranchMoved with what is kept here, AutonomousError."""
        place = self.place = replace(self.place, approvals=Sanctioned(self.place.settings))
        with signals.heard(self._hear, lambda _: process.kill_children()):
            try:
                self._bring_here()
                self._push()
                if self.signal is not None:
                    raise Interrupted(f"'{self.task}' was handed over", signum=self.signal)
                request = Request(flags={}, patient=True)
                result = tasks.go_on(
                    place, self.task, request, lambda *_: True, self.screen, foreign=True, publish=self._publish
                )
                assert result.step is not None
                self._leave(result.step.state, result.step.reason)
            except Interrupted:
                self._insist(lambda: self._push(lambda now: now.left(FREE, "handed over")), lambda: True)
                raise
            except (Lost, BranchMoved) as error:
                raise self._apart(error) from error
            except AutonomousError as error:
                why = error.message
                self._insist(lambda: self._push(lambda now: given_up(now, why)), self._stopped)
                raise
            self._clear_away()
            return result

    def _stopped(self) -> bool:
        return self.signal is not None

    def _leave(self, state: str, reason: str) -> None:
        def left(now: Lease) -> Lease:
            return given_up(now, reason) if state == states.FAILED else now.left(state, reason)

        self._insist(lambda: self._push(left), self._stopped)

    def _publish(self, stopped: Callable[[], bool]) -> None:
        """After each session: push its commit. Waits for a remote that is away; what is not there was not done."""

        def push() -> None:
            try:
                self._push(lambda now: replace(now, failures=0))
            except BranchMoved:
                if not self._join():
                    raise
                self._push(lambda now: replace(now, failures=0))

        self._insist(push, stopped)
        self.screen.note(f"pushed to {self.hold.remote.name}")

    def _push(self, change: Callable[[Lease], Lease] = lambda now: now) -> None:
        """Push the branch as it is, with the lease changed."""
        record = self.hold.record()
        if record is None:
            raise self.hold.lost(None)
        tip = self.place.objects.tip(self.place.ref(self.task)) or record.tip
        assert tip is not None
        session = model.read_session(self.place.objects.commit(tip).message, self.task)
        now = record.lease
        if session is not None:
            now = replace(now, done=session.done, total=session.total, sessions=session.number)
        self.hold.publish(tip, change(now))

    def _insist(self, action: Callable[[], None], stopped: Callable[[], bool]) -> None:
        """Do it again and again until the remote is there. Raises Unreachable when this worker was told to stop and it still is not."""
        pause, told = 1.0, None
        while True:
            try:
                return action()
            except Unreachable as error:
                now = time.monotonic()
                told = told or (now if stopped() else None)
                if told is not None and now - told > GIVE_UP:
                    raise
                self.screen.note(f"{error.message}; trying again")
                until = now + pause * random.uniform(0.5, 1.0)
                while time.monotonic() < until and (told is not None or not stopped()):
                    time.sleep(TICK)
                pause = min(LONGEST_PAUSE, 2 * pause)

    # -- this clone ----------------------------------------------------------------------------------------------------------------------------------

    def _bring_here(self) -> None:
        """Make this clone's branch what the remote has, or a continuation of it: sessions that this very machine had not pushed yet."""
        place, record = self.place, self.hold.record()
        assert record is not None and record.tip is not None
        directory = place.repository.task_dir(self.task)
        local = place.objects.tip(place.ref(self.task))
        if local is not None and not place.objects.is_ancestor(record.tip, local):
            if stopping.orphan(directory) is not None:
                stopping.tell(directory, after_session=False)
            kept = self._set_aside(record.tip)
            if kept:
                self.screen.note(f"another worker went on with '{self.task}'; what was here only is kept at {kept}")
            local = None
        if local is None:
            place.repository.update_ref(place.ref(self.task), record.tip, "0" * 40, f"claim {self.task}")

    def _join(self) -> bool:
        """Merge what a person pushed to the branch while a session ran. Returns False, and nothing has changed, where it conflicts, rewrites the branch or asks for more
        than this machine allows."""
        place, record, branch = self.place, self.hold.record(), self.place.branch(self.task)
        assert record is not None and record.tip is not None
        theirs, tip = self.hold.remote.branch(record.branch), place.objects.tip(record.branch)
        if theirs is None or tip is None or not place.objects.is_ancestor(record.tip, theirs):
            return False
        task, trees = tasks.read_task(place, self.task), Trees(place.repository)
        content = place.objects.read(theirs, task.file)
        try:
            if content is None or refusal(model.read_task(self.task, content), place.settings):
                return False
            apart = {task.list_file: tracking.merge_list, task.progress_file: tracking.merge_notes}
            tree = trees.merge(record.tip, tip, theirs, apart=apart)
            for path, merge in apart.items():
                base, ours, its = (closing.decode(trees.read(at, path)) or "" for at in (record.tip, tip, theirs))
                tree = trees.with_contents(tree, {path: closing.encode(merge(base, ours, its))})
            message = model.news_message(self.task, "what was pushed meanwhile", theirs)
            new = trees.write_commit(None, message, tree, [tip, theirs], identity=place.repository.identity())
            sync.refuse_in_the_way(place, self.task, tip, new)
            moving.advance(place.repository, branch, tip, new, reason=f"bring in {theirs[:10]}", hooks=False)
        except (Conflict, Unreachable, Refused):
            return False
        except AutonomousError as error:
            self.screen.note(error.message)
            return False
        self.hold.moved(theirs)
        return True

    def _apart(self, error: Lost | BranchMoved) -> AutonomousError:
        """Keep what cannot be published in this clone. Returns the error that says so."""
        record = self.hold.record()
        kept = self._set_aside(record.tip if record else None)
        if isinstance(error, BranchMoved) and record is not None:
            where = f"; what was done meanwhile is kept on {os.uname().nodename} at {kept}" if kept else ""
            with suppress(Lost, Unreachable, Refused, BranchMoved):
                self.hold.publish_lease(record.lease.left(FREE, error.message + where), error.theirs)
        self.hold.forget()
        if not kept:
            return error
        return AutonomousError(
            f"{error.message}; what this worker did and could not push is kept at {kept}",
            f"git log --oneline {kept}    # or bring it back: git autonomous restore {self.task}",
        )

    def _set_aside(self, published: str | None) -> str | None:
        """Take the task's branch, worktree and local files away. Returns the ref that keeps what the remote does not have, None where it has everything."""
        place, name = self.place, self.task
        repository, branch = place.repository, place.branch(name)
        with backup.at_rest(repository, name):
            tip = place.objects.tip(place.ref(name))
            if tip is None:
                return None
            if published is not None and place.objects.is_ancestor(tip, published):
                kept = backup.keep_uncommitted(repository, place.objects, name, branch)
            else:
                kept = backup.keep(repository, place.objects, name, branch)
            entry = repository.worktree_of(branch)
            if entry is not None:
                backup.take_away(repository, entry.path)
            repository.delete_ref(place.ref(name), tip)
            tasks.set_aside_local_files(repository, name)
        return kept

    def _clear_away(self) -> None:
        """A task that left this machine needs no room here: everything of it is on the remote."""
        record = self.hold.record()
        if record is not None and record.tip == self.place.objects.tip(self.place.ref(self.task)):
            self._set_aside(record.tip)

    def _hear(self, number: int) -> None:
        self.signal = number
