"""Benchmarks of tasks at work: the time that a runner takes for itself, its memory, and many runners at once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from gitautonomous import codex, scripted

from . import events, repositories
from .bench import SOURCE, Bench, Row, fixed, paired, peak_memory, wait_for
from .budgets import BUDGETS
from .looking import bare_app

TUNED = ("git", "-c", f"checkout.workers={os.cpu_count() or 1}")
AT_ONCE_SESSIONS = 6


def journal(repository: Path, task: str, event: str) -> list[dict[str, Any]]:
    """The lines of a task's journal that tell of `event`; none where there is no journal yet."""
    path = repository / ".git" / "autonomous" / "tasks" / task / "journal.jsonl"
    whole = path.read_bytes().rpartition(b"\n")[0].splitlines() if path.exists() else []
    return [record for record in map(json.loads, whole) if record["event"] == event]


def until_codex_runs(bench: Bench, repository: Path, task: str, *command: str) -> float:
    """Seconds from the call of a command to the start of its first Codex. The command runs to its end."""
    before = len(journal(repository, task, "started"))
    began = time.time()
    bench.run(bench.command(*command), repository, env={"STANDIN_ITEMS": "50"})
    return float(journal(repository, task, "started")[before]["at"]) - began


# -- a large repository ------------------------------------------------------------------------------------------------


def start(bench: Bench) -> Iterator[Row]:
    """Start-up is taken off with what its own budget allows; that the sandbox works is known from the first round."""
    files = bench.pick(20_000, 2_000)
    repository = repositories.with_files(bench, "start", files)
    numbers = iter(range(1000))

    def ours() -> float:
        task = f"start-{next(numbers)}"
        took = until_codex_runs(bench, repository, task, "start", "-q", "--name", task, "--max-sessions", "1", "Work")
        bench.git(repository, "worktree", "remove", "--force", repository.parent / "repo.autonomous" / task)
        return took

    def tuned() -> float:
        path = repository.parent / f"plain-{next(numbers)}"
        took = bench.seconds([*TUNED, "worktree", "add", "--quiet", "--detach", path], repository)
        bench.git(repository, "worktree", "remove", "--force", path)
        return took

    mine, plain, bare = paired(bench.pick(9, 2), ours, tuned, lambda: bare_app(bench))
    allowed = bare * (BUDGETS["commands"].at_most or 0)
    yield Row("start", mine - allowed, plain, files, f"{allowed * 1000:.0f} ms of start-up taken off")


def close(bench: Bench) -> Iterator[Row]:
    """From "Codex is gone" to the result in the journal, against git's own two commands after the same work."""
    files = bench.pick(20_000, 2_000)
    large = repositories.with_files(bench, "large", files)
    yield _close(bench, "close-changed", large, files, "for f in d000/*; do echo $$ >> $f; done")
    small = repositories.with_files(bench, "small", 1)
    loop = f"i=0; while [ $i -lt {files} ]; do echo $$ $i > $d/$i; i=$((i+1)); done"
    yield _close(bench, "close-new", small, files, f"d=new/$$; mkdir -p $d; {loop}")


def _close(bench: Bench, name: str, repository: Path, files: int, work: str) -> Row:
    environment = {"STANDIN_WORK": work, "STANDIN_ITEMS": "50", "GIT_AUTONOMOUS_MAX_FILES": "0"}
    start = bench.command("start", "-q", "--name", "task", "--max-sessions", "1", "Work")
    bench.run(start, repository, env={**environment, "STANDIN_WORK": "true"})
    twin = repository.parent / "twin"
    bench.git(repository, "worktree", "add", "--quiet", "-b", "twin", twin)

    def ours() -> float:
        bench.run(bench.command("resume", "-q", "task", "--max-sessions", "1"), repository, env=environment)
        ended, result = (journal(repository, "task", event)[-1] for event in ("ended", "result"))
        return float(result["at"]) - float(ended["at"])

    def plain() -> float:
        bench.run(["sh", "-c", work], twin)
        return bench.seconds(["sh", "-c", "git add -A && git commit -q -m 'Everything'"], twin)

    mine, theirs = paired(bench.pick(9, 2), ours, plain)
    return Row(name, mine, theirs, files)


# -- a long task -------------------------------------------------------------------------------------------------------


