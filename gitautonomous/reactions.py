"""What a hook does when git calls it: `python -m gitautonomous.reactions HOOK PREFIX HEAD [ARGUMENT...]`, as `hooks/shim` does.

Exit status: 0, git may go on; 3, it may not, and it was said why; anything else, nobody could judge, and the shim decides. `GIT_AUTONOMOUS_GUARD=0` (the setting
`guard`) lets git go on whatever it is.

A person waits for each of these: what needs more than git and a look at the locks is imported where it is needed.
"""

from __future__ import annotations

import os
import sys
import time

from . import listing, locks, show, states
from .errors import AutonomousError, NeedsPerson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .config import Settings
    from .listing import Fields

EDIT = "Autonomous-Edit"
"""The trailer of a person's commit on a task's branch. It is not one of a session: whoever reads those looks for Autonomous-Task."""

LIST_LIMIT = 1024 * 1024
SHOWN = 5


class Refused(NeedsPerson):
    """git must not go on."""


class Here:
    """Where git called the hook: `git_dir` of the worktree, `branch` (short name, None where HEAD is detached; in a rebase the one that is rebased), `task` (its name on a task's
    branch, else None)."""

    def __init__(self, prefix: str, head: str) -> None:
        self.prefix = prefix
        self.git_dir = os.path.abspath(os.environ.get("GIT_DIR", ".git"))
        self.common_dir = listing.common_of(self.git_dir) or self.git_dir
        self.branch = head.removeprefix("ref: refs/heads/") if head.startswith("ref: refs/heads/") else None
        self.task = self.branch.removeprefix(prefix) if self.branch and self.branch.startswith(prefix) else None
        self.git = listing.Git(self.git_dir)
        if index := os.environ.get("GIT_INDEX_FILE"):
            self.git.environment["GIT_INDEX_FILE"] = os.path.abspath(index)

    def tasks(self, only: str | None = None) -> list[Fields]:
        return listing.tasks(self.common_dir, self.prefix, time.time(), only=only)

    def find(self, name: str) -> Fields | None:
        return next((task for task in self.tasks(only=name) if task["name"] == name), None)

    def folder(self, name: str) -> str:
        """The task's local files."""
        return os.path.join(self.common_dir, "autonomous", "tasks", name)

    def has(self, file: str) -> bool:
        """Whether the worktree's git dir has a file such as MERGE_HEAD."""
        return os.path.exists(os.path.join(self.git_dir, file))


def settings() -> Settings:
    """The settings that hold here. Raises UsageError for a wrong one."""
    from . import layers

    return layers.read_here().loaded.settings


def refuse(message: str, hint: str, command: str) -> None:
    """Raise Refused, with the command that does it all the same, unless the user said so already."""
    if settings().guard:
        raise Refused(message, f"{hint}    # or, all the same: GIT_AUTONOMOUS_GUARD=0 {command}")


def tell(text: str) -> None:
    print(f"autonomous: {show.one_line(text)}", file=sys.stderr, flush=True)


# -- looking -------------------------------------------------------------------------------------------------------------------------------------


def post_checkout(here: Here, arguments: Sequence[str]) -> None:
    """In a task's worktree: which task, where it stands, who runs it. On a base: the tasks that wait to be merged into it."""
    text = _standing(here, here.task) if here.task is not None else _waiting(here)
    if text and settings().announce:
        tell(text)


def _standing(here: Here, name: str) -> str:
    task = here.find(name)
    if task is None:
        return ""
    state = task["state"] + (f" ({task['reason']})" if task["reason"] else "")
    done = f", {task['done']} of {task['total']} items done" if task["total"] else ""
    runner = f", by {locks.owner(here.folder(name) + '/runner.lock')}" if task["state"] == states.RUNNING else ""
    return f"{name} is {state}{runner}{done}: {show.next_command(name, task['state'])}"


def _waiting(here: Here) -> str:
    names = [task["name"] for task in here.tasks() if task["state"] == states.FINISHED and task["base"] == here.branch]
    if not names:
        return ""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    verb = "is finished and waits" if len(names) == 1 else "are finished and wait"
    command = f"git autonomous merge {' '.join(names[:SHOWN])}"
    return f"{', '.join(names[:SHOWN])}{more} {verb} to be merged into {here.branch}: {command}"


# -- a person's commit on a task's branch --------------------------------------------------------------------------------------------------------


def pre_commit(here: Here, arguments: Sequence[str]) -> None:
    """Refuse a commit after which the task's files could not be read any more."""
    if here.task is not None:
        _check_tracking(here, here.task)


