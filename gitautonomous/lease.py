"""Who of many machines works on a task: a lease on the remote, and pushes that count only as long as it is held.

`refs/autonomous/lease/<task>` is one JSON object (`Lease`) in a blob. Where a remote refuses refs of that kind it is `refs/heads/autonomous-lease/<task>`, and the object
is the message of a commit without files, since git allows only commits below refs/heads. Every change is a compare-and-swap push: git compares on this side with what
the remote advertises, and the remote compares again when it moves the ref. The task's branch moves only in one atomic push with the lease, so what a worker that lost
its lease did can never be published.

A lease is taken over only by who saw it unchanged for its whole term by a clock of its own: no two clocks are ever compared. Its `epoch` goes up by one with every
claim. `at` is for people.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from . import git, locks, process, states
from .errors import AutonomousError
from .git import Repository
from .objects import Objects

REFS, BRANCHES = "refs/autonomous/lease/", "refs/heads/autonomous-lease/"
"""Where leases are: as they should be, and for remotes that take only branches."""

FREE, HELD = "queued", states.RUNNING
"""States of a lease that a worker may claim, and of one that a worker has; all others are those in which a worker leaves a task (states.py)."""

TERM = 600.0
"""Seconds in which a lease that is not renewed may not be taken over, unless told otherwise."""

SHORTEST, LONGEST = 1.0, 86400.0
"""Seconds: a term outside of these is not believed."""

PATIENCE = 120.0
"""Seconds that one contact with the remote may take."""

SEEN = "refs/autonomous/seen/"
"""Below which refs a clone keeps remotes' leases as it last saw them."""

MANY = 500
"""Refs that one look may change before they are packed: a look at loose ones takes four times as long."""

LIMIT = 16 * 1024
"""Bytes of a lease that are looked at: anybody who may push can write one."""

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
NOBODY = "git autonomous <git-autonomous@localhost>"


@dataclass(frozen=True)
class Who:
    """A worker. `owner`: a name that no other worker ever has; `host`: for people; `job`: its name with the engine that started it."""

    owner: str
    host: str
    job: str = ""


@dataclass(frozen=True)
class Lease:
    """What a lease says. `epoch`: how often it was claimed; `term`: seconds; `at`: when it was written, epoch seconds by its writer's clock; `beat`: how often it was
    written; `tip`: the branch's newest commit then; `failures`: workers in a row that gave up on the task."""

    epoch: int = 0
    state: str = FREE
    owner: str = ""
    host: str = ""
    job: str = ""
    term: float = TERM
    at: int = 0
    beat: int = 0
    tip: str = ""
    done: int = 0
    total: int = 0
    sessions: int = 0
    failures: int = 0
    reason: str = ""

    def claimed(self, who: Who, term: float) -> Lease:
        mine = {"owner": who.owner, "host": who.host, "job": who.job, "term": term, "reason": ""}
        return replace(self, epoch=self.epoch + 1, state=HELD, **mine)  # type: ignore[arg-type]

    def written(self, tip: str) -> Lease:
        """The same once more: no two writings of a lease are alike, so that life shows."""
        return replace(self, beat=self.beat + 1, at=int(time.time()), tip=tip)

    def left(self, state: str, reason: str, failures: int = 0) -> Lease:
        """As its owner leaves it: FREE for the next worker, or in a state that needs a person or nobody."""
        return replace(self, state=state, reason=reason[:500], failures=failures)

    def same_hold(self, other: Lease | None) -> bool:
        """Whether both belong to one and the same claim."""
        return other is not None and (self.owner, self.epoch) == (other.owner, other.epoch)


def write(lease: Lease) -> bytes:
    """The lease as it is stored."""
    return (json.dumps({"format": 1, **asdict(lease)}, indent=0) + "\n").encode()


