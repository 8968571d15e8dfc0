"""The hooks beside pre-commit, husky and lefthook, installed for real: `python tests/hook_tools.py`.

Needs the network (PyPI and npm) and node, so it is no part of the test suite, which has stand-ins of what these tools write. Exit status 0 when every line says ok.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import made
from conftest import GIT_CONFIG, git, make_repository
from program import autonomous
from test_hooks import ALL, everything, states, write

from gitautonomous import hooks

CONFIG = """\
default_install_hook_types: [pre-commit, commit-msg, pre-push]
repos:
- repo: local
  hooks:
  - {id: one, name: one, language: system, entry: sh -c 'echo one >>"$LOG"', always_run: true, pass_filenames: false, stages: [pre-commit]}
  - {id: two, name: two, language: system, entry: sh -c 'echo two >>"$LOG"', always_run: true, pass_filenames: false, stages: [commit-msg]}
  - {id: three, name: three, language: system, entry: sh -c 'echo "three $PRE_COMMIT_REMOTE_BRANCH" >>"$LOG"', always_run: true, pass_filenames: false, stages: [pre-push]}
"""
LEFTHOOK = """\
pre-commit:
  commands: {one: {run: echo one >>"$LOG"}}
commit-msg:
  commands: {two: {run: echo two >>"$LOG"}}
pre-push:
  commands: {three: {run: echo three >>"$LOG", use_stdin: true}}
