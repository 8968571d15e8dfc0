"""Many workers and tasks on one remote, without a model: `python tests/fleet_simulation.py --workers 50 --tasks 1000`.

Each worker is a process with a clone of its own that claims, publishes, renews and leaves leases as real workers do; its sessions are empty commits. Workers are killed with
KILL at random moments and started again, and some stall for longer than their lease's term and then go on as if nothing had happened. In the end every task must be
finished, no pushed commit lost, and no branch may hold commits of an earlier epoch above those of a later one. `--scaling` doubles the workers again and again.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from conftest import GIT_CONFIG, git, make_repository
from fleets import reflog, violations

from gitautonomous import lease, states
from gitautonomous.git import Repository
from gitautonomous.lease import HELD, BranchMoved, Hold, Lease, Lost, Move, Moved, Remote, Unreachable, Watch, Who
from gitautonomous.objects import Objects

SESSIONS = 3
"""Of each task."""

BRANCH = "refs/heads/autonomous/"
FORK = multiprocessing.get_context("fork")


def remote_of(clone: Path) -> Remote:
    repository = Repository.discover(clone)
    return Remote(repository, Objects(repository.common_dir), "origin")


@dataclass
class Simulated:
    """A worker: `stall` is how likely it is to sleep through its term in a session, `pause` the longest other sleep, in seconds."""

    clone: Path
    term: float
    stall: float
    pause: float
    lost: Synchronized[int]
    watch: Watch = field(default_factory=Watch)

    def run(self, seed: int) -> None:
        """Work until every task is finished."""
        chance, remote = random.Random(seed), remote_of(self.clone)
        me = Who(f"worker-{seed}-{os.getpid()}-{time.monotonic_ns()}", self.clone.name)
        while True:
            try:
                if self._one(remote, me, chance):
                    return
            except (Unreachable, Moved):
                time.sleep(chance.uniform(0, 0.5))
            except (Lost, BranchMoved):
                with self.lost.get_lock():
                    self.lost.value += 1

    def _one(self, remote: Remote, me: Who, chance: random.Random) -> bool:
        """Claim a task and work on it. Returns whether there is nothing left to do, now and later."""
        found = remote.look()
        self.watch.saw(found)
        open_tasks = [task for task, seen in found.items() if seen.lease is None or seen.lease.state != states.FINISHED]
        chance.shuffle(open_tasks)
        for task in open_tasks:
            seen, hold = found[task], Hold(remote, task)
            record = hold.record()
            assert seen.lease is not None
            mine = record is not None and seen.lease.state == HELD and record.lease.same_hold(seen.lease)
            if mine or self.watch.claimable(task, seen.lease):
                tip = remote.branch(BRANCH + task)
                assert tip is not None
                hold.claim(seen, me, self.term, BRANCH + task, tip)
                self._work(remote, hold, chance)
                return False
        time.sleep(chance.uniform(0, self.pause))
        return not open_tasks

    def _work(self, remote: Remote, hold: Hold, chance: random.Random) -> None:
        while True:
            record = hold.record()
            assert record is not None and record.tip is not None
            if record.lease.sessions == SESSIONS:
                hold.publish(record.tip, record.lease.left(states.FINISHED, ""))
                return
            stalls = chance.random() < self.stall
            time.sleep(self.term * 4 if stalls else chance.uniform(0, self.pause))
            if not stalls and chance.random() < 0.3 and lease.renew([hold]):
                raise hold.lost(None)
            record = hold.record()
            assert record is not None and record.tip is not None
            number, tree = record.lease.sessions + 1, remote.objects.commit(record.tip).tree
            message = f"session {number} of epoch {record.lease.epoch}"
            tip = remote.objects.write_commit(None, message, tree, [record.tip], identity=lease.NOBODY)
            hold.publish(tip, Lease(**{**vars(record.lease), "sessions": number, "done": number, "total": SESSIONS}))


@dataclass(frozen=True)
class Outcome:
    """What a run was like. `operations`: claims, renewals, publications and ends of leases; `seconds`: of the wall; `cpu`: of all processes."""

    workers: int
    tasks: int
    operations: int
    claims: int
    taken_over: int
    killed: int
    stale: int
    seconds: float
    cpu: float
    wrong: tuple[str, ...]

    def row(self) -> str:
        rate, each = self.operations / self.seconds, 1000 * self.cpu / self.operations
        return (
            f"| {self.workers} | {self.tasks} | {self.operations} | {self.claims} | {self.taken_over} | {self.killed} | {self.stale} "
            f"| {self.seconds:.0f} | {rate:.1f} | {each:.0f} |"
        )


HEAD = """\
| workers | tasks | lease operations | claims | taken over | killed | stale pushes refused | seconds | operations/s | CPU ms/operation |
|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"""


def simulate(
    area: Path, *, workers: int, tasks: int, kills: float, stall: float, pause: float, term: float, seed: int
) -> Outcome:
    """Run a fleet to its end. `kills`: workers killed a second."""
    chance = random.Random(seed)
    names = [f"t{number}" for number in range(tasks)]
    bare, clones = prepare(area, workers, names)
    lost: Synchronized[int] = FORK.Value("i", 0)

    def start(number: int, life: int) -> BaseProcess:
        worker = Simulated(clones[number], term, stall, pause, lost)
        process = FORK.Process(target=worker.run, args=(seed + number + 1000 * life,))
        process.start()
        return process

    began, used = time.monotonic(), os.times()
    running = {number: start(number, 0) for number in range(workers)}
    killed = 0
    while running:
        time.sleep(0.05)
        if chance.random() < kills * 0.05:
            number = chance.choice(list(running))
            running[number].kill()
            running[number].join()
            killed += 1
            running[number] = start(number, killed)
        for number, process in list(running.items()):
            if not process.is_alive():
                process.join()
                assert process.exitcode == 0, f"worker {number} ended with {process.exitcode}"
                del running[number]
    seconds, now = time.monotonic() - began, os.times()
    epochs = Counter({name: last(bare, name).epoch for name in names})
    return Outcome(
        workers=workers,
        tasks=tasks,
        operations=sum(len(reflog(bare, lease.REFS + name)) - 1 for name in names),
        claims=epochs.total(),
        taken_over=epochs.total() - tasks,
        killed=killed,
        stale=lost.value,
        seconds=seconds,
        cpu=(now.children_user + now.children_system) - (used.children_user + used.children_system),
        wrong=tuple(violations(bare, names)),
    )


def last(bare: Path, name: str) -> Lease:
    found = lease.read(git(bare, "cat-file", "blob", lease.REFS + name).encode())
    assert found is not None
    return found


def prepare(area: Path, workers: int, names: list[str]) -> tuple[Path, list[Path]]:
    """The remote with its tasks, and the workers' clones."""
    (area / "gitconfig").write_text(GIT_CONFIG)
    os.environ |= {"GIT_CONFIG_GLOBAL": str(area / "gitconfig"), "GIT_CONFIG_NOSYSTEM": "1"}
    source = make_repository(area / "source")
    git(area, "clone", "--quiet", "--bare", "source", "bare.git")
    git(area / "bare.git", "config", "core.logAllRefUpdates", "always")
    git(source, "remote", "add", "origin", str(area / "bare.git"))
    clones = [area / f"w{number}" for number in range(workers)]
    for clone in clones:
        subprocess.run(["git", "clone", "--quiet", "--no-checkout", str(area / "bare.git"), str(clone)], check=True)
    hub, tip = remote_of(source), git(source, "rev-parse", "HEAD")
    for some in (names[first : first + 200] for first in range(0, len(names), 200)):
        moves = [Move(BRANCH + name, None, tip) for name in some]
        moves += [Move(lease.REFS + name, None, hub.store(Lease().written(tip), lease.REFS)) for name in some]
        hub.swap(moves)
    return area / "bare.git", clones


