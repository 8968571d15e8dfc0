"""A task becomes a pull request: pushed to a real (bare) remote, and opened by programs in the place of gh and glab that write down how they were called."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import made
import pytest
from conftest import git, make_repository
from program import Ended, autonomous
from terminals import terminal
from test_merge import add_hook

from gitautonomous import locks, pull_request
from gitautonomous.merge import Situation
from gitautonomous.model import Options, Session, Task
from gitautonomous.objects import Commit
from gitautonomous.pull_request import Plan, Remote
from gitautonomous.runs import Hazard

STAND_IN = """\
#!{python} -S
import json, os, sys
folder = os.path.dirname(os.path.abspath(sys.argv[0]))
name = os.path.basename(sys.argv[0])
asked = {{key: value for key, value in os.environ.items() if key.startswith(("GIT_", "GH_", "NO_", "SSH_"))}}
call = {{"argv": sys.argv[1:], "stdin": sys.stdin.read(), "cwd": os.getcwd(), "environ": asked}}
with open(f"{{folder}}/{{name}}.calls", "a") as file:
    file.write(json.dumps(call) + "\\n")
answer = json.load(open(f"{{folder}}/answers"))[name]["auth" if sys.argv[1] == "auth" else "create"]
sys.stderr.write(answer[1])
print("https://git.example/acme/app/pull/7" if not answer[0] else "")
sys.exit(answer[0])
"""

Calls = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def remote(repo: Path, tmp_path: Path) -> Path:
    """A bare repository that has main; `repo` knows it as origin, by the address of a site."""
    bare = tmp_path / "remote.git"
    git(repo, "clone", "--quiet", "--bare", str(repo), str(bare))
    git(repo, "config", f"url.{bare}.insteadOf", "https://elsewhere.example/acme/app")
    git(repo, "remote", "add", "origin", str(bare))
    return bare


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """A gh and a glab that are signed in everywhere and open every request; called with a name it gives the calls of that program."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("gh", "glab"):
        (folder / name).write_text(STAND_IN.format(python=sys.executable))
        (folder / name).chmod(0o755)
    answer(tmp_path)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def calls(name: str) -> list[dict[str, Any]]:
        file = folder / f"{name}.calls"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    return calls


def answer(tmp_path: Path, **answers: tuple[int, str]) -> None:
    """How gh and glab end, (exit status, what they say): by `auth` and `create`, which are done without a word unless told otherwise."""
    each = {"auth": (0, ""), "create": (0, ""), **answers}
    (tmp_path / "programs" / "answers").write_text(json.dumps({"gh": each, "glab": each}))


def site(repo: Path, url: str) -> None:
    """Let origin have the address of a site, while its commits go to the bare repository."""
    bare = git(repo, "remote", "get-url", "origin")
    git(repo, "config", "remote.origin.url", url)
    wrapper = repo.parent / "ssh"
    wrapper.write_text(f"#!/bin/sh\nfor word; do last=$word; done\neval \"${{last%% *}} '{bare}'\"\n")
    wrapper.chmod(0o755)
    git(repo, "config", "core.sshCommand", str(wrapper))


# -- what is pushed ------------------------------------------------------------------------------------------------------------------------------


def test_the_branch_is_pushed_without_the_tasks_own_folder_and_the_address_to_open_is_told(
    repo: Path, remote: Path
) -> None:
    made.finished(repo, "todo", {"a": "1\n"}, {"b": "2\n"})
    tip = git(repo, "rev-parse", "autonomous/todo")
    site(repo, "git@codeberg.org:acme/app.git")
    for _ in range(2):
        assert autonomous(repo, "pr", "todo") == Ended(
            0,
            "todo: pushed to origin as autonomous/todo, for main\n",
            "hint: open https://codeberg.org/acme/app/compare/main...autonomous/todo\n",
        )
    assert git(remote, "rev-parse", "autonomous/todo~1") == tip
    assert git(remote, "log", "-1", "--format=%an %s|%b", "autonomous/todo") == (
        "Ada Tester todo: without .autonomous/todo/|For the pull request: the list and the notes stay out of the base.\n\n"
        "Autonomous-Pull-Request: todo\n"
    )
    assert git(remote, "ls-tree", "-r", "--name-only", "autonomous/todo").split() == ["README.md", "a", "b"]
    assert git(repo, "rev-parse", "autonomous/todo") == tip
    git(remote, "update-ref", "refs/heads/main", "autonomous/todo")
    git(repo, "fetch", "--quiet")
    git(repo, "branch", "--quiet", "--force", "--set-upstream-to=origin/main", "main")
    assert "todo: merged into main of" in autonomous(repo, "prune", "--dry-run").out.replace(
        "merged into origin/main", "merged into main of"
    )


