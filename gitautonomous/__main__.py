"""Entry: `list` without the heavy imports, everything else through cli."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run the command line in sys.argv and return the exit status."""
    from . import trusted
    from .errors import AutonomousError

    open_what_is_closed()
    os.environ["PATH"] = trusted.path(os.environ.get("PATH", os.defpath))
    if len(sys.argv) > 1 and sys.argv[1] == "list" and set(sys.argv[2:]) <= {"--json"}:
        from . import overview, quick_git

        common_dir = quick_git.find_common_dir()
        if common_dir is not None:
            try:
                status = overview.show_list(common_dir, "--json" in sys.argv)
                sys.stderr.flush()
                os._exit(status)  # nothing is open: taking thousands of tasks apart would cost a twentieth of the time
            except (OSError, AutonomousError):
                pass  # cli says in words what fails here; to import contextlib for that would take a tenth of the time
    from . import cli

    status = cli.main(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # Python would try once more at its end, and make that the status
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return status


def open_what_is_closed() -> None:
    """Give a standard stream that is closed to /dev/null, as git does: what is opened next would be taken for it, by us and by all that we start."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            os.dup2(descriptor, number)
            if descriptor != number:
                os.close(descriptor)
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