SIZES = """\
| tasks on the remote | refs | first look s | later look ms | push of branch and lease ms | ls-remote of all ms | its answer MB |
|--:|--:|--:|--:|--:|--:|--:|"""


def size(area: Path, tasks: int) -> str:
    """A row of SIZES: what one worker's contacts cost where the remote has that many tasks. The middle one of five each."""
    bare, (clone,) = prepare(area, 1, ["t"])
    tip, remote = git(bare, "rev-parse", "HEAD"), remote_of(clone)
    blob = git(bare, "rev-parse", lease.REFS + "t")
    lines = [f"{tip} {BRANCH}x{number}" for number in range(tasks)] + [
        f"{blob} {lease.REFS}x{number}" for number in range(tasks)
    ]
    kept = f"{tip} refs/heads/main"
    (bare / "packed-refs").write_text(
        "# pack-refs with: peeled fully-peeled sorted \n"
        + "\n".join(sorted([*lines, kept], key=lambda line: line.split(" ")[1].encode()))
        + "\n"
    )
    first = timed(remote.look)
    hold, moves = Hold(remote, "t"), []
    hold.claim(remote.look()["t"], Who("w", "h"), 600, BRANCH + "t", tip)
    for _ in range(5):
        tree = remote.objects.commit(tip).tree
        tip = remote.objects.write_commit(None, "session", tree, [tip], identity=lease.NOBODY)
        moves.append(timed(lambda tip=tip: hold.publish(tip)))  # type: ignore[misc]
    looks = [timed(remote.look) for _ in range(5)]
    asked = [timed(lambda: git(clone, "ls-remote", "origin")) for _ in range(5)]
    answer = len(git(clone, "ls-remote", "origin")) / 1e6
    middle = [1000 * sorted(times)[2] for times in (looks, moves, asked)]
    return (
        f"| {tasks} | {2 * tasks} | {first:.1f} | {middle[0]:.0f} | {middle[1]:.0f} | {middle[2]:.0f} | {answer:.1f} |"
    )


