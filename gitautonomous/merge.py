"""Merging tasks into their bases: look, decide, build, check, move, clear away.

`look` works everything out in memory. `decide` is pure: from what was seen and what was asked for it makes a plan or a refusal. Then the commit is built in a throw-away
worktree, where the user's commit hooks run first and the checks after them: what an agent wrote must not have run there before a hook does. Only then the base moves, in one
step, and the task is cleared away. Up to that step nothing has changed but objects that no ref reaches; after it everything else can be repeated.
"""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

from . import (
    absorbed,
    backup,
    checklist,
    checks,
    codex,
    conflicts,
    forecast,
    hazards,
    locks,
    model,
    moving,
    ready,
    removal,
    replay,
    states,
    threeway,
)
from .checks import CheckResult
from .errors import AutonomousError, Interrupted, NeedsPerson, UsageError
from .git import Worktree, last_words, text
from .model import Task, one_line
from .moving import Checkout
from .removal import Say
from .runs import Change, Hazard
from .tasks import Ask, Place, approve_task, bases, known_task, listed, look_up, of_people, read_task, workspace_of
from .workspace import remove_tree

MERGE, SQUASH, REBASE, FF_ONLY = "merge", "squash", "rebase", "ff-only"
TEMPORARY = ".merge-"
LISTED_ITEMS = 30
MESSAGE_HOOKS = ("prepare-commit-msg", "commit-msg")


@dataclass(frozen=True)
class Wish:
    """What was asked for. `force`: why an unfinished task is merged all the same; `into`: another branch than the task's base; `message`: in place of ours."""

    style: str = MERGE
    force: str | None = None
    reviewed: bool = False
    message: str | None = None
    into: str | None = None


@dataclass(frozen=True)
class Situation:
    """Everything that a merge depends on, as it is now. `tree`: the result's; `steps`: of a rebase; `absorbed`: how the base has it already;
    `in_the_way`: files of the base's checkout with work in them; `after`: in a dry run, the task that is planned to go into the base before."""

    task: Task
    base: str
    base_tip: str
    tip: str
    done: int
    total: int
    check: str
    keep_tracking: bool
    ahead: bool
    tree: str
    steps: tuple[replay.Step, ...] = ()
    conflicts: tuple[str, ...] = ()
    absorbed: str | None = None
    changes: tuple[Change, ...] = ()
    hazards: tuple[Hazard, ...] = ()
    checkout: Checkout | None = None
    in_the_way: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    sessions: int = 0
    models: tuple[str, ...] = ()
    after: str | None = None


@dataclass(frozen=True)
class Plan:
    """What will be done."""

    situation: Situation
    style: str
    message: str

    def lines(self) -> list[str]:
        """The plan for people, before anything is done."""
        s = self.situation
        if s.absorbed is not None:
            how = "all of it" if s.absorbed == "contained" else s.absorbed
            return [
                f"{s.task.name} is in {s.base} already ({how}): {s.base} stays, and the task's branch and worktree go"
            ]
        how = {
            MERGE: "a merge commit", SQUASH: "one commit", REBASE: f"{len(s.steps)} commits on top", FF_ONLY: "fast-forward",
        }[self.style]  # fmt: skip
        at = f"after {s.after}" if s.after is not None else s.base_tip[:10]
        found = [f"{s.task.name} into {s.base} ({at}): {how}, {count(len(s.changes), 'changed file')}"]
        found += [f"check: {command}" for command in s.task.checks]
        found += [f"runs on this machine afterwards: {hazard.path} ({hazard.why})" for hazard in s.hazards]
        where = f"in {s.checkout.path}" if s.checkout is not None else "which is checked out nowhere"
        found.append(f"then {s.base} moves, {where}, and the task's branch and worktree go")
        return found


@dataclass(frozen=True)
class Done:
    """A task that is in its base now. `commit`: what the base moved to, None when it had everything; `kept`: the ref of the task's tip, None while the task stays."""

    task: str
    base: str
    how: str
    commit: str | None
    kept: str | None


