"""A task as a pull request: its branch goes to a remote, and `gh` or `glab` opens the request; where neither can, the address to open is told.

What is pushed is the task's branch, with one commit on top that takes `.autonomous/<task>/` out (unless `keepTracking` is set): what a site merges must not bring it into the
base. That commit carries the trailer `Autonomous-Pull-Request: <task>`; `resume` in another clone goes on below it. A branch that is on the remote already is replaced only
where all that it holds is the task's own.

The body of the request is Markdown. What an agent or a person wrote stays text in it: no link, no mention, no reference that closes an issue, no command to the site.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from . import absorbed, backup, hazards, merge, model, moving, process, show, states
from .errors import AutonomousError, NeedsPerson, UsageError
from .git import QUIET, last_words, text
from .model import Session, Task, one_line
from .objects import Commit
from .runs import Hazard
from .tasks import Ask, Place, known_task, look_up, read_task

GITHUB, GITLAB, BITBUCKET, GITEA = "github", "gitlab", "bitbucket", "gitea"
PROGRAMS = {GITHUB: "gh", GITLAB: "glab"}
SSH_HOSTS = {
    "ssh.github.com": "github.com",
    "altssh.gitlab.com": "gitlab.com",
    "altssh.bitbucket.org": "bitbucket.org",
}
"""Where these sites answer ssh on the port of https."""

PATIENCE = 120.0
"""Seconds that gh or glab may take."""

MOST_LINES = 30
TITLE = 100
GOAL = 5_000
BODY = 60_000
"""Characters: of a title, of the goal in a body, of a body (GitHub takes 65,536)."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Wish:
    """What was asked for. `remote`: to push to; `base`: the branch there; `force`: why an unfinished task is offered all the same."""

    remote: str | None = None
    base: str | None = None
    draft: bool = False
    force: str | None = None
    reviewed: bool = False


@dataclass(frozen=True)
class Remote:
    """A remote of git, with the page of its repository where that is known: `host`, and `path` such as owner/name."""

    name: str
    host: str = ""
    path: str = ""

    @property
    def page(self) -> str:
        return f"https://{self.host}/{self.path}"

    @property
    def kind(self) -> str | None:
        """Which sort of site this is, None where the host's name does not tell."""
        for kind, signs in (
            (GITHUB, "github"), (GITLAB, "gitlab"), (BITBUCKET, "bitbucket.org"), (GITEA, "codeberg gitea forgejo"),
        ):  # fmt: skip
            if any(sign in self.host for sign in signs.split()):
                return kind
        return None


@dataclass(frozen=True)
class Plan:
    """What will be done. `source`: the remote that is pushed to; `target`: the one whose base the request is for, the same unless that one is a fork; `commit`: what is pushed."""

    task: Task
    source: Remote
    target: Remote
    branch: str
    base: str
    tip: str
    commit: str
    title: str
    body: str
    draft: bool = False
    hazards: tuple[Hazard, ...] = ()

    def lines(self) -> list[str]:
        """The plan for people, before anything is done."""
        found = [
            f"{self.task.name}: push {self.tip[:10]} to {self.source.name} as {self.branch}, for {self.base} of {self.target.name}"
        ]
        if self.commit != self.tip:
            found.append(f"with a commit on top that takes {self.task.directory}/ out")
        found += [f"runs on a machine, or is obeyed there: {hazard.path} ({hazard.why})" for hazard in self.hazards]
        where = address(self)
        return [*found, f"then open: {where}"] if where else found


@dataclass(frozen=True)
class Done:
    """What came of it. `url`: of the request, None where none was opened; `address`: where to open one by hand, None for a remote that is no known site."""

    plan: Plan
    url: str | None = None
    address: str | None = None


# -- remotes -------------------------------------------------------------------------------------------------------------------------------------


