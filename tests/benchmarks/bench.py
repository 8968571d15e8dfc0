"""What every benchmark stands on: a sealed place to work in, children that are not left behind, and pairs of timings."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from . import standin
from .budgets import BUDGETS

SOURCE = Path(__file__).resolve().parents[2]
# Outside the system's temporary folder, which may be in memory.
AREA = Path(os.environ.get("GIT_AUTONOMOUS_TEST_DIR") or Path.home() / ".cache" / "git-autonomous-tests")
# No gc in the background: it would be measured, and still be there when the folder is deleted.
GIT_CONFIG = """\
[user]
\tname = Ada Tester
\temail = ada@example.org
[init]
\tdefaultBranch = main
[gc]
\tauto = 0
"""
SEALED_OFF = ("GIT_", "XDG_", "CODEX_", "OPENAI_", "LC_", "STANDIN_", "NO_COLOR", "CLICOLOR", "FORCE_COLOR", "PYTHON")


@dataclass(frozen=True)
class Row:
    """One figure and what it is compared with. `n`: the size that was measured."""

    name: str
    ours: float
    denominator: float
    n: int = 0
    note: str = ""

    @property
    def ratio(self) -> float:
        return self.ours / self.denominator

    @property
    def ok(self) -> bool | None:
        limit = BUDGETS[self.name].at_most
        return None if limit is None else self.ratio <= limit

    def to_json(self) -> dict[str, Any]:
        budget = BUDGETS[self.name]
        return {
            "name": self.name,
            "what": budget.what.format(n=self.n),
            "ours": round(self.ours, 6),
            "unit": budget.unit,
            "against": budget.against,
            "denominator": round(self.denominator, 6),
            "ratio": round(self.ratio, 3),
            "budget": budget.at_most,
            "ok": self.ok,
            "note": self.note,
        }


def fixed(name: str, ours: float, n: int = 0, note: str = "") -> Row:
    """A row whose denominator is the budget's own figure."""
    limit = BUDGETS[name].fixed
    assert limit is not None
    return Row(name, ours, limit, n, note)


@dataclass
class Bench:
    """A temporary folder with an empty home, the environment that belongs to it, and the children that run in it.

    `short`: smaller sizes and fewer rounds. A context manager: in the end nothing of it is left.
    """

    short: bool
    root: Path = field(init=False)
    environment: dict[str, str] = field(init=False)

    def __enter__(self) -> Self:
        AREA.mkdir(parents=True, exist_ok=True)
        self.root = Path(tempfile.mkdtemp(dir=AREA, prefix="benchmark-"))
        home, temporary = self.folder("home"), self.folder("tmp")
        (home / "gitconfig").write_text(GIT_CONFIG)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(SEALED_OFF)}
        self.environment = {
            **kept,
            "HOME": str(home),
            "TMPDIR": str(temporary),
            "CODEX_HOME": str(home / ".codex"),
            "GIT_CONFIG_GLOBAL": str(home / "gitconfig"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTONOMOUS_CODEX": standin.install(str(self.folder("bin"))),
            "LC_ALL": "C.UTF-8",
            "PATH": os.pathsep.join((str(self.program.parent), str(Path(sys.executable).parent), kept["PATH"])),
        }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.root)

    def pick(self, full: int, short: int) -> int:
        """The size or the number of rounds for this run."""
        return short if self.short else full

    def folder(self, name: str) -> Path:
        path = self.root / name
        path.mkdir(parents=True)
        return path

    @property
    def python(self) -> str:
        return sys.executable

    def command(self, name: str, *arguments: str) -> list[str]:
        """`git autonomous NAME` without git in between, so that the process is the program itself."""
        return [str(self.program), name, *arguments]

    @cached_property
    def program(self) -> Path:
        """`git-autonomous` as an installer makes it, for this interpreter and this source."""
        path = self.folder("program") / "git-autonomous"
        path.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(SOURCE)!r})\n"
            "from gitautonomous.__main__ import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
        )
        path.chmod(0o755)
        return path

    # -- children ------------------------------------------------------------------------------------------------------

    def run(self, argv: Sequence[str | Path], cwd: Path, *, env: Mapping[str, str] | None = None) -> str:
        """Run a command to its end and return what it printed. Raises RuntimeError with its last words when it fails."""
        with self.start(argv, cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            out, err = child.communicate()
        check(argv, child.returncode, err)
        return out.decode(errors="replace")

    def seconds(
        self, argv: Sequence[str | Path], cwd: Path, *, env: Mapping[str, str] | None = None, stdin: bytes = b""
    ) -> float:
        """How long a command takes. What it prints is thrown away. Raises RuntimeError when it fails."""
        with tempfile.TemporaryFile(dir=self.root) as file, tempfile.TemporaryFile(dir=self.root) as errors:
            file.write(stdin)
            file.seek(0)
            began = time.perf_counter()
            with self.start(argv, cwd, env=env, stdin=file.fileno(), stderr=errors.fileno()) as child:
                child.wait()
            took = time.perf_counter() - began
            errors.seek(0)
            check(argv, child.returncode, errors.read())
        return took

    @contextmanager
    def start(
        self,
        argv: Sequence[str | Path],
        cwd: Path,
        *,
        env: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
        stderr: int = subprocess.DEVNULL,
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A command at work; it is ended, gently at first, where it still runs when the block is left."""
        child = subprocess.Popen(
            argv,
            cwd=cwd,
            env={**self.environment, **(env or {})},
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
        )
        try:
            yield child
        finally:
            if child.poll() is None:
                child.terminate()
                try:
                    child.wait(10)
                except subprocess.TimeoutExpired:
                    child.kill()
            child.wait()

    def git(self, folder: Path, *arguments: str | Path) -> str:
        return self.run(["git", "-C", folder, *arguments], self.root).removesuffix("\n")


def check(argv: Sequence[str | Path], status: int, stderr: bytes) -> None:
    """Raise RuntimeError with a command's last words when it failed."""
    if status:
        words = stderr.decode(errors="replace").strip().splitlines()
        raise RuntimeError(f"{' '.join(map(str, argv))[:200]}: status {status}: {' '.join(words[-3:])}")


def paired(rounds: int, *ways: Callable[[], float]) -> list[float]:
    """Call each way in turn, `rounds` times after one round to warm up, and return the median of each."""
    for way in ways:
        way()
    times = [[way() for way in ways] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Return as soon as `condition` holds. Raises RuntimeError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.01)


def peak_memory(pid: int | str) -> float:
    """The most memory (resident, in MB of a million bytes) that a process has ever had. Linux only: raises OSError elsewhere."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
