"""Decisions about the sessions of a task: drop some, keep only some, go back to one, accept proposed items.

Each is planned first: the new commits are made in memory of the object database, and no ref, index or file has changed when the plan is shown. Carrying it out
keeps the old tip at `refs/autonomous/backup/<task>/<n>` and moves the branch once, by compare-and-swap, together with the worktree that has it checked out.

A commit that follows a dropped one is made again on what is left: same author, same message, its change put onto the new parent. Its trailers stay but for two:
`Autonomous-Progress` (and `-Blocked`) is counted anew, and `Autonomous-Check` becomes `unknown` where the session had been checked, since nobody has checked its new content.
Tokens and seconds stay as they are, sums included: they were spent.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from shlex import quote

from . import backup, checklist, journal, model, moving, threeway, tracking
from .errors import AutonomousError, NeedsPerson, UsageError
from .git import Worktree
from .journal import Journal
from .model import Session, Task
from .objects import Commit
from .runs import Change
from .tasks import Place, read_task
from .trees import Conflict, Trees

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Step:
    """One commit of a task's branch after its start. `record`: None when it is no session's."""

    commit: Commit
    record: Session | None

    @property
    def parent(self) -> str:
        return self.commit.parents[0]

    @property
    def news(self) -> str | None:
        """What a commit is by which we brought other ones in, in words; None for a session's and for a person's."""
        return model.news_of(self.commit.message) if self.record is None else None

    @property
    def name(self) -> str:
        if self.record is not None:
            return f"session {self.record.number}"
        if self.news is not None:
            return f"{self.news}, {self.commit.oid[:10]}"
        return f"your commit {self.commit.oid[:10]}"


@dataclass(frozen=True)
class Chain:
    """A task's branch: its start commit, and every step since, oldest first (first parents)."""

    task: Task
    start: Commit
    steps: tuple[Step, ...]

    @property
    def tip(self) -> str:
        return self.steps[-1].commit.oid if self.steps else self.start.oid

    def sessions(self) -> dict[int, Step]:
        return {step.record.number: step for step in self.steps if step.record is not None}


@dataclass(frozen=True)
class Plan:
    """What a decision would do. `what`: in words ("drop session 4"); `old`, `new`: the branch's tip.

    `gone`, `rebuilt`: steps that leave the branch, and those made again; `reopened`, `closed`, `added`: items that are open again, ticked again, or new;
    `done`, `total`: before and after; `check`: of the new tip (passed, failed, none, unknown); `paths`: files outside `.autonomous/` that change.
    """

    task: Task
    what: str
    old: str
    new: str
    gone: tuple[Step, ...]
    rebuilt: tuple[Step, ...]
    reopened: tuple[str, ...]
    closed: tuple[str, ...]
    added: tuple[str, ...]
    done: tuple[int, int]
    total: tuple[int, int]
    check: str
    paths: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """The object `plan` of a decision with --json: texts and ids; `done` and `total` as [before, after]; a commit of a person has no number."""
        gone, rebuilt = (
            [{"number": step.record.number if step.record else None, "commit": step.commit.oid} for step in steps]
            for steps in (self.gone, self.rebuilt)
        )
        facts = {key: getattr(self, key) for key in ("what", "old", "new", "check")}
        lists = {key: list(getattr(self, key)) for key in ("reopened", "closed", "added", "done", "total", "paths")}
        return {"task": self.task.name, **facts, "gone": gone, "rebuilt": rebuilt, **lists}


def read_chain(trees: Trees, tip: str, task: Task) -> Chain:
    """Walk a branch back to the start of its task, or, where a person has rewritten that commit, to where the branch left its base.

    Raises AutonomousError when no commit of the task is left.
    """
    steps: list[Step] = []
    for commit in trees.history(tip, task.base_commit):
        record = model.read_session(commit.message, task.name)
        if record is not None and record.number == 0:
            return Chain(task, commit, tuple(reversed(steps)))
        steps.append(Step(commit, record))
    if not any(step.record for step in steps) or not steps[-1].commit.parents:
        raise AutonomousError(
            f"the branch of '{task.name}' has no commit of its own any more", f"git autonomous restore {task.name}"
        )
    return Chain(task, trees.commit(steps[-1].parent), tuple(reversed(steps)))


def parse_numbers(text: str) -> tuple[int, ...]:
    """`4`, `4,6` or `1-3,7` as numbers, in this order. Raises UsageError."""
    found: list[int] = []
    for part in text.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        last = last if dash else first
        if not (
            first.isdecimal() and last.isdecimal() and len(first) < 7 and len(last) < 7 and int(first) <= int(last)
        ):
            raise UsageError(f"'{model.one_line(text, 60)}' is no list of numbers", "write 4, or 4,6, or 1-3")
        found.extend(range(int(first), int(last) + 1))
    return tuple(dict.fromkeys(found))