def read_url(name: str, url: str) -> Remote:
    """A remote by its address, in one of git's forms: https, ssh, or host:path as scp has it."""
    found = re.fullmatch(r"(?P<scheme>https?|ssh|git)://(?:[^@/]*@)?(?P<host>[^/]+)/(?P<path>.+)", url)
    if found is None:
        found = re.fullmatch(r"(?:[^@/:]+@)?(?P<host>[^/:]{2,}):(?!/)(?P<path>.+)", url)
    if found is None:
        return Remote(name)
    host = found["host"].lower()
    if "scheme" not in found.groupdict() or not found["scheme"].startswith("http"):
        host = host.partition(":")[0]
    path = found["path"].strip("/").removesuffix(".git").strip("/")
    plain = re.fullmatch(r"[a-z0-9.-]+(:\d+)?", host) and re.fullmatch(r"[\w.~+-]+(/[\w.~+-]+)+", path)
    return Remote(name, SSH_HOSTS.get(host, host), path) if plain else Remote(name)


def address(plan: Plan) -> str | None:
    """The page that opens the request by hand, None where the site is not known."""
    source, target, branch, base = plan.source, plan.target, quote(plan.branch), quote(plan.base)
    head = branch if source.path == target.path else f"{source.path.partition('/')[0]}:{branch}"
    match target.kind:
        case "github":
            return f"{target.page}/compare/{base}...{head}?expand=1"
        case "gitea":
            return f"{target.page}/compare/{base}...{head}"
        case "gitlab":
            names = {"merge_request[source_branch]": plan.branch, "merge_request[target_branch]": plan.base}
            return f"{source.page}/-/merge_requests/new?{urlencode(names)}"
        case "bitbucket":
            names = {"source": plan.branch, "dest": f"{target.path}::{plan.base}"}
            return f"{source.page}/pull-requests/new?{urlencode(names)}"
    return None


def push_remote(place: Place, branch: str, wanted: str | None) -> Remote:
    """The remote that git itself would push a branch to, or the `wanted` one. Raises AutonomousError where there is none, or no way to tell."""
    names = place.repository.run("remote").split()
    values = {key: value for _, key, value in place.repository.config()}
    keys = (f"branch.{branch}.pushremote", "remote.pushdefault", f"branch.{branch}.remote")
    name = wanted or next((values[key] for key in keys if key in values), None)
    if name is None and names:
        name = "origin" if "origin" in names or len(names) > 1 else names[0]
    if name not in names:
        if not names:
            raise AutonomousError("there is no remote to push to", "git remote add origin URL")
        raise AutonomousError(
            f"there is no remote '{one_line(str(name), 80)}'", f"git autonomous pr --remote {names[0]} TASK"
        )
    return read_remote(place, str(name))


def read_remote(place: Place, name: str) -> Remote:
    return read_url(name, place.repository.run("remote", "get-url", "--push", name).split("\n")[0])


def target_of(place: Place, task: Task, source: Remote, wanted: str | None) -> tuple[Remote, str]:
    """The remote and the branch there that the request is for: what the task's base follows, else the branch of its name where the task is pushed to."""
    values = {key: value for _, key, value in place.repository.config()}
    remotes = place.repository.run("remote").split()
    base, name = task.base, source.name
    followed = values.get(f"branch.{base}.remote")
    if followed in remotes:
        name, base = str(followed), values.get(f"branch.{task.base}.merge", base).removeprefix("refs/heads/")
    elif place.objects.tip(f"refs/heads/{base}") is None:
        name = next((each for each in remotes if base.startswith(f"{each}/")), name)
        base = base.removeprefix(f"{name}/")
    target = source if name == source.name else read_remote(place, name)
    if target.kind is None or source.host != target.host:
        target = source
    return target, wanted or base


# -- the text ------------------------------------------------------------------------------------------------------------------------------------


