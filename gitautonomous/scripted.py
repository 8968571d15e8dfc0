"""A scripted model: enough of the OpenAI Responses API, on 127.0.0.1, for the real Codex to work against.

The demo and the tests run the real Codex with the real sandbox; only the model's words come from a scenario. A scenario is
a list of steps (the n-th request gets the n-th step, later ones a plain "done"), or a callable that gets a `Request` and
returns a step. As a process of its own, so that it outlives the program under test:

    python -m gitautonomous.scripted scenario.json --port-file FILE [--log FILE]

where scenario.json is a list of steps, or {"rules": [{"when": REGEX, "step": STEP}], "steps": [STEP, ...]}: the first rule whose
expression is found in the newest text of the request answers it, else the next step does.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypedDict, cast


class Step(TypedDict, total=False):
    """One answer of the model. Durations are seconds."""

    delay: float  # before anything is answered, the headers included
    drop: bool  # the connection is reset without an answer
    status: int  # a plain HTTP answer with this status and `body`, instead of a stream
    headers: Mapping[str, str]
    body: object
    think: str  # a summary of the model's reasoning
    say: str | Sequence[str]  # messages; the last one of a turn is its closing message
    exec: str | Sequence[str]  # commands for the shell
    patch: str | Sequence[str]  # calls of apply_patch (known models only, such as gpt-5.5)
    call: Mapping[str, object] | Sequence[Mapping[str, object]]  # any tool: {"name": ..., "arguments": {...}}
    stall: float  # before the stream is completed
    truncate: Literal["headers", "created", "items"]  # the stream is cut after this part
    failed: Mapping[str, str]  # the stream ends with response.failed: {"code": ..., "message": ...}
    incomplete: str  # the stream ends with response.incomplete and this reason
    usage: Mapping[str, int]  # tokens of this answer: input, cached, output, reasoning


@dataclass(frozen=True)
class Request:
    """What Codex asked: `number` counts all requests from 0, `turn` those of the same thread."""

    number: int
    turn: int
    thread: str
    text: str
    headers: Mapping[str, str] = field(repr=False)
    body: Mapping[str, Any] = field(repr=False)


Respond = Callable[[Request], Step]
Scenario = Respond | Sequence[Step]

DONE: Step = {"say": "done"}
DEFAULT_USAGE = {"input": 100, "cached": 10, "output": 20, "reasoning": 5}


def in_order(steps: Sequence[Step]) -> Respond:
    """The n-th request gets the n-th step; requests after the last one get a plain "done"."""
    return lambda request: steps[request.number] if request.number < len(steps) else DONE


def from_json(text: str) -> Respond:
    """The scenario of a JSON file, in the form that the module's docstring gives. Raises ValueError for any other form."""
    scenario: Any = json.loads(text)
    if isinstance(scenario, list):
        return in_order(scenario)
    if isinstance(scenario, dict) and scenario.keys() <= {"rules", "steps"}:
        rules = [(re.compile(rule["when"], re.DOTALL), rule["step"]) for rule in scenario.get("rules", ())]
        return _by_rules(rules, scenario.get("steps", ()))
    raise ValueError("a scenario is a list of steps, or an object with rules and steps")


def _by_rules(rules: Sequence[tuple[re.Pattern[str], Step]], steps: Sequence[Step]) -> Respond:
    remaining = iter(steps)

    def respond(request: Request) -> Step:
        for pattern, step in rules:
            if pattern.search(request.text):
                return step
        return next(remaining, DONE)

    return respond


def usage_limit(resets_at: int) -> Step:
    """The answer of an account whose usage limit is reached until `resets_at` (seconds since the epoch)."""
    return {
        "status": 429,
        "headers": {
            "x-codex-primary-used-percent": "100",
            "x-codex-primary-window-minutes": "300",
            "x-codex-primary-reset-at": str(resets_at),
        },
        "body": {
            "error": {
                "type": "usage_limit_reached",
                "message": "The usage limit has been reached",
                "plan_type": "pro",
                "resets_at": resets_at,
            }
        },
    }


