"""What Codex says about its turn: one JSON object a line, parsed into events and folded into a `Turn`. Pure.

The stream (`codex exec --json`) has thread.started, turn.started, item.started / item.updated / item.completed, and
turn.completed or turn.failed. Facts that shape the parser, measured with Codex 0.163 and 0.169:

* a top-level "error" and an item of type "error" end nothing: the turn has ended with turn.completed, turn.failed, or the
  end of the stream;
* an item's id counts from 0 again in each process; after a retry items are told a second time;
* a command that still runs when the turn ends is never completed; a refused patch or command is no item at all;
* `usage` is the sum over the thread, resumed turns included, and is missing when a turn fails.

What is unknown is ignored, and what is no event (cut off, too long, too deep, numbers too big) is None, never an exception.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

LONGEST_LINE = 16 << 20
"""Bytes of the longest line that is parsed. Codex itself cuts a command's output at 1 MiB, six times that as JSON."""

Phase = Literal["started", "updated", "completed"]

_OUTPUT, _AFTER_OUTPUT = b',"aggregated_output":"', b'","exit_code":'
_SPACE = " \t\r\n"  # JSON's
_decode = json.JSONDecoder().raw_decode  # json.loads, which takes care of the space around it, needs half as long again
_KEPT = 1000  # commands, files and errors that a turn remembers, so that its memory does not grow with the transcript
_KEPT_TEXT = 4000  # characters of each
_KEPT_MESSAGE = 65536  # characters of the closing message
_SHELL = re.compile(r"(?:/\S*/)?(?:ba|z|da|k|)sh -l?c (?:'([^']*)'$)?", re.ASCII)


@dataclass(frozen=True)
class Usage:
    """Tokens. `input` includes the `cached` ones, `output` includes `reasoning`."""

    input: int = 0
    cached: int = 0
    output: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        return self.input + self.output

    def __sub__(self, other: Usage) -> Usage:
        return Usage(
            self.input - other.input,
            self.cached - other.cached,
            self.output - other.output,
            self.reasoning - other.reasoning,
        )


# The events. One is made for every line of a transcript; a frozen one would take three times as long to make.


@dataclass(slots=True)
class ThreadStarted:
    """The conversation has this id, now and whenever it is resumed."""

    thread: str


@dataclass(slots=True)
class TurnStarted:
    pass


@dataclass(slots=True)
class TurnCompleted:
    usage: Usage | None


@dataclass(slots=True)
class TurnFailed:
    message: str


@dataclass(slots=True)
class Trouble:
    """A failed request. Codex may still get over it: only `TurnFailed` is the end."""

    message: str


@dataclass(slots=True)
class Warned:
    """Something that Codex wants people to know, such as a setting that it ignores."""

    message: str


@dataclass(slots=True)
class Said:
    """A message of the agent; the last one of a turn is its closing message."""

    text: str


@dataclass(slots=True)
class Thought:
    text: str


@dataclass(slots=True)
class Command:
    """A shell command. `exit_code` is None while it runs, and when it was declined."""

    id: str
    phase: Phase
    command: str
    output: str
    exit_code: int | None
    status: str


@dataclass(slots=True)
class FileChange:
    """Files that a patch changed: (absolute path, "add", "delete" or "update")."""

    id: str
    phase: Phase
    changes: tuple[tuple[str, str], ...]
    status: str


@dataclass(slots=True)
class ToolCall:
    """A call of a tool of an MCP server, or of another agent. `error` is empty when it went well."""

    id: str
    phase: Phase
    tool: str
    status: str
    error: str


@dataclass(slots=True)
class Search:
    id: str
    phase: Phase
    query: str


@dataclass(slots=True)
class Plan:
    """The agent's own to-do list of this turn: (text, done)."""

    phase: Phase
    entries: tuple[tuple[str, bool], ...]


Event = (
    ThreadStarted
    | TurnStarted
    | TurnCompleted
    | TurnFailed
    | Trouble
    | Warned
    | Said
    | Thought
    | Command
    | FileChange
    | ToolCall
    | Search
    | Plan
)