def _check_tracking(here: Here, name: str) -> None:
    folder = f".autonomous/{name}"
    changed = here.git.output("diff-index", "--cached", "--raw", "--no-renames", "-z", "HEAD", "--", folder)
    paths = {path.decode("utf-8", "surrogateescape") for path in changed.split(b"\0")[1::2]}
    problem = ""
    if f"{folder}/task_list.md" in paths:
        from . import listform

        before, after = (_text(here, f"{tree}:{folder}/task_list.md") for tree in ("HEAD", ""))
        problem = listform.problem(before, after)
    if f"{folder}/task.toml" in paths and not problem:
        from . import model

        try:
            model.read_task(name, _text(here, f":{folder}/task.toml").encode("utf-8", "replace"))
        except AutonomousError as error:
            problem = error.message
    if problem:
        refuse(problem, f"git restore --source=HEAD --staged -- {folder}", "git commit")


def _text(here: Here, name: str) -> str:
    """A blob by its name, "" where there is none."""
    return here.git.output("cat-file", "blob", name)[:LIST_LIMIT].decode("utf-8", "replace")


def commit_msg(here: Here, arguments: Sequence[str]) -> None:
    """Refuse a session's trailers in a person's message, and say whose commit it is. An amended session keeps its record, of which no more is claimed than is known."""
    name, file = here.task, arguments[0]
    if name is None or here.has("MERGE_HEAD") or here.has("CHERRY_PICK_HEAD"):
        return
    with open(file, "rb") as opened:
        written = opened.read()
    message = _stripped(here, written)
    if not message:
        return
    record = session_lines(message)
    if not record:
        _add_trailer(here, file, name, message)
    elif record != session_lines(
        here.git.output("show", "--no-patch", "--format=%B", "HEAD").decode("utf-8", "replace")
    ):
        refuse(
            f"only git autonomous writes the record of a session: {show.one_line(record[0])[:100]}",
            f"git commit --edit --file={file}",
            f"git commit --file={file}",
        )
    elif _is_changed(here):
        with open(file, "wb") as opened:
            opened.write(_unknown(here, name, written))


def session_lines(message: str) -> list[str]:
    """The lines of a message's last paragraph that make up a session's record."""
    block = message.rstrip().rpartition("\n\n")[2].split("\n")
    return [
        line
        for line in block
        if line.lower().startswith(("autonomous-", "codex-thread:")) and not line.startswith(f"{EDIT}:")
    ]


def _stripped(here: Here, written: bytes) -> str:
    """A message as git will take it: without comments, and without the diff that `git commit --verbose` shows."""
    cut = written.find(b" ------------------------ >8 ------------------------\n")
    if cut > 0:
        written = written[: written.rfind(b"\n", 0, cut) + 1]
    ours, theirs = os.pipe()
    pid, output = here.git.start("stripspace", "--strip-comments", stdin=ours)
    os.close(ours)
    with open(theirs, "wb") as file:
        file.write(written)
    return here.git.finish(pid, output).decode("utf-8", "replace").strip()


def _add_trailer(here: Here, file: str, name: str, message: str) -> None:
    if not message.startswith(("fixup! ", "squash! ", "amend! ")):
        path = os.path.abspath(file)
        here.git.output(
            "interpret-trailers",
            "--in-place",
            "--if-exists=doNothing",
            "--no-divider",
            f"--trailer={EDIT}: {name}",
            path,
        )


def _is_changed(here: Here) -> bool:
    return bool(here.git.output("diff-index", "--cached", "--raw", "HEAD"))


def _unknown(here: Here, name: str, written: bytes) -> bytes:
    """A session's message for other content than the session left: nobody has checked that."""
    from . import checklist

    listed = checklist.parse(_text(here, f":.autonomous/{name}/task_list.md"))
    head, gap, block = written.rpartition(b"\n\nAutonomous-Task: ")
    lines = block.split(b"\n")
    for number, line in enumerate(lines):
        if line in (b"Autonomous-Check: passed", b"Autonomous-Check: failed"):
            lines[number] = b"Autonomous-Check: unknown"
        elif line.startswith(b"Autonomous-Progress: "):
            lines[number] = b"Autonomous-Progress: %d/%d" % (listed.done, listed.total)
    return head + gap + b"\n".join(lines)


