"""The fleet as a person sees it: tasks are submitted to a remote, listed from there, taken back, and a remote is asked whether it is fit for that.

The lease is also the mark by which a task is the fleet's: `submit` makes it in one push with the branch. A task that somebody only pushed has none, so no worker takes it;
workers read the leases anyway; and nothing has to be changed on a branch to give it to the fleet or to take it back.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from datetime import datetime

from . import git, model, show, starting, states, stopping, tasks
from .doctor import Finding
from .errors import AutonomousError, UsageError
from .git import Repository
from .lease import BRANCHES, FREE, HELD, REFS, Lease, Move, Moved, Refused, Remote, Seen
from .model import Task
from .objects import Objects
from .starting import NameTaken
from .tasks import Ask, Place, Request

Fields = dict[str, object]


def remote_of(repository: Repository, objects: Objects, name: str) -> Remote:
    """The remote of this name. Raises UsageError where git knows none."""
    known = repository.run("remote").split()
    if name not in known:
        raise UsageError(
            f"git knows no remote '{model.one_line(name, 80)}' here",
            f"git autonomous list --remote {known[0]}"
            if known
            else f"git remote add {show.clean(name) or 'origin'} URL",
        )
    return Remote(repository, objects, name)


# -- giving tasks to the fleet -------------------------------------------------------------------------------------------------------------------


def submit(
    goal: str, request: Request, ask: Ask, *, remote: str, name: str | None = None, base: str | None = None
) -> str:
    """Make a task on the remote alone, for whichever worker comes first. Returns its name. Raises AutonomousError; nothing is made then."""
    goal = model.check_goal(goal)
    if name is not None:
        model.check_name(name)
    place = tasks.open_place(request.flags, ask, base=base or "HEAD")
    tasks.refuse_nested(place)
    hub = remote_of(place.repository, place.objects, remote)
    base_name, base_commit = starting.resolve_base(place.repository, base)
    wanted = name or model.slug(goal, datetime.now())
    git.check_branch_name(place.repository, place.branch(wanted))
    taken = {*place.names(), *hub.look()}
    if wanted in taken and name is not None:
        raise NameTaken(name)
    while True:
        wanted = wanted if wanted not in taken else model.free_name(wanted, sorted(taken))
        task = Task(
            name=wanted,
            goal=goal,
            base=base_name.removeprefix(f"{remote}/"),
            base_commit=base_commit,
            created=model.iso(time.time()),
            options=starting.options_of(place.settings, request),
        )
        try:
            _push_new(hub, place.ref(wanted), None, _start_commit(place, task), Lease())
            return wanted
        except Moved:
            if name is not None:
                raise NameTaken(name) from None
            taken.add(wanted)


def _start_commit(place: Place, task: Task) -> str:
    objects = place.objects
    tree = objects.with_files(objects.commit(task.base_commit).tree, {task.file: model.write_task(task).encode()})
    identity = place.repository.identity()
    return objects.write_commit(None, model.start_message(task), tree, [task.base_commit], identity=identity)


def _push_new(hub: Remote, branch: str, old: str | None, tip: str, found: Lease) -> None:
    """Push a branch together with a new lease, which lies among the branches where the remote takes nothing else."""
    name = branch.rpartition("/")[2]
    new = found.written(tip)
    moves = [Move(branch, old, tip)] if old != tip else []
    try:
        hub.swap([*moves, Move(REFS + name, None, hub.store(new, REFS))])
    except Refused:
        hub.swap([*moves, Move(BRANCHES + name, None, hub.store(new, BRANCHES))])


def hand_over(name: str, *, remote: str) -> None:
    """Give a task that exists to the fleet: one of this clone, or one that the fleet left to a person. Raises AutonomousError."""
    place = tasks.open_place({}, None)
    tasks.refuse_nested(place)
    hub = remote_of(place.repository, place.objects, remote)
    model.check_name(name)
    if stopping.busy(place.repository.task_dir(name)):
        raise AutonomousError(f"'{name}' is being worked on here", f"git autonomous stop {name}    # then try again")
    seen = hub.look().get(name)
    _refuse_held(name, seen, remote)
    theirs, local = hub.branch(place.ref(name)), place.objects.tip(place.ref(name))
    tip = local or theirs
    if tip is None:
        raise AutonomousError(f"there is no task '{name}', neither here nor on {remote}", "git autonomous list")
    if theirs is not None and not place.objects.is_ancestor(theirs, tip):
        if not place.objects.is_ancestor(tip, theirs):
            raise AutonomousError(
                f"'{name}' has gone on here and on {remote}",
                f"git log --oneline --left-right {place.branch(name)}...{remote}/{place.branch(name)}",
            )
        tip = theirs
    now = _summary(place, name, tip, seen.lease if seen and seen.lease else Lease())
    if seen is None:
        _push_new(hub, place.ref(name), theirs, tip, now)
    else:
        moves = [Move(place.ref(name), theirs, tip)] if tip != theirs else []
        hub.swap([*moves, Move(seen.ref, seen.oid, hub.store(now.left(FREE, "").written(tip), seen.ref))])
    hub.look()  # so that `resume` knows here whom to ask


def _refuse_held(name: str, seen: Seen | None, remote: str) -> None:
    if seen is not None and seen.lease is not None and seen.lease.state == HELD:
        raise AutonomousError(
            f"'{name}' is being worked on by {show.one_line(seen.lease.host)}", f"git autonomous list --remote {remote}"
        )


def _summary(place: Place, name: str, tip: str, found: Lease) -> Lease:
    session = model.read_session(place.objects.commit(tip).message, name)
    if session is None:
        return found
    return replace(found, done=session.done, total=session.total, sessions=session.number)


def withdraw(name: str, *, remote: str) -> Seen:
    """Take a task back: its lease goes, its branch stays. A worker that has it stops. Returns what the lease was. Raises AutonomousError."""
    place = tasks.open_place({}, None)
    hub = remote_of(place.repository, place.objects, remote)
    seen = hub.look().get(name)
    if seen is None:
        raise AutonomousError(
            f"{remote} has no task '{model.one_line(name, 80)}' of a fleet", f"git autonomous list --remote {remote}"
        )
    hub.swap([Move(seen.ref, seen.oid, None)])
    return seen


# -- looking -------------------------------------------------------------------------------------------------------------------------------------

ORDER = ("name", "state", "worker", "host", "job", "epoch", "heartbeat", "done", "total", "sessions", "tip", "reason")
"""What `list --remote --json` says of a task."""


def overview(hub: Remote) -> list[Fields]:
    """The tasks of a fleet: those at work first, then the queued, then the rest; by name. One contact with the remote."""
    order = (HELD, FREE)
    found = [described(name, seen.lease) for name, seen in hub.look().items()]
    return sorted(
        found, key=lambda task: (order.index(str(task["state"])) if task["state"] in order else 2, str(task["name"]))
    )


def described(name: str, found: Lease | None) -> Fields:
    """A task as `list --remote --json` has it. `heartbeat`: when its lease was written, by the clock of who wrote it."""
    if found is None:
        return dict.fromkeys(ORDER) | {"name": name, "state": states.BROKEN, "reason": "its lease cannot be read"}
    held = found.state == HELD
    return {
        "name": name,
        "state": found.state,
        "worker": found.owner if held else None,
        "host": found.host or None,
        "job": found.job or None,
        "epoch": found.epoch,
        "heartbeat": model.iso(found.at),
        "done": found.done,
        "total": found.total,
        "sessions": found.sessions,
        "tip": found.tip or None,
        "reason": found.reason or None,
    }


def table(found: list[Fields], *, width: int | None, colour: bool, ascii: bool, now: float) -> str:
    """`overview` for people. `now`: epoch seconds."""
    headings = ("task", "state", "done", "sessions", "host", "job", "epoch", "heartbeat", "note")
    rows = []
    for task in found:
        seen = datetime.fromisoformat(str(task["heartbeat"])).timestamp() if task["heartbeat"] else None
        progress = f"{task['done']}/{task['total']}" if task["total"] else ""
        cells = (task["name"], task["state"], progress, task["sessions"], task["host"], task["job"], task["epoch"])
        rows.append(
            [
                *("" if cell in (None, "") else str(cell) for cell in cells),
                show.ago(seen, now) if seen else "",
                str(task["reason"] or ""),
            ]
        )
    return show.table(
        headings,
        rows,
        width=width,
        colour=colour,
        ascii=ascii,
        flexible=(8, 4),
        droppable=(5, 6, 3, 4, 8, 7),
        right=(2, 3, 6),
    )


# -- is the remote fit for it? -----------------------------------------------------------------------------------------------------------------


def examine(hub: Remote) -> list[Finding]:
    """What a fleet needs of its remote, tried out with leases of no task, which are taken away again."""
    name = "remote"
    try:
        hub.look()
    except AutonomousError as error:
        return [Finding(name, False, error.message, error.hint)]
    findings = [Finding(name, True, f"the remote {hub.name} answers")]
    try:
        made = _accepted(hub, REFS)
        findings.append(Finding("leases", True, f"it takes leases as {REFS}*"))
    except Refused as refused:
        try:
            made = _accepted(hub, BRANCHES)
            findings.append(
                Finding("leases", None, f"it takes leases as branches only, {BRANCHES}* ({refused.message})")
            )
        except AutonomousError as error:
            return [*findings, Finding("leases", False, error.message, _other(error))]
    except AutonomousError as error:
        return [*findings, Finding("leases", False, error.message, _other(error))]
    hub.swap([Move(move.ref, move.new, None) for move in made])
    return [*findings, Finding("atomic", True, "it takes atomic pushes")]


def _other(error: AutonomousError) -> str | None:
    return (
        "git remote add fleet URL    # a remote of your own: a bare repository behind ssh is enough"
        if isinstance(error, Refused)
        else error.hint
    )


def _accepted(hub: Remote, prefix: str) -> list[Move]:
    """Make two leases of no task in one atomic push. Returns the moves that made them."""
    made = [
        Move(f"{prefix}doctor-{uuid.uuid4().hex[:12]}", None, hub.store(Lease(state=states.FINISHED), prefix))
        for _ in "12"
    ]
    hub.swap(made)
    return made
