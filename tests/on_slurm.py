"""A fleet on a real Slurm with real workers and the real Codex, while its parts are killed: `python tests/on_slurm.py`.

One machine plays a cluster: a controller, several node daemons, a bare repository as the remote, and the scripted model. The commands are those of docs/fleet.md. At random
moments the controller, a node daemon, everything on a node, a worker or a Codex is killed with KILL, or the remote goes away for a while. In the end every task must be finished, no pushed
commit lost, and no branch may hold commits of an earlier epoch above those of a later one. Slurm is Debian's: apt-get install slurmctld slurmd slurm-client.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from conftest import GIT_CONFIG, git, make_repository
from fleets import violations
from program import PROGRAM

from gitautonomous import lease, process, scripted
from gitautonomous.scripted import Request, Step

NEEDED = ("slurmctld", "slurmd", "sbatch", "squeue", "scancel")

PARTS = "slurmstepd|autonomous|codex|git"
"""What runs on a node, in command lines."""

WORK = """\
sleep {seconds}; f=.autonomous/{task}/task_list.md
if [ ! -e $f ]; then mkdir -p .autonomous/{task}; printf '# T\\n\\n## Tasks\\n{items}\\n## Proposed\\n' > $f
else n=$(grep -n -m1 '\\[ \\]' $f | cut -d: -f1); echo {task} >> work-$n; sed -i "${{n}}s/\\[ \\]/[x]/" $f; fi"""


def missing() -> list[str]:
    """The programs of Slurm that this machine lacks."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    return [name for name in NEEDED if shutil.which(name, path=path) is None]


def bee(items: int, seconds: float) -> Callable[[Request], Step]:
    """An agent that works on any task: it writes a list of so many items, or does the first open one, and takes its time."""
    listed = "".join(f"- [ ] part {number}\\n" for number in range(1, items + 1))

    def respond(request: Request) -> Step:
        last = request.body["input"][-1]
        found = re.search(r"\.autonomous/([\w-]+)", json.dumps(request.body["input"]))
        if last.get("type") != "message" or found is None:
            return {"say": "It is done."}
        return {"exec": WORK.format(task=found[1], items=listed, seconds=seconds)}

    return respond


def free_ports(number: int) -> list[int]:
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [server.getsockname()[1] for server in taken]
    for server in taken:
        server.close()
    return ports


