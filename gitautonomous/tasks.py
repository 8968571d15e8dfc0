"""The use cases behind the commands, but for start: plain functions that take values, return values and never print."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from . import (
    activity,
    backup,
    base_settings,
    checklist,
    checks,
    codex,
    config,
    conflicts,
    doctor,
    forecast,
    git,
    hostile,
    lease,
    listing,
    model,
    origins,
    ready,
    states,
    stopping,
)
from .account import Account
from .config import Approvals, Settings
from .errors import AutonomousError, NeedsPerson
from .git import Repository, Worktree
from .locks import Held
from .model import Limits, Next, Options, Task
from .notify import Signs
from .objects import Objects
from .runner import Publish, Runner, check_templates
from .screen import Screen
from .workspace import Workspace, read_history

LEASE_PATIENCE = 20.0
"""Seconds that a remote has to say who works on a task, before that is taken for unknown."""

Ask = Callable[[str, str], bool]
"""Shows a text and asks a question on the terminal; False where nobody is there to answer."""


@dataclass(frozen=True)
class Request:
    """What `start` and `resume` were told on the command line; None: not given there."""

    flags: Mapping[str, object]
    config: tuple[str, ...] = ()
    no_check: bool = False
    auto_continue: bool = True
    plan: bool = False
    resume_last: bool = False
    detach: bool = False
    quiet: bool = False
    patient: bool = False


@dataclass(frozen=True)
class Place:
    """A repository with its objects and the settings that hold in it."""

    repository: Repository
    objects: Objects
    settings: Settings
    approvals: Approvals

    def branch(self, task: str) -> str:
        return self.settings.branch_prefix + task

    def ref(self, task: str) -> str:
        return f"refs/heads/{self.branch(task)}"

    def tip(self, task: str) -> str:
        """The newest commit of a task. Raises AutonomousError when there is none."""
        return self.objects.newest(self.branch(task))

    def names(self) -> list[str]:
        """The tasks that have a branch here."""
        prefix = f"refs/heads/{self.settings.branch_prefix}"
        return [ref[len(prefix) :] for ref in self.objects.refs(prefix)]


@dataclass(frozen=True)
class Result:
    """What came of `start` or `resume`. `step`: the decision that ended the run, None where a detached runner has taken over."""

    place: Place
    name: str
    step: Next | None

    def to_json(self) -> dict[str, object]:
        """The task as `list --json` has it, with the process (`pid`) and the `log` of a detached runner."""
        directory = self.place.repository.task_dir(self.name)
        who = stopping.runner(directory) if self.step is None else None
        known = listing.to_json(look_up(self.place, self.name))
        return known | {"pid": who.pid if who else None, "log": str(directory / "runner.log") if who else None}


def look_up(place: Place, name: str) -> listing.Fields:
    """One task as a listing has it."""
    prefix = place.settings.branch_prefix
    return listing.tasks(str(place.repository.common_dir), prefix, time.time(), only=name)[0]


def open_place(flags: Mapping[str, object], ask: Ask | None, *, base: str = "HEAD") -> Place:
    """The repository around the current folder, with its settings; those of the `.autonomous.toml` of `base` that run something need one approval.

    `ask` is None for a command that runs nothing: what is not approved is left out, and nobody is asked. Raises AutonomousError where there is no usable repository, UsageError for settings that are wrong.
    """
    repository = Repository.discover()
    doctor.refuse_unsupported(repository)
    return settled(repository, Objects(repository.common_dir), flags, ask, base)


def settled(repository: Repository, objects: Objects, flags: Mapping[str, object], ask: Ask | None, base: str) -> Place:
    """A repository that is open already with the settings that hold for what starts from `base`; as `open_place` otherwise."""
    content = base_settings.read(repository, base, objects.read)
    approvals = Approvals(config.state_directory(os.environ) / "approvals.json")

    def load() -> config.Loaded:
        return config.load(
            flags=flags,
            environ=os.environ,
            git_config=repository.configured,
            base_toml=content,
            approved=lambda text: approvals.approved(repository.common_dir, text),
            place=lambda *setting: origins.place(repository, *setting),
        )

    loaded = load()
    if loaded.unapproved and ask is not None:
        question = f"{config.TOML_NAME} of this repository wants to run commands or widen rights. Allow exactly this?"
        if not ask(loaded.unapproved, question):
            raise NeedsPerson(
                f"the settings in {config.TOML_NAME} need your approval first",
                "run the same command in a terminal, where it can show them and ask",
            )
        approvals.approve(repository.common_dir, loaded.unapproved)
        loaded = load()
    return Place(repository, objects, loaded.settings, approvals)


def refuse_nested(place: Place) -> None:
    """Raise AutonomousError inside a session of a task here: an agent that starts runners would have nobody to answer to, and no end."""
    thread = os.environ.get("CODEX_THREAD_ID")
    folder = place.repository.state_dir / "tasks"
    if config.ATTEMPT in os.environ or (
        thread and folder.is_dir() and any(activity.is_agent(task, thread) for task in folder.iterdir())
    ):
        raise AutonomousError(
            "this is a session of a task already, and an agent runs no tasks of its own",
            "write it below '## Proposed' in task_list.md, for a person to decide",
        )


def set_aside_local_files(repository: Repository, task: str) -> None:
    """Local files of an earlier task of this name go to the attic: its transcripts stay readable, its journal must not be taken for the new one's."""
    folder = repository.task_dir(task)
    if folder.exists():
        attic = repository.make_state_dir("attic")
        os.rename(folder, attic / f"{task}-{time.time_ns()}")
        states.forget(str(folder))


