"""Bad input: one `error:`, one `hint:`, the right exit status, and nothing half made."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import made
import pytest
from agent import initializer, sessions, task_list, write_file
from conftest import git, make_repository
from program import PROGRAM, Ended, autonomous, listed

from gitautonomous.scripted import Server, Step


def assert_refused(ended: Ended, status: int, message: str, hint: str) -> None:
    """The last two lines of stderr are the error and its hint; nothing was printed on stdout."""
    assert (ended.status, ended.out, ended.err.splitlines()[-2:]) == (
        status,
        "",
        [f"error: {message}", f"hint: {hint}"],
    )


def assert_nothing_made(repo: Path) -> None:
    assert git(repo, "for-each-ref", "--format=%(refname)") in ("refs/heads/main", "")
    assert git(repo, "worktree", "list", "--porcelain").count("worktree ") == 1
    assert not (repo.parent / f"{repo.name}.autonomous").exists()


GOAL = 'git autonomous start "Build a REST API for a todo app"'


def test_no_repository(tmp_path: Path) -> None:
    ended = autonomous(tmp_path, "start", "x")
    message = "not a git repository (or any of the parent directories)"
    assert_refused(ended, 1, message, "git init && git commit --allow-empty -m 'First commit'")
    assert_refused(autonomous(tmp_path, "list"), 1, message, "git init && git commit --allow-empty -m 'First commit'")


@pytest.mark.parametrize("command", ["list", "status"])
def test_a_folder_that_is_gone(repo: Path, command: str) -> None:
    """Such as the worktree of a task that was merged meanwhile."""
    script = f"mkdir gone && cd gone && rmdir ../gone && exec {' '.join(PROGRAM)} {command}"
    done = subprocess.run(["sh", "-c", script], cwd=repo, capture_output=True, text=True, check=False)
    message = "Unable to read current working directory: No such file or directory"
    assert_refused(Ended(done.returncode, done.stdout, done.stderr), 1, message, "cd .. # then try again")


def test_a_configuration_that_git_cannot_read_is_told_with_the_command_that_shows_the_line(
    repo: Path, home: Path
) -> None:
    folder = repo / "a folder"
    folder.mkdir()
    for file in (repo / ".git/config", home / "gitconfig"):
        before = file.read_text()
        number = before.count("\n") + 1
        file.write_text(before + "[broken\n")
        hint = f"sed -n {number}p {shlex.quote(str(file))} # mend this line"
        for command in ("list", "list --json", "status"):
            ended = autonomous(folder, *command.split())
            named = ended.err.splitlines()[-2]
            assert re.fullmatch(rf"error: bad config line {number} in file \S+", named)
            assert (ended.status, ended.out, ended.err.splitlines()[-1]) == (1, "", f"hint: {hint}")
        ended = autonomous(repo, "doctor")
        assert (ended.status, "✓ git 2." in ended.out, f"  hint: {hint}\n" in ended.out) == (1, True, True)
        file.write_text(before)


def test_a_branch_whose_commit_is_missing_or_refs_that_are_damaged(repo: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    (repo / ".git/refs/heads/autonomous/todo").write_text("1" * 40 + "\n")
    made.finished(repo, "other", {"b": "1\n"})
    told = [(task["name"], task["state"], task["reason"]) for task in listed(repo)]
    assert told == [("other", "finished", None), ("todo", "broken", "its newest commit cannot be read")]
    assert "next       git autonomous doctor --repair\n" in autonomous(repo, "status", "todo").out
    gone = "error: the branch autonomous/todo is gone\nhint: git autonomous doctor --repair # makes it again\n"
    assert autonomous(repo, "remove", "todo") == Ended(1, "", gone)
    (repo / ".git/packed-refs").write_text("garbage\n")
    damaged = f"fatal: unexpected line in {repo}/.git/packed-refs: garbage\n"
    cannot = "error: git cannot read the branches here; see above\nhint: git autonomous doctor --repair # mends that of a task\n"
    assert autonomous(repo, "list") == Ended(1, "", 2 * damaged + cannot)
    ended = autonomous(repo, "review", "todo")
    assert_refused(ended, 1, "the repository cannot be read: corrupted packed references file", "git fsck")


def test_a_repository_that_cannot_be_written_is_told_with_where_to_look(repo: Path, codex_home: Path) -> None:
    (repo / ".git/autonomous").write_text("a file in the place of the folder\n")
    look = f"ls -ld {repo}/.git {repo}/.git/*"
    assert_refused(autonomous(repo, "start", "x"), 1, f"{repo}/.git/autonomous cannot be written", look)
    ended = autonomous(repo, "doctor")
    assert (ended.status, f"✗ {repo}/.git/autonomous cannot be written\n  hint: {look}\n" in ended.out) == (1, True)
    ended = autonomous(repo, "hooks", "install")
    assert_refused(ended, 1, f"{repo}/.git/autonomous: File exists", f"ls -ld {repo}/.git")


def test_a_home_of_nobody_in_a_path(repo: Path) -> None:
    git(repo, "config", "autonomous.worktreeRoot", "~nobody-of-this-name/tasks")
    ended = autonomous(repo, "start", "x")
    place = f"{repo}/.git/config, line {(repo / '.git/config').read_text().count(chr(10))}"
    message = f"{place}: worktreeRoot must be a path, not '~nobody-of-this-name/tasks'"
    assert_refused(ended, 2, message, "git config --local autonomous.worktreeRoot /PATH")


def test_a_branch_without_a_commit(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    repo.mkdir()
    git(repo, "init", "--quiet")
    ended = autonomous(repo, "start", "x")
    assert_refused(ended, 1, "the branch main has no commit yet", "git commit --allow-empty -m 'First commit'")
    assert_nothing_made(repo)


def test_a_detached_head(repo: Path) -> None:
    git(repo, "checkout", "--quiet", "--detach")
    ended = autonomous(repo, "start", "x")
    message = "HEAD is detached, so there is no branch to merge into later"
    assert_refused(ended, 1, message, 'git autonomous start --base main "GOAL"')
    assert_nothing_made(repo)


@pytest.mark.parametrize("base", ["nowhere", "--all", "main~5", "main..main", ""])
def test_a_base_that_does_not_exist(repo: Path, base: str) -> None:
    ended = autonomous(repo, "start", "x", f"--base={base}")
    assert_refused(ended, 1, f"there is no branch or commit '{base}' to start from", "git branch --all")
    assert_nothing_made(repo)


def test_a_base_that_is_no_branch(repo: Path) -> None:
    git(repo, "tag", "v1")
    ended = autonomous(repo, "start", "x", "--base", "v1")
    message = "'v1' is not a branch, so nothing could be merged into it later"
    assert_refused(ended, 1, message, 'git branch my-base v1 && git autonomous start --base my-base "GOAL"')


@pytest.mark.parametrize("name", ["../x", "a b", "-", "x.lock", "con", "a..b", "ü"])
def test_an_impossible_name(repo: Path, name: str) -> None:
    ended = autonomous(repo, "start", "x", f"--name={name}")
    assert (ended.status, ended.err.splitlines()[-1]) == (2, 'hint: git autonomous start --name my-task "GOAL"')
    assert ended.err.startswith(f"error: '{name}' cannot be a task name: ")
    assert_nothing_made(repo)


def test_a_name_that_is_taken(repo: Path, codex_home: Path) -> None:
    git(repo, "branch", "autonomous/todo")
    ended = autonomous(repo, "start", "x", "--name", "todo")
    assert (ended.status, ended.err.splitlines()[-2]) == (1, "error: there is a task named 'todo' already")


def test_a_branch_named_like_the_prefix(repo: Path) -> None:
    git(repo, "branch", "autonomous")
    ended = autonomous(repo, "start", "x")
    message = "a branch named 'autonomous' stands in the way of 'autonomous/x'"
    hint = "git branch -m autonomous autonomous-old    # or: git config autonomous.branchPrefix tasks/"
    assert_refused(ended, 1, message, " ".join(hint.split()) if "    " not in ended.err else hint)


def test_nobody_is_the_committer(repo: Path, home: Path, codex_home: Path) -> None:
    (home / "gitconfig").write_text("[user]\n\tuseConfigOnly = true\n")
    ended = autonomous(repo, "start", "x")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.splitlines()[-2].startswith("error: git does not know who you are")
    assert_nothing_made(repo)


def test_codex_is_missing_or_too_old(repo: Path, tmp_path: Path) -> None:
    ended = autonomous(repo, "start", "x", GIT_AUTONOMOUS_CODEX=str(tmp_path / "missing"))
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.splitlines()[-2].startswith("error: ")
    old = tmp_path / "codex"
    old.write_text("#!/bin/sh\necho codex-cli 0.99.0\n")
    old.chmod(0o755)
    ended = autonomous(repo, "start", "x", GIT_AUTONOMOUS_CODEX=str(old))
    assert ended.status == 1 and "0.163.0" in ended.err
    assert_nothing_made(repo)


def test_an_unreadable_template(agent_repo: Path, codex_home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "initializer.md").write_bytes(b"\xff")
    git(agent_repo, "config", "autonomous.templates", str(folder))
    ended = autonomous(agent_repo, "start", "x")
    assert (ended.status, ended.out) == (1, "")
    assert "initializer.md" in ended.err.splitlines()[-2]
    assert_nothing_made(agent_repo)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("start",), 2, "what is to be done? The goal is missing"),
        (("start", " \n "), 2, "the goal is empty"),
        (("start", "\x1b[31m"), 2, "the goal is empty"),
        (("start", "x", "--file", "y"), 2, "the goal is given twice, as GOAL and by --file"),
        (("start", "--file", "missing"), 2, "cannot read the goal from missing: No such file or directory"),
        (("start", "--file", "."), 2, "cannot read the goal from .: Is a directory"),
        (("start", "x", "--check", "a", "--no-check"), 2, "--check and --no-check exclude each other"),
        (("start", "x", "--check", " "), 2, "a check is empty"),
    ],
)
def test_a_goal_that_cannot_be(repo: Path, arguments: tuple[str, ...], status: int, message: str) -> None:
    ended = autonomous(repo, *arguments)
    assert (ended.status, ended.err.splitlines()[-2]) == (status, f"error: {message}")
    assert_nothing_made(repo)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--max-sessions", "-1"), ("--max-sessions", "x"), ("--max-tokens", "-5"), ("--delay", "soon"), ("--max-time", "-1"),
        ("--bogus",), ("-c", "no-equals-sign"), ("-c", "sandbox_mode=x"),
    ],
)  # fmt: skip
def test_an_option_with_a_bad_value(repo: Path, codex_home: Path, arguments: tuple[str, ...]) -> None:
    ended = autonomous(repo, "start", "x", *arguments)
    assert (ended.status, ended.out) == (2, ""), ended.err
    error, hint = ended.err.splitlines()[-2:]
    assert (error.partition(":")[0], hint.partition(" -")[0]) == ("error", "hint: git autonomous start")
    assert "Traceback" not in ended.err
    assert_nothing_made(repo)


def test_a_goal_from_standard_input_that_is_closed_huge_or_no_text(repo: Path) -> None:
    done = subprocess.run(
        f"exec 0<&-; exec {' '.join(PROGRAM)} start --file -",
        shell=True,
        cwd=repo,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.splitlines()) == (2, ["error: the goal is empty", f"hint: {GOAL}"])
    ended = autonomous(repo, "start", "--file", "-", stdin=b"x" * (1 << 20))
    assert ended.status == 2 and ended.err.startswith("error: the goal has 1,048,576 characters, Codex takes ")
    ended = autonomous(repo, "start", "--file", "-", stdin=b"\xff\xfe")
    assert (ended.status, ended.err) == (2, "error: the goal in - is not UTF-8 text\nhint: file -\n")
    assert_nothing_made(repo)


def test_a_damaged_task_toml_is_named_and_listed_as_broken(agent_repo: Path, codex_home: Path, model: Server) -> None:
    model.play(sessions(initializer("todo", ["write a"])))
    autonomous(agent_repo, "start", "Write a", "--name", "todo", "--plan")
    worktree = agent_repo.parent / "repo.autonomous" / "todo"
    (worktree / ".autonomous/todo/task.toml").write_text("not = = toml")
    git(worktree, "commit", "--quiet", "--all", "-m", "Break it")
    ended = autonomous(agent_repo, "resume", "todo")
    assert ended.status == 1
    assert ended.err.splitlines()[-2].startswith("error: task.toml of 'todo' cannot be read: ")
    git(worktree, "rm", "--quiet", ".autonomous/todo/task.toml")
    git(worktree, "commit", "--quiet", "-m", "Remove it")
    assert [(task["name"], task["state"]) for task in listed(agent_repo)] == [("todo", "broken")]


@pytest.mark.parametrize("content", [None, "", "# nothing\n\n- [ ] not below Tasks\n"])
def test_an_initializer_that_leaves_no_items_is_stopped_and_resume_tries_again(
    agent_repo: Path, codex_home: Path, model: Server, content: str | None
) -> None:
    steps: list[Step] = [
        {"exec": write_file(".autonomous/todo/task_list.md", content)} if content is not None else {"exec": "true"},
        {"say": "Done."},
    ]
    model.play(sessions(*[steps] * 3))
    ended = autonomous(agent_repo, "start", "Write a", "--name", "todo", "--delay", "0")
    assert (ended.status, ended.out) == (3, "todo: stalled, 3 sessions in a row ticked nothing and changed no file\n")
    assert [task["state"] for task in listed(agent_repo)] == ["stalled"]
    assert "git autonomous resume todo\n" in autonomous(agent_repo, "status", "todo").out


def test_a_huge_list_is_a_question_to_a_person(agent_repo: Path, codex_home: Path, model: Server) -> None:
    items = [f"item {n}" for n in range(1, 1502)]
    command = "mkdir -p .autonomous/todo; seq 1 1501 | sed 's/^/- [ ] item /' > items; (echo '## Tasks'; cat items) > .autonomous/todo/task_list.md; rm items"
    assert len(task_list(items).splitlines()) > 1501
    model.play(sessions([{"exec": command}, {"say": "A long list."}]))
    ended = autonomous(agent_repo, "start", "Write a", "--name", "todo", "--delay", "0")
    assert (ended.status, ended.out) == (
        3,
        "todo: paused, the list has 1,501 items, more than 1,000; shorten it, or go on with --max-sessions\n",
    )


def test_a_bare_repository_can_start_and_list(agent_repo: Path, area: Path, codex_home: Path, model: Server) -> None:
    model.play(sessions(initializer("todo", ["write a"])))
    bare = area / "bare.git"
    git(agent_repo, "clone", "--quiet", "--bare", str(agent_repo), str(bare))
    ended = autonomous(bare, "start", "Write a", "--name", "todo", "--plan")
    assert ended.status == 0, ended.err
    assert [task["worktree"] for task in listed(bare)] == [str(area / "bare.autonomous" / "todo")]
    assert git(area / "bare.autonomous" / "todo", "status", "--porcelain") == ""


def test_every_folder_shows_the_same_list(
    agent_repo: Path, codex_home: Path, model: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_repository(agent_repo.parent / "other")
    model.play(sessions(initializer("todo", ["write a"])))
    autonomous(agent_repo, "start", "Write a", "--name", "todo", "--plan")
    (agent_repo / "sub").mkdir()
    expected = autonomous(agent_repo, "list").out
    assert expected.count("\n") == 2
    worktree = agent_repo.parent / "repo.autonomous" / "todo"
    for folder in (agent_repo / "sub", worktree, worktree / ".autonomous", agent_repo / ".git"):
        assert autonomous(folder, "list").out == expected
    elsewhere = autonomous(agent_repo.parent / "other", "list", GIT_DIR=str(agent_repo / ".git"))
    assert elsewhere.out == expected
