"""What a task, a session and a decision are. Values in, values out: nothing here reads or writes anything.

The commit message of a session, byte for byte (all text UTF-8, lines end with LF)::

    <task>: <what was ticked, else the first line of the closing message>     cut to 72 characters
    <blank>
    - [x] <item that was ticked>                                             one line each, at most 20
    <blank>
    <closing message of the agent>                                           cleaned, at most 40 lines and 4,000 characters
    <blank>
    Autonomous-Task: <task>
    Autonomous-Session: <number, from 1>
    Autonomous-Role: initializer | executor
    Autonomous-Outcome: completed | failed | interrupted | timed-out
    Autonomous-Progress: <items done>/<items in all>
    Autonomous-Blocked: <open items that are blocked or skipped>             only when there are any
    Autonomous-Check: passed | failed | none | unknown                        unknown: it was stopped before they had run
    Autonomous-Restored: <what the agent changed in the list and was put back>  only when there is anything, one line each, at most 10
    Autonomous-Excluded: <path left out of the commit>                        likewise
    Autonomous-Base: <branch>
    Autonomous-Tokens: <this session>/<all sessions>
    Autonomous-Seconds: <this session>/<all sessions>
    Codex-Thread: <id>                                                       only when known
    Assisted-by: Codex:<model>                                               can be switched off

The block is the last paragraph and starts with Autonomous-Task. Empty parts vanish together with their blank line. In the agent's text every line that git could take for
a trailer gets an indent, so that text can neither forge nor extend the block. The first commit of a task ("Start <task>") carries the block with session 0, role `start`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import tomlkit

from . import show, states, toml
from .errors import AutonomousError, UsageError

NAME_LENGTH = 30
GIVEN_NAME_LENGTH = 64
GOAL_LIMIT = 1024 * 1024 - 128 * 1024
"""Characters of a goal: Codex takes prompts of at most 1,048,576 characters (measured), the rest of the prompt needs its room."""

# Names that some file system cannot hold as a folder.
RESERVED = frozenset(["con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))])


# -- names -------------------------------------------------------------------------------------------------------------------------------------


def slug(goal: str, now: datetime) -> str:
    """A task name from a goal: lower case, `[a-z0-9-]`, at most 30 characters; `task-YYYYMMDD-HHMMSS` when nothing is left."""
    plain = unicodedata.normalize("NFKD", goal[:400]).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:NAME_LENGTH].strip("-")
    return name if name and name not in RESERVED else now.strftime("task-%Y%m%d-%H%M%S")


def free_name(name: str, taken: Iterable[str]) -> str:
    """`name`, or `name-2`, `name-3` … cut to stay within 30 characters; compared without case, as some file systems do."""
    used = {other.lower() for other in taken}
    candidate, number = name, 1
    while candidate.lower() in used:
        number += 1
        suffix = f"-{number}"
        candidate = name[: NAME_LENGTH - len(suffix)].rstrip("-") + suffix
    return candidate


def check_name(name: str) -> str:
    """A name that the user gave, unchanged. Raises UsageError with the reason when git or a file system could not hold it."""
    reason = None
    if not name:
        reason = "it is empty"
    elif len(name) > GIVEN_NAME_LENGTH:
        reason = f"it is longer than {GIVEN_NAME_LENGTH} characters"
    elif not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        reason = "it may hold letters, digits, '.', '_' and '-', and starts with a letter or digit"
    elif ".." in name or name.endswith((".", ".lock")):
        reason = "git allows no '..', no '.' and no '.lock' at the end"
    elif name.lower().split(".")[0] in RESERVED:
        reason = "some file systems cannot hold it"
    if reason:
        raise UsageError(
            f"'{show.clean(name)[:80]}' cannot be a task name: {reason}", 'git autonomous start --name my-task "GOAL"'
        )
    return name


def check_goal(goal: str) -> str:
    """The goal without surrounding space and without control characters. Raises UsageError when it is empty or too long."""
    plain = show.clean(goal.replace("\r\n", "\n"), keep_newlines=True).strip()
    if not plain:
        raise UsageError("the goal is empty", 'git autonomous start "Build a REST API for a todo app"')
    if len(plain) > GOAL_LIMIT:
        raise UsageError(
            f"the goal has {len(plain):,} characters, Codex takes {GOAL_LIMIT:,}",
            "put the details into a file of the repository and name it in the goal",
        )
    return plain


# -- a task ------------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Options:
    """What `start` was told and every later `resume` keeps to. 0 and None mean: not set."""

    max_sessions: int = 0
    max_tokens: int = 0
    max_time: float = 0.0
    model: str | None = None
    profile: str | None = None
    config: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    no_check: bool = False
    sandbox_network: bool = False
    network: bool = False

    def widening(self) -> str:
        """The options that run something or widen what the agent may do, as the exact text that a person approves; empty when there are none."""
        lines = [f"check: {command}" for command in self.checks]
        lines += [f"codex -c {entry}" for entry in self.config]
        lines += ["sandbox-network: the agent and the checks reach the network"] * self.sandbox_network
        lines += ["network: full access, no sandbox"] * self.network
        return "\n".join(lines)


@dataclass(frozen=True)
class Task:
    """What task.toml holds. `created`: ISO 8601, UTC. `proposed_checks`: frozen from the initializer's list when its session was closed."""

    name: str
    goal: str
    base: str
    base_commit: str
    created: str
    options: Options = field(default_factory=Options)
    proposed_checks: tuple[str, ...] = ()

    @property
    def directory(self) -> str:
        return f".autonomous/{self.name}"

    @property
    def file(self) -> str:
        return f"{self.directory}/task.toml"

    @property
    def list_file(self) -> str:
        return f"{self.directory}/task_list.md"

    @property
    def progress_file(self) -> str:
        return f"{self.directory}/progress.md"

    @property
    def checks(self) -> tuple[str, ...]:
        """The commands that must pass, the user's first."""
        if self.options.no_check:
            return ()
        return self.options.checks + tuple(c for c in self.proposed_checks if c not in self.options.checks)