def bases(place: Place, base: str) -> list[str]:
    """The refs that a base's name stands for: the local branch, then what remotes have of it."""
    remote = [ref for ref in place.objects.refs("refs/remotes/") if ref.split("/", 3)[3:] == [base]]
    return [f"refs/heads/{base}", f"refs/remotes/{base}", *remote]


def of_people(place: Place, base: str) -> bool:
    """Whether a base is no branch of a task, here or on a remote."""
    return f"/{place.settings.branch_prefix}" not in f"/{base}"


def base_of_people(place: Place, task: Task) -> bool:
    """Whether the commit that a task starts from is in its base, and that is no branch of a task: a pushed task can name any commit, with files of anybody."""
    if not of_people(place, task.base):
        return False
    tips = (place.objects.tip(ref) for ref in bases(place, task.base))
    return any(tip is not None and place.objects.is_ancestor(task.base_commit, tip) for tip in tips)


def make_ready(
    place: Place,
    task: Task,
    worktree: Worktree,
    screen: Screen,
    engine: codex.Codex | None = None,
    *,
    copy: bool = True,
) -> None:
    """Check out the submodules, copy (`copy`) the ignored files that the work needs and run the setup commands.

    With `engine` an agent's files are there already: then the commands run in the agent's sandbox, and nothing is fetched.
    """
    repository = place.repository
    timeout = place.settings.setup_timeout
    if engine is None and (filled := ready.fill_submodules(repository, worktree, timeout=timeout)):
        screen.note(f"checked out {len(filled)} submodule{'s' * (len(filled) != 1)}: {', '.join(filled)}")
    patterns = place.objects.read(task.base_commit, ready.INCLUDE_FILE) if copy else None
    source = repository.toplevel or (None if repository.is_bare else repository.main_root)
    if patterns is not None and source is not None:
        copied = ready.copy_included(repository, source, worktree.path, patterns)
        if copied:
            screen.note(f"copied {len(copied)} ignored file{'s' * (len(copied) != 1)} named by {ready.INCLUDE_FILE}")
    log = repository.make_state_dir("tasks", task.name) / "setup.log"
    if engine is None:
        ready.run_setup(place.settings.setup, worktree.path, log, timeout=timeout, say=screen.note)
    else:
        access = codex.Access(network=task.options.sandbox_network, full=task.options.network)
        config = task.options.config

        def sandboxed(command: str) -> list[str]:
            return codex.sandbox_argv(engine, command, main_root=repository.main_root, access=access, config=config)

        try:
            ready.run_setup(place.settings.setup, worktree.path, log, timeout=timeout, say=screen.note, argv=sandboxed)
        except AutonomousError as error:
            screen.note(f"{error.message} (in the sandbox, since an agent's files are there)")
    worktree.ready_mark.touch()


# -- resume --------------------------------------------------------------------------------------------------------------------------------------


def resume(name: str | None, request: Request, ask: Ask, screen: Screen) -> Result:
    """Go on with a task: this worktree's, the named one, else the newest unfinished."""
    place = open_place(request.flags, None)
    refuse_nested(place)
    name = name if name is not None else default_task(place)
    refuse_leased(place, name, screen)
    bring_here(place, name, screen)
    place = settled(place.repository, place.objects, request.flags, ask, place.ref(name))
    return go_on(place, name, request, ask, screen)


