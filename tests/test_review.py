"""The morning after: what `git autonomous review` tells of a task and of each session."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import made
import pytest
from conftest import git
from fabricated import Fabricated, list_of, place_of
from program import autonomous
from test_schemas import check

from gitautonomous import review
from gitautonomous.checks import CheckResult, to_journal
from gitautonomous.errors import UsageError
from gitautonomous.journal import Journal
from gitautonomous.report import Style, review_text, step_text
from gitautonomous.review import Forecast


@pytest.fixture
def task(repo: Path) -> Fabricated:
    made = Fabricated(repo, check="passed")
    made.plan("write a", "write b", "write c", proposed=["write d"])
    made.session("write a", files={"a": "a\n", "Makefile": "all:\n", ".husky/pre-commit": "#!/bin/sh\n"})
    made.session("write b", files={"b": "1\n2\n3\n"}, restored=("Item 3 was missing.",), excluded=("vendor/lib",))
    made.by_hand("Fix a typo", {"README.md": "# The project\n", "Makefile": "all: a\n"})
    made.session("write c", files={"b": "1\n2\nthree\n", "c": "c\n"}, outcome="interrupted", check="failed")
    return made


def of_task(task: Fabricated) -> review.Review:
    return review.review(place_of(task.repo), task.name)


TEXT = """\
todo: failing, a check fails
  3/3 items · checks failed · 4 sessions and 1 by hand · 4 min · 4.0k tokens
  Make todo work

Runs on your machine, or is obeyed there, after a merge; read these first:
path               kind   why                                                          session
.husky/pre-commit  hook   runs as a git hook when you commit, check out or merge       2
Makefile           build  runs when the project is built, tested, linted or installed  2, {hand}

Put back, because the agent may not change it:
  session 3: Item 3 was missing.

Left out of commits:
  session 3: vendor/lib

Proposed (to accept: git autonomous review todo --accept N):
  1 write d

session     what                  files  lines  check   tokens   time  outcome
1           task list of 3 items                passed    1.0k  1 min
2           write a                   3  +3 -0  passed    1.0k  1 min
3           write b                   1  +3 -0  passed    1.0k  1 min
{hand}  by hand: Fix a typo       2  +2 -2
4           write c                   2  +2 -1  failed    1.0k  1 min  interrupted

Merging into main is clean: 6 files, +8 -1.

  git autonomous resume todo
  git autonomous review todo 4
  git autonomous review todo --drop 4
