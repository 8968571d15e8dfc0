"""doctor and demo: before the first task."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import show
from .common import AsJson, print_json

if TYPE_CHECKING:
    from ..doctor import Finding


def doctor(
    mend: Annotated[
        bool,
        typer.Option("--repair", help="First mend what a crash or a hand in the wrong place left of the tasks here."),
    ] = False,
    as_json: AsJson = False,
    remote: Annotated[
        str | None,
        typer.Option("--remote", metavar="REMOTE", help="Try out too whether a git remote is fit for a fleet."),
    ] = None,
) -> int:
    """Check git, Codex, its sandbox, your sign-in and this repository; each finding names the command that mends it."""
    from .. import doctor as examination

    findings = repaired() if mend else []
    findings += examination.examine_here(os.environ)
    if remote is not None:
        from .fleet import examine_remote

        findings += examine_remote(remote)
    if as_json:
        print_json({"schema": 1, "findings": [finding.to_json() for finding in findings]})
    else:
        sys.stdout.write(
            examination.report(findings, colour=show.colour(sys.stdout, os.environ), ascii=not show.unicode(sys.stdout))
        )
    return 1 if any(finding.ok is False for finding in findings) else 0


def repaired() -> list[Finding]:
    """What `doctor --repair` adds."""
    from .. import doctor as examination
    from .. import repair, tasks
    from ..screen import Screen

    with Screen(sys.stderr, quiet=True) as quiet:
        found = repair.repair(tasks.open_place({}, None), quiet)
    return found or [examination.Finding("repair", True, "the tasks here have nothing to mend")]


def demo(
    directory: Annotated[
        Path | None,
        typer.Option("--directory", metavar="DIR", help="Where to put it (default: a new temporary folder)."),
    ] = None,
) -> int:
    """See it work, offline, in half a minute: the real Codex with a scripted model builds a small program."""
    from .. import demo as performance

    return performance.run(directory)
