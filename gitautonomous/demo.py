"""`git autonomous demo`: the whole path, offline, in a scratch repository, with the real Codex and a scripted model.

Only the model's words come from the script below. Codex itself, its sandbox, the commands, the commits and the check are real.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from . import codex, git, process, scripted, show
from .errors import AutonomousError
from .scripted import Step

GOAL = "Write roman.py so that the tests in test_roman.py pass: Roman numerals both ways, and a command line."
NAME = "roman"
CHECK = "python3 -m unittest -q"
DIRECTORY = f".autonomous/{NAME}"

TESTS = '''\
"""What roman.py must do."""

import subprocess
import sys
import unittest


class Roman(unittest.TestCase):
    def test_to_roman(self):
        from roman import to_roman

        self.assertEqual([to_roman(n) for n in (1, 4, 9, 40, 1994, 3999)], ["I", "IV", "IX", "XL", "MCMXCIV", "MMMCMXCIX"])

    def test_from_roman(self):
        from roman import from_roman, to_roman

        self.assertTrue(all(from_roman(to_roman(n)) == n for n in range(1, 4000)))

    def test_bad_numerals_are_refused(self):
        from roman import from_roman

        for text in ("", "IIII", "VX", "hello"):
            self.assertRaises(ValueError, from_roman, text)

    def test_command_line(self):
        shown = subprocess.run([sys.executable, "roman.py", "1994", "MMXXVI"], capture_output=True, text=True)
        self.assertEqual(shown.stdout, "MCMXCIV\\n2026\\n")
'''

LIST = """\
# Roman numerals

Goal: roman.py passes every test of test_roman.py. The tests are the specification and are not to be changed.

## Tasks

### The conversions
- [ ] `to_roman` turns 1 to 3999 into numerals; `python3 -m unittest test_roman.Roman.test_to_roman` passes
- [ ] `from_roman` turns numerals back; the test of the round trip passes
- [ ] `from_roman` refuses what is no numeral with ValueError; its test passes

### The command line
- [ ] `python3 roman.py 1994 MMXXVI` prints both conversions; the whole suite passes

## Checks
```
python3 -m unittest -q
```

## Proposed
"""

PROGRESS = """\
# Progress

## How to work here
Test: `python3 -m unittest -q` (standard library only, nothing to install).

