"""A usage limit that one task runs into holds for all tasks of the account, and one of them tries whether it is over."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from agent import executor, initializer, sessions, write_file
from program import autonomous, listed, running

from gitautonomous import scripted
from gitautonomous.account import Account
from gitautonomous.scripted import Request, Server, Step

WaitUntil = Callable[[Callable[[], object]], None]


def test_what_one_runner_ran_into_the_others_of_the_account_know(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("codex")
    one, same = Account(tmp_path, tmp_path / "codex"), Account(tmp_path, tmp_path / "link")
    other = Account(tmp_path, tmp_path / "another")
    assert one.limit() is None
    before = time.time()
    one.limited(before + 60, "You’ve hit your usage limit.\nReally.")
    limit = same.limit()
    assert limit is not None
    assert (round(limit.until - before, 2), limit.reason) == (60, "You’ve hit your usage limit.\nReally.")
    assert before - 0.01 < limit.seen < time.time() + 0.01
    assert (one.limit(), other.limit()) == (limit, None)


def test_one_tries_while_the_others_wait_for_what_comes_of_it(tmp_path: Path) -> None:
    first, second = (Account(tmp_path, tmp_path / "codex") for _ in range(2))
    first.limited(time.time() - 1, "limit")
    limit = first.limit()
    assert limit is not None
    assert second.moved_on(limit)
    assert (first.try_it(), first.try_it(), second.try_it(), first.trying, second.trying) == (
        True,
        True,
        False,
        True,
        False,
    )
    assert not second.moved_on(limit)
    first.limited(time.time() + 60, "still")
    assert (second.moved_on(limit), first.trying) == (True, False)
    newer = second.limit()
    assert newer is not None
    assert not second.moved_on(newer)
    assert second.try_it()
    second.leave()
    assert first.try_it()
    first.over()
    assert (first.limit(), first.trying, second.moved_on(newer)) == (None, False, True)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"soon\nnow\nwhy", b"1\n2"])
def test_a_damaged_file_is_no_limit(tmp_path: Path, content: bytes) -> None:
    account = Account(tmp_path, tmp_path / "codex")
    account.limited(1.0, "x")
    (file,) = (tmp_path / "limits").iterdir()
    file.write_bytes(content)
    assert account.limit() is None


@pytest.mark.usefixtures("codex_home")
def test_a_limit_seen_by_one_task_pauses_another_and_ends_for_both(
    agent_repo: Path, area: Path, model: Server, codex_home: Path, home: Path, wait_until: WaitUntil
) -> None:
    model.play(sessions(initializer("one", ["write a"])))
    autonomous(agent_repo, "start", "Write a", "--name", "one", "--plan")
    model.play(sessions(initializer("two", ["write b"])))
    autonomous(agent_repo, "start", "Write b", "--name", "two", "--plan")
    account = Account(home / ".local" / "state" / "git-autonomous", codex_home)
    limited = True
    work = {
        "one": executor("one", "write a", write_file("a", "1")),
        "two": executor("two", "write b", write_file("b", "1")),
    }

    def answer(request: Request) -> Step:
        if limited:
            return scripted.usage_limit(int(time.time()) + 3600)
        name = next(name for name in work if f".autonomous/{name}" in str(request.body))
        return work[name][request.turn] if request.turn < 2 else {"say": "done"}

    model.play(answer)
    assert autonomous(agent_repo, "resume", "one", "-d").status == 0
    wait_until(lambda: {task["name"]: task["state"] for task in listed(agent_repo)}["one"] == "waiting")
    assert len(model.requests) == 1
    # A person who starts another task is obeyed: it tries once, and then waits too.
    assert autonomous(agent_repo, "resume", "two", "-d").status == 0
    wait_until(lambda: {task["state"] for task in listed(agent_repo)} == {"waiting"})
    assert len(model.requests) == 2
    limit = account.limit()
    assert limit is not None
    until = time.strftime("%H:%M", time.localtime(limit.until))
    assert [task["reason"].startswith("usage limit: You’ve hit your usage limit.") for task in listed(agent_repo)] == [
        True
    ] * 2
    assert [task["reason"].endswith(f"(until {until})") for task in listed(agent_repo)] == [True] * 2
    # It ends early: as soon as one has found out, both go on.
    limited = False
    model.play(answer)
    account.limited(time.time(), "over")
    wait_until(lambda: {task["state"] for task in listed(agent_repo)} == {"finished"})
    assert account.limit() is None
    assert os.listdir(account._file.parent) == [f"{account._file.name}.lock"]


@pytest.mark.usefixtures("codex_home")
def test_a_person_who_resumes_before_the_limit_ends_is_obeyed(
    agent_repo: Path, model: Server, codex_home: Path, home: Path
) -> None:
    account = Account(home / ".local" / "state" / "git-autonomous", codex_home)
    account.limited(time.time() + 3600, "limit")
    model.play(sessions(initializer("todo", ["write a"]), executor("todo", "write a", write_file("a", "1"))))
    with running(agent_repo, "start", "Write a", "--name", "todo", "--delay", "0") as runner:
        out, _ = runner.communicate(timeout=30)
    assert (runner.returncode, out.decode()) == (0, "todo: finished, its one item is ticked\n")
    assert account.limit() is None