"""


def test_the_review_begins_with_what_runs_and_ends_with_the_forecast(task: Fabricated) -> None:
    hand = git(task.repo, "rev-parse", "autonomous/todo~1")[:10]
    assert review_text(of_task(task), Style()) == TEXT.format(hand=hand)
    ended = autonomous(task.repo, "review", "todo")
    assert (ended.status, ended.out, ended.err) == (0, TEXT.format(hand=hand), "")


def test_the_review_as_json(task: Fabricated) -> None:
    ended = autonomous(task.repo, "review", "todo", "--json")
    found: dict[str, Any] = json.loads(ended.out)["review"]
    commits = git(task.repo, "log", "--reverse", "--format=%H", "main..autonomous/todo").split("\n")[1:]
    assert {key: value for key, value in found.items() if key not in ("steps", "updated")} == {
        "name": "todo", "branch": "autonomous/todo", "base": "main", "worktree": None, "state": "failing", "reason": "a check fails",
        "done": 3, "total": 3, "check": "failed", "tokens": 4000, "goal": "Make todo work", "checks": ["true"], "seconds": 240,
        "created": "2026-01-01T00:00:00Z", "tip": task.tip, "files": 6, "insertions": 8, "deletions": 1,
        "runs": [
            {"path": ".husky/pre-commit", "kind": "hook", "why": "runs as a git hook when you commit, check out or merge", "steps": [2]},
            {"path": "Makefile", "kind": "build", "why": "runs when the project is built, tested, linted or installed", "steps": [2, commits[3]]},
        ],
        "restored": [{"session": 3, "text": "Item 3 was missing."}], "excluded": [{"session": 3, "path": "vendor/lib"}],
        "failed_check": None, "blocked": [], "proposed": [{"number": 1, "text": "write d"}],
            "forecast": {"verdict": "clean", "files": [], "others": []},
    }  # fmt: skip
    steps = found["steps"]
    assert [step["commit"] for step in steps] == commits
    assert [step["number"] for step in steps] == [1, 2, 3, None, 4]
    assert {key: value for key, value in steps[4].items() if key not in ("at", "commit")} == {
        "number": 4, "role": "executor", "outcome": "interrupted", "subject": "todo: interrupted: write c",
        "author": "Ada Tester <ada@example.org>", "ticked": ["write c"], "unticked": [], "files": 2, "insertions": 2, "deletions": 1,
        "check": "failed", "tokens": 1000, "seconds": 60, "thread": "thread-4",
    }  # fmt: skip
    assert {key: steps[3][key] for key in ("role", "check", "tokens", "subject", "files")} == {
        "role": None, "check": None, "tokens": None, "subject": "Fix a typo", "files": 2,
    }  # fmt: skip


def test_one_session_as_json_and_as_text(task: Fabricated) -> None:
    ended = autonomous(task.repo, "review", "todo", "2", "--json")
    found: dict[str, Any] = json.loads(ended.out)["step"]
    commit = git(task.repo, "rev-parse", "autonomous/todo~3")
    assert {key: value for key, value in found.items() if key != "at"} == {
        "number": 2, "role": "executor", "outcome": "completed", "commit": commit, "subject": "todo: write a",
        "author": "Ada Tester <ada@example.org>", "ticked": ["write a"], "unticked": [], "files": 3, "insertions": 3, "deletions": 0,
        "check": "passed", "tokens": 1000, "seconds": 60, "thread": "thread-2", "parent": git(task.repo, "rev-parse", f"{commit}~1"),
        "message": "It is done.", "restored": [], "excluded": [],
        "changes": [
            {"path": ".husky/pre-commit", "status": "A", "insertions": 1, "deletions": 0},
            {"path": "Makefile", "status": "A", "insertions": 1, "deletions": 0},
            {"path": "a", "status": "A", "insertions": 1, "deletions": 0},
        ],
        "runs": [
            {"path": ".husky/pre-commit", "kind": "hook", "why": "runs as a git hook when you commit, check out or merge"},
            {"path": "Makefile", "kind": "build", "why": "runs when the project is built, tested, linted or installed"},
        ],
        "commands": None,
    }  # fmt: skip
    ended = autonomous(task.repo, "review", "todo", "4")
    assert (ended.status, ended.err) == (0, "")
    tip = task.tip
    assert (
        ended.out
        == f"""\
session 4 of todo
  executor · interrupted · 3/3 items · checks failed · 2 files · +2 -1 · 1.0k tokens · 1 min
  commit {tip} by Ada Tester <ada@example.org>
  thread thread-4

Ticked:
  [x] write c

Message:
  It is done.

Commands:
  not known: the transcript is on the machine where the session ran

 b | 2 +-
 c | 1 +
 2 files changed, 2 insertions(+), 1 deletion(-)

diff --git a/b b/b
index 01e79c3..{git(task.repo, "rev-parse", "--short", f"{tip}:b")} 100644
--- a/b
+++ b/b
@@ -1,3 +1,3 @@
 1
 2
