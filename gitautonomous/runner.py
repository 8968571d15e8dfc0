"""The runner: the session loop of one task, from its locks to its last word.

One session is: a person's edits become a commit of their own, the attempt is written into the journal, Codex runs, and `closing.close` turns what it left behind into one
commit. The next step is a pure decision (`model.decide`). Whatever kills this process, the next runner finds an attempt without a result in the journal and closes it first.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from . import (
    checks,
    closing,
    codex,
    detach,
    forecast,
    guard,
    journal,
    locks,
    model,
    notify,
    process,
    prompt,
    resources,
    show,
    signals,
    states,
    stopping,
)
from .account import Account
from .checks import CheckResult
from .closing import Attempt, Closed
from .ends import End, EndKind, RolloutFacts, classify
from .errors import AutonomousError, Interrupted
from .events import Event, Turn, Usage
from .locks import Held
from .model import Limits, Next, Standing
from .notify import Notice, Signs
from .rollout import read_rollout
from .screen import Screen
from .supervision import Deadlines, Supervision, follow, supervise
from .waiting import Waiting
from .workspace import History, Workspace, amended, read_history

AT_ONCE = {
    EndKind.sign_in: "{codex} login    # then: git autonomous resume {task}",
    EndKind.quota: "{codex} login status    # see to your plan or credits, then: git autonomous resume {task}",
    EndKind.configuration: "git autonomous doctor    # then: git autonomous resume {task}",
}
"""Ends that stop a task at once, with what a person types then; {codex} is how they call it."""


Publish = Callable[[Callable[[], bool]], None]
"""Makes a session's commit known elsewhere. Given a question to ask again and again while that takes time: whether this runner was told to stop."""


class StopAsked(Exception):
    """Somebody asked this runner to stop between two sessions, and this is such a moment."""


