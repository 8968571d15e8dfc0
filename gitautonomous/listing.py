"""Every task of a repository with its state, read from the refs in one go.

Light on purpose, like states.py: one `git for-each-ref` tells the tips, and each session's commit carries its own summary. What a tip tells is kept (summaries.py); what is not
known yet is read by one `git cat-file --batch-command`. Never a process per task.
"""

from __future__ import annotations

import os
import time

from . import conflicts, locks, outside, states, summaries, trusted
from .quick_git import Git

USUAL = [
    states.TRAILER_TASK,
    "Autonomous-Session",
    "Autonomous-Role",
    "Autonomous-Outcome",
    "Autonomous-Progress",
    "Autonomous-Check",
    "Autonomous-Base",
    "Autonomous-Tokens",
    "Autonomous-Seconds",
    "Codex-Thread",
    "Assisted-by",
]
"""The trailers of nearly every session."""
NO_COMMIT = "0" * 40
RESULT = "-result"
"""Ends the ref of what a merged task became in its base, where that does not have the task's own commits."""
WORTH_KEEPING = 20
"""Tips that are new: to read fewer of them again takes no longer than to keep what they tell."""
ANCESTORS = 512
"""How many commits of a person above the last session's are looked through for its summary."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

    Fields = dict[str, Any]
    Word = tuple[str | None, str | None, tuple[str, str] | None]

NO_WORD = (None, None, None)


def settings(git: Git) -> dict[str, str]:
    """The few settings that a listing obeys, by lower-case key."""
    found = {}
    for entry in git.output(
        "config", "-z", "--get-regexp", r"^(autonomous\.branchprefix|color\.(ui|autonomous|pager))$"
    ).split(b"\0"):
        key, _, value = entry.decode("utf-8", "replace").partition("\n")
        if key:
            found[key.lower()] = value
    return found


def tasks(common_dir: str, prefix: str, now: float, *, only: str | None = None) -> list[Fields]:
    """The tasks, newest first. `now`: epoch seconds. `only`: just the task of this name."""
    git = Git(common_dir)
    where = f"refs/heads/{prefix}"
    start = len(where)
    found: list[Fields] = []
    kept: dict[str, str] = {}
    unknown: list[Fields] = []
    patterns = (where + only if only else where, "refs/autonomous/merged/")
    reading = git.start("for-each-ref", "--format=%(objectname) %(refname)", *patterns)
    known = {} if only else summaries.read(common_dir)
    checked_out = worktrees(common_dir)
    for line in refs(git, *reading):
        tip, _, ref = line.partition(" ")
        if ref.startswith("refs/autonomous/merged/"):
            kept[ref] = tip
            continue
        name = ref[start:]
        if "/" in name:
            continue
        task = known.get(name)
        if task is None or task["tip"] != tip:
            task = {"name": name, "tip": tip, "readable": True}
            unknown.append(task)
        task["branch"] = ref[11:]
        task["worktree"] = checked_out.get(ref)
        found.append(task)
    if unknown:
        read_tips(git, unknown)
        if only is None and len(unknown) > WORTH_KEEPING:
            summaries.write(common_dir, [task for task in found if task["updated"]])
    asked = outside.Question(git, finished_tips(common_dir, found))
    words = local_words(common_dir, found, now)
    merged = merged_here(git, found, kept) | asked.answer(keep=only is None)
    for task in found:
        add_state(task, *words.get(task["name"], NO_WORD), task["tip"] in merged)
    conflicts.add(found, common_dir, lambda ref: ref_tip(common_dir, ref))
    found.sort(key=lambda task: (-task["updated"], task["name"]))
    return found


def refs(git: Git, pid: int, descriptor: int) -> list[str]:
    """The lines of a `git for-each-ref` that was started. Raises AutonomousError when it failed."""
    output, complete = git.finish(pid, descriptor)
    if not complete:
        from .errors import AutonomousError

        raise AutonomousError(
            "git cannot read the branches here; see above", "git autonomous doctor --repair    # mends that of a task"
        )
    return output.decode("utf-8", "surrogateescape").split("\n")[:-1]


def worktrees(common_dir: str) -> dict[str, str]:
    """The branches (full names) that are checked out, with their worktrees: git's own %(worktreepath) takes four times as long."""
    found = {}
    try:
        with os.scandir(os.path.join(common_dir, "worktrees")) as entries:
            admin = [entry.path for entry in entries]
    except OSError:
        admin = []
    for folder in admin:
        head = trusted.first_line(f"{folder}/HEAD")
        if head.startswith("ref: "):
            pointer = os.path.join(folder, trusted.first_line(f"{folder}/gitdir"))
            found[head[5:]] = os.path.normpath(os.path.dirname(pointer))
    head = trusted.first_line(f"{common_dir}/HEAD")
    if head.startswith("ref: "):
        found[head[5:]] = common_dir.removesuffix("/.git")
    return found


