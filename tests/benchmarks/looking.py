"""Benchmarks of the commands that people type to look at something: listings and start-up."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from . import repositories
from .bench import Bench, Row, paired

BARE_APP = """\
import typer

app = typer.Typer()


@app.command()
def main(name: str = "world") -> None:
    print(name)


app()
"""


def list_few(bench: Bench) -> Iterator[Row]:
    """A hundred tasks that all ran here and have their worktrees; then with a person's commit on top of one of them."""
    for name in ("list-100", "list-100-by-hand"):
        by_hand = name.endswith("by-hand")
        repository = repositories.with_tasks(bench, name, 100, here=100, worktrees=100, by_hand=by_hand)
        ours, least = paired(bench.pick(30, 10), partial(_list, bench, repository), partial(_least, bench, repository))
        yield Row(name, ours, least, 100)


def _least(bench: Bench, repository: Path) -> float:
    """Seconds of what no program in Python that asks git for its branches can do without."""
    refs = ["git", "for-each-ref", "refs/heads/autonomous/"]
    return bench.seconds([bench.python, "-c", "pass"], repository) + bench.seconds(refs, repository)


def list_many(bench: Bench) -> Iterator[Row]:
    """Thousands of tasks, of which a hundred are this machine's; then all of them, and a hundredth with a person's commit on top."""
    count = bench.pick(5000, 2000)
    for name, here in (("list-5000", 100), ("list-5000-here", count)):
        repository = repositories.with_tasks(bench, name, count, here=here, worktrees=100, by_hand=here == count)
        branches = ["git", "branch", "-v", "--list"]
        ours, theirs = paired(
            bench.pick(15, 5), partial(_list, bench, repository), partial(bench.seconds, branches, repository)
        )
        yield Row(name, ours, theirs, count)


def _list(bench: Bench, repository: Path) -> float:
    return bench.seconds(["git", "autonomous", "list"], repository)


def start_up(bench: Bench) -> Iterator[Row]:
    """Every command's help against the smallest program that Typer makes, and one command at its work."""
    from typer.main import get_group

    from gitautonomous.cli import app

    repository = repositories.with_tasks(bench, "start-up", 1, here=1, worktrees=1)
    names = sorted(get_group(app).commands)
    ways = [partial(bare_app, bench), partial(bench.seconds, bench.command("--help"), repository)]
    ways += [partial(bench.seconds, ["git", "autonomous", name, "-h"], repository) for name in names]
    ways.append(partial(bench.seconds, ["git", "autonomous", "status", "t0"], repository))
    bare, help, *commands, status = paired(bench.pick(15, 3), *ways)
    slowest = max(range(len(names)), key=commands.__getitem__)
    yield Row("help", help, bare)
    yield Row("commands", commands[slowest], bare, len(names), f"slowest: {names[slowest]}")
    yield Row("status", status, bare)


def bare_app(bench: Bench) -> float:
    """Seconds of a Typer app with one parameter, run, not asked for its help."""
    script = bench.root / "bare_app.py"
    if not script.exists():
        script.write_text(BARE_APP)
    return bench.seconds([bench.python, script], bench.root)