def escaped(plain: str) -> str:
    """Foreign text as Markdown that shows it and does nothing else, on one line.

    A backslash takes punctuation's meaning away. Sites look for mentions and references in what was rendered, so an invisible space parts those.
    """
    line = re.sub(r"""[\\`*_{}\[\]()<>#+.!|~^$&=-]""", r"\\\g<0>", show.one_line(plain))
    return re.sub(r"(?<=[@#!~%$&:])(?=[\w/])|(?<=\bgh\\-)(?=\d)", "&#8203;", line, flags=re.IGNORECASE)


def code(plain: str) -> str:
    """Foreign text as a code span: sites look for nothing in there."""
    line = show.one_line(plain)
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    return f"{fence} {line} {fence}" if line.startswith("`") or line.endswith("`") else f"{fence}{line}{fence}"


def title_of(task: Task) -> str:
    return one_line(task.goal.partition("\n")[0], TITLE)


def body_of(situation: merge.Situation, sessions: Sequence[tuple[Session, Commit]], forced: str | None) -> str:
    """The goal, what was done, the checks, what runs on a machine, and the sessions."""
    s = situation
    whole = s.task.goal.strip()
    goal = "".join(f"> {escaped(line)}\n" for line in whole[:GOAL].split("\n")) + "> …\n" * (len(whole) > GOAL)
    said = f"{states.items_done(s.done, s.total)}, in {merge.count(s.sessions, 'session')}."
    checks = {"passed": "These pass on the newest commit:", "failed": "**One of these fails on the newest commit:**"}
    parts = [goal, f"{said}\n" if forced is None else f"{said} Not finished: {escaped(forced)}\n"]
    parts.append(_listed("", [f"[x] {escaped(item)}" for item in s.items]))
    heading = f"### Checks\n\n{checks.get(s.check, 'These have not run on the newest commit:')}\n\n"
    parts.append(_listed(heading, [code(one_line(command, 300)) for command in s.task.checks]))
    runs = [f"{code(hazard.path)}: {escaped(hazard.why)}" for hazard in s.hazards]
    parts.append(_listed("### Runs on a machine, or is obeyed there\n\n", runs))
    parts.append(_listed("### Sessions\n\n", [_session(record, commit) for record, commit in sessions]))
    body = "\n".join(part for part in parts if part)
    return body if len(body) <= BODY else body[:BODY].rpartition("\n")[0] + "\n"


def _session(record: Session, commit: Commit) -> str:
    subject = commit.message.partition("\n")[0].removeprefix(f"{record.task}: ")
    facts = [record.outcome] * (record.outcome != "completed") + [f"checks {record.check}"] * (record.check != "none")
    return f"{record.number}: {escaped(subject)} ({', '.join([*facts, commit.oid])})"


def _listed(heading: str, entries: Sequence[str]) -> str:
    if not entries:
        return ""
    more = f"- and {len(entries) - MOST_LINES} more\n" if len(entries) > MOST_LINES else ""
    return heading + "".join(f"- {entry}\n" for entry in entries[:MOST_LINES]) + more


# -- plan ----------------------------------------------------------------------------------------------------------------------------------------


