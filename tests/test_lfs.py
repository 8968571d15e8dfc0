"""git-lfs asks the server that `.lfsconfig` names: never one that an agent wrote there."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import made
import pytest
from agent import executor, initializer, sessions, write_file
from conftest import git
from program import autonomous

from gitautonomous.scripted import Server

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 5\n"

# Looks for its server where git-lfs looks, and asks it for what a pointer names; it never has anything itself.
IMITATION = """\
import subprocess, sys, urllib.error, urllib.request

def setting(*place):
    found = subprocess.run(["git", "config", *place, "lfs.url"], capture_output=True, text=True)
    return found.stdout.strip() if found.returncode == 0 else None

content = sys.stdin.buffer.read()
if sys.argv[1] == "smudge" and content.startswith(b"version https://git-lfs"):
    places = [(), ("--file", ".lfsconfig"), ("--blob", ":.lfsconfig"), ("--blob", "HEAD:.lfsconfig")]
    url = next((url for place in places if (url := setting(*place)) is not None), "")
    if url:
        try:
            urllib.request.urlopen(url + "/objects/batch", content).close()
        except urllib.error.HTTPError:
            pass
sys.stdout.buffer.write(content)
"""


class Asked:
    """A server that has nothing. `paths`: what it was asked for since `taken` was last called."""

    def __init__(self) -> None:
        paths = self.paths = list[str]()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                paths.append(self.path)
                self.send_error(404)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def settings(self, path: str) -> str:
        return f"[lfs]\n\turl = {self.url}/{path}\n\tskipDownloadErrors = true\n"

    def taken(self) -> set[str]:
        found = {path.split("/")[1] for path in self.paths}
        self.paths.clear()
        return found


@pytest.fixture
def asked() -> Iterator[Asked]:
    asked = Asked()
    Thread(target=asked.server.serve_forever).start()
    yield asked
    asked.server.shutdown()
    asked.server.server_close()


@pytest.fixture(params=["an imitation", *(["git-lfs"] if shutil.which("git-lfs") else [])])
def lfs_repo(agent_repo: Path, area: Path, asked: Asked, request: pytest.FixtureRequest) -> Path:
    """A repository with a file that only people's server has."""
    (agent_repo / ".gitattributes").write_text("*.bin filter=lfs -text\n")
    (agent_repo / ".lfsconfig").write_text(asked.settings("people"))
    (agent_repo / "old.bin").write_text(POINTER.format("1" * 64))
    git(agent_repo, "add", "--all")
    git(agent_repo, "commit", "--quiet", "-m", "A file elsewhere")
    program = str(shutil.which("git-lfs"))
    if request.param != "git-lfs":
        (area / "lfs.py").write_text(IMITATION)
        program = f"'{sys.executable}' '{area / 'lfs.py'}'"
    for what in ("clean", "smudge"):
        git(agent_repo, "config", f"filter.lfs.{what}", f"{program} {what} -- %f")
    git(agent_repo, "config", "filter.lfs.required", "true")
    return agent_repo


@pytest.mark.usefixtures("codex_home")
def test_a_server_that_an_agent_names_is_never_asked(lfs_repo: Path, model: Server, asked: Asked) -> None:
    leak = POINTER.format("5ec4e7" + "0" * 58)
    evil = write_file(".lfsconfig", asked.settings("agent")), write_file("leak.bin", leak.rstrip())
    model.play(sessions(initializer("todo", ["leak"]), executor("todo", "leak", *evil)))
    options = ("--name", "todo", "--delay", "0", "--check", "rm -f leak.bin old.bin")
    ended = autonomous(lfs_repo, "start", "Leak", *options)
    assert (ended.status, ended.out) == (0, "todo: finished, its one item is ticked and the checks pass\n"), ended.err
    assert asked.taken() == {"people"}
    worktree = made.worktree_of(lfs_repo, "todo")
    assert (worktree / "leak.bin").read_text() == leak

    shutil.rmtree(worktree)
    ended = autonomous(lfs_repo, "resume", "todo")
    assert (ended.status, (worktree / "leak.bin").exists()) == (0, True), ended.err
    assert autonomous(lfs_repo, "review", "todo", "--drop", "2", "--yes").status == 0
    assert not (worktree / "leak.bin").exists()
    assert autonomous(lfs_repo, "restore", "todo").status == 0
    assert (worktree / "leak.bin").exists()
    git(lfs_repo, "commit", "--quiet", "--allow-empty", "-m", "News")
    assert autonomous(lfs_repo, "sync", "todo", "--rebase").status == 0
    assert autonomous(lfs_repo, "merge", "todo").status == 3
    assert asked.taken() == set()

    assert autonomous(lfs_repo, "merge", "todo", "--reviewed").status == 0
    assert asked.taken() == {"people", "agent"}


def test_a_worktree_that_is_made_again_gets_its_files_from_peoples_server(lfs_repo: Path, asked: Asked) -> None:
    made.finished(lfs_repo, "todo", {"a": "1\n"})
    worktree = made.worktree_of(lfs_repo, "todo")
    asked.taken()
    shutil.rmtree(worktree)
    ended = autonomous(lfs_repo, "doctor", "--repair")
    assert (worktree / "old.bin").exists(), ended.err
    assert asked.taken() == {"people"}