def codex_home(path: Path, port: int, model: str = "gpt-5.5", **provider: int) -> Path:
    """Make `path` a CODEX_HOME whose only model provider is the server on `port`.

    `provider` sets further keys of it, such as request_max_retries, stream_max_retries or stream_idle_timeout_ms.
    Returns `path`.
    """
    path.mkdir(parents=True, exist_ok=True)
    lines = [
        f'model = "{model}"',
        'model_provider = "scripted"',
        "check_for_update_on_startup = false",
        "[analytics]",
        "enabled = false",
        "[model_providers.scripted]",
        'name = "scripted"',
        f'base_url = "http://127.0.0.1:{port}/v1"',
        'wire_api = "responses"',
        *(f"{key} = {value}" for key, value in provider.items()),
    ]
    (path / "config.toml").write_text("\n".join(lines) + "\n")
    return path


class Server:
    """The model as a context manager: it listens on `port` from the start, and ends every open answer when it is left.

    `requests` holds what was asked so far, in order; `log` names a file that gets each request's body as a line of JSON.
    """

    def __init__(self, scenario: Scenario = (), *, port: int = 0, log: Path | None = None) -> None:
        self.requests: list[Request] = []
        self._log = log
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self.play(scenario)
        self._http = _HTTPServer(("127.0.0.1", port), _Handler, self)
        self.port: int = self._http.server_address[1]

    def play(self, scenario: Scenario) -> None:
        """Answer from now on with `scenario`; requests count from 0 again."""
        with self._lock:
            self._respond: Respond = scenario if callable(scenario) else in_order(scenario)
            self.requests = []

    def serve(self) -> None:
        """Answer until `close`."""
        self._http.serve_forever(poll_interval=0.05)

    def close(self) -> None:
        """End every answer that is still open, and stop listening."""
        self._closed.set()
        self._http.shutdown()
        self._http.server_close()

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def step_for(self, headers: Mapping[str, str], body: Mapping[str, Any]) -> tuple[Request, Step]:
        """Record a request and let the scenario answer it."""
        thread = headers.get("thread-id") or headers.get("session-id") or str(body.get("prompt_cache_key", ""))
        with self._lock:
            turn = sum(request.thread == thread for request in self.requests)
            request = Request(len(self.requests), turn, thread, newest_text(body), headers, body)
            self.requests.append(request)
            if self._log:
                with self._log.open("a") as stream:
                    stream.write(json.dumps({"thread": thread, "text": request.text, "body": body}) + "\n")
            return request, self._respond(request)

    def wait(self, seconds: float) -> None:
        """Sleep, but no longer than the server lives."""
        self._closed.wait(seconds)