def written(header: str) -> tuple[int, bool]:
    """When a commit was made (epoch seconds), by its header, and whether it was written again in a later second, as by `git commit --amend`: its author's date stays.

    Its trailers may not tell what is in it then.
    """
    before, _, after = header.partition("\ncommitter ")
    line = after.partition("\n")[0]
    date = line[line.rfind("> ") :]  # > 1700000000 +0100
    at = date[2:].partition(" ")[0]
    return (int(at), not before.endswith(date)) if at.isdecimal() else (0, True)


def parent_of(header: str) -> str | None:
    """The first parent of a commit, by its header."""
    at = header.find("\nparent ")
    return header[at + 8 : at + 48] if at >= 0 else None


def add_summary(task: Fields, summary: dict[str, str]) -> None:
    """Put what the trailers say into `task`."""
    get = summary.get
    add_values(
        task,
        get("Autonomous-Session", ""),
        get("Autonomous-Progress", ""),
        get("Autonomous-Blocked", ""),
        get("Autonomous-Check", "none"),
        get("Autonomous-Base", ""),
        get("Autonomous-Tokens", ""),
        get("Codex-Thread", ""),
    )


def add_values(
    task: Fields, session: str, progress: str, blocked: str, check: str, base: str, tokens: str, thread: str
) -> None:
    done, total = states.pair(progress)
    task["base"] = base or None
    task["done"] = done
    task["total"] = total
    task["stuck"] = blocked.isdecimal() and total > done and int(blocked[:9]) == total - done
    task["sessions"] = int(session[:9]) if session.isdecimal() else 0
    task["check"] = check
    task["thread"] = thread or None
    task["tokens"] = states.pair(tokens)[1]


class Reader:
    """`git cat-file --batch-command`, asked for many objects at a time."""

    def __init__(self, questions: BinaryIO, answers: BinaryIO) -> None:
        self.questions = questions
        self.answers = answers

    def contents(self, names: list[str]) -> list[str]:
        """The contents of objects, empty for one that is not there."""
        self._ask("contents", names)
        return [self._content() for _ in names]

    def ids(self, names: list[str]) -> list[str]:
        """The ids of objects, empty for one that is not there."""
        self._ask("info", names)
        found = [self.answers.readline().split() for _ in names]
        return [answer[0].decode() if len(answer) == 3 and answer[2].isdigit() else "" for answer in found]

    def _ask(self, command: str, names: list[str]) -> None:
        self.questions.write(os.fsencode("".join([f"{command} {name}\n" for name in names]) + "flush\n"))
        self.questions.flush()

    def _content(self) -> str:
        head = self.answers.readline().split()
        if len(head) != 3 or not head[2].isdigit():
            return ""
        return self.answers.read(int(head[2]) + 1)[:-1].decode("utf-8", "surrogateescape")


def read_tips(git: Git, tasks: list[Fields]) -> None:
    """Fill in what the newest commits of tasks tell. Where a person made it, that is what the last session below says, and the list as it is now.

    A task whose commit cannot be read is not readable, and was updated at 0: the others are listed all the same.
    """
    ours, theirs = os.pipe()
    pid, output = git.start("cat-file", "--batch-command", "--buffer", stdin=ours)
    os.close(ours)
    by_person: list[tuple[Fields, str]] = []
    amended: list[Fields] = []
    with open(theirs, "wb") as questions, open(output, "rb") as answers:
        reader = Reader(questions, answers)
        for task, content in zip(tasks, reader.contents([task["tip"] for task in tasks]), strict=True):
            header, _, message = content.partition("\n\n")
            task["updated"], again = written(header)
            keys, values = states.trailer_lists(message)
            if keys == USUAL and values[0] == task["name"]:
                _, session, _, _, progress, check, base, tokens, _, thread, _ = values
                add_values(task, session, progress, "", check, base, tokens, thread)
            elif (summary := dict(zip(keys, values, strict=True))).get(states.TRAILER_TASK) == task["name"]:
                add_summary(task, summary)
            else:
                by_person.append((task, header))
                continue
            if again:
                amended.append(task)
        sessions = last_sessions(reader, by_person)
        told = [task["check"] for task in amended]
        read_lists(reader, [*(task for task, _ in by_person), *amended], [*sessions, *("" for _ in amended)])
        for task, check in zip(amended, told, strict=True):
            task["check"] = check
    os.waitpid(pid, 0)