def read(content: bytes) -> Lease | None:
    """The lease that was stored; None for what is none, or belongs to a newer version."""
    try:
        found = json.loads(content[: LIMIT + 1])
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.pop("format", None) != 1 or len(content) > LIMIT:
        return None
    known: dict[str, Any] = {}
    for item in fields(Lease):
        value = found.get(item.name, item.default)
        wanted = type(item.default)
        if isinstance(value, bool) or not isinstance(value, int | float if wanted is float else wanted):
            return None
        known[item.name] = value
    lease = Lease(**known)
    numbers = (lease.epoch, lease.at, lease.beat, lease.done, lease.total, lease.sessions, lease.failures)
    if min(numbers) < 0 or max(numbers) > 2**53 or not re.fullmatch(r"(?:[0-9a-f]{40})?", lease.tip):
        return None
    return lease if SHORTEST <= lease.term <= LONGEST else None


@dataclass
class Watch:
    """How long an observer has seen each lease unchanged. `clock`: seconds of a clock that nobody sets."""

    clock: Callable[[], float] = time.monotonic
    _since: dict[str, tuple[str, float]] = field(default_factory=dict)

    def saw(self, leases: Mapping[str, Seen]) -> None:
        """Take note of all leases as they are now."""
        now = self.clock()
        self._since = {
            task: (seen.oid, self._since[task][1] if self._since.get(task, ("",))[0] == seen.oid else now)
            for task, seen in leases.items()
        }

    def unchanged(self, task: str) -> float:
        """Seconds for which the lease of a task has been seen as it is."""
        return self.clock() - self._since[task][1] if task in self._since else 0.0

    def claimable(self, task: str, lease: Lease | None) -> bool:
        """Whether a lease is free, or its owner has not shown any life for its term."""
        return lease is not None and (
            lease.state == FREE or (lease.state == HELD and self.unchanged(task) >= lease.term)
        )


# -- the remote ----------------------------------------------------------------------------------------------------------------------------------


class Unreachable(AutonomousError):
    """The remote did not answer, or was busy: to be tried again."""


class Refused(AutonomousError):
    """The remote does not do what a fleet needs."""


class Moved(AutonomousError):
    """Refs were not, or are not any more, what they were taken for."""


class Lost(AutonomousError):
    """Somebody else has the lease now."""


class BranchMoved(AutonomousError):
    """Somebody pushed to the task's branch while it was worked on. `theirs`: what is there now, None where it was deleted."""

    def __init__(self, task: str, theirs: str | None) -> None:
        super().__init__(
            f"somebody else pushed to the branch of '{task}' while it was worked on",
            f"git log --oneline {theirs}" if theirs else None,
        )
        self.theirs = theirs


@dataclass(frozen=True)
class Seen:
    """A lease as the remote had it. `lease` is None when it cannot be read."""

    ref: str
    oid: str
    lease: Lease | None


@dataclass(frozen=True)
class Move:
    """A ref that is to go from `old` (None: it is not there) to `new` (None: it goes away)."""

    ref: str
    old: str | None
    new: str | None


_BUSY = ("cannot lock ref", "failed to update ref", "failed to lock", "unable to create", "atomic", "stale info")
"""What the remote or git says when two pushes met, in lower case. Whether this one lost is looked up."""


