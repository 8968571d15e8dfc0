"""Benchmarks of what people do often and look at: listings, start-up, their own commits with our hooks, the forecast of conflicts."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from gitautonomous import forecast, hooks, summaries

from . import repositories
from .bench import SOURCE, Bench, Row, fixed, paired
from .budgets import BUDGETS

BARE_APP = """\
import typer

app = typer.Typer()


@app.command()
def main(name: str = "world") -> None:
    print(name)


app()
"""


# What git's own completion does before it calls _git_autonomous: the words, and where the command stands among them.
COMPLETE = """\
. "$1"; shift
__git_cmd_idx=1 words=("$@") cword=$(($# - 1)) cur=${words[cword]}
_git_autonomous
test ${#COMPREPLY[@]} -gt 1
"""


def list_few(bench: Bench) -> Iterator[Row]:
    """A hundred tasks that all ran here and have their worktrees; then with a person's commit on top of one of them."""
    repository = repositories.with_tasks(bench, "list-100", 100, here=100, worktrees=100)

    def row(name: str) -> Row:
        ours, least = paired(bench.pick(30, 10), partial(_list, bench, repository), partial(_least, bench, repository))
        return Row(name, ours, least, 100)

    yield row("list-100")
    script = bench.root / "completion"
    script.write_text(bench.run(bench.command("completion", "bash"), repository))
    words = ("git", "autonomous", "status", "t1")
    complete = ["bash", "--noprofile", "--norc", "-c", COMPLETE, "bash", str(script), *words]
    ways = partial(bench.seconds, complete, repository), partial(_least, bench, repository)
    ours, least = paired(bench.pick(30, 10), *ways)
    yield Row("completion", ours, least, 100)
    repositories.commit_by_hand(bench, repository, 100)
    yield row("list-100-by-hand")


def _least(bench: Bench, repository: Path) -> float:
    """Seconds of what no program in Python that asks git for its branches can do without."""
    refs = ["git", "for-each-ref", "refs/heads/autonomous/"]
    return bench.seconds([bench.python, "-c", "pass"], repository) + bench.seconds(refs, repository)


def list_many(bench: Bench) -> Iterator[Row]:
    """Thousands of tasks, of which a hundred are this machine's, with nothing kept of their tips and as it is from then on; then all of them, and a hundredth with a
    person's commit on top."""
    count = bench.pick(5000, 1000)
    repository = repositories.with_tasks(bench, "list-5000", count, here=100, worktrees=20)
    branches = ["git", "branch", "-v", "--list"]

    def first() -> float:
        (repository / ".git" / summaries.FILE).unlink(missing_ok=True)
        return _list(bench, repository)

    def row(name: str, ours: Callable[[], float]) -> Row:
        mine, theirs = paired(bench.pick(15, 4), ours, partial(bench.seconds, branches, repository))
        return Row(name, mine, theirs, count)

    yield row("list-5000-first", first)
    yield row("list-5000", partial(_list, bench, repository))
    repositories.ran_here(bench, repository, count)
    repositories.commit_by_hand(bench, repository, count)
    yield row("list-5000-here", partial(_list, bench, repository))


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
    bare, help, *commands, status = paired(bench.pick(9, 2), *ways)
    slowest = max(range(len(names)), key=commands.__getitem__)
    yield Row("help", help, bare)
    yield Row("commands", commands[slowest], bare, len(names), f"slowest: {names[slowest]}")
    yield Row("status", status, bare)


def review(bench: Bench) -> Iterator[Row]:
    """The whole command, with all that it says of each session."""
    sessions = bench.pick(200, 50)
    repository = repositories.with_long_task(bench, "review", sessions)
    (took,) = paired(bench.pick(7, 2), partial(bench.seconds, bench.command("review", "long"), repository))
    yield fixed("review", took, sessions)


def merge(bench: Bench) -> Iterator[Row]:
    """A finished task into the checked-out base, and git's own merge of such a branch there. Nothing is checked on either side."""
    files, rounds = bench.pick(20_000, 2_000), bench.pick(7, 2)
    repository = repositories.with_files(bench, "merge", files)
    names = [f"done-{number}" for number in range(2 * rounds + 2)]
    repositories.add_finished(bench, repository, len(names))
    left = iter(names)

    def ours() -> float:
        return bench.seconds(bench.command("merge", next(left)), repository)

    def plain() -> float:
        return bench.seconds(["git", "merge", "--quiet", "--no-ff", "-m", "x", f"autonomous/{next(left)}"], repository)

    mine, theirs, bare = paired(rounds, ours, plain, partial(bare_app, bench))
    allowed = bare * (BUDGETS["commands"].at_most or 0)
    yield Row("merge", mine - allowed, theirs, files, f"{allowed * 1000:.0f} ms of start-up taken off")


def own_commits(bench: Bench) -> Iterator[Row]:
    """A person's commit on a branch of their own, in a repository where tasks have run, with each of our hooks alone and with none."""
    repository = repositories.with_tasks(bench, "hooks", 20, here=20, worktrees=0)
    bench.git(repository, "reset", "--quiet", "--hard")
    bench.run(bench.command("hooks", "install"), repository)
    installed = repository / ".git" / "hooks"
    kept = bench.root / "kept"
    installed.rename(kept)
    at_commit = ("pre-commit", "prepare-commit-msg", "commit-msg", "post-commit")
    names = [name for name in at_commit if name in hooks.NAMES and (kept / name).exists()]

    def commit(name: str | None) -> float:
        shutil.rmtree(installed, ignore_errors=True)
        installed.mkdir()
        if name is not None:
            shutil.copy2(kept / name, installed / name)
        return bench.seconds(["git", "commit", "--quiet", "--allow-empty", "-m", "A change"], repository)

    none, *each = paired(bench.pick(60, 10), *(partial(commit, name) for name in (None, *names)))
    slowest = max(range(len(names)), key=each.__getitem__)
    yield Row("hook", each[slowest], none, len(names), f"slowest: {names[slowest]}")


def conflicts(bench: Bench) -> Iterator[Row]:
    """All tasks with their base and with each other, nothing known yet, against git merging just the pairs that have something in common."""
    count = 100
    repository = repositories.with_overlaps(bench, "conflicts", count)
    cache = repository / ".git" / "autonomous" / "cache"
    found: dict[str, Any] = {}

    def ours() -> float:
        shutil.rmtree(cache, ignore_errors=True)
        found.update(json.loads(bench.run([bench.python, "-m", f"{__package__}.forecasting", str(repository)], SOURCE)))
        return float(found["seconds"])

    def plain() -> float:
        with tempfile.TemporaryDirectory(dir=forecast.MEMORY if forecast.MEMORY.is_dir() else bench.root) as scratch:
            environment = {
                "GIT_OBJECT_DIRECTORY": scratch,
                "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(repository / ".git" / "objects"),
            }
            pairs = "".join(f"{first} {second}\n" for first, second in found["pairs"]).encode()
            return bench.seconds(
                ["git", "merge-tree", "--write-tree", "--stdin"], repository, env=environment, stdin=pairs
            )

    mine, theirs = paired(bench.pick(9, 2), ours, plain)
    yield Row("conflicts", mine, theirs, count, f"{len(found['pairs'])} merges")


def bare_app(bench: Bench) -> float:
    """Seconds of a Typer app with one parameter, run, not asked for its help."""
    script = bench.root / "bare_app.py"
    if not script.exists():
        script.write_text(BARE_APP)
    return bench.seconds([bench.python, script], bench.root)
