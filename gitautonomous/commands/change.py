"""merge, sync, remove, restore and prune: what changes branches."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from .. import show
from ..errors import AutonomousError, Interrupted, NeedsPerson, UsageError
from .common import ask

if TYPE_CHECKING:
    from ..merge import SetAside
    from ..tasks import Place

Names = Annotated[list[str], typer.Argument(metavar="TASK...")]
OneName = Annotated[str, typer.Argument(metavar="TASK")]


def merge(
    tasks: Annotated[list[str] | None, typer.Argument(metavar="TASK...")] = None,
    squash: Annotated[bool, typer.Option("--squash", help="One commit instead of a merge commit.")] = False,
    rebase: Annotated[bool, typer.Option("--rebase", help="The task's commits on top of the base.")] = False,
    ff_only: Annotated[bool, typer.Option("--ff-only", help="The task's commits as they are, or not at all.")] = False,
    into: Annotated[str | None, typer.Option("--into", metavar="BRANCH", help="Another branch than the base.")] = None,
    text: Annotated[
        str | None, typer.Option("-m", "--message", metavar="TEXT", help="Message of the merge in place of ours.")
    ] = None,
    force: Annotated[
        str | None, typer.Option("--force", metavar="REASON", help="Merge an unfinished task; the message keeps why.")
    ] = None,
    reviewed: Annotated[bool, typer.Option("--reviewed", help="What would run on this machine was looked at.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="All finished tasks, those first that conflict least.")
    ] = False,
    resolve: Annotated[
        bool, typer.Option("--resolve", help="Have a conflict resolved by Codex sessions first.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("-n", "--dry-run", help="Show the plan and do nothing.")] = False,
) -> int:
    """Merge finished tasks into their bases: the result is checked first, then the base moves in one step."""
    from .. import merge as merging
    from ..tasks import open_place

    styles = [
        style
        for style, given in ((merging.SQUASH, squash), (merging.REBASE, rebase), (merging.FF_ONLY, ff_only))
        if given
    ]
    if len(styles) > 1:
        raise UsageError(f"--{styles[0]} and --{styles[1]} exclude each other", "git autonomous merge -h")
    if tasks and everything:
        raise UsageError("TASK and --all exclude each other", "git autonomous merge -h")
    if not tasks and not everything:
        raise UsageError("which task is to be merged?", "git autonomous list")
    wish = merging.Wish(
        style=styles[0] if styles else merging.MERGE, force=force, reviewed=reviewed, message=text, into=into
    )
    place = open_place({}, ask)
    names = list(dict.fromkeys(tasks)) if tasks else merging.mergeable(place)
    if not names:
        print("Nothing to merge: no task is finished.", file=sys.stderr)
    rehearsal = merging.Rehearsal(lambda line: print(show.one_line(line), flush=True)) if dry_run else None
    asking = nobody if everything else ask
    status = 0
    kept: list[str] = []
    for name in names:
        ended = merging.merge(place, name, wish, asking, say, dry_run=rehearsal)
        if (
            resolve
            and not dry_run
            and isinstance(ended, merging.SetAside)
            and isinstance(ended.error, merging.Conflicts)
        ):
            ended = resolved(place, name, into) or merging.merge(place, name, wish, asking, say)
        if ended is None:
            continue
        if isinstance(ended, merging.Done):
            moved = f" as {ended.commit[:10]}" if ended.commit is not None else ""
            print(f"{name}: in {ended.base}{moved} ({ended.how})", flush=True)
            kept += [name] * (ended.kept is not None)
            look_ahead(place)
        elif tasks and len(names) == 1:
            raise ended.error
        else:
            status = max(status, complain(ended.error), 3 if everything else 0)
    if kept:
        back = "brings the task back; the merge stays" if len(kept) == 1 else "brings one back; its merge stays"
        hint(f"git autonomous restore {kept[-1]}    # {back}")
    return status


def resolved(place: Place, name: str, into: str | None) -> SetAside | None:
    """Have the conflicts of a task resolved by its own sessions. Returns why that did not come to its end, None when it did."""
    from .. import merge as merging
    from .. import resolve, states, tasks
    from .run import screen_for

    try:
        marked = resolve.mark(place, name, into)
        if marked is None:
            return None
        say(f"'{name}' has {marked.base} with its conflicts marked; as it was before: git autonomous restore {name}")
        with screen_for(False) as screen:
            step = tasks.resume(name, tasks.Request(flags={}), ask, screen).step
        if step is None or step.state != states.FINISHED:
            reason = f": {step.reason}" if step is not None else ""
            raise NeedsPerson(f"the conflicts of '{name}' are not resolved{reason}", f"git autonomous resume {name}")
        resolve.refuse_marks(place, marked)
    except Interrupted:
        raise
    except AutonomousError as error:
        return merging.SetAside(name, error)
    return None


def nobody(text: str, question: str) -> bool:
    """Asked while many tasks are merged: one that needs an answer is set aside."""
    return False


def sync(
    task: OneName,
    by_merge: Annotated[bool, typer.Option("--merge", help="By a merge commit on the task's branch.")] = False,
    by_rebase: Annotated[bool, typer.Option("--rebase", help="By putting the task's commits onto the base.")] = False,
) -> int:
    """Bring what is new in the base into a task, between two sessions (autonomous.syncBy: merge or rebase)."""
    from .. import sync as syncing
    from ..tasks import open_place

    if by_merge and by_rebase:
        raise UsageError("--merge and --rebase exclude each other", "git autonomous sync -h")
    place = open_place({}, None)
    by = syncing.MERGE if by_merge else syncing.REBASE if by_rebase else place.settings.sync_by
    synced = syncing.sync(place, task, by)
    if not synced.news:
        print(f"{task}: has everything of {synced.base} ({synced.base_tip[:10]}) already")
        return 0
    how = "rebased onto" if synced.kept is not None else "merged"
    print(f"{task}: {how} {synced.base} ({synced.base_tip[:10]}), now at {synced.tip[:10]}", flush=True)
    look_ahead(place)
    if synced.kept is not None:
        hint(f"git autonomous restore {task}    # as it was before")
    hint(f"git autonomous resume {task}    # runs the checks on it")
    return 0


def look_ahead(place: Place) -> None:
    """Bring the forecast in step with what has moved."""
    from .. import forecast

    forecast.try_refresh(place.repository, place.objects, place.settings.branch_prefix)


def remove(tasks: Names) -> int:
    """Take tasks away, branch and worktree; everything but ignored files is kept and can be restored."""
    from .. import removal
    from ..tasks import open_place

    place = open_place({}, None)
    status = 0
    for name in dict.fromkeys(tasks):
        try:
            gone = removal.remove(place, name, say)
        except AutonomousError as error:
            if len(tasks) == 1:
                raise
            status = complain(error)
            continue
        print(f"{name}: removed, kept at {gone.kept}", flush=True)
        hint(f"git autonomous restore {name}")
    return status


def restore(
    task: OneName,
    number: Annotated[
        int | None, typer.Option("--number", min=1, metavar="N", help="The state to bring back (default: the newest).")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Show the states that are kept.")] = False,
) -> int:
    """Bring a task back as it was before it was removed, merged, replaced or changed by review."""
    from .. import removal
    from ..tasks import open_place

    place = open_place({}, None)
    if listed:
        rows = [
            (
                str(kept.number),
                "merged" if kept.merged else "backup",
                kept.tip[:10],
                "with uncommitted files" if kept.files else "",
                show.ago(kept.time, time.time()),
                place.objects.commit(kept.tip).message.partition("\n")[0],
            )
            for kept in removal.choices(place, task)
        ]
        sys.stdout.write(show.table(("number", "kept as", "commit", "", "from", "subject"), rows, width=None))
        return 0
    back = removal.restore(place, task, number, say)
    with_files = f", with its uncommitted files in {back.worktree}" if back.kept.files is not None else ""
    print(f"{task}: restored to {back.kept.tip[:10]}{with_files}")
    for path in back.left:
        say(f"its place is taken, so this stays where it is: {path}")
    if back.before is not None:
        hint(f"git autonomous restore {task} --number {back.before.rpartition('/')[2]}    # as it was until now")
    else:
        hint(f"git autonomous status {task}")
    return 0


def prune(
    dry_run: Annotated[bool, typer.Option("-n", "--dry-run", help="Only say what would be taken away.")] = False,
) -> int:
    """Take away every task whose work is in its base, also when it was squashed or rebased by hand or on a hosting site."""
    from .. import removal
    from ..tasks import open_place

    count = 0
    for gone in removal.prune(open_place({}, None), say, dry_run=dry_run):
        count += 1
        print(f"{gone.task}: {gone.why}" + (f", kept at {gone.kept}" if gone.kept else ""), flush=True)
    if not count:
        print("Nothing to prune.", file=sys.stderr)
    elif dry_run:
        hint("git autonomous prune")
    return 0


def say(text: str) -> None:
    """A note for people, on standard error."""
    print(show.one_line(text), file=sys.stderr, flush=True)


def hint(command: str) -> None:
    print(f"hint: {command}", file=sys.stderr, flush=True)


def complain(error: AutonomousError) -> int:
    """Tell a failure that does not end the command. Returns the exit status that it would have had."""
    say(f"error: {error.message}")
    if error.hint:
        hint(show.one_line(error.hint))
    return error.exit_status