@dataclass(frozen=True)
class Remote:
    """A remote that several machines share."""

    repository: Repository
    objects: Objects
    name: str
    patience: float = PATIENCE
    _known: dict[tuple[str, str], Seen] = field(default_factory=dict, compare=False, repr=False)

    @property
    def mirror(self) -> str:
        """Below which refs this clone keeps the remote's leases as it last saw them."""
        return f"{SEEN}{self.name}/"

    def look(self) -> dict[str, Seen]:
        """All leases, by task. One contact, which reads no other refs where the remote speaks protocol version 2. Raises Unreachable."""
        where = (f"+{REFS}*:{self.mirror}refs/*", f"+{BRANCHES}*:{self.mirror}heads/*")
        with locks.exclusive(str(self.repository.make_state_dir() / "seen.lock")):
            done = self._fetched("--prune", "--refmap=", self.name, *where, options=("-c", "core.fsync=none"))
            if done.returncode:
                raise self._unreachable(done)
            listed = self.repository.run("for-each-ref", "--format=%(objectname) %(refname)", self.mirror)
        found: dict[str, Seen] = {}
        for line in listed.splitlines():
            oid, _, ref = line.partition(" ")
            kind, _, task = ref.removeprefix(self.mirror).partition("/")
            where_it_is = (BRANCHES if kind == "heads" else REFS) + task
            if "/" not in task and (kind == "heads" or task not in found):
                found[task] = self._known.get((where_it_is, oid)) or Seen(where_it_is, oid, self._read(oid))
        if sum((seen.ref, seen.oid) not in self._known for seen in found.values()) > MANY:
            with self.repository.lock():
                self.repository.call("pack-refs", "--all")
        self._known.clear()
        self._known.update({(seen.ref, seen.oid): seen for seen in found.values()})
        return found

    def _read(self, oid: str) -> Lease | None:
        content = self.objects.text_of(oid, LIMIT)
        return read(content) if content is not None else None

    def branch(self, ref: str) -> str | None:
        """Fetch a branch by its full name, into refs/remotes. Returns its newest commit, None where there is none. Raises Unreachable."""
        local = f"refs/remotes/{self.name}/{ref.removeprefix('refs/heads/')}"
        done = self._fetched("--refmap=", self.name, f"+{ref}:{local}")
        if done.returncode and b"couldn't find remote ref" in done.stderr:
            return None
        if done.returncode:
            raise self._unreachable(done)
        return self.objects.tip(local)

    def at(self, refs: Sequence[str]) -> dict[str, str | None]:
        """Where refs (full names) point now. Raises Unreachable."""
        done = self._call("ls-remote", "--end-of-options", self.name, *refs)
        if done.returncode:
            raise self._unreachable(done)
        lines = git.text(done.stdout).splitlines()
        known = {ref: oid for oid, _, ref in (line.partition("\t") for line in lines)}
        return {ref: known.get(ref) for ref in refs}

    def store(self, lease: Lease, ref: str) -> str:
        """Write a lease into this clone's objects, in the form that `ref` needs. Returns its id."""
        if ref.startswith(BRANCHES):
            return self.objects.write_commit(None, write(lease).decode(), EMPTY_TREE, [], identity=NOBODY)
        return self.objects.blob(write(lease))

    def swap(self, moves: Sequence[Move], *, atomic: bool = True) -> None:
        """Move refs of the remote, all or (`atomic`) none, each only if it is where `old` says.

        A push that reached the remote although its answer was lost counts as done. Raises Moved when a ref was not where it was taken to be, Unreachable when it is worth
        another try, and Refused when it is not.
        """
        options = [f"--force-with-lease={move.ref}:{move.old or ''}" for move in moves]
        specs = [f"{move.new or ''}:{move.ref}" for move in moves]
        flags = [
            "--porcelain",
            "--no-verify",
            "--no-follow-tags",
            "--recurse-submodules=no",
            *(["--atomic"] if atomic else []),
        ]
        done = self._call("push", *flags, *options, "--end-of-options", self.name, *specs)
        if done.returncode == 0:
            return
        said = git.text(done.stderr)
        if "does not support --atomic" in said:
            raise Refused(
                f"the remote '{self.name}' does not take atomic pushes, so a lease there would protect nothing",
                f"git autonomous doctor --remote {self.name}",
            )
        rejected = [line.split("\t") for line in git.text(done.stdout).splitlines() if line.startswith("!")]
        now = self.at([move.ref for move in moves])
        if all(now[move.ref] == move.new for move in moves):
            return
        if any(now[move.ref] not in (move.old, move.new) for move in moves):
            raise Moved(f"moved meanwhile: {', '.join(move.ref for move in moves if now[move.ref] != move.old)}")
        reasons = [line[-1].strip() for line in rejected if len(line) > 2]
        final = [reason for reason in reasons if not any(word in reason.lower() for word in _BUSY)]
        if final:
            raise Refused(
                f"the remote '{self.name}' refused the push: {final[0]}", f"git autonomous doctor --remote {self.name}"
            )
        raise self._unreachable(done)

    def _fetched(self, *arguments: str, options: Sequence[str] = ()) -> process.Completed:
        flags = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--recurse-submodules=no")
        return self._call(*options, "fetch", *flags, *arguments)

    def _call(self, *arguments: str) -> process.Completed:
        settings = ("-c", "push.gpgSign=false", "-c", "protocol.version=2")
        # A relative address starts at the top of the main worktree.
        return self.repository.call(*settings, *arguments, timeout=self.patience, cwd=self.repository.main_root)

    def _unreachable(self, done: process.Completed) -> Unreachable:
        why = f"no answer within {self.patience:.0f} s" if done.timed_out else git.last_words(done.stderr)
        return Unreachable(f"cannot reach the remote '{self.name}': {why}", f"git ls-remote {self.name}")