def post_commit(here: Here, arguments: Sequence[str]) -> None:
    """With `resumeOnCommit` a person's commit sends a paused task back to work, detached."""
    if here.task is None or not settings().resume_on_commit:
        return
    task = here.find(here.task)
    if task is None or task["state"] != states.PAUSED:
        return
    from . import process

    command = [sys.executable, "-P", "-m", "gitautonomous", "resume", "--detach", "--", here.task]
    done = process.run(command)
    for line in (done.stdout + done.stderr).decode("utf-8", "replace").splitlines():
        tell(line)


# -- moving a task's branch ----------------------------------------------------------------------------------------------------------------------


def pre_rebase(here: Here, arguments: Sequence[str]) -> None:
    """Refuse to rebase a branch that a runner works on."""
    branch = arguments[1].removeprefix("refs/heads/") if len(arguments) > 1 else here.branch or ""
    if branch.startswith(here.prefix):
        name = branch.removeprefix(here.prefix)
        if busy(here, name):
            refuse(f"'{name}' is being worked on ({_who(here, name)})", f"git autonomous stop {name}", "git rebase")


def busy(here: Here, name: str) -> bool:
    """Whether a runner, or a Codex that lost its own, works on the task."""
    return any(locks.is_held(f"{here.folder(name)}/{lock}.lock") for lock in ("runner", "agent"))


def _who(here: Here, name: str) -> str:
    return locks.owner(f"{here.folder(name)}/runner.lock") or "Codex, without its runner"


def pre_push(here: Here, arguments: Sequence[str]) -> None:
    """Refuse to push a task's branch while somebody works on it, and warn about unfinished tasks in what is pushed to their base."""
    pushed = [line.split() for line in sys.stdin.read().splitlines()]
    for local, oid, remote, _ in [fields for fields in pushed if len(fields) == 4 and fields[1].strip("0")]:
        for ref in dict.fromkeys((local, remote)):
            if ref.startswith(f"refs/heads/{here.prefix}"):
                _refuse_busy_push(here, ref.removeprefix(f"refs/heads/{here.prefix}"))
        if remote.startswith("refs/heads/") and not remote.startswith(f"refs/heads/{here.prefix}"):
            _warn_unfinished(here, oid, remote.removeprefix("refs/heads/"))


def _refuse_busy_push(here: Here, name: str) -> None:
    if busy(here, name):
        refuse(
            f"'{name}' is being worked on ({_who(here, name)}): who takes it over from a remote would work on it a second time",
            f"git autonomous stop {name}    # then push",
            "git push",
        )


def _warn_unfinished(here: Here, oid: str, branch: str) -> None:
    inside = here.git.output("for-each-ref", f"--merged={oid}", "--format=%(refname)", f"refs/heads/{here.prefix}")
    names = {os.fsdecode(ref).removeprefix(f"refs/heads/{here.prefix}") for ref in inside.splitlines()}
    for task in here.tasks() if names else ():
        if task["name"] in names and task["base"] == branch and (why := unfinished(task)):
            tell(f"warning: what you push to {branch} has '{task['name']}' in it, and {why}")


def unfinished(task: Fields) -> str:
    """Why a task is not to be merged, in words; "" for one that is finished."""
    if task["state"] in (states.RUNNING, states.WAITING):
        return f"it is being worked on ({task['reason']})"
    if task["state"] == states.BROKEN:
        return str(task["reason"])
    if not task["total"]:
        return "it has no task list yet"
    if task["done"] < task["total"]:
        return f"it is not finished: {task['done']} of {task['total']} items are done"
    if task["check"] == "failed":
        return "its checks fail"
    return "" if task["check"] in ("passed", "none") else "its checks have not run on its newest commit"


def nothing(here: Here, arguments: Sequence[str]) -> None:
    pass


REACTIONS: dict[str, Callable[[Here, Sequence[str]], None]] = {
    "post-checkout": post_checkout,
    "pre-commit": pre_commit,
    "commit-msg": commit_msg,
    "post-commit": post_commit,
    "pre-rebase": pre_rebase,
    "pre-push": pre_push,
    "prepare-commit-msg": nothing,
    "pre-merge-commit": nothing,
    "post-merge": nothing,
    "post-rewrite": nothing,
}


def main(hook: str, prefix: str, head: str, *arguments: str) -> int:
    try:
        REACTIONS[hook](Here(prefix, head), arguments)
    except AutonomousError as error:
        print(f"error: {show.one_line(error.message)}", file=sys.stderr)
        if error.hint:
            print(f"hint: {show.one_line(error.hint)}", file=sys.stderr)
        return error.exit_status if isinstance(error, Refused) else 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