def plan(place: Place, name: str, wish: Wish, ask: Ask) -> Plan:
    """Look at a task and decide what to push and to open. Raises AutonomousError for a task that is worked on or not finished, NeedsPerson for what nobody has looked at."""
    known_task(place, name)
    again = f"git autonomous pr {name}"
    if wish.force is not None and not wish.force.strip():
        raise UsageError(
            "--force needs a reason, which the pull request tells", f'git autonomous pr --force "WHY" {name}'
        )
    with backup.at_rest(place.repository, name):
        task, tip, known = read_task(place, name), place.tip(name), look_up(place, name)
        if wish.force is None:
            as_it_is = f'git autonomous pr --force "WHY" {name}'
            merge.refuse_unfinished(name, (known["done"], known["total"]), known["check"], as_it_is)
            if known["check"] == "unknown":
                raise NeedsPerson(
                    f"the checks of '{name}' have not run on its newest commit",
                    f"git autonomous resume {name} && {again}",
                )
        branch = place.branch(name)
        source = push_remote(place, branch, wish.remote)
        target, base = target_of(place, task, source, wish.base)
        if base == branch:
            raise UsageError(f"'{name}' cannot be merged into itself", f"git autonomous pr --base BRANCH {name}")
        at = place.objects.tip(f"refs/remotes/{target.name}/{base}") or place.objects.tip(f"refs/heads/{task.base}")
        at = at or task.base_commit
        found = hazards.of_merge(place.repository, place.objects, at, tip, without=task.directory)
        if found and not wish.reviewed:
            shown = "\n".join(f"{hazard.path}: {hazard.why}" for hazard in found)
            if not ask(shown, f"'{name}' changes what runs on a machine. Push it?"):
                raise NeedsPerson(
                    f"'{name}' changes what runs on a machine: {moving.shown([hazard.path for hazard in found])}",
                    f"git autonomous review {name}    # then: git autonomous pr --reviewed {name}",
                )
        commit = tip if place.settings.keep_tracking else without_tracking(place, task, tip, at)
        situation = merge.with_record(
            place,
            merge.Situation(
                task=task, base=base, base_tip=at, tip=tip, done=known["done"], total=known["total"], check=known["check"],
                keep_tracking=place.settings.keep_tracking, ahead=False, tree="", hazards=found,
            ),
        )  # fmt: skip
        sessions = [
            (record, commit)
            for commit in place.objects.history(tip, task.base_commit)
            if (record := model.read_session(commit.message, name)) is not None and record.number > 0
        ]
        body = body_of(situation, sessions[::-1], wish.force)
    return Plan(task, source, target, branch, base, tip, commit, title_of(task), body, wish.draft, found)


def without_tracking(place: Place, task: Task, tip: str, base: str) -> str:
    """A commit of the user's on top of a task's tip, in which the task's own folder is as in the base; the tip itself where it is that already."""
    last = place.objects.commit(tip)
    tree = place.objects.commit(absorbed.plain_tip(place.repository, place.objects, task.name, tip, base)).tree
    if tree == last.tree:
        return tip
    message = f"{task.name}: without {task.directory}/\n\nFor the pull request: the list and the notes stay out of the base.\n\n"
    # The tip's date, so that the same tip gives the same commit: then there is nothing to push a second time.
    date = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), f"@{last.time} +0000")
    return merge.commit_tree(place, tree, [tip], f"{message}{states.TRAILER_PULL_REQUEST}: {task.name}\n", date)


# -- carry out -----------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Terminal:
    """How programs that talk to a remote are run. `interactive`: a person is there whom ssh, git or a hook may ask; `say`: is told what they print."""

    interactive: bool
    say: Say

    def run(
        self, argv: Sequence[str], folder: Path, environment: Mapping[str, str], *, tell: bool
    ) -> tuple[int, list[str]]:
        """Run a program to its end. Returns its exit status and the lines that it printed, cleaned; `tell`: each as it comes, too."""
        running = subprocess.Popen(
            argv, cwd=folder, env=environment, stdin=None if self.interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=not self.interactive, errors="replace", text=True,
        )  # fmt: skip
        assert running.stdout is not None
        lines = []
        try:
            for raw in running.stdout:
                line = show.clean(raw.rstrip("\n")).rstrip()
                if line:
                    lines.append(line)
                    if tell:
                        self.say(line)
            return running.wait(), lines
        finally:
            if running.poll() is None:
                running.terminate()
                running.wait()
            running.stdout.close()


def carry_out(place: Place, plan: Plan, *, interactive: bool, say: Say) -> Done:
    """Push, and open the request. Raises AutonomousError when the push is refused, or when gh or glab could not open it; what is pushed stays."""
    terminal = Terminal(interactive, say)
    push(place, plan, terminal)
    where = address(plan)
    program = signed_in(place, plan, say)
    if program is None:
        return Done(plan, address=where)
    return Done(plan, url=open_request(place, plan, program), address=where)