def freeze_checks(task: Task, proposed: Sequence[str]) -> Task:
    """The task with the initializer's proposed checks (at most 20 of at most 2,000 characters): no later session can change them."""
    return replace(task, proposed_checks=tuple(command for command in proposed if len(command) <= 2000)[:20])


def write_task(task: Task) -> str:
    """The text of task.toml. `read_task` gives the same task back. Raises UsageError where something in it is no text."""
    document = tomlkit.document()
    document.add(tomlkit.comment("Written by git autonomous. Only a commit that a person made changes this file."))
    document["format"] = 1
    document["goal"] = (
        tomlkit.string(task.goal, multiline=True)
        if "\n" in task.goal and "\r" not in task.goal and "'''" not in task.goal and '"""' not in task.goal
        else task.goal
    )
    document["base"] = task.base
    document["base_commit"] = task.base_commit
    document["created"] = task.created
    options = tomlkit.table()
    for key, value in asdict(task.options).items():
        if value:
            options[key] = list(value) if isinstance(value, tuple) else value
    document["options"] = options
    if task.proposed_checks:
        document["proposed_checks"] = list(task.proposed_checks)
    text = tomlkit.dumps(document)
    if not is_text(text):
        line = next(line for line in text.splitlines() if not is_text(line))
        raise UsageError(
            f"{line.partition(' ')[0]} is not valid UTF-8: {one_line(line, 120)}", "git autonomous start -h"
        )
    return text


def is_text(words: str) -> bool:
    """Whether every character can be written as UTF-8: of bytes that were none, lone surrogates are left."""
    try:
        words.encode()
    except UnicodeEncodeError:
        return False
    return True


def approval_text(task: Task) -> str:
    """What a person approves once on each machine: the widening options and the frozen checks; empty when there is nothing."""
    lines = [
        task.options.widening(),
        *(f"check: {command}" for command in task.checks if command not in task.options.checks),
    ]
    return "\n".join(line for line in lines if line)