@dataclass(frozen=True)
class Rehearsal:
    """A dry run, in which each task is planned on top of those before it. `show` is given the plan's lines; `planned`: for each base, what it would be then (its
    commit, which no ref reaches, and the task)."""

    show: Callable[[str], None]
    planned: dict[str, tuple[str, str]] = field(default_factory=dict)

    def note(self, place: Place, plan: Plan) -> None:
        s = plan.situation
        for line in plan.lines():
            self.show(line)
        if s.absorbed is None:
            parents = [s.base_tip, s.tip] if plan.style == MERGE else [s.base_tip]
            identity = place.repository.identity()
            commit = place.objects.write_commit(None, plan.message, s.tree, parents, identity=identity)
            self.planned[s.base] = commit, s.task.name


class Conflicts(NeedsPerson):
    """A task conflicts with its base."""


@dataclass(frozen=True)
class SetAside:
    """A task that was not merged, and why."""

    task: str
    error: AutonomousError


# -- look ----------------------------------------------------------------------------------------------------------------------------------------


def look(place: Place, name: str, wish: Wish, rehearsal: Rehearsal | None = None) -> Situation:
    """Work out in memory what a merge would be, in a `rehearsal` after those before it. Raises AutonomousError for a base that is not here, NeedsPerson for a rebase that conflicts."""
    repository, objects = place.repository, place.objects
    task = read_task(place, name)
    base = wish.into or task.base
    known = look_up(place, name)
    planned = rehearsal.planned.get(base) if rehearsal is not None else None
    tip, (base_tip, after) = str(known["tip"]), planned or (tip_of_base(place, task, base), None)
    keep = place.settings.keep_tracking
    situation = Situation(
        task=task,
        base=base,
        base_tip=base_tip,
        tip=tip,
        done=known["done"],
        total=known["total"],
        check=known["check"],
        keep_tracking=keep,
        ahead=not objects.is_ancestor(base_tip, tip),
        tree=objects.commit(base_tip).tree,
        after=after,
    )
    if objects.is_ancestor(tip, base_tip):
        return replace(situation, absorbed="merged")
    situation = _with_result(place, situation, wish)
    if situation.conflicts or situation.tree == objects.commit(base_tip).tree:
        found = absorbed.how(repository, objects, name, tip, base_tip)
        situation = replace(situation, absorbed=found or (None if situation.conflicts else "contained"))
    changes = threeway.changes(repository, objects, base_tip, situation.tree)
    checkout = moving.checkout_of(repository, base)
    return replace(
        with_record(place, situation),
        changes=changes,
        hazards=hazards.of_changes(repository, changes),
        checkout=checkout,
        in_the_way=tuple(moving.in_the_way(repository, checkout, changes)) if checkout is not None else (),
    )


def with_record(place: Place, situation: Situation) -> Situation:
    """The situation with what the message tells: the items that are done, and who worked on them."""
    objects, task, tip = place.objects, situation.task, situation.tip
    items = checklist.parse((objects.read(tip, task.list_file) or b"").decode("utf-8", "replace")).items
    records = [model.read_session(commit.message, task.name) for commit in objects.history(tip, task.base_commit)]
    sessions = [record for record in records if record is not None and record.number > 0]
    return replace(
        situation,
        items=tuple(one_line(item.text, 300) for item in items if item.done),
        sessions=len(sessions),
        models=tuple(dict.fromkeys(record.assisted_by for record in reversed(sessions) if record.assisted_by)),
    )


def tip_of_base(place: Place, task: Task, base: str) -> str:
    """The commit of the local branch that a task goes into. Raises AutonomousError when it is only on a remote, or nowhere."""
    local, *remote = bases(place, base)
    tip = place.objects.tip(local)
    if tip is not None:
        return tip
    there = [ref.removeprefix("refs/remotes/") for ref in remote if place.objects.tip(ref) is not None]
    if there:
        branch_there = there[0].partition("/")[2]
        raise AutonomousError(
            f"the base of '{task.name}' is only on a remote here, as {there[0]}",
            f"git autonomous pr {task.name}    # or, to merge it here: git branch {branch_there} {there[0]} && git autonomous merge --into {branch_there} {task.name}",
        )
    raise AutonomousError(
        f"the base of '{task.name}', {base}, is gone",
        f"git autonomous merge --into {place.repository.head_branch() or 'main'} {task.name}",
    )


