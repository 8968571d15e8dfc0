"""An agent by script: what a session of the model says and does, as steps for the scripted model."""

from __future__ import annotations

from collections.abc import Sequence

from gitautonomous.scripted import Request, Respond, Step

DIRECTORY = ".autonomous/{}"


def task_list(items: Sequence[str], checks: Sequence[str] = ()) -> str:
    lines = ["# A task", "", "## Tasks", *(f"- [ ] {item}" for item in items), ""]
    if checks:
        lines += ["## Checks", "```", *checks, "```", ""]
    return "\n".join([*lines, "## Proposed", ""])


def write_file(path: str, content: str) -> str:
    return f"mkdir -p $(dirname {path}) && cat > {path} <<'END_OF_FILE'\n{content}\nEND_OF_FILE"


def initializer(task: str, items: Sequence[str], checks: Sequence[str] = ()) -> list[Step]:
    """The session that writes the list."""
    folder = DIRECTORY.format(task)
    return [
        {
            "exec": [
                write_file(f"{folder}/task_list.md", task_list(items, checks)),
                write_file(f"{folder}/progress.md", "# Progress\n\n## Session 1\nWrote the list."),
            ]
        },
        {"say": f"The list has {len(items)} items."},
    ]


def executor(task: str, item: str, *commands: str, say: str = "It is done.") -> list[Step]:
    """A session that runs `commands`, then ticks `item`."""
    tick = f"sed -i 's/- \\[ \\] {item}/- [x] {item}/' {DIRECTORY.format(task)}/task_list.md"
    return [{"exec": [*commands, tick]}, {"say": say}]


def long_command(command: str) -> Step:
    """A command that the agent waits for as long as Codex lets it, half a minute: others go on in the background after ten seconds."""
    return {"call": {"name": "exec_command", "arguments": {"cmd": command, "yield_time_ms": 30_000}}}


def sessions(*scripts: Sequence[Step]) -> Respond:
    """One script after another, each for one thread; a thread beyond the last gets a plain "done"."""
    order: list[str] = []

    def respond(request: Request) -> Step:
        if request.thread not in order:
            order.append(request.thread)
        number = order.index(request.thread)
        steps = scripts[number] if number < len(scripts) else []
        return steps[request.turn] if request.turn < len(steps) else {"say": "done"}

    return respond
