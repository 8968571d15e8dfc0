"""Supervision is tested with small scripts that write what Codex writes; test_codex_real.py has the real one."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gitautonomous import process
from gitautonomous.errors import AutonomousError
from gitautonomous.events import Event, Said, ThreadStarted, Turn, TurnCompleted, TurnStarted, Usage
from gitautonomous.process import ProcessId
from gitautonomous.supervision import Deadlines, Supervision, follow, supervise

Wait = Callable[[Callable[[], object]], None]
THREAD = "01a20a3b-356e-76e1-b2fb-b59965bd8342"
STARTED = f'{{"type":"thread.started","thread_id":"{THREAD}"}}'
TURN = '{"type":"turn.started"}'
SAID = '{"type":"item.completed","item":{"id":"item_0","type":"agent_message","text":"hello"}}'
RUNNING = (
    '{"type":"item.started","item":{"id":"item_1","type":"command_execution","command":"make","status":"in_progress"}}'
)
RAN = '{"type":"item.completed","item":{"id":"item_1","type":"command_execution","command":"make","exit_code":0}}'
OFFLINE = '{"type":"error","message":"Reconnecting... waiting for network (no)"}'
COMPLETED = '{"type":"turn.completed","usage":{"input_tokens":5,"output_tokens":2}}'
EVENTS = [ThreadStarted(THREAD), TurnStarted(), Said("hello"), TurnCompleted(Usage(5, 0, 2, 0))]
STUBBORN = "trap '' TERM"
FOREVER = "while :; do sleep 0.1; done"


def script(*lines: str) -> list[str]:
    """A shell script; a line of JSON is printed."""
    return ["/bin/sh", "-c", "\n".join(f"echo '{line}'" if line.startswith("{") else line for line in lines)]


@dataclass
class Desk:
    """What a supervisor has before it: the files, and what it was told."""

    folder: Path
    turn: Turn = field(default_factory=Turn)
    events: list[Event] = field(default_factory=list)
    started: list[ProcessId] = field(default_factory=list)
    ticks: int = 0
    stop: bool = False
    deadlines: Deadlines = field(default_factory=Deadlines)

    @property
    def transcript(self) -> Path:
        return self.folder / "001.jsonl"

    @property
    def stderr(self) -> Path:
        return self.folder / "001.stderr"

    def tick(self) -> None:
        self.ticks += 1

    def stop_at_once(self, event: Event) -> None:
        """Ask Codex to end as soon as it has said something: its traps are set by then."""
        self.events.append(event)
        self.stop = True

    def supervise(self, argv: list[str], **changed: Any) -> Supervision:
        options: dict[str, Any] = {
            "env": process.clean_environment(),
            "prompt": b"the prompt",
            "transcript": self.transcript,
            "stderr": self.stderr,
            "inherit": (),
            "deadlines": self.deadlines,
            "turn": self.turn,
            "rollout_home": self.folder,
            "on_event": self.events.append,
            "on_start": self.started.append,
            "on_tick": self.tick,
            "should_stop": lambda: self.stop,
            "offset": 0,
        }
        return supervise(argv, **{**options, **changed})

    def follow(self, who: ProcessId | None, **changed: Any) -> Supervision:
        options: dict[str, Any] = {
            "transcript": self.transcript,
            "deadlines": self.deadlines,
            "turn": self.turn,
            "rollout_home": self.folder,
            "on_event": self.events.append,
            "on_tick": self.tick,
            "should_stop": lambda: self.stop,
            "offset": 0,
        }
        return follow(who, **{**options, **changed})


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def orphan(desk: Desk) -> Iterator[Callable[[list[str]], ProcessId]]:
    """`orphan(argv)` starts a process that writes to the transcript as one does whose supervisor died."""
    children: list[subprocess.Popen[bytes]] = []

    def start(argv: list[str]) -> ProcessId:
        with desk.transcript.open("ab") as file:
            children.append(subprocess.Popen(argv, stdout=file, start_new_session=True))
        who = process.identify(children[-1].pid)
        assert who is not None
        return who

    yield start
    for child in children:
        child.kill()
        child.wait()


def test_a_turn_is_followed_from_its_first_event_to_its_end(desk: Desk) -> None:
    ended = desk.supervise(script(STARTED, TURN, SAID, "echo a note >&2", COMPLETED, "exit 3"))
    assert ended == Supervision(3, "exited", stderr="a note\n")
    assert desk.events == EVENTS
    assert (desk.turn.thread, desk.turn.completed, desk.turn.last_message) == (THREAD, True, "hello")


def test_codex_leads_a_session_of_its_own_and_is_known_before_it_is_waited_for(desk: Desk) -> None:
    seen: list[bool] = []
    ended = desk.supervise(script("sleep 0.2"), on_start=lambda who: seen.append(process.alive(who)))
    assert (ended.reason, seen) == ("exited", [True])
    desk.supervise(script("ps -o pgid= -o sid= -p $$ >&2; echo $$ >&2"))
    group, session, pid = desk.stderr.read_text().split()
    assert (group, session, int(pid)) == (pid, pid, desk.started[0].pid)


def test_the_prompt_comes_from_a_file_without_a_name(desk: Desk) -> None:
    prompt = b"a prompt\n" * 100_000
    desk.supervise(["sh", "-c", "readlink /proc/self/fd/0 >&2; cat"], prompt=prompt)
    assert desk.transcript.read_bytes() == prompt
    assert desk.stderr.read_text().endswith("(deleted)\n")


def test_both_files_are_private_and_appended_to(desk: Desk) -> None:
    desk.transcript.write_text(f"{STARTED}\n")
    desk.stderr.write_text("an older note\n")
    ended = desk.supervise(script(TURN, "echo new >&2"), offset=desk.transcript.stat().st_size)
    assert ended == Supervision(0, "exited", stderr="new\n")
    assert desk.events == [TurnStarted()]
    assert desk.transcript.read_text() == f"{STARTED}\n{TURN}\n"
    assert desk.stderr.read_text() == "an older note\nnew\n"
    desk.supervise(script(TURN), transcript=desk.folder / "new.jsonl", stderr=desk.folder / "new.stderr")
    modes = [stat.S_IMODE((desk.folder / name).stat().st_mode) for name in ("new.jsonl", "new.stderr")]
    assert modes == [0o600, 0o600]


def test_a_link_in_the_place_of_the_transcript_is_not_followed(desk: Desk) -> None:
    desk.transcript.symlink_to(desk.folder / "elsewhere")
    with pytest.raises(AutonomousError, match="Codex could not be started"):
        desk.supervise(script(STARTED))
    assert not (desk.folder / "elsewhere").exists()


def test_a_program_that_is_missing_is_said_to_be(desk: Desk) -> None:
    with pytest.raises(AutonomousError) as raised:
        desk.supervise(["/no/such/codex"])
    assert raised.value.message == "Codex could not be started: [Errno 2] No such file or directory: '/no/such/codex'"


def test_an_inherited_lock_is_held_for_as_long_as_codex_lives(desk: Desk) -> None:
    lock = os.open(desk.folder / "agent.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    other = os.open(desk.folder / "agent.lock", os.O_RDWR)
    holders: list[ProcessId] = []

    def let_go(who: ProcessId) -> None:
        desk.started.append(who)
        os.close(lock)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(other)
        holders.extend(process.holders(desk.folder / "agent.lock"))

    desk.supervise(script("sleep 0.3"), inherit=(lock,), on_start=let_go)
    assert holders[0] == desk.started[0]
    free = os.open(desk.folder / "agent.lock", os.O_RDWR)
    fcntl.flock(free, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(free)


def test_a_line_that_is_written_in_pieces_is_one_event(desk: Desk) -> None:
    half = len(SAID) // 2
    desk.supervise(script(f"printf %s '{SAID[:half]}'; sleep 0.3; printf '%s\\n' '{SAID[half:]}'"))
    assert desk.events == [Said("hello")]


def test_the_last_line_counts_without_its_end(desk: Desk) -> None:
    desk.supervise(script(STARTED, f"printf %s '{SAID}'"))
    assert desk.events == [ThreadStarted(THREAD), Said("hello")]


def test_foreign_lines_are_passed_over(desk: Desk) -> None:
    desk.supervise(script(STARTED, "echo; echo noise; printf '\\377\\n'", SAID))
    assert desk.events == [ThreadStarted(THREAD), Said("hello")]


@pytest.mark.parametrize(
    ("reason", "deadlines", "lines"),
    [
        ("startup", Deadlines(startup=0.5), ()),
        ("silence", Deadlines(silence=0.5), (STARTED, TURN, SAID)),
        ("command", Deadlines(silence=0.5, command=0.8), (STARTED, TURN, RUNNING)),
        ("session", Deadlines(session=0.6), (STARTED, TURN, f"while echo '{SAID}'; do sleep 0.1; done")),
    ],
)
def test_each_deadline_ends_codex(desk: Desk, reason: str, deadlines: Deadlines, lines: tuple[str, ...]) -> None:
    desk.deadlines = deadlines
    began = time.monotonic()
    ended = desk.supervise(script(*lines, FOREVER))
    assert ended == Supervision(-signal.SIGTERM, reason)
    assert time.monotonic() - began > 0.4


def test_a_deadline_of_zero_is_none(desk: Desk) -> None:
    desk.deadlines = Deadlines(0, 0, 0, 0, 0)
    assert desk.supervise(script("sleep 0.5", STARTED, RUNNING, "sleep 0.5")) == Supervision(0, "exited")


def test_a_running_command_excuses_silence(desk: Desk) -> None:
    desk.deadlines = Deadlines(silence=0.5, command=10)
    assert desk.supervise(script(STARTED, RUNNING, "sleep 1", RAN)).reason == "exited"


def test_a_command_in_the_background_does_not_end_an_agent_at_work(desk: Desk) -> None:
    desk.deadlines = Deadlines(silence=2, command=2)
    busy = f"for i in $(seq 15); do echo '{SAID}'; sleep 0.2; done"  # longer than a command may take
    assert desk.supervise(script(STARTED, RUNNING, busy)).reason == "exited"


def test_waiting_for_the_network_is_no_sign_of_life(desk: Desk) -> None:
    desk.deadlines = Deadlines(silence=0.8)
    ended = desk.supervise(script(STARTED, TURN, f"while echo '{OFFLINE}'; do sleep 0.1; done"))
    assert (ended.reason, desk.turn.last_action) == ("silence", "waiting for the network")


def test_a_growing_rollout_file_is_a_sign_of_life(desk: Desk) -> None:
    sessions = desk.folder / "sessions" / "2026" / "11" / "23"
    sessions.mkdir(parents=True)
    desk.deadlines = Deadlines(silence=1.6)
    grow = f"for i in 1 2 3 4 5 6; do echo {{}} >> {sessions}/rollout-x-{THREAD}.jsonl; sleep 0.5; done"
    assert desk.supervise(script(STARTED, grow)).reason == "exited"


def test_codex_is_killed_with_its_group_when_it_will_not_end(desk: Desk, wait_until: Wait) -> None:
    note = desk.folder / "pid"
    began = time.monotonic()
    ended = desk.supervise(
        script(STUBBORN, f"sleep 100 & echo $! > {note}", STARTED, FOREVER), on_event=desk.stop_at_once
    )
    assert ended == Supervision(-signal.SIGKILL, "stopped")
    assert time.monotonic() - began > process.GRACE
    child = int(note.read_text())
    wait_until(lambda: (who := process.identify(child)) is None or not process.alive(who))


def test_stopping_ends_codex_and_keeps_what_it_wrote_last(desk: Desk) -> None:
    last_words = f"trap 'echo '\"'\"'{SAID}'\"'\"'; exit 0' TERM"
    ended = desk.supervise(script(last_words, STARTED, FOREVER), on_event=desk.stop_at_once)
    assert (ended.returncode, ended.reason) == (0, "stopped")
    assert desk.events == [ThreadStarted(THREAD), Said("hello")]


def test_a_second_signal_kills_a_codex_that_is_being_stopped(desk: Desk) -> None:
    def stop(event: Event) -> None:
        desk.stop_at_once(event)
        signal.setitimer(signal.ITIMER_REAL, 0.5)

    previous = signal.signal(signal.SIGALRM, lambda *_: process.kill_children())
    began = time.monotonic()
    try:
        ended = desk.supervise(script(STUBBORN, STARTED, FOREVER), on_event=stop)
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert ended == Supervision(-signal.SIGKILL, "stopped")
    assert time.monotonic() - began < process.GRACE


def test_codex_does_not_outlive_an_exception_of_its_supervisor(desk: Desk) -> None:
    def fail(event: Event) -> None:
        raise RuntimeError("the screen broke")

    with pytest.raises(RuntimeError, match="the screen broke"):
        desk.supervise(script(STARTED, FOREVER), on_event=fail)
    assert not process.alive(desk.started[0])


def test_codex_does_not_outlive_a_journal_that_cannot_be_written(desk: Desk) -> None:
    seen: list[ProcessId] = []

    def fail(who: ProcessId) -> None:
        seen.append(who)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        desk.supervise(script(FOREVER), on_start=fail)
    assert not process.alive(seen[0])


def test_the_screen_is_refreshed_while_nothing_happens(desk: Desk) -> None:
    def tick() -> None:
        desk.tick()
        if desk.ticks == 3:
            (desk.folder / "go").touch()

    assert (
        desk.supervise(script(f"until test -e {desk.folder}/go; do sleep 0.05; done"), on_tick=tick).reason == "exited"
    )
    assert desk.events == []


@pytest.mark.parametrize("lines", [(STARTED, TURN, SAID, COMPLETED), (STARTED, TURN)])
def test_an_orphan_that_has_ended_is_read_to_the_end(desk: Desk, lines: tuple[str, ...]) -> None:
    desk.transcript.write_text("".join(f"{line}\n" for line in lines))
    dead = ProcessId(2**22 - 3, 1, "a boot long ago")
    assert desk.follow(dead) == Supervision(None, "exited")
    assert desk.events == EVENTS[:2] + EVENTS[2 : len(lines)]
    assert desk.follow(None).reason == "exited"


def test_an_orphan_whose_transcript_was_never_made_has_no_events(desk: Desk) -> None:
    assert desk.follow(None) == Supervision(None, "exited")
    assert desk.events == []


def test_a_living_orphan_is_followed_from_its_first_event_to_its_end(
    desk: Desk, orphan: Callable[[list[str]], ProcessId], wait_until: Wait
) -> None:
    desk.transcript.write_text("an earlier attempt\n")
    offset = desk.transcript.stat().st_size
    who = orphan(script(STARTED, TURN, "sleep 0.5", SAID, COMPLETED))
    wait_until(lambda: TURN in desk.transcript.read_text())
    assert desk.follow(who, offset=offset) == Supervision(None, "exited")
    assert desk.events == EVENTS


def test_a_living_orphan_has_deadlines_too(desk: Desk, orphan: Callable[[list[str]], ProcessId]) -> None:
    desk.deadlines = Deadlines(silence=0.5)
    who = orphan(script(STARTED, FOREVER))
    assert desk.follow(who) == Supervision(None, "silence")
    assert not process.alive(who)


def test_the_age_of_an_orphan_counts_for_its_session(
    desk: Desk, orphan: Callable[[list[str]], ProcessId], wait_until: Wait
) -> None:
    desk.deadlines = Deadlines(session=1.0)
    who = orphan(script(STARTED, FOREVER))
    wait_until(lambda: process.age(who) > 1.0)
    assert desk.follow(who) == Supervision(None, "session")
    assert desk.ticks <= 2  # at the first look, not a second later


def test_a_living_orphan_can_be_stopped(desk: Desk, orphan: Callable[[list[str]], ProcessId], wait_until: Wait) -> None:
    desk.stop = True
    who = orphan(script(STUBBORN, STARTED, FOREVER))
    wait_until(desk.transcript.read_text)
    began = time.monotonic()
    assert desk.follow(who) == Supervision(None, "stopped")
    assert not process.alive(who)
    assert time.monotonic() - began > process.GRACE - 1


def test_a_stranger_with_the_id_of_an_orphan_is_left_alone(
    desk: Desk, orphan: Callable[[list[str]], ProcessId]
) -> None:
    stranger = orphan(script(FOREVER))
    desk.stop = True
    forged = ProcessId(stranger.pid, stranger.start - 1, stranger.boot)
    assert desk.follow(forged) == Supervision(None, "exited")
    assert process.alive(stranger)


def test_a_runner_that_is_killed_cuts_nothing_and_another_one_follows_to_the_end(desk: Desk, wait_until: Wait) -> None:
    note = desk.folder / "who"
    codex = script(
        "cat > prompt", STARTED, TURN, "while ! test -e go; do sleep 0.05; done", SAID, "echo noise >&2", COMPLETED
    )
    program = f"""