## Session 1
Read test_roman.py, wrote the list. Nothing is implemented yet, so every test fails. Next: `to_roman`.
"""

TO_ROMAN = '''\
+"""Roman numerals from 1 to 3999."""
+
+NUMERALS = {
+    1000: "M", 900: "CM", 500: "D", 400: "CD", 100: "C", 90: "XC", 50: "L", 40: "XL", 10: "X", 9: "IX", 5: "V", 4: "IV", 1: "I",
+}
+
+
+def to_roman(number):
+    """The numeral of a number from 1 to 3999. Raises ValueError for any other."""
+    if not 1 <= number <= 3999:
+        raise ValueError(f"{number} is not between 1 and 3999")
+    numeral = ""
+    for value, letters in NUMERALS.items():
+        numeral += letters * (number // value)
+        number %= value
+    return numeral'''


def add_file(path: str, content: str) -> str:
    lines = "".join(f"+{line}\n" for line in content.splitlines())
    return f"*** Begin Patch\n*** Add File: {path}\n{lines}*** End Patch\n"


def append(after: str, lines: str) -> str:
    added = "".join(f"+{line}\n" for line in lines.splitlines())
    return f"*** Begin Patch\n*** Update File: roman.py\n@@\n {after}\n{added}*** End Patch\n"


def tick(item: str, number: int, note: str) -> str:
    """The commands with which the scripted agent ticks an item and leaves its note."""
    entry = f"\n## Session {number}\n{note}\n"
    return (
        f"sed -i.bak 's/- \\[ \\] {item}/- [x] {item}/' {DIRECTORY}/task_list.md && rm {DIRECTORY}/task_list.md.bak"
        f" && cat >> {DIRECTORY}/progress.md <<'END'\n{entry}END"
    )


READ = f"cat {DIRECTORY}/task_list.md {DIRECTORY}/progress.md"
USAGE = {"input": 5200, "cached": 3100, "output": 640, "reasoning": 120}

SESSIONS: list[list[Step]] = [
    [
        {"think": "The tests describe what is wanted.", "exec": ["ls -a", "cat test_roman.py"]},
        {"patch": [add_file(f"{DIRECTORY}/task_list.md", LIST), add_file(f"{DIRECTORY}/progress.md", PROGRESS)]},
        {"say": "The goal is four items, one for each behaviour that the tests ask for. The check is the test suite."},
    ],
    [
        {"exec": READ},
        {"patch": f"*** Begin Patch\n*** Add File: roman.py\n{TO_ROMAN}\n*** End Patch\n"},
        {"exec": "python3 -m unittest -q test_roman.Roman.test_to_roman"},
        {"exec": tick("`to_roman`", 2, "`to_roman` works by greedy subtraction; its test passes. Next: `from_roman`.")},
        {"say": "`to_roman` is done and its test passes; the other tests still fail, as they should."},
    ],
    [
        {"exec": [READ, "python3 -m unittest -q test_roman.Roman.test_to_roman"]},
        {
            "patch": append(
                "    return numeral",
                '\n\nVALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}\n\n\n'
                "def from_roman(numeral):\n"
                '    """The number that a numeral stands for."""\n'
                "    total = 0\n"
                '    for letter, following in zip(numeral, numeral[1:] + " "):\n'
                "        value = VALUES[letter]\n"
                "        total += -value if VALUES.get(following, 0) > value else value\n"
                "    return total",
            )
        },
        {"exec": "python3 -m unittest -q test_roman.Roman.test_from_roman"},
        {"exec": tick("`from_roman` turns", 3, "`from_roman` adds and subtracts; the round trip of 1 to 3999 passes.")},
        {"say": "`from_roman` is done. It does not refuse bad numerals yet; that is the next item."},
    ],
    [
        {"exec": [READ, "python3 -m unittest -q test_roman.Roman.test_from_roman"]},
        {
            "patch": "*** Begin Patch\n*** Update File: roman.py\n@@\n"
            "-        value = VALUES[letter]\n+        value = VALUES.get(letter, 0)\n"
            "         total += -value if VALUES.get(following, 0) > value else value\n"
            "+    if not 1 <= total <= 3999 or to_roman(total) != numeral:\n"
            '+        raise ValueError(f"{numeral!r} is no Roman numeral")\n'
            "     return total\n*** End Patch\n"
        },
        {"exec": "python3 -m unittest -q test_roman.Roman.test_bad_numerals_are_refused"},
        {"exec": tick("`from_roman` refuses", 4, "A numeral counts only when it is the one that `to_roman` gives.")},
        {"say": "Bad numerals are refused: only the canonical form of a number is accepted."},
    ],
    [
        {"exec": [READ, CHECK]},
        {
            "patch": append(
                "    return total",
                '\n\nif __name__ == "__main__":\n    import sys\n\n    for text in sys.argv[1:]:\n'
                "        print(to_roman(int(text)) if text.isdigit() else from_roman(text))",
            )
        },
        {"exec": [CHECK, "python3 roman.py 1994 MMXXVI"]},
        {"exec": tick("`python3 roman.py", 5, "The command line converts each argument. The whole suite passes.")},
        {"say": "The command line works and the whole suite passes."},
    ],
]


def run(directory: Path | None) -> int:
    """Play the demo in `directory` (default: a new folder in the temporary folder) and return the exit status. Raises AutonomousError."""
    root = directory.resolve() if directory is not None else Path(tempfile.mkdtemp(prefix="git-autonomous-demo-"))
    repository = root / "numerals"
    if repository.exists():
        raise AutonomousError(f"{repository} exists already", f"git autonomous demo --directory {root}-2")
    engine = codex.find(None)
    say(f"The real Codex ({'.'.join(map(str, engine.version))}) works in a scratch repository: {repository}")
    say("Only the model's answers are scripted, so this needs no network, no account and no tokens.\n")
    make_repository(repository)
    steps = [dict(step) | {"usage": USAGE} for session in SESSIONS for step in session]
    with scripted.Server(steps) as server:  # type: ignore[arg-type]
        home = scripted.codex_home(root / "codex-home", server.port)
        environment = process.clean_environment({"CODEX_HOME": str(home), "GIT_AUTONOMOUS_CODEX": str(engine.path)})
        command = ["start", GOAL, "--name", NAME, "--check", CHECK, "--delay", "1"]
        status = play(repository, environment, "git autonomous", command)
    if status:
        return status
    environment = process.clean_environment()
    play(repository, environment, "git autonomous", ["list"])
    play(repository, environment, "git", ["log", "--oneline", f"main..autonomous/{NAME}"])
    play(repository, environment, "git", ["show", "--stat", "--format=%h %s%n%n%b", f"autonomous/{NAME}"])
    say(farewell(repository, engine, os.environ))
    return 0


def farewell(repository: Path, engine: codex.Codex, environ: Mapping[str, str]) -> str:
    """What to type next, in the shell that called: one that did not activate the environment that this runs in does not find it."""
    own = environ.get("VIRTUAL_ENV")
    path = (
        f"\n    PATH={shlex.quote(own)}/bin:$PATH" if own and Path(own).resolve() == Path(sys.prefix).resolve() else ""
    )
    return f"""\