def push(place: Place, plan: Plan, terminal: Terminal) -> None:
    """Push what is new of the task, with the user's own hooks, in the main worktree."""
    ref = f"refs/heads/{plan.branch}"
    status, lines = _git(
        place, terminal, "ls-remote", "--", plan.source.name, ref, f"refs/heads/{plan.base}", tell=False
    )
    if status:
        why = last_words(os.fsencode("\n".join(lines)))
        raise AutonomousError(f"{plan.source.name} does not answer: {why}", f"git ls-remote {plan.source.name}")
    there = {ref: oid for oid, _, ref in (line.partition(" ") for line in lines)}
    if plan.source == plan.target and f"refs/heads/{plan.base}" not in there:
        raise AutonomousError(
            f"{plan.source.name} has no branch {plan.base} that a pull request could be for",
            f"git push {plan.source.name} {plan.base}    # or: git autonomous pr --base BRANCH {plan.task.name}",
        )
    old = there.get(ref, "")
    if old == plan.commit:
        return
    if old:
        refuse_to_replace(place, plan, old, terminal)
    lease = f"--force-with-lease={ref}:{old}"
    status, lines = _git(
        place, terminal, "push", "--quiet", lease, "--", plan.source.name, f"{plan.commit}:{ref}", tell=True
    )
    if status:
        why = next((line for line in lines if line.startswith((" ! ", "fatal: "))), "see above").strip(" !")
        raise AutonomousError(
            f"{plan.branch} was not pushed to {plan.source.name}: {one_line(why, 200)}",
            f"git push --dry-run {plan.source.name} {plan.branch}",
        )


def refuse_to_replace(place: Place, plan: Plan, old: str, terminal: Terminal) -> None:
    """Raise AutonomousError when the branch on the remote holds a commit that the task neither has nor had, in the same words or in others."""
    if place.repository.resolve(old) is None:
        _git(
            place,
            terminal,
            "fetch",
            "--quiet",
            "--no-tags",
            "--",
            plan.source.name,
            f"refs/heads/{plan.branch}",
            tell=False,
        )
    kept = [f"^{state.files or state.tip}" for state in backup.kept_states(place.objects, plan.task.name)]
    mark = f"--grep=^{states.TRAILER_PULL_REQUEST}: {re.escape(plan.task.name)}$"
    foreign = place.repository.run(
        "rev-list", "--reverse", "--right-only", "--cherry-pick", "--no-merges", "--invert-grep", "--extended-regexp", mark,
        f"{plan.tip}...{old}", *kept,
    ).split()  # fmt: skip
    if foreign:
        entry = place.repository.worktree_of(plan.branch)
        where = f"-C {entry.path} " if entry is not None else ""
        raise AutonomousError(
            f"{plan.branch} on {plan.source.name} has {merge.count(len(foreign), 'commit')} that '{plan.task.name}' has not",
            f"git {where}cherry-pick {' '.join(each[:10] for each in foreign)} && git autonomous pr {plan.task.name}",
        )


def _git(place: Place, terminal: Terminal, *arguments: str, tell: bool) -> tuple[int, list[str]]:
    """Run a git that talks to a remote: in the main worktree, where a relative hooks folder is the user's own and not the agent's."""
    repository = place.repository
    folder = main_folder(place)
    where = [f"--git-dir={repository.common_dir}"]
    if folder != repository.common_dir:
        where.append(f"--work-tree={folder}")
    argv = [repository.git, *where, *QUIET, *moving.user_hooks(repository), *arguments]
    return terminal.run(argv, folder, environment(terminal.interactive), tell=tell)


def main_folder(place: Place) -> Path:
    return place.repository.common_dir if place.repository.is_bare else place.repository.main_root


