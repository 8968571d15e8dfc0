"""pr: a task goes to where others look at it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from .. import show
from .change import hint, say
from .common import ask


def pr(
    task: Annotated[str, typer.Argument(metavar="TASK")],
    remote: Annotated[
        str | None,
        typer.Option("--remote", metavar="NAME", help="Remote to push to (default: the one git would push to)."),
    ] = None,
    base: Annotated[
        str | None, typer.Option("--base", metavar="BRANCH", help="Branch it is for (default: the task's base).")
    ] = None,
    draft: Annotated[bool, typer.Option("--draft", help="Open it as a draft.")] = False,
    force: Annotated[
        str | None, typer.Option("--force", metavar="REASON", help="Offer an unfinished task; the text tells why.")
    ] = None,
    reviewed: Annotated[bool, typer.Option("--reviewed", help="What would run on a machine was looked at.")] = False,
    dry_run: Annotated[
        bool, typer.Option("-n", "--dry-run", help="Show plan, title and text, and do nothing.")
    ] = False,
) -> int:
    """Push a task's branch and open a pull request, with gh or glab where one is there."""
    from .. import pull_request
    from ..tasks import open_place

    place = open_place({}, None)
    wish = pull_request.Wish(remote=remote, base=base, draft=draft, force=force, reviewed=reviewed or dry_run)
    plan = pull_request.plan(place, task, wish, ask)
    if dry_run:
        for line in (*plan.lines(), "", plan.title, "", *plan.body.splitlines()):
            print(show.clean(line))
        return 0
    done = pull_request.carry_out(place, plan, interactive=sys.stdin is not None and sys.stdin.isatty(), say=say)
    if done.url is not None:
        print(f"{task}: {done.url}")
        return 0
    print(f"{task}: pushed to {plan.source.name} as {plan.branch}, for {plan.base}", flush=True)
    if done.address is not None:
        hint(f"open {done.address}")
    return 0