def parse_object(line: bytes) -> dict[str, Any] | None:
    """The JSON object of a line; None when it is none, or one that a program should not touch."""
    if len(line) > LONGEST_LINE:
        return None
    try:
        text = line.decode().strip(_SPACE)
        value, end = _decode(text)
    except (ValueError, RecursionError):  # not JSON or UTF-8, a number with too many digits; nested too deep
        return None
    return value if isinstance(value, dict) and end == len(text) else None


def without_output(line: bytes) -> bytes:
    """A line of the stream that says the same, but for what a command printed: most of the bytes, and nothing that decides anything.

    Neither place that is looked for can stand inside a JSON string, where each quote has a backslash before it.
    """
    found = line.find(_OUTPUT)
    if found < 0:
        return line
    begin, end = found + len(_OUTPUT), line.rfind(_AFTER_OUTPUT)
    return line[:begin] + line[end:] if begin < end else line


def parse_event(line: bytes) -> Event | None:
    """The event of one line of the stream; None when it is unknown, or no event at all. Never raises."""
    raw = parse_object(line)
    if raw is None:
        return None
    match raw.get("type"):
        case "item.completed":
            return _item("completed", object_of(raw, "item"))
        case "item.started":
            return _item("started", object_of(raw, "item"))
        case "item.updated":
            return _item("updated", object_of(raw, "item"))
        case "thread.started":
            return ThreadStarted(text_of(raw, "thread_id"))
        case "turn.started":
            return TurnStarted()
        case "turn.completed":
            return TurnCompleted(usage_of(raw.get("usage")))
        case "turn.failed":
            return TurnFailed(text_of(object_of(raw, "error"), "message"))
        case "error":
            return Trouble(text_of(raw, "message"))
    return None


def _item(phase: Phase, item: dict[str, Any]) -> Event | None:
    match item.get("type"):
        case "agent_message":
            return Said(text_of(item, "text"))
        case "reasoning":
            return Thought(text_of(item, "text"))
        case "error":
            return Warned(text_of(item, "message"))
        case "command_execution":
            code = item.get("exit_code")
            command, output = shell_text(text_of(item, "command")), text_of(item, "aggregated_output")
            code = code if isinstance(code, int) else None
            return Command(text_of(item, "id"), phase, command, output, code, text_of(item, "status"))
        case "file_change":
            changes = tuple([(text_of(c, "path"), text_of(c, "kind")) for c in _objects(item, "changes")])
            return FileChange(text_of(item, "id"), phase, changes, text_of(item, "status"))
        case "mcp_tool_call" | "collab_tool_call":
            tool = ".".join(part for part in (text_of(item, "server"), text_of(item, "tool")) if part)
            error = text_of(object_of(item, "error"), "message")
            return ToolCall(text_of(item, "id"), phase, tool, text_of(item, "status"), error)
        case "web_search":
            return Search(text_of(item, "id"), phase, text_of(item, "query"))
        case "todo_list":
            entries = tuple((text_of(e, "text"), e.get("completed") is True) for e in _objects(item, "items"))
            return Plan(phase, entries)
    return None


def text_of(value: dict[str, Any], key: str) -> str:
    """The string of a key, or an empty one where there is none."""
    found = value.get(key)
    return found if isinstance(found, str) else ""


