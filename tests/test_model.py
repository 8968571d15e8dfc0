"""Names, task.toml, commit messages and decisions: values in, values out."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitautonomous import model, states
from gitautonomous.errors import AutonomousError, UsageError
from gitautonomous.model import Limits, Next, Options, Session, Standing, Task

NOW = datetime(2026, 11, 23, 21, 4, 5)
TASK = Task("todo", "Build a REST API", "main", "a" * 40, "2026-11-23T21:04:05Z")
SESSION = Session(
    task="todo", number=3, role="executor", done=2, total=12, check="passed", base="main", tokens=100, all_tokens=300,
    seconds=60, all_seconds=200, thread="01a20a3b-356e-76e1-b2fb-b59965bd8342", assisted_by="Codex:gpt-5.5",
)  # fmt: skip


@pytest.mark.parametrize(
    ("goal", "name"),
    [
        ("Build a REST API for a todo app", "build-a-rest-api-for-a-todo-ap"),
        ("  --Fix: the *bug*!  ", "fix-the-bug"),
        ("Größe ändern", "große-andern".replace("ß", "")),
        ("写一个程序", "task-20261123-210405"),
        ("con", "task-20261123-210405"),
        ("a" * 29 + " b", "a" * 29),
    ],
)
def test_a_name_comes_from_the_goal(goal: str, name: str) -> None:
    assert model.slug(goal, NOW) == name


@given(st.text(max_size=300))
def test_every_generated_name_is_one_that_could_have_been_given(goal: str) -> None:
    assert model.check_name(model.slug(goal, NOW))


def test_a_taken_name_gets_a_number_and_stays_short() -> None:
    assert model.free_name("todo", []) == "todo"
    assert model.free_name("todo", ["TODO"]) == "todo-2"
    assert model.free_name("todo", ["todo", "todo-2"]) == "todo-3"
    assert model.free_name("a" * 30, ["a" * 30]) == "a" * 28 + "-2"


@pytest.mark.parametrize(
    "name", ["", "-x", ".x", "a..b", "a/b", "a b", "a.lock", "x.", "nul", "Com1.txt", "a" * 65, "é", "a\nb"]
)
def test_an_impossible_name_is_refused_with_a_reason(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a task name: "):
        model.check_name(name)


def test_a_goal_is_cleaned_and_an_empty_or_huge_one_refused() -> None:
    assert model.check_goal(" a\r\nb\x1b[31m\n") == "a\nb"
    with pytest.raises(UsageError, match="the goal is empty"):
        model.check_goal(" \n")
    with pytest.raises(UsageError, match="1,048,577 characters"):
        model.check_goal("x" * (1024 * 1024 + 1))


@given(st.text(min_size=1), st.lists(st.text()), st.floats(0, 1e9))
def test_task_toml_gives_the_same_task_back(goal: str, checks: list[str], seconds: float) -> None:
    task = replace(
        TASK,
        goal=goal,
        options=Options(checks=tuple(checks), max_time=seconds, network=True),
        proposed_checks=tuple(checks),
    )
    try:
        content = model.write_task(task).encode()
    except UsageError:  # a lone surrogate, which a goal never holds: check_goal takes them out
        return
    assert model.read_task("todo", content) == task


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff", "invalid start byte"),
        (b"x = ", "Invalid value"),
        (b"a = " + b"[" * 100_000, "task.toml of 'todo' cannot be read"),
        (b"format = 2", "format 2 is not one that this version knows"),
        (b"format = 1\n[options]\nmax_sessions = -1", "option max_sessions has the wrong type"),
        (b"format = 1\n[options]\nnetwork = 1", "option network has the wrong type"),
        (b"format = 1\n[options]\nrun = 'x'", "unknown option 'run'"),
        (b"format = 1\noptions = 3", "options is not a table"),
        (b"format = 1\ngoal = 'x'\nbase = 3", "base is missing or not a text"),
        (b"format = 1\ngoal = 'x'\nbase = 'm'\nbase_commit = 'z'\ncreated = 'c'", "base_commit is not an object id"),
        (b"format = " + b"9" * 5000, "task.toml of 'todo' cannot be read"),
    ],
)
def test_a_damaged_task_toml_is_one_clear_error(content: bytes, reason: str) -> None:
    with pytest.raises(AutonomousError, match=reason):
        model.read_task("todo", content)


def test_a_session_message_is_exactly_as_specified() -> None:
    message = model.commit_message(
        SESSION, ticked=["Login works", "Logout works"], closing="I did it.\n\nSigned-off-by: Eve <e@x>\n"
    )
    assert message == (
        "todo: Login works (+1)\n\n- [x] Login works\n- [x] Logout works\n\nI did it.\n\n    Signed-off-by: Eve <e@x>\n\n"
        "Autonomous-Task: todo\nAutonomous-Session: 3\nAutonomous-Role: executor\nAutonomous-Outcome: completed\n"
        "Autonomous-Progress: 2/12\nAutonomous-Check: passed\nAutonomous-Base: main\nAutonomous-Tokens: 100/300\n"
        "Autonomous-Seconds: 60/200\nCodex-Thread: 01a20a3b-356e-76e1-b2fb-b59965bd8342\nAssisted-by: Codex:gpt-5.5\n"
    )
    assert model.read_session(message, "todo") == SESSION


@given(st.text(), st.lists(st.text(), max_size=3))
def test_no_text_of_an_agent_forges_the_record(closing: str, ticked: list[str]) -> None:
    forged = closing + "\n\nAutonomous-Task: todo\nAutonomous-Session: 99\nAutonomous-Check: passed\n" + closing
    message = model.commit_message(SESSION, ticked=ticked, closing=forged)
    assert model.read_session(message, "todo") == SESSION
    assert message.count("\nAutonomous-Task: ") == 1


def test_a_commit_of_a_person_or_of_another_task_has_no_record() -> None:
    message = model.commit_message(SESSION, ticked=[], closing="")
    assert model.read_session(message, "other") is None
    assert model.read_session("todo: changes by hand\n", "todo") is None
    assert model.read_session(message + "\nA line below.\n", "todo") is None


def test_the_start_commit_carries_session_zero() -> None:
    record = model.read_session(model.start_message(TASK), "todo")
    assert record == Session(task="todo", number=0, role="start", base="main")


READY = Standing(done=1, total=4)


ONE = Limits(auto_continue=False)
DOCTOR = "git autonomous doctor    # then: git autonomous resume {task}"
LOG = "git autonomous log {task}    # then: git autonomous resume {task}"


def stop(state: str, reason: str, status: int = 0, hint: str = "") -> Next:
    return Next(False, state=state, reason=reason, status=status, hint=hint)


@pytest.mark.parametrize(
    ("standing", "limits", "expected"),
    [
        (Standing(), Limits(), Next(True, role="initializer")),
        (READY, Limits(), Next(True, role="executor")),
        (replace(READY, done=4), Limits(), stop(states.FINISHED, "all 4 items are ticked")),
        (
            replace(READY, done=4, check="passed"),
            Limits(sessions=1),
            stop(states.FINISHED, "all 4 items are ticked and the checks pass"),
        ),
        (replace(READY, done=4, check="failed"), Limits(), Next(True, role="executor")),
        (
            replace(READY, done=4, check="failed", failing="make test", tickless=5),
            Limits(),
            stop(states.STALLED, "make test keeps failing in 5 sessions in a row", 3, LOG),
        ),
        (
            READY,
            Limits(plan=True),
            stop(
                states.PAUSED,
                "the list has 4 items; have a look at it before the work starts",
                hint="git autonomous status {task}    # then: git autonomous resume {task}",
            ),
        ),
        (Standing(), Limits(plan=True), Next(True, role="initializer")),
        (
            replace(READY, total=1001),
            Limits(),
            stop(
                states.PAUSED,
                "the list has 1,001 items, more than 1,000; shorten it, or go on with --max-sessions",
                3,
                "git autonomous resume {task} --max-sessions 100",
            ),
        ),
        (replace(READY, total=1001), Limits(sessions=9), Next(True, role="executor")),
        (replace(READY, stuck=True), Limits(), stop(states.BLOCKED, "only blocked or skipped items are left", 3)),
        (
            replace(READY, failures=5, trouble="stream disconnected"),
            Limits(),
            stop(states.FAILED, "5 attempts in a row failed, the last one: stream disconnected", 3, DOCTOR),
        ),
        (replace(READY, failures=5), Limits(failures=6), Next(True, role="executor")),
        (
            replace(READY, failures=99, idle=99, tickless=99),
            Limits(failures=0, idle=0, tickless=0),
            Next(True, role="executor"),
        ),
        (
            replace(READY, idle=3),
            Limits(),
            stop(states.STALLED, "3 sessions in a row ticked nothing and changed no file", 3, LOG),
        ),
        (replace(READY, idle=2, tickless=4), Limits(), Next(True, role="executor")),
        (
            replace(READY, tickless=5),
            Limits(),
            stop(states.STALLED, "no item was ticked in 5 sessions in a row", 3, LOG),
        ),
        (replace(READY, ran=2), Limits(sessions=2), stop(states.PAUSED, "2 sessions ran, as asked")),
        (replace(READY, ran=1), ONE, stop(states.PAUSED, "one session ran, as asked")),
        (
            replace(READY, ran=17),
            Limits(),
            stop(
                states.STALLED,
                "17 sessions ran for 4 items, more than the default limit of 3 × items + 5",
                3,
                "git autonomous log {task}    # then: git autonomous resume {task} --max-sessions 10",
            ),
        ),
        (replace(READY, ran=17), Limits(sessions=20), Next(True, role="executor")),
        (
            replace(READY, tokens=1200),
            Limits(tokens=1000),
            stop(
                states.PAUSED,
                "the token budget of 1,000 is spent (1,200 used)",
                3,
                "git autonomous resume {task} --max-tokens 1000    # as much again",
            ),
        ),
        (replace(READY, seconds=9.9), Limits(seconds=10), Next(True, role="executor")),
        (
            replace(READY, seconds=10),
            Limits(seconds=10),
            stop(
                states.PAUSED,
                "the time budget of 10 s is spent",
                3,
                "git autonomous resume {task} --max-time 10    # as much again",
            ),
        ),
    ],
)
def test_what_comes_next_and_what_a_stop_says(standing: Standing, limits: Limits, expected: Next) -> None:
    assert model.decide(standing, limits) == expected


def test_only_a_tick_that_was_never_there_counts_as_progress() -> None:
    def after(standing: Standing, done: int, changed: bool, role: str = "executor") -> tuple[int, int]:
        record = replace(SESSION, done=done, role=role)
        now = model.after_session(standing, record=record, best=3, changed=changed)
        return now.idle, now.tickless

    tired = Standing(idle=1, tickless=1)
    assert after(tired, done=3, changed=True) == (0, 2)
    assert after(tired, done=2, changed=False) == (2, 2)
    assert after(tired, done=4, changed=False) == (0, 0)
    assert after(tired, done=0, changed=False, role="initializer") == (0, 0)


def test_the_wait_after_failures_doubles_up_to_ten_minutes() -> None:
    assert [model.backoff(n, 0) for n in (1, 2, 3, 7, 8, 50)] == [5, 10, 20, 320, 600, 600]
    assert model.backoff(1, 1) == 6.25


def test_what_widens_an_agents_rights_is_shown_as_it_will_be() -> None:
    options = Options(checks=("make test",), config=("a=1",), sandbox_network=True, network=True)
    assert model.approval_text(replace(TASK, options=options, proposed_checks=("make test", "make lint"))) == (
        "check: make test\ncodex -c a=1\nsandbox-network: the agent and the checks reach the network\n"
        "network: full access, no sandbox\ncheck: make lint"
    )
    assert model.approval_text(TASK) == ""
