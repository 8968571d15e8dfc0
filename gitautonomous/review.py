"""What was done while nobody looked: the facts of a task and of each of its sessions, as values. Nothing is changed, and no file of a worktree is read.

`to_json` of a Review is the object `review` of `git autonomous review TASK --json`::

    name, branch, base, worktree, state, reason, goal, checks, done, total, check, tokens, seconds, created, updated, tip
    files, insertions, deletions             of everything that a merge would bring, without the task's own folder
    runs        [{path, kind, why, steps}]   what runs or is obeyed on this machine after a merge; steps: session numbers and commits that changed it
    failed_check  {command, returncode, timed_out, output}   the check that fails on the tip, null where none does or this machine did not run it; output: its end
    blocked     [{text, note}]               open items that the agent marked as blocked or skipped
    restored    [{session, text}]            what an agent changed in the list without the right to
    excluded    [{session, path}]            what was left out of commits
    proposed    [{number, text}]
    steps       [{number, role, outcome, commit, subject, author, at, ticked, unticked, files, insertions, deletions, check, tokens, seconds, thread}]
                number, role, outcome, check, tokens, seconds and thread are null for a commit that a person made
    forecast    {verdict, files, others}     verdict: clean, conflicts, merged, or unknown (the base is not here); others: [{task, files}], tasks that conflict with it

and of a StepReview the object `step` of `git autonomous review TASK SESSION --json`: the fields of a step above, and::

    parent, message, restored, excluded      the commit that the diff starts from; the message without subject, ticked items and trailers
    changes     [{path, status, insertions, deletions}]   insertions and deletions are null for a binary file
    runs        [{path, kind, why}]
    commands    [{command, exit_code}]       in the order of their ends; exit_code null: declined. The whole is null when the transcript is not on this machine
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from . import checklist, forecast, hazards, listing, model, states, threeway, tracking
from .checks import CheckResult
from .decisions import Chain, Step, read_chain
from .errors import AutonomousError, UsageError
from .events import LONGEST_LINE, Command, CommandRun, ThreadStarted, parse_event
from .git import Repository, text
from .model import Session, Task
from .runs import Change, Hazard
from .tasks import Place, failed_check, known_task, read_task
from .trees import Trees

CLEAN, CONFLICTS, MERGED, UNKNOWN = "clean", "conflicts", "merged", "unknown"

KEPT_COMMANDS = 1000
RENAMES = ("-M", "-l400")

Lines = tuple[int | None, int | None]
"""Lines added and removed, None for a binary file."""

_Files = list[tuple[tuple[str, ...], Lines]]

_BOX = re.compile(r"[ \t]*(?:[-*+]|[0-9]{1,9}[.)])[ \t]+\[[ xX]\]")
_COUNTED = re.compile(r"([0-9]{1,18}|-)\t([0-9]{1,18}|-)\t(.*)", re.DOTALL)
_PROPOSED = re.compile(r"^## +proposed", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Size:
    """What a commit changed, renames followed, the task's own folder aside. `paths`: old and new names."""

    files: int = 0
    insertions: int = 0
    deletions: int = 0
    paths: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Row:
    """One commit of the branch in the table. `ticked`, `unticked`: texts of items."""

    step: Step
    ticked: tuple[str, ...]
    unticked: tuple[str, ...]
    size: Size

    def to_json(self) -> dict[str, object]:
        commit, record = self.step.commit, self.step.record
        return {
            "number": record.number if record else None,
            "role": record.role if record else None,
            "outcome": record.outcome if record else None,
            "commit": commit.oid,
            "subject": commit.message.partition("\n")[0],
            "author": commit.author,
            "at": model.iso(commit.time),
            "ticked": list(self.ticked),
            "unticked": list(self.unticked),
            "files": self.size.files,
            "insertions": self.size.insertions,
            "deletions": self.size.deletions,
            "check": record.check if record else None,
            "tokens": record.tokens if record else None,
            "seconds": record.seconds if record else None,
            "thread": (record.thread or None) if record else None,
        }