def object_of(value: dict[str, Any], key: str) -> dict[str, Any]:
    """The object of a key, or an empty one where there is none."""
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _objects(value: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = value.get(key)
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def usage_of(value: object) -> Usage | None:
    """The tokens of a "usage" object; None where it is none."""
    if not isinstance(value, dict):
        return None

    def count(key: str) -> int:
        number = value.get(key)
        return number if isinstance(number, int) else 0

    return Usage(
        count("input_tokens"),
        count("cached_input_tokens"),
        count("output_tokens"),
        count("reasoning_output_tokens"),
    )


def shell_text(command: str) -> str:
    """What a person would have typed: /bin/bash -lc 'make test' is "make test"."""
    shell = _SHELL.match(command)
    if shell is None or len(command) > _KEPT_TEXT:
        return command
    if shell[1] is not None:  # nearly always: shlex takes longer than the JSON
        return shell[1]
    try:
        words = shlex.split(command[shell.end() :])
    except ValueError:
        return command
    return words[0] if len(words) == 1 else command


@dataclass(slots=True)
class CommandRun:
    """A command that has ended. `exit_code` is None when it was declined."""

    command: str
    exit_code: int | None


@dataclass
class Turn:
    """What is known of a turn so far: `feed` it every event, in order.

    `usage` is cumulative over the thread. `open_commands` are those that run, by item id: the command, and when it was seen
    to start (on the clock that `feed` was given). Only the last thousand commands, files and errors are kept.
    """

    thread: str | None = None
    did_something: bool = False
    completed: bool = False
    failed: str | None = None
    last_message: str = ""
    usage: Usage | None = None
    last_action: str = "starting"
    waiting_network: int = 0
    open_commands: dict[str, tuple[str, float]] = field(default_factory=dict)
    open_calls: set[str] = field(default_factory=set)
    commands: deque[CommandRun] = field(default_factory=lambda: deque(maxlen=_KEPT))
    errors: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT))
    files: dict[str, str] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether the turn's last word was said, a good or a bad one."""
        return self.completed or self.failed is not None

    @property
    def busy(self) -> bool:
        """Whether a command, a tool or a search is at work, so that silence means nothing."""
        return bool(self.open_commands or self.open_calls)

    def running_commands(self) -> list[str]:
        """The commands that have not ended, oldest first: at the end of a turn those that went on in the background."""
        return [command for command, _ in self.open_commands.values()]

    def feed(self, event: Event, now: float = 0.0) -> None:
        """Take in the next event. `now`: seconds on any steady clock."""
        match event:
            case Command():
                self._command(event, now)
            case Said(text):
                self.last_message = text[:_KEPT_MESSAGE]
                self._did("thinking")
            case TurnStarted() | Thought():
                self.last_action = "thinking"
            case FileChange():
                self._files(event)
            case ThreadStarted(thread):
                self.thread = thread
            case TurnCompleted(usage):
                self.completed, self.usage, self.last_action = True, usage, "done"
            case TurnFailed(message):
                self.failed, self.last_action = message[:_KEPT_TEXT], "failed"
            case Trouble(message):
                offline = "waiting for network" in message
                self.errors.append(message[:_KEPT_TEXT])
                self.waiting_network += offline
                self.last_action = "waiting for the network" if offline else "trying again"
            case ToolCall(id, phase, tool):
                self._called(id, phase, f"calling {tool}")
            case Search(id, phase, query):
                self._called(id, phase, f"searching {query}")
            case Warned() | Plan():
                pass

    def _did(self, action: str) -> None:
        self.did_something = True
        self.last_action = action[:_KEPT_TEXT]

    def _command(self, event: Command, now: float) -> None:
        command = event.command[:_KEPT_TEXT]
        if event.phase == "completed":
            self.open_commands.pop(event.id, None)
            self.commands.append(CommandRun(command, event.exit_code))
        else:
            self.open_commands.setdefault(event.id, (command, now))
        running, _ = next(reversed(self.open_commands.values()), ("", 0.0))
        self._did(f"running {running}" if self.open_commands else "thinking")

    def _files(self, event: FileChange) -> None:
        self._did("editing " + ", ".join([path.rpartition("/")[2] for path, _ in event.changes]))
        if event.phase == "completed" and event.status != "failed":
            self.files.update(event.changes)
            while len(self.files) > _KEPT:
                del self.files[next(iter(self.files))]

    def _called(self, id: str, phase: Phase, action: str) -> None:
        if phase == "completed":
            self.open_calls.discard(id)
        else:
            self.open_calls.add(id)
        self._did("thinking" if phase == "completed" else action)
