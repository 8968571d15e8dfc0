"""The git binary: everything that changes worktrees, refs' deletion, the index or the configuration.

Reading objects and writing commits is objects.py (pygit2). No command here ever discovers a repository from a task's worktree: an agent owns that
folder and can put any `.git` there. Every command names its git dir, runs with a scrubbed environment and with hooks and fsmonitor off.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from . import filters, hostile, locks, nested, process
from .errors import AutonomousError, UsageError
from .nested import Listing

MINIMUM_GIT = (2, 39)

OUR_LOCK = "git autonomous works here"
"""The reason that the lock of a worktree gives while a runner works in it."""

# What git may be told to run by configuration that a repository can carry; none of it is wanted in our own commands.
QUIET = (
    "-c", "core.hooksPath=/dev/null",
    "-c", "core.fsmonitor=false",
    "-c", "core.fsync=objects,derived-metadata,reference,index",
    "-c", "gc.auto=0",
    "-c", "maintenance.auto=false",
    "-c", "submodule.recurse=false",
    "-c", "advice.detachedHead=false",
    "-c", "commit.gpgSign=false",
)  # fmt: skip

OFFLINE = ("-c", "lfs.url=", "-c", "lfs.skipDownloadErrors=true")
"""git-lfs asks no server, and a file that it does not have stays a pointer. Else an agent's `.lfsconfig` says who is asked, for what, and with whose password."""

ZERO = "0" * 40

KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(64 << 20), "MALLOC_TOP_PAD_": str(4 << 20)}
"""For a git that compresses thousands of files: else glibc asks the kernel for the memory of each anew, which takes three quarters of the time."""

UNPACK_LIMIT = 100
"""From so many new files on, git writes one pack instead of a file for each: the number that it has for what it fetches (transfer.unpackLimit)."""


def find_git(path: str | None = None, outside: Path | None = None) -> str:
    """The absolute path of git on PATH, never one below `outside`. Raises AutonomousError."""
    for folder in (path if path is not None else os.environ.get("PATH", os.defpath)).split(os.pathsep):
        if not os.path.isabs(folder):
            continue
        found = shutil.which("git", path=folder)
        if found and not (outside and Path(found).resolve().is_relative_to(outside.resolve())):
            return found
    raise AutonomousError("git is not on PATH", "apt install git")


def text(data: bytes) -> str:
    """Bytes of git's output as a string that gives the same bytes back (paths need that)."""
    return os.fsdecode(data)


@dataclass(frozen=True)
class Entry:
    """One entry of `git worktree list`."""

    path: Path
    head: str | None
    branch: str | None
    bare: bool
    locked: bool
    prunable: bool


