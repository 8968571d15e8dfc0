"""What the runner enforces in every session: the list contract, the checks, the tracking files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from agent import executor, initializer, sessions, write_file
from conftest import git
from program import autonomous, commits, listed

from gitautonomous.scripted import Request, Server, Step

pytestmark = pytest.mark.usefixtures("codex_home")
LIST = ".autonomous/todo/task_list.md"
START = ("start", "Write a and b", "--name", "todo", "--delay", "0")


def prompts(model: Server) -> list[str]:
    """The prompts of the sessions so far: the newest user text of each thread's first request."""
    return [request.text for request in model.requests if request.turn == 0]


def show(repo: Path, path: str, revision: str = "autonomous/todo") -> str:
    return git(repo, "show", f"{revision}:{path}")


def test_an_agent_may_tick_and_note_and_propose_and_nothing_else(agent_repo: Path, model: Server) -> None:
    cheat = (
        f"sed -i 's/- \\[ \\] write a/- [x] write a/; s/- \\[ \\] write b/- [ ] write b (blocked: no paper)/; /write c/d' {LIST};"
        f" sed -i 's/^## Proposed/- [x] invented\\n\\n## Proposed\\n- write d/' {LIST}"
    )
    model.play(
        sessions(
            initializer("todo", ["write a", "write b", "write c"]),
            [{"exec": cheat}, {"say": "Cheated."}],
            executor("todo", "write c", write_file("c", "1")),
        )
    )
    ended = autonomous(agent_repo, *START)
    assert (ended.status, ended.out) == (3, "todo: blocked, only blocked or skipped items are left\n")
    assert [line for line in show(agent_repo, LIST).splitlines() if line] == [
        "# A task", "## Tasks", "- [x] write a", "- [ ] write b (blocked: no paper)", "- [x] write c", "## Proposed", "- write d",
    ]  # fmt: skip
    restored = commits(
        agent_repo, "autonomous/todo~2..autonomous/todo~1", "%(trailers:key=Autonomous-Restored,valueonly)"
    )
    assert any("write c" in line for line in restored) and any("invented" in line for line in restored)
    assert "write c" in prompts(model)[2] and "this was put back" in prompts(model)[2]
    (task,) = listed(agent_repo)
    assert (task["state"], task["done"], task["total"]) == ("blocked", 2, 3)


def test_a_task_is_not_finished_while_a_check_fails_and_its_output_is_in_the_next_prompt(
    agent_repo: Path, model: Server
) -> None:
    model.play(
        sessions(
            initializer("todo", ["write a"]),
            executor("todo", "write a", write_file("a", "wrong")),
            [{"exec": write_file("a", "right")}, {"say": "Mended."}],
        )
    )
    check = "echo checking-$(cat a 2>/dev/null); grep -q right a"
    ended = autonomous(agent_repo, *START, "--check", check)
    assert (ended.status, ended.out) == (0, "todo: finished, its one item is ticked and the checks pass\n")
    assert [line for line in commits(agent_repo, "main..autonomous/todo", "%(trailers:key=Autonomous-Check,valueonly)") if line] == [
        "none", "failed", "failed", "passed",
    ]  # fmt: skip
    _, second, third = prompts(model)
    assert "checking-wrong" not in second and "checking-wrong" in third and check in third
    assert "Every item is ticked" in third
    assert "running the checks on the base, before the first session" in ended.err


def test_the_agent_cannot_change_what_decides(agent_repo: Path, model: Server) -> None:
    edit = (
        'sed -i \'s/^checks.*/checks = ["true"]/; s/^proposed_checks.*/proposed_checks = ["true"]/\' .autonomous/todo/task.toml;'
        f" sed -i 's/test -f done/true/' {LIST}"
    )
    model.play(
        sessions(
            initializer("todo", ["write a"], ["test -f done"]),
            executor("todo", "write a", edit),
            executor("todo", "write a", "touch done"),
        )
    )
    ended = autonomous(agent_repo, *START)
    assert (ended.status, ended.out) == (0, "todo: finished, its one item is ticked and the checks pass\n")
    assert 'proposed_checks = ["test -f done"]' in show(agent_repo, ".autonomous/todo/task.toml")
    assert len(commits(agent_repo, "main..autonomous/todo")) == 4