def sessions(bench: Bench) -> Iterator[Row]:
    """One runner through hundreds of sessions, each of which ticks an item and changes the same file: nothing grows but their number and the notes."""
    count = bench.pick(500, 30)
    repository = repositories.with_files(bench, "sessions", 100)
    log = bench.root / "log"
    environment = {
        "STANDIN_LOG": str(log),
        "STANDIN_ITEMS": str(count + 10),
        "STANDIN_WORK": "mv work/*.txt newest.txt",
    }
    limit = ("--max-sessions", str(count + 5))
    command = bench.command("start", "-q", "--name", "long", *limit, "--delay", "0", "Work")

    def ended() -> list[float]:
        return [float(line.split()[1]) for line in log.read_text().splitlines()] if log.exists() else []

    with bench.start(command, repository, env=environment) as runner:
        for name, number in (("memory-first", 1), ("memory-middle", min(100, count // 2)), ("memory-last", count)):
            while len(ended()) <= number:
                if runner.poll() is not None:
                    raise RuntimeError(
                        f"the runner ended with status {runner.returncode} after {len(ended())} sessions"
                    )
                time.sleep(0.05)
            yield fixed(name, peak_memory(runner.pid), number)
        runner.wait()
    started = [float(record["at"]) for record in journal(repository, "long", "started")]
    gaps = [after - before for before, after in zip(ended(), started[1:], strict=False)]
    sample = min(20, count // 3)
    first, last = statistics.median(gaps[:sample]), statistics.median(gaps[-sample:])
    yield fixed("between", first, sample)
    yield Row("between-growth", last, first, count)


# -- many at once ------------------------------------------------------------------------------------------------------


def at_once(bench: Bench) -> Iterator[Row]:
    """Many tasks started in one repository, against the same in a repository for each, where no lock is shared."""
    count = bench.pick(50, 4)
    together = repositories.with_files(bench, "together", 200)
    bench.run(bench.command("start", "-q", "--name", "warm", "--max-sessions", "1", "Work"), together)
    apart = []
    for number in range(count):
        apart.append(bench.root / "apart" / str(number) / "repo")
        bench.git(bench.root, "clone", "--quiet", together, apart[-1])
        # That the sandbox works is known in the one repository, so it has to be in the others.
        shutil.copytree(together / ".git" / "autonomous" / "cache", apart[-1] / ".git" / "autonomous" / "cache")
    environment = {"STANDIN_ITEMS": "50"}
    locked: list[float] = []
    unlocked: list[float] = []
    failed = 0
    rounds = bench.pick(3, 1)
    for turn in range(rounds):
        for places, walls in (([together] * count, locked), (apart, unlocked)):
            names = [f"r{turn}-t{number}" for number in range(count)]
            commands = [bench.command("start", "-q", "--name", name, "--max-sessions", "1", "Work") for name in names]
            began = time.perf_counter()
            failed += sum(status != 0 for status in _all_at_once(bench, commands, places, environment))
            walls.append(time.perf_counter() - began)
            failed += sum(_sessions_of(bench, place, name) != [1] for place, name in zip(places, names, strict=True))
    yield Row("at-once", failed, 2 * rounds * count, count)
    yield Row("at-once-wall", statistics.median(locked), statistics.median(unlocked), count)
    names = [f"r0-t{number}" for number in range(count)]
    more = str(AT_ONCE_SESSIONS - 1)
    commands = [bench.command("resume", "-q", name, "--max-sessions", more, "--delay", "0") for name in names]
    _all_at_once(bench, commands, [together] * count, environment)
    found = [len({*_sessions_of(bench, together, name)} & {*range(1, AT_ONCE_SESSIONS + 1)}) for name in names]
    bench.git(together, "fsck", "--connectivity-only")
    yield Row("committing", count * AT_ONCE_SESSIONS - sum(found), count * AT_ONCE_SESSIONS, count)


def _all_at_once(
    bench: Bench, commands: Sequence[Sequence[str]], places: Sequence[Path], environment: dict[str, str]
) -> list[int]:
    with ExitStack() as stack:
        children = [
            stack.enter_context(bench.start(command, place, env=environment))
            for command, place in zip(commands, places, strict=True)
        ]
        return [child.wait() for child in children]


def _sessions_of(bench: Bench, repository: Path, task: str) -> list[int]:
    """The numbers of a task's sessions as its branch tells them, in order; none where there is no branch."""
    ref = f"refs/heads/autonomous/{task}"
    if not bench.git(repository, "for-each-ref", ref):
        return []
    only = "--format=%(trailers:key=Autonomous-Session,valueonly,separator=%x20)"
    return [int(text) for text in bench.git(repository, "log", "--reverse", only, ref, "^main").split() if text != "0"]


# -- a crash -----------------------------------------------------------------------------------------------------------


def recovery(bench: Bench) -> Iterator[Row]:
    """A runner and its Codex are killed in the middle of a session; `resume` closes that session before the next begins."""
    repository = repositories.with_files(bench, "recovery", 200)
    limits = ("--max-sessions", "2", "--delay", "0")
    resume = ("resume", "-q", "task", *limits)
    bench.run(bench.command("start", "-q", "--name", "task", *limits, "Work"), repository, env={"STANDIN_ITEMS": "50"})

    def killed() -> float:
        known = len(journal(repository, "task", "started"))
        with bench.start(bench.command(*resume), repository, env={"STANDIN_HANG": "60"}) as runner:
            wait_for(lambda: len(journal(repository, "task", "started")) > known, "a session")
            agent, attempt = (journal(repository, "task", event)[-1] for event in ("started", "attempt"))
            transcript = repository / f".git/autonomous/tasks/task/sessions/{attempt['number']:03}.jsonl"
            wait_for(lambda: b"agent_message" in transcript.read_bytes(), "the agent's first message")
            runner.kill()
            os.kill(agent["pid"], signal.SIGKILL)
        return until_codex_runs(bench, repository, "task", *resume)

    def paused() -> float:
        return until_codex_runs(bench, repository, "task", *resume)

    after_kill, after_pause = paired(bench.pick(7, 1), killed, paused)
    yield Row("recovery", after_kill, after_pause)


# -- a transcript ------------------------------------------------------------------------------------------------------


def transcript(bench: Bench) -> Iterator[Row]:
    """The supervisor follows a child that writes as fast as it can; then what that does to its memory."""
    size = bench.pick(1000, 100)
    source = bench.root / "source.jsonl"
    megabyte = events.megabyte()
    with open(source, "wb") as file:
        file.writelines(megabyte for _ in range(size))
    measured: list[dict[str, float]] = []

    def ours() -> float:
        copy = bench.root / "transcript.jsonl"
        command = [bench.python, "-m", f"{__package__}.following", str(source), str(copy)]
        measured.append(json.loads(bench.run(command, SOURCE)))
        copy.unlink()
        return measured[-1]["seconds"]

    mine, plain = paired(
        bench.pick(3, 2), ours, lambda: bench.seconds(["sh", "-c", f"cat {source} | cat > {source}.copy"], bench.root)
    )
    yield Row("transcript", mine, plain, size)
    growth = max(run["peak"] - run["before"] for run in measured)
    yield fixed("transcript-memory", growth, size)
    source.unlink()


# -- the real thing ----------------------------------------------------------------------------------------------------

# What the scripted model has the agent do: write the list, else tick the first open item.
TURN = (
    "d=.autonomous/real; mkdir -p $d; if [ -f $d/task_list.md ]; then sed -i '0,/- \\[ \\]/s//- [x]/' $d/task_list.md; "
    "else { echo '## Tasks'; for n in 1 2 3 4 5 6 7 8 9 10 11 12; do echo \"- [ ] Step $n\"; done; } > $d/task_list.md; fi"
)


def real(bench: Bench) -> Iterator[Row]:
    """Sessions of the real Codex with a scripted model, two requests each, against the same two requests without a runner."""
    count = bench.pick(8, 3)
    engine = codex.find(None)
    repository = repositories.with_files(bench, "real", 200)

    def respond(request: scripted.Request) -> scripted.Step:
        return {"exec": TURN} if request.turn % 2 == 0 else {"say": "One more step is done."}

    with scripted.Server(respond) as server:
        home = scripted.codex_home(bench.root / "codex-home", server.port)
        environment = {"CODEX_HOME": str(home), "GIT_AUTONOMOUS_CODEX": str(engine.path)}
        limits = ("--max-sessions", str(count), "--delay", "0", "--no-check")
        command = bench.command("start", "-q", "--name", "real", *limits, "Work")
        bench.run(command, repository, env=environment)
        began = [float(record["at"]) for record in journal(repository, "real", "attempt")]
        ended = [float(record["at"]) for record in journal(repository, "real", "result")]
        alone = codex.exec_argv(
            codex.Invocation(
                codex=engine,
                worktree=repository.parent / "repo.autonomous" / "real",
                main_root=repository,
                access=codex.Access(),
                tmpdir=bench.root / "tmp",
                model=None,
                profile=None,
                config=(),
                thread=None,
                last_message=bench.root / "last.txt",
            )
        )
        (plain,) = paired(count, lambda: bench.seconds(alone, repository, env=environment, stdin=b"Go on."))
    yield Row("real", statistics.median(after - before for before, after in zip(began, ended, strict=True)), plain)