# -- holding -------------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Record:
    """A lease that this machine holds or held: where it is on the remote, its object there, the task's branch with its newest pushed commit."""

    ref: str
    oid: str
    branch: str
    tip: str | None
    lease: Lease


@dataclass(frozen=True)
class Hold:
    """This machine's side of a lease: a file that says how it is on the remote, and a lock that whoever pushes takes. So the process that runs the task and the one that
    renews leases never push with stale knowledge."""

    remote: Remote
    task: str

    @property
    def folder(self) -> Path:
        return self.remote.repository.make_state_dir("fleet")

    @property
    def log(self) -> Path:
        """What the process that runs the task prints."""
        return self.folder / f"{self.task}.log"

    def record(self) -> Record | None:
        """What is known here; None where this machine never had the task."""
        try:
            found = json.loads((self.folder / f"{self.task}.json").read_text())
            lease = read(found.pop("lease").encode())
            return Record(**found, lease=lease) if lease is not None else None
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def forget(self) -> None:
        """The lease is not this machine's any more."""
        (self.folder / f"{self.task}.json").unlink(missing_ok=True)

    def alive(self) -> locks.Held | None:
        """A lock for as long as this machine works on the task; None where a process here has it. Children inherit it, so it also tells whether any of them lives."""
        held = locks.Held(locks.open_lock(str(self.folder / f"{self.task}.alive")))
        if locks.try_lock(held.descriptor, patience=0):
            return held
        held.close()
        return None

    @contextmanager
    def locked(self, patience: float = PATIENCE * 2) -> Iterator[bool]:
        """Hold the lock that every push of this task needs. False where it is busy for longer than `patience` seconds."""
        with locks.Held(locks.open_lock(str(self.folder / f"{self.task}.lock"))) as descriptor:
            yield locks.try_lock(descriptor, patience=patience)

    def claim(self, seen: Seen, who: Who, term: float, branch: str, tip: str) -> None:
        """Take a lease that may be taken, whose task's branch is at `tip`. Raises Moved when somebody was faster, Unreachable, Refused."""
        assert seen.lease is not None
        lease = seen.lease.claimed(who, term).written(tip)
        with self.locked() as free:
            if not free:
                raise Moved(f"'{self.task}' is being pushed from here")
            oid = self.remote.store(lease, seen.ref)
            self.remote.swap([Move(seen.ref, seen.oid, oid)])
            self._remember(Record(seen.ref, oid, branch, tip, lease))

    def publish(self, tip: str, lease: Lease | None = None) -> None:
        """Push the branch's newest commit, in one atomic push with the lease, which becomes `lease` (default: as it is, renewed).

        Raises Lost, BranchMoved, Unreachable or Refused; the remote is as it was then.
        """
        with self.locked() as free:
            record = self.record()
            if not free or record is None:
                raise Unreachable(f"'{self.task}' is being pushed by another process")
            self._publish(record, tip, lease or record.lease)

    def moved(self, tip: str) -> None:
        """Somebody else pushed to the branch, and what is there now has been taken in."""
        record = self.record()
        assert record is not None
        self._remember(replace(record, tip=tip))

    def publish_lease(self, lease: Lease, tip: str | None) -> None:
        """Push the lease alone, with the branch left as somebody else pushed it. Raises as `publish`."""
        with self.locked() as free:
            record = self.record()
            if not free or record is None:
                raise Unreachable(f"'{self.task}' is being pushed by another process")
            self._publish(replace(record, tip=tip), tip or "", lease)

    def _publish(self, record: Record, tip: str, lease: Lease) -> None:
        lease = replace(lease, beat=record.lease.beat).written(tip)
        oid = self.remote.store(lease, record.ref)
        moves = [Move(record.ref, record.oid, oid)]
        if tip != (record.tip or ""):
            moves.append(Move(record.branch, record.tip, tip))
        try:
            self.remote.swap(moves)
        except Moved:
            actual = self._still_ours(record)
            if lease.state != HELD and actual.lease.state == lease.state and actual.lease.tip == tip:
                self._remember(actual)  # the push had come through
                return
            if actual.lease.state != HELD:
                raise self.lost(actual.lease) from None
            if actual.tip not in (record.tip, tip, actual.lease.tip):
                self._remember(replace(actual, tip=record.tip))
                raise BranchMoved(self.task, actual.tip) from None
            if actual == record:
                raise Unreachable(f"the remote '{self.remote.name}' is busy") from None
            self._publish(actual, tip, lease)
            return
        self._remember(Record(record.ref, oid, record.branch, tip, lease))

    def _still_ours(self, record: Record) -> Record:
        """How the remote is now, where the lease still is as this machine made it, by a push whose answer did not come. Raises Lost when it is somebody else's."""
        seen = self.remote.look().get(self.task)
        if seen is None or seen.lease is None or not record.lease.same_hold(seen.lease):
            raise self.lost(seen.lease if seen else None)
        return Record(seen.ref, seen.oid, record.branch, self.remote.at([record.branch])[record.branch], seen.lease)

    def lost(self, now: Lease | None) -> Lost:
        """What to say of a lease that somebody else has."""
        by = f"{now.host} has it (epoch {now.epoch})" if now is not None and now.state == HELD else "it was taken away"
        return Lost(f"the lease of '{self.task}' is lost: {by}", f"git autonomous list --remote {self.remote.name}")

    def _remember(self, record: Record) -> None:
        path = self.folder / f"{self.task}.json"
        temporary = path.with_suffix(".new")
        temporary.write_text(
            json.dumps(
                {**{k: v for k, v in vars(record).items() if k != "lease"}, "lease": write(record.lease).decode()}
            )
        )
        temporary.replace(path)