class Runner:
    """Supervises one task. `run` returns the decision that ended it, or raises Interrupted / AutonomousError."""

    def __init__(
        self,
        workspace: Workspace,
        limits: Limits,
        screen: Screen,
        lock: Held,
        *,
        delay: float,
        resume_last: bool,
        signs: Signs,
        account: Account,
        untouched: bool = False,
        eager: bool = True,
        detached: bool = False,
        publish: Publish | None = None,
    ) -> None:
        """`untouched`: the worktree was filled a moment ago and nothing ran in it since."""
        self.workspace = workspace
        self.limits = limits
        self.screen = screen
        self.lock = lock
        self.resume_last = resume_last
        self.untouched = untouched
        self.detached = detached
        self.publish = publish
        self.waiting = Waiting(
            account, delay=delay, eager=eager, announce=self._announce_wait, tick=self._while_waiting
        )
        self.signs = signs
        self.wait_told = False
        self.notice: tuple[str, str, str] | None = None
        self.standing = Standing()
        self.history: History | None = None
        self.thread: str | None = None
        self.failures = 0
        self.trouble = ""
        self.tired: tuple[int, int] | None = None
        self.newest: str | None = None
        self.missed: str | None = None
        self.ran = 0
        self.tokens = 0
        self.began = time.monotonic()
        self.signal: int | None = None
        self.me: process.ProcessId | None = None
        self.checked_tree = ""
        self.results: tuple[CheckResult, ...] = ()
        self.usage: dict[str, Usage] = {}
        self.restored: tuple[str, ...] = ()
        self.interrupted: str | None = None
        self.background: tuple[str, ...] = ()

    # -- the loop ------------------------------------------------------------------------------------------------------------------------------

    def run(self) -> Next | None:
        """Run sessions, and let go of the task's lock. Returns None where a detached runner, a process of its own, does it from now on."""
        try:
            with self.lock as lock:
                records = self.workspace.journal.read()
                if self.detached:
                    if not detach.detach(self.workspace.log, lambda: stopping.sign(lock)):
                        return None
                    self.screen = Screen(sys.stderr)
                self.me = stopping.sign(lock)
                # The first signal ends the session cleanly, a second one Codex at once.
                with signals.heard(self._hear, lambda _: process.kill_children()), self.workspace.worktree.kept():
                    return self._to_the_end(records)
        finally:
            # Without the lock: what a person lets run then may well merge the task.
            if self.notice is not None:
                self._notify(*self.notice)

    def _to_the_end(self, records: list[journal.Record]) -> Next:
        """Run sessions and leave the last word, also where no decision ends them but an error."""
        try:
            step = self._sessions(records)
        except StopAsked:
            step = Next(False, state=states.PAUSED, reason="it was asked to stop after its session")
        except Interrupted as error:
            reason, status = "it was stopped", error.exit_status
            with suppress(OSError):
                self.workspace.journal.append("word", state=states.PAUSED, reason=reason, status=status)
            if error.signum != signal.SIGINT:  # who presses Ctrl-C knows
                self.notice = (notify.STOPPED, states.PAUSED, reason)
            raise
        except Exception as error:
            reason = error.message if isinstance(error, AutonomousError) else f"{type(error).__name__}: {error}"
            status = error.exit_status if isinstance(error, AutonomousError) else 4
            with suppress(AutonomousError, OSError):
                self._last_word(Next(False, state=states.FAILED, reason=reason, status=status))
            self.notice = (notify.NEEDS_PERSON, states.FAILED, reason)
            raise
        finally:
            stopping.take_back(self.workspace.directory)
            self.signs.close()
        self._last_word(step)
        self.notice = (notify.event_of(step), step.state, step.reason)
        return step

    def _sessions(self, records: list[journal.Record]) -> Next:
        """Session after session, until there is a reason to stop."""
        self.workspace.worktree.drop_stale_locks()
        self._say(states.RUNNING, time.time(), self.workspace.tip(), "between two sessions")
        self._remember(records)
        stop = self._recover(records)
        if stop is not None:
            return stop
        if self.resume_last and self.thread is None:
            self.thread = self._last_thread(records)
        while True:
            if not self.untouched:
                self._commit_by_hand()
            self.untouched = False
            step = model.decide(self._assess(), self.limits)
            if not step.go:
                return step
            self._leave_if_told()
            self._stop_if_asked()
            if self.waiting.before_session():
                continue  # somebody may have changed the worktree meanwhile
            with process.adopting():
                stop = self._session(step.role)
            if stop is not None:
                return stop

    def _remember(self, records: list[journal.Record]) -> None:
        """What the journal knows: the last checks, and the tokens of each thread so far. Read once; it grows with every session."""
        self.usage = {thread: Usage(**usage) for thread, usage in journal.usages(records).items()}
        self.newest = next((record["commit"] for record in reversed(records) if record.get("commit")), None)
        checked = journal.last(records, "checks")
        if checked is not None:
            self.checked_tree, self.results = checked["tree"], checks.from_journal(checked["results"])

    def _last_thread(self, records: list[journal.Record]) -> str | None:
        """The thread to go on with, unless its session was dropped since: Codex would go on with what is not there."""
        found = journal.last_thread(records)
        if found is None:
            return None
        thread, committed = found
        history = read_history(self.workspace.objects, self.workspace.tip(), self.workspace.task)
        if committed and thread not in {record.thread for _, record in history.sessions}:
            self.screen.note(f"the session of thread {thread} was dropped; a fresh one is started")
            return None
        return thread

    def _assess(self) -> Standing:
        """Where the task stands: read from the branch, the checks run where nobody knows their result for the tip."""
        tip = self.workspace.tip()
        self._read_task(tip)
        if self.history is None or self.history.last_commit != tip:
            self.history = self._counted(read_history(self.workspace.objects, tip, self.workspace.task), tip)
            last = self.history.last
            self.restored = last.restored
            self.interrupted = None if last.outcome == "completed" else f"the last session was {last.outcome}"
        listed = closing.current_list(self.workspace, tip)
        idle, tickless = self.history.idle, self.history.tickless
        # Who resumes a stalled task wants it to be tried again: what was idle before counts only until there is progress.
        before_idle, before_tickless = self.tired or (idle, tickless)
        self.tired = min(before_idle, idle), min(before_tickless, tickless)
        self.standing = replace(
            self.standing,
            done=listed.done,
            total=listed.total,
            stuck=listed.stuck,
            idle=idle - self.tired[0],
            tickless=tickless - self.tired[1],
            check=self._check_of(tip, listed.finished, bool(listed.total)),
            failures=self.failures,
            ran=self.ran,
            tokens=self.tokens,
            seconds=time.monotonic() - self.began,
            failing=next((result.command for result in self.results if not result.passed), ""),
            trouble=self.trouble,
        )
        return self.standing

    def _counted(self, history: History, tip: str) -> History:
        """The history, with the newest session counted also where a person amended its record away."""
        record = amended(self.workspace.objects, history, tip, self.workspace.task, self.newest)
        if record is None:
            return history
        if self.missed != self.newest:
            self.missed = self.newest
            self.screen.note(
                f"the record of session {record.number} was amended away; the commit is kept, and the session still counts (git show {self.newest})"
            )
        return replace(history, last=record)

    def _read_task(self, tip: str) -> None:
        content = self.workspace.objects.read(tip, self.workspace.task.file)
        if content is None:
            raise AutonomousError(
                f"{self.workspace.task.file} is missing on {self.workspace.branch}",
                f"git log --oneline {self.workspace.branch} -- {self.workspace.task.file}",
            )
        self.workspace = self.workspace.with_task(model.read_task(self.workspace.task.name, content))

    def _check_of(self, tip: str, finished: bool, has_items: bool) -> str:
        assert self.history is not None
        if not self.workspace.task.checks:
            return "none"
        tree = self.workspace.objects.commit(tip).tree
        if self.checked_tree == tree and tuple(result.command for result in self.results) == self.workspace.task.checks:
            return checks.verdict(self.results)
        first = self.history.last.number == 0
        if finished or first:
            where = "on the base, before the first session" if first else "on the newest commit"
            self.screen.note(f"running the checks {where}")
            results = closing.run_on(self.workspace, tree, self._on_check, self._told)
            if results is None:
                raise self._interruption()
            self.checked_tree, self.results = tree, results
            verdict = checks.verdict(self.results)
            self.screen.note(
                f"checks {verdict}" + ("; the base fails already" if first and verdict == "failed" else "")
            )
            return verdict
        return self.history.last.check if has_items and not self.history.by_person else "none"

    def _on_check(self, command: str) -> None:
        self.screen.note(f"check: {command}")

    # -- one session -----------------------------------------------------------------------------------------------------------------------------

    def _session(self, role: str) -> Next | None:
        """One attempt, closed. Returns a decision to stop where the end of Codex demands one."""
        self.workspace.check_space()
        attempt, text = self._prepare(role)
        began = time.monotonic()
        turn, supervision = Turn(), None
        workspace = self.workspace
        self._announce(attempt)
        last_message = workspace.directory / "last_message.txt"
        last_message.unlink(missing_ok=True)
        with workspace.private_tmpdir() as tmpdir, self._agent_lock() as lock:
            argv = codex.exec_argv(
                codex.Invocation(
                    codex=workspace.codex,
                    worktree=workspace.worktree.path,
                    main_root=workspace.repository.main_root,
                    access=workspace.access,
                    tmpdir=tmpdir,
                    model=workspace.task.options.model,
                    profile=workspace.task.options.profile,
                    config=workspace.task.options.config,
                    thread=attempt.thread,
                    last_message=last_message,
                )
            )
            name, _, value = attempt.marker.partition("=")
            supervision = supervise(
                argv,
                env={**codex.environment(tmpdir, workspace.worktree.path), name: value},
                prompt=text.encode("utf-8", "replace"),
                transcript=workspace.transcript(attempt.number),
                stderr=workspace.stderr(attempt.number),
                inherit=(lock,),
                deadlines=self._deadlines(),
                turn=turn,
                rollout_home=codex.home(),
                on_event=self._seen,
                on_start=lambda who: self._started(attempt, who),
                on_tick=self.screen.tick,
                should_stop=self._told,
                offset=attempt.offset,
            )
        end, model_name = self._classify(turn, supervision, attempt, time.time())
        return self._close(attempt, turn, end, model_name, time.monotonic() - began)

    def _seen(self, event: Event) -> None:
        self.waiting.saw(event)
        self.screen.event(event)

    def _started(self, attempt: Attempt, who: process.ProcessId) -> None:
        self.workspace.journal.append("started", id=attempt.id, pid=who.pid, start=who.start, boot=who.boot)

    def _prepare(self, role: str) -> tuple[Attempt, str]:
        assert self.history is not None
        workspace, number = self.workspace, self.history.last.number + 1
        text = self._prompt(role, number)
        transcript = workspace.transcript(number)
        full = workspace.task.options.network
        taken = guard.snapshot(workspace.repository, workspace.worktree, full=full)
        attempt = Attempt(
            id=uuid.uuid4().hex,
            number=number,
            role=role,
            tip=workspace.tip(),
            thread=self.thread,
            offset=transcript.stat().st_size if transcript.exists() else 0,
            full=full,
            guard=guard.remember(workspace.guard_file, taken),
        )
        workspace.journal.append(
            "attempt",
            id=attempt.id,
            number=number,
            role=role,
            tip=attempt.tip,
            thread=attempt.thread,
            prompt=hashlib.sha256(text.encode("utf-8", "replace")).hexdigest(),
            offset=attempt.offset,
            full=attempt.full,
            guard=attempt.guard,
        )
        return attempt, text

    def _prompt(self, role: str, number: int) -> str:
        workspace, task, tip = self.workspace, self.workspace.task, self.workspace.tip()
        listed = closing.current_list(workspace, tip)
        open_items = [item for item in listed.open_items if not (item.blocked or item.skipped)]
        progress = closing.decode(workspace.objects.read(tip, task.progress_file)) or ""
        brief = prompt.Brief(
            goal=task.goal,
            task=task.name,
            directory=task.directory,
            session=number,
            done=listed.done,
            total=listed.total,
            next_items=tuple(open_items[:3]),
            last_entry=prompt.last_entry(progress),
            failing_checks=tuple((result.command, result.tail) for result in self.results if not result.passed),
            checks=task.checks,
            restored=self.restored,
            blocked=tuple(item for item in listed.open_items if item.blocked or item.skipped),
            background=self.background,
            interrupted=self.interrupted,
            limits=self._limits_text(),
        )
        return render(role, brief, workspace.settings.templates)

    def _limits_text(self) -> str:
        settings = self.workspace.settings
        lines = []
        if settings.session_timeout:
            lines.append(f"this session is ended after {show.duration(settings.session_timeout)}")
        if settings.command_timeout:
            lines.append(f"one command after {show.duration(settings.command_timeout)}")
        return ", ".join(lines)

    def _announce(self, attempt: Attempt) -> None:
        listed = closing.current_list(self.workspace, attempt.tip)
        item = next((item.text for item in listed.open_items if not (item.blocked or item.skipped)), "")
        spent = self.history.last.all_tokens if self.history else 0
        root = str(self.workspace.worktree.path)
        self.screen.session(attempt.number, attempt.role, item, listed.done, listed.total, tokens=spent, root=root)
        share = f" {listed.done}/{listed.total}" if listed.total else ""
        self.signs.title(f"{self.workspace.task.name}{share}, session {attempt.number}")
        self._say(states.RUNNING, time.time(), attempt.tip, f"session {attempt.number}")

    def _deadlines(self) -> Deadlines:
        settings = self.workspace.settings
        return Deadlines(
            startup=settings.startup_timeout,
            silence=settings.silence_timeout,
            command=settings.command_timeout,
            session=self._session_time(settings.session_timeout),
        )

    def _session_time(self, limit: float) -> float:
        """Seconds that the next session may take: what is left of the time budget, where that is less than `limit`."""
        if not self.limits.seconds:
            return limit
        left = max(1.0, self.limits.seconds - (time.monotonic() - self.began))
        return min(limit, left) if limit else left

    def _classify(self, turn: Turn, supervision: Supervision, attempt: Attempt, at: float) -> tuple[End, str]:
        """How Codex ended (at `at`, epoch seconds), and the model that worked. Puts in the tokens of a turn that did not tell them."""
        thread = turn.thread or attempt.thread
        facts = read_rollout(codex.home(), thread) if thread else RolloutFacts()
        turn.usage = turn.usage or (facts.usage if turn.thread else None)
        end = classify(turn, supervision.returncode, supervision.reason, supervision.stderr, facts, at)
        self.workspace.journal.append(
            "ended", id=attempt.id, kind=str(end.kind), message=end.message, returncode=supervision.returncode
        )
        return end, facts.model or ""

    def _close(self, attempt: Attempt, turn: Turn, end: End, model_name: str, seconds: float) -> Next | None:
        assert self.history is not None
        if end.kind is EndKind.failed and attempt.thread and not turn.thread and "no rollout found" in end.message:
            self.screen.note(f"Codex no longer knows the thread {attempt.thread}; a fresh one is started")
            self.thread = None
            self.resume_last = False
            self.workspace.journal.append("result", id=attempt.id, commit=None, outcome="failed", thread=None)
            return None
        closed = closing.close(
            self.workspace,
            attempt,
            turn,
            end,
            previous=self.history.last,
            spent=self._spent(turn),
            seconds=seconds,
            model_name=model_name,
            on_check=self._on_check,
            stopped=self._told,
        )
        for note in closed.notes:
            self.screen.note(note)
        for text in closed.restored:
            self.screen.note(f"put back in the list: {text}")
        self._count(attempt, turn, end, closed)
        self._tell(attempt, end, closed)
        if self.publish is not None and closed.commit is not None:
            self.publish(self._told)
        forecast.after_session(self.workspace)
        self._leave_if_told()
        if closed.alarm:
            return Next(False, state=states.FAILED, reason=f"session {attempt.number}: {closed.alarm}", status=3)
        return self._after(end)

    def _spent(self, turn: Turn) -> Usage | None:
        """This session's tokens: Codex counts over the whole thread."""
        if turn.usage is None or turn.thread is None:
            return None
        known = self.usage.get(turn.thread)
        self.usage[turn.thread] = turn.usage
        return turn.usage - known if known else turn.usage

    def _count(self, attempt: Attempt, turn: Turn, end: End, closed: Closed) -> None:
        completed = end.kind is EndKind.completed
        self.failures = 0 if completed else self.failures + 1
        self.trouble = end.message
        self.wait_told = self.wait_told and not completed
        self.background = tuple(turn.running_commands()) if completed else ()
        self.interrupted = None if completed else f"{closing.outcome_of(end)}: {end.message}"
        self.restored = closed.restored
        self.thread = turn.thread or attempt.thread
        if (completed and not self.resume_last) or end.kind is EndKind.context:
            self.thread = None
        if closed.session is not None and closed.commit is not None and self.history is not None:
            self.ran += 1
            self.tokens += closed.session.tokens
            self.newest = closed.commit
            commit = self.workspace.objects.commit(closed.commit)
            if closed.results:
                self.checked_tree, self.results = commit.tree, closed.results
            self.history = self.history.after(closed.session, commit, self.workspace.objects)

    def _tell(self, attempt: Attempt, end: End, closed: Closed) -> None:
        session = closed.session
        if session is None or closed.commit is None:
            self.screen.closed(
                f"attempt at session {attempt.number} ended before the agent did anything: {end.message}"
            )
            return
        self.screen.closed(model.session_line(session, closed.commit, end.message))

    def _after(self, end: End) -> Next | None:
        """What the end of Codex itself demands: stop at once, wait, or nothing."""
        if end.kind in AT_ONCE:
            return Next(
                False,
                state=states.FAILED,
                reason=end.message,
                status=3,
                hint=AT_ONCE[end.kind].replace("{codex}", self.workspace.codex.typed),
            )
        if end.kind is EndKind.usage_limit:
            self.failures = 0
            self.waiting.after_limit(end)
            return None
        self.waiting.after_session()
        if not model.decide(self._assess(), self.limits).go:
            return None  # there is nothing to wait for
        if end.kind not in (EndKind.completed, EndKind.context):
            self.waiting.after_failure(self.failures, end.message)
        return None

    # -- what was left by others -------------------------------------------------------------------------------------------------------------------

    def _recover(self, records: list[journal.Record]) -> Next | None:
        """Close the attempt of a runner that died: adopt its Codex where it still lives, else end what is left of it. Returns a decision as `_session`."""
        record = journal.open_attempt(records)
        self._read_task(self.workspace.tip())
        if record is None:
            closing.end_survivors(self.workspace, None, None)
            return None
        attempt = Attempt(**{key: record[key] for key in Attempt.__dataclass_fields__})
        self.history = read_history(self.workspace.objects, self.workspace.tip(), self.workspace.task)
        if self.history.last.number >= attempt.number:
            self.workspace.journal.append(
                "result",
                id=attempt.id,
                commit=self.history.last_commit,
                outcome=self.history.last.outcome,
                thread=self.history.last.thread,
            )
            return None
        turn, began = Turn(), time.monotonic()
        who = self._orphan(record)
        if who is not None:
            self.screen.note(f"session {attempt.number} is still at work without its runner; it is followed to its end")
        else:
            self.screen.note(f"session {attempt.number} was cut off; what it left behind becomes a commit")
        self._announce(attempt)
        supervision = follow(
            who,
            transcript=self.workspace.transcript(attempt.number),
            deadlines=self._deadlines(),
            turn=turn,
            rollout_home=codex.home(),
            on_event=self.screen.event,
            on_tick=self.screen.tick,
            should_stop=self._told,
            offset=attempt.offset,
        )
        transcript = self.workspace.transcript(attempt.number)
        ended = transcript.stat().st_mtime if transcript.exists() else time.time()
        end, model_name = self._classify(turn, supervision, attempt, ended)
        return self._close(attempt, turn, end, model_name, time.monotonic() - began)

    def _orphan(self, record: journal.Record) -> process.ProcessId | None:
        """The Codex of an open attempt, where it still lives. A runner that died before it could write it down left its lock with it."""
        lock = self.workspace.directory / "agent.lock"
        if not locks.is_held(str(lock)):
            return None
        if "pid" in record:
            who = process.ProcessId(record["pid"], record["start"], record["boot"])
            return who if process.alive(who) else None
        return next(iter(process.holders(lock)), None)

    def _commit_by_hand(self) -> None:
        mended = closing.mend_pointer(self.workspace)
        if mended:
            self.screen.note(mended)
        closing.refuse_elsewhere(self.workspace)
        commit = closing.commit_by_hand(self.workspace)
        if commit is not None:
            self.screen.note(f"your uncommitted changes in the worktree became commit {commit[:10]}")

    # -- waiting and leaving -----------------------------------------------------------------------------------------------------------------------

    def _announce_wait(self, until: float, why: str) -> None:
        """Tell other processes, and the person who is not looking, that this runner waits."""
        self._say(states.WAITING, until, self.workspace.tip(), why)
        self.workspace.journal.append("word", state=states.WAITING, reason=why, until=until)
        if until - time.time() >= notify.NOTICEABLE and not self.wait_told:
            self.wait_told = True
            self._notify(notify.WAITING, states.WAITING, why)

    def _while_waiting(self, left: float, why: str) -> None:
        self._leave_if_told()
        self._stop_if_asked()
        self.screen.countdown(left, why)

    def _told(self) -> bool:
        return self.signal is not None

    def _leave_if_told(self) -> None:
        if self._told():
            raise self._interruption()

    def _interruption(self) -> Interrupted:
        return Interrupted(
            f"'{self.workspace.task.name}' was interrupted; everything it did is committed",
            f"git autonomous resume {self.workspace.task.name}",
            signum=self.signal or signal.SIGTERM,
        )

    def _stop_if_asked(self) -> None:
        assert self.me is not None
        if stopping.asked(self.workspace.directory, self.me):
            raise StopAsked

    def _last_word(self, step: Next) -> None:
        self.workspace.journal.append("word", state=step.state, reason=step.reason, status=step.status)
        self._say(step.state, time.time(), self.workspace.tip(), step.reason)

    def _say(self, state: str, at: float, tip: str, reason: str) -> None:
        states.write_word(str(self.workspace.directory), state, at, tip, reason)

    def _notify(self, event: str, state: str, reason: str) -> None:
        """Tell the person who is not looking. What goes wrong with that is only noted."""
        workspace, waits = self.workspace, event == notify.WAITING
        if not waits:
            self.signs.ring()
        if workspace.settings.notify:
            done, total = self.standing.done, self.standing.total
            notice = Notice(event, workspace.task.name, state, show.one_line(reason), done, total, workspace.branch)
            trouble = notify.tell(
                workspace.settings.notify,
                notice,
                cwd=workspace.repository.main_root,
                timeout=workspace.settings.notify_timeout,
                should_stop=self._told if waits else lambda: False,
            )
            if trouble:
                self.screen.note(trouble)

    # -- locks and signals ---------------------------------------------------------------------------------------------------------------------------

    @contextmanager
    def _agent_lock(self) -> Iterator[int]:
        """The lock that Codex inherits. It is free again when Codex and everything that it started is gone."""
        descriptor = locks.open_lock(str(self.workspace.directory / "agent.lock"), inheritable=True)
        try:
            if not locks.try_lock(descriptor):
                raise AutonomousError(
                    "an agent is still alive in this worktree", f"git autonomous resume {self.workspace.task.name}"
                )
            yield descriptor
        finally:
            os.close(descriptor)

    def _hear(self, number: int) -> None:
        self.signal = number


def check_templates(templates: str | None) -> None:
    """Raise AutonomousError for a template that cannot be used, before anything is made."""
    empty = prompt.Brief("", "", "", 1, 0, 0, (), "", (), (), (), (), (), None, "")
    for role in ("initializer", "executor"):
        render(role, empty, templates)


def render(role: str, brief: prompt.Brief, templates: str | None) -> str:
    overrides = [Path(templates).expanduser()] if templates else []
    text = resources.template(f"{role}.md", overrides=overrides)
    if role == "initializer":
        return prompt.initializer(text, brief, resources.template("task_list.md", overrides=overrides))
    return prompt.executor(text, brief)