_OPTION_TYPES: dict[str, type] = {
    "max_sessions": int, "max_tokens": int, "max_time": float, "model": str, "profile": str, "config": tuple,
    "checks": tuple, "no_check": bool, "sandbox_network": bool, "network": bool,
}  # fmt: skip


def read_task(name: str, content: bytes) -> Task:
    """The task that task.toml describes. Raises AutonomousError naming what is wrong with it."""
    try:
        document = toml.loads(content)
        if document.get("format") != 1:
            raise ValueError(f"format {document.get('format')!r} is not one that this version knows (1)")
        given = document.get("options", {})
        if not isinstance(given, dict):
            raise ValueError("options is not a table")
        options: dict[str, Any] = {}
        for key, value in given.items():
            kind = _OPTION_TYPES.get(key)
            if kind is None:
                raise ValueError(f"unknown option {key!r}")
            if kind is tuple and isinstance(value, list) and all(isinstance(v, str) for v in value):
                options[key] = tuple(value)
            elif kind is float and isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
                options[key] = float(value)
            elif type(value) is kind and not (isinstance(value, int) and value < 0):
                options[key] = value
            else:
                raise ValueError(f"option {key} has the wrong type")
        texts: dict[str, Any] = {key: document.get(key) for key in ("goal", "base", "base_commit", "created")}
        wrong = [key for key, value in texts.items() if not isinstance(value, str) or not value]
        if wrong:
            raise ValueError(f"{wrong[0]} is missing or not a text")
        if not re.fullmatch(r"[0-9a-f]{40}", str(texts["base_commit"])):
            raise ValueError("base_commit is not an object id")
        proposed = document.get("proposed_checks", [])
        if not isinstance(proposed, list) or not all(isinstance(c, str) for c in proposed):
            raise ValueError("proposed_checks is not a list of texts")
        return Task(name=name, options=Options(**options), proposed_checks=tuple(proposed), **texts)
    except (ValueError, RecursionError) as error:
        raise AutonomousError(
            f"task.toml of '{name}' cannot be read: {show.clean(str(error))[:200]}",
            f"git log --oneline -- .autonomous/{name}/task.toml",
        ) from error


# -- a session's record --------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Session:
    """The machine-readable summary of a session: what its trailers say. `tokens`, `seconds`: of this session; `all_*`: of the task up to it."""

    task: str
    number: int
    role: str
    outcome: str = "completed"
    done: int = 0
    total: int = 0
    blocked: int = 0
    check: str = "none"
    base: str = ""
    tokens: int = 0
    all_tokens: int = 0
    seconds: int = 0
    all_seconds: int = 0
    thread: str = ""
    restored: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    assisted_by: str = ""

    def trailers(self) -> str:
        lines = [
            f"Autonomous-Task: {self.task}",
            f"Autonomous-Session: {self.number}",
            f"Autonomous-Role: {self.role}",
            f"Autonomous-Outcome: {self.outcome}",
            f"Autonomous-Progress: {self.done}/{self.total}",
        ]
        if self.blocked:
            lines.append(f"Autonomous-Blocked: {self.blocked}")
        lines.append(f"Autonomous-Check: {self.check}")
        lines += [f"Autonomous-Restored: {one_line(text, 200)}" for text in self.restored[:10]]
        lines += [f"Autonomous-Excluded: {one_line(text, 200)}" for text in self.excluded[:10]]
        lines += [
            f"Autonomous-Base: {self.base}",
            f"Autonomous-Tokens: {self.tokens}/{self.all_tokens}",
            f"Autonomous-Seconds: {self.seconds}/{self.all_seconds}",
        ]
        if self.thread:
            lines.append(f"Codex-Thread: {self.thread}")
        if self.assisted_by:
            lines.append(f"Assisted-by: {one_line(self.assisted_by, 80)}")
        return "\n".join(lines)