def go_on(
    place: Place,
    name: str,
    request: Request,
    ask: Ask,
    screen: Screen,
    *,
    foreign: bool = False,
    publish: Publish | None = None,
) -> Result:
    """Run the sessions of a task whose branch is here.

    `foreign`: whoever pushed the task is not trusted: no ignored file is copied for it, and no setup command runs outside of the sandbox. `publish`: as in Runner.
    """
    task = read_task(place, name)
    options = changed_options(task, request, place.settings)
    settings = replace(place.settings, network=options.network, profile=options.profile)
    engine = doctor.preflight(place.repository, settings, say=screen.note, overrides=codex.check_config(options.config))
    place.repository.refuse_unsafe_filters()
    check_templates(place.settings.templates)
    approve_task(place, task, ask, "resume")
    lock = stopping.claim(place.repository.make_state_dir("tasks", name), name)
    with lock:
        task = apply_options(place, task, options)
        worktree = ensure_worktree(place, task, screen)
        if not worktree.ready_mark.exists():
            peoples = not foreign and base_of_people(place, task)
            untouched = peoples and place.objects.commit(place.tip(name)).parents == (task.base_commit,)
            make_ready(place, task, worktree, screen, None if untouched else engine, copy=peoples)
        workspace = workspace_of(place, task, worktree, engine)
        return Result(place, name, run(workspace, request, screen, lock, publish))


def refuse_leased(place: Place, name: str, screen: Screen) -> None:
    """Raise AutonomousError when a worker of a fleet has the task, or may take it at any time. Only a remote that has it, or had a lease of it, is asked."""
    for remote in fleets_of(place, name):
        hub = lease.Remote(place.repository, place.objects, remote, patience=LEASE_PATIENCE)
        try:
            seen = hub.look().get(name)
        except lease.Unreachable as error:
            screen.note(f"{error.message}; whether a worker has '{name}' is not known")
            continue
        found = seen.lease if seen is not None else None
        back = f"to work on it here: git autonomous submit --remote {remote} --withdraw {name}"
        if found is not None and found.state == lease.HELD:
            until = time.strftime("%H:%M", time.localtime(found.at + found.term))
            raise AutonomousError(
                f"'{name}' is being worked on by {model.one_line(found.host, 80)}, which has it until {until}, or longer when it renews that",
                f"git autonomous list --remote {remote}    # {back}",
            )
        if found is not None and found.state == lease.FREE:
            raise AutonomousError(
                f"'{name}' is queued on {remote}, where a worker may take it at any time",
                f"git autonomous list --remote {remote}    # {back}",
            )


def fleets_of(place: Place, name: str) -> list[str]:
    """The remotes where a task may be in the hands of workers: those that it would come from, or where this clone saw a lease of it."""
    if name not in place.names():
        suffix = f"/{place.branch(name)}"
        return [ref.removeprefix("refs/remotes/").removesuffix(suffix) for ref in on_remotes(place, name)]
    seen = (ref.removeprefix(lease.SEEN).rsplit("/", 2) for ref in place.objects.refs(lease.SEEN))
    return [remote for remote, _, task in seen if task == name]


def task_here(place: Place) -> str | None:
    """The task of the worktree that the user stands in."""
    prefix = place.settings.branch_prefix
    branch = place.repository.head_branch() or ""
    name = branch.removeprefix(prefix)
    return name if branch.startswith(prefix) and name in place.names() else None


def listed(place: Place) -> list[listing.Fields]:
    """Every task, newest first."""
    return listing.tasks(str(place.repository.common_dir), place.settings.branch_prefix, time.time())


def running(place: Place) -> list[str]:
    """The tasks that are worked on now, newest first."""
    return [str(task["name"]) for task in listed(place) if task["state"] in (states.RUNNING, states.WAITING)]


def only_running(place: Place, verb: str) -> str:
    """The task of the worktree that the user stands in, else the only one that is worked on.

    Raises AutonomousError for none and several; `verb` is the command that wanted to know.
    """
    here = task_here(place)
    if here is not None:
        return here
    found = running(place)
    if len(found) == 1:
        return found[0]
    if found:
        raise AutonomousError(f"{len(found)} tasks run: {', '.join(found)}", f"git autonomous {verb} {found[0]}")
    raise AutonomousError("no task runs", "git autonomous list")


def newest(place: Place, name: str) -> str:
    """How far a task is and its newest commit, in words."""
    task = look_up(place, name)
    subject = place.objects.commit(str(task["tip"])).message.partition("\n")[0]
    items = f"{task['done']}/{task['total']} items, " if task["total"] else ""
    return f"{items}commit {str(task['tip'])[:10]}: {model.one_line(subject, 72)}"


