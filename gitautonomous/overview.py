"""`git autonomous list`: the table of all tasks. Light on purpose: it starts as fast as git itself."""

from __future__ import annotations

import gc
import os
import sys
import time

from . import listing, show
from .quick_git import Git


def show_list(common_dir: str, as_json: bool) -> int:
    """Print the tasks of the repository with this common git dir, as a table or as JSON."""
    gc.disable()  # thousands of small dicts that live until the end: collecting costs a tenth of the time and frees nothing

    now = time.time()
    git = Git(common_dir)
    settings = listing.settings(git)
    prefix = os.environ.get("GIT_AUTONOMOUS_BRANCH_PREFIX") or settings.get("autonomous.branchprefix", "autonomous/")
    found = listing.tasks(common_dir, prefix, now)
    if as_json:
        import json

        print(json.dumps({"schema": 1, "tasks": [listing.to_json(task) for task in found]}, indent=2))
    elif found:
        text = show.list_table(
            found,
            width=show.columns(sys.stdout, os.environ),
            colour=show.colour_of_output(sys.stdout, os.environ, settings),
            ascii=not show.unicode(sys.stdout),
            now=now,
        )
        if show.fits(text, sys.stdout):
            sys.stdout.write(text)
        else:
            from . import pager
            from .git import Repository

            pager.write(text, sys.stdout, Repository.discover())
    else:
        print('No tasks yet. Start one: git autonomous start "GOAL"', file=sys.stderr)
    sys.stdout.flush()
    return 0