def timed(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=50)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--kills", type=float, default=1.0, help="workers killed a second")
    parser.add_argument("--stall", type=float, default=0.01, help="how likely a session sleeps through its term")
    parser.add_argument("--pause", type=float, default=2.0, help="the longest other sleep, in seconds")
    parser.add_argument("--term", type=float, default=20.0, help="of a lease, in seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scaling", action="store_true", help="double the workers up to --workers, without faults")
    parser.add_argument("--area", type=Path, default=None, help="where to put it all (default: a temporary folder)")
    parser.add_argument(
        "--sizes", type=int, nargs="*", help="instead: what a contact costs with so many tasks on the remote"
    )
    given = parser.parse_args()
    if given.sizes:
        print(SIZES)
        for tasks in given.sizes:
            with tempfile.TemporaryDirectory(dir=given.area) as name:
                print(size(Path(name), tasks), flush=True)
        return 0
    counts = [given.workers]
    if given.scaling:
        counts = [number for number in (1, 2, 4, 8, 16, 32, 64, 128) if number <= given.workers]
    print(HEAD)
    for workers in counts:
        area = Path(tempfile.mkdtemp(dir=given.area, prefix="fleet-"))
        faults = (0.0, 0.0) if given.scaling else (given.kills, given.stall)
        outcome = simulate(
            area,
            workers=workers,
            tasks=given.tasks,
            kills=faults[0],
            stall=faults[1],
            pause=given.pause,
            term=given.term,
            seed=given.seed,
        )
        print(outcome.row(), flush=True)
        for line in outcome.wrong:
            print(f"WRONG: {line}")
        if outcome.wrong:
            print(f"kept: {area}")
            return 1
        shutil.rmtree(area)
    return 0


if __name__ == "__main__":
    sys.exit(main())
