"""Leases: of many machines exactly one works on a task, and only it can publish. Clones of one bare repository stand for the machines."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import git, make_repository

from gitautonomous import lease
from gitautonomous.git import Repository
from gitautonomous.lease import (
    FREE,
    HELD,
    Hold,
    Lease,
    Lost,
    Move,
    Moved,
    Refused,
    Remote,
    Seen,
    Unreachable,
    Watch,
    Who,
)
from gitautonomous.objects import Objects

BRANCH = "refs/heads/autonomous/todo"
REF = lease.REFS + "todo"


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    source = make_repository(tmp_path / "source")
    git(tmp_path, "clone", "--quiet", "--bare", "source", "bare.git")
    git(source, "push", "--quiet", str(tmp_path / "bare.git"), f"HEAD:{BRANCH}")
    return tmp_path / "bare.git"


def machine(bare: Path, name: str) -> Remote:
    folder = bare.parent / name
    subprocess.run(["git", "clone", "--quiet", str(bare), str(folder)], check=True)
    repository = Repository.discover(folder)
    return Remote(repository, Objects(repository.common_dir), "origin")


def submit(remote: Remote, found: Lease | None = None, ref: str = REF) -> None:
    remote.swap([Move(ref, None, remote.store(found or Lease(), ref))])


def claim(remote: Remote, name: str, term: float = 600.0) -> Hold:
    hold = Hold(remote, "todo")
    tip = remote.branch(BRANCH)
    assert tip is not None
    hold.claim(remote.look()["todo"], Who(name, f"host-of-{name}"), term, BRANCH, tip)
    return hold


def commit(remote: Remote, hold: Hold, message: str) -> str:
    """One more commit on what this machine last pushed."""
    record = hold.record()
    assert record is not None and record.tip is not None
    tree = remote.objects.commit(record.tip).tree
    return remote.objects.write_commit(None, message, tree, [record.tip], identity=lease.NOBODY)


def on_remote(bare: Path, ref: str = BRANCH) -> str:
    return git(bare, "rev-parse", ref)


def test_a_lease_is_stored_and_read_as_it_was() -> None:
    full = Lease(
        3, HELD, "w-1", "node7", "slurm:42", 90.5, 1_700_000_000, 8, "a" * 40, 2, 5, 4, 1, "a reason\nin lines"
    )
    assert lease.read(lease.write(full)) == full


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{}", b"[]", b"\xff", b'{"format": 2}', b'{"format": 1, "epoch": -1}', b'{"format": 1, "epoch": true}',
        b'{"format": 1, "term": 0}', b'{"format": 1, "term": 1e9}', b'{"format": 1, "tip": "--upload-pack=x"}',
        b'{"format": 1, "owner": 3}', b'{"format": 1}' + b" " * lease.LIMIT, b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_lease_is_none(content: bytes) -> None:
    assert lease.read(content) is None


def test_a_lease_may_be_taken_only_when_the_observers_own_clock_saw_it_unchanged_for_its_term() -> None:
    clock = Clock()
    watch = Watch(clock)
    held = Lease(epoch=1, state=HELD, owner="a", term=100.0, at=5)  # `at` lies decades back: nobody looks at it
    watch.saw({"todo": Seen(REF, "1" * 40, held)})
    clock.now += 99.9
    watch.saw({"todo": Seen(REF, "1" * 40, held)})
    assert not watch.claimable("todo", held)
    clock.now += 0.1
    assert watch.claimable("todo", held)
    watch.saw({"todo": Seen(REF, "2" * 40, held)})
    assert not watch.claimable("todo", held)
    clock.now += 100
    assert watch.claimable("todo", held)
    assert watch.claimable("todo", replace(held, state=FREE)) and not watch.claimable(
        "todo", replace(held, state="finished")
    )
    assert not watch.claimable("todo", None) and not watch.claimable("other", held)


def test_why_the_worker_before_left_is_no_news_of_the_next_one() -> None:
    left = Lease(epoch=1, state=HELD, owner="a").left(FREE, "handed over", 1)
    assert left.claimed(Who("b", "host"), 5.0) == Lease(
        epoch=2, state=HELD, owner="b", host="host", term=5.0, failures=1
    )


def test_of_many_who_claim_at_once_exactly_one_gets_the_lease(bare: Path) -> None:
    remotes = [machine(bare, f"m{number}") for number in range(6)]
    submit(remotes[0])
    seen = [remote.look()["todo"] for remote in remotes]
    tip = remotes[0].branch(BRANCH)
    assert tip is not None

    def attempt(number: int) -> bool:
        try:
            Hold(remotes[number], "todo").claim(seen[number], Who(f"w{number}", "h"), 600.0, BRANCH, tip)
        except (Moved, Unreachable):
            return False
        return True

    with ThreadPoolExecutor(len(remotes)) as pool:
        won = [number for number, mine in enumerate(pool.map(attempt, range(len(remotes)))) if mine]
    assert len(won) == 1
    now = remotes[0].look()["todo"].lease
    assert now is not None and (now.owner, now.epoch, now.state) == (f"w{won[0]}", 1, HELD)


def test_the_branch_and_the_lease_move_together(bare: Path) -> None:
    remote = machine(bare, "m")
    submit(remote)
    hold = claim(remote, "a")
    new = commit(remote, hold, "session 1")
    record = hold.record()
    assert record is not None
    hold.publish(new, replace(record.lease, done=1, total=2, sessions=1))
    now = remote.look()["todo"].lease
    assert now is not None
    assert (on_remote(bare), now.tip, now.done, now.total, now.epoch) == (new, new, 1, 2, 1)


def test_a_worker_that_lost_its_lease_can_publish_nothing(bare: Path) -> None:
    first, second = machine(bare, "first"), machine(bare, "second")
    submit(first)
    stale = claim(first, "a")
    current = claim(second, "b")
    published = commit(second, current, "of epoch 2")
    current.publish(published)
    with pytest.raises(Lost) as caught:
        stale.publish(commit(first, stale, "of epoch 1"))
    assert caught.value.message == "the lease of 'todo' is lost: host-of-b has it (epoch 2)"
    assert on_remote(bare) == published
    assert list(lease.renew([stale])) == ["todo"]


def test_a_renewal_moves_all_leases_of_a_worker_in_one_push(bare: Path) -> None:
    remote, holds = machine(bare, "m"), []
    log = bare / "pushes"
    hook = bare / "hooks" / "post-receive"
    hook.write_text(f"#!/bin/sh\nwc -l >>{log}\n")
    hook.chmod(0o755)
    for task in ("one", "two", "three"):
        ref = lease.REFS + task
        submit(remote, ref=ref)
        hold = Hold(remote, task)
        hold.claim(remote.look()[task], Who("a", "h"), 600.0, BRANCH, on_remote(bare))
        holds.append(hold)
    before = remote.look()
    log.unlink()
    assert lease.renew(holds) == {}
    assert log.read_text().split() == ["3"]
    assert all(seen.oid != before[task].oid for task, seen in remote.look().items())


def test_a_push_whose_answer_was_lost_counts(bare: Path) -> None:
    remote = machine(bare, "m")
    submit(remote)
    hold = claim(remote, "a")
    before = hold.record()
    assert before is not None
    first = commit(remote, hold, "session 1")
    hold.publish(first)
    hold._remember(before)  # as after a death between the push and the note of it
    second = remote.objects.write_commit(
        None, "session 2", remote.objects.commit(first).tree, [first], identity=lease.NOBODY
    )
    with pytest.raises(Moved):
        remote.swap([Move(REF, before.oid, remote.store(before.lease, REF))])
    hold.publish(second)
    assert on_remote(bare) == second


def test_an_end_whose_answer_was_lost_counts(bare: Path) -> None:
    remote = machine(bare, "m")
    submit(remote)
    hold = claim(remote, "a")
    before = hold.record()
    assert before is not None and before.tip is not None
    hold.publish(before.tip, before.lease.left("finished", "all done"))
    hold._remember(before)
    hold.publish(before.tip, before.lease.left("finished", "all done"))
    hold._remember(before)
    with pytest.raises(Lost):
        hold.publish(commit(remote, hold, "too late"))


def test_a_push_of_somebody_else_to_the_branch_is_never_overwritten(bare: Path) -> None:
    remote, person = machine(bare, "m"), machine(bare, "person")
    submit(remote)
    hold = claim(remote, "a")
    mine = commit(remote, hold, "session 1")
    git(person.repository.main_root, "push", "--quiet", "origin", f"HEAD~0:{BRANCH}")
    tree = person.objects.commit(on_remote(bare)).tree
    theirs = person.objects.write_commit(None, "by hand", tree, [on_remote(bare)], identity=lease.NOBODY)
    git(person.repository.main_root, "push", "--quiet", "origin", f"{theirs}:{BRANCH}")
    with pytest.raises(lease.BranchMoved) as caught:
        hold.publish(mine)
    assert (caught.value.theirs, on_remote(bare)) == (theirs, theirs)


def test_where_only_branches_are_taken_the_lease_is_a_branch(bare: Path) -> None:
    remote = machine(bare, "m")
    git(bare, "config", "receive.hideRefs", "refs/autonomous")
    with pytest.raises(Refused) as caught:
        submit(remote)
    assert (
        caught.value.message == "the remote 'origin' refused the push: [remote rejected] (deny updating a hidden ref)"
    )
    submit(remote, ref=lease.BRANCHES + "todo")
    hold = claim(remote, "a")
    new = commit(remote, hold, "session 1")
    hold.publish(new)
    seen = remote.look()["todo"]
    assert seen.lease is not None
    assert (seen.ref, seen.lease.tip, on_remote(bare)) == (lease.BRANCHES + "todo", new, new)


def test_a_remote_without_atomic_pushes_is_refused(bare: Path) -> None:
    remote = machine(bare, "m")
    git(bare, "config", "receive.advertiseAtomic", "false")
    with pytest.raises(Refused) as caught:
        submit(remote)
    assert (caught.value.message, caught.value.hint) == (
        "the remote 'origin' does not take atomic pushes, so a lease there would protect nothing",
        "git autonomous doctor --remote origin",
    )


def test_a_relative_address_starts_at_the_top_of_the_main_worktree(bare: Path) -> None:
    remote = machine(bare, "one")
    clone = bare.parent / "one"
    git(clone, "remote", "set-url", "origin", "../bare.git")
    git(clone, "worktree", "add", "--quiet", "--detach", "../other/linked")
    submit(remote)
    linked = Repository.discover(bare.parent / "other" / "linked")
    assert Remote(linked, Objects(linked.common_dir), "origin").look()["todo"].lease == Lease()
    assert remote.branch(BRANCH) is not None


def test_a_remote_that_is_away_is_worth_another_try(bare: Path) -> None:
    remote = machine(bare, "m")
    submit(remote)
    hold = claim(remote, "a")
    new = commit(remote, hold, "session 1")
    bare.rename(bare.with_name("away"))
    for action in (lambda: hold.publish(new), lambda: lease.renew([hold]), remote.look):
        with pytest.raises(Unreachable):
            action()
    bare.with_name("away").rename(bare)
    hold.publish(new)
    assert on_remote(bare) == new