def _with_result(place: Place, situation: Situation, wish: Wish) -> Situation:
    """The tree that the base would get, and what conflicts."""
    repository, objects, s = place.repository, place.objects, situation
    if wish.style == FF_ONLY:
        return replace(s, tree=objects.commit(s.tip).tree)
    if wish.style == REBASE:
        hint = f"git autonomous merge --squash {s.task.name}"
        steps = replay.replay(repository, s.task, s.tip, s.base_tip, tracking=s.keep_tracking, hint=hint)
        return replace(s, steps=steps, tree=steps[-1].tree if steps else s.tree)
    theirs = s.tip if s.keep_tracking else absorbed.plain_tip(repository, objects, s.task.name, s.tip, s.base_tip)
    merged = threeway.merge(repository, s.base_tip, theirs)
    return replace(s, tree=merged.tree, conflicts=merged.conflicts)


# -- decide: pure --------------------------------------------------------------------------------------------------------------------------------


def decide(situation: Situation, wish: Wish) -> Plan:
    """The plan. Raises AutonomousError or NeedsPerson for a merge that must not be; the gate for what runs on this machine is `refuse_unreviewed`."""
    s = situation
    name = s.task.name
    if wish.force is not None and not wish.force.strip():
        raise UsageError(
            "--force needs a reason, which the message keeps", f'git autonomous merge --force "WHY" {name}'
        )
    if wish.style == FF_ONLY:
        _refuse_fast_forward(s, wish)
    if wish.force is None and s.absorbed != "merged":
        refuse_unfinished(name, (s.done, s.total), s.check, f'git autonomous merge --force "WHY" {name}')
    if s.absorbed is None:
        if s.conflicts:
            after = f" after {s.after}" if s.after is not None else ""
            raise Conflicts(
                f"'{name}' conflicts with {s.base}{after} in {moving.shown(s.conflicts)}",
                f"git autonomous merge --resolve {name}",
            )
        if s.in_the_way:
            assert s.checkout is not None
            raise moving.refusal(s.base, s.checkout, s.in_the_way)
    return Plan(s, wish.style, message(s, wish))


def _refuse_fast_forward(s: Situation, wish: Wish) -> None:
    name = s.task.name
    if wish.force is not None or wish.message is not None:
        raise UsageError(
            "--ff-only takes the commits as they are: there is no message to keep a reason or a text in",
            f"git autonomous merge {name}",
        )
    if not s.keep_tracking:
        raise AutonomousError(
            f"--ff-only would bring {s.task.directory}/ into {s.base}, where it is not to stay",
            f"git config autonomous.keepTracking true && git autonomous merge --ff-only {name}",
        )
    if s.ahead:
        raise AutonomousError(
            f"{s.base} has commits that '{name}' has not, so it cannot be fast-forwarded",
            f"git autonomous sync --rebase {name} && git autonomous merge --ff-only {name}",
        )


def refuse_unfinished(name: str, progress: tuple[int, int], check: str, all_the_same: str) -> None:
    """Raise AutonomousError for a task with items left (`progress`: done, total), NeedsPerson for one whose checks fail. `all_the_same`: the command that takes it as it is."""
    done, total = progress
    go_on = f"git autonomous resume {name}    # or, as it is: {all_the_same}"
    if not total:
        raise AutonomousError(f"'{name}' has no task list yet", go_on)
    if done < total:
        raise AutonomousError(f"'{name}' is not finished: {states.items_done(done, total)}", go_on)
    if check == "failed":
        raise NeedsPerson(f"the checks of '{name}' fail", go_on)


def refuse_unreviewed(plan: Plan, wish: Wish, ask: Ask) -> None:
    """Raise NeedsPerson when the merge brings what runs on this machine, and nobody has looked at it."""
    found, name = plan.situation.hazards, plan.situation.task.name
    if not found or wish.reviewed:
        return
    shown = "\n".join(f"{hazard.path}: {hazard.why}" for hazard in found)
    if not ask(shown, f"'{name}' changes what runs on your machine. Merge it?"):
        raise NeedsPerson(
            f"'{name}' changes what runs on your machine: {moving.shown([hazard.path for hazard in found])}",
            f"git autonomous review {name}    # then: git autonomous merge --reviewed {name}",
        )