def default_task(place: Place, *, running: bool = False, finished: bool = False) -> str:
    """The task of the worktree that the user stands in, else the newest unfinished one; `running`: preferably one that is worked on; `finished`: else the newest of all."""
    here = task_here(place)
    if here is not None:
        return here
    found = listed(place)
    if running:
        found.sort(key=lambda task: task["state"] not in (states.RUNNING, states.WAITING))
    candidates = [task for task in found if task["state"] in states.UNFINISHED] or (found if finished else [])
    if candidates:
        return str(candidates[0]["name"])
    raise AutonomousError(
        "there is no unfinished task" if found else "there is no task yet",
        "git autonomous list" if found else 'git autonomous start "GOAL"',
    )


def known_task(place: Place, name: str) -> str:
    """`name` when it is a task here. Raises AutonomousError that names how to get one that only a remote has, or the nearest one."""
    import difflib

    names = place.names()
    if name not in names:
        if remote := on_remotes(place, name):
            raise AutonomousError(
                f"the task '{name}' is on {remote[0].removeprefix('refs/remotes/')}, and has no branch here yet",
                f"git autonomous resume {name}",
            )
        near = difflib.get_close_matches(name, names, 1)
        raise AutonomousError(
            f"there is no task '{model.one_line(name, 80)}'",
            f"git autonomous status {near[0]}" if near else "git autonomous list",
        )
    return name


def on_remotes(place: Place, name: str) -> list[str]:
    """The remote-tracking branches (full names) of a task."""
    suffix = f"/{place.branch(name)}"
    return [ref for ref in place.objects.refs("refs/remotes/") if ref.endswith(suffix)]


def bring_here(place: Place, name: str, screen: Screen) -> None:
    """Make a local branch for a task that another clone pushed. Raises AutonomousError when the task is nowhere."""
    if name in place.names():
        return
    model.check_name(name)
    remote = on_remotes(place, name)
    if not remote:
        known_task(place, name)
    if len(remote) > 1:
        raise AutonomousError(
            f"several remotes have the task '{name}': {', '.join(ref.removeprefix('refs/remotes/') for ref in remote)}",
            f"git branch {place.branch(name)} {remote[0].removeprefix('refs/remotes/')} && git autonomous resume {name}",
        )
    tip = place.objects.tip(remote[0])
    assert tip is not None
    last = place.objects.commit(tip)
    if f"\n{states.TRAILER_PULL_REQUEST}: {name}" in last.message:
        tip = last.parents[0]
    place.repository.update_ref(place.ref(name), tip, git.ZERO, f"resume {name} from {remote[0]}")
    with place.repository.lock():
        place.repository.call("branch", "--quiet", f"--set-upstream-to={remote[0]}", place.branch(name))
    screen.note(f"branch {place.branch(name)} made from {remote[0].removeprefix('refs/remotes/')}")


def read_task(place: Place, name: str) -> Task:
    """The task as its branch describes it. Raises AutonomousError."""
    tip = place.objects.tip(place.ref(known_task(place, name)))
    content = place.objects.read(tip, f".autonomous/{name}/task.toml") if tip else None
    if content is None:
        if tip and place.repository.call("rev-list", "-1", tip, "--", f".autonomous/{name}").stdout:
            raise AutonomousError(
                f"a commit on {place.branch(name)} took .autonomous/{name} out, as the one does that a pull request has",
                "git autonomous doctor --repair",
            )
        raise AutonomousError(
            f"the branch {place.branch(name)} has no .autonomous/{name}/task.toml, so it is not a task",
            "git autonomous list",
        )
    return model.read_task(name, content)


PERSISTENT = ("model", "profile", "checks", "sandbox_network", "network")
"""The options that `resume` changes for good; sessions, tokens and time are limits of one command."""


def changed_options(task: Task, request: Request, settings: Settings) -> Options:
    """The task's options with those that `resume` was given on the command line, which `settings` holds in their proper types."""
    given = [key for key, value in request.flags.items() if value is not None and key in PERSISTENT]
    changed: dict[str, object] = {key: getattr(settings, key) for key in given}
    if request.config:
        changed["config"] = request.config
    if request.no_check:
        changed |= {"no_check": True, "checks": ()}
    elif "checks" in given:
        changed["no_check"] = False
    return replace(task.options, **changed)  # type: ignore[arg-type]