@dataclass(frozen=True)
class Repository:
    """A repository by its common git dir, whichever of its worktrees the user stands in.

    common_dir: absolute; git_dir: of the worktree that the user stands in; toplevel: of that worktree, None in a bare repository or inside a git dir;
    superproject: the worktree of the repository that has this one as a submodule.
    """

    git: str
    common_dir: Path
    git_dir: Path
    toplevel: Path | None
    superproject: Path | None
    _environment: dict[str, str] = field(default_factory=process.clean_environment, repr=False)

    @staticmethod
    def discover(directory: Path | None = None, environ: Mapping[str, str] | None = None) -> Repository:
        """The repository around `directory` (default: the current one), honouring GIT_DIR and GIT_WORK_TREE of `environ` this one time.

        Raises AutonomousError where there is none.
        """
        git = find_git()
        environment = dict(os.environ if environ is None else environ)
        asked = ("--git-common-dir", "--git-dir", "--is-inside-work-tree")
        inside = ("--show-toplevel", "--show-superproject-working-tree")  # outside of a worktree git stops at these
        command = [git, "rev-parse", "--path-format=absolute", *asked, *inside]
        done = process.run(command, cwd=directory, env={**environment, "LC_ALL": "C"})
        answers = text(done.stdout).splitlines()
        if len(answers) < len(asked):
            why = last_words(done.stderr)
            if done.stderr and "not a git repository" not in why:
                raise AutonomousError(why, _advice(text(done.stderr), directory or Path()))
            raise AutonomousError(
                "not a git repository (or any of the parent directories)",
                "git init && git commit --allow-empty -m 'First commit'",
            )
        common, git_dir = (Path(answer).resolve() for answer in answers[:2])
        toplevel, superproject, *_ = (*map(Path, answers[len(asked) :]), None, None)
        return Repository(git, common, git_dir, toplevel, superproject)

    # -- running git ---------------------------------------------------------------------------------------------------------------------------

    def call(
        self,
        *arguments: str,
        input: bytes | None = None,
        git_dir: Path | None = None,
        work_tree: Path | None = None,
        extra: Mapping[str, str] | None = None,
        timeout: float | None = None,
        offline: bool = False,
        cwd: Path | None = None,
    ) -> process.Completed:
        """Run git with an explicit git dir (default: the common one) and return what came of it, whatever it was. `offline`: see OFFLINE."""
        where = [f"--git-dir={git_dir or self.common_dir}"]
        environment = self._environment
        if work_tree is not None:
            where.append(f"--work-tree={work_tree}")
            # The user's filters run in the agent's folder: a Python must not take its modules from there.
            environment = process.clean_environment({"PYTHONSAFEPATH": "1"}, outside=work_tree)
        environment = {**environment, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", **(extra or {})}
        if cwd is None:
            cwd = work_tree if work_tree is not None and work_tree.is_dir() else self.common_dir
        settings = (*QUIET, *OFFLINE) if offline else QUIET
        return process.run(
            [self.git, *where, *settings, *arguments], cwd=cwd, env=environment, input=input, timeout=timeout
        )

    def run(self, *arguments: str, **options: object) -> str:
        """Like `call`, but returns stdout as text and raises AutonomousError with git's own last words when it fails."""
        done = self.call(*arguments, **options)  # type: ignore[arg-type]
        if done.returncode:
            verb = arguments[2 * arguments.count("-c")]
            raise AutonomousError(f"git {verb} failed: {last_words(done.stderr)}")
        return text(done.stdout)

    # -- facts ---------------------------------------------------------------------------------------------------------------------------------

    @property
    def state_dir(self) -> Path:
        """`<common git dir>/autonomous`: everything local of this program, 0700."""
        return self.common_dir / "autonomous"

    def task_dir(self, task: str) -> Path:
        return self.state_dir / "tasks" / task

    def make_state_dir(self, *below: str) -> Path:
        """Create `<common git dir>/autonomous/<below>` with 0700 all the way down and return it."""
        path = self.state_dir
        path.mkdir(mode=0o700, exist_ok=True)
        for part in below:
            path = path / part
            path.mkdir(mode=0o700, exist_ok=True)
        return path

    def lock(self) -> AbstractContextManager[None]:
        """The repository-wide lock (a context manager): worktree add/remove/prune, ref deletion and config writes lose updates without it."""
        return locks.exclusive(str(self.make_state_dir() / "repository.lock"))

    def version(self) -> tuple[int, ...]:
        words = text(process.run([self.git, "--version"]).stdout).split()
        return tuple(int(part) for part in (words[2] if len(words) > 2 else "0").split(".")[:3] if part.isdecimal())

    def config(self) -> list[tuple[str, str, str]]:
        """Every configured value as (scope, key, value), lowest precedence first."""
        return parse_config(self.call("config", *CONFIG, git_dir=self.git_dir).stdout)

    @cached_property
    def configured(self) -> list[tuple[str, str, str]]:
        """`config` as it was when a command first asked: for what is settled before anything of an agent's runs."""
        return self.config()

    def identity(self) -> str:
        """`Name <mail>` of the user as git resolves it. Raises AutonomousError with git's hint."""
        return self._identity

    @cached_property
    def _identity(self) -> str:
        done = self.call(
            "var",
            "GIT_COMMITTER_IDENT",
            git_dir=self.git_dir,
            extra={k: v for k, v in os.environ.items() if k.startswith(("GIT_COMMITTER_", "GIT_AUTHOR_"))},
        )
        if done.returncode:
            raise AutonomousError(
                "git does not know who you are",
                'git config --global user.name "Your Name" && git config --global user.email you@example.com',
            )
        return text(done.stdout).rsplit(" ", 2)[0]

    def worktrees(self) -> list[Entry]:
        """All worktrees, the main one (or the bare repository) first."""
        entries = []
        for block in self.run("worktree", "list", "--porcelain", "-z").split("\0\0"):
            facts = dict(line.partition(" ")[::2] for line in block.split("\0") if line)
            if "worktree" in facts:
                entries.append(
                    Entry(
                        Path(facts["worktree"]),
                        facts.get("HEAD"),
                        facts.get("branch"),
                        "bare" in facts,
                        "locked" in facts,
                        "prunable" in facts,
                    )
                )
        return entries

    @property
    def main_root(self) -> Path:
        """The main worktree, or the bare repository itself, by git's own rule (see `git worktree list`): what Codex keys its trust on."""
        return self.common_dir.parent if self.common_dir.name == ".git" else self.common_dir

    @cached_property
    def is_bare(self) -> bool:
        entries = self.worktrees()
        return bool(entries) and entries[0].bare

    def head_branch(self) -> str | None:
        """The branch that the user's worktree is on (short name), also when it has no commit yet; None when HEAD is detached."""
        done = self.call("symbolic-ref", "--quiet", "HEAD", git_dir=self.git_dir)
        return text(done.stdout).strip().removeprefix("refs/heads/") if done.returncode == 0 else None

    def resolve(self, revision: str) -> str | None:
        """The commit that a revision names, or None."""
        done = self.call(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}", git_dir=self.git_dir
        )
        return text(done.stdout).strip() if done.returncode == 0 else None

    def full_name(self, revision: str) -> str:
        """The full name of the ref that a revision names (HEAD: the branch that it is on), empty where it names none."""
        command = ("rev-parse", "--symbolic-full-name", "--end-of-options", revision)
        names = text(self.call(*command, git_dir=self.git_dir).stdout).split()
        return names[-1] if names and names[-1].startswith("refs/") else ""

    def blob(self, commit: str, path: str) -> bytes | None:
        """The content of a file in a commit, None where there is none."""
        done = self.call("cat-file", "blob", f"{commit}:{path}")
        return done.stdout if done.returncode == 0 else None

    def dirty(self) -> bool:
        """Whether the user's own checkout has uncommitted changes (untracked files count). Read-only: takes no lock, refreshes nothing."""
        if self.toplevel is None:
            return False
        done = self.call(
            "status", "--porcelain", "--ignore-submodules=all", "--untracked-files=normal", "-z",
            git_dir=self.git_dir, work_tree=self.toplevel, extra={"GIT_OPTIONAL_LOCKS": "0"},
        )  # fmt: skip
        return bool(done.stdout)

    # -- refs ----------------------------------------------------------------------------------------------------------------------------------

    def update_ref(self, ref: str, new: str, old: str, reason: str) -> None:
        """Move a ref by compare-and-swap (`old` all zeros: must not exist). Raises AutonomousError when it moved meanwhile."""
        done = self.call(
            "update-ref", "--create-reflog", "-m", f"autonomous: {reason}", "--end-of-options", ref, new, old
        )
        if done.returncode:
            raise AutonomousError(f"cannot move {ref}: {last_words(done.stderr)}")

    def delete_ref(self, ref: str, old: str) -> None:
        with self.lock():
            self.run("update-ref", "-d", "--end-of-options", ref, old)

    def ref_locks(self, ref: str) -> list[Path]:
        """The lock files of a git that moves a ref, or was killed while it did."""
        names = [self.common_dir / f"{ref}.lock", self.common_dir / "logs" / f"{ref}.lock"]
        return [lock for lock in names if os.path.lexists(lock)]

    def drop_locks(self, left: Callable[[], list[Path]], *places: Path) -> None:
        """Remove the lock files that `left` finds, unless a git at work in one of `places` may own them: it gets its time. Raises AutonomousError when that is not enough."""
        deadline = time.monotonic() + 5.0
        while found := left():
            if not process.running_in("git", (*places, self.common_dir)) and not any(map(process.holders, found)):
                for lock in found:
                    lock.unlink(missing_ok=True)
            elif time.monotonic() >= deadline:
                where = (*places, self.common_dir)[0]
                raise AutonomousError(f"another git process works in {where}", f"rm {' '.join(map(str, found))}")
            else:
                time.sleep(0.05)

    # -- worktrees -----------------------------------------------------------------------------------------------------------------------------

    def worktree_of(self, branch: str) -> Entry | None:
        """The worktree that has `branch` (short name) checked out."""
        return next((entry for entry in self.worktrees() if entry.branch == f"refs/heads/{branch}"), None)

    def worktree_path(self, task: str, root: str | None) -> Path:
        """Where a task's worktree goes: `root`, else `../<repository>.autonomous/`, else below the common git dir."""
        if root:
            base = Path(root).expanduser()
            return (base if base.is_absolute() else self.main_root / base).resolve() / task
        parent = self.main_root.parent
        if self.superproject is None and os.access(parent, os.W_OK | os.X_OK):
            return parent / f"{self.main_root.name.removesuffix('.git') or 'repository'}.autonomous" / task
        return self.state_dir / "worktrees" / task

    def add_worktree(self, path: Path, branch: str, *, people: str | None = None) -> Worktree:
        """Check `branch` out at `path`; `people`: as in Worktree.populate. Only the registration needs the repository lock; the files come after it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with self.lock():
            if not path.exists():
                self._forget(path)
            self.run("worktree", "add", "--quiet", "--no-checkout", "--end-of-options", str(path), branch)
        worktree = Worktree.registered(self, path)
        worktree.populate(people)
        return worktree

    def remove_worktree(self, path: Path) -> None:
        """Unregister and delete a worktree of ours. The caller has kept what was in it."""
        with self.lock():
            self._forget(path)
            if path.exists():
                raise AutonomousError(f"{path} could not be removed", f"git worktree remove --force --force {path}")

    def _forget(self, path: Path) -> None:
        """Unregister this worktree and no other: one that is missing may lie on a drive that is not there at the moment. Registered or not, there or not."""
        if Worktree.admin_dir(self, path) is None:
            return
        self.call("worktree", "unlock", "--", str(path))
        self.call("worktree", "remove", "--force", "--force", "--", str(path))

    def refuse_unsafe_filters(self, worktree: Path | None = None) -> None:
        """Refuse a configured filter or merge driver that would run a file of the agent's worktree. Raises AutonomousError.

        `worktree`: where the agent's files are, whose names count then too.
        """
        for _, key, value in self.config():
            if filters.runs_commands(key) and (word := filters.unsafe_word(value, worktree)):
                name = os.path.basename(word)
                better = value.replace(word, shutil.which(name) or f"/absolute/path/to/{name}")
                raise AutonomousError(
                    f"{key} runs {word}, which would be found inside the agent's worktree",
                    f"git config {key} {shlex.quote(better)}",
                )


CONFIG = ("--list", "--show-scope", "-z")


def parse_config(output: bytes) -> list[tuple[str, str, str]]:
    """What `git config` printed for CONFIG as (scope, key, value)."""
    found = []
    fields = text(output).split("\0")
    for scope, entry in zip(fields[::2], fields[1::2], strict=False):
        if scope == "command":
            continue
        key, newline, value = entry.partition("\n")
        found.append((scope, key, value if newline else "true"))
    return found


def last_words(stderr: bytes) -> str:
    """git's own error in one line: the first is the cause, and what follows is advice; of what is not git's, a hook's say, the last."""
    lines = [line for line in text(stderr).strip().splitlines() if line and not line.startswith("hint:")]
    causes = [line for line in lines if line.startswith(("fatal: ", "error: ", "ssh: "))]
    return (causes or lines[-1:] or ["no message"])[0].removeprefix("fatal: ").removeprefix("error: ")