def environment(interactive: bool) -> dict[str, str]:
    """For programs that talk to a remote. Where nobody is there to answer, none may ask."""
    found = process.clean_environment({"LC_ALL": "C"})
    if not interactive:
        found.pop("SSH_ASKPASS", None)
        found |= {"GIT_TERMINAL_PROMPT": "0", "SSH_ASKPASS_REQUIRE": "never", "GCM_INTERACTIVE": "never"}
    return found


# -- gh and glab ---------------------------------------------------------------------------------------------------------------------------------


def signed_in(place: Place, plan: Plan, say: Say) -> str | None:
    """The gh or glab that can open the request, by its absolute path: the one for this site, or the one that is signed in there. None where there is none."""
    host, kind = plan.target.host, plan.target.kind
    if not host or kind in (BITBUCKET, GITEA):
        return None
    for name in [PROGRAMS[kind]] if kind is not None else PROGRAMS.values():
        program = find(place, name)
        if program is None:
            continue
        if _call(place, [program, "auth", "status", "--hostname", host]).returncode == 0:
            return program
        if kind is not None:
            say(f"{name} is not signed in: {name} auth login --hostname {host}")
    return None


def find(place: Place, name: str) -> str | None:
    """A program on PATH, by its absolute path; never one that lies in the checkout that the user stands in."""
    outside = place.repository.toplevel
    folders = process.clean_environment(outside=outside).get("PATH", os.defpath)
    found = shutil.which(name, path=folders)
    if found and outside and Path(found).resolve().is_relative_to(outside.resolve()):
        return None
    return found


def open_request(place: Place, plan: Plan, program: str) -> str:
    """Have gh or glab open the request. Returns its address; of one that is open already, that one's. Raises AutonomousError."""
    github = os.path.basename(program) == PROGRAMS[GITHUB]
    done = _call(place, (gh if github else glab)(program, plan), input=plan.body.encode() if github else None)
    output = show.clean(text(done.stdout + b"\n" + done.stderr), keep_newlines=True)
    urls = re.findall(r"https?://[^\s\"'<>]+", output)
    if urls and (done.returncode == 0 or "already exists" in output):
        return str(urls[0])
    if done.returncode == 0 or "already exists" in output:
        return f"{plan.target.page}"
    why = one_line(output.strip().partition("\n")[0], 200) or f"exit status {done.returncode}"
    why = f"it took longer than {PATIENCE:.0f} s" if done.timed_out else why
    raise AutonomousError(
        f"'{plan.task.name}' is pushed as {plan.branch}, but {os.path.basename(program)} opened no pull request: {why}",
        f"open it yourself: {address(plan) or plan.target.page}",
    )


def gh(program: str, plan: Plan) -> list[str]:
    """The words that open a pull request on GitHub; the body is read from standard input."""
    owner = plan.source.path.partition("/")[0]
    head = plan.branch if plan.source.path == plan.target.path else f"{owner}:{plan.branch}"
    return [
        program, "pr", "create", "--repo", f"{plan.target.host}/{plan.target.path}", "--base", plan.base, "--head", head,
        "--title", plan.title, "--body-file", "-", *(["--draft"] if plan.draft else []),
    ]  # fmt: skip


def glab(program: str, plan: Plan) -> list[str]:
    """The words that open a merge request on GitLab."""
    fork = ["--head", plan.source.page] if plan.source.path != plan.target.path else []
    return [
        program, "mr", "create", "--repo", plan.target.page, "--target-branch", plan.base, "--source-branch", plan.branch, *fork,
        "--title", plan.title, "--description", plan.body, "--yes", *(["--draft"] if plan.draft else []),
    ]  # fmt: skip


def _call(place: Place, argv: Sequence[str], input: bytes | None = None) -> process.Completed:
    quiet = {"GH_PROMPT_DISABLED": "1", "GH_NO_UPDATE_NOTIFIER": "1", "NO_PROMPT": "1", "NO_COLOR": "1"}
    return process.run(argv, cwd=main_folder(place), env={**environment(False), **quiet}, input=input, timeout=PATIENCE)