def message(s: Situation, wish: Wish) -> str:
    """The message of the merge commit, or of the one commit of a squash: the goal, what was done, and who did it."""
    name = s.task.name
    trailers = [f"Autonomous-Merged: {name}", f"Autonomous-Sessions: {s.sessions}"]
    if wish.force is not None:
        trailers.append(f"Autonomous-Forced: {one_line(wish.force, 500)}")
    trailers += [f"Assisted-by: {one_line(each, 80)}" for each in s.models]
    if wish.message is not None:
        return f"{wish.message.strip()}\n\n" + "\n".join(trailers) + "\n"
    subject = one_line(f"{'Merge ' if wish.style == MERGE else ''}{name}: {s.task.goal}", 72)
    goal = model.neutralise(s.task.goal)
    body = goal if goal not in subject else ""
    ticked = "\n".join(f"- [x] {item}" for item in s.items[:LISTED_ITEMS])
    more = f"\n- [x] and {len(s.items) - LISTED_ITEMS} more" if len(s.items) > LISTED_ITEMS else ""
    return "\n\n".join(part for part in (subject, body, ticked + more, "\n".join(trailers)) if part) + "\n"


def with_reason(text: str, reason: str) -> str:
    """A commit's message with the reason of a forced merge as its last trailer."""
    plain = text.rstrip()
    end = "\n" if plain.rpartition("\n\n")[2].startswith("Autonomous-") else "\n\n"
    return f"{plain}{end}Autonomous-Forced: {one_line(reason, 500)}\n"


def count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


# -- build ---------------------------------------------------------------------------------------------------------------------------------------


@contextmanager
def throw_away_worktree(place: Place, plan: Plan, say: Say) -> Iterator[Worktree]:
    """A detached worktree at the base, made ready like a task's own; gone at the end.

    Setup commands run on the base's files; only where the merge brings what runs here, and somebody agreed to that, do they run on the result (`finish_setup`).
    """
    repository, s = place.repository, plan.situation
    path = repository.worktree_path(f"{TEMPORARY}{s.task.name}-{os.getpid()}", place.settings.worktree_root)
    try:
        worktree = repository.add_worktree(path, s.base_tip, people=None if offline(place, s) else s.base_tip)
        ready.fill_submodules(repository, worktree, timeout=place.settings.setup_timeout)
        patterns = place.objects.read(s.base_tip, ready.INCLUDE_FILE)
        source = repository.toplevel or (None if repository.is_bare else repository.main_root)
        if patterns is not None and source is not None:
            ready.copy_included(repository, source, path, patterns)
        if not s.hazards:
            _set_up(place, s.task, path, say)
        yield worktree
    finally:
        with moving.unbroken():
            discard(place, path)


def offline(place: Place, s: Situation) -> bool:
    """Whether git-lfs is to ask no server: of what comes to people's branches somebody has seen `.lfsconfig`, of another task's branch nobody has."""
    return not of_people(place, s.base)


def discard(place: Place, path: Path) -> None:
    """Take a throw-away worktree away. The pointer to its git dir is not believed: a check may have replaced it."""
    remove_tree(path)
    with place.repository.lock():
        place.repository.call("worktree", "remove", "--force", "--force", "--", str(path))
    with_parent = path.parent
    if with_parent.is_dir() and not any(with_parent.iterdir()):
        with_parent.rmdir()


def _set_up(place: Place, task: Task, path: Path, say: Say) -> None:
    log = place.repository.make_state_dir("tasks", task.name) / "setup.log"
    ready.run_setup(place.settings.setup, path, log, timeout=place.settings.setup_timeout, say=say)


def runs_nothing(place: Place, plan: Plan, engine: codex.Codex | None) -> bool:
    """Whether no check, setup command or hook would look at the files of the result, so that they need not be laid out."""
    hooks = {MERGE: ("pre-merge-commit", *MESSAGE_HOOKS), SQUASH: ("pre-commit", *MESSAGE_HOOKS)}.get(plan.style, ())
    folder = Path(moving.user_hooks(place.repository)[1].partition("=")[2])
    elsewhere = not folder.is_absolute() or any(key.startswith("hook.") for _, key, _ in place.repository.config())
    there = any((folder / name).exists() for name in hooks)
    return engine is None and not place.settings.setup and not (hooks and (elsewhere or there))