def _advice(words: str, directory: Path) -> str:
    """What to type where git does not open a repository: what it says itself, else what shows the line of the configuration that it cannot read."""
    own = re.search(r"^\t(git .+)$", words, re.MULTILINE)
    if own:
        return own[1]
    bad = re.search(r"bad config line (\d+) in file (.+)$", words, re.MULTILINE)
    if bad:
        here = directory.resolve()
        above = (folder / bad[2] for folder in (here, *here.parents))  # git names it from the top
        path = next((path for path in above if path.is_file()), bad[2])
        return f"sed -n {bad[1]}p {shlex.quote(str(path))}    # mend this line"
    if "current working directory" in words:
        return "cd ..    # then try again"
    return "git status    # tells it too, until it is mended"


class SwappedPointer(AutonomousError):
    """The `.git` of a task's worktree is not what git wrote there."""


@dataclass(frozen=True)
class Worktree:
    """A task's linked worktree, known by the git dir that git registered for it and never by what its `.git` says."""

    repository: Repository
    path: Path
    git_dir: Path

    @staticmethod
    def registered(repository: Repository, path: Path) -> Worktree:
        """The worktree registered for `path`. Raises AutonomousError where git knows none."""
        git_dir = Worktree.admin_dir(repository, path)
        if git_dir is None:
            raise AutonomousError(f"git knows no worktree at {path}", "git worktree list")
        return Worktree(repository, Path(path), git_dir)

    @staticmethod
    def admin_dir(repository: Repository, path: Path) -> Path | None:
        """The git dir of the worktree registered for `path`, whether the worktree is there or not; None where git knows none."""
        wanted = os.path.realpath(path)
        admin = repository.common_dir / "worktrees"
        for folder in sorted(admin.iterdir()) if admin.is_dir() else ():
            try:
                pointer = text((folder / "gitdir").read_bytes()).strip()
            except OSError:
                continue
            target = pointer if os.path.isabs(pointer) else os.path.join(folder, pointer)
            if os.path.realpath(os.path.dirname(target)) == wanted:
                return folder
        return None

    def call(self, *arguments: str, **options: object) -> process.Completed:
        return self.repository.call(*arguments, **{**self._options, **options})  # type: ignore[arg-type]

    def run(self, *arguments: str, **options: object) -> str:
        return self.repository.run(*arguments, **{**self._options, **options})

    @property
    def _options(self) -> dict[str, object]:
        return {"git_dir": self.git_dir, "work_tree": self.path, "offline": True}

    @property
    def ready_mark(self) -> Path:
        """There once the worktree was made ready for work. It goes with the worktree's registration."""
        return self.git_dir / "autonomous-ready"

    @property
    def index(self) -> Path:
        return self.git_dir / "index"

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Locked as by `git worktree lock`, so that no `prune` or `remove` takes it away. A lock of somebody else's stays as it is."""
        lock = self.git_dir / "locked"
        ours = not lock.exists() or lock.read_bytes().strip() == OUR_LOCK.encode()
        if ours:
            lock.write_text(OUR_LOCK + "\n")
        try:
            yield
        finally:
            if ours:
                lock.unlink(missing_ok=True)

    def populate(self, people: str | None = None) -> None:
        """Fill a worktree that was added without a checkout, or lost its index.

        A worktree that was ready once holds somebody's work: then only the index is made again. `people`: a commit of theirs; where `.lfsconfig` is as
        it is there, git-lfs may fetch files.
        """
        if self.ready_mark.exists():
            self.run("read-tree", "HEAD")
        else:
            self.run(
                "-c", f"checkout.workers={os.cpu_count() or 1}", "reset", "--quiet", "--hard", "--no-recurse-submodules",
                offline=people is None or self._lfs_differs(people),
            )  # fmt: skip
            sparse = self.call("config", "--type=bool", "--get", "core.sparseCheckout")
            if sparse.stdout.strip() == b"true":  # the list and the notes are there, however little else is
                self.run("sparse-checkout", "add", ".autonomous")

    def _lfs_differs(self, commit: str) -> bool:
        """Whether git-lfs is told something else in HEAD than in `commit`."""
        return self.call("diff-tree", "--quiet", commit, "HEAD", "--", ":(top,icase).lfsconfig").returncode != 0

    # -- the pointer ---------------------------------------------------------------------------------------------------------------------------

    def pointers(self) -> tuple[bytes, ...]:
        """What git writes into the worktree's `.git`: absolute, or relative with worktree.useRelativePaths."""
        relative = os.path.relpath(self.git_dir, os.path.realpath(self.path))
        return (b"gitdir: " + os.fsencode(self.git_dir) + b"\n", b"gitdir: " + os.fsencode(relative) + b"\n")

    def check_pointer(self) -> None:
        """Raise SwappedPointer unless `.git` is the regular file that git wrote, byte for byte."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(self.path / ".git", flags)
            try:
                content = os.read(descriptor, 8192)
            finally:
                os.close(descriptor)
        except OSError:
            content = b""
        if content not in self.pointers():
            raise SwappedPointer(
                f"the .git file of {self.path} was changed by somebody", "git autonomous doctor --repair"
            )

    def head(self) -> str:
        """The full name of the branch that this worktree is on, or the commit it is detached at."""
        return text((self.git_dir / "HEAD").read_bytes()).strip().removeprefix("ref: ")

    def unfinished(self) -> str | None:
        """What somebody began here with git and did not finish, such as "merge"; None when there is nothing."""
        begun = {
            "rebase-merge": "rebase", "rebase-apply": "rebase", "MERGE_HEAD": "merge", "CHERRY_PICK_HEAD": "cherry-pick",
            "REVERT_HEAD": "revert", "BISECT_START": "bisect",
        }  # fmt: skip
        return next((what for name, what in begun.items() if (self.git_dir / name).exists()), None)

    # -- staging -------------------------------------------------------------------------------------------------------------------------------

    def untracked(self) -> list[str]:
        """Untracked, not ignored paths; a nested repository shows as one path with a slash at its end."""
        return list(self.listing().untracked)

    def listing(self) -> Listing:
        """What the worktree holds beyond its index. Raises AutonomousError."""
        done = self.call(*nested.LISTING)
        if done.returncode or done.dropped:
            raise AutonomousError(
                f"git ls-files failed: {last_words(done.stderr) if done.returncode else 'too many files'}"
            )
        return nested.read_listing(done.stdout, done.stderr)

    def disarm_submodules(self, listing: Listing, attic: Path) -> list[str]:
        """Take the `.git` out of each submodule where it is not git's own: every git that looks at the worktree would obey it. Returns sentences."""
        notes = []
        for path in listing.gitlinks:
            folder = self.path / path
            if self._module(path) is None and nested.inside(self.path, folder) and os.path.lexists(folder / ".git"):
                notes.append(hostile.put_away(self.path, f"{path}/.git", attic))
        return notes

    def stage(self, files: Mapping[str, bytes], listing: Listing | None = None) -> tuple[str, dict[str, str]]:
        """Put the whole worktree into the index as `git add` would, then `files` (path: content) byte for byte, and write the tree.

        Files go in explicitly because many repositories ignore them and an attribute must not change them. Nested repositories stay out, and so does what git cannot
        take. `listing`: where it is known already. Returns the tree, and the paths that were left out with the reason. Raises AutonomousError.
        """
        self.drop_stale_locks()
        listing = listing or self.listing()
        excluded = dict.fromkeys(nested.repositories(self.path, listing), "a repository of its own")
        excluded |= dict.fromkeys(listing.closed, "cannot be opened")
        submodules = [path for path in listing.gitlinks if self._is_folder(path)]
        if excluded or listing.gitlinks or not self._add_changed(listing):
            excluded |= self._add([*excluded, *submodules], listing)
        modules = {path: commit for path in submodules if (commit := self._module(path))}
        tree = "" if modules else self.run("write-tree").strip()
        if not tree or not self._holds(tree, files):
            self.set_entries(files, modules)
            tree = self.run("write-tree").strip()
        return tree, excluded

    def _holds(self, tree: str, files: Mapping[str, bytes]) -> bool:
        """Whether `files` are in a tree byte for byte, as plain files."""
        from .objects import Objects  # who stages has it loaded; who only asks git has not

        found = Objects(self.repository.common_dir).plain_files(tree, files)
        return found == {path: blob_id(content) for path, content in files.items()}

    def _add_changed(self, listing: Listing) -> bool:
        """`git add --all` without a second walk through the worktree: `listing` tells what changed. False where git could not take all of it."""
        going_first = (*listing.modified, *listing.untracked)  # what is gone makes room
        paths = os.fsencode("".join(f"{path}\0" for path in going_first))
        command = (*written(listing), "update-index", "--add", "--remove", "-z", "--stdin")
        done = self.call(*command, input=paths, extra=KEEP_MEMORY)
        return done.returncode == 0 and b"Ignoring path" not in done.stderr

    def _add(self, left_out: Sequence[str], listing: Listing) -> dict[str, str]:
        """`git add --all` without `left_out`. Returns what git cannot take, with the reason; raises AutonomousError for any other failure."""
        pathspec = os.fsencode("\0".join([".", *(f":(top,exclude,literal){path}" for path in left_out)]))
        command = (*written(listing), "add", "--all", "--sparse", "--pathspec-from-file=-", "--pathspec-file-nul")
        done = self.call(*command, input=pathspec, extra=KEEP_MEMORY)
        if done.returncode == 0:
            return {}
        again = self.call(*command, "--ignore-errors", input=pathspec)
        listing = self.listing()
        left = [path for path in listing.changed if not below(path, left_out)]
        reasons = {path: reason for path in left if (reason := nested.obstacle(self.path / path))}
        if again.returncode > 1 or len(reasons) < len(left):
            raise AutonomousError(f"git add failed: {last_words(done.stderr)}", f"git -C {self.path} add --all")
        return reasons

    def _is_folder(self, path: str) -> bool:
        folder = self.path / path
        return folder.is_dir() and not folder.is_symlink() and nested.inside(self.path, folder)

    def _module(self, path: str) -> str | None:
        """The commit that a submodule is at, None where it is not populated by git itself."""
        module = nested.module_of(self.path / path, (self.git_dir / "modules", self.repository.common_dir / "modules"))
        if module is None:
            return None
        done = self.repository.call("rev-parse", "--verify", "--quiet", "HEAD^{commit}", git_dir=module)
        return text(done.stdout).strip() or None

    def set_entries(self, files: Mapping[str, bytes], submodules: Mapping[str, str] | None = None) -> None:
        """Put contents into the index under their paths, past ignore rules, attributes and sparse checkout; submodules by their commits."""
        entries = []
        for path, content in files.items():
            oid = self.run("hash-object", "-w", "--no-filters", "--stdin", input=content).strip()
            entries.append(f"100644 {oid}\t{path}\0")
        entries += [f"160000 {commit}\t{path}\0" for path, commit in (submodules or {}).items()]
        if entries:
            self.run("update-index", "--add", "--replace", "-z", "--index-info", input=os.fsencode("".join(entries)))

    def locks_left(self) -> list[Path]:
        """The lock files of a git that works here, or was killed: of the index, HEAD, the branch."""
        head = self.head()
        names = [self.git_dir / f"{name}.lock" for name in ("index", "HEAD", "ORIG_HEAD")]
        left = [lock for lock in names if os.path.lexists(lock)]
        return left + (self.repository.ref_locks(head) if head.startswith("refs/") else [])

    def drop_stale_locks(self) -> None:
        """Remove what a git that was killed left locked: the index, HEAD, the branch. Only called with the task's locks held and no agent alive.

        A git of the user's that is at work gets its time; raises AutonomousError when that is not enough.
        """
        self.repository.drop_locks(self.locks_left, self.path, self.git_dir)

    def restore(self, tree: str, keep: Iterable[str] = (), *, offline: bool = True) -> None:
        """Put index and files back to exactly `tree` and remove what is untracked; ignored files and the paths in `keep` stay. `offline`: see OFFLINE."""
        workers = f"checkout.workers={os.cpu_count() or 1}"
        self.drop_stale_locks()
        self.run("-c", workers, "read-tree", "--reset", "-u", "--no-recurse-submodules", tree, offline=offline)
        listing = self.listing()
        kept = [*keep, *nested.repositories(self.path, listing)]
        for path in listing.untracked:
            target = self.path / path
            if not below(path, kept) and nested.inside(self.path, target):
                target.unlink(missing_ok=True)

    def status(self) -> list[tuple[str, str]]:
        """(XY, path) of everything that is not as in HEAD, as `git status --porcelain` says it; nested repositories that stay out are not counted."""
        found = []
        fields = iter(
            self.run(
                "status", "--porcelain", "-z", "--no-renames", "--ignore-submodules=all", "--untracked-files=normal"
            ).split("\0")
        )
        for line in fields:
            if line and not (line.startswith("??") and line.endswith("/") and self.is_repository(line[3:])):
                found.append((line[:2], line[3:]))
        return found

    def is_repository(self, folder: str) -> bool:
        return os.path.lexists(self.path / folder / ".git")

    def clean(self) -> bool:
        """Whether index and files are as in HEAD."""
        return not self.status()

    def as_tree(self, tree: str, keep: Iterable[str] = ()) -> bool:
        """Whether index and files are as in `tree`, the paths in `keep` and nested repositories aside."""
        listing = self.listing()
        kept = [*keep, *nested.repositories(self.path, listing), *listing.gitlinks]
        return all(below(path, kept) for path in listing.changed) and self.run("write-tree").strip() == tree


