"""The templates that start workers under other engines are well formed, and what they and the pages type exists."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from gitautonomous import cli, reference, worker

FOLDER = Path(__file__).parent.parent / "docs" / "fleet"
TEMPLATES = sorted(FOLDER.iterdir())
COMMANDS = {command.path: command for command in reference.read(cli.app).walk()}
UNIT = FOLDER / "git-autonomous-worker@.service"


def document(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_what_a_template_runs_exists_with_its_options(template: Path) -> None:
    lines = [line for line in template.read_text().splitlines() if not line.lstrip().startswith("#")]
    called = [
        match[1].split("||")[0].split() for line in lines if (match := re.search(r"git autonomous (worker.*)", line))
    ]
    assert called
    for words in called:
        names = {name for option in COMMANDS[(words[0],)].options for name in option.names}
        assert {word for word in words if word.startswith("-")} <= names


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_page_explains_each_template(template: Path) -> None:
    pages = "".join(page.read_text() for page in FOLDER.parent.glob("fleet*.md"))
    assert f"(fleet/{template.name})" in pages


def test_the_unit_hands_over_before_it_is_killed() -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(UNIT)
    service = dict(unit["Service"])
    # Only the worker is told: it stops its agents itself, each with a commit.
    assert (service["KillMode"], service["SuccessExitStatus"], service["Restart"]) == ("mixed", "143", "on-failure")
    if shutil.which("systemd-analyze"):
        done = subprocess.run(
            ["systemd-analyze", "verify", "--user", "--man=no", str(UNIT)], capture_output=True, text=True
        )
        assert UNIT.name not in done.stderr, done.stderr


def test_the_kubernetes_job_gives_a_worker_time_and_no_rights() -> None:
    job = document("kubernetes.yaml")
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (job["apiVersion"], job["kind"], pod["restartPolicy"]) == ("batch/v1", "Job", "OnFailure")
    assert pod["terminationGracePeriodSeconds"] >= 60 and pod["automountServiceAccountToken"] is False
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    variables = {variable["name"] for variable in container["env"]}
    assert dict(worker.ENGINES)["kubernetes"] in variables
    assert subprocess.run(["sh", "-n", "-c", container["args"][0]], check=False).returncode == 0


def test_the_workflow_hands_over_before_its_time_is_up() -> None:
    workflow = document("github-actions.yaml")
    job = workflow["jobs"]["worker"]
    scripts = [step["run"] for step in job["steps"] if "run" in step]
    minutes = re.search(r"timeout --signal=TERM --kill-after=(\d+)m (\d+)m ", scripts[-1])
    assert minutes is not None and int(minutes[1]) + int(minutes[2]) < job["timeout-minutes"] < 360
    assert workflow["permissions"] == {"contents": "write"}
    for script in scripts:
        assert subprocess.run(["bash", "-n", "-c", script], check=False).returncode == 0
