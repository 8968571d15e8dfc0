"""hooks install, uninstall and status."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .. import show
from .common import AsJson, print_json

if TYPE_CHECKING:
    from ..hooks import Changed


def install() -> int:
    """Let git tell you where tasks stand, and keep you from harming one; hooks that are there already go on running, first."""
    from .. import hooks
    from ..tasks import open_place

    place = open_place({}, None)
    done = hooks.install(place.repository, place.settings.branch_prefix)
    if done.hooks:
        print(f"{len(done.hooks)} hook{'s' * (len(done.hooks) != 1)} written into {where(done)}")
    else:
        print(f"The hooks are in {where(done)} already.")
    for name in done.before:
        say(f"{name}: {done.folder.kept / name} runs first")
    if done.folder.in_tree:
        say(
            f"{done.folder.path} belongs to the project, so nothing was written there. Add this line at the end of its hooks yourself:"
        )
        print(f"    {hooks.LINE}")
        for file in done.files:
            say(f"    to {file}" + ("" if file.exists() else " (make it)"))
    told(done)
    return 0


def uninstall() -> int:
    """Take the hooks away, and give back what was there before them, byte for byte."""
    from .. import hooks
    from ..git import Repository

    done = hooks.uninstall(Repository.discover())
    if done.hooks:
        print(f"{len(done.hooks)} hook{'s' * (len(done.hooks) != 1)} taken away")
    else:
        print("There are no hooks of git autonomous here.")
    for name in done.before:
        say(f"{name}: what was there before is back")
    told(done)
    for file in done.files:
        say(f"still calls them, in vain: {file}")
    return 0


def status(as_json: AsJson = False) -> int:
    """Show which hooks are installed, and what runs before each."""
    from .. import hooks
    from ..tasks import open_place

    place = open_place({}, None)
    folder, found = hooks.status(place.repository, place.settings.branch_prefix)
    if as_json:
        listed = [
            {"name": hook.name, "state": hook.state, "before": str(hook.before) if hook.before else None}
            for hook in found
        ]
        facts = {"folder": str(folder.path), "hooks_path": folder.configured, "in_tree": folder.in_tree}
        print_json(
            {"schema": 1, **facts, "installed": all(hook.state == "installed" for hook in found), "hooks": listed}
        )
        return 0
    rows = [(hook.name, hook.state, str(hook.before or "")) for hook in found]
    sys.stdout.write(show.table(("hook", "state", "runs first"), rows, width=None))
    if any(hook.state == "waiting" for hook in found):
        say(f"waiting for this line in the project's own hooks: {hooks.LINE}")
    elif any(hook.state != "installed" for hook in found):
        print("hint: git autonomous hooks install", file=sys.stderr)
    return 0


def where(done: Changed) -> str:
    return show.one_line(str(done.written_to))


def told(done: Changed) -> None:
    for note in done.notes:
        say(note)


def say(text: str) -> None:
    print(show.clean(text), file=sys.stderr, flush=True)