import json, pathlib
from gitautonomous import process, supervision
from gitautonomous.events import Turn
folder = pathlib.Path({str(desk.folder)!r})
def start(who):
    folder.joinpath("who.new").write_text(json.dumps([who.pid, who.start, who.boot]))
    folder.joinpath("who.new").rename(folder / "who")
supervision.supervise({codex!r}, env=process.clean_environment(), prompt=b"a prompt" * 100_000,
    transcript=folder / "001.jsonl", stderr=folder / "001.stderr", inherit=(), deadlines=supervision.Deadlines(),
    turn=Turn(), rollout_home=folder, on_event=print, on_start=start, on_tick=lambda: None, should_stop=lambda: False,
    offset=0)
"""
    runner = subprocess.Popen([sys.executable, "-c", program], cwd=desk.folder, stdout=subprocess.DEVNULL)
    wait_until(note.exists)
    runner.kill()
    runner.wait()
    who = ProcessId(*json.loads(note.read_text()))
    assert process.alive(who)
    (desk.folder / "go").touch()
    assert desk.follow(who) == Supervision(None, "exited")
    assert desk.events == EVENTS
    assert (desk.folder / "prompt").read_bytes() == b"a prompt" * 100_000


def test_a_codex_that_lingers_after_its_turn_is_ended(desk: Desk) -> None:
    desk.deadlines = Deadlines(farewell=0.3)
    ended = desk.supervise(script(STARTED, COMPLETED, FOREVER))
    assert ended == Supervision(-signal.SIGTERM, "exited")
    assert desk.turn.completed


@pytest.fixture
def peak() -> Iterator[Callable[[], int]]:
    """`peak()` is the most memory, in bytes, that was in use at once since the test began."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def test_a_line_of_a_gigabyte_takes_little_memory(desk: Desk, peak: Callable[[], int]) -> None:
    ended = desk.supervise(script(STARTED, "head -c 1000000000 /dev/zero; echo", SAID, COMPLETED))
    assert ended == Supervision(0, "exited", skipped=1)
    assert [type(event) for event in desk.events] == [ThreadStarted, Said, TurnCompleted]
    assert peak() < 50_000_000


def test_a_transcript_of_many_megabytes_takes_little_memory(desk: Desk, peak: Callable[[], int]) -> None:
    ran = {"id": "a", "type": "command_execution", "aggregated_output": "x" * 100_000}
    with desk.transcript.open("w") as file:
        for _ in range(2000):
            print(json.dumps({"type": "item.completed", "item": ran}), file=file)
    desk.follow(None, on_event=lambda event: None)
    assert len(desk.turn.commands) == 1000
    assert peak() < 10_000_000
