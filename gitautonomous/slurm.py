"""A fleet on Slurm, by Slurm's own commands: which workers there are is what `squeue` says, and nothing else is written down.

A job is a worker, and its name says which: `<fleet>.<number>`, or `<fleet>.<task>.e<epoch>` where it is bound to one task. Each is submitted with
`--dependency=singleton`: Slurm runs no two jobs of one name and user at a time. So a death between a submission and whatever comes after it, or two starts at once, never
make two workers of one name; and even two that ran by mistake would be told apart by their leases.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import git, process, show
from .errors import AutonomousError
from .lease import FREE, Remote
from .locks import exclusive

GRACE = 300
"""Seconds before a job's time limit at which its worker is told to commit and hand over."""

PATIENCE = 60.0
"""Seconds that a command of Slurm may take: it waits for a controller that is away."""

ACTIVE = (
    "PENDING",
    "CONFIGURING",
    "RUNNING",
    "COMPLETING",
    "SUSPENDED",
    "STOPPED",
    "REQUEUED",
    "REQUEUE_HOLD",
    "STAGE_OUT",
)

PLACE = "${SLURM_TMPDIR:-${TMPDIR:-/tmp}}/git-autonomous-$(id -u)"
"""Where the workers' clones are on a node, as the shell there understands it."""


@dataclass(frozen=True)
class Job:
    """A job of a fleet. `worker`: what comes after the fleet in its name; `restarts`: how often Slurm started it again; `since`: epoch seconds, 0 while it waits."""

    id: int
    name: str
    worker: str
    state: str
    node: str
    reason: str
    restarts: int
    since: int


@dataclass(frozen=True)
class Fleet:
    """The workers of one user for one remote."""

    hub: Remote

    @property
    def url(self) -> str:
        """Where the nodes clone from. A relative address would be another place there."""
        repository = self.hub.repository
        url = repository.run("remote", "get-url", self.hub.name).strip()
        return os.path.normpath(repository.main_root / url) if url.startswith(("./", "../")) else url

    @property
    def name(self) -> str:
        """The same in every clone of the same remote."""
        return f"autonomous-{hashlib.sha256(self.url.encode()).hexdigest()[:8]}"

    def jobs(self) -> list[Job]:
        """The fleet's jobs that Slurm runs or will run. Raises AutonomousError."""
        try:
            listed = json.loads(_slurm("squeue", "--json", "--me"))["jobs"]
            found = [_job(entry, self.name) for entry in listed if entry["name"].startswith(self.name + ".")]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AutonomousError(
                "squeue does not speak JSON: Slurm 21.08 or later with its JSON plugin is needed",
                "squeue --json | head",
            ) from error
        return sorted((job for job in found if job.state in ACTIVE), key=lambda job: (job.name, job.id))

    def start(self, workers: Sequence[tuple[str, Sequence[str]]], script: Script, options: Sequence[str]) -> list[str]:
        """Submit those of the workers (name in the fleet, options of `git autonomous worker`) that Slurm does not have yet. Returns their names in the fleet.

        `options`: for sbatch. Raises AutonomousError; what was submitted then stays, and starting again submits the rest.
        """
        state = self.hub.repository.make_state_dir("fleet")
        submitted = []
        with exclusive(str(state.parent / "slurm.lock")):
            there = {job.worker for job in self.jobs()}
            for worker, arguments in workers:
                if worker in there:
                    continue
                name = f"{self.name}.{worker}"
                fixed = ("--dependency=singleton", "--requeue", "--open-mode=append", f"--signal=B:TERM@{GRACE}")
                text = script.text(name, self.url, arguments)
                _slurm(
                    "sbatch",
                    "--parsable",
                    f"--job-name={name}",
                    *fixed,
                    f"--output={state}/%x.log",
                    *options,
                    input=text,
                )
                submitted.append(worker)
        return submitted

    def stop(self, *, now: bool) -> list[Job]:
        """Tell the fleet's workers to commit and hand over, or (`now`) end them. Those that wait are cancelled. Returns all of them."""
        jobs = self.jobs()
        told = [str(job.id) for job in jobs if job.state == "RUNNING" and not now]
        rest = [str(job.id) for job in jobs if str(job.id) not in told]
        if rest:
            _slurm("scancel", *rest)
        if told:
            _slurm("scancel", "--signal=TERM", "--batch", *told)
        return jobs

    def queued_tasks(self) -> list[tuple[str, int]]:
        """The tasks that wait for a worker, with the epoch that the next one will have."""
        found = self.hub.look().items()
        return [
            (task, seen.lease.epoch + 1) for task, seen in found if seen.lease is not None and seen.lease.state == FREE
        ]


@dataclass(frozen=True)
class Script:
    """What a job does on its node. `place`: folder for the clones, which the shell of the node expands; `mirror`: a repository on the node whose objects are borrowed."""

    place: str = PLACE
    mirror: Path | None = None

    def text(self, name: str, url: str, arguments: Sequence[str]) -> str:
        reference = f"--reference-if-able {shlex.quote(str(self.mirror))} " if self.mirror else ""
        return f"""\
#!/bin/sh
# A worker of git autonomous; made by `git autonomous fleet start`.
umask 077
root="{self.place}"
mkdir -p "$root" && [ -O "$root" ] || {{ echo "error: $root is not a folder of your own" >&2; exit 1; }}
clone="$root/{name}"
if [ ! -e "$clone/.git" ]; then
    rm -rf "$clone.new"
    git clone --quiet --no-checkout {reference}-- {shlex.quote(url)} "$clone.new" && mv "$clone.new" "$clone" || exit 1
fi
cd "$clone" || exit 1
exec git autonomous worker {shlex.join(arguments)}
"""


def _job(entry: dict[str, object], fleet: str) -> Job:
    state = entry["job_state"]
    name = str(entry["name"])
    return Job(
        id=int(str(entry["job_id"])),
        name=name,
        worker=name.removeprefix(fleet + "."),
        state=str(state[0] if isinstance(state, list) and state else state),  # a list since Slurm 23.11
        node=str(entry.get("nodes") or ""),
        reason=str(entry.get("state_reason") or "").replace("None", ""),
        restarts=_number(entry.get("restart_cnt")),
        since=_number(entry.get("start_time")) if state != "PENDING" else 0,
    )


def _number(value: object) -> int:
    """A number of Slurm's JSON: plain, or since 23.11 with a note of whether it is set."""
    if isinstance(value, dict):
        value = value.get("number") if value.get("set") else 0
    return value if isinstance(value, int) else 0


def _slurm(program: str, *arguments: str, input: str = "") -> bytes:
    """Run a command of Slurm. Raises AutonomousError in its own words."""
    try:
        done = process.run([program, *arguments], input=input.encode(), timeout=PATIENCE)
    except FileNotFoundError:
        raise AutonomousError(
            f"{program} is not on PATH, so this machine cannot talk to Slurm", "apt install slurm-client"
        ) from None
    if done.returncode or done.timed_out:
        lines = [line for line in git.text(done.stderr).splitlines() if line.strip()]
        why = (
            f"no answer within {PATIENCE:.0f} s"
            if done.timed_out
            else (lines[-1] if lines else f"status {done.returncode}")
        )
        raise AutonomousError(f"{show.one_line(why.removeprefix(f'{program}: error: '))}", "scontrol ping")
    return done.stdout
