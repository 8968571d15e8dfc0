"""The fleet's commands on Slurm. With a real Slurm where it is installed; the long run with faults is `python tests/on_slurm.py`."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import git
from fleets import violations
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from on_slurm import Faults, World, bee, finish, make_world, missing
from program import autonomous

from gitautonomous.git import Repository
from gitautonomous.lease import Remote
from gitautonomous.objects import Objects
from gitautonomous.scripted import Server
from gitautonomous.slurm import Fleet, Script

SCHEMA = Path(__file__).parent.parent / "docs" / "schema" / "workers.json"

LACKING = ", ".join(missing())
on_slurm = pytest.mark.skipif(
    bool(LACKING), reason=f"Slurm is not installed (no {LACKING}): apt-get install slurmctld slurmd slurm-client"
)


@pytest.fixture
def world(area: Path, model: Server) -> Iterator[World]:
    model.play(bee(1, 0.0))
    world = make_world(area, 2, model.port, term=15)
    with world.cluster as cluster:
        if trouble := cluster.trouble():
            pytest.skip(f"Slurm is installed, but does not start on this machine: {trouble}")
        yield world


@on_slurm
def test_two_jobs_of_slurm_work_off_two_tasks_and_nothing_starts_twice(world: World) -> None:
    for task in ("one", "two"):
        assert world.run("submit", f"Do {task}", "--name", task).returncode == 0
    faults = Faults(world, random.Random(0))
    finish(world, ["one", "two"], faults, {}, 1.0, 150.0)
    again = world.run("fleet", "start", "--workers", "2")
    assert again.stdout == "0 submitted, 2 there already\n", again.stderr
    status = json.loads(world.run("fleet", "status", "--json").stdout)
    assert list(Draft202012Validator(json.loads(SCHEMA.read_text())).iter_errors(status)) == []
    assert ([job["worker"] for job in status["workers"]], status["tasks"]) == (["1", "2"], {"finished": 2})
    assert world.run("fleet", "stop").stdout == "2 workers told to stop\n"
    assert list(violations(world.bare, ["one", "two"])) == []


def test_a_machine_without_slurm_is_told_what_to_install(agent_repo: Path, area: Path) -> None:
    git(area, "clone", "--quiet", "--bare", "repo", "bare.git")
    git(agent_repo, "remote", "add", "origin", str(area / "bare.git"))
    only_git = area / "bin"
    only_git.mkdir()
    for folder in os.environ["PATH"].split(os.pathsep):
        if (Path(folder) / "git").exists():
            (only_git / "git").symlink_to(Path(folder) / "git")
            break
    ended = autonomous(agent_repo, "fleet", "start", "--workers", "2", PATH=str(only_git))
    assert (ended.status, ended.err) == (
        1,
        "error: squeue is not on PATH, so this machine cannot talk to Slurm\nhint: apt install slurm-client\n",
    )


def test_the_nodes_clone_from_an_absolute_address(repo: Path) -> None:
    repository = Repository.discover(repo)
    crew = Fleet(Remote(repository, Objects(repository.common_dir), "origin"))
    git(repo, "remote", "add", "origin", "../shared.git")
    assert crew.url == str(repo.parent / "shared.git")
    git(repo, "remote", "set-url", "origin", "node:work/shared.git")
    assert crew.url == "node:work/shared.git"


def test_another_engine_is_pointed_to_its_template(repo: Path) -> None:
    ended = autonomous(repo, "fleet", "start", "--engine", "nomad", "--workers", "2")
    assert (ended.status, ended.err.splitlines()) == (
        2,
        [
            "error: there are commands for slurm only, not for 'nomad'; other engines run `git autonomous worker`",
            "hint: git autonomous worker -h # and docs/fleet.md for templates",
        ],
    )


def test_what_a_job_does_on_its_node_is_this() -> None:
    text = Script("/scratch/$USER", Path("/shared/my mirror")).text("autonomous-1.1", "ssh://h/it's", ("--idle", "10m"))
    assert text == (
        "#!/bin/sh\n"
        "# A worker of git autonomous; made by `git autonomous fleet start`.\n"
        "umask 077\n"
        'root="/scratch/$USER"\n'
        'mkdir -p "$root" && [ -O "$root" ] || { echo "error: $root is not a folder of your own" >&2; exit 1; }\n'
        'clone="$root/autonomous-1.1"\n'
        'if [ ! -e "$clone/.git" ]; then\n'
        '    rm -rf "$clone.new"\n'
        "    git clone --quiet --no-checkout --reference-if-able '/shared/my mirror' -- 'ssh://h/it'\"'\"'s' \"$clone.new\" "
        '&& mv "$clone.new" "$clone" || exit 1\n'
        "fi\n"
        'cd "$clone" || exit 1\n'
        "exec git autonomous worker --idle 10m\n"
    )