@dataclass(frozen=True)
class Forecast:
    """How a merge into the base would end. `verdict`: clean, conflicts, merged or unknown; `files`: the conflicting ones;
    `others`: unfinished tasks that conflict with this one, each with the files."""

    verdict: str
    files: tuple[str, ...] = ()
    others: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class Review:
    """A task in the morning. `known`: the object of `list --json`; `runs`: each hazard with the names of the steps that changed its path; `failed`: the check that
    fails on the tip, where this machine knows; `blocked`: open items with their notes, "blocked: why" or "skipped: why"."""

    known: dict[str, object]
    goal: str
    checks: tuple[str, ...]
    created: str
    seconds: int
    tip: str
    size: Size
    runs: tuple[tuple[Hazard, tuple[int | str, ...]], ...]
    failed: CheckResult | None
    blocked: tuple[tuple[str, str], ...]
    proposed: tuple[str, ...]
    rows: tuple[Row, ...]
    forecast: Forecast

    @property
    def by_hand(self) -> int:
        """How many commits a person made."""
        return sum(row.step.record is None and row.step.news is None for row in self.rows)

    @property
    def restored(self) -> list[tuple[int, str]]:
        records = [row.step.record for row in self.rows]
        return [(record.number, sentence) for record in records if record for sentence in record.restored]

    @property
    def excluded(self) -> list[tuple[int, str]]:
        records = [row.step.record for row in self.rows]
        return [(record.number, path) for record in records if record for path in record.excluded]

    def to_json(self) -> dict[str, object]:
        listed = (
            "name",
            "branch",
            "base",
            "worktree",
            "state",
            "reason",
            "done",
            "total",
            "check",
            "tokens",
            "updated",
        )
        return {key: self.known[key] for key in listed} | {
            "goal": self.goal,
            "checks": list(self.checks),
            "seconds": self.seconds,
            "created": self.created,
            "tip": self.tip,
            "files": self.size.files,
            "insertions": self.size.insertions,
            "deletions": self.size.deletions,
            "runs": [asdict(hazard) | {"steps": list(steps)} for hazard, steps in self.runs],
            "failed_check": self.failed.to_json() if self.failed is not None else None,
            "blocked": [{"text": item, "note": note} for item, note in self.blocked],
            "restored": [{"session": number, "text": sentence} for number, sentence in self.restored],
            "excluded": [{"session": number, "path": path} for number, path in self.excluded],
            "proposed": [{"number": number, "text": item} for number, item in enumerate(self.proposed, start=1)],
            "steps": [row.to_json() for row in self.rows],
            "forecast": {
                "verdict": self.forecast.verdict,
                "files": list(self.forecast.files),
                "others": [{"task": task, "files": list(files)} for task, files in self.forecast.others],
            },
        }


@dataclass(frozen=True)
class StepReview:
    """One session, or one commit of a person. `changes`: (change, insertions, deletions), both None for a binary file."""

    task: str
    row: Row
    message: str
    changes: tuple[tuple[Change, int | None, int | None], ...]
    runs: tuple[Hazard, ...]
    commands: tuple[CommandRun, ...] | None

    def to_json(self) -> dict[str, object]:
        record = self.row.step.record
        return self.row.to_json() | {
            "parent": self.row.step.parent,
            "message": self.message,
            "restored": list(record.restored) if record else [],
            "excluded": list(record.excluded) if record else [],
            "changes": [
                {"path": change.path, "status": change.status, "insertions": added, "deletions": removed}
                for change, added, removed in self.changes
            ],
            "runs": [asdict(hazard) for hazard in self.runs],
            "commands": None if self.commands is None else [asdict(command) for command in self.commands],
        }


@dataclass(frozen=True)
class _Branch:
    """A task's branch, opened for reading."""

    repository: Repository
    trees: Trees
    task: Task
    chain: Chain

    def size(self, old: str, new: str) -> Size:
        numbers = _numstat(self.repository, "diff-tree", "-r", *RENAMES, old, new)
        return next((_size(files, self.task.directory) for _, files in numbers), Size())


def _open(place: Place, name: str) -> _Branch:
    task = read_task(place, known_task(place, name))
    trees = Trees(place.repository)
    tip = place.tip(name)
    return _Branch(place.repository, trees, task, read_chain(trees, tip, task))


def default_task(place: Place) -> str:
    """The task of the worktree that the user stands in, else the newest one. Raises AutonomousError when there is none."""
    prefix = place.settings.branch_prefix
    branch = place.repository.head_branch() or ""
    if branch.startswith(prefix) and branch.removeprefix(prefix) in place.names():
        return branch.removeprefix(prefix)
    found = listing.tasks(str(place.repository.common_dir), prefix, time.time())
    if not found:
        raise AutonomousError("there is no task yet", 'git autonomous start "GOAL"')
    return str(found[0]["name"])