def build(place: Place, plan: Plan, wish: Wish, worktree: Worktree | None, say: Say) -> str:
    """Make the commit that the base is to move to, with the user's hooks and signature. `worktree` is None where nothing runs. Raises AutonomousError when a hook refuses."""
    s = plan.situation
    if plan.style == FF_ONLY:
        commit = s.tip
    elif plan.style == REBASE:
        commit = _build_steps(place, s, wish)
    else:
        if worktree is None:
            text_of_it = plan.message.encode("utf-8", "surrogateescape")
            tree, written = s.tree, place.repository.run("stripspace", input=text_of_it)
        else:
            tree, written = _through_hooks(place, plan, worktree, say)
        commit = commit_tree(place, tree, [s.base_tip, s.tip] if plan.style == MERGE else [s.base_tip], written, {})
    if worktree is not None:
        worktree.restore(place.objects.commit(commit).tree, offline=offline(place, s))
        worktree.run("update-ref", "--no-deref", "HEAD", commit)
    return commit


def _through_hooks(place: Place, plan: Plan, worktree: Worktree, say: Say) -> tuple[str, str]:
    """(tree, message) after the hooks that git itself would run."""
    s, merging = plan.situation, plan.style == MERGE
    worktree.run("read-tree", "--reset", "-u", "--no-recurse-submodules", s.tree, offline=offline(place, s))
    _run_hook(place, worktree, "pre-merge-commit" if merging else "pre-commit", (), say)
    file = worktree.git_dir / "MERGE_MSG"
    file.write_text(plan.message, errors="surrogateescape")
    if merging:
        (worktree.git_dir / "MERGE_HEAD").write_text(f"{s.tip}\n")
    for hook in MESSAGE_HOOKS:
        source = (("merge" if merging else "squash"),) if hook == "prepare-commit-msg" else ()
        _run_hook(place, worktree, hook, (str(file), *source), say)
    written = worktree.run("stripspace", input=file.read_bytes())
    if not written.strip():
        raise AutonomousError("the hooks left an empty message", f"git autonomous merge -m 'TEXT' {s.task.name}")
    for name in ("MERGE_HEAD", "MERGE_MSG"):
        (worktree.git_dir / name).unlink(missing_ok=True)
    return worktree.run("write-tree").strip(), written


def _build_steps(place: Place, s: Situation, wish: Wish) -> str:
    """The commits of a rebase: with their authors, and signed as the user signs, but without hooks, as `git rebase` has it."""
    at = s.base_tip
    for step in s.steps:
        facts = place.repository.run("show", "-s", "--format=%an%x00%ae%x00%ad", "--date=raw", step.commit.oid)
        name, mail, date = facts.rstrip("\n").split("\0")
        author = {"GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": mail, "GIT_AUTHOR_DATE": date}
        written = step.commit.message
        if wish.force is not None and step is s.steps[-1]:
            written = with_reason(written, wish.force)
        at = commit_tree(place, step.tree, [at], written, author)
    return at


def commit_tree(place: Place, tree: str, parents: Sequence[str], written: str, author: dict[str, str]) -> str:
    """Write a commit, signed where the user signs. `author`: the variables of git that name another one, or another date."""
    name, _, mail = place.repository.identity().rpartition(" <")
    who = {"NAME": name, "EMAIL": mail.rstrip(">")}
    extra = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()}
    arguments = [word for parent in parents for word in ("-p", parent)]
    done = place.repository.call(
        "commit-tree", *(["-S"] if _signs(place) else []), *arguments, "-F", "-", tree,
        input=written.encode("utf-8", "surrogateescape"), extra={**extra, **author},
    )  # fmt: skip
    if done.returncode:
        raise AutonomousError(
            f"the commit could not be made: {last_words(done.stderr)}", "git config --get-regexp '^(gpg|user|commit)'"
        )
    return text(done.stdout).strip()


def _signs(place: Place) -> bool:
    values = [value.lower() for _, key, value in place.repository.config() if key == "commit.gpgsign"]
    return bool(values) and values[-1] in ("true", "yes", "on", "1", "")