def test_with_keep_tracking_the_branch_is_pushed_as_it_is(repo: Path, remote: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    git(repo, "config", "autonomous.keepTracking", "true")
    assert autonomous(repo, "pr", "todo") == Ended(0, "todo: pushed to origin as autonomous/todo, for main\n", "")
    assert git(remote, "rev-parse", "autonomous/todo") == git(repo, "rev-parse", "autonomous/todo")


def test_another_clone_goes_on_below_the_commit_that_took_the_folder_out(repo: Path, remote: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"}, left=1)
    assert autonomous(repo, "pr", "--force", "half of it", "todo").status == 0
    clone = repo.parent / "clone"
    git(repo, "clone", "--quiet", str(remote), str(clone))
    autonomous(clone, "resume", "todo", CODEX_HOME="/nowhere")
    assert git(clone, "rev-parse", "autonomous/todo") == git(repo, "rev-parse", "autonomous/todo")


def test_more_sessions_and_a_rewritten_branch_are_pushed_again_and_commits_of_others_are_not_overwritten(
    repo: Path, remote: Path
) -> None:
    task = made.finished(repo, "todo", {"a": "1\n"}, {"b": "1\n"})
    assert autonomous(repo, "pr", "todo").status == 0
    made.session(repo, task, {"c": "1\n"}, number=4, done=2, total=2)
    assert autonomous(repo, "pr", "todo").status == 0
    assert git(remote, "ls-tree", "-r", "--name-only", "autonomous/todo").split() == ["README.md", "a", "b", "c"]
    assert autonomous(repo, "review", "todo", "--drop", "4", "--yes").status == 0
    assert autonomous(repo, "pr", "todo").status == 0
    assert git(remote, "ls-tree", "-r", "--name-only", "autonomous/todo").split() == ["README.md", "a", "b"]

    clone = repo.parent / "clone"
    git(repo, "clone", "--quiet", "--branch", "autonomous/todo", str(remote), str(clone))
    (clone / "theirs").write_text("1\n")
    git(clone, "add", "theirs")
    git(clone, "commit", "--quiet", "-m", "Theirs")
    git(clone, "push", "--quiet", "origin", "HEAD")
    theirs = git(clone, "rev-parse", "HEAD")
    worktree = made.worktree_of(repo, "todo")
    command = f"git -C {worktree} cherry-pick {theirs[:10]} && git autonomous pr todo"
    assert autonomous(repo, "pr", "todo") == Ended(
        1, "", f"error: autonomous/todo on origin has 1 commit that 'todo' has not\nhint: {command}\n"
    )
    assert git(remote, "rev-parse", "autonomous/todo") == theirs
    git(worktree, "cherry-pick", theirs)
    assert autonomous(repo, "pr", "todo").status == 0
    names = git(remote, "ls-tree", "-r", "--name-only", "autonomous/todo").split()
    assert names == ["README.md", "a", "b", "theirs"]


def test_the_users_pre_push_hook_runs_in_the_main_checkout_and_can_refuse(repo: Path, remote: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    add_hook(repo, "pre-push", "pwd >&2; git -C . symbolic-ref HEAD; false", ".githooks")
    worktree = made.worktree_of(repo, "todo")
    add_hook(worktree, "pre-push", "touch ../../ran", ".githooks")
    git(repo, "config", "core.hooksPath", ".githooks")
    ended = autonomous(worktree, "pr", "todo")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.splitlines()[:2] == [str(repo), "refs/heads/main"]
    assert ended.err.splitlines()[-1] == "hint: git push --dry-run origin autonomous/todo"
    assert not (repo.parent / "ran").exists()
    assert git(remote, "branch", "--list", "autonomous/*") == ""


def test_our_own_pre_push_hook_lets_it_pass(repo: Path, remote: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    assert autonomous(repo, "hooks", "install").status == 0
    assert autonomous(repo, "pr", "todo").status == 0
    assert git(remote, "branch", "--list", "autonomous/*") == "  autonomous/todo"


# -- what is refused -----------------------------------------------------------------------------------------------------------------------------


def refused(status: int, message: str, hint: str) -> Ended:
    return Ended(status, "", f"error: {message}\nhint: {hint}\n")


@pytest.mark.usefixtures("remote")
def test_a_task_that_is_not_done_needs_a_reason(repo: Path) -> None:
    task = made.finished(repo, "todo", {"a": "1\n"}, left=1, checks=["make test"])
    as_it_is = 'git autonomous resume todo # or, as it is: git autonomous pr --force "WHY" todo'
    assert autonomous(repo, "pr", "todo") == refused(1, "'todo' is not finished: 1 of 2 items are done", as_it_is)
    made.session(repo, task, {}, number=3, done=2, total=2, check="failed")
    assert autonomous(repo, "pr", "todo") == refused(3, "the checks of 'todo' fail", as_it_is)
    made.session(repo, task, {}, number=4, done=2, total=2, check="unknown")
    assert autonomous(repo, "pr", "todo") == refused(
        3, "the checks of 'todo' have not run on its newest commit",
        "git autonomous resume todo && git autonomous pr todo",
    )  # fmt: skip
    assert autonomous(repo, "pr", "--force", " ", "todo").status == 2
    shown = autonomous(repo, "pr", "--dry-run", "--force", "for a *look*", "todo").out
    assert "\n2 of 2 items are done, in 4 sessions. Not finished: for a \\*look\\*\n" in shown
    with locks.exclusive(str(repo / ".git/autonomous/tasks/todo/runner.lock")):
        ended = autonomous(repo, "pr", "todo")
    assert ended.status == 1
    assert ended.err.startswith("error: 'todo' is being worked on")


def test_what_runs_on_a_machine_is_pushed_only_after_a_look(repo: Path, remote: Path) -> None:
    made.finished(repo, "todo", {".github/workflows/ci.yml": "on: push\n"})
    assert autonomous(repo, "pr", "todo") == refused(
        3, "'todo' changes what runs on a machine: .github/workflows/ci.yml",
        "git autonomous review todo # then: git autonomous pr --reviewed todo",
    )  # fmt: skip
    assert git(remote, "branch", "--list", "autonomous/*") == ""
    with terminal() as screen:
        program = screen.run(repo, ["pr", "todo"])
        screen.until("Push it? [y/N]:")
        screen.type(b"y\n")
        assert screen.finish(program) == 0
        assert ".github/workflows/ci.yml: runs in continuous integration" in screen.text()
    assert git(remote, "branch", "--list", "autonomous/*") == "  autonomous/todo"
    assert "### Runs on a machine, or is obeyed there\n\n- `.github/workflows/ci.yml`: runs in" in (
        autonomous(repo, "pr", "--dry-run", "todo").out
    )


def test_remotes_that_are_not_there_or_do_not_answer_are_said(repo: Path, remote: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    assert autonomous(repo, "pr", "todo", "--remote", "fork") == refused(
        1, "there is no remote 'fork'", "git autonomous pr --remote origin TASK"
    )
    assert autonomous(repo, "pr", "todo", "--base", "next") == refused(
        1, "origin has no branch next that a pull request could be for",
        "git push origin next # or: git autonomous pr --base BRANCH todo",
    )  # fmt: skip
    remote.rename(remote.with_name("moved"))
    assert autonomous(repo, "pr", "todo") == refused(
        1, f"origin does not answer: '{remote}' does not appear to be a git repository", "git ls-remote origin"
    )
    git(repo, "remote", "remove", "origin")
    assert autonomous(repo, "pr", "todo") == refused(1, "there is no remote to push to", "git remote add origin URL")


# -- gh and glab ---------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("remote")
def test_gh_opens_it_with_the_body_on_its_standard_input(
    repo: Path, programs: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.finished(repo, "todo", {"a": "1\n"}, checks=["make `test`"])
    site(repo, "ssh://git@github.com/acme/app.git")
    monkeypatch.setenv("GIT_DIR", str(repo / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(repo))
    assert autonomous(repo, "pr", "--draft", "todo") == Ended(0, "todo: https://git.example/acme/app/pull/7\n", "")
    signed_in, create = programs("gh")
    assert signed_in["argv"] == ["auth", "status", "--hostname", "github.com"]
    assert create["argv"] == [
        "pr", "create", "--repo", "github.com/acme/app", "--base", "main", "--head", "autonomous/todo",
        "--title", "Do todo well", "--body-file", "-", "--draft",
    ]  # fmt: skip
    commits = git(repo, "log", "--reverse", "--format=%H", "main..autonomous/todo").split()
    assert create["stdin"] == (
        "> Do todo well\n\n1 of 1 item is done, in 2 sessions.\n\n- [x] item 1\n\n"
        "### Checks\n\nThese pass on the newest commit:\n\n- `` make `test` ``\n\n"
        "### Sessions\n\n"
        f"- 1: task list of 1 item ({commits[1]})\n- 2: item 1 (checks passed, {commits[2]})\n"
    )
    assert create["cwd"] == str(repo)
    known = {"GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM"}
    assert {name for name in create["environ"] if name.startswith("GIT_")} - known == {"GIT_TERMINAL_PROMPT"}
    assert create["environ"]["GH_PROMPT_DISABLED"] == "1"


@pytest.mark.usefixtures("remote")
def test_glab_opens_it_on_gitlab(repo: Path, programs: Calls) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    site(repo, "git@gitlab.example.org:group/sub/app.git")
    assert autonomous(repo, "pr", "todo") == Ended(0, "todo: https://git.example/acme/app/pull/7\n", "")
    create = programs("glab")[1]["argv"]
    at = create.index("--description") + 1
    assert create[at].startswith("> Do todo well\n")
    del create[at]
    assert create == [
        "mr", "create", "--repo", "https://gitlab.example.org/group/sub/app", "--target-branch", "main",
        "--source-branch", "autonomous/todo", "--title", "Do todo well", "--description", "--yes",
    ]  # fmt: skip
    assert programs("gh") == []


@pytest.mark.usefixtures("remote")
def test_where_the_host_does_not_tell_the_one_that_is_signed_in_is_taken(
    repo: Path, programs: Calls, tmp_path: Path
) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    site(repo, "git@code.example.org:acme/app.git")
    answer(tmp_path, auth=(1, "not signed in"))
    assert autonomous(repo, "pr", "todo").out == "todo: pushed to origin as autonomous/todo, for main\n"
    assert [name for name in ("gh", "glab") for _ in programs(name)] == ["gh", "glab"]
    answer(tmp_path)
    assert autonomous(repo, "pr", "todo").out == "todo: https://git.example/acme/app/pull/7\n"


@pytest.mark.usefixtures("remote", "programs")
def test_a_request_that_is_open_already_is_told_and_one_that_cannot_be_opened_is_an_error(
    repo: Path, tmp_path: Path
) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    site(repo, "git@github.com:acme/app.git")
    answer(tmp_path, auth=(1, ""))
    where = "https://github.com/acme/app/compare/main...autonomous/todo?expand=1"
    assert autonomous(repo, "pr", "todo") == Ended(
        0,
        "todo: pushed to origin as autonomous/todo, for main\n",
        f"gh is not signed in: gh auth login --hostname github.com\nhint: open {where}\n",
    )
    answer(tmp_path, create=(1, 'a pull request for branch "x" already exists:\nhttps://github.com/acme/app/pull/3\n'))
    assert autonomous(repo, "pr", "todo") == Ended(0, "todo: https://github.com/acme/app/pull/3\n", "")
    answer(tmp_path, create=(1, "GraphQL: \x1b[31mno\n"))
    assert autonomous(repo, "pr", "todo") == refused(
        1, "'todo' is pushed as autonomous/todo, but gh opened no pull request: GraphQL: no", f"open it yourself: {where}"
    )  # fmt: skip


@pytest.mark.usefixtures("remote")
def test_a_gh_in_the_users_checkout_is_not_run(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    site(repo, "git@github.com:acme/app.git")
    planted = made.worktree_of(repo, "todo") / "bin"
    add_hook(planted, "gh", f"touch {tmp_path}/ran", ".")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "gh").symlink_to(planted / "gh")
    monkeypatch.setenv("PATH", f"{planted}{os.pathsep}{outside}{os.pathsep}{os.environ['PATH']}")
    assert autonomous(made.worktree_of(repo, "todo"), "pr", "todo").err.startswith("hint: open https://github.com/")
    assert not (tmp_path / "ran").exists()


def test_a_fork_asks_for_the_branch_that_the_base_follows(repo: Path, remote: Path, programs: Calls) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    site(repo, "git@github.com:ada/app.git")
    git(repo, "remote", "add", "upstream", "git@github.com:acme/app.git")
    git(repo, "config", "branch.main.remote", "upstream")
    git(repo, "config", "branch.main.merge", "refs/heads/trunk")
    git(repo, "config", "remote.pushDefault", "origin")
    assert autonomous(repo, "pr", "todo").status == 0
    assert programs("gh")[1]["argv"][2:8] == [
        "--repo", "github.com/acme/app", "--base", "trunk", "--head", "ada:autonomous/todo",
    ]  # fmt: skip
    assert git(remote, "branch", "--list", "autonomous/*") == "  autonomous/todo"


def test_a_task_whose_base_is_only_on_the_remote_is_offered_and_merge_says_so(repo: Path, remote: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"}, base="main")
    git(repo, "push", "--quiet", "origin", "main", "autonomous/todo")
    clone = repo.parent / "clone"
    git(repo, "clone", "--quiet", str(remote), str(clone))
    git(clone, "switch", "--quiet", "--detach")
    git(clone, "branch", "--quiet", "autonomous/todo", "origin/autonomous/todo")
    git(clone, "branch", "--quiet", "-D", "main")
    hint = autonomous(clone, "merge", "todo").err.splitlines()[1]
    assert hint.startswith("hint: git autonomous pr todo # or")
    assert autonomous(clone, "pr", "todo").out == "todo: pushed to origin as autonomous/todo, for main\n"


def test_a_bare_repository_pushes_too(repo: Path, remote: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"}, worktree=False)
    bare = repo.parent / "bare.git"
    git(repo, "clone", "--quiet", "--mirror", str(repo), str(bare))
    git(bare, "remote", "set-url", "origin", str(remote))
    git(bare, "config", "--unset", "remote.origin.mirror")
    assert autonomous(bare, "pr", "todo").out == "todo: pushed to origin as autonomous/todo, for main\n"


# -- addresses and texts -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        ("https://github.com/acme/app.git", "github.com", "acme/app"),
        ("https://ada@github.com/acme/app/", "github.com", "acme/app"),
        ("https://git.example.org:8443/acme/app", "git.example.org:8443", "acme/app"),
        ("git@github.com:acme/app.git", "github.com", "acme/app"),
        ("gitlab.com:group/sub/app", "gitlab.com", "group/sub/app"),
        ("ssh://git@GitLab.com:2222/group/app.git", "gitlab.com", "group/app"),
        ("ssh://git@ssh.github.com:443/acme/app.git", "github.com", "acme/app"),
        ("git://codeberg.org/acme/app.git", "codeberg.org", "acme/app"),
        ("/srv/git/app.git", "", ""),
        ("../app.git", "", ""),
        ("file:///srv/git/app.git", "", ""),
        ("C:/git/app.git", "", ""),
        ("https://x.example/a b/`id`", "", ""),
        ("git@-oProxyCommand=id:acme/app", "", ""),
        ("ext::sh -c id", "", ""),
    ],
)
def test_the_page_of_a_repository_is_read_from_the_address_of_its_remote(url: str, host: str, path: str) -> None:
    assert pull_request.read_url("origin", url) == Remote("origin", host, path)


def plan_for(url: str, fork: str | None = None) -> Plan:
    task = Task("x", "Goal", "main", "0" * 40, "")
    target = pull_request.read_url("origin", url)
    source = target if fork is None else pull_request.read_url("fork", fork)
    return Plan(task, source, target, "autonomous/x", "release/1&2", "", "", "", "")


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (plan_for("git@github.com:a/b.git"), "https://github.com/a/b/compare/release/1%262...autonomous/x?expand=1"),
        (
            plan_for("https://github.com/a/b", "https://github.com/ada/b"),
            "https://github.com/a/b/compare/release/1%262...ada:autonomous/x?expand=1",
        ),
        (
            plan_for("https://gitlab.com/g/s/b.git"),
            "https://gitlab.com/g/s/b/-/merge_requests/new?merge_request%5Bsource_branch%5D=autonomous%2Fx&merge_request%5Btarget_branch%5D=release%2F1%262",
        ),
        (
            plan_for("git@bitbucket.org:a/b.git"),
            "https://bitbucket.org/a/b/pull-requests/new?source=autonomous%2Fx&dest=a%2Fb%3A%3Arelease%2F1%262",
        ),
        (plan_for("https://codeberg.org/a/b"), "https://codeberg.org/a/b/compare/release/1%262...autonomous/x"),
        (plan_for("https://gitea.example.org/a/b"), "https://gitea.example.org/a/b/compare/release/1%262...autonomous/x"),
        (plan_for("https://code.example.org/a/b"), None),
        (plan_for("/srv/b.git"), None),
    ],
)  # fmt: skip
def test_the_address_to_open_by_hand(plan: Plan, expected: str | None) -> None:
    assert pull_request.address(plan) == expected


HOSTILE = [
    "[a](https://evil.example) ![](x) <img src=x onerror=1> <!-- -->",
    "# h\r\n* b _c_ ~~d~~ `e` | f",
    "Fixes #12, GH-3, acme/app#4 and !5 for @team; \x1b]0;x\x07 &lt; :smile: $1 %v",
    "/close",
]
HARMLESS = [
    r"\[a\]\(https:&#8203;//evil\.example\) \!\[\]\(x\) \<img src\=x onerror\=1\> \<\!\-\- \-\-\>",
    r"\# h \* b \_c\_ \~\~&#8203;d\~\~ \`e\` \| f",
    r"Fixes \#&#8203;12, GH\-&#8203;3, acme/app\#&#8203;4 and \!&#8203;5 for @&#8203;team; ␛\]0;x␇ \&&#8203;lt; :&#8203;smile: \$&#8203;1 %&#8203;v",
    "/close",
]


def test_foreign_text_stays_text() -> None:
    assert [pull_request.escaped(text) for text in HOSTILE] == HARMLESS
    assert [pull_request.code(text) for text in ("a`b", "`a`", "a\nb")] == ["``a`b``", "`` `a` ``", "`a b`"]
    task = Task("x", "\n".join(HOSTILE), "main", "0" * 40, "", Options(checks=("a\n/close",)))
    hazard = Hazard("x\n/close", "hook", "why")
    situation = Situation(
        task, "main", "", "", 1, 1, "passed", False, False, "", items=("b\n/close",), sessions=1, hazards=(hazard,)
    )
    record = Session("x", 1, "executor", check="passed")
    commit = Commit("1" * 40, "", (), "x: /close\n\n/close", "", 0)
    body = pull_request.body_of(situation, [(record, commit)], "c\n/close")
    ours = ("> ", "- ", "### ", "These ", "1 of ")
    assert [line for line in body.splitlines() if line and not line.startswith(ours)] == []


def test_a_body_is_never_longer_than_a_site_takes() -> None:
    task = Task("x", "@a" * 500_000, "main", "0" * 40, "", Options(checks=("`@" * 900,) * 30))
    items = ("#1" * 150,) * 200
    situation = Situation(task, "main", "", "", 200, 200, "passed", False, False, "", items=items, sessions=3)
    sessions = [(Session("x", 1, "executor"), Commit("1" * 40, "", (), "x: " + "#1" * 40, "", 0))] * 500
    body = pull_request.body_of(situation, sessions, None)
    assert 10_000 < len(body) <= pull_request.BODY
    assert body.endswith("\n")
    assert len(pull_request.title_of(replace(task, goal="a" * 500))) == pull_request.TITLE


def test_which_remote_git_would_push_to(repo: Path) -> None:
    place = made.place_of(repo)
    for name in ("one", "two"):
        git(repo, "remote", "add", name, f"git@github.com:{name}/app.git")
    with pytest.raises(Exception, match="there is no remote 'origin'"):
        pull_request.push_remote(place, "autonomous/x", None)
    for key, value, expected in (
        ("branch.autonomous/x.remote", "one", "one"),
        ("remote.pushDefault", "two", "two"),
        ("branch.autonomous/x.pushRemote", "one", "one"),
    ):
        git(repo, "config", key, value)
        assert pull_request.push_remote(place, "autonomous/x", None).name == expected
    assert pull_request.push_remote(place, "autonomous/x", "two").path == "two/app"
    other = make_repository(repo.parent / "other")
    git(other, "remote", "add", "only", "/srv/x")
    assert pull_request.push_remote(made.place_of(other), "autonomous/x", None) == Remote("only")
