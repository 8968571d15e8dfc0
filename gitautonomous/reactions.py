"""What a hook does when git calls it: `python -m gitautonomous.reactions HOOK PREFIX HEAD [ARGUMENT...]`, as `hooks/shim` does.

Exit status: 0, git may go on; 3, it may not, and it was said why; anything else, nobody could judge, and the shim decides. `GIT_AUTONOMOUS_GUARD=0` (the setting
`guard`) lets git go on whatever it is. `git merge` of a task's branch is `by_hand`.
"""

from __future__ import annotations

import os
import sys

from . import locks, show, states
from .calling import Here, Refused, busy, refuse, settings, tell, unfinished, who
from .errors import AutonomousError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EDIT = "Autonomous-Edit"
"""The trailer of a person's commit on a task's branch. It is not one of a session: whoever reads those looks for Autonomous-Task."""

SHOWN = 5
"""Tasks that one line names."""


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
    return f"{name} is {state}{runner}{done}: {show.next_for(task)}"


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
    """Refuse a commit after which the task's files could not be read any more, and one that concludes the merge of an unfinished task."""
    if here.task is not None:
        _check_tracking(here, here.task)
    if here.has("MERGE_HEAD") or here.has("SQUASH_MSG"):
        from . import by_hand

        by_hand.pre_commit(here)


def _check_tracking(here: Here, name: str) -> None:
    folder = f".autonomous/{name}"
    changed = here.git.output("diff-index", "--cached", "--raw", "--no-renames", "-z", "HEAD", "--", folder)
    paths = {path.decode("utf-8", "surrogateescape") for path in changed.split(b"\0")[1::2]}
    problem = ""
    if f"{folder}/task_list.md" in paths:
        from . import listform

        before, after = (here.text(f"{tree}:{folder}/task_list.md") for tree in ("HEAD", ""))
        problem = listform.problem(before, after)
    if f"{folder}/task.toml" in paths and not problem:
        from . import model

        try:
            model.read_task(name, here.text(f":{folder}/task.toml").encode("utf-8", "replace"))
        except AutonomousError as error:
            problem = error.message
    if problem:
        refuse(problem, f"git restore --source=HEAD --staged -- {folder}", "git commit")


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
    elif record != session_lines(here.message("HEAD")):
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
    return here.feed(written, "stripspace", "--strip-comments").decode("utf-8", "replace").strip()


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

    listed = checklist.parse(here.text(f":.autonomous/{name}/task_list.md"))
    head, gap, block = written.rpartition(b"\n\nAutonomous-Task: ")
    lines = block.split(b"\n")
    for number, line in enumerate(lines):
        if line in (b"Autonomous-Check: passed", b"Autonomous-Check: failed"):
            lines[number] = b"Autonomous-Check: unknown"
        elif line.startswith(b"Autonomous-Progress: "):
            lines[number] = b"Autonomous-Progress: %d/%d" % (listed.done, listed.total)
    return head + gap + b"\n".join(lines)


def post_commit(here: Here, arguments: Sequence[str]) -> None:
    """The merge of a task was concluded; or, with `resumeOnCommit`, a person's commit sends a paused task back to work, detached."""
    if here.has("autonomous-merge"):
        from . import by_hand

        by_hand.post_commit(here)
    if here.task is None or not _may_resume(here) or not settings().resume_on_commit:
        return
    task = here.find(here.task)
    if task is None or task["state"] != states.PAUSED:
        return
    from . import process

    command = [sys.executable, "-P", "-m", "gitautonomous", "resume", "--detach", "--", here.task]
    done = process.run(command)
    for line in (done.stdout + done.stderr).decode("utf-8", "replace").splitlines():
        tell(line)


def _may_resume(here: Here) -> bool:
    """Whether `resumeOnCommit` stands anywhere. To read all settings takes three times as long as the rest of a person's commit."""
    return (
        "GIT_AUTONOMOUS_RESUME_ON_COMMIT" in os.environ
        or bool(here.git.output("config", "--get", "autonomous.resumeOnCommit"))
        or "resumeOnCommit" in here.text("HEAD:.autonomous.toml")
    )


# -- moving a task's branch ----------------------------------------------------------------------------------------------------------------------


def pre_rebase(here: Here, arguments: Sequence[str]) -> None:
    """Refuse to rebase a branch that a runner works on."""
    branch = arguments[1].removeprefix("refs/heads/") if len(arguments) > 1 else here.branch or ""
    if branch.startswith(here.prefix):
        name = branch.removeprefix(here.prefix)
        if busy(here, name):
            refuse(f"'{name}' is being worked on ({who(here, name)})", f"git autonomous stop {name}", "git rebase")


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
            f"'{name}' is being worked on ({who(here, name)}): who takes it over from a remote would work on it a second time",
            f"git autonomous stop {name}",
            "git push",
        )


def _warn_unfinished(here: Here, oid: str, branch: str) -> None:
    inside = here.git.output("for-each-ref", f"--merged={oid}", "--format=%(refname)", f"refs/heads/{here.prefix}")
    names = {os.fsdecode(ref).removeprefix(f"refs/heads/{here.prefix}") for ref in inside.splitlines()}
    for task in here.tasks() if names else ():
        if task["name"] in names and task["base"] == branch and (why := unfinished(task)):
            tell(f"warning: what you push to {branch} has '{task['name']}' in it, and {why}")


# -- merging a task by hand ----------------------------------------------------------------------------------------------------------------------


def prepare_commit_msg(here: Here, arguments: Sequence[str]) -> None:
    from . import by_hand

    by_hand.prepare_message(here, *arguments[:2])


def pre_merge_commit(here: Here, arguments: Sequence[str]) -> None:
    from . import by_hand

    by_hand.pre_merge_commit(here)


def post_merge(here: Here, arguments: Sequence[str]) -> None:
    from . import by_hand

    by_hand.post_merge(here, squashed=arguments[0] == "1")


def post_rewrite(here: Here, arguments: Sequence[str]) -> None:
    """A session's commit was amended, or a task rebased: say what that means for its record. A base was rebased: it may have a task in it now."""
    if here.task is None:
        from . import by_hand

        by_hand.notice(here)
    elif arguments[0] == "amend":
        for old, new, *_ in (line.split() for line in sys.stdin):
            record = states.trailers(here.message(old))
            if record.get(states.TRAILER_TASK) == here.task and not states.trailers(here.message(new)):
                number = show.one_line(record.get("Autonomous-Session", "?"))[:10]
                tell(f"warning: the record of session {number} went with its message: git reset --soft {old[:10]}")
    else:
        task = here.find(here.task)
        if task is not None and task["check"] in ("passed", "failed") and settings().announce:
            tell(
                f"the checks of {here.task} ran before it was rebased; they run again in: git autonomous merge {here.task}"
            )


REACTIONS: dict[str, Callable[[Here, Sequence[str]], None]] = {
    "post-checkout": post_checkout,
    "pre-commit": pre_commit,
    "commit-msg": commit_msg,
    "post-commit": post_commit,
    "pre-rebase": pre_rebase,
    "pre-push": pre_push,
    "prepare-commit-msg": prepare_commit_msg,
    "pre-merge-commit": pre_merge_commit,
    "post-merge": post_merge,
    "post-rewrite": post_rewrite,
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
