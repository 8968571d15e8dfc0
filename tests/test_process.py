from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gitautonomous import process
from gitautonomous.process import Completed, ProcessId

Wait = Callable[[Callable[[], object]], None]
STUBBORN = "trap '' TERM; "
"""Shell: ignore the request to end, and let children inherit that."""


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """`start(argv)` starts a process in a session of its own that does not outlive the test."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(*argv: str, **options: Any) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(argv, start_new_session=True, **options))
        return started[-1]

    yield begin
    for child in started:
        child.kill()
        child.wait()


def written_pid(path: Path, wait_until: Wait) -> int:
    """The process id that a shell wrote, with a line end, into `path`."""
    wait_until(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text())


def certain(pid: int) -> ProcessId:
    found = process.identify(pid)
    assert found is not None
    return found


def gone(pid: int) -> bool:
    found = process.identify(pid)
    return found is None or not process.alive(found)


def test_a_child_sees_no_git_variable_but_those_that_say_who_the_user_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for name in (
        *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_AUTHOR_DATE", "GIT_CONFIG_PARAMETERS", "GIT_EDITOR"),
        *("GIT_AUTONOMOUS_DELAY", "GIT_CONFIG_GLOBAL", "GIT_SSH_COMMAND", "GIT_ASKPASS", "GIT_SSL_CAINFO"),
    ):
        monkeypatch.setenv(name, "x")
    cleaned = process.clean_environment({"GIT_INDEX_FILE": "mine", "TMPDIR": "/private"})
    assert {name: value for name, value in cleaned.items() if name.startswith("GIT_")} == {
        "GIT_CONFIG_GLOBAL": "x",
        "GIT_SSH_COMMAND": "x",
        "GIT_ASKPASS": "x",
        "GIT_SSL_CAINFO": "x",
        "GIT_INDEX_FILE": "mine",
    }
    assert cleaned["TMPDIR"] == "/private"
    assert cleaned["PATH"] == os.environ["PATH"]


def test_run_returns_what_the_command_printed_and_its_status() -> None:
    ran = process.run(["sh", "-c", "cat; echo oops >&2; exit 3"], input=b"some\0bytes")
    assert ran == Completed(3, b"some\0bytes", b"oops\n")


def test_run_gives_a_command_without_input_an_empty_one(tmp_path: Path) -> None:
    assert process.run(["sh", "-c", "pwd; cat"], cwd=tmp_path) == Completed(0, f"{tmp_path}\n".encode(), b"")


def test_run_uses_a_clean_environment_unless_it_is_given_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    show = ["/bin/sh", "-c", 'echo "${GIT_DIR-unset} ${MINE-unset}"']
    assert process.run(show).stdout == b"unset unset\n"
    assert process.run(show, env={"MINE": "set"}).stdout == b"unset set\n"


def test_run_says_that_a_program_is_missing() -> None:
    with pytest.raises(FileNotFoundError):
        process.run(["/no/such/program"])


def test_run_takes_more_input_and_output_than_a_pipe_holds() -> None:
    data = os.urandom(1 << 20)
    assert process.run(["cat"], input=data) == Completed(0, data, b"")


def test_run_keeps_the_end_of_too_much_output() -> None:
    ran = process.run(["sh", "-c", "head -c 10000000 /dev/zero; echo the end"], limit=1000)
    assert ran == Completed(0, b"\0" * 992 + b"the end\n", b"", dropped=10_000_008 - 1000)


def test_run_ends_a_command_that_takes_too_long_with_its_children(tmp_path: Path, wait_until: Wait) -> None:
    note = tmp_path / "pid"
    ran = process.run(["sh", "-c", f"sleep 100 & echo $! > {note}; echo began; wait"], timeout=2)
    assert (ran.returncode, ran.stdout, ran.timed_out) == (-signal.SIGTERM, b"began\n", True)
    child = written_pid(note, wait_until)
    wait_until(lambda: gone(child))


def test_run_reads_the_last_words_of_a_command_that_is_made_to_end(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    words = "trap 'head -c 1000000 /dev/zero; echo bye; exit 7' TERM; echo began"
    ran = process.run(["sh", "-c", f"{words}; touch {ready}; while :; do sleep 0.05; done"], should_stop=ready.exists)
    assert ran == Completed(7, b"began\n" + b"\0" * 1_000_000 + b"bye\n", ran.stderr, timed_out=True)


def test_run_kills_a_command_that_will_not_end(tmp_path: Path) -> None:
    ready, began = tmp_path / "ready", time.monotonic()
    command = f"{STUBBORN} touch {ready}; while :; do sleep 0.1; done"
    ran = process.run(["sh", "-c", command], should_stop=ready.exists)
    assert (ran.returncode, ran.timed_out) == (-signal.SIGKILL, True)
    assert time.monotonic() - began > process.GRACE


def test_run_does_not_wait_for_a_server_that_the_command_left_behind(tmp_path: Path, wait_until: Wait) -> None:
    note = tmp_path / "pid"
    began = time.monotonic()
    ran = process.run(["sh", "-c", f"{STUBBORN} sleep 100 & echo $! > {note}; echo done"])
    assert ran == Completed(0, b"done\n", b"")
    assert time.monotonic() - began < 50
    server = written_pid(note, wait_until)
    wait_until(lambda: gone(server))


def test_run_ends_the_command_when_it_is_interrupted(tmp_path: Path, wait_until: Wait) -> None:
    note = tmp_path / "pid"
    script = f"from gitautonomous import process; process.run(['sh', '-c', 'echo $$ > {note}; sleep 100'])"
    runner = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL, start_new_session=True)
    command = certain(written_pid(note, wait_until))
    runner.send_signal(signal.SIGINT)
    runner.wait()
    assert not process.alive(command)


def test_a_second_interrupt_can_kill_the_child_that_is_waited_for(tmp_path: Path, wait_until: Wait) -> None:
    note, ran = tmp_path / "pid", threading.Event()

    def interrupt() -> None:
        written_pid(note, wait_until)
        while not ran.wait(0.02):
            process.kill_children()

    second = threading.Thread(target=interrupt)
    second.start()
    completed = process.run(["sh", "-c", f"{STUBBORN} sleep 100 & echo $! > {note}; wait"])
    ran.set()
    second.join()
    assert completed == Completed(-signal.SIGKILL, b"", b"")
    child = written_pid(note, wait_until)
    wait_until(lambda: gone(child))


def test_a_process_is_known_by_more_than_its_id(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    child = start("sleep", "100")
    known = certain(child.pid)
    assert known == ProcessId(child.pid, known.start, Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    assert process.alive(known)
    assert not process.alive(ProcessId(known.pid, known.start - 1, known.boot))
    assert not process.alive(ProcessId(known.pid, known.start, "another boot"))
    assert process.age(known) < 5


def test_a_process_that_nobody_reaped_counts_as_gone(
    start: Callable[..., subprocess.Popen[bytes]], wait_until: Wait
) -> None:
    child = start("sleep", "100")
    known = certain(child.pid)
    child.kill()
    wait_until(lambda: not process.alive(known))
    assert process.identify(child.pid) == known


def test_a_name_with_parentheses_and_blanks_hides_no_start_time(
    tmp_path: Path, start: Callable[..., subprocess.Popen[bytes]], wait_until: Wait
) -> None:
    odd = tmp_path / "a) S 1 (b"
    odd.symlink_to("/bin/sleep")
    child = start(str(odd), "100")
    wait_until(lambda: "a) S 1 (b" in Path(f"/proc/{child.pid}/comm").read_text())
    assert process.age(certain(child.pid)) < 5


def test_without_a_proc_file_system_ps_tells_when_a_process_started(
    start: Callable[..., subprocess.Popen[bytes]],
) -> None:
    child = start("sleep", "100")
    seen = process._look_with_ps(child.pid)
    assert seen is not None
    state, known = seen
    assert state in "SR"
    assert known == ProcessId(child.pid, known.start, "")
    assert -1 <= process.age(known) - process.age(certain(child.pid)) <= 2
    child.kill()
    child.wait()
    assert process._look_with_ps(child.pid) is None


def test_no_process_has_an_id_that_is_free() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert process.identify(child.pid) is None


def test_terminate_asks_before_it_kills(
    tmp_path: Path, start: Callable[..., subprocess.Popen[bytes]], wait_until: Wait
) -> None:
    ready = tmp_path / "ready"
    child = start("sh", "-c", f"trap 'exit 7' TERM; echo $$ > {ready}; while :; do sleep 0.02; done")
    process.terminate(certain(written_pid(ready, wait_until)))
    assert child.wait() == 7


def test_terminate_kills_the_whole_group_of_a_process_that_ignores_it(
    tmp_path: Path, start: Callable[..., subprocess.Popen[bytes]], wait_until: Wait
) -> None:
    note = tmp_path / "pid"
    child = start("sh", "-c", f"{STUBBORN} sleep 100 & echo $! > {note}; while :; do sleep 0.1; done")
    grandchild = certain(written_pid(note, wait_until))
    process.terminate(certain(child.pid), grace=0.3)
    assert child.wait() == -signal.SIGKILL
    wait_until(lambda: not process.alive(grandchild))


def test_terminate_does_not_spare_a_child_that_outlives_its_leader(
    tmp_path: Path, start: Callable[..., subprocess.Popen[bytes]], wait_until: Wait
) -> None:
    note = tmp_path / "pid"
    child = start("sh", "-c", f"({STUBBORN} sleep 100) & echo $! > {note}; wait")
    grandchild = certain(written_pid(note, wait_until))
    wait_until(lambda: Path(f"/proc/{grandchild.pid}/comm").read_text() == "sleep\n")
    began = time.monotonic()
    process.terminate(certain(child.pid))
    assert child.wait() == -signal.SIGTERM
    assert time.monotonic() - began < process.GRACE
    wait_until(lambda: not process.alive(grandchild))


def test_terminate_never_signals_a_stranger_with_the_same_id(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    stranger = start("sleep", "100")
    known = certain(stranger.pid)
    process.terminate(ProcessId(known.pid, known.start - 1, known.boot))
    process.terminate(ProcessId(known.pid, known.start, "another boot"))
    assert process.alive(known)


def test_sweep_finds_a_daemon_by_its_thread_and_spares_the_others(
    tmp_path: Path, start: Callable[..., subprocess.Popen[bytes]], wait_until: Wait
) -> None:
    note = tmp_path / "pid"
    environment = {**os.environ, "CODEX_THREAD_ID": "thread-1"}
    start("sh", "-c", f"(setsid sh -c 'trap \"\" TERM; echo $$ > {note}; sleep 100' &)", env=environment).wait()
    daemon = certain(written_pid(note, wait_until))
    other = start("sleep", "100", env={**os.environ, "CODEX_THREAD_ID": "thread-10"})
    swept = process.sweep("CODEX_THREAD_ID=thread-1", "OTHER=thing", grace=0.2)
    assert daemon.pid in swept
    assert other.pid not in swept
    assert not process.alive(daemon)
    assert process.alive(certain(other.pid))
    assert process.sweep("CODEX_THREAD_ID=thread-1") == []


def test_sweep_asks_before_it_kills(
    tmp_path: Path, start: Callable[..., subprocess.Popen[bytes]], wait_until: Wait
) -> None:
    ready = tmp_path / "ready"
    command = f"trap 'exit 7' TERM; echo $$ > {ready}; while :; do sleep 0.02; done"
    child = start("sh", "-c", command, env={**os.environ, "CODEX_THREAD_ID": "thread-2"})
    written_pid(ready, wait_until)
    assert child.pid in process.sweep("CODEX_THREAD_ID=thread-2")
    assert child.wait() == 7


def test_the_holder_of_an_inherited_file_is_found(
    tmp_path: Path, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    lock = tmp_path / "agent.lock"
    with lock.open("w") as file:
        child = start("sleep", "100", pass_fds=[file.fileno()])
        assert process.holders(lock) == [certain(child.pid)]
    assert process.holders(tmp_path / "missing") == []


def test_nobody_holds_a_file_that_only_this_process_has_open(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w"):
        assert process.holders(tmp_path / "lock") == []