def _run_hook(place: Place, worktree: Worktree, name: str, arguments: Sequence[str], say: Say) -> None:
    """Run one of the user's hooks as git would, if there is one. Raises AutonomousError when it refuses."""
    done = worktree.call(
        *moving.user_hooks(place.repository), "hook", "run", "--ignore-missing", name, *(("--", *arguments) if arguments else ()),
        extra={"GIT_INDEX_FILE": str(worktree.git_dir / "index"), "GIT_EDITOR": ":"},
    )  # fmt: skip
    if done.returncode:
        for line in text(done.stdout + done.stderr).strip().splitlines()[-20:]:
            say(f"{name}: {line}")
        folder = moving.user_hooks(place.repository)[1].partition("=")[2]
        raise AutonomousError(
            f"your {name} hook refused the merge (exit status {done.returncode})",
            f"cat {shlex.quote(f'{folder}/{name}')}",
        )


# -- check ---------------------------------------------------------------------------------------------------------------------------------------


def engine_for_checks(place: Place, task: Task, ask: Ask) -> codex.Codex | None:
    """The Codex whose sandbox the checks run in, tried out; None for a task without checks. Raises AutonomousError, NeedsPerson without an approval."""
    if not task.checks:
        return None
    approve_task(place, task, ask, "merge")
    engine = codex.find(place.settings.codex, outside=place.repository.toplevel)
    if not task.options.network:
        codex.canary(engine, main_root=place.repository.main_root, directory=place.repository.make_state_dir("cache"))
    return engine


def run_checks(place: Place, plan: Plan, wish: Wish, worktree: Worktree, engine: codex.Codex, say: Say) -> None:
    """Run the task's checks on what the worktree holds, in the agent's own sandbox. Raises NeedsPerson when one fails, unless the merge is forced."""
    task = plan.situation.task
    workspace = workspace_of(place, task, worktree, engine)
    results = checks.run_checks(workspace, lambda command: say(f"check: {command}"), lambda: False) or ()
    failed = next((result for result in results if not result.passed), None)
    if failed is None:
        return
    log = _log(workspace.directory / "merge.log", results)
    why = (
        f"{one_line(failed.command, 120)} ({'out of time' if failed.timed_out else f'exit status {failed.returncode}'})"
    )
    if wish.force is None:
        raise NeedsPerson(f"a check fails on the result of the merge: {why}", f"cat {shlex.quote(str(log))}")
    say(f"a check fails on the result of the merge: {why}; see {log}")


def _log(path: Path, results: Sequence[CheckResult]) -> Path:
    """What the checks printed, for the person to read."""
    parts = [f"$ {result.command}\n{result.tail.rstrip()}\n[exit status {result.returncode}]\n" for result in results]
    path.write_text("\n".join(parts), errors="surrogateescape")
    return path


# -- the whole -----------------------------------------------------------------------------------------------------------------------------------


def merge_one(
    place: Place, name: str, wish: Wish, ask: Ask, say: Say, *, dry_run: Rehearsal | None = None
) -> Done | None:
    """Merge one task, and clear it away; in a dry run nothing is done. Raises AutonomousError, and then nothing has changed."""
    repository = place.repository
    known_task(place, name)
    with ExitStack() as held:
        held.enter_context(backup.at_rest(repository, name))
        base = wish.into or read_task(place, name).base
        if base == place.branch(name):
            raise UsageError(f"'{name}' cannot be merged into itself", f"git autonomous merge {name}")
        stacked = base.removeprefix(place.settings.branch_prefix)
        if stacked != base and stacked in place.names():
            held.enter_context(backup.at_rest(repository, stacked))
        plan = decide(look(place, name, wish, dry_run), wish)
        s = plan.situation
        if dry_run is not None:
            dry_run.note(place, plan)
            return None
        if s.absorbed is not None:
            return Done(name, s.base, "was there already", None, clear_away(place, name, s.base_tip, say))
        refuse_unreviewed(plan, wish, ask)
        engine = engine_for_checks(place, s.task, ask)
        if runs_nothing(place, plan, engine):
            commit = build(place, plan, wish, None, say)
        else:
            with throw_away_worktree(place, plan, say) as worktree:
                commit = build(place, plan, wish, worktree, say)
                if s.hazards:
                    _set_up(place, s.task, worktree.path, say)
                if engine is not None:
                    run_checks(place, plan, wish, worktree, engine, say)
        with moving.unbroken():
            moving.advance(repository, s.base, s.base_tip, commit, reason=f"merge {name}", hooks=stacked == base)
            kept = clear_away(place, name, commit, say)
    how = {MERGE: "merge commit", SQUASH: "squashed", REBASE: "rebased", FF_ONLY: "fast-forward"}[plan.style]
    return Done(name, s.base, f"{how}, {count(len(s.changes), 'file')}", commit, kept)