@dataclass
class Cluster:
    """A Slurm of `nodes` nodes on this machine, below `area`."""

    area: Path
    nodes: int
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.area / "state").mkdir(parents=True)
        host, (port, *ports) = socket.gethostname(), free_ports(self.nodes + 1)
        listed = "".join(
            f"NodeName=n{number} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[number - 1]} CPUs=1\n"
            for number in range(1, self.nodes + 1)
        )
        user = os.environ.get("USER") or "root"
        self.configuration.write_text(
            f"ClusterName=test\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={port}\nSlurmUser={user}\nSlurmdUser={user}\n"
            "AuthType=auth/none\nCredType=cred/none\nProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\n"
            "SelectType=select/cons_tres\nSelectTypeParameters=CR_CPU\nSlurmdParameters=config_overrides\n"
            "SlurmdTimeout=10\nSlurmctldTimeout=10\nReturnToService=2\nKillWait=15\nMinJobAge=300\nMpiDefault=none\n"
            f"StateSaveLocation={self.area}/state\nSlurmctldPidFile={self.area}/ctld.pid\n"
            f"SlurmdSpoolDir={self.area}/spool.%n\nSlurmdPidFile={self.area}/%n.pid\n"
            f"{listed}PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE\n"
        )
        for node in self.names:
            (self.area / f"spool.{node}").mkdir()

    @property
    def configuration(self) -> Path:
        return self.area / "slurm.conf"

    @property
    def names(self) -> list[str]:
        return [f"n{number}" for number in range(1, self.nodes + 1)]

    def start(self, name: str) -> None:
        """Start a node's daemon, or "slurmctld"."""
        argv = ["slurmctld", "-D"] if name == "slurmctld" else ["slurmd", "-D", "-N", name]
        with open(self.area / f"{name}.log", "ab") as log:
            self._processes[name] = subprocess.Popen(
                argv,
                env={
                    **os.environ,
                    "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
                    "SLURM_CONF": str(self.configuration),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        self._processes[name].kill()
        self._processes[name].wait()

    def trouble(self, patience: float = 40.0) -> str:
        """What Slurm says where no node of it is ready within so many seconds; empty where one is."""
        environment = {**os.environ, "SLURM_CONF": str(self.configuration)}
        end, said = time.monotonic() + patience, ""
        while time.monotonic() < end:
            asked = subprocess.run(
                ["sinfo", "--noheader", "--format=%T"], env=environment, capture_output=True, text=True, check=False
            )
            if "idle" in asked.stdout.split():
                return ""
            said = asked.stderr.strip() or f"its nodes are {asked.stdout.strip()}"
            time.sleep(0.5)
        return said

    def __enter__(self) -> Self:
        for name in ("slurmctld", *self.names):
            self.start(name)
        return self

    def __exit__(self, *_: object) -> None:
        for started in self._processes.values():
            started.terminate()
        for started in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                started.wait(20)
            started.kill()
        kill(processes(self.area, PARTS))  # what a killed daemon left behind


@dataclass
class World:
    """A remote, a person's clone, a cluster and a model."""

    area: Path
    cluster: Cluster
    environment: dict[str, str]

    @property
    def bare(self) -> Path:
        return self.area / "bare.git"

    @property
    def clone(self) -> Path:
        return self.area / "repo"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`git autonomous ...` as a person types it."""
        return subprocess.run(
            [*PROGRAM, *arguments], cwd=self.clone, env=self.environment, capture_output=True, text=True, check=False
        )

    def leases(self) -> dict[str, lease.Lease]:
        """How the remote is now, read in the remote itself."""
        lines = git(self.bare, "for-each-ref", "--format=%(refname:lstrip=3)", lease.REFS).split()
        found = {task: lease.read(git(self.bare, "cat-file", "blob", f"{lease.REFS}{task}").encode()) for task in lines}
        return {task: known for task, known in found.items() if known is not None}


def content(file: Path) -> str:
    return file.read_bytes().replace(b"\0", b" ").decode(errors="replace")


def processes(area: Path, pattern: str, environment: str = "") -> list[int]:
    """Processes of the world below `area` whose command line has a pattern and whose environment a text."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and re.search(pattern, content(entry / "cmdline")):
                variables = content(entry / "environ")
                if f"SLURM_CONF={area}" in variables and environment in variables:
                    found.append(int(entry.name))
    return found


def kill(victims: Sequence[int]) -> None:
    for victim in victims:
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)


# -- faults --------------------------------------------------------------------------------------------------------------------------------------


@dataclass
class Faults:
    """Breaks one thing after another, and mends it later."""

    world: World
    chance: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    _later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def mend(self, *, everything: bool = False) -> None:
        due = [entry for entry in self._later if everything or entry[0] <= time.monotonic()]
        self._later = [entry for entry in self._later if entry not in due]
        for _, action in due:
            action()

    def one(self, kind: str) -> None:
        if kind == "controller":
            self._daemon("slurmctld", 4)
        elif kind == "node":
            self._daemon(self.chance.choice(self.world.cluster.names), self.chance.choice((3, 25)))
        elif kind == "machine":
            self._machine(self.chance.choice(self.world.cluster.names))
        elif kind == "remote":
            away = self.world.bare.with_name("away.git")
            if self.world.bare.exists():
                self.world.bare.rename(away)
                self._later.append(
                    (time.monotonic() + self.chance.uniform(2, 12), lambda: void(away.rename(self.world.bare)))
                )
                self.counts[kind] += 1
        else:
            pattern = r"autonomous worker" if kind == "worker" else r"codex\S* exec"
            victims = processes(self.world.area, pattern)
            if victims:
                kill([self.chance.choice(victims)])
                self.counts[kind] += 1

    def _daemon(self, name: str, seconds: float, kind: str = "node") -> bool:
        cluster = self.world.cluster
        if cluster._processes[name].poll() is not None:
            return False
        cluster.kill(name)
        self._later.append((time.monotonic() + seconds, lambda: cluster.start(name)))
        self.counts["controller" if name == "slurmctld" else kind] += 1
        return True

    def _machine(self, name: str) -> None:
        """Everything on a node dies at once, its daemon for long enough that Slurm starts its job elsewhere."""
        if self._daemon(name, 25, "machine"):
            kill(processes(self.world.area, PARTS, f" SLURMD_NODENAME={name} "))


def void(_: object) -> None:
    pass


KINDS = ("controller", "node", "machine", "worker", "codex", "remote")


# -- the run -------------------------------------------------------------------------------------------------------------------------------------


def make_world(area: Path, nodes: int, port: int, term: int) -> World:
    """Everything below `area`, with the environment that a person of this fleet has."""
    home = area / "home"
    (home / "bin").mkdir(parents=True)
    (home / "gitconfig").write_text(GIT_CONFIG)
    program = home / "bin" / "git-autonomous"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m gitautonomous "$@"\n')
    program.chmod(0o755)
    make_repository(area / "repo")
    git(area, "clone", "--quiet", "--bare", "repo", "bare.git")
    git(area / "bare.git", "config", "core.logAllRefUpdates", "always")
    git(area / "repo", "remote", "add", "origin", str(area / "bare.git"))
    cluster = Cluster(area / "slurm", nodes)
    scripted.codex_home(area / "codex-home", port, request_max_retries=1, stream_max_retries=1)
    environment = {
        **process.clean_environment(),
        "HOME": str(home),
        "GIT_CONFIG_GLOBAL": str(home / "gitconfig"),
        "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
        "CODEX_HOME": str(area / "codex-home"),
        "SLURM_CONF": str(cluster.configuration),
        "GIT_AUTONOMOUS_DELAY": "0",
        "GIT_AUTONOMOUS_WORKER_POLL": "2",
        "GIT_AUTONOMOUS_LEASE_TERM": str(term),
    }
    return World(area, cluster, environment)


def finish(
    world: World, tasks: Sequence[str], faults: Faults, wanted: dict[str, int], pause: float, patience: float
) -> float:
    """Run the fleet until every task is done, with faults as long as `wanted` has some. Returns the seconds that it took. Raises SystemExit after `patience` seconds."""
    began = fault = topped = time.monotonic()
    plan = [kind for kind, number in wanted.items() for _ in range(number)]
    faults.chance.shuffle(plan)
    start = (
        "fleet",
        "start",
        "--workers",
        str(world.cluster.nodes),
        "--idle",
        "300",
        "--place",
        f"{world.area}/nodes/$SLURMD_NODENAME",
    )
    said = world.run(*start)
    print(said.stdout + said.stderr, end="", flush=True)
    while True:
        now = time.monotonic()
        faults.mend()
        if world.bare.exists():
            found = world.leases()
            states = Counter(found[task].state for task in tasks)
            if states["finished"] == len(tasks) and not plan:
                faults.mend(everything=True)
                return now - began
            if now - began > patience:
                raise SystemExit(f"not done after {patience:.0f} s: {dict(states)}")
        if plan and now - fault >= pause:
            fault = now
            faults.one(plan.pop())
            print(f"{now - began:4.0f} s: {dict(faults.counts)} {dict(states)}", flush=True)
        if now - topped >= 15:  # what a person, or cron, does: a worker that was killed is missing
            topped = now
            world.run(*start)
        time.sleep(0.5)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--items", type=int, default=2)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--term", type=int, default=15, help="of a lease, in seconds")
    parser.add_argument("--pause", type=float, default=6.0, help="seconds between two faults")
    parser.add_argument("--work", type=float, default=1.0, help="seconds that an item takes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patience", type=float, default=1800.0)
    parser.add_argument("--area", type=Path, default=Path.home() / ".cache" / "git-autonomous-tests")
    for kind, number in (("controller", 1), ("node", 2), ("machine", 2), ("worker", 3), ("codex", 3), ("remote", 2)):
        parser.add_argument(f"--{kind}-faults", type=int, default=number)
    given = parser.parse_args()
    if lacking := missing():
        print(f"not run, this machine has no {', '.join(lacking)}: apt-get install slurmctld slurmd slurm-client")
        return 1
    given.area.mkdir(parents=True, exist_ok=True)
    area = Path(tempfile.mkdtemp(dir=given.area, prefix="slurm-"))
    with scripted.Server() as model:
        model.play(bee(given.items, given.work))
        world = make_world(area, given.nodes, model.port, given.term)
        with world.cluster:
            tasks = [f"task-{number}" for number in range(given.tasks)]
            for task in tasks:
                submitted = world.run("submit", f"Do the parts of {task}", "--name", task)
                assert submitted.returncode == 0, submitted.stderr
            faults = Faults(world, random.Random(given.seed))
            wanted = {kind: getattr(given, f"{kind}_faults") for kind in KINDS}
            seconds = finish(world, tasks, faults, wanted, given.pause, given.patience)
            world.run("fleet", "stop")
            wrong = list(violations(world.bare, tasks))
            epochs = [found.epoch for found in world.leases().values()]
    print(f"{len(tasks)} tasks finished by {given.nodes} workers in {seconds:.0f} s; faults: {dict(faults.counts)}; "
          f"claims: {sum(epochs)}, at most {max(epochs)} of one task")  # fmt: skip
    for line in wrong:
        print(f"WRONG: {line}")
    if wrong:
        print(f"kept: {area}")
        return 1
    shutil.rmtree(area, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