def written(listing: Listing) -> Sequence[str]:
    """The options with which git writes many new contents into one pack: of 20,000 files each would have to wait for the disk.

    They are compressed as little as git compresses them in files of their own.
    """
    if len(listing.changed) < UNPACK_LIMIT:
        return ()
    return ("-c", "core.bigFileThreshold=1", "-c", "pack.compression=1")


def blob_id(content: bytes) -> str:
    """The name that git gives to a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def nested_repositories(root: Path, untracked: Sequence[str]) -> list[str]:
    """Of the untracked paths those that belong to another repository."""
    return nested.repositories(root, Listing(tuple(untracked), (), (), ()))


def below(path: str, folders: Iterable[str]) -> bool:
    """Whether `path` is one of `folders` or lies in one."""
    plain = path.rstrip("/")
    return any(plain == folder or plain.startswith(folder + "/") for folder in folders)


def check_branch_name(repository: Repository, name: str) -> None:
    """Raise UsageError when git could not hold `name` as a branch, or an existing branch stands in its way."""
    if repository.call("check-ref-format", "--branch", name).returncode:
        raise UsageError(f"'{name}' is not a valid branch name", 'git autonomous start --name another-name "GOAL"')
    parts = name.split("/")
    for end in range(1, len(parts)):
        above = "/".join(parts[:end])
        if repository.call("show-ref", "--verify", "--quiet", f"refs/heads/{above}").returncode == 0:
            raise AutonomousError(
                f"a branch named '{above}' stands in the way of '{name}'",
                f"git branch -m {above} {above}-old    # or: git config autonomous.branchPrefix tasks/",
            )
