"""A finished task gets into its base in one step, or nothing changes: real repositories, real hooks, no agent."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import made
import pytest
from conftest import git, make_repository
from program import Ended, autonomous, commits, listed, running
from terminals import terminal

from gitautonomous import locks, merge
from gitautonomous.errors import AutonomousError
from gitautonomous.merge import Situation, Wish
from gitautonomous.model import Task
from gitautonomous.moving import Checkout
from gitautonomous.runs import Hazard


def snapshot(repo: Path) -> tuple[str, ...]:
    """Everything that a refused merge leaves as it was."""
    return (
        git(repo, "for-each-ref", "--format=%(refname) %(objectname)"),
        git(repo, "worktree", "list", "--porcelain"),
        git(repo, "status", "--porcelain=v2", "--branch", "--ignored"),
        "\n".join(sorted(str(path) for path in repo.parent.glob("*.autonomous/*"))),
    )


def add_hook(repo: Path, name: str, script: str, folder: str = ".git/hooks") -> None:
    path = repo / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def refused(repo: Path, ended: Ended, status: int, *lines: str) -> None:
    assert (ended.status, ended.out) == (status, "")
    assert ended.err.replace(str(repo), "REPO").splitlines() == list(lines)


# -- what comes out ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", [False, True], ids=["in memory", "laid out for a hook"])
def test_a_finished_task_becomes_a_merge_commit_without_its_tracking_files_and_goes(repo: Path, hook: bool) -> None:
    if hook:
        add_hook(repo, "commit-msg", "test -e a && test -e deep/b")
    made.finished(repo, "todo", {"a": "1\n", "deep/b": "1\n"}, {"b": "2\n", "README.md": None})
    tip, base = git(repo, "rev-parse", "autonomous/todo"), git(repo, "rev-parse", "main")
    (repo / "untracked").write_text("mine\n")
    ended = autonomous(repo, "merge", "todo")
    head = git(repo, "rev-parse", "main")
    assert (ended.status, ended.out, ended.err) == (
        0,
        f"todo: in main as {head[:10]} (merge commit, 4 files)\n",
        "hint: git autonomous restore todo    # brings the task back; the merge stays\n",
    )
    assert git(repo, "log", "-1", "--format=%P%n%an <%ae>%n%B") == "\n".join(
        [
            f"{base} {tip}", "Ada Tester <ada@example.org>", "Merge todo: Do todo well", "", "- [x] item 1", "- [x] item 2", "",
            "Autonomous-Merged: todo", "Autonomous-Sessions: 3", "Assisted-by: Codex:gpt-5.5", "",
        ]
    )  # fmt: skip
    assert git(repo, "ls-tree", "-r", "--name-only", "main").split() == ["a", "b", "deep/b"]
    assert git(repo, "status", "--porcelain") == "?? untracked"
    assert git(
        repo, "for-each-ref", "--format=%(refname) %(objectname)", "refs/autonomous", "refs/heads/autonomous"
    ) == (f"refs/autonomous/merged/todo/1 {tip}")
    assert (git(repo, "worktree", "list").count("\n"), (repo.parent / "repo.autonomous").exists()) == (0, False)
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""
    assert autonomous(repo, "restore", "todo").status == 0
    (task,) = listed(repo)
    assert (task["state"], git(repo, "rev-parse", "autonomous/todo")) == ("merged", tip)


def test_a_squash_is_one_commit_on_the_base(repo: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"}, {"b": "2\n"})
    (repo / "main").write_text("went on\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "went on")
    base = git(repo, "rev-parse", "main")
    assert autonomous(repo, "merge", "--squash", "todo", "-m", "feat: todo\n\nAll of it.").status == 0
    assert git(repo, "log", "-1", "--format=%P%n%B") == (
        f"{base}\nfeat: todo\n\nAll of it.\n\nAutonomous-Merged: todo\nAutonomous-Sessions: 3\nAssisted-by: Codex:gpt-5.5\n"
    )
    assert git(repo, "ls-tree", "-r", "--name-only", "main").split() == ["README.md", "a", "b", "main"]


def test_a_rebase_puts_each_session_that_changed_something_on_top_of_the_base(repo: Path) -> None:
    task = made.start(repo, "todo")
    made.session(repo, task, {}, number=1, done=0, total=3, role="initializer")
    worktree = made.worktree_of(repo, "todo")
    made.session(repo, task, {"a": "1\n"}, number=2, done=1, total=3)
    (worktree / "hand").write_text("1\n")
    git(worktree, "add", "hand")
    git(worktree, "commit", "-qm", "by hand", "--author", "Bob <bob@example.org>", "--date", "2020-02-02T02:02:02+0200")
    made.session(repo, task, {}, number=3, done=2, total=3)
    made.session(repo, task, {"b": "1\n"}, number=4, done=3, total=3)
    (repo / "README.md").write_text("went on\n")
    git(repo, "commit", "-qam", "went on")
    base = git(repo, "rev-parse", "main")
    ended = autonomous(repo, "merge", "--rebase", "todo")
    assert ended.out.endswith(" (rebased, 3 files)\n")
    assert set(commits(repo, f"{base}..main", "%cn")) == {"Ada Tester"}
    assert commits(repo, f"{base}..main", "%s|%an|%p") == [
        f"todo: item 1|Ada Tester|{base[:7]}",
        f"by hand|Bob|{git(repo, 'rev-parse', '--short', 'main~2')}",
        f"todo: item 3|Ada Tester|{git(repo, 'rev-parse', '--short', 'main~1')}",
    ]
    assert git(repo, "log", "-1", "--format=%ad", "--date=iso-strict", "main~1") == "2020-02-02T02:02:02+02:00"
    assert git(repo, "ls-tree", "-r", "--name-only", "main").split() == ["README.md", "a", "b", "hand"]
    assert git(repo, "status", "--porcelain") == ""


def test_a_fast_forward_takes_the_commits_as_they_are_where_tracking_files_may_stay(repo: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    tip = git(repo, "rev-parse", "autonomous/todo")
    before = snapshot(repo)
    refused(
        repo, autonomous(repo, "merge", "--ff-only", "todo"), 1,
        "error: --ff-only would bring .autonomous/todo/ into main, where it is not to stay",
        "hint: git config autonomous.keepTracking true && git autonomous merge --ff-only todo",
    )  # fmt: skip
    assert snapshot(repo) == before
    git(repo, "config", "autonomous.keepTracking", "true")
    ended = autonomous(repo, "merge", "--ff-only", "todo")
    assert (ended.status, git(repo, "rev-parse", "main")) == (0, tip)
    made.finished(repo, "late", {"b": "1\n"})
    git(repo, "commit", "-q", "--allow-empty", "-m", "went on")
    refused(
        repo, autonomous(repo, "merge", "--ff-only", "late"), 1,
        "error: main has commits that 'late' has not, so it cannot be fast-forwarded",
        "hint: git autonomous sync --rebase late && git autonomous merge --ff-only late",
    )  # fmt: skip


@pytest.mark.parametrize("style", ["merge", "squash", "rebase"])
def test_tracking_files_stay_in_the_base_where_that_is_configured(repo: Path, style: str) -> None:
    git(repo, "config", "autonomous.keepTracking", "true")
    made.finished(repo, "todo", {"a": "1\n"})
    assert autonomous(repo, "merge", "todo", *([] if style == "merge" else [f"--{style}"])).status == 0
    assert git(repo, "ls-tree", "-r", "--name-only", "main").split() == [
        ".autonomous/todo/progress.md", ".autonomous/todo/task.toml", ".autonomous/todo/task_list.md", "README.md", "a",
    ]  # fmt: skip


def test_a_task_that_went_on_after_its_merge_is_merged_again_and_tracking_files_never_conflict(repo: Path) -> None:
    task = made.finished(repo, "todo", {"a": "1\n"})
    assert autonomous(repo, "merge", "todo").status == 0
    assert autonomous(repo, "restore", "todo").status == 0
    made.session(repo, task, {"b": "1\n"}, number=3, done=2, total=2)
    assert autonomous(repo, "merge", "todo").status == 0
    assert git(repo, "ls-tree", "-r", "--name-only", "main").split() == ["README.md", "a", "b"]
    assert git(repo, "for-each-ref", "--format=%(refname)", "refs/autonomous").split() == [
        "refs/autonomous/merged/todo/1", "refs/autonomous/merged/todo/2",
    ]  # fmt: skip


# -- when it must not be -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arrange", "lines"),
    [
        (
            lambda repo: made.finished(repo, "todo", {"a": "1\n"}, left=2),
            (
                "error: 'todo' is not finished: 1 of 3 items are done",
                'hint: git autonomous resume todo # or, as it is: git autonomous merge --force "WHY" todo',
            ),
        ),
        (
            lambda repo: made.start(repo, "todo"),
            (
                "error: 'todo' has no task list yet",
                'hint: git autonomous resume todo # or, as it is: git autonomous merge --force "WHY" todo',
            ),
        ),
    ],
    ids=["unfinished", "new"],
)
def test_an_unfinished_task_is_refused(repo: Path, arrange: Callable[[Path], object], lines: tuple[str, ...]) -> None:
    arrange(repo)
    before = snapshot(repo)
    refused(repo, autonomous(repo, "merge", "todo"), 1, *lines)
    assert snapshot(repo) == before


@pytest.mark.parametrize("style", ["merge", "squash", "rebase"])
def test_a_forced_merge_keeps_the_reason_in_its_message(repo: Path, style: str) -> None:
    made.finished(repo, "todo", {"a": "1\n"}, left=2)
    reason = "The rest is not needed\nSigned-off-by: Eve"
    ended = autonomous(repo, "merge", "todo", "--force", reason, *([] if style == "merge" else [f"--{style}"]))
    assert ended.status == 0
    assert git(repo, "log", "-1", "--format=%(trailers:key=Autonomous-Forced,valueonly)") == (
        "The rest is not needed Signed-off-by: Eve\n"
    )
    assert git(repo, "log", "-1", "--format=%(trailers:key=Signed-off-by)") == ""


def test_a_conflict_is_refused_with_its_files(repo: Path) -> None:
    made.finished(repo, "todo", {"README.md": "mine\n", "a": "1\n"})
    (repo / "README.md").write_text("theirs\n")
    git(repo, "commit", "-qam", "theirs")
    before = snapshot(repo)
    for options in ((), ("--squash",)):
        refused(
            repo, autonomous(repo, "merge", "todo", *options), 3,
            "error: 'todo' conflicts with main in README.md", "hint: git autonomous merge --resolve todo",
        )  # fmt: skip
    commit = git(repo, "rev-parse", "autonomous/todo")[:10]
    refused(
        repo, autonomous(repo, "merge", "todo", "--rebase"), 3,
        f"error: 'todo: item 1' ({commit}) does not go onto the base: README.md conflict",
        "hint: git autonomous merge --squash todo",
    )  # fmt: skip
    assert snapshot(repo) == before


@pytest.mark.parametrize(
    ("path", "ignored"), [("README.md", False), ("new", False), (".env", True)], ids=["edited", "untracked", "ignored"]
)
def test_work_in_the_bases_checkout_is_named_before_anything_is_done(repo: Path, path: str, ignored: bool) -> None:
    add_hook(repo, "pre-merge-commit", f"touch '{repo.parent}/ran'")
    if ignored:
        (repo / ".git/info").mkdir(exist_ok=True)
        (repo / ".git/info/exclude").write_text(".env\n")
    made.finished(repo, "todo", {path: "theirs\n"})
    (repo / path).write_text("mine\n")
    before = snapshot(repo)
    refused(
        repo, autonomous(repo, "merge", "--reviewed", "todo"), 1,
        f"error: main is checked out at REPO, where uncommitted or untracked work would be touched: {path}",
        "hint: git -C REPO stash push --include-untracked # then try again, and: git stash pop",
    )  # fmt: skip
    assert (snapshot(repo), (repo / path).read_text(), (repo.parent / "ran").exists()) == (before, "mine\n", False)


def test_a_task_at_work_is_not_merged(repo: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    folder = made.place_of(repo).repository.make_state_dir("tasks", "todo")
    before = snapshot(repo)
    for lock, words in (
        ("runner.lock", "'todo' is being worked on ()"),
        ("agent.lock", "Codex still works on 'todo' without its runner"),
    ):
        descriptor = locks.open_lock(str(folder / lock))
        assert locks.try_lock(descriptor)
        ended = autonomous(repo, "merge", "todo")
        os.close(descriptor)
        (folder / lock).write_text("")
        refused(repo, ended, 1, f"error: {words}", "hint: git autonomous stop todo # then try again")
    assert snapshot(repo) == before


def test_a_base_that_is_only_on_a_remote_is_refused_with_what_to_do(repo: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    made.finished(repo, "todo", {"a": "1\n"}, worktree=False)
    git(tmp_path, "clone", "--quiet", str(repo), str(clone))
    git(clone, "switch", "--quiet", "--create", "autonomous/todo", "origin/autonomous/todo")
    git(clone, "switch", "--quiet", "--detach")
    git(clone, "branch", "--quiet", "-D", "main")
    before = snapshot(clone)
    ended = autonomous(clone, "merge", "todo")
    refused(
        clone, ended, 1, "error: the base of 'todo' is only on a remote here, as origin/main",
        "hint: git autonomous pr todo # or, to merge it here: git branch main origin/main && git autonomous merge --into main todo",
    )  # fmt: skip
    assert snapshot(clone) == before
    git(clone, "branch", "--quiet", "main", "origin/main")
    assert autonomous(clone, "merge", "--into", "main", "todo").status == 0
    assert git(clone, "ls-tree", "-r", "--name-only", "main").split() == ["README.md", "a"]


def test_a_base_that_is_gone_is_told_with_the_way_out(repo: Path) -> None:
    git(repo, "switch", "--quiet", "--create", "feature")
    made.finished(repo, "todo", {"a": "1\n"}, base="feature")
    git(repo, "switch", "--quiet", "main")
    git(repo, "branch", "--quiet", "-D", "feature")
    refused(
        repo, autonomous(repo, "merge", "todo"), 1,
        "error: the base of 'todo', feature, is gone", "hint: git autonomous merge --into main todo",
    )  # fmt: skip
    assert autonomous(repo, "merge", "--into", "main", "todo").status == 0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["merge"], "error: which task is to be merged?"),
        (["merge", "--squash", "--rebase", "todo"], "error: --squash and --rebase exclude each other"),
        (["merge", "--force", " ", "todo"], "error: --force needs a reason, which the message keeps"),
        (["merge", "--into", "autonomous/todo", "todo"], "error: 'todo' cannot be merged into itself"),
        (
            ["merge", "--ff-only", "-m", "x", "todo"],
            "error: --ff-only takes the commits as they are: there is no message to keep a reason or a text in",
        ),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(repo: Path, arguments: list[str], error: str) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    before = snapshot(repo)
    ended = autonomous(repo, *arguments)
    assert (ended.status, ended.err.splitlines()[0], ended.err.count("hint: ")) == (2, error, 1)
    assert snapshot(repo) == before


# -- where the base is ---------------------------------------------------------------------------------------------------------------------------


def on_another_branch(repo: Path) -> Path:
    git(repo, "switch", "--quiet", "--create", "mine")
    return repo


def detached(repo: Path) -> Path:
    git(repo, "switch", "--quiet", "--detach")
    return repo


def unborn(repo: Path) -> Path:
    git(repo, "switch", "--quiet", "--orphan", "nothing-yet")
    return repo


def linked(repo: Path) -> Path:
    git(repo, "switch", "--quiet", "--detach")
    git(repo, "worktree", "add", "--quiet", str(repo.parent / "linked"), "main")
    return repo.parent / "linked"


def bare(repo: Path) -> Path:
    git(repo, "clone", "--quiet", "--bare", str(repo), str(repo.parent / "bare.git"))
    return repo.parent / "bare.git"


def bare_with_linked(repo: Path) -> Path:
    git(bare(repo), "worktree", "add", "--quiet", str(repo.parent / "linked"), "main")
    return repo.parent / "linked"


def submodule(repo: Path) -> Path:
    outer = make_repository(repo.parent / "outer")
    git(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(repo), "sub")
    return outer / "sub"


PLACES = [on_another_branch, detached, unborn, linked, bare, bare_with_linked, submodule]


@pytest.mark.parametrize("place", PLACES, ids=[place.__name__ for place in PLACES])
def test_the_base_may_be_anywhere(repo: Path, place: Callable[[Path], Path]) -> None:
    where = place(repo)
    made.finished(where, "todo", {"a": "1\n"})
    before = git(where, "rev-parse", "--symbolic-full-name", "HEAD") if place is not unborn else ""
    ended = autonomous(where, "merge", "todo")
    assert (ended.status, ended.err) == (
        0, "hint: git autonomous restore todo    # brings the task back; the merge stays\n",
    )  # fmt: skip
    assert git(where, "ls-tree", "-r", "--name-only", "main").split() == ["README.md", "a"]
    assert (git(where, "rev-parse", "--symbolic-full-name", "HEAD") if place is not unborn else "") == before
    if place in (linked, bare_with_linked, submodule):
        assert (where / "a").read_text() == "1\n"
    if place is not bare:
        assert git(where, "status", "--porcelain") == ""
    assert (
        git(where, "for-each-ref", "--format=%(refname)", "refs/heads/autonomous", "refs/autonomous")
        == "refs/autonomous/merged/todo/1"
    )


def test_a_task_on_top_of_another_goes_into_that_ones_branch_and_worktree_while_both_are_at_rest(repo: Path) -> None:
    made.finished(repo, "lower", {"a": "1\n"}, left=1)
    made.finished(repo, "upper", {"b": "1\n"}, base="autonomous/lower")
    add_hook(repo, "post-merge", f"touch '{repo.parent}/ran'")
    descriptor = locks.open_lock(str(made.place_of(repo).repository.make_state_dir("tasks", "lower") / "runner.lock"))
    assert locks.try_lock(descriptor)
    assert autonomous(repo, "merge", "upper").status == 1
    os.close(descriptor)
    assert autonomous(repo, "merge", "upper").status == 0
    lower = made.worktree_of(repo, "lower")
    assert ((lower / "b").read_text(), git(lower, "status", "--porcelain")) == ("1\n", "")
    assert not (repo.parent / "ran").exists()
    assert sorted(path.name for path in (lower / ".autonomous").iterdir()) == ["lower"]


# -- the user's hooks, signature and settings ----------------------------------------------------------------------------------------------------


def test_the_users_hooks_see_a_merge_may_change_it_and_may_refuse_it(repo: Path) -> None:
    log = repo.parent / "log"
    git(repo, "config", "core.hooksPath", "my hooks")
    see = f'echo "$(basename "$0") $# $(git rev-parse --abbrev-ref HEAD) $(git diff --cached --name-only | tr "\\n" " ")" >> "{log}"'
    add_hook(repo, "pre-merge-commit", f"{see}; echo formatted > a; git add a", "my hooks")
    add_hook(
        repo,
        "prepare-commit-msg",
        f'{see}; test -f "$(git rev-parse --git-dir)/MERGE_HEAD" && echo "$2" >> "$1"',
        "my hooks",
    )
    add_hook(repo, "commit-msg", f'{see}; echo "Reviewed-by: Bob <b@c>" >> "$1"', "my hooks")
    git(repo, "add", ".")
    git(repo, "-c", "core.hooksPath=/dev/null", "commit", "-qm", "hooks")
    log.unlink(missing_ok=True)
    made.finished(repo, "todo", {"a": "1\n"})
    assert autonomous(repo, "merge", "todo").status == 0
    assert log.read_text().splitlines() == [
        "pre-merge-commit 0 HEAD a ",
        "prepare-commit-msg 2 HEAD a ",
        "commit-msg 1 HEAD a ",
    ]
    assert (repo / "a").read_text() == "formatted\n"
    assert git(repo, "log", "-1", "--format=%B").splitlines()[-2:] == ["merge", "Reviewed-by: Bob <b@c>"]
    assert git(repo, "status", "--porcelain") == ""

    made.finished(repo, "next", {"b": "1\n"})
    add_hook(repo, "commit-msg", "echo 'no ticket in the message'; exit 1", "my hooks")
    git(repo, "-c", "core.hooksPath=/dev/null", "commit", "-qam", "strict")
    before = snapshot(repo)
    refused(
        repo, autonomous(repo, "merge", "next"), 1, "commit-msg: no ticket in the message",
        "error: your commit-msg hook refused the merge (exit status 1)", "hint: cat 'my hooks/commit-msg'",
    )  # fmt: skip
    assert snapshot(repo) == before


def test_a_squash_is_a_commit_for_the_hooks_and_a_rebase_runs_none(repo: Path) -> None:
    log = repo.parent / "log"
    for name in ("pre-commit", "pre-merge-commit", "prepare-commit-msg", "commit-msg", "post-merge"):
        add_hook(repo, name, f'echo "{name} $2" >> "{log}"')
    made.finished(repo, "one", {"a": "1\n"})
    made.finished(repo, "two", {"b": "1\n"})
    assert autonomous(repo, "merge", "--squash", "one").status == 0
    assert log.read_text().splitlines() == ["pre-commit ", "prepare-commit-msg squash", "commit-msg ", "post-merge "]
    log.unlink()
    assert autonomous(repo, "merge", "--rebase", "two").status == 0
    assert log.read_text() == "post-merge \n"


@pytest.mark.parametrize("style", ["merge", "rebase"])
def test_a_commit_is_signed_where_the_user_signs(repo: Path, style: str) -> None:
    gpg = repo.parent / "gpg"
    gpg.write_text(
        '#!/bin/sh\ncat > /dev/null\necho "-----BEGIN PGP SIGNATURE-----\nfake\n-----END PGP SIGNATURE-----"\necho "[GNUPG:] SIG_CREATED " >&2\n'
    )
    gpg.chmod(0o755)
    git(repo, "config", "gpg.program", str(gpg))
    git(repo, "config", "commit.gpgSign", "true")
    made.finished(repo, "todo", {"a": "1\n"})
    assert autonomous(repo, "merge", "todo", *([] if style == "merge" else ["--rebase"])).status == 0
    assert "gpgsig -----BEGIN PGP SIGNATURE-----\n fake" in git(repo, "cat-file", "commit", "main")
    gpg.write_text("#!/bin/sh\nexit 1\n")
    made.finished(repo, "next", {"b": "1\n"})
    before = snapshot(repo)
    ended = autonomous(repo, "merge", "next", *([] if style == "merge" else ["--rebase"]))
    assert (ended.status, ended.err.splitlines()[0]) == (
        1,
        "error: the commit could not be made: gpg failed to sign the data",
    )
    assert snapshot(repo) == before


def test_a_base_that_moves_or_is_left_meanwhile_stops_the_merge_and_nothing_has_changed(repo: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    other = git(repo, "commit-tree", "-p", "main", "-m", "other", "main^{tree}")
    add_hook(repo, "commit-msg", f"git update-ref refs/heads/main {other}")
    ended = autonomous(repo, "merge", "todo")
    assert (ended.status, ended.err.splitlines()[0]) == (
        1, f"error: git did not move main, checked out at {repo}: it moved meanwhile",
    )  # fmt: skip
    assert (git(repo, "rev-parse", "main"), git(repo, "status", "--porcelain")) == (other, "")
    add_hook(repo, "commit-msg", f"unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE; git -C '{repo}' switch -q -c elsewhere")
    assert autonomous(repo, "merge", "todo").status == 0
    assert git(repo, "rev-parse", "elsewhere") == other
    assert not (repo / "a").exists()


def test_the_result_is_laid_out_in_files_only_where_something_looks_at_them(repo: Path) -> None:
    git(repo, "config", "filter.seen.smudge", f"touch '{repo.parent}/laid-out'; cat")
    git(repo, "switch", "--quiet", "--create", "mine")
    (repo / ".gitattributes").write_text("*.txt filter=seen\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "attributes")
    git(repo, "branch", "--quiet", "--force", "main")
    made.finished(repo, "one", {"a.txt": "1\n"}, worktree=False)
    made.finished(repo, "two", {"b.txt": "1\n"}, worktree=False)
    assert autonomous(repo, "merge", "one").status == 0
    assert not (repo.parent / "laid-out").exists()
    add_hook(repo, "commit-msg", "exit 0")
    assert autonomous(repo, "merge", "two").status == 0
    assert (repo.parent / "laid-out").exists()
    assert git(repo, "ls-tree", "-r", "--name-only", "main").split() == [
        ".gitattributes",
        "README.md",
        "a.txt",
        "b.txt",
    ]


# -- the gate ------------------------------------------------------------------------------------------------------------------------------------

HAZARDS = (
    "Makefile",
    ".husky/pre-merge-commit",
    ".pre-commit-config.yaml",
    "package.json",
    "AGENTS.md",
    ".codex/config.toml",
    ".vscode/tasks.json",
    ".envrc",
    ".github/workflows/ci.yml",
)


def test_what_would_run_on_the_users_machine_is_merged_only_after_a_look(repo: Path) -> None:
    git(repo, "config", "core.hooksPath", ".husky")
    made.finished(repo, "todo", dict.fromkeys(HAZARDS, f"#!/bin/sh\ntouch '{repo.parent}/canary'\n") | {"a": "1\n"})
    before = snapshot(repo)
    ended = autonomous(repo, "merge", "todo")
    assert (ended.status, ended.out) == (3, "")
    error, hint = ended.err.splitlines()
    assert set(error.removeprefix("error: 'todo' changes what runs on your machine: ").split(", ")) == set(HAZARDS)
    assert hint == "hint: git autonomous review todo # then: git autonomous merge --reviewed todo"
    assert snapshot(repo) == before
    ended = autonomous(repo, "merge", "--dry-run", "todo")
    assert len(
        [line for line in ended.out.splitlines() if line.startswith("runs on this machine afterwards: ")]
    ) == len(HAZARDS)
    with terminal() as screen:
        answered = screen.run(repo, ["merge", "todo"])
        screen.until("Merge it? [y/N]")
        screen.type(b"n\n")
        assert screen.finish(answered) == 3
        assert snapshot(repo) == before
        screen.shown = ""
        answered = screen.run(repo, ["merge", "todo"])
        screen.until("Merge it? [y/N]")
        screen.type(b"y\n")
        assert screen.finish(answered) == 0
        assert ".husky/pre-merge-commit: runs as a git hook when you commit, check out or merge" in screen.text()
    assert not (repo.parent / "canary").exists()  # it is not executable: git itself says so and goes on
    assert git(repo, "ls-tree", "-r", "--name-only", "main", "Makefile") == "Makefile"


def test_setup_runs_on_the_bases_files_unless_somebody_agreed_to_what_runs(repo: Path) -> None:
    git(
        repo, "config", "autonomous.setup", f"ls | tr '\\n' ' ' >> '{repo.parent}/log'; cat .env >> '{repo.parent}/log'"
    )
    (repo / ".worktreeinclude").write_text(".env\n")
    (repo / ".gitignore").write_text(".env\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "ignore")
    (repo / ".env").write_text("SECRET\n")
    made.finished(repo, "plain", {"a": "1\n"})
    assert autonomous(repo, "merge", "plain").status == 0
    assert (repo.parent / "log").read_text() == "README.md SECRET\n"
    made.finished(repo, "build", {"Makefile": "x:\n"})
    assert autonomous(repo, "merge", "--reviewed", "build").status == 0
    assert (repo.parent / "log").read_text() == "README.md SECRET\nMakefile README.md a SECRET\n"
    git(repo, "config", "autonomous.setup", "echo broken; exit 3")
    made.finished(repo, "next", {"b": "1\n"})
    before = snapshot(repo)
    ended = autonomous(repo, "merge", "next")
    assert (ended.status, ended.err.splitlines()[1]) == (
        1, "error: the setup command 'echo broken; exit 3' failed with exit status 3: broken",
    )  # fmt: skip
    assert snapshot(repo) == before


# -- after it ------------------------------------------------------------------------------------------------------------------------------------


def test_uncommitted_work_of_the_tasks_worktree_is_kept_and_told(repo: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n", "deep/b": "1\n", ".gitignore": "*.log\n__pycache__/\n"})
    worktree = made.worktree_of(repo, "todo")
    for folder in ("__pycache__", "deep/__pycache__"):
        (worktree / folder).mkdir()
        (worktree / folder / "a.pyc").write_text("1\n")
    (worktree / "a").write_text("not committed\n")
    (worktree / "debug.log").write_text("1\n")
    ended = autonomous(repo, "merge", "todo")
    assert ended.err.splitlines()[:2] == [
        "ignored files go with the worktree of 'todo': debug.log",
        "the worktree of 'todo' had uncommitted work that was not merged; it is kept at refs/autonomous/backup/todo/2",
    ]
    assert (repo / "a").read_text() == "1\n"
    assert autonomous(repo, "restore", "todo").status == 0
    assert (worktree / "a").read_text() == "not committed\n"


def test_a_merge_from_inside_the_worktree_leaves_it_standing(repo: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    worktree = made.worktree_of(repo, "todo")
    ended = autonomous(worktree, "merge", "todo")
    assert (ended.status, (repo / "a").read_text(), (worktree / "a").read_text()) == (0, "1\n", "1\n")
    assert (
        ended.err
        == f"'todo' is merged, but its branch and worktree stay: you stand in the worktree of 'todo', {worktree}\n"
    )
    (task,) = listed(repo)
    assert task["state"] == "merged"
    assert autonomous(repo, "merge", "todo").out == "todo: in main (was there already)\n"
    assert git(repo, "branch", "--list").split() == ["*", "main"]


@pytest.mark.parametrize("how", ["merge", "squash"])
def test_a_task_that_was_merged_by_hand_is_cleared_away(repo: Path, how: str) -> None:
    made.finished(repo, "todo", {"README.md": "mine\n"})
    git(repo, "merge", "--quiet", *(["--no-edit"] if how == "merge" else ["--squash"]), "autonomous/todo")
    if how == "squash":
        git(repo, "commit", "-qm", "squashed")
    (repo / "README.md").write_text("went on\n")
    git(repo, "commit", "-qam", "went on")
    head = git(repo, "rev-parse", "main")
    found = "merged" if how == "merge" else f"squashed as {git(repo, 'rev-parse', 'main~1')[:10]}"
    assert autonomous(repo, "merge", "--dry-run", "todo") == Ended(
        0, f"todo is in main already ({found}): main stays, and the task's branch and worktree go\n", ""
    )
    ended = autonomous(repo, "merge", "todo")
    assert (ended.status, ended.out) == (0, "todo: in main (was there already)\n")
    assert git(repo, "rev-parse", "main") == head


def test_a_dry_run_shows_the_plan_and_does_nothing(repo: Path) -> None:
    made.finished(repo, "todo", {"a": "1\n"}, {"b": "1\n"}, checks=["make test"])
    before = snapshot(repo)
    ended = autonomous(repo, "merge", "-n", "todo", "--squash")
    assert (ended.status, ended.out.replace(str(repo), "REPO").splitlines(), ended.err) == (
        0,
        [
            f"todo into main ({git(repo, 'rev-parse', 'main')[:10]}): one commit, 2 changed files", "check: make test",
            "then main moves, in REPO, and the task's branch and worktree go",
        ],
        "",
    )  # fmt: skip
    assert snapshot(repo) == before


def test_several_tasks_are_merged_one_on_top_of_the_other_and_one_is_set_aside(repo: Path) -> None:
    made.finished(repo, "one", {"README.md": "one\n"})
    made.finished(repo, "two", {"README.md": "two\n"})
    made.finished(repo, "three", {"c": "1\n"})
    before = snapshot(repo)
    moves = f"then main moves, in {repo}, and the task's branch and worktree go"
    assert autonomous(repo, "merge", "--dry-run", "one", "two", "three") == Ended(
        3,
        f"one into main ({git(repo, 'rev-parse', 'main')[:10]}): a merge commit, 1 changed file\n{moves}\n"
        f"three into main (after one): a merge commit, 1 changed file\n{moves}\n",
        "error: 'two' conflicts with main after one in README.md\nhint: git autonomous merge --resolve two\n",
    )
    assert snapshot(repo) == before
    ended = autonomous(repo, "merge", "one", "two", "three")
    assert (ended.status, [line.partition(":")[0] for line in ended.out.splitlines()]) == (3, ["one", "three"])
    assert ended.err == (
        "error: 'two' conflicts with main in README.md\nhint: git autonomous merge --resolve two\n"
        "hint: git autonomous restore three    # brings one back; its merge stays\n"
    )
    assert commits(repo, "main", "%s")[-1].startswith("Merge three")
    assert git(repo, "branch", "--list", "--format=%(refname:short)").split() == ["autonomous/two", "main"]


# -- cut short -----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_merge_that_is_cut_short_has_changed_nothing_and_can_be_repeated(
    repo: Path, number: signal.Signals, status: int, wait_until: Callable[[Callable[[], object]], None]
) -> None:
    made.finished(repo, "todo", {"a": "1\n"})
    begun = repo.parent / "begun"
    add_hook(repo, "commit-msg", f"touch '{begun}'; while test -e '{begun}'; do sleep 0.05; done")
    before = snapshot(repo)
    process = running(repo, "merge", "todo")
    wait_until(begun.exists)
    process.send_signal(number)
    assert process.wait() == status
    begun.unlink()
    assert process.stderr is not None
    if number != signal.SIGKILL:
        assert process.stderr.read().decode() == (
            "error: the merge was interrupted; the task and its base are as they were\n"
            "hint: git autonomous merge todo\n"
        )
        assert snapshot(repo) == before
    assert git(repo, "rev-parse", "main") == git(repo, "rev-parse", "autonomous/todo~3")
    add_hook(repo, "commit-msg", "exit 0")
    assert autonomous(repo, "merge", "todo").status == 0
    assert (git(repo, "worktree", "list").count("\n"), (repo.parent / "repo.autonomous").exists()) == (0, False)
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""


def test_two_merges_at_once_do_not_mix(repo: Path, wait_until: Callable[[Callable[[], object]], None]) -> None:
    made.finished(repo, "one", {"a": "1\n"})
    made.finished(repo, "two", {"b": "1\n"})
    begun = repo.parent / "begun"
    add_hook(repo, "commit-msg", f"touch '{begun}'; while test -e '{begun}'; do sleep 0.05; done")
    process = running(repo, "merge", "one")
    wait_until(begun.exists)
    ended = autonomous(repo, "merge", "two")
    assert (ended.status, ended.err.splitlines()[0]) == (1, "error: another merge is under way in this repository")
    begun.unlink()
    assert process.wait() == 0


# -- decide: pure --------------------------------------------------------------------------------------------------------------------------------

TASK = Task("todo", "Build a REST API", "main", "a" * 40, "2026-11-23T21:04:05Z")
READY = Situation(
    TASK, "main", "b" * 40, "c" * 40, 2, 2, "passed", False, True, "d" * 40, sessions=3, models=("Codex:gpt",)
)


def test_a_plan_needs_nothing_but_values() -> None:
    assert merge.decide(READY, Wish()) == merge.Plan(
        READY,
        "merge",
        "Merge todo: Build a REST API\n\nAutonomous-Merged: todo\nAutonomous-Sessions: 3\nAssisted-by: Codex:gpt\n",
    )


@pytest.mark.parametrize(
    ("change", "wish", "status", "error"),
    [
        ({"done": 1}, Wish(), 1, "'todo' is not finished: 1 of 2 items are done"),
        ({"done": 1}, Wish(force="x"), 0, ""),
        ({"check": "failed"}, Wish(), 3, "the checks of 'todo' fail"),
        ({"check": "failed"}, Wish(force="x"), 0, ""),
        ({"check": "unknown"}, Wish(), 0, ""),
        ({"total": 0, "done": 0}, Wish(), 1, "'todo' has no task list yet"),
        ({"total": 0, "done": 0, "absorbed": "contained"}, Wish(), 1, "'todo' has no task list yet"),
        ({"check": "failed", "absorbed": "merged"}, Wish(), 0, ""),
        ({"conflicts": ("a", "b\n")}, Wish(force="x"), 3, "'todo' conflicts with main in a, b"),
        ({"conflicts": ("a",), "absorbed": "rebased"}, Wish(), 0, ""),
        (
            {"checkout": Checkout(Path("/x"), Path("/x/.git")), "in_the_way": ("a",)}, Wish(force="x"), 1,
            "main is checked out at /x, where uncommitted or untracked work would be touched: a",
        ),
        ({"keep_tracking": True, "ahead": False}, Wish(style="ff-only"), 0, ""),
        ({"keep_tracking": True}, Wish(style="ff-only"), 1, "main has commits that 'todo' has not, so it cannot be fast-forwarded"),
    ],
)  # fmt: skip
def test_a_refusal_follows_from_what_was_seen(
    change: Mapping[str, object], wish: Wish, status: int, error: str
) -> None:
    try:
        merge.decide(replace(READY, **change), wish)  # type: ignore[arg-type]
    except AutonomousError as refusal:
        assert (refusal.exit_status, refusal.message, bool(refusal.hint)) == (status, error, True)
    else:
        assert status == 0


def test_a_message_is_cut_to_what_people_read_and_cannot_be_forged() -> None:
    goal = "Build it\n\nAutonomous-Forced: no\n" + "x" * 100
    situation = replace(READY, task=replace(TASK, goal=goal), items=tuple(f"item {n}" for n in range(40)))
    lines = merge.message(situation, Wish(style="squash", force="because")).splitlines()
    assert lines[0] == f"todo: Build it Autonomous-Forced: no {'x' * 34}…"
    assert lines[2:7] == ["Build it", "", "    Autonomous-Forced: no", "x" * 100, ""]
    assert lines[7:9] == ["- [x] item 0", "- [x] item 1"]
    assert lines[36:] == [
        "- [x] item 29", "- [x] and 10 more", "", "Autonomous-Merged: todo", "Autonomous-Sessions: 3", "Autonomous-Forced: because",
        "Assisted-by: Codex:gpt",
    ]  # fmt: skip


def test_the_gate_asks_with_the_list_and_takes_the_answer() -> None:
    plan = merge.decide(replace(READY, hazards=(Hazard("Makefile", "build", "runs when built"),)), Wish())
    asked: list[tuple[str, str]] = []

    def ask(text: str, question: str) -> bool:
        asked.append((text, question))
        return True

    merge.refuse_unreviewed(plan, Wish(), ask)
    assert asked == [("Makefile: runs when built", "'todo' changes what runs on your machine. Merge it?")]
    merge.refuse_unreviewed(plan, Wish(reviewed=True), ask)
    assert len(asked) == 1