def review(place: Place, name: str) -> Review:
    """Everything about a task. Raises AutonomousError when there is no such task, or its branch cannot be read."""
    branch = _open(place, name)
    repository, trees, task, tip = branch.repository, branch.trees, branch.task, branch.chain.tip
    prefix = place.settings.branch_prefix
    forecast.try_refresh(repository, trees, prefix)
    known = listing.tasks(str(repository.common_dir), prefix, time.time(), only=name)[0]
    rows = tuple(_rows(branch))
    base = repository.resolve(f"refs/heads/{task.base}") or repository.resolve(f"refs/remotes/{task.base}")
    fork = hazards.fork_point(repository, base or task.base_commit, tip)
    merged = threeway.outside(threeway.changes(repository, trees, fork, tip), task.directory)
    records = [row.step.record for row in rows if row.step.record is not None]
    listed = checklist.parse(_read(trees, tip, task))
    return Review(
        known=listing.to_json(known),
        goal=task.goal,
        checks=task.checks,
        created=task.created,
        seconds=records[-1].all_seconds if records else 0,
        tip=tip,
        size=branch.size(fork, tip),
        runs=tuple((hazard, _touching(hazard.path, rows)) for hazard in hazards.of_changes(repository, merged)),
        failed=failed_check(place, known),
        blocked=tuple((item.text, item.note or "") for item in listed.open_items if item.blocked or item.skipped),
        proposed=listed.proposed,
        rows=rows,
        forecast=Forecast(MERGED)
        if known["state"] == states.MERGED
        else _forecast(branch, base, known["conflicts"] or []),
    )


def review_step(place: Place, name: str, which: str) -> StepReview:
    """One session by its number, or one commit of a person by its id. Raises UsageError when it is not on the branch."""
    branch = _open(place, name)
    step = find_step(branch.chain, which)
    parent, commit = step.parent, step.commit.oid
    found = threeway.outside(threeway.changes(branch.repository, branch.trees, parent, commit), branch.task.directory)
    files = next(
        (files for _, files in _numstat(branch.repository, "diff-tree", "-r", "--no-renames", parent, commit)), []
    )
    counts = {paths[0]: lines for paths, lines in files}
    before, after = (_read(branch.trees, oid, branch.task) for oid in (parent, commit))
    row = Row(step, *_ticks(before, after, None), branch.size(parent, commit))
    return StepReview(
        task=name,
        row=row,
        message=closing_message(step, ticked=bool(row.ticked)),
        changes=tuple((change, *counts.get(change.path, (None, None))) for change in found),
        runs=hazards.of_changes(branch.repository, found),
        commands=commands_of(branch.repository.task_dir(name), step.record) if step.record else None,
    )


def find_step(chain: Chain, which: str) -> Step:
    """The session of this number, else the commit whose id begins so. Raises UsageError."""
    sessions = chain.sessions()
    if which.isdecimal() and int(which[:9]) in sessions:
        return sessions[int(which[:9])]
    found = [step for step in chain.steps if len(which) >= 4 and step.commit.oid.startswith(which.lower())]
    if len(found) != 1:
        there = f"sessions 1 to {max(sessions)}" if sessions else "no session"
        raise UsageError(
            f"'{chain.task.name}' has no session {model.one_line(which, 60)}; its branch has {there}",
            f"git autonomous review {chain.task.name}",
        )
    return found[0]


def closing_message(step: Step, *, ticked: bool) -> str:
    """A commit's message without its subject and without what the runner wrote: trailers, and the list of what was `ticked`."""
    body = step.commit.message.rstrip()
    if step.record is not None:
        body = body.rpartition("\n\n")[0]
    body = body.partition("\n")[2].strip("\n")
    if ticked and body.startswith("- [x] "):
        body = body.partition("\n\n")[2]
    return body


def commands_of(folder: Path, record: Session) -> tuple[CommandRun, ...] | None:
    """The commands of a session that have ended, the last thousand; None when its transcript is not in the task's local folder."""
    found: deque[CommandRun] = deque(maxlen=KEPT_COMMANDS)
    ours = False
    try:
        with open(folder / "sessions" / f"{record.number:03}.jsonl", "rb") as file:
            for line in iter(lambda: file.readline(LONGEST_LINE), b""):
                if b'"thread.started"' not in line and not (ours and b'"command_execution"' in line):
                    continue
                match parse_event(line):
                    case ThreadStarted(thread):
                        ours = thread == record.thread or not record.thread
                    case Command(phase="completed", command=command, exit_code=code) if ours:
                        found.append(CommandRun(command, code))
    except FileNotFoundError:
        return None
    return tuple(found)