class Decisions:
    """Where decisions about one task are planned and carried out."""

    def __init__(self, place: Place, name: str) -> None:
        """Raises AutonomousError when there is no such task, or its branch cannot be read."""
        self.place = place
        self.trees = Trees(place.repository)
        self.task = read_task(place, name)
        tip = place.tip(name)
        self.chain = read_chain(self.trees, tip, self.task)

    # -- plans ---------------------------------------------------------------------------------------------------------------------------------

    def drop(self, numbers: Sequence[int]) -> Plan:
        """Take sessions out of the branch, and their ticks with them. Raises NeedsPerson when a later commit needs one of them."""
        self._known(numbers)
        return self._without(set(numbers), f"drop {sessions_text(numbers)}")

    def keep(self, numbers: Sequence[int]) -> Plan:
        """Keep these sessions and drop all others; a person's commits stay. Raises NeedsPerson as `drop`."""
        self._known(numbers)
        return self._without(set(self.chain.sessions()) - set(numbers), f"keep only {sessions_text(numbers)}")

    def rewind_to(self, number: int) -> Plan:
        """Go back to the end of a session (0: to the start of the task); everything after it leaves the branch."""
        if number:
            self._known([number])
        kept = [step.commit.oid for step in self.chain.steps]
        new = self.chain.sessions()[number].commit.oid if number else self.chain.start.oid
        gone = self.chain.steps[kept.index(new) + 1 if number else 0 :]
        what = f"go back to the end of session {number}" if number else "go back to the start of the task"
        return self._plan(what, new, gone, ())

    def accept(self, numbers: Sequence[int]) -> Plan:
        """Move proposed items (counted from 1) to the end of the list, by a commit of the user's own. Raises UsageError for a number that is not there."""
        text = _decode(self.trees.read(self.chain.tip, self.task.list_file))
        proposed = checklist.parse(text).proposed
        try:
            changed = checklist.accept(text, numbers)
        except ValueError as error:
            raise UsageError(str(error), f"git autonomous review {self.task.name}") from error
        titles = [model.one_line(proposed[number - 1], 300) for number in numbers]
        more = f" (+{len(titles) - 1})" if len(titles) > 1 else ""
        subject = model.one_line(f"{self.task.name}: accept {titles[0]}{more}", 72)
        body = "".join(f"- {title}\n" for title in titles)
        tree = self.trees.with_contents(self.chain.tip, {self.task.list_file: _encode(changed)})
        identity = self.place.repository.identity()
        new = self.trees.write_commit(None, f"{subject}\n\n{body}", tree, [self.chain.tip], identity=identity)
        count = f"{len(titles)} proposed items" if len(titles) > 1 else "a proposed item"
        return self._plan(f"accept {count}", new, (), ())

    def _known(self, numbers: Sequence[int]) -> None:
        sessions = self.chain.sessions()
        missing = [number for number in numbers if number not in sessions]
        if missing:
            there = f"the branch has {sessions_text(list(sessions))}" if sessions else "the branch has none"
            raise UsageError(
                f"'{self.task.name}' has no session {missing[0]}; {there}", f"git autonomous review {self.task.name}"
            )

    def _without(self, dropped: set[int], what: str) -> Plan:
        gone = [step for step in self.chain.steps if step.record is not None and step.record.number in dropped]
        if not gone:
            raise UsageError(f"there is nothing to do: '{self.task.name}' has no other session")
        self._refuse_without_list([step for step in gone if any(later not in gone for later in self._after(step))])
        identity = self.place.repository.identity()
        tip, rebuilt = self.chain.start.oid, []
        above: list[Step] = []
        for step in self.chain.steps:
            if step in gone:
                above.append(step)
            elif not above:
                tip = step.commit.oid
            else:
                tip = self._rebuild(step, tip, above, dropped, identity)
                rebuilt.append(step)
        return self._plan(what, tip, gone, rebuilt)

    def _after(self, step: Step) -> tuple[Step, ...]:
        return self.chain.steps[self.chain.steps.index(step) + 1 :]

    def _refuse_without_list(self, dropped: Sequence[Step]) -> None:
        path = self.task.list_file
        for step in dropped:
            before, after = (_decode(self.trees.read(commit, path)) for commit in (step.parent, step.commit.oid))
            if not checklist.parse(before).total and checklist.parse(after).total:
                raise NeedsPerson(
                    f"{step.name} wrote the list that all later sessions work off",
                    f"git autonomous review {self.task.name} --rewind-to 0    # or start anew: git autonomous start --replace",
                )

    def _rebuild(self, step: Step, tip: str, gone: Sequence[Step], dropped: set[int], identity: str) -> str:
        """The step's commit again, on `tip`. Raises NeedsPerson with the files that it and a dropped session both changed."""
        trees, task = self.trees, self.task
        try:
            tree = trees.merge(step.parent, tip, step.commit.oid, apart=(task.list_file, task.progress_file))
        except Conflict as conflict:
            raise self._refusal(step, conflict.paths, gone, dropped) from conflict
        contents = {}
        for path, merge in ((task.list_file, tracking.merge_list), (task.progress_file, tracking.merge_notes)):
            base, ours, theirs = (trees.read(commit, path) for commit in (step.parent, tip, step.commit.oid))
            if theirs == base:
                contents[path] = ours
            elif theirs is not None and ours != base:
                contents[path] = _encode(merge(_decode(base), _decode(ours), _decode(theirs)))
            else:
                contents[path] = theirs
        tree = trees.with_contents(tree, contents)
        message = step.commit.message
        if step.record is not None:
            listed = tracking.parse(_decode(contents[task.list_file]))
            same = trees.same_outside(step.commit.tree, tree, ".autonomous")
            message = with_record(message, step.record, listed, checked=same)
        return trees.rewrite(step.commit.oid, message, tree, [tip, *step.commit.parents[1:]], identity=identity)

    def _refusal(self, step: Step, paths: Sequence[str], gone: Sequence[Step], dropped: set[int]) -> NeedsPerson:
        touched = {
            other.name: {change.path for change in self._changes(other.parent, other.commit.oid)} for other in gone
        }
        guilty = [name for name, changed in touched.items() if changed & set(paths)] or list(touched)
        if step.record is not None:
            numbers = ",".join(str(number) for number in sorted({*dropped, step.record.number}))
            hint = f"git autonomous review {self.task.name} --drop {numbers}"
        else:
            hint = f"git autonomous review {self.task.name} --rewind-to {min(dropped) - 1}"
        return NeedsPerson(f"{step.name} builds on {' and '.join(guilty)}: both change {moving.shown(paths)}", hint)

    def _plan(self, what: str, new: str, gone: Sequence[Step], rebuilt: Sequence[Step]) -> Plan:
        old = self.chain.tip
        if new == old:
            raise UsageError(f"there is nothing to do: '{self.task.name}' is there already")
        before, after = (checklist.parse(_decode(self.trees.read(tip, self.task.list_file))) for tip in (old, new))
        was, now = tracking.by_identity(before), tracking.by_identity(after)
        return Plan(
            task=self.task,
            what=what,
            old=old,
            new=new,
            gone=tuple(gone),
            rebuilt=tuple(rebuilt),
            reopened=tuple(i.text for key, i in now.items() if not i.done and key in was and was[key].done),
            closed=tuple(i.text for key, i in now.items() if i.done and key in was and not was[key].done),
            added=tuple(i.text for key, i in now.items() if key not in was) if was else (),
            done=(before.done, after.done),
            total=(before.total, after.total),
            check=self._check(new),
            paths=tuple(change.path for change in threeway.outside(self._changes(old, new), self.task.directory)),
        )

    def _changes(self, old: str, new: str) -> tuple[Change, ...]:
        return threeway.changes(self.place.repository, self.trees, old, new)

    def _check(self, tip: str) -> str:
        """What is known of the checks on a tip; on a person's commit nothing, as `list` has it."""
        steps = read_chain(self.trees, tip, self.task).steps
        last = next((step.record for step in reversed(steps) if step.record is not None), None)
        if last is None or last.check == "none":
            return "none"
        return last.check if steps[-1].record is not None else UNKNOWN

    # -- carrying out --------------------------------------------------------------------------------------------------------------------------

    def refuse_busy(self) -> None:
        """Raise AutonomousError while somebody works on the task, NeedsPerson while its worktree holds changes that no commit has."""
        with backup.at_rest(self.place.repository, self.task.name):
            self._refuse_uncommitted()

    def carry_out(self, plan: Plan) -> str:
        """Do what the plan says. Returns the ref that keeps the old tip. Raises AutonomousError when the branch has moved since, or as `refuse_busy`.

        The files go first: after a death before the branch moved they look like edits by hand that do the same, and not like edits that take it back.
        """
        name, repository = self.task.name, self.place.repository
        with backup.at_rest(repository, name):
            worktree = self._refuse_uncommitted()
            self._settle()
            if self.trees.tip(self.place.ref(name)) != plan.old:
                raise AutonomousError(f"{self.place.branch(name)} has moved since", f"git autonomous review {name}")
            if worktree is not None:
                self._refuse_overwriting(worktree, plan)
                switch_files(worktree, plan.old, plan.new)
            try:
                return self._move(plan, worktree)
            except BaseException:
                if worktree is not None:
                    switch_files(worktree, plan.new, plan.old)
                raise

    def _move(self, plan: Plan, worktree: Worktree | None) -> str:
        """Keep the old tip and move the branch: one transaction, so that there is never the one without the other."""
        kept = backup.next_ref(self.trees, f"{backup.BACKUP}{self.task.name}/")
        moves = f"create {kept}\0{plan.old}\0update {self.place.ref(self.task.name)}\0{plan.new}\0{plan.old}\0"
        run = worktree.run if worktree is not None else self.place.repository.run
        run("update-ref", "--create-reflog", "-m", f"autonomous: {plan.what}", "--stdin", "-z", input=moves.encode())
        return kept

    def _refuse_overwriting(self, worktree: Worktree, plan: Plan) -> None:
        """Raise AutonomousError where a file comes back at the place of one that git does not track: git itself would overwrite an ignored one."""
        repository = self.place.repository
        repository.refuse_unsafe_filters()
        checkout = moving.Checkout(worktree.path, worktree.git_dir)
        in_the_way = moving.in_the_way(repository, checkout, self._changes(plan.old, plan.new))
        if in_the_way:
            raise moving.untracked_refusal(checkout, in_the_way)

    def _refuse_uncommitted(self) -> Worktree | None:
        """Where the branch is checked out, None where it is not. Raises NeedsPerson when something there is not committed."""
        repository = self.place.repository
        place = moving.checkout_of(repository, self.place.branch(self.task.name))
        if place is None:
            return None
        worktree = Worktree(repository, place.path, place.git_dir)
        if place.git_dir != repository.common_dir:
            worktree.check_pointer()
            worktree.drop_stale_locks()
        changed = [path for _, path in worktree.status()]
        if changed:
            raise NeedsPerson(
                f"{place.path} has changes that are not committed: {moving.shown(changed)}",
                f"git -C {quote(str(place.path))} status",
            )
        return worktree

    def _settle(self) -> None:
        """Close an attempt that a dead runner left open: the worktree is clean, so it is committed already, or it left nothing."""
        path = self.place.repository.task_dir(self.task.name) / "journal.jsonl"
        attempt = journal.open_attempt(Journal(path).read())
        if attempt is None:
            return
        step = self.chain.sessions().get(int(attempt["number"]))
        Journal(path).append(
            "result",
            id=attempt["id"],
            commit=step.commit.oid if step is not None else None,
            outcome=step.record.outcome if step is not None and step.record is not None else "interrupted",
            thread=attempt.get("thread"),
        )