def read_session(message: str, task: str) -> Session | None:
    """The record in a commit message, or None when a person made the commit or it belongs to another task."""
    found = states.trailers(message)
    if found.get(states.TRAILER_TASK) != task or not found.get("Autonomous-Session", "").isdecimal():
        return None
    block = message.rstrip().rpartition("\n\n")[2].split("\n")

    def every(key: str) -> tuple[str, ...]:
        return tuple(line.partition(": ")[2] for line in block if line.startswith(f"{key}: "))

    done, total = states.pair(found.get("Autonomous-Progress"))
    tokens, all_tokens = states.pair(found.get("Autonomous-Tokens"))
    seconds, all_seconds = states.pair(found.get("Autonomous-Seconds"))
    return Session(
        task=task,
        number=int(found["Autonomous-Session"][:9]),
        role=found.get("Autonomous-Role", ""),
        outcome=found.get("Autonomous-Outcome", ""),
        done=done,
        total=total,
        blocked=int(found.get("Autonomous-Blocked", "0")[:9])
        if found.get("Autonomous-Blocked", "0").isdecimal()
        else 0,
        check=found.get("Autonomous-Check", "none"),
        base=found.get("Autonomous-Base", ""),
        tokens=tokens,
        all_tokens=all_tokens,
        seconds=seconds,
        all_seconds=all_seconds,
        thread=found.get("Codex-Thread", ""),
        restored=every("Autonomous-Restored"),
        excluded=every("Autonomous-Excluded"),
        assisted_by=found.get("Assisted-by", ""),
    )


def one_line(text: str, limit: int) -> str:
    """Foreign text as one cleaned line of at most `limit` characters."""
    plain = " ".join(show.clean(text).split())
    return plain if len(plain) <= limit else plain[: limit - 1].rstrip() + "…"


_TRAILER_LIKE = re.compile(r"^(?:[A-Za-z0-9-]+\s*:|\(cherry picked|#|-{3,}|diff --git|Index:)", re.ASCII)


def neutralise(text: str, *, lines: int = 40, characters: int = 4000) -> str:
    """An agent's message as commit text: cleaned, cut, and with every line indented that git could take for a trailer, a comment, a scissors line or a patch."""
    cleaned = show.clean(text[: characters * 4].replace("\r\n", "\n"), keep_newlines=True)
    kept: list[str] = []
    for line in cleaned.strip().split("\n"):
        line = line.rstrip()
        if _TRAILER_LIKE.match(line.lstrip()) or ">8" in line:
            line = "    " + line.lstrip()
        if line or (kept and kept[-1]):
            kept.append(line)
    cut = len(kept) > lines
    message = "\n".join(kept[:lines])
    if len(message) > characters:
        message, cut = message[:characters].rpartition("\n")[0] or message[:characters], True
    return (message.rstrip() + ("\n[…]" if cut else "")).strip("\n")


def commit_message(session: Session, *, ticked: Sequence[str], closing: str) -> str:
    """The message of a session's commit, as this module's docstring specifies it."""
    titles = [one_line(text, 300) for text in ticked]
    message = neutralise(closing)
    what = (
        titles[0] + (f" (+{len(titles) - 1})" if len(titles) > 1 else "")
        if titles
        else one_line(message.lstrip().partition("\n")[0], 300)
    )
    if session.role == "initializer" and session.total:
        what = f"task list of {_several(session.total, 'item')}"
    if session.outcome != "completed":
        what = f"{session.outcome}" + (f": {what}" if what else "")
    subject = one_line(f"{session.task}: {what or 'session ' + str(session.number)}", 72)
    listed = "\n".join(f"- [x] {title}" for title in titles[:20]) + (
        f"\n- [x] and {len(titles) - 20} more" if len(titles) > 20 else ""
    )
    return "\n\n".join(part for part in (subject, listed, message, session.trailers()) if part) + "\n"