def test_what_a_check_changes_or_leaves_behind_is_put_back(agent_repo: Path, model: Server) -> None:
    check = f"sed -i 's/\\[ \\]/[x]/' {LIST}; echo broken > a; echo litter > litter; mkdir -p d; touch d/e"
    model.play(
        sessions(
            initializer("todo", ["write a", "write b"]),
            executor("todo", "write a", write_file("a", "good")),
            executor("todo", "write b", write_file("b", "good")),
        )
    )
    ended = autonomous(agent_repo, *START, "--check", check)
    assert ended.status == 0, ended.err
    assert (show(agent_repo, "a"), show(agent_repo, "b")) == ("good", "good")
    assert [line for line in commits(agent_repo, "main..autonomous/todo", "%(trailers:key=Autonomous-Progress,valueonly)") if line] == [
        "0/0", "0/2", "1/2", "2/2",
    ]  # fmt: skip
    worktree = agent_repo.parent / "repo.autonomous" / "todo"
    assert git(worktree, "status", "--porcelain") == ""
    assert not (worktree / "litter").exists()


def test_checks_run_in_the_sandbox(agent_repo: Path, area: Path, model: Server) -> None:
    model.play(sessions(initializer("todo", ["write a"]), executor("todo", "write a")))
    outside = area / "outside"
    check = f"! touch {outside} 2>/dev/null && ! touch ../../repo/.git/x 2>/dev/null && touch $TMPDIR/mine"
    ended = autonomous(agent_repo, *START, "--check", check)
    assert (ended.status, outside.exists()) == (0, False), ended.err


def test_the_runner_writes_the_entry_that_the_agent_forgot(agent_repo: Path, model: Server) -> None:
    model.play(sessions(initializer("todo", ["write a"]), executor("todo", "write a", say="Wrote it.")))
    autonomous(agent_repo, *START)
    progress = show(agent_repo, ".autonomous/todo/progress.md")
    assert progress.count("## Session 1") == 1
    assert re.search(r"## Session 2.*\n(.*\n)*.*Wrote it\.", progress)


def test_a_tracking_file_that_became_a_link_is_replaced(agent_repo: Path, area: Path, model: Server) -> None:
    secret = area / "secret"
    secret.write_text("secret\n")
    swap = f"rm .autonomous/todo/progress.md; ln -s {secret} .autonomous/todo/progress.md"
    model.play(sessions(initializer("todo", ["write a"]), executor("todo", "write a", swap)))
    ended = autonomous(agent_repo, *START)
    assert ended.status == 0, ended.err
    assert "secret" not in show(agent_repo, ".autonomous/todo/progress.md")
    assert secret.read_text() == "secret\n"


def test_tracking_files_are_committed_where_the_repository_ignores_them(agent_repo: Path, model: Server) -> None:
    (agent_repo / ".gitignore").write_text(".autonomous/\nbuild/\n")
    git(agent_repo, "add", ".gitignore")
    git(agent_repo, "commit", "--quiet", "-m", "Ignore")
    model.play(
        sessions(
            initializer("todo", ["write a"]),
            executor("todo", "write a", "mkdir build; touch build/o", write_file("a", "1")),
        )
    )
    assert autonomous(agent_repo, *START).status == 0
    assert git(agent_repo, "ls-tree", "-r", "--name-only", "autonomous/todo").splitlines() == [
        ".autonomous/todo/progress.md", ".autonomous/todo/task.toml", LIST, ".gitignore", "README.md", "a",
    ]  # fmt: skip