def newest_text(body: Mapping[str, Any]) -> str:
    """What the model has not seen before: the user's text and the tool outputs since its last answer."""
    parts: list[str] = []
    for item in reversed(body.get("input", [])):
        if item.get("role") == "assistant" or item.get("type") in ("function_call", "custom_tool_call", "reasoning"):
            break
        content = item.get("output", item.get("content", ""))
        if isinstance(content, list):
            content = "\n".join(part.get("text", "") for part in content)
        parts.append(str(content))
    return "\n".join(reversed(parts))


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[_Handler], model: Server) -> None:
        super().__init__(address, handler)
        self.model = model


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def model(self) -> Server:
        return cast(_HTTPServer, self.server).model

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent: the program's own screen shares this terminal."""

    def do_GET(self) -> None:
        self._plain(200 if "/models" in self.path else 404, {"models": [], "data": []}, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        request, step = self.model.step_for({key.lower(): value for key, value in self.headers.items()}, body)
        self.close_connection = True
        try:
            self._answer(request.number, step)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client was stopped while it listened

    def _answer(self, number: int, step: Step) -> None:
        self.model.wait(step.get("delay", 0))
        if step.get("drop"):
            self._reset()
        elif "status" in step:
            self._plain(step["status"], step.get("body", {"error": {"message": "scripted"}}), step.get("headers", {}))
        else:
            self._head(200, {"content-type": "text/event-stream", **step.get("headers", {})})
            for event in self._events(f"resp_{number}", number, step):
                self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
                self.wfile.flush()

    def _events(self, response: str, number: int, step: Step) -> Iterator[dict[str, Any]]:
        cut = step.get("truncate")
        if cut == "headers":
            return
        yield {"type": "response.created", "response": {"id": response}}
        if cut == "created":
            return
        for index, item in enumerate(output_items(number, step)):
            yield {"type": "response.output_item.done", "output_index": index, "item": item}
        if cut == "items":
            return
        self.model.wait(step.get("stall", 0))
        if "failed" in step:
            yield {
                "type": "response.failed",
                "response": {"id": response, "status": "failed", "error": dict(step["failed"])},
            }
        elif "incomplete" in step:
            reason = {"reason": step["incomplete"]}
            yield {
                "type": "response.incomplete",
                "response": {"id": response, "status": "incomplete", "incomplete_details": reason},
            }
        else:
            yield {"type": "response.completed", "response": {"id": response, "usage": _usage(step)}}

    def _plain(self, status: int, body: object, headers: Mapping[str, str]) -> None:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self._head(status, {"content-type": "application/json", **headers, "content-length": str(len(data))})
        self.wfile.write(data)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "connection": "close"}.items():
            self.send_header(key, value)
        self.end_headers()

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


def output_items(number: int, step: Step) -> list[dict[str, Any]]:
    """The items of a response: reasoning, then messages, then tool calls. `number` makes their ids unique."""
    items: list[dict[str, Any]] = []

    def add(prefix: str, **fields: object) -> None:
        items.append({"id": f"{prefix}_{number}_{len(items)}", **fields})

    def function(name: object, arguments: object, **more: object) -> None:
        call_id = f"call_{number}_{len(items)}"
        add("fc", type="function_call", call_id=call_id, name=name, arguments=json.dumps(arguments), **more)

    if "think" in step:
        summary = [{"type": "summary_text", "text": step["think"]}]
        add("rs", type="reasoning", encrypted_content="x", summary=summary)
    for text in _several(step.get("say", ())):
        add("msg", type="message", role="assistant", content=[{"type": "output_text", "text": text}])
    for command in _several(step.get("exec", ())):
        function("exec_command", {"cmd": command})
    for patch in _several(step.get("patch", ())):
        call_id = f"call_{number}_{len(items)}"
        add("ct", type="custom_tool_call", call_id=call_id, name="apply_patch", input=patch)
    for call in _several(step.get("call", ())):
        function(**call)
    return items


def _several(value: Any) -> Sequence[Any]:
    return [value] if isinstance(value, (str, Mapping)) else value


def _usage(step: Step) -> dict[str, Any]:
    tokens = {**DEFAULT_USAGE, **step.get("usage", {})}
    return {
        "input_tokens": tokens["input"],
        "input_tokens_details": {"cached_tokens": tokens["cached"]},
        "output_tokens": tokens["output"],
        "output_tokens_details": {"reasoning_tokens": tokens["reasoning"]},
        "total_tokens": tokens["input"] + tokens["output"],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve a scenario until the process is ended. The port file appears, complete, once the server listens."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m gitautonomous.scripted", description="Serve a scripted model.")
    parser.add_argument("scenario", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--port-file", type=Path)
    parser.add_argument("--log", type=Path)
    options = parser.parse_args(arguments)
    server = Server(from_json(options.scenario.read_text()), port=options.port, log=options.log)
    if options.port_file:
        unfinished = options.port_file.with_name(options.port_file.name + ".new")
        unfinished.write_text(str(server.port))
        unfinished.replace(options.port_file)
    print(f"listening on 127.0.0.1:{server.port}", file=sys.stderr, flush=True)
    try:
        server.serve()
    except KeyboardInterrupt:
        server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