def _rows(branch: _Branch) -> Iterator[Row]:
    """The table: sizes by one git process, ticks from the lists before and after each commit."""
    chain, task = branch.chain, branch.task
    log = _numstat(
        branch.repository,
        "log",
        "--first-parent",
        "--diff-merges=first-parent",
        *RENAMES,
        f"{chain.start.oid}..{chain.tip}",
    )
    sizes = {oid: _size(files, task.directory) for oid, files in log}
    texts = [_read(branch.trees, oid, task) for oid in (chain.start.oid, *(step.commit.oid for step in chain.steps))]
    done: int | None = 0
    for step, (before, after) in zip(chain.steps, pairwise(texts), strict=True):
        now = step.record.done if step.record is not None else None
        gained = now - done if now is not None and done is not None else None
        yield Row(step, *_ticks(before, after, gained), sizes.get(step.commit.oid, Size()))
        done = now


def _ticks(before: str, after: str, gained: int | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The items that were ticked and unticked between two lists. `gained`: by how much the number of done items is known to differ."""
    if before == after:
        return (), ()
    found = _from_lines(before, after) if gained is not None else None
    if found is not None and len(found[0]) - len(found[1]) == gained:
        return found
    was, now = (tracking.by_identity(tracking.parse(text)) for text in (before, after))
    done = {key for key, item in was.items() if item.done}
    ticked = tuple(item.text for key, item in now.items() if item.done and key not in done)
    return ticked, tuple(item.text for key, item in now.items() if not item.done and key in done)


def _from_lines(before: str, after: str) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """The same from the lines that differ, where these are boxes alone: parsing two hundred long lists takes a second. None where it is not that simple."""
    first, second = (_PROPOSED.split(text, maxsplit=1)[0].split("\n") for text in (before, after))
    if len(first) != len(second):
        return None
    ticked: list[str] = []
    unticked: list[str] = []
    for old, new in zip(first, second, strict=True):
        if old == new:
            continue
        if not (_BOX.match(old) and _BOX.match(new)):
            return None
        was, now = (checklist.parse(f"## Tasks\n{line.strip()}").items for line in (old, new))
        if len(was) != 1 or len(now) != 1 or was[0].text != now[0].text:
            return None
        if was[0].done != now[0].done:
            (ticked if now[0].done else unticked).append(now[0].text)
    return tuple(ticked), tuple(unticked)


def _touching(path: str, rows: tuple[Row, ...]) -> tuple[int | str, ...]:
    """The steps that changed a path: session numbers, and ids of commits that a person made."""
    steps = [row.step for row in rows if path in row.size.paths]
    return tuple(step.record.number if step.record is not None else step.commit.oid for step in steps)


def _forecast(branch: _Branch, base: str | None, conflicts: list[str]) -> Forecast:
    if base is None:
        return Forecast(UNKNOWN)
    if branch.trees.is_ancestor(branch.chain.tip, base):
        return Forecast(MERGED)
    try:
        merged = threeway.merge(branch.repository, base, branch.chain.tip)
    except AutonomousError:
        return Forecast(UNKNOWN)
    files = [path for path in merged.conflicts if not path.startswith(f"{branch.task.directory}/")]
    known = forecast.files_of(branch.repository.common_dir, branch.task.name)
    others = tuple((name, tuple(known[name])) for name in conflicts if name != branch.task.base and name in known)
    return Forecast(CONFLICTS if files else CLEAN, tuple(files), others)


def _read(trees: Trees, commit: str, task: Task) -> str:
    return (trees.read(commit, task.list_file) or b"").decode("utf-8", "replace")


def _size(files: _Files, without: str) -> Size:
    counted = [(paths, lines) for paths, lines in files if not paths[-1].startswith(f"{without}/")]
    return Size(
        len(counted),
        sum(added or 0 for _, (added, _) in counted),
        sum(removed or 0 for _, (_, removed) in counted),
        frozenset(path for paths, _ in counted for path in paths),
    )


def _numstat(repository: Repository, command: str, *arguments: str) -> Iterator[tuple[str, _Files]]:
    """(commit, files) for each commit of a `git log`; for a diff one pair without a commit. A file is its old and new name, or its one name, and its lines."""
    options = ["--numstat", "-z", "--no-ext-diff", "--no-textconv", "--ignore-submodules=none"]
    if command == "log":
        options += ["--format=%x02%H", "--no-show-signature"]
    fields = iter(text(repository.call(command, *options, *arguments).stdout).split("\0"))
    oid = ""
    files: _Files = []
    for field in fields:
        if field.startswith("\2"):
            if oid:
                yield oid, files
            oid, files = field[1:], []
        elif counted := _COUNTED.fullmatch(field.lstrip("\n")):
            added, removed, path = counted.groups()
            paths: tuple[str, ...] = (path,) if path else (next(fields, ""), next(fields, ""))
            files.append((paths, (int(added) if added != "-" else None, int(removed) if removed != "-" else None)))
    if oid or files:
        yield oid, files
