"""A stand-in for Codex that costs next to nothing: benchmarks of hundreds of sessions measure the runner, not the agent.

`install` makes a `codex` that answers `--version`, `login status` and `sandbox` in a shell's builtins, and plays `exec --json`
with the rest of this file, which is a program of its own and imports nothing of the project. A turn of it writes the task list
(the first time), else ticks the first open item, adds an entry to progress.md and a file to the work, and says what Codex would
say. What it does beyond that is told by its environment:

STANDIN_LOG     file that gets a line for each turn: the epoch seconds of its first and of its last instruction
STANDIN_ITEMS   items of the list that it writes (default 3)
STANDIN_WORK    program that is run in the worktree before the turn ends
STANDIN_HANG    seconds that it goes on after its first event
STANDIN_ALONE   file that is locked during the turn, and gets a line when another turn has locked it
"""

import fcntl
import json
import os
import sys
import time

PROGRAM = """\
#!/bin/sh
case $1 in
--version) echo 'codex-cli 0.163.0' ;;
login) echo 'Logged in using a stand-in' ;;
sandbox)
    while [ "$1" != -- ]; do shift; done
    shift
    case "$*" in *'echo works'*) echo works ;; *) exec "$@" ;; esac ;;
*) exec {python} -I -S {script} "$@" ;;
esac
"""


def install(folder: str) -> str:
    """Put the stand-in into `folder` and return its path."""
    path = os.path.join(folder, "codex")
    with open(path, "w") as file:
        file.write(PROGRAM.format(python=sys.executable, script=os.path.abspath(__file__)))
    os.chmod(path, 0o755)
    return path


def main() -> None:
    began = time.time()
    arguments = sys.argv[1:]
    os.chdir(arguments[arguments.index("-C") + 1])
    name = os.path.basename(os.getcwd())
    sys.stdin.buffer.read()
    if "STANDIN_ALONE" in os.environ:
        stay_alone(os.environ["STANDIN_ALONE"])
    thread = arguments[arguments.index("resume") + 1] if "resume" in arguments else new_thread()
    say({"type": "thread.started", "thread_id": thread})
    say({"type": "turn.started"})
    message = work(f".autonomous/{name}")
    say({"type": "item.completed", "item": {"id": "item_0", "type": "agent_message", "text": message}})
    if "STANDIN_HANG" in os.environ:
        time.sleep(float(os.environ["STANDIN_HANG"]))
    if "STANDIN_WORK" in os.environ:
        os.system(os.environ["STANDIN_WORK"])
    with open(arguments[arguments.index("-o") + 1], "w") as file:
        file.write(message)
    usage = {"input_tokens": 1000, "cached_input_tokens": 100, "output_tokens": 50, "reasoning_output_tokens": 5}
    say({"type": "turn.completed", "usage": usage})
    if "STANDIN_LOG" in os.environ:
        log = os.open(os.environ["STANDIN_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(log, f"{began:.4f} {time.time():.4f}\n".encode())
    os._exit(0)


def stay_alone(path: str) -> None:
    alone = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
    try:
        fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.write(alone, f"{os.getpid()} was not alone\n".encode())


def new_thread() -> str:
    """A UUID of version 7, in the form that Codex uses."""
    digits = f"{int(time.time() * 1000):012x}7{os.urandom(2).hex()[:3]}8{os.urandom(8).hex()[:15]}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def say(event: dict[str, object]) -> None:
    os.write(1, json.dumps(event).encode() + b"\n")


def work(directory: str) -> str:
    """Do a session's work on the task whose tracking files are in `directory`, and return the closing message."""
    os.makedirs(directory, exist_ok=True)
    path = f"{directory}/task_list.md"
    if os.path.exists(path):
        with open(path) as file:
            before, _, after = file.read().partition("- [ ] ")
        item, text = after.partition("\n")[0], f"{before}- [x] {after}"
    else:
        items = int(os.environ.get("STANDIN_ITEMS", "3"))
        item = "the list"
        text = "# Task list\n\n## Tasks\n\n" + "".join(f"- [ ] Step {n} of the work\n" for n in range(1, items + 1))
    with open(path, "w") as file:
        file.write(text)
    with open(f"{directory}/progress.md", "a") as file:
        file.write(f"\n## {item}\n\nWhat was done, and what comes next.\n")
    os.makedirs("work", exist_ok=True)
    with open(f"work/{item.replace(' ', '-')}.txt", "w") as file:
        file.write(f"{item}\n" * 20)
    return f"Finished: {item}"


if __name__ == "__main__":
    main()
