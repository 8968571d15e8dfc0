"""merge, sync, remove, restore and prune: what changes branches."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from .. import show
from ..errors import AutonomousError

Names = Annotated[list[str], typer.Argument(metavar="TASK...")]
OneName = Annotated[str, typer.Argument(metavar="TASK")]


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
