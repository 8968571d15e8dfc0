"""The repositories that benchmarks work in, made with `git fast-import`."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from gitautonomous import model, states
from gitautonomous.model import Session, Task

from .bench import Bench

WHO = b"Ada Tester <ada@example.org>"
START = 1_700_000_000  # epoch seconds of the first commit
BASES = 50  # commits of main, from which tasks start
THREAD = "01a20a3b-356e-76e1-b2fb-b59965bd8342"
TASK = Task("t", "Build a REST API for a todo app", "main", "0" * 40, "2023-11-14T22:13:20Z")


def with_files(bench: Bench, name: str, files: int) -> Path:
    """A repository whose one commit holds `files` files of 1 to 4 KB, a hundred in a folder, checked out."""
    path = bench.root / name / "repo"

    def stream() -> Iterator[bytes]:
        yield _commit("refs/heads/main", b"Everything\n", 0)
        for number in range(files):
            content = f"file {number}: a line of text that is not the same in any other file\n".encode()
            yield _file(f"d{number // 100:03}/f{number:05}.txt", content * (15 + number % 45))

    return _import(bench, path, stream(), checkout=True)


def with_tasks(bench: Bench, name: str, count: int, *, here: int, worktrees: int) -> Path:
    """A repository with `count` tasks in every state, each of one to four sessions on one of the last commits of main.

    A fifth is finished. `here` of them have local files as if they had run on this machine, and `worktrees` of them a worktree.
    The refs are packed, as git leaves them.
    """
    path = bench.root / name / "repo"
    _import(bench, path, _tasks(count), checkout=False)
    ran_here(bench, path, here)
    for number in range(worktrees):
        folder = path.parent / "repo.autonomous" / f"t{number}"
        bench.git(path, "worktree", "add", "--quiet", "--no-checkout", folder, f"autonomous/t{number}")
    return path


def ran_here(bench: Bench, repository: Path, count: int) -> None:
    """Give the first `count` tasks the local files of a task that ran on this machine. One in a hundred is stalled, the others are finished or paused."""
    for line in bench.git(repository, "for-each-ref", "refs/heads/autonomous/").splitlines()[:count]:
        tip, task = line.split()[0], line.rpartition("/")[2]
        number = int(task.removeprefix("t"))
        folder = repository / ".git" / "autonomous" / "tasks" / task
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "runner.lock").touch()
        (folder / "agent.lock").touch()
        word = states.FINISHED if number % 5 == 0 else states.STALLED if number % 100 == 1 else states.PAUSED
        states.write_word(str(folder), word, START, tip, "the reason of its runner")


def commit_by_hand(bench: Bench, repository: Path, count: int) -> None:
    """Put a person's commit on top of every hundredth of `count` tasks."""

    def stream() -> Iterator[bytes]:
        for number in range(99, count, 100):
            ref = f"refs/heads/autonomous/t{number}"
            yield _commit(ref, b"A correction by hand\n", BASES + number + 5, parent=f"{ref}^0")
            yield _file("README.md", f"# A project, corrected {number}\n".encode())

    _feed(bench, repository, stream())


def _tasks(count: int) -> Iterator[bytes]:
    described = model.write_task(TASK).encode()
    for number in range(BASES):
        yield _commit("refs/heads/main", f"Change {number}\n".encode(), number, mark=number + 1)
        yield _file("README.md", f"# A project\n\n{number}\n".encode())
    lists = [
        "# Tasks\n\n## Tasks\n\n"
        + "".join(f"- [{'x' if n < done else ' '}] An item of ordinary length {n}\n" for n in range(12))
        for done in range(13)
    ]
    for number in range(count):
        name, ref = f"t{number}", f"refs/heads/autonomous/t{number}"
        folder = f".autonomous/{name}"
        at = BASES + number
        yield _commit(ref, model.start_message(replace(TASK, name=name)).encode(), at, parent=f":{1 + number % BASES}")
        yield _file(f"{folder}/task.toml", described)
        sessions = 1 + number % 4
        done = 12 if number % 5 == 0 else number % 11
        for session in range(1, sessions + 1):
            sofar = done * session // sessions
            yield _commit(ref, _message(name, session, sofar).encode(), at + session)
            yield _file(f"{folder}/task_list.md", lists[sofar].encode())
            yield _file(f"{folder}/progress.md", f"## Session {session}\n\nWhat was done.\n".encode())


def with_long_task(bench: Bench, name: str, sessions: int) -> Path:
    """A repository with the task `long`, which has so many sessions, each of which ticked an item and changed a file."""

    def stream() -> Iterator[bytes]:
        ref, folder = "refs/heads/autonomous/long", ".autonomous/long"
        yield _commit("refs/heads/main", b"First\n", 0, mark=1)
        yield _file("README.md", b"# A project\n")
        yield _commit(ref, model.start_message(replace(TASK, name="long")).encode(), 1, parent=":1")
        yield _file(f"{folder}/task.toml", model.write_task(TASK).encode())
        notes = ""
        for session in range(1, sessions + 1):
            boxes = [f"- [{'x' if n < session else ' '}] An item of ordinary length {n}\n" for n in range(sessions)]
            notes += f"## Session {session}\n\nWhat was done.\n\n"
            yield _commit(ref, _message("long", session, session, sessions).encode(), 1 + session)
            yield _file(f"{folder}/task_list.md", ("# Tasks\n\n## Tasks\n\n" + "".join(boxes)).encode())
            yield _file(f"{folder}/progress.md", notes.encode())
            yield _file(f"src/module_{session % 40}.py", f"version = {session}\n".encode() * 50)

    return _import(bench, bench.root / name / "repo", stream(), checkout=False)