-3
+three
diff --git a/c b/c
new file mode 100644
index 0000000..f2ad6c7
--- /dev/null
+++ b/c
@@ -0,0 +1 @@
+c
"""
    )


def test_a_commit_by_hand_is_shown_by_its_id(task: Fabricated) -> None:
    commit = git(task.repo, "rev-parse", "autonomous/todo~1")
    ended = autonomous(task.repo, "review", "todo", commit[:8])
    assert ended.out.startswith(
        f"a commit by hand in todo\n  2 files · +2 -2\n  commit {commit} by Ada Tester <ada@example.org>\n"
    )
    for wrong in ("9", "zzzz", "0000", commit[:3]):
        with pytest.raises(UsageError) as caught:
            review.review_step(place_of(task.repo), "todo", wrong)
        assert caught.value.message == f"'todo' has no session {wrong}; its branch has sessions 1 to 4"


def transcript(*events: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def ran(command: str, code: int | None, kind: str = "item.completed") -> dict[str, Any]:
    item = {"id": "item_1", "type": "command_execution", "command": f"/bin/bash -lc '{command}'", "aggregated_output": "x", "exit_code": code, "status": "completed"}  # fmt: skip
    return {"type": kind, "item": item}


def test_the_commands_of_a_session_come_from_its_transcript_and_from_no_other(task: Fabricated) -> None:
    folder = task.place.repository.make_state_dir("tasks", "todo", "sessions")
    (folder / "003.jsonl").write_bytes(
        transcript({"type": "thread.started", "thread_id": "thread-of-a-dropped-session"}, ran("rm -rf x", 0))
        + transcript(
            {"type": "thread.started", "thread_id": "thread-3"}, ran("make test", None, "item.started"), ran("make test", 2),
            ran("make \x1b[31m test", 0), ran("sudo x", None),
        )
        + b"not json\n" + b'{"type":"item.completed","item":{"type":"command_execution","command":"torn'
    )  # fmt: skip
    step = review.review_step(place_of(task.repo), "todo", "3")
    assert [(run.command, run.exit_code) for run in step.commands or ()] == [
        ("make test", 2), ("make \x1b[31m test", 0), ("sudo x", None),
    ]  # fmt: skip
    text = step_text(step, Style())
    assert text[text.index("Commands:") :] == (
        "Commands:\nexit      command\n2         make test\n0         make test\ndeclined  sudo x\n"
    )
    (folder / "002.jsonl").write_bytes(b"")
    assert "Commands:\n  none\n" in step_text(review.review_step(place_of(task.repo), "todo", "2"), Style())


def test_nothing_that_an_agent_wrote_reaches_the_terminal(repo: Path) -> None:
    task = Fabricated(repo)
    evil = "\x1b]0;pwned\x07\u202egnp\r\n## Tasks\n"
    task._session("initializer", list_of(["write \x1b[2Ja"], ["propose \x1b[8mx\x9b"]), {}, evil)
    task.session(
        "write \x1b[2Ja", files={"\x1b[31m/Makefile": "x\n", "b": "\x1b[2J\u202e\n"}, say=evil, restored=("put \x1b[1mback",)
    )  # fmt: skip
    for arguments in (("review", "todo"), ("review", "todo", "2"), ("review", "todo", "--drop", "2")):
        ended = autonomous(repo, *arguments, CLICOLOR_FORCE="1")
        left = ended.out + ended.err
        for sgr in ("\x1b[m", *(f"\x1b[{n}m" for n in (1, 2, 31, 32, 33, 36))):
            left = left.replace(sgr, "")
        assert not set(left) & {chr(n) for n in (*range(32), 0x7F, *range(0x80, 0xA0), 0x202E)} - {"\n"}, arguments
        assert "Traceback" not in left


def test_the_forecast_names_the_files_that_conflict_and_leaves_the_tracking_files_out(task: Fabricated) -> None:
    (task.repo / "b").write_text("mine\n")
    (task.repo / ".autonomous/todo").mkdir(parents=True)
    (task.repo / ".autonomous/todo/task_list.md").write_text("mine\n")
    git(task.repo, "add", "--all")
    git(task.repo, "commit", "--quiet", "-m", "Mine")
    assert of_task(task).forecast == Forecast("conflicts", ("b",))
    git(task.repo, "reset", "--quiet", "--hard", "autonomous/todo")
    assert of_task(task).forecast == Forecast("merged")
    git(task.repo, "switch", "--quiet", "--create", "other")
    git(task.repo, "branch", "-D", "main")
    found = of_task(task)
    assert found.forecast == Forecast("unknown")
    assert "The base main is not in this repository" in review_text(found, Style())


def test_another_task_that_conflicts_is_told_with_its_files(task: Fabricated) -> None:
    other = Fabricated(task.repo, "other")
    other.plan("write a")
    other.session("write a", files={"a": "another\n", "b": "another\n"})
    found = of_task(task)
    assert found.forecast == Forecast("clean", (), (("other", ("a", "b")),))
    assert "Merging into main is clean: 6 files, +8 -1.\nIt conflicts with the task other in a, b.\n" in review_text(
        found, Style()
    )


def test_what_was_squashed_and_is_back_counts_as_merged(task: Fabricated) -> None:
    git(task.repo, "update-ref", "refs/autonomous/merged/todo/1", task.tip)
    git(task.repo, "commit", "--quiet", "--allow-empty", "-m", "All of it")
    git(task.repo, "update-ref", "refs/autonomous/merged/todo/1-result", "main")
    assert of_task(task).forecast == Forecast("merged")


def test_the_check_that_fails_on_the_tip_is_told_with_the_end_of_its_output(repo: Path) -> None:
    checks = ["true", "make test"]
    task = made.start(repo, "failing", checks=checks)
    made.session(repo, task, {}, number=1, done=0, total=1, role="initializer")
    tip = made.session(repo, task, {"a": "1\n"}, number=2, done=1, total=1, check="failed")
    printed = "".join(f"line {number}\n" for number in range(20)) + "\n\x1b[31mFAILED\x1b[0m\ttest_a: \x1b]0;x\x07\n"
    results = [CheckResult("true", 0, 0.1, "fine\n"), CheckResult("make test", 2, 0.1, printed)]
    journal = Journal(made.place_of(repo).repository.make_state_dir("tasks", "failing") / "journal.jsonl")
    journal.append("checks", tree=git(repo, "rev-parse", f"{tip}^{{tree}}"), results=to_journal(results))
    shown = "".join(f"  line {number}\n" for number in range(11, 20)) + "  FAILED  test_a: ␛]0;x␇\n"
    expected = f"\nThis check fails (exit status 2): make test\n{shown}\n"
    assert expected in autonomous(repo, "status", "failing").out
    assert expected in autonomous(repo, "review", "failing").out
    page = autonomous(repo, "review", "failing", "--html", "-").out
    assert "<h2>Why the check fails</h2>" in page and "FAILED  test_a" in page
    for command, key in (("status", "task"), ("review", "review")):
        found = check(command, autonomous(repo, command, "failing", "--json").out)[key]
        assert found["failed_check"] == {
            "command": "make test", "returncode": 2, "timed_out": False, "output": printed,
        }  # fmt: skip
    made.session(repo, task, {"a": "2\n"}, number=3, done=1, total=1, check="failed")  # of this tip nothing is known
    assert "This check fails" not in autonomous(repo, "status", "failing").out


def test_what_is_blocked_is_told_with_its_reason(task: Fabricated) -> None:
    task.by_hand("Reopen", {}, task.text.replace("- [x] write b", "- [ ] write b (blocked: no docker)"))
    assert "\nNot done, and why:\n  write b (blocked: no docker)\n\n" in review_text(of_task(task), Style())
    found = check("review", autonomous(task.repo, "review", "todo", "--json").out)["review"]
    assert found["blocked"] == [{"text": "write b", "note": "blocked: no docker"}]
    page = autonomous(task.repo, "review", "todo", "--html", "-").out
    assert "<li>write b (blocked: no docker)</li>" in page


def test_a_task_without_a_session_is_reviewed_too(repo: Path) -> None:
    Fabricated(repo)
    assert review_text(review.review(place_of(repo), "todo"), Style()) == (
        "todo: new\n  no list yet · no checks · 0 sessions · 0 s · 0 tokens\n  Make todo work\n\n"
        "Merging into main is clean: 0 files.\n\n  git autonomous resume todo\n"
    )


def test_edits_that_the_runner_committed_for_a_person_are_told_as_such(task: Fabricated) -> None:
    task.by_hand("todo: changes by hand", {"mine": "x\n"})
    last = review_text(of_task(task), Style()).split("\n")[-8]
    assert last == f"{task.tip[:10]}  by hand                   1  +1 -0"


def test_what_we_brought_in_is_not_told_as_a_persons_commit(task: Fabricated) -> None:
    news = task.by_hand("todo: bring in main (0123456789)", {"new": "x\n"})
    conflict = task.by_hand("todo: bring in main (0123456789), with conflicts to resolve", {"Makefile": "x\n"})
    found = of_task(task)
    text = review_text(found, Style())
    assert " · 4 sessions and 1 by hand · " in text
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert f"{news[:10]} news of main 1 +1 -0" in lines
    assert f"{conflict[:10]} conflict with main 1 +1 -1" in lines
    shown = autonomous(task.repo, "review", "todo", conflict[:10]).out
    assert shown.startswith("conflict with main in todo\n")
    page = autonomous(task.repo, "review", "todo", "--html", "-").out
    assert ">Brought in: main (0123456789), with conflicts to resolve</h3>" in page
    assert f">conflict with main, {conflict[:10]}</a>" in page


def test_ticks_are_told_however_the_list_changed(repo: Path) -> None:
    task = Fabricated(repo)
    task.plan("write a", "write b", "write b", "write c", proposed=["old"])
    task.session("write a", propose="a new one")
    task.text = task.text.replace("[x] write a", "[ ] write a (blocked: no disk)")
    task.session("write b", "write c")
    task.by_hand("New item", {}, task.text.replace("- [ ] write b\n", "- [x] write b\n- [ ] write d\n", 1))
    task.text = task.text.replace("- a new one\n", "- [x] a new one\n").replace("- [x] write b\n", "- [ ] write b\n", 1)
    task.session("write d")
    assert [(row.ticked, row.unticked) for row in of_task(task).rows] == [
        ((), ()),
        (("write a",), ()),
        (("write b", "write c"), ("write a",)),
        (("write b",), ()),
        (("write d",), ("write b",)),
    ]


def test_the_default_is_the_task_of_the_worktree_and_else_the_newest(task: Fabricated) -> None:
    assert review.default_task(place_of(task.repo)) == "todo"
    other = Fabricated(task.repo, "other")
    other.plan("x")
    worktree = task.worktree()
    other.worktree()
    assert review.default_task(place_of(worktree.path)) == "todo"


def test_a_wrong_task_or_two_decisions_at_once_are_usage_errors(task: Fabricated) -> None:
    ended = autonomous(task.repo, "review", "tod")
    assert (ended.status, ended.err) == (1, "error: there is no task 'tod'\nhint: git autonomous status todo\n")
    ended = autonomous(task.repo, "review", "todo", "--drop", "4", "--keep", "1")
    assert (ended.status, ended.err) == (
        2,
        "error: one decision, or one session, at a time\nhint: git autonomous review todo\n",
    )
    ended = autonomous(task.repo, "review", "todo", "--drop", "four")
    assert (ended.status, ended.err) == (
        2, "error: 'four' is no list of numbers\nhint: write 4, or 4,6, or 1-3\n",
    )  # fmt: skip


def test_two_hundred_sessions_are_reviewed_in_less_than_a_second_of_work(repo: Path) -> None:
    task = Fabricated(repo, check="passed")
    items = [f"write the part number {number} of the whole thing" for number in range(200)]
    task.plan(*items)
    for number, item in enumerate(items):
        task.session(item, files={f"part{number % 20}/file{number}.py": "print()\n" * 30})
    place = place_of(repo)
    began = time.process_time()
    found = review.review(place, "todo")
    text = review_text(found, Style(width=100, colour=True))
    assert time.process_time() - began < 1
    assert [row.ticked for row in found.rows] == [(), *((item,) for item in items)]
    assert len(text.splitlines()) == 3 + 1 + 202 + 1 + 1 + 1 + 3
    began = time.monotonic()
    argv = [sys.executable, "-P", "-m", "gitautonomous", "review", "todo"]
    subprocess.run(argv, cwd=repo, check=True, capture_output=True)
    assert time.monotonic() - began < 10