def last_sessions(reader: Reader, by_person: list[tuple[Fields, str]]) -> list[str]:
    """Put the summary of the last session below each tip into its task. Returns the commits of these sessions, empty where there is none."""
    found = dict.fromkeys((str(task["name"]) for task, _ in by_person), "")
    above = by_person
    for _ in range(ANCESTORS):
        parents = [(task, parent) for task, header in above if (parent := parent_of(header))]
        if not parents:
            break
        above = []
        for (task, parent), content in zip(parents, reader.contents([parent for _, parent in parents]), strict=True):
            header, _, message = content.partition("\n\n")
            summary = states.trailers(message)
            if summary.get(states.TRAILER_TASK) == task["name"]:
                add_summary(task, summary)
                found[str(task["name"])] = parent
            else:
                above.append((task, header))
    for task, _ in by_person:
        if not found[str(task["name"])]:
            add_summary(task, {})
    return list(found.values())


def read_lists(reader: Reader, tasks: list[Fields], sessions: list[str]) -> None:
    """Fill in what a person may have changed since the last session: the list, and whether it is a task at all. A check has not seen it."""
    listed = changed(reader, tasks, sessions, "task_list.md")
    described = changed(reader, tasks, sessions, "task.toml")
    for task in tasks:
        if task["check"] != "none":
            task["check"] = "unknown"
    if listed:
        from . import checklist

        for task, content in listed:
            items = checklist.parse(content)
            task.update(done=items.done, total=items.total, stuck=items.stuck)
    if described:
        from . import errors, model

        for task, content in described:
            try:
                model.read_task(str(task["name"]), content.encode("utf-8", "surrogateescape"))
            except errors.AutonomousError:
                task["readable"] = False


def changed(reader: Reader, tasks: list[Fields], sessions: list[str], file: str) -> list[tuple[Fields, str]]:
    """The tasks whose tracking file is another than in their last session, with its content, empty where there is none any more."""
    paths = [f".autonomous/{task['name']}/{file}" for task in tasks]
    now = reader.ids([f"{task['tip']}:{path}" for task, path in zip(tasks, paths, strict=True)])
    then = reader.ids([f"{at or NO_COMMIT}:{path}" for at, path in zip(sessions, paths, strict=True)])
    edited = [(task, new) for task, new, old in zip(tasks, now, then, strict=True) if not new or new != old]
    return list(zip([task for task, _ in edited], reader.contents([new for _, new in edited]), strict=True))


def finished_tips(common_dir: str, found: list[Fields]) -> dict[str, set[str]]:
    """The tips of the tasks all of whose items are done, by the tip of their base."""
    by_base: dict[str, set[str]] = {}
    for task in found:
        if task["total"] and task["done"] == task["total"] and task["base"]:
            by_base.setdefault(str(task["base"]), set()).add(str(task["tip"]))
    result: dict[str, set[str]] = {}
    for base, tips in by_base.items():
        tip = ref_tip(common_dir, f"refs/heads/{base}")
        if tip is not None:
            result.setdefault(tip, set()).update(tips)
    return result