def renew(holds: Iterable[Hold]) -> dict[str, Lost]:
    """Renew the leases of one remote in one push; one that is being pushed at this moment is renewed by that. Returns those that are lost.

    Raises Unreachable and Refused when none could be renewed.
    """
    lost: dict[str, Lost] = {}
    with _all_locked(holds) as held:
        moves = {}
        for hold, record in held:
            lease = record.lease.written(record.lease.tip)
            moves[hold.task] = Record(
                record.ref, hold.remote.store(lease, record.ref), record.branch, record.tip, lease
            )
        if not moves:
            return lost
        remote = held[0][0].remote
        try:
            remote.swap([Move(record.ref, record.oid, moves[hold.task].oid) for hold, record in held], atomic=False)
        except Moved:
            now = remote.look()
            for hold, record in held:
                seen = now.get(hold.task)
                if seen is not None and seen.oid == moves[hold.task].oid:
                    hold._remember(moves[hold.task])
                elif (
                    seen is None
                    or seen.lease is None
                    or seen.lease.state != HELD
                    or not record.lease.same_hold(seen.lease)
                ):
                    lost[hold.task] = hold.lost(seen.lease if seen else None)
                else:
                    hold._remember(replace(record, oid=seen.oid, lease=seen.lease))
            return lost
        for hold, _ in held:
            hold._remember(moves[hold.task])
    return lost


@contextmanager
def _all_locked(holds: Iterable[Hold]) -> Iterator[list[tuple[Hold, Record]]]:
    from contextlib import ExitStack

    with ExitStack() as stack:
        held = []
        for hold in holds:
            free = stack.enter_context(hold.locked(patience=0))
            record = hold.record()
            if free and record is not None and record.lease.state == HELD:
                held.append((hold, record))
        yield held