"""


class Tool:
    """One tool in a repository of its own that has a finished task, an unfinished one, and a remote."""

    def __init__(self, folder: Path, name: str) -> None:
        self.repo = make_repository(folder / name / "repo")
        self.log = folder / name / "log"
        self.remote = folder / name / "remote.git"
        git(folder, "init", "--quiet", "--bare", str(self.remote))
        made.finished(self.repo, "done", {"a": "1\n"})
        made.finished(self.repo, "open", {"b": "1\n"}, left=1)
        self.task = made.worktree_of(self.repo, "open")

    def run(self, *command: str, folder: Path | None = None, status: int = 0) -> str:
        environment = {**os.environ, "LOG": str(self.log), "GIT_MERGE_AUTOEDIT": "no"}
        done = subprocess.run(
            command, cwd=folder or self.repo, capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == status, (command, done.returncode, done.stdout, done.stderr)
        return done.stderr

    def commit(self, message: str, folder: Path, *, status: int = 0) -> None:
        """Commit a changed file, another one in each worktree: lefthook leaves an empty commit alone."""
        path = folder / f"changed-{folder.name}"
        with open(path, "a") as file:
            file.write("more\n")
        git(folder, "add", path.name)
        self.run("git", "commit", "--quiet", "-m", message, folder=folder, status=status)

    def logged(self) -> list[str]:
        lines = self.log.read_text().split("\n")[:-1] if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return lines

    def works(self, *, tool_in_task: bool = True) -> None:
        """Their hooks run once each, and ours do what they are for."""
        self.commit("x", self.repo)
        assert self.logged() == ["one", "two"]
        self.run("git", "push", "--quiet", str(self.remote), "HEAD:refs/heads/main")
        assert [line.split()[0] for line in self.logged()] == ["three"]
        if not tool_in_task:
            return
        self.commit("By hand", self.task)
        assert self.logged() == ["one", "two"]
        assert git(self.task, "log", "-1", "--format=%B") == "By hand\n\nAutonomous-Edit: open\n"
        self.commit("x\n\nAutonomous-Check: passed", self.task, status=1)
        git(self.task, "reset", "--quiet", "--hard")
        self.logged()

    def merges(self) -> None:
        assert "error: 'open' is not to be merged into main" in self.run(
            "git", "merge", "--quiet", "autonomous/open", status=1
        )
        self.run("git", "merge", "--abort")
        self.run("git", "merge", "--quiet", "autonomous/done")
        assert git(self.repo, "log", "-1", "--format=%s") == "Merge done: Do done well"
        assert git(self.repo, "ls-tree", "--name-only", "HEAD", ".autonomous") == ""
        self.logged()


def pre_commit(folder: Path) -> None:
    environment = folder / "pre-commit-environment"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    subprocess.run(
        [environment / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "pre-commit"], check=True
    )
    program = str(environment / "bin/pre-commit")
    for order in ("before", "after", "both"):
        tool = Tool(folder, f"pre-commit-{order}")
        for place in (tool.repo, tool.task):
            write(place / ".pre-commit-config.yaml", CONFIG, 0o644)
        git(tool.repo, "add", ".pre-commit-config.yaml")
        git(tool.repo, "commit", "--quiet", "-m", "Settings")
        git(tool.task, "add", ".pre-commit-config.yaml")
        git(tool.task, "commit", "--quiet", "-m", "Settings")
        write(tool.repo / ".git/hooks/post-commit", "#!/bin/sh\n# mine\n")
        if order != "after":
            tool.run(program, "install")
        before = everything(tool.repo / ".git/hooks")
        assert autonomous(tool.repo, "hooks", "install").status == 0
        if order != "before":
            tool.run(program, "install")
        assert states(tool.repo) == ALL
        tool.works()
        tool.merges()
        assert autonomous(tool.repo, "hooks", "uninstall").status == 0
        after = everything(tool.repo / ".git/hooks")
        if order == "after":
            tool.run(program, "uninstall")
            after = everything(tool.repo / ".git/hooks")
        assert after == before, (order, sorted(before), sorted(after))
        say(f"pre-commit installed {order}: {subprocess.check_output([program, '--version'], text=True).strip()}")


def npm(folder: Path, package: str) -> Path:
    folder.mkdir(parents=True)
    write(folder / "package.json", '{"name": "x", "version": "1.0.0", "private": true}', 0o644)
    subprocess.run(["npm", "install", "--silent", "--no-fund", "--no-audit", package], cwd=folder, check=True)
    return folder / "node_modules"


def lefthook(folder: Path) -> None:
    modules = npm(folder / "lefthook-package", "lefthook")
    program = str(modules / ".bin/lefthook")
    for order in ("before", "after"):
        tool = Tool(folder, f"lefthook-{order}")
        for place in (tool.repo, tool.task):
            write(place / "lefthook.yml", LEFTHOOK, 0o644)
            git(place, "add", "lefthook.yml")
            git(place, "commit", "--quiet", "-m", "Settings")
        if order == "before":
            tool.run(program, "install")
        before = everything(tool.repo / ".git/hooks")
        assert autonomous(tool.repo, "hooks", "install").status == 0
        if order == "after":
            tool.run(program, "install")
            found = states(tool.repo)
            say(f"lefthook takes the place of: {', '.join(name for name in found if found[name] != 'installed')}")
            assert autonomous(tool.repo, "hooks", "install").status == 0
        assert states(tool.repo) == ALL
        tool.works()
        tool.merges()
        assert autonomous(tool.repo, "hooks", "uninstall").status == 0
        if order == "before":
            assert everything(tool.repo / ".git/hooks") == before
        assert not list(tool.repo.glob(".git/hooks.before-autonomous"))
        say(f"lefthook installed {order}: {subprocess.check_output([program, 'version'], text=True).strip()}")


def husky(folder: Path) -> None:
    modules = npm(folder / "husky-package", "husky")
    tool = Tool(folder, "husky")
    (tool.repo / "node_modules").symlink_to(modules)
    write(tool.repo / ".gitignore", "node_modules\n", 0o644)
    tool.run(str(modules / ".bin/husky"))
    for name, word in (("pre-commit", "one"), ("commit-msg", "two"), ("pre-push", "three")):
        write(tool.repo / ".husky" / name, f'echo {word} >>"$LOG"\n', 0o644)
    before = {**everything(tool.repo / ".husky"), **everything(tool.repo / ".git/hooks")}
    assert autonomous(tool.repo, "hooks", "install").status == 0
    assert {**everything(tool.repo / ".husky"), **everything(tool.repo / ".git/hooks")} == before
    tool.works(tool_in_task=False)
    for name in hooks.NAMES:
        with open(tool.repo / ".husky" / name, "a") as file:
            file.write(f"{hooks.LINE}\n")
    assert states(tool.repo) == ALL
    git(tool.repo, "add", ".husky", ".gitignore")
    git(tool.repo, "commit", "--quiet", "--no-verify", "-m", "Settings")
    tool.logged()
    git(tool.task, "merge", "--quiet", "--no-edit", "main")
    for path in (tool.repo / ".husky/_").iterdir():
        write(tool.task / ".husky/_" / path.name, path.read_text(), path.stat().st_mode & 0o777)
    tool.works()
    tool.merges()
    assert autonomous(tool.repo, "hooks", "uninstall").status == 0
    tool.commit("x", tool.repo)
    assert tool.logged() == ["one", "two"]
    version = json.loads((modules / "husky/package.json").read_text())["version"]
    say(f"husky: {version}")


def say(text: str) -> None:
    print(f"ok  {text}", flush=True)


def main() -> int:
    checks: tuple[Callable[[Path], None], ...] = (pre_commit, lefthook, husky)
    chosen = sys.argv[1:] or [check.__name__ for check in checks]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "gitconfig").write_text(GIT_CONFIG)
        for variable in [variable for variable in os.environ if variable.startswith("GIT_")]:
            del os.environ[variable]
        os.environ |= {"GIT_CONFIG_GLOBAL": str(folder / "gitconfig"), "GIT_CONFIG_NOSYSTEM": "1"}
        os.environ |= {"PRE_COMMIT_HOME": str(folder / "cache"), "XDG_STATE_HOME": str(folder / "state")}
        for check in checks:
            if check.__name__ in chosen:
                check(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
