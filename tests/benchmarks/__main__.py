"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from gitautonomous.errors import AutonomousError

from . import __doc__ as description
from . import looking, working
from .bench import Bench, Row
from .budgets import BUDGETS

Benchmark = Callable[[Bench], Iterator[Row]]
GROUPS: dict[str, Benchmark] = {
    "list-100": looking.list_few,
    "list-5000": looking.list_many,
    "start-up": looking.start_up,
    "hooks": looking.own_commits,
    "conflicts": looking.conflicts,
    "review": looking.review,
    "merge": looking.merge,
    "start": working.start,
    "close": working.close,
    "sessions": working.sessions,
    "transcript": working.transcript,
    "at-once": working.at_once,
    "recovery": working.recovery,
    "real": working.real,
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    parser.add_argument("--only", action="append", choices=GROUPS, metavar="NAME", help=", ".join(GROUPS))
    parser.add_argument("--short", action="store_true", help="smaller sizes and fewer rounds")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    began = time.monotonic()
    rows: list[Row] = []
    failures: list[tuple[str, str]] = []
    for name in options.only or GROUPS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        with Bench(short=options.short) as bench:
            try:
                for row in GROUPS[name](bench):
                    rows.append(row)
                    print(f"  {row.name}: {row.ratio:.2f}", file=sys.stderr, flush=True)
            except (AutonomousError, OSError, RuntimeError) as error:
                failures.append((name, str(error)))
                print(f"  failed: {error}", file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps(to_json(rows, failures, short=options.short, seconds=time.monotonic() - began), indent=2))
    else:
        print(table(rows, failures), end="")
    return 1 if failures or any(row.ok is False for row in rows) else 0


def to_json(rows: Sequence[Row], failures: Sequence[tuple[str, str]], *, short: bool, seconds: float) -> object:
    machine = {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }
    return {
        "schema": 1,
        "short": short,
        "seconds": round(seconds, 1),
        "machine": machine,
        "rows": [row.to_json() for row in rows],
        "failures": [{"name": name, "message": message} for name, message in failures],
    }


def table(rows: Sequence[Row], failures: Sequence[tuple[str, str]]) -> str:
    lines: list[tuple[str, ...]] = [("what", "ours", "denominator", "ratio", "budget", "ok", "denominator is")]
    for row in rows:
        budget = BUDGETS[row.name]
        limit = "" if budget.at_most is None else f"{budget.at_most:g}"
        verdict = {True: "yes", False: "MISSED", None: ""}[row.ok]
        what = budget.what.format(n=row.n)
        against = budget.against + (f"; {row.note}" if row.note else "")
        figures = [figure(value, budget.unit) for value in (row.ours, row.denominator)]
        lines.append((what, *figures, f"{row.ratio:.2f}", limit, verdict, against))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ""
    for what, *numbers, verdict, against in lines:
        cells = [
            what.ljust(widths[0]),
            *(number.rjust(width) for number, width in zip(numbers, widths[1:], strict=False)),
        ]
        text += "  ".join((*cells, verdict.ljust(widths[-2]), against)).rstrip() + "\n"
    return text + "".join(f"{name}: failed: {message}\n" for name, message in failures)


def figure(value: float, unit: str) -> str:
    if unit == "s":
        return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.0f} ms"
    return f"{value:.1f} MB" if unit == "MB" else f"{value:.0f}"


if __name__ == "__main__":
    sys.exit(main())
