"""What comes out where a standard stream is closed, full, read by nobody, or takes no Unicode."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import made
import pytest
from conftest import git
from program import PROGRAM, autonomous

COMMANDS = ["list", "list --json", "status todo", "review todo", "-h"]
TRANSCRIPT = """\
{"type":"thread.started","thread_id":"0199a213-81c0-7800-8aa1-bbab2a035a53"}
{"type":"item.completed","item":{"id":"item_0","type":"command_execution","command":"bash -lc 'ls “ü”'","aggregated_output":"日本\\n","exit_code":1,"status":"failed"}}
{"type":"item.completed","item":{"id":"item_1","type":"agent_message","text":"Fertig – “gut” 日本"}}
{"type":"turn.completed","usage":{"input_tokens":24763,"cached_input_tokens":24448,"output_tokens":122}}
"""


@pytest.fixture
def todo(repo: Path) -> Path:
    """A repository with a finished task."""
    made.finished(repo, "todo", {"a": "1\n"})
    return repo


def shell(folder: Path, command: str, streams: str) -> tuple[int, str]:
    """(exit status, standard error) of a command with its streams as a shell gives them."""
    argv = ["sh", "-c", f'"$@" {streams}', "sh", *PROGRAM, *command.split()]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_disturbs_nothing(todo: Path, closed: str) -> None:
    assert {command: shell(todo, command, closed) for command in COMMANDS} == dict.fromkeys(COMMANDS, (0, ""))


def test_output_that_cannot_be_written_is_an_error_in_words(todo: Path) -> None:
    said = "error: No space left on device\nhint: git autonomous doctor\n"
    assert {command: shell(todo, command, ">/dev/full") for command in COMMANDS} == dict.fromkeys(COMMANDS, (1, said))
    assert shell(todo, "status nothing", "2>/dev/full") == (1, "")


def test_a_reader_that_went_away_ends_a_command_as_it_ends_gits(todo: Path) -> None:
    for command in COMMANDS:
        reading, writing = os.pipe()
        os.close(reading)
        argv = [*PROGRAM, *command.split()]
        done = subprocess.run(argv, cwd=todo, stdout=writing, stderr=subprocess.PIPE, check=False)
        os.close(writing)
        assert (command, done.returncode, done.stderr) == (command, 141, b"")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_where_unicode_cannot_be_printed_everything_is_still_readable(todo: Path, encoding: str) -> None:
    worktree = made.worktree_of(todo, "todo")
    listed = worktree / ".autonomous/todo/task_list.md"
    listed.write_text(listed.read_text().replace("item 1", "item – “größe” 日本"))
    git(worktree, "commit", "--quiet", "-am", "Größe – 日本")
    transcript = todo / ".git/autonomous/tasks/todo/sessions/001.jsonl"
    transcript.parent.mkdir(parents=True)
    transcript.write_text(TRANSCRIPT)
    for command in ("list", "status todo", "review todo", "review todo 2", "log todo"):
        plain = autonomous(todo, *command.split(), PYTHONIOENCODING=encoding)
        full = autonomous(todo, *command.split())
        assert (command, plain.status, plain.err.isascii(), plain.out.isascii()) == (command, full.status, True, True)
        assert len(plain.out.splitlines()) == len(full.out.splitlines()) > 1
    assert '[x] item - "gr??e" ??' in autonomous(todo, "status", "todo", PYTHONIOENCODING="ascii").out
    assert '* Fertig - "gut" ??' in autonomous(todo, "log", "todo", PYTHONIOENCODING="ascii").out


def test_what_libgit2_cannot_write_is_an_error_in_words(todo: Path) -> None:
    git(todo, "commit", "--quiet", "--allow-empty", "-m", "News")
    argv = ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *PROGRAM, "prune"]
    done = subprocess.run(argv, cwd=todo, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"error: failed to \w+ .*: File too large\nhint: git autonomous doctor\n", done.stderr)
