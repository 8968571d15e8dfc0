"""The real Codex, with its real sandbox, against a scripted model."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import git, make_repository

from gitautonomous import codex, process, scripted
from gitautonomous.codex import Access, Codex, Invocation
from gitautonomous.ends import End, EndKind, classify
from gitautonomous.events import (
    Command,
    CommandRun,
    Event,
    FileChange,
    Said,
    ThreadStarted,
    Turn,
    TurnCompleted,
    Usage,
    parse_event,
)
from gitautonomous.process import ProcessId
from gitautonomous.rollout import read_rollout
from gitautonomous.scripted import Server, Step
from gitautonomous.supervision import Deadlines, Supervision, follow, supervise

Wait = Callable[[Callable[[], object]], None]
PATCH = "*** Begin Patch\n*** Add File: new.txt\n+hello\n*** End Patch"
CONTEXT = (
    "Codex ran out of room in the model's context window. Start a new thread or clear earlier history before retrying."
)


@pytest.fixture(scope="session")
def engine() -> Codex:
    return codex.find(None)


@dataclass
class Ran:
    """One turn of the real Codex. `printed`: what its commands printed, of which the runner reads nothing."""

    turn: Turn
    events: list[Event]
    supervision: Supervision
    end: End
    printed: str


@dataclass
class Desk:
    """A repository and what a runner keeps beside it."""

    invocation: Invocation
    folder: Path
    deadlines: Deadlines = dataclasses.field(default_factory=Deadlines)

    @property
    def worktree(self) -> Path:
        return self.invocation.worktree

    def call(self, on_event: Callable[[Event], None] = lambda event: None, **changed: Any) -> Ran:
        """One turn: `changed` fields of the invocation, the prompt "go"."""
        transcript, turn, events = self.folder / "transcript.jsonl", Turn(), list[Event]()

        def seen(event: Event) -> None:
            events.append(event)
            on_event(event)

        options: dict[str, Any] = {
            "env": codex.environment(self.invocation.tmpdir),
            "inherit": (),
            "on_start": lambda who: None,
            "should_stop": lambda: False,
            "offset": transcript.stat().st_size if transcript.exists() else 0,
        }
        options |= {name: changed.pop(name) for name in options.keys() & changed.keys()}
        ended = supervise(
            codex.exec_argv(dataclasses.replace(self.invocation, **changed)),
            prompt=b"go",
            transcript=transcript,
            stderr=self.folder / "stderr",
            deadlines=self.deadlines,
            turn=turn,
            rollout_home=codex.home(),
            on_event=seen,
            on_tick=lambda: None,
            **options,
        )
        lines = transcript.read_bytes()[options["offset"] :].splitlines()
        commands = [event for event in map(parse_event, lines) if isinstance(event, Command)]
        printed = [command.output for command in commands if command.phase == "completed"]
        return Ran(turn, events, ended, self.classify(turn, ended), "".join(printed))

    def classify(self, turn: Turn, ended: Supervision) -> End:
        facts = read_rollout(codex.home(), turn.thread or "")
        return classify(turn, ended.returncode, ended.reason, ended.stderr, facts, time.time())


@pytest.fixture
def desk(area: Path, agent_repo: Path, codex_home: Path, engine: Codex) -> Desk:
    """A task's worktree beside its repository."""
    return make_desk(area, agent_repo, engine)


def make_desk(area: Path, repo: Path, engine: Codex) -> Desk:
    worktree, folder = area / "task", area / "kept"
    git(repo, "worktree", "add", "--quiet", "-b", "autonomous/task", str(worktree))
    (folder / "tmp").mkdir(parents=True)
    return Desk(
        Invocation(
            codex=engine,
            worktree=worktree,
            main_root=repo,
            access=Access(),
            tmpdir=folder / "tmp",
            model=None,
            profile=None,
            config=(),
            thread=None,
            last_message=folder / "last.txt",
        ),
        folder,
    )


def always(step: Step) -> Callable[[scripted.Request], Step]:
    return lambda request: step


# -- a turn ------------------------------------------------------------------------------------------------------------


