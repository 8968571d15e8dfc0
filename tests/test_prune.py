"""What is in the base already is recognised, however it got there, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import made
import pytest
from conftest import git
from program import autonomous, listed

from gitautonomous import absorbed, stopping

LINES = "".join(f"line {number}\n" for number in range(30))


def by_merge(repo: Path) -> None:
    git(repo, "merge", "--quiet", "--no-ff", "--no-edit", "autonomous/todo")


def by_squash(repo: Path) -> None:
    git(repo, "merge", "--quiet", "--squash", "autonomous/todo")
    git(repo, "rm", "-rq", "--force", ".autonomous")
    git(repo, "commit", "-qm", "All of it")


def by_squash_with_tracking_files(repo: Path) -> None:
    git(repo, "merge", "--quiet", "--squash", "autonomous/todo")
    git(repo, "commit", "-qm", "All of it (#12)")


def by_rebase(repo: Path) -> None:
    for number in (1, 0):
        patch = f"--output={repo.parent / 'patch'}"
        git(
            repo,
            "diff",
            patch,
            f"autonomous/todo~{number + 1}",
            f"autonomous/todo~{number}",
            "--",
            ".",
            ":!.autonomous",
        )
        git(repo, "apply", "--index", str(repo.parent / "patch"))
        git(repo, "commit", "-qm", f"Part {number}")


def by_fast_forward(repo: Path) -> None:
    git(repo, "merge", "--quiet", "--ff-only", "autonomous/todo")


HOW = [
    (by_merge, "merged into main", "merged into main"),
    (by_squash, "all of it is in main", "squashed into main as "),
    (by_squash_with_tracking_files, "all of it is in main", "squashed into main as "),
    (by_rebase, "all of it is in main", "rebased onto main"),
    (by_fast_forward, "merged into main", "merged into main"),
]


@pytest.mark.parametrize(("arrange", "now", "later"), HOW, ids=[entry[0].__name__ for entry in HOW])
def test_a_task_in_its_base_is_pruned_also_when_the_base_went_on_over_the_same_lines(
    repo: Path, arrange: object, now: str, later: str
) -> None:
    (repo / "README.md").write_text(LINES)
    git(repo, "commit", "-qam", "lines")
    made.finished(repo, "todo", {"README.md": LINES.replace("line 3\n", "three\n")}, {"b": "2\n", "c": "3\n"})
    made.finished(repo, "other", {"d": "1\n"})
    if arrange is not by_fast_forward:
        (repo / "before").write_text("1\n")
        git(repo, "add", ".")
        git(repo, "commit", "-qm", "main goes on")
    arrange(repo)  # type: ignore[operator]
    ended = autonomous(repo, "prune", "--dry-run")
    assert (ended.status, ended.out, ended.err) == (0, f"todo: {now}\n", "hint: git autonomous prune\n")
    (repo / "README.md").write_text("".join(LINES.splitlines(keepends=True)[5:]))
    (repo / "b").write_text("changed since\n")
    git(repo, "commit", "-qam", "over the same lines")
    tip = git(repo, "rev-parse", "autonomous/todo")
    ended = autonomous(repo, "prune")
    assert ended.status == 0
    assert ended.out.startswith(f"todo: {later}")
    assert ended.out.endswith(", kept at refs/autonomous/merged/todo/1\n")
    assert git(repo, "rev-parse", "refs/autonomous/merged/todo/1") == tip
    assert git(repo, "for-each-ref", "--format=%(refname:short)", "refs/heads/autonomous") == "autonomous/other"
    assert (made.worktree_of(repo, "todo").exists(), made.worktree_of(repo, "other").exists()) == (False, True)
    assert autonomous(repo, "prune").err == "Nothing to prune.\n"


def test_what_a_hosting_site_squashed_is_seen_on_the_remote(repo: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    git(tmp_path, "clone", "--quiet", str(repo), str(site))
    git(repo, "remote", "add", "origin", str(site))
    made.finished(repo, "todo", {"a": "1\n"})
    git(site, "fetch", "--quiet", str(repo), "autonomous/todo")
    git(site, "merge", "--quiet", "--squash", "FETCH_HEAD")
    git(site, "commit", "-qm", "todo (#1)")
    git(repo, "fetch", "--quiet", "origin")
    assert autonomous(repo, "prune", "-n").out == "todo: all of it is in origin/main\n"


def test_a_task_that_is_not_finished_or_brought_nothing_yet_or_only_a_part_stays(repo: Path) -> None:
    made.start(repo, "new", worktree=False)
    made.finished(repo, "planned", left=2, worktree=False)
    made.finished(repo, "idle", {}, worktree=False)
    made.finished(repo, "half", {"a": "1\n"}, left=1, worktree=False)
    made.finished(repo, "part", {"b": "1\n"}, {"c": "1\n"}, worktree=False)
    made.finished(repo, "undone", {"e": "1\n"}, {"e": None}, worktree=False)
    for name in "ab":
        (repo / name).write_text("1\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "by hand")
    before = git(repo, "for-each-ref")
    assert autonomous(repo, "prune").err == "Nothing to prune.\n"
    assert git(repo, "for-each-ref") == before


def test_a_merged_task_at_work_or_with_its_user_inside_stays_and_uncommitted_work_is_kept(repo: Path) -> None:
    for name in ("busy", "inside", "dirty"):
        made.finished(repo, name, {name: "1\n"})
        git(repo, "merge", "--quiet", "--no-edit", f"autonomous/{name}")
    (made.worktree_of(repo, "dirty") / "draft").write_text("1\n")
    with stopping.claim(made.place_of(repo).repository.make_state_dir("tasks", "busy"), "busy"):
        ended = autonomous(made.worktree_of(repo, "inside"), "prune")
    assert ended.out == "dirty: merged into main, kept at refs/autonomous/merged/dirty/1\n"
    assert sorted(ended.err.splitlines()) == [
        f"'inside' stays: you stand in the worktree of 'inside', {made.worktree_of(repo, 'inside')}",
        "the worktree of 'dirty' had uncommitted work that was not merged; it is kept at refs/autonomous/backup/dirty/2",
    ]
    assert git(repo, "show", "refs/autonomous/backup/dirty/2:draft") == "1"
    assert autonomous(repo, "restore", "dirty").status == 0
    assert (made.worktree_of(repo, "dirty") / "draft").read_text() == "1\n"


@pytest.mark.parametrize("style", [[], ["--squash"], ["--rebase"]], ids=["merge", "squash", "rebase"])
def test_a_merge_counts_only_while_the_base_has_it(repo: Path, style: list[str]) -> None:
    (repo / "b").write_text("1\n")
    git(repo, "add", "b")
    git(repo, "commit", "-qm", "main goes on")
    made.finished(repo, "todo", {"a": "1\n"})
    before = git(repo, "rev-parse", "main")
    assert autonomous(repo, "merge", *style, "todo").status == 0
    after = git(repo, "rev-parse", "main")
    assert autonomous(repo, "restore", "todo").status == 0

    def told() -> tuple[object, str, str]:
        (task,) = listed(repo)
        status = autonomous(repo, "status", "todo").out
        return task["state"], autonomous(repo, "prune", "-n").out, status.partition("next")[2].splitlines()[0].strip()

    assert told() == ("merged", "todo: merged\n", "git autonomous remove todo")
    git(repo, "reset", "--quiet", "--hard", before)
    assert told() == ("finished", "", "git autonomous merge todo")
    git(repo, "reset", "--quiet", "--hard", after)
    git(repo, "rm", "-q", "a")
    git(repo, "commit", "-qm", "taken out since")
    assert told() == ("merged", "todo: merged\n", "git autonomous remove todo")


def test_binary_files_modes_and_hostile_names_are_compared_too(repo: Path) -> None:
    task = made.start(repo, "todo")
    worktree = made.worktree_of(repo, "todo")
    made.session(repo, task, {}, number=1, done=0, total=1, role="initializer")
    (worktree / "bin").write_bytes(bytes(range(256)))
    (worktree / "-a\nb").write_text("1\n")
    (worktree / "README.md").chmod(0o755)
    git(worktree, "add", "--all")
    git(worktree, "commit", "-qm", "by hand")
    made.session(repo, task, {"z": "1\n"}, number=2, done=1, total=1)
    by_squash(repo)
    (repo / "bin").write_bytes(b"\0other")
    (repo / "-a\nb").write_text("2\n")
    git(repo, "commit", "-qam", "over all")
    place = made.place_of(repo)
    tip, base = git(repo, "rev-parse", "autonomous/todo"), git(repo, "rev-parse", "main")
    squash = git(repo, "rev-parse", "main~1")
    assert absorbed.how(place.repository, place.objects, "todo", tip, base) == f"squashed as {squash[:10]}"