def clear_away(place: Place, name: str, result: str, say: Say) -> str | None:
    """Take a task away that is in its base by the commit `result`, and return the ref of its tip; where that cannot be, say why and leave it: the merge is done."""
    try:
        removal.refuse_where_user_is(place, name)
        return removal.retire(place, name, result, say)
    except (AutonomousError, OSError) as error:
        say(f"'{name}' is merged, but its branch and worktree stay: {getattr(error, 'message', error)}")
        return None


def merge(
    place: Place, name: str, wish: Wish, ask: Ask, say: Say, *, dry_run: Rehearsal | None = None
) -> Done | SetAside | None:
    """Merge a task, or say why it was set aside; None after a dry run. Raises Interrupted, and AutonomousError when no task can be merged now."""
    place.repository.refuse_unsafe_filters()
    with _only_merge(place), _ended_by_signals(name):
        try:
            return merge_one(place, name, wish, ask, say, dry_run=dry_run)
        except Interrupted:
            raise
        except AutonomousError as error:
            return SetAside(name, error)


def mergeable(place: Place) -> list[str]:
    """The tasks that are finished, in the order that conflicts least; between equals the oldest first."""
    forecast.try_refresh(place.repository, place.objects, place.settings.branch_prefix)
    names = [
        str(task["name"])
        for task in sorted(listed(place), key=lambda task: (task["updated"], task["name"]))
        if task["state"] in (states.FINISHED, states.PAUSED)
        and 0 < task["total"] == task["done"]
        and task["check"] != "failed"
    ]
    _, found = conflicts.read(str(place.repository.common_dir))
    return order(names, [pair for pair in found if pair[1]], {name for name, other in found if not other})


def order(names: Sequence[str], pairs: Sequence[tuple[str, str]], against_base: Collection[str]) -> list[str]:
    """In which order to merge so that few conflict: those first that get along with the most, then those that conflict with one before them, last those that the
    base conflicts with already. The order of `names` decides between equals."""
    foes = {name: {other for pair in pairs if name in pair for other in pair if other != name} for name in names}
    waiting = [name for name in names if name not in against_base]
    ordered: list[str] = []
    spoiled: list[str] = []
    while waiting:
        best = min(waiting, key=lambda name: len(foes[name].intersection(waiting)))
        ordered.append(best)
        spoiled += [name for name in waiting if name in foes[best]]
        waiting = [name for name in waiting if name != best and name not in foes[best]]
    return [*ordered, *spoiled, *(name for name in names if name in against_base)]


@contextmanager
def _only_merge(place: Place) -> Iterator[None]:
    """One merge at a time; what an earlier one left behind when it died is cleared away."""
    path = str(place.repository.make_state_dir() / "merge.lock")
    descriptor = locks.open_lock(path)
    try:
        if not locks.try_lock(descriptor):
            raise AutonomousError("another merge is under way in this repository", f"fuser -v {shlex.quote(path)}")
        for entry in place.repository.worktrees():
            if entry.path.name.startswith(TEMPORARY) and entry.branch is None:
                discard(place, entry.path)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _ended_by_signals(name: str) -> Iterator[None]:
    """INT, TERM and HUP end a merge as an error does: what was begun is cleared away, and nothing has moved."""

    def end(number: int, _: FrameType | None) -> None:
        raise Interrupted(
            "the merge was interrupted; the task and its base are as they were",
            f"git autonomous merge {name}",
            signum=number,
        )

    previous = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