def session_line(session: Session, commit: str, why: str) -> str:
    """How a session ended, on one line. `why`: what went wrong, for a session that was not completed."""
    parts = [f"session {session.number} {session.outcome}", f"{session.done}/{session.total} items"]
    if session.check != "none":
        parts.append(f"checks {session.check}")
    parts.append(f"commit {commit[:10]}")
    if session.outcome != "completed" and why:
        parts.append(why)
    return " · ".join(parts)


def start_message(task: Task) -> str:
    """The message of the first commit of a task: the goal, then the trailers of session 0."""
    record = Session(task=task.name, number=0, role="start", base=task.base)
    return "\n\n".join((f"Start {task.name}", neutralise(task.goal), record.trailers())) + "\n"


def news_message(task: str, source: str, commit: str, *, conflicts: bool = False) -> str:
    """The message of the commit by which we, and no person, bring other commits into a task; `conflicts`: with their conflicts marked."""
    return f"{task}: bring in {source} ({commit[:10]})" + ", with conflicts to resolve" * conflicts + "\n"


def news_of(message: str) -> str | None:
    """What such a commit is, in words; None for every other one."""
    found = _NEWS.match(message)
    return found and f"{'conflict with' if found[2] else 'news of'} {found[1]}"


_NEWS = re.compile(r"[^\s:]+: bring in ([^\n]+) \([0-9a-f]{10}\)(, with conflicts to resolve)?$", re.MULTILINE)

# -- what comes next -------------------------------------------------------------------------------------------------------------------------------

ITEM_LIMIT = 1000
"""Items that nobody wrote by hand: a longer list is worth a look before weeks of work start."""


@dataclass(frozen=True)
class Standing:
    """Where a task stands between two sessions.

    `idle`: sessions in a row with neither a new tick nor a changed file outside `.autonomous/`; `tickless`: in a row without a new tick; `failures`: attempts in a row
    that failed, the last one for the reason `trouble`; `ran`, `tokens`, `seconds`: of this command; `check`: passed, failed or none, for the tip; `failing`: the first
    command that fails.
    """

    done: int = 0
    total: int = 0
    stuck: bool = False
    check: str = "none"
    idle: int = 0
    tickless: int = 0
    failures: int = 0
    ran: int = 0
    tokens: int = 0
    seconds: float = 0.0
    failing: str = ""
    trouble: str = ""


@dataclass(frozen=True)
class Limits:
    """What this command may use: sessions (0: three times the items and five), tokens and seconds (0: no limit).

    `failures`, `idle`, `tickless`: how many in a row stop it (0: however many).
    """

    sessions: int = 0
    tokens: int = 0
    seconds: float = 0.0
    failures: int = 5
    idle: int = 3
    tickless: int = 5
    auto_continue: bool = True
    plan: bool = False


@dataclass(frozen=True)
class Next:
    """The decision: `go` on with a session of `role`, or stop in `state` for `reason`; `status` is the exit status of a stop.

    `hint`: what to type then, with {task} for the task's name; "" where the state says it all.
    """

    go: bool
    role: str = ""
    state: str = ""
    reason: str = ""
    status: int = 0
    hint: str = ""


def after_session(standing: Standing, *, record: Session, best: int, changed: bool) -> Standing:
    """The counters after one more session: `best` is the most items that were ever done before it, `changed` whether a file outside `.autonomous/` changed.

    Writing the list is what an initializer is for, so one that did is neither idle nor without a tick.
    """
    if record.done > best or (record.role == "initializer" and record.total):
        return replace(standing, tickless=0, idle=0)
    return replace(standing, tickless=standing.tickless + 1, idle=0 if changed else standing.idle + 1)


def decide(standing: Standing, limits: Limits) -> Next:
    """What a runner does next. Pure; the order is: done, cannot go on, limits of this command, go."""
    return _done(standing, limits) or _hopeless(standing, limits) or _spent(standing, limits) or _go(standing)


def _go(s: Standing) -> Next:
    return Next(True, role="executor" if s.total else "initializer")