def merged_here(git: Git, found: list[Fields], kept: dict[str, str]) -> set[str]:
    """The tips of tasks that were merged and are here again, where the base still has what they became. `kept`: the refs of backup.py, with their commits."""
    tips = set(kept.values())
    back = [task for task in found if task["tip"] in tips]
    if not back:
        return set()
    became = {tip: {tip} for tip in tips}
    for ref, tip in kept.items():
        became[tip].add(kept.get(f"{ref}{RESULT}", tip))
    asked: dict[str, set[str]] = {}
    for task in back:
        base = ref_tip(git.common_dir, f"refs/heads/{task['base']}")
        if base is not None:
            asked.setdefault(base, set()).update(became[task["tip"]])
    there = outside.Question(git, asked).answer(keep=False)
    return {task["tip"] for task in back if not there.isdisjoint(became[task["tip"]])}


def ref_tip(common_dir: str, ref: str) -> str | None:
    """The object that a ref names, without asking git: from its own file, else from packed-refs. None where there is none."""
    name = os.fsencode(ref)
    for _ in range(5):
        if b".." in name:
            break
        try:
            with open(os.path.join(os.fsencode(common_dir), name), "rb") as file:
                content = file.read(4096).strip()
        except OSError:
            return packed_tip(common_dir, name)
        if not content.startswith(b"ref: "):
            return content.decode("ascii", "replace") if len(content) == 40 else None
        name = content[5:]
    return None


def packed_tip(common_dir: str, name: bytes) -> str | None:
    try:
        with open(os.path.join(common_dir, "packed-refs"), "rb") as file:
            content = file.read()
    except OSError:
        return None
    at = content.find(b" " + name + b"\n")
    return content[at - 40 : at].decode("ascii", "replace") if at >= 40 else None


def local_words(common_dir: str, found: list[Fields], now: float) -> dict[str, Word]:
    """What only this machine knows of tasks, by their names."""
    running, ended = names(common_dir, states.AT_WORK), names(common_dir, states.WORDS)
    words: dict[str, Word] = {}
    for task in found:
        name = task["name"]
        if name in running or (name in ended and not tells_finished(task)):
            words[name] = local_word(os.path.join(common_dir, "autonomous", "tasks", name), task["tip"], now)
    return words


def tells_finished(task: Fields) -> bool:
    """Whether a task's newest commit says that it is finished: then no word is needed for that."""
    return bool(task["total"] and task["done"] == task["total"] and task["check"] in ("passed", "none"))


def names(common_dir: str, folder: str) -> set[str]:
    try:
        return set(os.listdir(os.path.join(common_dir, folder)))
    except OSError:
        return set()


def local_word(folder: str, tip: str, now: float) -> Word:
    """What only this machine knows of a task with this local folder: (who runs it, why a runner waits, the runner's last word about this very tip)."""
    said = states.read_word(states.at_work_file(folder))
    if said is not None and locks.is_held(f"{folder}/runner.lock"):
        waiting = None
        if said[0] == states.WAITING and said[1] > now:
            near = said[1] < now + 12 * 3600
            until = time.strftime("%H:%M" if near else "%Y-%m-%d %H:%M", time.localtime(said[1]))
            waiting = f"{said[3]} (until {until})"
        return said[3] if said[0] == states.RUNNING else "at work", waiting, None
    if said is not None and locks.is_held(f"{folder}/agent.lock"):
        return "Codex works on without its runner", None, None
    last = states.read_word(states.word_file(folder))
    return None, None, (last[0], last[3]) if last is not None and last[2] == tip else None


def add_state(
    task: Fields, running: str | None, waiting: str | None, word: tuple[str, str] | None, merged: bool
) -> None:
    """Work out the state, with what `local_word` told."""
    task["state"], task["reason"] = states.state_of(
        readable=task.pop("readable"),
        sessions=task["sessions"],
        done=task["done"],
        total=task["total"],
        stuck=task.pop("stuck"),
        check=task["check"],
        running=running,
        merged=merged,
        word=word,
        waiting=waiting,
    )
    if not task["updated"]:
        task["reason"] = "its newest commit cannot be read"
    task["conflicts"] = None


ORDER = (
    "name",
    "branch",
    "base",
    "worktree",
    "state",
    "reason",
    "done",
    "total",
    "sessions",
    "check",
    "thread",
    "tokens",
    "updated",
    "conflicts",
)


def to_json(task: Fields) -> Fields:
    """A task as the documented JSON object: `updated` as ISO 8601 in UTC."""
    known: Fields = {key: task.get(key) for key in ORDER}
    known["updated"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(str(task["updated"]))))
    known["reason"] = task.get("reason") or None
    return known