def add_finished(bench: Bench, repository: Path, count: int) -> None:
    """Give a repository `count` finished tasks of one session on main, each of which changed a file of its own."""

    def stream() -> Iterator[bytes]:
        for number in range(count):
            name = f"done-{number}"
            ref, folder = f"refs/heads/autonomous/{name}", f".autonomous/{name}"
            yield _commit(ref, _message(name, 1, 12).encode(), 1 + number, parent="refs/heads/main^0")
            yield _file(f"{folder}/task.toml", model.write_task(TASK).encode())
            listed = "".join(f"- [x] An item of ordinary length {n}\n" for n in range(12))
            yield _file(f"{folder}/task_list.md", f"# Tasks\n\n## Tasks\n\n{listed}".encode())
            yield _file(f"{folder}/progress.md", b"## Session 1\n\nWhat was done.\n")
            yield _file(f"d{number:03}/new.txt", b"new\n" * 20)

    _feed(bench, repository, stream())


def with_overlaps(bench: Bench, name: str, count: int) -> Path:
    """A repository with `count` tasks of which about a tenth of all pairs changed a file in common, and a base that went on meanwhile."""
    return _import(bench, bench.root / name / "repo", _overlaps(count), checkout=False)


def _overlaps(count: int) -> Iterator[bytes]:
    described = model.write_task(TASK).encode()
    lines = [f"line {number} of a file that several tasks change\n" for number in range(60)]
    files = [f"d{number // 50:02}/f{number:04}.txt" for number in range(2000)]

    def changed(number: int) -> bytes:
        return "".join((*lines[: number % 60], f"changed by {number}\n", *lines[number % 60 :])).encode()

    yield _commit("refs/heads/main", b"Everything\n", 0, mark=1)
    for path in files:
        yield _file(path, "".join(lines).encode())
    yield _commit("refs/heads/main", b"The base goes on\n", 1)
    for path in files[::100]:
        yield _file(path, changed(7))
    chance = random.Random(count)
    for number in range(count):
        name, ref = f"t{number}", f"refs/heads/autonomous/t{number}"
        yield _commit(ref, _message(name, 1, number % 12).encode(), 2 + number, parent=":1")
        yield _file(f".autonomous/{name}/task.toml", described)
        for path in (*chance.sample(files[10:], 5), chance.choice(files[:10])):
            yield _file(path, changed(number))


def _message(name: str, session: int, done: int, total: int = 12) -> str:
    record = Session(
        task=name,
        number=session,
        role="initializer" if session == 1 else "executor",
        done=done,
        total=total,
        check="passed",
        base="main",
        tokens=14_000,
        all_tokens=14_000 * session,
        seconds=95,
        all_seconds=95 * session,
        thread=THREAD,
        assisted_by="Codex:gpt-5.5",
    )
    closing = "I added the handler and its tests, ran them, and wrote down what comes next.\n\nAll of them pass."
    return model.commit_message(record, ticked=[f"An item of ordinary length {done}"], closing=closing)


def _commit(ref: str, message: bytes, at: int, *, mark: int | None = None, parent: str | None = None) -> bytes:
    who = WHO + b" %d +0000\n" % (START + at * 60)
    head = f"commit {ref}\n" + (f"mark :{mark}\n" if mark else "")
    start = f"from {parent}\n" if parent else ""
    return (
        head.encode()
        + b"author "
        + who
        + b"committer "
        + who
        + b"data %d\n%s\n" % (len(message), message)
        + start.encode()
    )


def _file(path: str, content: bytes) -> bytes:
    return f"M 100644 inline {path}\n".encode() + b"data %d\n%s\n" % (len(content), content)


def _import(bench: Bench, path: Path, stream: Iterable[bytes], *, checkout: bool) -> Path:
    path.mkdir(parents=True)
    bench.git(path, "init", "--quiet")
    _feed(bench, path, stream)
    if checkout:
        bench.git(path, "reset", "--quiet", "--hard")
        # Files as young as the index are read again by each command that looks at them; those of a checkout in use are older.
        for file in path.glob("*/*.txt"):
            os.utime(file, (START, START))
        bench.git(path, "update-index", "-q", "--refresh")
    return path


def _feed(bench: Bench, repository: Path, stream: Iterable[bytes]) -> None:
    command = ["git", "-C", str(repository), "fast-import", "--quiet"]
    with subprocess.Popen(command, env=bench.environment, stdin=subprocess.PIPE) as importer:
        assert importer.stdin is not None
        importer.stdin.writelines(stream)
        importer.stdin.close()
    if importer.returncode:
        raise RuntimeError("git fast-import failed")
    bench.git(repository, "pack-refs", "--all")