def apply_options(place: Place, task: Task, options: Options) -> Task:
    """Options that differ from those of task.toml replace them, by a commit of the user's own."""
    new = replace(task, options=options)
    if new == task:
        return task
    place.approvals.approve(place.repository.common_dir, model.approval_text(new))
    put_files(place, task.name, {task.file: model.write_task(new).encode()}, f"{task.name}: options changed\n")
    return new


def put_files(place: Place, name: str, files: Mapping[str, bytes], message: str) -> None:
    """Put files (path: content) into a task's branch, by a commit of the user's own, and into its worktree too."""
    tip = place.tip(name)
    tree = place.objects.with_files(place.objects.commit(tip).tree, files)
    place.objects.write_commit(place.ref(name), message, tree, [tip], identity=place.repository.identity())
    entry = place.repository.worktree_of(place.branch(name))
    if entry is not None and entry.path.exists():
        Worktree.registered(place.repository, entry.path).set_entries(files)
        for path, content in files.items():
            hostile.write(entry.path, path, content, attic=place.repository.make_state_dir("attic"))


def approve_task(place: Place, task: Task, ask: Ask, command: str) -> None:
    """What a pushed task runs, or widens, needs one approval on this machine. Raises NeedsPerson when nobody gives it; `command` is to be run again then."""
    text = model.approval_text(task)
    if not text or place.approvals.approved(place.repository.common_dir, text):
        return
    if not ask(
        text, f"The task '{task.name}' was started elsewhere and brings these options. Allow exactly this here?"
    ):
        raise NeedsPerson(
            f"the options of '{task.name}' need your approval on this machine first",
            f"git autonomous {command} {task.name}    # in a terminal, where it can show them and ask",
        )
    place.approvals.approve(place.repository.common_dir, text)


def ensure_worktree(place: Place, task: Task, screen: Screen) -> Worktree:
    """The task's worktree, made again where it was moved, deleted or pruned. The task's lock is held."""
    repository, branch = place.repository, place.branch(task.name)

    def people() -> str | None:
        return task.base_commit if base_of_people(place, task) else None

    entry = repository.worktree_of(branch)
    if entry is not None and entry.path.exists():
        if entry.path == repository.main_root:
            raise AutonomousError(
                f"{branch} is checked out in your own checkout, {entry.path}",
                f"git -C {entry.path} switch {task.base} && git autonomous resume {task.name}",
            )
        worktree = Worktree.registered(repository, entry.path)
        worktree.drop_stale_locks()
        if not worktree.index.exists():
            worktree.populate(people())
        return worktree
    if entry is not None:
        repository.remove_worktree(entry.path)
    path = repository.worktree_path(task.name, place.settings.worktree_root)
    there = next((entry for entry in repository.worktrees() if entry.path == path and path.exists()), None)
    if there is not None:
        worktree = Worktree.registered(repository, path)
        worktree.drop_stale_locks()  # they would stop what the hint says
        what = worktree.unfinished()
        on = model.one_line((there.branch or "no branch").removeprefix("refs/heads/"), 80)
        raise NeedsPerson(
            f"the worktree of '{task.name}' is "
            + (f"in the middle of a {what}" if what else f"on {on}, not on {branch}"),
            f"git -C {path} status" if what else f"git -C {path} switch {branch}",
        )
    if os.path.lexists(path):
        raise AutonomousError(f"{path} exists, but is not the worktree of '{task.name}'", f"mv {path} {path}.old")
    worktree = backup.add_worktree(repository, place.objects, task.name, branch, path, screen.note, people=people())
    screen.note(f"worktree {path} made" + (" again" if entry is not None else ""))
    return worktree


def workspace_of(place: Place, task: Task, worktree: Worktree, engine: codex.Codex) -> Workspace:
    return Workspace(
        repository=place.repository,
        objects=place.objects,
        task=task,
        branch=place.branch(task.name),
        worktree=worktree,
        settings=place.settings,
        codex=engine,
        identity=place.repository.identity(),
        approvals=place.approvals,
    )


def with_absolute_paths(workspace: Workspace) -> Workspace:
    """The same for a process that leaves the folder that its user stands in."""
    templates = workspace.settings.templates
    absolute = os.path.abspath(os.path.expanduser(templates)) if templates else None
    return replace(workspace, settings=replace(workspace.settings, templates=absolute))