def test_a_new_worktree_is_made_ready(agent_repo: Path, model: Server) -> None:
    (agent_repo / ".gitignore").write_text(".env\nsecret.key\nnode_modules/\n")
    (agent_repo / ".worktreeinclude").write_text(".env\n")
    git(agent_repo, "add", ".")
    git(agent_repo, "commit", "--quiet", "-m", "Ignore")
    (agent_repo / ".env").write_text("KEY=1\n")
    (agent_repo / "secret.key").write_text("no\n")
    git(agent_repo, "config", "autonomous.setup", "mkdir node_modules && cp .env node_modules/made")
    model.play(sessions(initializer("todo", ["write a"])))
    assert autonomous(agent_repo, *START, "--plan").status == 0
    worktree = agent_repo.parent / "repo.autonomous" / "todo"
    assert (worktree / "node_modules/made").read_text() == "KEY=1\n"
    assert not (worktree / "secret.key").exists()
    git(agent_repo, "config", "autonomous.setup", "echo about to fail; false")
    ended = autonomous(agent_repo, "start", "Other", "--plan")
    assert ended.status == 1
    assert "error: the setup command 'echo about to fail; false' failed with exit status 1: about to fail" in ended.err


def test_replace_starts_fresh_and_keeps_the_old_task(agent_repo: Path, model: Server) -> None:
    model.play(sessions(initializer("todo", ["old"]), initializer("todo", ["new"])))
    autonomous(agent_repo, *START, "--plan")
    old = git(agent_repo, "rev-parse", "autonomous/todo")
    worktree = agent_repo.parent / "repo.autonomous" / "todo"
    (worktree / "uncommitted").write_text("mine\n")
    ended = autonomous(agent_repo, *START, "--plan", "--replace")
    assert ended.status == 0, ended.err
    assert "- [ ] new" in show(agent_repo, LIST)
    assert git(agent_repo, "rev-parse", "refs/autonomous/backup/todo/1~1") == old
    assert show(agent_repo, "uncommitted", "refs/autonomous/backup/todo/1") == "mine"


def test_the_prompt_holds_the_goal_and_the_next_items(agent_repo: Path, model: Server) -> None:
    goal = "Do {{this}} and `that`,\nwith $HOME and 100%"
    model.play(
        sessions(initializer("todo", ["item one", "item two", "item three", "item four"]), executor("todo", "item one"))
    )
    ended = autonomous(
        agent_repo, "start", "--file", "-", "--name", "todo", "--delay", "0", "--max-sessions", "2", stdin=goal.encode()
    )
    assert ended.status == 0, ended.err
    first, second = prompts(model)
    assert goal in first and goal in second
    assert "item one" in second and "item three" in second and "item four" not in second


def test_three_sessions_without_anything_are_a_stall(agent_repo: Path, model: Server) -> None:
    model.play(sessions(initializer("todo", ["write a"])))
    ended = autonomous(agent_repo, *START)
    assert (ended.status, ended.out) == (3, "todo: stalled, 3 sessions in a row ticked nothing and changed no file\n")
    (task,) = listed(agent_repo)
    assert (task["state"], task["sessions"]) == ("stalled", 4)


def test_thirty_items_take_thirty_one_sessions_and_each_commit_shows_its_own_change(
    agent_repo: Path, model: Server
) -> None:
    items = [f"write file {n:02}" for n in range(1, 31)]

    def respond(request: Request) -> Step:
        if request.turn:
            return {"say": "Done."}
        opened = re.search(r"write file (\d\d)", request.text)
        if "session that writes the list" in request.text or opened is None:
            return initializer("todo", items)[0]
        return executor("todo", opened[0], write_file(f"file{opened[1]}", opened[1]))[0]

    model.play(respond)
    ended = autonomous(
        agent_repo, "start", "Write many files", "--name", "todo", "--delay", "0", "--max-sessions", "15"
    )
    assert ended.out == "todo: paused, 15 sessions ran, as asked\n", ended.err
    ended = autonomous(agent_repo, "resume", "--delay", "0", "--max-sessions", "0")
    assert (ended.status, ended.out) == (0, "todo: finished, all 30 items are ticked\n"), ended.err
    subjects = commits(agent_repo, "main..autonomous/todo")
    assert subjects == ["Start todo", "todo: task list of 30 items", *(f"todo: {item}" for item in items)]
    for number in range(2, 32):
        revision = f"autonomous/todo~{31 - number}"
        changed = git(agent_repo, "show", "--format=", "--name-only", revision).splitlines()
        assert changed == [".autonomous/todo/progress.md", LIST, f"file{number - 1:02}"]