def switch_files(worktree: Worktree, old: str, new: str) -> None:
    """Take index and files from one commit to another. Raises AutonomousError."""
    workers = f"checkout.workers={os.cpu_count() or 1}"
    worktree.run("-c", workers, "read-tree", "-m", "-u", "--no-recurse-submodules", old, new)


def with_record(message: str, record: Session, listed: checklist.Checklist, *, checked: bool) -> str:
    """A session's message with progress counted anew, and its check as far as it still holds. Every other line stays.

    `checked`: whether the content that was checked is the same outside `.autonomous/`.
    """
    text, _, block = message.rstrip().rpartition("\n\n")
    new = replace(
        record,
        done=listed.done,
        total=listed.total,
        blocked=sum(item.blocked or item.skipped for item in listed.open_items),
        check=record.check if checked or record.check == "none" else UNKNOWN,
    )
    counted = ("Autonomous-Progress: ", "Autonomous-Blocked: ", "Autonomous-Check: ")
    fresh = [line for line in new.trailers().split("\n") if line.startswith(counted)]
    lines: list[str] = []
    for line in block.split("\n"):
        if line.startswith(counted):
            lines += fresh
            fresh = []
        else:
            lines.append(line)
    lines += fresh
    return f"{text}\n\n" + "\n".join(lines) + "\n"


def sessions_text(numbers: Iterable[int]) -> str:
    """`session 4`, or `sessions 1-3, 7`."""
    ordered = sorted(set(numbers))
    runs: list[list[int]] = []
    for number in ordered:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    named = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"session{'s' * (len(ordered) != 1)} {named}"


def _decode(content: bytes | None) -> str:
    return (content or b"").decode("utf-8", "surrogateescape")


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
