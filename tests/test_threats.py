"""What an agent may try with git and its worktree, and must not reach: the real Codex, inside its sandbox and without one, and a canary in each program's place."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import made
import pytest
from agent import executor, initializer, sessions, write_file
from canaries import ATTRIBUTES, Canaries
from conftest import git
from program import autonomous, commits, listed

from gitautonomous import guard
from gitautonomous.git import Repository, Worktree
from gitautonomous.scripted import Request, Server, Step

pytestmark = pytest.mark.usefixtures("codex_home")
START = ("start", "Write a and b", "--name", "todo", "--delay", "0")
RESUME = ("resume", "todo", "--delay", "0")


@pytest.fixture
def canaries(area: Path) -> Canaries:
    return Canaries(area / "canaries")


@pytest.fixture
def worktree(agent_repo: Path) -> Path:
    return agent_repo.parent / "repo.autonomous" / "todo"


def reason(repo: Path) -> tuple[str, str]:
    (task,) = listed(repo)
    return task["state"], task["reason"]


def files(repo: Path, revision: str = "autonomous/todo") -> list[str]:
    """The paths of a commit but for the tracking files; a gitlink is marked."""
    lines = [line for line in git(repo, "ls-tree", "-r", "-z", revision).split("\0") if line]
    marked = [("gitlink " if line.startswith("160000") else "") + line.partition("\t")[2] for line in lines]
    return [path for path in marked if not path.startswith(".autonomous/")]


def hostile_repository(folder: Path, canaries: Canaries) -> Path:
    """A repository that a script can copy into a worktree: its configuration and hooks are canaries."""
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "inner").write_text("inner\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "Inner")
    (folder / "inner").write_text("INNER\n")
    (folder / ".gitattributes").write_text(ATTRIBUTES)
    with open(folder / ".git/config", "a") as file:
        file.write(canaries.config())
    canaries.hooks(folder / ".git/hooks")
    return folder


# -- the worktree's .git -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "swap",
    [
        "rm .git; cp -r {evil}/.git .git",
        "echo gitdir: {evil}/.git > .git",
        "rm .git; ln -s {evil}/.git .git",
        "rm .git; mkfifo .git",
        "rm .git",
    ],
    ids=["folder", "file", "link", "fifo", "gone"],
)
def test_a_swapped_git_pointer_stops_the_task_and_is_never_followed(
    agent_repo: Path, area: Path, worktree: Path, model: Server, canaries: Canaries, swap: str
) -> None:
    evil = hostile_repository(area / "evil", canaries)
    model.play(
        sessions(
            initializer("todo", ["write a", "write b"]),
            executor("todo", "write a", write_file("a", "1"), f"cp {evil}/.gitattributes .; {swap.format(evil=evil)}"),
            executor("todo", "write b", write_file("b", "2")),
        )
    )
    ended = autonomous(agent_repo, *START, "--network")
    why = f"session 2: the .git file of {worktree} was changed by somebody and was put back"
    assert ended.status == 3
    assert ended.out.startswith(f"todo: failed, {why}")
    assert reason(agent_repo)[0] == "failed" and reason(agent_repo)[1].startswith(why)
    assert files(agent_repo) == [".gitattributes", "README.md", "a"]
    assert git(worktree, "status", "--porcelain") == ""
    attic = agent_repo / ".git/autonomous/attic/todo"
    assert len(list(attic.iterdir()) if attic.exists() else []) == (swap.startswith("rm .git; "))
    ended = autonomous(agent_repo, *RESUME)
    assert (ended.status, ended.out) == (0, "todo: finished, all 2 items are ticked\n")
    assert canaries.marks() == []


def test_in_the_sandbox_nothing_of_git_can_be_written(agent_repo: Path, worktree: Path, model: Server) -> None:
    common = agent_repo / ".git"
    before = {
        path: path.read_bytes() for path in common.rglob("*") if path.is_file() and "autonomous" not in path.parts
    }
    model.play(
        sessions(
            initializer("todo", ["write a"]),
            executor(
                "todo", "write a", write_file("a", "1"), "rm -rf .git", "mv .git x", "echo gitdir: x > .git",
                f"git config core.fsmonitor evil; echo evil > {common}/hooks/post-commit; echo evil >> {common}/config",
                f"git commit --allow-empty -m mine; git branch mine; echo evil > {common}/worktrees/todo/index",
                f"echo evil > {common}/autonomous/tasks/todo/journal.jsonl; rm -rf {common}/autonomous",
            ),
        )
    )  # fmt: skip
    ended = autonomous(agent_repo, *START)
    assert (ended.status, ended.out) == (0, "todo: finished, its one item is ticked\n"), ended.err
    changed = {path for path, content in before.items() if not path.exists() or path.read_bytes() != content}
    assert {path.relative_to(common) for path in changed} <= {Path("logs/HEAD")}
    assert git(agent_repo, "branch", "--format=%(refname:short)").split() == ["autonomous/todo", "main"]
    assert files(agent_repo) == ["README.md", "a"]


# -- repositories inside the worktree ------------------------------------------------------------------------------------------------------------


def test_repositories_that_an_agent_plants_are_reported_and_their_programs_never_run(
    agent_repo: Path, area: Path, worktree: Path, model: Server, canaries: Canaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "file")
    evil = hostile_repository(area / "evil", canaries)
    git(agent_repo, "submodule", "--quiet", "add", str(evil), "module")
    git(agent_repo, "commit", "--quiet", "-m", "A submodule")
    canaries.mark.unlink(missing_ok=True)
    plant = f"cp -r {evil} nested; cp -r {evil}/.git bare; rm -r module; cp -r {evil} module; cp -r {evil} x; mv x/.git x/.GIT"
    model.play(
        sessions(
            initializer("todo", ["write a", "write b"], ["true"]),
            executor("todo", "write a", write_file("a", "1"), plant),
            executor("todo", "write b", write_file("b", "2"), "git status; cp -r module/inner nested/inner2"),
        )
    )
    ended = autonomous(agent_repo, *START)
    assert (ended.status, ended.out) == (0, "todo: finished, all 2 items are ticked and the checks pass\n"), ended.err
    assert files(agent_repo) == [".gitmodules", "README.md", "a", "b", "gitlink module"]
    assert git(agent_repo, "diff", "--submodule=short", "main", "autonomous/todo", "--", "module") == ""
    excluded = commits(
        agent_repo, "autonomous/todo~2..autonomous/todo", "%(trailers:key=Autonomous-Excluded,valueonly,separator=%x20)"
    )
    assert [sorted(line.split()) for line in excluded] == [["bare", "nested", "x"]] * 2
    for path in ("nested", "bare", "x"):
        assert f"left out of the commit: {path} (a repository of its own)" in ended.err
    assert "module/.git was not a plain file or folder and was moved to" in ended.err
    assert canaries.marks() == []


# -- the user's own settings ---------------------------------------------------------------------------------------------------------------------


def test_hooks_and_programs_that_the_user_keeps_in_the_tree_are_not_run_by_sessions(
    agent_repo: Path, worktree: Path, model: Server, canaries: Canaries
) -> None:
    """Each program is named relative to the worktree, as husky does it, so the agent can replace it."""
    canaries.hooks(agent_repo / ".husky")
    for name in ("fsmonitor", "pager", "editor", "gpg", "external", "textconv"):
        (agent_repo / ".husky" / name).write_text(canaries.script(name).read_text())
        (agent_repo / ".husky" / name).chmod(0o755)
    (agent_repo / ".gitattributes").write_text("* diff=own\n")
    git(agent_repo, "add", "--all")
    git(agent_repo, "commit", "--quiet", "-m", "Hooks in the tree")
    for key, value in {
        "core.hooksPath": ".husky", "core.fsmonitor": ".husky/fsmonitor", "core.pager": ".husky/pager", "core.editor": ".husky/editor",
        "gpg.program": ".husky/gpg", "commit.gpgSign": "true", "diff.external": ".husky/external", "diff.own.textconv": ".husky/textconv",
    }.items():  # fmt: skip
        git(agent_repo, "config", key, value)
    model.play(
        sessions(
            initializer("todo", ["write a"], ["true"]),
            executor("todo", "write a", write_file("a", "1"), "touch .husky/*"),
        )
    )
    ended = autonomous(agent_repo, *START)
    assert (ended.status, ended.out) == (0, "todo: finished, its one item is ticked and the checks pass\n"), ended.err
    for command in (("list",), ("status", "todo"), ("log", "todo")):
        assert autonomous(agent_repo, *command).status == 0
    assert canaries.marks() == []


def test_a_filter_that_would_run_the_agents_file_stops_the_task_before_it_runs(
    agent_repo: Path, worktree: Path, model: Server, canaries: Canaries
) -> None:
    git(agent_repo, "config", "filter.own.clean", "tools/clean")
    ended = autonomous(agent_repo, *START)
    assert (ended.status, ended.err.splitlines()) == (
        1,
        [
            "error: filter.own.clean runs tools/clean, which would be found inside the agent's worktree",
            "hint: git config filter.own.clean /absolute/path/to/clean",
        ],
    )
    git(agent_repo, "config", "filter.own.clean", "sh clean.sh")
    script = write_file("clean.sh", f"echo clean >> {canaries.mark}")
    model.play(
        sessions(
            initializer("todo", ["write a"]),
            executor("todo", "write a", script, write_file(".gitattributes", "* filter=own"), write_file("a", "1")),
        )
    )
    ended = autonomous(agent_repo, *START)
    assert ended.status == 1
    assert reason(agent_repo) == (
        "failed",
        "filter.own.clean runs clean.sh, which would be found inside the agent's worktree",
    )
    assert commits(agent_repo, "main..autonomous/todo")[-1] == "todo: task list of 1 item"
    (worktree / "clean.sh").unlink()
    ended = autonomous(agent_repo, *RESUME)
    assert (ended.status, ended.out) == (0, "todo: finished, its one item is ticked\n"), ended.err
    assert canaries.marks() == []


def test_a_git_or_codex_of_the_agent_on_the_path_is_never_run(
    agent_repo: Path, worktree: Path, model: Server, canaries: Canaries
) -> None:
    model.play(
        sessions(
            initializer("todo", ["write a", "write b"], ["true"]),
            executor(
                "todo", "write a",
                *(write_file(f"bin/{name}", canaries.script(name).read_text()) + f"\nchmod +x bin/{name}" for name in ("git", "codex", "sh", "env")),
                "cp bin/git git; cp bin/codex codex",
            ),
            executor("todo", "write b", write_file("b", "2")),
        )
    )  # fmt: skip
    autonomous(agent_repo, *START, "--max-sessions", "2")
    assert (worktree / "bin/git").exists()
    path = f"{worktree}/bin:bin::.:./bin:{os.environ['PATH']}"
    ended = autonomous(worktree, *RESUME, PATH=path)
    assert (ended.status, ended.out) == (0, "todo: finished, all 2 items are ticked and the checks pass\n"), ended.err
    assert canaries.marks() == []


def test_variables_of_another_git_command_reach_nobody(agent_repo: Path, area: Path, model: Server) -> None:
    """As in a hook or an alias: git tells the commands that it runs which repository, index and configuration it works on."""
    other = area / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    leaked = {
        "GIT_INDEX_FILE": f"{other}/.git/index", "GIT_OBJECT_DIRECTORY": f"{other}/.git/objects", "GIT_COMMON_DIR": f"{other}/.git",
        "GIT_NAMESPACE": "evil", "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.fsmonitor", "GIT_CONFIG_VALUE_0": "evil",
        "GIT_CONFIG_PARAMETERS": "'core.fsmonitor'='evil'", "GIT_PREFIX": "sub/", "GIT_EDITOR": "evil", "GIT_PAGER": "evil",
        "GIT_EXTERNAL_DIFF": "evil", "GIT_QUARANTINE_PATH": str(other), "GIT_LITERAL_PATHSPECS": "1", "GIT_ATTR_SOURCE": "HEAD",
        "GIT_DEFAULT_HASH": "sha256", "GIT_TRACE": f"{area}/trace", "GIT_REFLOG_ACTION": "evil", "GIT_INTERNAL_GETTEXT_SH_SCHEME": "evil",
    }  # fmt: skip
    model.play(
        sessions(
            initializer("todo", ["write a"], ["env > env-of-check; true"]),
            executor("todo", "write a", "env | sort > environment"),
        )
    )
    environment = {**leaked, "GIT_DIR": f"{agent_repo}/.git", "GIT_WORK_TREE": str(agent_repo)}
    del environment["GIT_COMMON_DIR"], environment["GIT_NAMESPACE"]
    ended = autonomous(area, *START, stdin=b"", **environment)
    assert (ended.status, ended.out) == (0, "todo: finished, its one item is ticked and the checks pass\n"), ended.err
    seen = git(agent_repo, "show", "autonomous/todo:environment").splitlines()
    assert [line.partition("=")[0] for line in seen if line.startswith("GIT_")] == [
        "GIT_AUTONOMOUS_ATTEMPT", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM", "GIT_PAGER",
    ]  # fmt: skip
    assert "GIT_PAGER=cat" in seen  # Codex's own
    assert not (other / ".git/index").exists() and sorted(os.listdir(other / ".git/objects")) == ["info", "pack"]


# -- what git obeys, changed while a session ran -------------------------------------------------------------------------------------------------


def test_a_changed_configuration_or_hook_stops_the_task_by_name_and_nothing_of_it_runs(
    agent_repo: Path, worktree: Path, model: Server, canaries: Canaries
) -> None:
    common = agent_repo / ".git"
    canary = canaries.script("planted")
    model.play(
        sessions(
            initializer("todo", ["write a", "write b"]),
            executor(
                "todo", "write a", write_file("a", "1"),
                f"cp {canary} {common}/hooks/post-commit; echo '* filter=x' > {common}/info/attributes",
                f"printf '[filter \"x\"]\\n\\tclean = {canary}\\n[core]\\n\\tfsmonitor = {canary}\\n' >> {common}/config",
            ),
            executor("todo", "write b", write_file("b", "2")),
        )
    )  # fmt: skip
    ended = autonomous(agent_repo, *START, "--network")
    changed = "configuration: core.fsmonitor, configuration: filter.x.clean, hooks/post-commit, info/attributes"
    why = f"not by git autonomous, and while session 2 ran, the repository changed: {changed}"
    assert (ended.status, ended.err.splitlines()[-2]) == (3, f"error: {why}")
    assert reason(agent_repo) == ("failed", why)
    assert commits(agent_repo, "main..autonomous/todo")[-1] == "todo: task list of 2 items"
    assert canaries.marks() == []
    for name in ("hooks/post-commit", "info/attributes"):
        (common / name).unlink()
    git(agent_repo, "config", "--unset", "core.fsmonitor")
    git(agent_repo, "config", "--unset", "filter.x.clean")
    assert autonomous(agent_repo, "hooks", "install").status == 0  # while no session runs, all of it is a person's
    ended = autonomous(agent_repo, *RESUME)
    assert (ended.status, ended.out) == (0, "todo: finished, all 2 items are ticked\n"), ended.err
    assert canaries.marks() == []


HARMLESS = (
    "git remote add up https://example.com/up.git",
    "git remote add fork ../fork.git",
    "git remote set-url origin ../other.git",
    "git branch --set-upstream-to=main mine",
    "git config user.name Me",
    "git config pull.rebase true",
    "git config remote.origin.gh-resolved base",
)


def test_settings_that_run_nothing_are_a_persons_to_change_and_the_others_are_not(repo: Path) -> None:
    made.start(repo, "todo")
    git(repo, "branch", "mine")
    git(repo, "remote", "add", "origin", "https://example.com/origin.git")
    repository = Repository.discover(repo)
    tree = Worktree.registered(repository, made.worktree_of(repo, "todo"))

    def changed(command: str, full: bool = False) -> bool:
        before = guard.snapshot(repository, tree, full=full)
        git(repo, *command.split()[1:])
        return guard.snapshot(repository, tree, full=full) != before

    assert [command for command in HARMLESS if changed(command)] == []
    alarming = (
        "git config remote.up.uploadpack evil", "git config remote.up.vcs evil", "git config remote.up.proxy evil",
        "git config pull.twohead evil", "git config alias.st !evil", "git config core.sshCommand evil",
        "git config url.evil::.insteadOf https://", "git config lfs.customtransfer.x.path evil",
        "git config submodule.x.update !evil", "git config autonomous.checks evil",
        "git config branch.main.mergeOptions --no-verify",
    )  # fmt: skip
    assert [command for command in alarming if not changed(command)] == []
    # Without a sandbox an agent could have done it, and the hooks of a repository in a folder are run by a push to it.
    for leading in (
        "git remote set-url origin ../evil.git",
        "git config branch.main.remote ../evil.git",
        "git config branch.main.pushRemote ../evil.git",
    ):
        assert changed(leading, full=True)
    assert not changed("git config branch.main.pushRemote origin2", full=False)


def test_a_hook_in_the_place_of_another_is_noticed_and_what_stands_below_a_value_that_is_not_utf8(repo: Path) -> None:
    repository = Repository.discover(repo)
    hook, config = repo / ".git/hooks/pre-commit", repo / ".git/config"
    hook.write_text("#!/bin/sh\n")
    with config.open("ab") as file:
        file.write(b'[alias "J\xfcrgen"]\n\tx = "J\xfcrgen"\n\ty\n')
    before = guard.shared(repository, full=True)
    (hook.parent / "zz").mkdir()
    hook.rename(hook.parent / "zz" / hook.name)
    hook.write_text("#!/bin/sh\nevil\n")
    git(repo, "config", "core.fsmonitor", "evil")
    after = guard.shared(repository, full=True)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"hooks/pre-commit", "hooks/zz/pre-commit", "configuration: core.fsmonitor"}


def test_what_people_do_meanwhile_in_their_own_checkout_is_no_alarm(agent_repo: Path, model: Server) -> None:
    """Other refs, other worktrees and the settings of branches move freely; only full access lets a script of the model play the person."""
    person = (
        f"cd {agent_repo} && git switch -q -c feature && git commit -q --allow-empty -m Mine && git tag v1"
        f" && git branch --set-upstream-to=main feature && git worktree add -q ../mine -b mine && git stash list"
    )
    model.play(sessions(initializer("todo", ["write a"]), executor("todo", "write a", person, write_file("a", "1"))))
    ended = autonomous(agent_repo, *START, "--network")
    assert (ended.status, ended.out) == (0, "todo: finished, its one item is ticked\n"), ended.err
    assert git(agent_repo, "log", "-1", "--format=%s", "feature") == "Mine"


def test_a_remote_that_a_person_adds_while_a_sandboxed_session_runs_is_no_alarm(
    agent_repo: Path, model: Server
) -> None:
    play = sessions(initializer("todo", ["write a"]), executor("todo", "write a", write_file("a", "1")))

    def respond(request: Request) -> Step:
        git(agent_repo, "config", f"remote.up{request.number}.url", "../up.git")
        git(agent_repo, "config", "user.name", f"Me {request.number}")
        return play(request)

    model.play(respond)
    ended = autonomous(agent_repo, *START)
    assert (ended.status, ended.out) == (0, "todo: finished, its one item is ticked\n"), ended.err


def test_an_agents_own_commits_become_the_sessions_one_commit(agent_repo: Path, worktree: Path, model: Server) -> None:
    mine = "echo 1 > a; git add a; git commit -q -m Mine; echo 3 > c; git add c; echo 2 > b"
    model.play(sessions(initializer("todo", ["write a"]), executor("todo", "write a", mine)))
    ended = autonomous(agent_repo, *START, "--network")
    assert (ended.status, ended.out) == (0, "todo: finished, its one item is ticked\n"), ended.err
    assert commits(agent_repo, "main..autonomous/todo") == ["Start todo", "todo: task list of 1 item", "todo: write a"]
    assert files(agent_repo) == ["README.md", "a", "b", "c"]
    assert git(worktree, "status", "--porcelain") == ""


def test_a_branch_that_was_rewritten_or_left_stops_the_task_once_with_an_explanation(
    agent_repo: Path, worktree: Path, model: Server
) -> None:
    model.play(
        sessions(
            initializer("todo", ["write a", "write b"]),
            executor("todo", "write a", write_file("a", "1"), "git commit -q --amend -m Rewritten"),
            executor("todo", "write b", write_file("b", "2"), "git switch -q -c elsewhere"),
        )
    )
    ended = autonomous(agent_repo, *START, "--network")
    why = "autonomous/todo was rewritten while session 2 ran; its files are still in the worktree"
    assert (ended.status, reason(agent_repo)) == (3, ("failed", why))
    assert commits(agent_repo, "main..autonomous/todo") == ["Start todo", "Rewritten"]
    ended = autonomous(agent_repo, *RESUME)
    why = "the worktree of 'todo' is on elsewhere, not on autonomous/todo"
    assert (ended.status, ended.err.splitlines()[-2]) == (3, f"error: {why}")
    assert files(agent_repo) == ["README.md", "a"]
    git(worktree, "switch", "-q", "autonomous/todo")
    ended = autonomous(agent_repo, *RESUME)
    assert (ended.status, ended.out) == (0, "todo: finished, all 2 items are ticked\n"), ended.err
    assert files(agent_repo) == ["README.md", "a", "b"]


# -- how much, and who may read it ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("mkdir many; cd many; seq 1 60 | xargs touch", "62 new or changed files with "),
        ("truncate -s 3T huge", "3 new or changed files with 3,298,534,"),
        ("truncate -s 10G README.md", "3 new or changed files with 10,737,4"),
    ],
)
def test_too_much_pauses_the_task_with_a_list_before_anything_is_staged(
    agent_repo: Path, worktree: Path, model: Server, command: str, found: str
) -> None:
    model.play(
        sessions(initializer("todo", ["write a"]), executor("todo", "write a", write_file("a", "1"), f"({command})"))
    )
    ended = autonomous(agent_repo, *START, GIT_AUTONOMOUS_MAX_FILES="50", GIT_AUTONOMOUS_MAX_BYTES="1000000")
    message = f"error: the session left {found}"
    assert ended.status == 3
    assert ended.err.splitlines()[-2].startswith(message), ended.err
    assert commits(agent_repo, "main..autonomous/todo")[-1] == "todo: task list of 1 item"
    subprocess.run(["sh", "-c", "rm -rf many huge; git checkout -q README.md"], cwd=worktree, check=True)
    ended = autonomous(agent_repo, *RESUME)
    assert (ended.status, files(agent_repo)) == (0, ["README.md", "a"]), ended.err


def test_a_check_that_is_no_text_is_left_out(agent_repo: Path, model: Server) -> None:
    """It could not be written into task.toml, and its session never closed."""
    write, say = initializer("todo", ["write a"], ["true"])
    spoil = "LC_ALL=C sed -i 's/^true$/true\\ntrue \\xff/' .autonomous/todo/task_list.md"
    model.play(sessions([write, {"exec": [spoil]}, say], executor("todo", "write a", write_file("a", "1"))))
    ended = autonomous(agent_repo, *START)
    assert (ended.status, ended.out) == (0, "todo: finished, its one item is ticked and the checks pass\n"), ended.err
    assert "check left out, it is not allowed here: true \ufffd\n" in ended.err
    assert (
        git(agent_repo, "show", "autonomous/todo:.autonomous/todo/task.toml").count('proposed_checks = ["true"]') == 1
    )


def test_a_path_that_is_too_deep_is_named_and_does_not_stop_the_work(agent_repo: Path, model: Server) -> None:
    deep = "for i in $(seq 60); do d=$(printf 'd%.0s' $(seq 100)); mkdir $d; cd $d; done; echo x > leaf"
    model.play(
        sessions(initializer("todo", ["write a"]), executor("todo", "write a", write_file("a", "1"), f"({deep})"))
    )
    ended = autonomous(agent_repo, *START)
    assert (ended.status, files(agent_repo)) == (0, ["README.md", "a"]), ended.err
    assert "left out of the commit: " in ended.err and "(cannot be opened)" in ended.err


def test_transcripts_are_for_the_user_alone_and_never_committed(agent_repo: Path, model: Server) -> None:
    model.play(
        sessions(
            initializer("todo", ["write a"], ["true"]), executor("todo", "write a", "echo SECRET-OF-THE-RUN", "env")
        )
    )
    autonomous(agent_repo, *START)
    local = agent_repo / ".git/autonomous"
    assert any(b"SECRET-OF-THE-RUN" in path.read_bytes() for path in local.rglob("*.jsonl"))
    assert {oct(path.stat().st_mode & 0o777) for path in [local, *local.rglob("*")] if path.is_dir()} == {"0o700"}
    modes = {
        path.relative_to(local).as_posix(): path.stat().st_mode & 0o077 for path in local.rglob("*") if path.is_file()
    }
    assert [
        name
        for name, others in modes.items()
        if others and name.startswith("tasks/") and not name.endswith("last_message.txt")
    ] == []
    objects = git(
        agent_repo, "cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype)"
    ).splitlines()
    blobs = [line.split()[0] for line in objects if line.endswith(" blob")]
    assert [blob for blob in blobs if "SECRET-OF-THE-RUN" in git(agent_repo, "cat-file", "blob", blob)] == []