def run(
    workspace: Workspace,
    request: Request,
    screen: Screen,
    lock: Held,
    publish: Publish | None = None,
    *,
    untouched: bool = False,
) -> Next | None:
    """Run sessions until there is a reason to stop, with the task's lock. None: a detached runner took over. `publish`, `untouched`: as in Runner."""
    if request.detach:
        workspace = with_absolute_paths(workspace)
    options, settings = workspace.task.options, workspace.settings
    given = {key for key, value in request.flags.items() if value is not None}
    limits = Limits(
        sessions=settings.max_sessions if "max_sessions" in given else options.max_sessions,
        tokens=settings.max_tokens if "max_tokens" in given else options.max_tokens,
        seconds=settings.max_time if "max_time" in given else options.max_time,
        failures=settings.max_failures,
        idle=settings.max_idle,
        tickless=settings.max_unticked,
        auto_continue=request.auto_continue,
        plan=request.plan,
    )
    return Runner(
        workspace,
        limits,
        screen,
        lock,
        delay=workspace.settings.delay,
        resume_last=request.resume_last,
        untouched=untouched,
        signs=Signs(sys.stderr, bell=settings.bell and not request.quiet, title=settings.title and not request.quiet),
        account=Account(config.state_directory(os.environ), codex.home()),
        eager=not request.patient,
        detached=request.detach,
        publish=publish,
    ).run()


# -- looking -------------------------------------------------------------------------------------------------------------------------------------


def status(place: Place, name: str) -> dict[str, object]:
    """One task in full, as the JSON object of `list` with its goal, items, sessions, checks and options."""
    name = known_task(place, name)
    task = look_up(place, name)
    if conflicts.UNKNOWN in (task["conflicts"] or ()):
        forecast.try_refresh(place.repository, place.objects, place.settings.branch_prefix)
        task = look_up(place, name)
    known = listing.to_json(task)
    tip = str(task["tip"])
    content = place.objects.read(tip, f".autonomous/{name}/task_list.md") or b""
    listed = checklist.parse(content.decode("utf-8", "replace"))
    doing = activity.now(place.repository.task_dir(name)) if known["state"] == states.RUNNING else None
    known["activity"] = doing and {
        "session": doing.session,
        "action": doing.action,
        "began": model.iso(doing.began),
        "since": model.iso(doing.since),
    }
    known["items"] = [
        {"text": item.text, "done": item.done, "note": item.note, "phase": item.phase, "depth": item.depth}
        for item in listed.items
    ]
    known["proposed"] = list(listed.proposed)
    known["failed_check"] = failed.to_json() if (failed := failed_check(place, known)) is not None else None
    try:
        described = read_task(place, name)
        past = read_history(place.objects, tip, described)
    except AutonomousError as error:
        return known | {"goal": None, "checks": [], "sessions_run": [], "problem": error.message}
    known["goal"] = described.goal
    known["checks"] = list(described.checks)
    known["created"] = described.created
    previous: frozenset[str] = frozenset()
    sessions = []
    for commit, record in past.sessions:
        done = ticked_texts(place, commit.oid, name)
        sessions.append(
            {
                "number": record.number,
                "role": record.role,
                "outcome": record.outcome,
                "commit": commit.oid,
                "subject": commit.message.partition("\n")[0],
                "ticked": sorted(done - previous),
                "done": record.done,
                "total": record.total,
                "check": record.check,
                "tokens": record.tokens,
                "seconds": record.seconds,
                "thread": record.thread or None,
                "restored": list(record.restored),
                "excluded": list(record.excluded),
                "at": model.iso(commit.time),
            }
        )
        previous = done
    known["sessions_run"] = sessions
    return known


def failed_check(place: Place, task: Mapping[str, object]) -> checks.CheckResult | None:
    """The check that fails on the newest commit of a task, given as `list --json` has it; None where none does, or this machine did not run it."""
    name = str(task["name"])
    if task["check"] in ("passed", "none"):
        return None
    return checks.failed_on(place.repository.task_dir(name), place.objects.commit(place.tip(name)).tree)


def ticked_texts(place: Place, commit: str, name: str) -> frozenset[str]:
    content = place.objects.read(commit, f".autonomous/{name}/task_list.md") or b""
    return frozenset(item.text for item in checklist.parse(content.decode("utf-8", "replace")).items if item.done)


def transcripts(place: Place, name: str) -> list[Path]:
    """The transcripts of a task on this machine, oldest first."""
    folder = place.repository.task_dir(known_task(place, name)) / "sessions"
    return sorted(folder.glob("*.jsonl")) if folder.is_dir() else []