def test_a_turn_is_followed_to_its_closing_message(desk: Desk, model: Server) -> None:
    model.play([{"say": "I begin.", "exec": "cat README.md; exit 3"}, {"patch": PATCH}, {"say": "All done."}])
    ran = desk.call()
    assert ran.supervision == Supervision(0, "exited", stderr="")
    assert ran.end == End(EndKind.completed, "")
    assert ran.turn.usage == Usage(300, 30, 60, 15)
    assert list(ran.turn.commands) == [CommandRun("cat README.md; exit 3", 3)]
    assert ran.turn.files == {str(desk.worktree / "new.txt"): "add"}
    assert [type(event).__name__ for event in ran.events] == [
        *("ThreadStarted", "TurnStarted", "Said", "Command", "Command", "FileChange", "FileChange", "Said"),
        "TurnCompleted",
    ]
    assert ran.printed.endswith("# A project\n")
    assert (desk.folder / "last.txt").read_text() == "All done."
    assert sorted(path.name for path in desk.worktree.iterdir()) == [".git", "README.md", "new.txt"]
    facts = read_rollout(codex.home(), ran.turn.thread or "")
    assert (facts.model, facts.usage, facts.last_usage) == ("gpt-5.5", Usage(300, 30, 60, 15), Usage(100, 10, 20, 5))


def test_a_resumed_turn_goes_on_with_thread_sandbox_and_tokens(desk: Desk, model: Server) -> None:
    model.play([{"say": "One."}, {"exec": "echo more > more.txt"}, {"say": "Two."}])
    first = desk.call()
    second = desk.call(thread=first.turn.thread)
    assert second.events[0] == ThreadStarted(first.turn.thread or "")
    assert second.turn.usage == Usage(300, 30, 60, 15)
    assert second.turn.usage - (first.turn.usage or Usage()) == Usage(200, 20, 40, 10)
    assert (desk.worktree / "more.txt").read_text() == "more\n"
    assert "One." in json.dumps(model.requests[1].body["input"])


def test_a_command_that_still_runs_at_the_end_is_known_and_its_traces_are_cleared(desk: Desk, model: Server) -> None:
    model.play(
        [{"call": {"name": "exec_command", "arguments": {"cmd": "sleep 500", "yield_time_ms": 300}}}, {"say": "Done."}]
    )
    ran = desk.call()
    assert ran.end.kind is EndKind.completed
    assert ran.turn.running_commands() == ["sleep 500"]
    codex.clean_leftovers(desk.worktree)
    assert sorted(path.name for path in desk.worktree.iterdir()) == [".git", "README.md"]


# -- failures ----------------------------------------------------------------------------------------------------------


def test_a_used_up_limit_tells_exactly_when_it_is_reset(desk: Desk, model: Server) -> None:
    resets_at = int(time.time()) + 4061
    model.play(always(scripted.usage_limit(resets_at)))
    ran = desk.call()
    assert (ran.end.kind, ran.end.retry_at) == (EndKind.usage_limit, float(resets_at))
    assert ran.end.message.startswith("You’ve hit your usage limit.")
    assert len(model.requests) == 1


def test_a_used_up_limit_without_headers_tells_it_in_local_time(desk: Desk, model: Server) -> None:
    resets_at = int(time.time()) + 4061
    step = scripted.usage_limit(resets_at)
    del step["headers"]
    model.play(always(step))
    ran = desk.call()
    assert ran.end.kind is EndKind.usage_limit
    assert ran.end.retry_at is not None
    assert 0 <= ran.end.retry_at - resets_at <= 60