That was one task: a branch, a worktree, one commit a session. Have a look round:

    cd {shlex.quote(str(repository))}{path}
    git autonomous status {NAME}
    git autonomous log {NAME}
    git autonomous review {NAME}
    git autonomous merge {NAME}

For real work, sign in and start in a repository of yours:

    {engine.typed} login
    git autonomous doctor
    git autonomous start "Build a REST API for a todo app"

or with a local model, which a profile of Codex names:

    git autonomous start --profile NAME "GOAL"
"""


def make_repository(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "test_roman.py").write_text(TESTS)
    (path / ".gitignore").write_text("__pycache__/\n")
    environment = process.clean_environment()
    name = process.run(["git", "config", "user.name"], cwd=path, env=environment)
    commands = [["init", "--quiet", "--initial-branch=main"]]
    if name.returncode:
        commands += [["config", "user.name", "Demo"], ["config", "user.email", "demo@localhost"]]
    commands += [["add", "."], ["commit", "--quiet", "--no-verify", "--no-gpg-sign", "-m", "Tests for Roman numerals"]]
    for arguments in commands:
        done = process.run([git.find_git(), *arguments], cwd=path, env=environment)
        if done.returncode:
            raise AutonomousError(f"git {arguments[0]} failed: {git.last_words(done.stderr)}")


def play(repository: Path, environment: dict[str, str], shown: str, arguments: list[str]) -> int:
    """Show a command, run it in the repository on this terminal, and return its exit status."""
    say(f"$ {shown} " + " ".join(f'"{word}"' if " " in word else word for word in arguments))
    argv = (
        [sys.executable, "-P", "-m", "gitautonomous"] if shown == "git autonomous" else [git.find_git(), "--no-pager"]
    )
    status = subprocess.run([*argv, *arguments], cwd=repository, env=environment, check=False).returncode
    say("")
    return status


def say(text: str) -> None:
    """To be pasted is what begins with "$ ", or a space: it stays whole."""
    bold = text.startswith("$ ") and show.colour(sys.stdout, os.environ)
    width = show.columns(sys.stdout, os.environ)
    for line in text.split("\n"):
        whole = line.startswith(("$ ", " "))
        print(show.paint(line, show.BOLD * bold) if whole else "\n".join(show.wrap(line, width)), flush=True)