def _done(s: Standing, limits: Limits) -> Next | None:
    if s.total and s.done == s.total and s.check != "failed":
        passed = " and the checks pass" if s.check == "passed" else ""
        ticked = "its one item is ticked" if s.total == 1 else f"all {s.total} items are ticked"
        return Next(False, state=states.FINISHED, reason=f"{ticked}{passed}")
    if limits.plan and s.total:
        reason = f"the list has {_several(s.total, 'item')}; have a look at it before the work starts"
        hint = "git autonomous status {task}    # then: git autonomous resume {task}"
        return Next(False, state=states.PAUSED, reason=reason, hint=hint)
    return None


def _hopeless(s: Standing, limits: Limits) -> Next | None:
    """Stops that need a person: to go on would change nothing."""
    if s.total > ITEM_LIMIT and not limits.sessions:
        reason = f"the list has {s.total:,} items, more than {ITEM_LIMIT:,}; shorten it, or go on with --max-sessions"
        return Next(
            False, state=states.PAUSED, reason=reason, status=3, hint="git autonomous resume {task} --max-sessions 100"
        )
    if s.stuck:
        return Next(False, state=states.BLOCKED, reason="only blocked or skipped items are left", status=3)
    if 0 < limits.failures <= s.failures:
        reason = f"{_several(s.failures, 'attempt')} in a row failed" + (
            f", the last one: {s.trouble}" if s.trouble else ""
        )
        hint = "git autonomous doctor    # then: git autonomous resume {task}"
        return Next(False, state=states.FAILED, reason=reason, status=3, hint=hint)
    look = "git autonomous log {task}    # then: git autonomous resume {task}"
    if 0 < limits.idle <= s.idle:
        reason = f"{_several(s.idle, 'session')} in a row ticked nothing and changed no file"
        return Next(False, state=states.STALLED, reason=reason, status=3, hint=look)
    if 0 < limits.tickless <= s.tickless:
        what = "no item was ticked"
        if s.total and s.done == s.total:
            what = f"{s.failing} keeps failing" if s.failing else "the checks keep failing"
        reason = f"{what} in {_several(s.tickless, 'session')} in a row"
        return Next(False, state=states.STALLED, reason=reason, status=3, hint=look)
    return None


def _spent(s: Standing, limits: Limits) -> Next | None:
    """Stops because this command has used what it may."""
    if limits.sessions and s.ran >= limits.sessions:
        return Next(False, state=states.PAUSED, reason=f"{_several(s.ran, 'session')} ran, as asked")
    if s.ran and not limits.auto_continue:
        return Next(False, state=states.PAUSED, reason="one session ran, as asked")
    if not limits.sessions and s.total and s.ran >= 3 * s.total + 5:
        reason = f"{s.ran} sessions ran for {_several(s.total, 'item')}, more than the default limit of 3 × items + 5"
        hint = "git autonomous log {task}    # then: git autonomous resume {task} --max-sessions 10"
        return Next(False, state=states.STALLED, reason=reason, status=3, hint=hint)
    if limits.tokens and s.tokens >= limits.tokens:
        reason = f"the token budget of {limits.tokens:,} is spent ({s.tokens:,} used)"
        hint = f"git autonomous resume {{task}} --max-tokens {limits.tokens}    # as much again"
        return Next(False, state=states.PAUSED, reason=reason, status=3, hint=hint)
    if limits.seconds and s.seconds >= limits.seconds:
        reason = f"the time budget of {show.duration(limits.seconds)} is spent"
        hint = f"git autonomous resume {{task}} --max-time {limits.seconds:.0f}    # as much again"
        return Next(False, state=states.PAUSED, reason=reason, status=3, hint=hint)
    return None


def _several(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def backoff(failures: int, spread: float) -> float:
    """Seconds to wait after the n-th failure in a row: 5, 10, 20 … capped at 10 minutes, up to a quarter more by `spread` (0 to 1)."""
    return min(5.0 * float(1 << min(max(failures, 1) - 1, 20)), 600.0) * (1 + spread / 4)


def iso(epoch: float) -> str:
    """Epoch seconds as ISO 8601 in UTC."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