@pytest.mark.parametrize(
    ("step", "kind", "words"),
    [
        (
            {"status": 401, "body": {"error": {"message": "Incorrect API key", "code": "invalid_api_key"}}},
            EndKind.sign_in,
            "unexpected status 401 Unauthorized: Incorrect API key",
        ),
        (
            {"status": 404, "body": {"error": {"message": "The model `x` does not exist", "code": "model_not_found"}}},
            EndKind.configuration,
            "The model `x` does not exist",
        ),
        (
            {"status": 429, "body": {"error": {"message": "no", "code": "insufficient_quota"}}},
            EndKind.quota,
            "Quota exceeded. Check your plan and billing details.",
        ),
        (
            {"status": 429, "body": {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}},
            EndKind.overloaded,
            "exceeded retry limit, last status: 429 Too Many Requests",
        ),
        (
            {"status": 500},
            EndKind.overloaded,
            "We’re currently experiencing high demand, which may cause temporary errors.",
        ),
        (
            {"status": 503, "body": {"error": {"code": "server_is_overloaded", "message": "busy"}}},
            EndKind.overloaded,
            "Selected model is at capacity. Please try a different model.",
        ),
        (
            {"status": 400, "body": {"error": {"message": "bad thing", "type": "invalid_request_error"}}},
            EndKind.failed,
            "bad thing",
        ),
        ({"drop": True}, EndKind.network, "stream disconnected before completion: error sending request"),
        (
            {"say": "half", "truncate": "items"},
            EndKind.network,
            "stream disconnected before completion: stream closed before response.completed",
        ),
        ({"failed": {"code": "context_length_exceeded", "message": "too long"}}, EndKind.context, CONTEXT),
        (
            {"incomplete": "max_output_tokens"},
            EndKind.failed,
            "Incomplete response returned, reason: max_output_tokens",
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, EndKind) else None,
)
def test_a_failure_of_the_service_is_understood(
    desk: Desk, model: Server, step: Step, kind: EndKind, words: str
) -> None:
    model.play(always(step))
    ran = desk.call()
    assert ran.end.kind is kind
    assert words in ran.end.message
    assert (ran.supervision.returncode, ran.supervision.reason) == (1, "exited")


def test_a_service_that_cannot_be_reached_is_given_up(desk: Desk, model: Server) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        scripted.codex_home(codex.home(), nobody.getsockname()[1], request_max_retries=1, stream_max_retries=1)
        ran = desk.call()
    assert ran.end == End(EndKind.network, "Connection failed: error sending request")


def test_a_failed_turn_still_tells_its_tokens(desk: Desk, model: Server) -> None:
    model.play(lambda request: {"exec": "true"} if request.number == 0 else scripted.usage_limit(int(time.time()) + 60))
    ran = desk.call()
    assert ran.turn.usage is None
    assert read_rollout(codex.home(), ran.turn.thread or "").usage == Usage(100, 10, 20, 5)


def test_a_setting_that_codex_cannot_read_ends_it_before_the_turn(desk: Desk, codex_home: Path) -> None:
    (codex_home / "config.toml").write_text("model = [")
    ran = desk.call()
    assert ran.end.kind is EndKind.configuration
    assert ran.end.message.startswith(f"Error loading config.toml: {codex_home / 'config.toml'}:1:")
    assert not ran.turn.did_something


def test_a_thread_that_codex_does_not_know_is_told(desk: Desk) -> None:
    unknown = "01a20a3b-356e-76e1-b2fb-b59965bd8342"
    ran = desk.call(thread=unknown)
    assert ran.end.kind is EndKind.failed
    assert f"no rollout found for thread id {unknown}" in ran.end.message


# -- deadlines ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [{"delay": 600}, {"say": "so far", "stall": 600}], ids=["no headers", "no end"])
def test_a_model_that_falls_silent_is_not_waited_for(desk: Desk, model: Server, step: Step) -> None:
    model.play([step])
    desk.deadlines = Deadlines(silence=1.5)
    ran = desk.call()
    assert ran.end == End(EndKind.timed_out, "Codex was silent for too long")
    desk.deadlines = Deadlines()
    model.play([{"say": "Again."}])
    assert desk.call(thread=ran.turn.thread).turn.last_message == "Again."


def test_a_command_that_never_ends_is_not_waited_for(desk: Desk, model: Server) -> None:
    model.play([{"call": {"name": "exec_command", "arguments": {"cmd": "sleep 500", "yield_time_ms": 30000}}}])
    desk.deadlines = Deadlines(silence=1.0, command=2.0)
    ran = desk.call()
    assert ran.end == End(EndKind.timed_out, "a command did not end in time")
    assert ran.turn.running_commands() == ["sleep 500"]


def test_an_agent_that_goes_on_and_on_is_ended_in_time(desk: Desk, model: Server) -> None:
    model.play(always({"exec": "sleep 0.2"}))
    desk.deadlines = Deadlines(session=2.0)
    assert desk.call().end == End(EndKind.timed_out, "the session took too long")


# -- ends that are not Codex's own -------------------------------------------------------------------------------------

STUBBORN = (
    "echo here; setsid sh -c 'trap \"\" TERM; echo $$ > {note}; exec sleep 500' > /dev/null 2>&1 & "
    "while ! test -s {note}; do sleep 0.05; done; sleep 400"
)


def grandchild(note: Path) -> ProcessId | None:
    """The process that ignores TERM in a session of its own, by a variable: in the sandbox it has another id than here."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                is_sleep = (entry / "cmdline").read_bytes() == b"sleep\x00500\x00"
                if is_sleep and f"MARK={note}".encode() in (entry / "environ").read_bytes():
                    return process.identify(int(entry.name))
    return None


def born(note: Path, wait_until: Wait) -> ProcessId:
    """The grandchild, as soon as it ignores TERM."""
    wait_until(lambda: grandchild(note))
    found = grandchild(note)
    assert found is not None
    return found


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_the_sandbox_takes_a_stubborn_grandchild_along(
    desk: Desk, model: Server, signum: signal.Signals, wait_until: Wait
) -> None:
    note = desk.worktree / "note"
    model.play([{"exec": STUBBORN.format(note=note)}])
    codexes: list[ProcessId] = []
    left: list[ProcessId] = []

    def kill(event: Event) -> None:
        if isinstance(event, Command):
            left.append(born(note, wait_until))
            os.killpg(codexes[0].pid, signum)

    environment = {**codex.environment(desk.invocation.tmpdir), "MARK": str(note)}
    ran = desk.call(kill, on_start=codexes.append, env=environment)
    assert ran.end == End(EndKind.interrupted, f"Codex was ended by {signum.name}")
    wait_until(lambda: not process.alive(left[0]))


@pytest.mark.parametrize("by", ["thread", "attempt"])
def test_with_full_access_a_stubborn_grandchild_is_swept_up(
    desk: Desk, model: Server, wait_until: Wait, by: str
) -> None:
    note = desk.worktree / "note"
    model.play([{"exec": STUBBORN.format(note=note)}])
    stopped: list[bool] = []
    left: list[ProcessId] = []

    def stop(event: Event) -> None:
        if isinstance(event, Command):
            left.append(born(note, wait_until))
            stopped.append(True)

    environment = {
        **codex.environment(desk.invocation.tmpdir),
        "MARK": str(note),
        "GIT_AUTONOMOUS_ATTEMPT": "attempt-1",
    }
    ran = desk.call(stop, access=Access(full=True), should_stop=lambda: bool(stopped), env=environment)
    assert ran.end == End(EndKind.interrupted, "it was stopped")
    assert process.alive(left[0])
    marker = f"CODEX_THREAD_ID={ran.turn.thread}" if by == "thread" else "GIT_AUTONOMOUS_ATTEMPT=attempt-1"
    assert left[0].pid in process.sweep(marker, grace=0.2)
    assert not process.alive(left[0])


def test_a_stopped_thread_can_be_resumed(desk: Desk, model: Server) -> None:
    model.play([{"exec": "sleep 400"}, {"say": "On with it."}])
    stopped: list[Event] = []
    first = desk.call(
        lambda event: stopped.append(event) if isinstance(event, Command) else None, should_stop=lambda: bool(stopped)
    )
    assert first.end == End(EndKind.interrupted, "it was stopped")
    assert (first.supervision.returncode, first.turn.did_something) == (-signal.SIGTERM, True)
    second = desk.call(thread=first.turn.thread)
    assert (second.end.kind, second.turn.last_message) == (EndKind.completed, "On with it.")
    assert "aborted" in model.requests[1].text


def test_an_orphan_finishes_its_turn_and_is_followed_by_the_next_runner(
    desk: Desk, model: Server, wait_until: Wait
) -> None:
    model.play([{"exec": "while ! test -e go; do sleep 0.05; done"}, {"patch": PATCH}, {"say": "All done."}])
    transcript, note = desk.folder / "transcript.jsonl", desk.folder / "who"
    program = f"""
import json, os, pathlib
from gitautonomous import codex, supervision
from gitautonomous.events import Turn
note = pathlib.Path({str(note)!r})
def start(who):
    note.with_name("who.new").write_text(json.dumps([who.pid, who.start, who.boot]))
    note.with_name("who.new").rename(note)
lock = os.open({str(desk.folder / "agent.lock")!r}, os.O_RDWR | os.O_CREAT)
supervision.supervise({codex.exec_argv(desk.invocation)!r}, env=codex.environment({str(desk.invocation.tmpdir)!r}),
    prompt=b"go", transcript=pathlib.Path({str(transcript)!r}), stderr=note.with_name("stderr"), inherit=(lock,),
    deadlines=supervision.Deadlines(), turn=Turn(), rollout_home=codex.home(), on_event=lambda event: None,
    on_start=start, on_tick=lambda: None, should_stop=lambda: False, offset=0)
"""
    runner = subprocess.Popen([sys.executable, "-c", program])
    wait_until(lambda: transcript.exists() and b"item.started" in transcript.read_bytes())
    runner.kill()
    runner.wait()
    who = ProcessId(*json.loads(note.read_text()))
    assert process.holders(desk.folder / "agent.lock") == [who]
    (desk.worktree / "go").touch()
    turn, events = Turn(), list[Event]()
    ended = follow(
        who,
        transcript=transcript,
        deadlines=Deadlines(),
        turn=turn,
        rollout_home=codex.home(),
        on_event=events.append,
        on_tick=lambda: None,
        should_stop=lambda: False,
        offset=0,
    )
    assert ended == Supervision(None, "exited")
    assert desk.classify(turn, ended) == End(EndKind.completed, "")
    assert events[-2:] == [Said("All done."), TurnCompleted(Usage(300, 30, 60, 15))]
    assert [event.changes for event in events if isinstance(event, FileChange)][-1] == (
        (str(desk.worktree / "new.txt"), "add"),
    )
    assert process.holders(desk.folder / "agent.lock") == []


# -- rights ------------------------------------------------------------------------------------------------------------


def test_codex_hands_an_inherited_lock_on_to_none_of_its_commands(desk: Desk, model: Server) -> None:
    model.play([{"exec": "ls /proc/self/fd | tr '\\n' ' '"}])
    lock = os.open(desk.folder / "agent.lock", os.O_RDWR | os.O_CREAT)
    for access in (Access(), Access(full=True)):
        model.play([{"exec": "ls -l /proc/self/fd"}])
        printed = desk.call(inherit=(lock,), access=access).printed
        assert ("/proc" in printed, "agent.lock" in printed) == (True, False)
    os.close(lock)


def test_the_sandbox_protects_everything_but_the_worktree_and_the_private_folder(
    desk: Desk, model: Server, tmp_path: Path
) -> None:
    places = [
        desk.invocation.main_root / "README.md",
        desk.invocation.main_root / ".git" / "config",
        tmp_path,
        codex.home(),
    ]
    probes = [f"test -w {place} && echo open {place}" for place in [*places, "/tmp", "/var/tmp"]]
    model.play([{"exec": "; ".join([*probes, "echo x > mine", 'echo x > "$TMPDIR/mine"', "echo end"])}])
    ran = desk.call()
    assert ran.printed.splitlines()[-1] == "end"
    assert "open" not in ran.printed
    assert (desk.worktree / "mine").exists()
    assert (desk.invocation.tmpdir / "mine").exists()


def test_a_repository_below_tmp_is_as_protected_as_any_other(
    tmp_path: Path, codex_home: Path, engine: Codex, model: Server
) -> None:
    desk = make_desk(tmp_path / "area", make_repository(tmp_path / "area" / "repo"), engine)
    hook = desk.invocation.main_root / ".git" / "hooks" / "post-commit"
    model.play([{"exec": f"echo x > mine; echo x > {hook} || echo refused"}])
    assert "refused\n" in desk.call().printed
    assert (desk.worktree / "mine").exists()
    assert not hook.exists()


BIND = 'python3 -c \'import socket; socket.socket().bind(("127.0.0.1", 0)); print("bound")\' || echo refused'


def test_the_network_is_closed_unless_it_is_asked_for_whatever_the_users_settings_say(
    desk: Desk, model: Server, codex_home: Path
) -> None:
    with (codex_home / "config.toml").open("a") as file:
        file.write("[sandbox_workspace_write]\nnetwork_access = true\n")
    model.play([{"exec": BIND}])
    assert "refused\n" in desk.call().printed
    model.play([{"exec": BIND}])
    assert desk.call(access=Access(network=True)).printed.endswith("bound\n")


@pytest.mark.parametrize("name", ["plain", 'a "quoted" one', "back\\slash", "it's = {odd}.x", "ä☃"])
def test_the_settings_of_a_project_never_count_whatever_its_name(
    area: Path, codex_home: Path, engine: Codex, model: Server, name: str
) -> None:
    repo = make_repository(area / name)
    (repo / ".codex").mkdir()
    (repo / ".codex" / "config.toml").write_text('model = "of-the-project"\n')
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "Settings")
    with (codex_home / "config.toml").open("a") as file:
        for place in (repo, area / "task"):
            file.write(f'[projects.{json.dumps(str(place), ensure_ascii=False)}]\ntrust_level = "trusted"\n')
    desk = make_desk(area, repo, engine)
    before = (codex_home / "config.toml").read_text()
    subprocess.run([engine.path, "exec", "-C", desk.worktree, "-"], input=b"go", check=True, capture_output=True)
    assert model.requests[-1].body["model"] == "of-the-project"
    assert desk.call().end.kind is EndKind.completed
    assert model.requests[-1].body["model"] == "gpt-5.5"
    assert (codex_home / "config.toml").read_text() == before


def test_an_entry_of_the_user_reaches_codex(desk: Desk, model: Server) -> None:
    desk.call(config=("model_reasoning_effort=high",), model="gpt-5.4")
    assert model.requests[-1].body["model"] == "gpt-5.4"
    assert model.requests[-1].body["reasoning"]["effort"] == "high"


# -- checks ------------------------------------------------------------------------------------------------------------


def check(desk: Desk, command: str, access: Access = Access()) -> process.Completed:  # noqa: B008
    argv = codex.sandbox_argv(desk.invocation.codex, command, main_root=desk.invocation.main_root, access=access)
    return process.run(argv, cwd=desk.worktree, env=codex.environment(desk.invocation.tmpdir), timeout=20)


def test_a_check_has_the_rights_of_the_agent(desk: Desk) -> None:
    hook = desk.invocation.main_root / ".git" / "hooks" / "post-commit"
    ran = check(desk, f'echo x > mine; echo x > "$TMPDIR/mine"; echo x > {hook} || echo refused; {BIND}; exit 7')
    assert (ran.returncode, ran.stdout) == (7, b"refused\nrefused\n")
    assert (desk.worktree / "mine").exists()
    assert not hook.exists()
    assert check(desk, BIND, Access(network=True)).stdout == b"bound\n"
    assert check(desk, f"echo x > {hook}", Access(full=True)).returncode == 0
    assert hook.exists()


def test_a_check_leaves_no_server_behind(desk: Desk, wait_until: Wait) -> None:
    note = desk.worktree / "note"
    server = f"MARK={note} setsid sh -c 'trap \"\" TERM; echo $$ > {note}; exec sleep 500' > /dev/null 2>&1 &"
    ran = check(desk, f"{server} while ! test -s {note}; do sleep 0.05; done; echo done")
    assert (ran.returncode, ran.stdout) == (0, b"done\n")
    assert grandchild(note) is None


def test_a_check_that_takes_too_long_is_ended_with_all_it_started(desk: Desk, wait_until: Wait) -> None:
    note = desk.worktree / "note"
    argv = codex.sandbox_argv(
        desk.invocation.codex,
        f"MARK={note} setsid sh -c 'trap \"\" TERM; echo $$ > {note}; exec sleep 500' & sleep 400",
        main_root=desk.invocation.main_root,
        access=Access(),
    )
    ran = process.run(argv, cwd=desk.worktree, env=codex.environment(desk.invocation.tmpdir), timeout=6)
    assert ran.timed_out
    assert note.read_text()
    assert grandchild(note) is None


def test_the_sandbox_of_this_machine_works(engine: Codex, area: Path, codex_home: Path) -> None:
    codex.canary(engine, main_root=area, directory=area)
    assert [path.name for path in area.iterdir()] == ["codex-home"]
