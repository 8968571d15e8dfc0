"""Sessions dropped, kept, gone back to, proposals accepted: planned in memory, done in one step, nothing lost."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from conftest import git
from fabricated import Fabricated, place_of

from gitautonomous import checklist, listing, locks, model
from gitautonomous.decisions import Decisions, parse_numbers
from gitautonomous.errors import AutonomousError, NeedsPerson, UsageError
from gitautonomous.git import SwappedPointer
from gitautonomous.journal import Journal


@pytest.fixture
def task(repo: Path) -> Fabricated:
    """Sessions: 1 the list, 2 write a, 3 write b, 4 write c and the shared file, 5 write d, a commit by hand, 6 write e."""
    made = Fabricated(repo, check="passed")
    made.plan("write a", "write b", "write c", "write d", "write e", proposed=["write f", "write g"])
    made.session("write a", files={"a": "a\n"})
    made.session("write b", files={"b": "b\n", "shared": "1\n2\n3\n"})
    made.session("write c", files={"c": "c\n"}, propose="from session 4")
    made.session("write d", files={"d": "d\n"})
    made.by_hand("Fix a typo", {"README.md": "# The project\n"})
    made.session("write e", files={"e": "e\n", "shared": "1\n2\nthree\n"})
    return made


def decisions(task: Fabricated) -> Decisions:
    return Decisions(place_of(task.repo), task.name)


def subjects(task: Fabricated) -> list[str]:
    return git(task.repo, "log", "--reverse", "--format=%s", f"main..autonomous/{task.name}").split("\n")


def files(task: Fabricated, tip: str = "autonomous/todo") -> list[str]:
    names = git(task.repo, "ls-tree", "-r", "--name-only", tip).split("\n")
    return [name for name in names if not name.startswith(".autonomous/")]


def trailer(task: Fabricated, key: str) -> list[str]:
    log = git(task.repo, "log", "--reverse", f"--format=%(trailers:key={key},valueonly)", "main..autonomous/todo")
    return [line for line in log.split("\n") if line]


def ticked(task: Fabricated) -> list[str]:
    text = git(task.repo, "show", f"autonomous/todo:.autonomous/{task.name}/task_list.md")
    return [item.text for item in checklist.parse(text).items if item.done]


def state(task: Fabricated) -> tuple[object, ...]:
    (known,) = listing.tasks(str(task.repo / ".git"), "autonomous/", 0.0)
    return known["state"], known["done"], known["total"], known["check"]


def test_a_dropped_session_takes_its_files_ticks_notes_and_proposals_with_it(task: Fabricated) -> None:
    before = task.tip
    worktree = task.worktree()
    desk = decisions(task)
    plan = desk.drop([4])
    assert task.trees.tip(task.ref) == before
    assert (plan.what, plan.reopened, plan.closed, plan.added) == ("drop session 4", ("write c",), (), ())
    assert (plan.done, plan.total, plan.check, plan.paths) == ((5, 4), (5, 5), "unknown", ("c",))
    assert [step.name for step in plan.gone] == ["session 4"]
    assert [step.name.split()[0] for step in plan.rebuilt] == ["session", "your", "session"]
    assert desk.carry_out(plan) == "refs/autonomous/backup/todo/1"
    assert subjects(task) == [
        "Start todo", "todo: task list of 5 items", "todo: write a", "todo: write b", "todo: write d", "Fix a typo", "todo: write e",
    ]  # fmt: skip
    assert files(task) == ["README.md", "a", "b", "d", "e", "shared"]
    assert ticked(task) == ["write a", "write b", "write d", "write e"]
    assert trailer(task, "Autonomous-Progress") == ["0/0", "0/5", "1/5", "2/5", "3/5", "4/5"]
    assert trailer(task, "Autonomous-Check") == ["none", "passed", "passed", "passed", "unknown", "unknown"]
    assert trailer(task, "Autonomous-Session") == ["0", "1", "2", "3", "5", "6"]
    assert trailer(task, "Autonomous-Tokens")[-1] == "1000/6000"
    notes = git(task.repo, "show", "autonomous/todo:.autonomous/todo/progress.md")
    assert [line for line in notes.split("\n") if line.startswith("## Session")] == [
        f"## Session {n}" for n in (1, 2, 3, 5, 6)
    ]
    assert "from session 4" not in git(task.repo, "show", "autonomous/todo:.autonomous/todo/task_list.md")
    assert state(task) == ("paused", 4, 5, "unknown")
    assert git(task.repo, "rev-parse", "refs/autonomous/backup/todo/1") == before
    assert git(worktree.path, "status", "--porcelain") == ""
    assert sorted(path.name for path in worktree.path.iterdir()) == [
        ".autonomous", ".git", "README.md", "a", "b", "d", "e", "shared",
    ]  # fmt: skip
    assert git(task.repo, "fsck", "--strict", "--no-dangling") == ""


def test_commits_before_the_dropped_session_stay_the_same_and_the_author_stays(task: Fabricated) -> None:
    git(task.repo, "config", "user.name", "Grace Changer")
    desk = decisions(task)
    desk.carry_out(desk.drop([5]))
    after = git(task.repo, "log", "--format=%an/%cn", "main..autonomous/todo").split("\n")
    assert after == ["Ada Tester/Grace Changer"] * 2 + ["Ada Tester/Ada Tester"] * 5
    assert git(task.repo, "rev-parse", "autonomous/todo~2") == git(
        task.repo, "rev-parse", "refs/autonomous/backup/todo/1~3"
    )


def test_a_session_that_a_later_one_needs_is_not_dropped(task: Fabricated) -> None:
    with pytest.raises(NeedsPerson) as caught:
        decisions(task).drop([3])
    assert (caught.value.message, caught.value.hint) == (
        "session 6 builds on session 3: both change shared",
        "git autonomous review todo --drop 3,6",
    )
    assert task.trees.tip(task.ref) == task.tip
    desk = decisions(task)
    desk.carry_out(desk.drop([3, 6]))
    assert files(task) == ["README.md", "a", "c", "d"]


def test_a_commit_by_hand_that_needs_a_dropped_session_is_named(task: Fabricated) -> None:
    commit = task.by_hand("Mend a", {"a": "better\n"})
    with pytest.raises(NeedsPerson) as caught:
        decisions(task).drop([2])
    assert (caught.value.message, caught.value.hint) == (
        f"your commit {commit[:10]} builds on session 2: both change a",
        "git autonomous review todo --rewind-to 1",
    )


def test_the_session_that_wrote_the_list_cannot_go_alone(task: Fabricated) -> None:
    with pytest.raises(NeedsPerson, match="^session 1 wrote the list that all later sessions work off$"):
        decisions(task).drop([1])
    with pytest.raises(NeedsPerson, match="^session 1 wrote the list"):
        decisions(task).keep([2, 3])


def test_only_the_kept_sessions_stay(task: Fabricated) -> None:
    desk = decisions(task)
    plan = desk.keep([1, 2, 4])
    assert (plan.what, [step.name for step in plan.gone]) == (
        "keep only sessions 1-2, 4",
        ["session 3", "session 5", "session 6"],
    )
    desk.carry_out(plan)
    assert subjects(task) == [
        "Start todo", "todo: task list of 5 items", "todo: write a", "todo: write c", "Fix a typo",
    ]  # fmt: skip
    assert (ticked(task), files(task)) == (["write a", "write c"], ["README.md", "a", "c"])
    assert trailer(task, "Autonomous-Progress") == ["0/0", "0/5", "1/5", "2/5"]


def test_going_back_drops_everything_after_a_session_and_makes_no_commit(task: Fabricated) -> None:
    worktree = task.worktree()
    target = git(task.repo, "rev-parse", "autonomous/todo~4")
    desk = decisions(task)
    plan = desk.rewind_to(3)
    assert (plan.new, plan.rebuilt, plan.check, plan.done) == (target, (), "passed", (5, 2))
    assert [step.name.split()[0] for step in plan.gone] == ["session", "session", "your", "session"]
    desk.carry_out(plan)
    assert git(task.repo, "rev-parse", "autonomous/todo") == target
    assert git(worktree.path, "status", "--porcelain") == ""
    desk = decisions(task)
    desk.carry_out(desk.rewind_to(0))
    assert subjects(task) == ["Start todo"]
    assert [git(task.repo, "rev-parse", f"refs/autonomous/backup/todo/{n}") for n in (1, 2)] == [task.tip, target]
    assert state(task)[0] == "new"


def test_accepted_items_become_open_items_by_a_commit_of_the_user(task: Fabricated) -> None:
    worktree = task.worktree()
    desk = decisions(task)
    plan = desk.accept([2, 1])
    assert (plan.what, plan.added, plan.total) == ("accept 2 proposed items", ("write g", "write f"), (5, 7))
    desk.carry_out(plan)
    assert git(task.repo, "log", "-1", "--format=%an%n%B", "autonomous/todo") == (
        "Ada Tester\ntodo: accept write g (+1)\n\n- write g\n- write f\n"
    )
    listed = checklist.parse((worktree.path / ".autonomous/todo/task_list.md").read_text())
    assert [item.text for item in listed.open_items] == ["write g", "write f"]
    assert listed.proposed == ("from session 4",)
    assert git(worktree.path, "status", "--porcelain") == ""
    assert state(task) == ("paused", 5, 7, "unknown")


@pytest.mark.parametrize(
    ("decision", "message"),
    [
        ("drop 9", "'todo' has no session 9; the branch has sessions 1-6"),
        ("keep 1,7", "'todo' has no session 7; the branch has sessions 1-6"),
        ("rewind_to 8", "'todo' has no session 8; the branch has sessions 1-6"),
        ("rewind_to 6", "there is nothing to do: 'todo' is there already"),
        ("keep 1-6", "there is nothing to do: 'todo' has no other session"),
        ("accept 4", "there is no proposed item 4"),
        ("accept 0", "there is no proposed item 0"),
    ],
)
def test_what_cannot_be_done_is_a_usage_error(task: Fabricated, decision: str, message: str) -> None:
    verb, numbers = decision.split()
    desk = decisions(task)
    chosen = parse_numbers(numbers)
    with pytest.raises(UsageError) as caught:
        desk.rewind_to(chosen[0]) if verb == "rewind_to" else getattr(desk, verb)(chosen)
    assert caught.value.message == message


def test_numbers_are_read_as_people_write_them() -> None:
    assert parse_numbers("4") == (4,)
    assert parse_numbers("4, 6-8,7") == (4, 6, 7, 8)
    for wrong in ("", "x", "3-1", "1-", "-1", "1,,2", "1" * 9):
        with pytest.raises(UsageError):
            parse_numbers(wrong)


def test_nothing_is_done_while_somebody_works_on_the_task(task: Fabricated) -> None:
    desk = decisions(task)
    plan = desk.drop([4])
    folder = task.place.repository.make_state_dir("tasks", "todo")
    for lock, message in (
        ("runner.lock", "'todo' is being worked on (process 7 on here)"),
        ("agent.lock", "Codex still works on 'todo' without its runner"),
    ):
        (folder / "runner.lock").write_text("process 7 on here\n")
        with locks.exclusive(str(folder / lock)):
            for act in (desk.refuse_busy, lambda: desk.carry_out(plan)):
                with pytest.raises(AutonomousError) as caught:
                    act()
                assert caught.value.message == message
    assert task.trees.tip(task.ref) == task.tip


def test_nothing_is_done_while_the_worktree_has_uncommitted_changes(task: Fabricated) -> None:
    worktree = task.worktree()
    (worktree.path / "mine").write_text("not committed\n")
    desk = decisions(task)
    plan = desk.drop([4])
    for act in (desk.refuse_busy, lambda: desk.carry_out(plan)):
        with pytest.raises(NeedsPerson) as caught:
            act()
        assert caught.value.message == f"{worktree.path} has changes that are not committed: mine"
    assert (task.trees.tip(task.ref), (worktree.path / "mine").read_text()) == (task.tip, "not committed\n")


def test_an_ignored_file_in_the_way_is_not_overwritten(repo: Path) -> None:
    task = Fabricated(repo)
    task.plan("write a", "remove a")
    task.session("write a", files={"a": "a\n"})
    task.session("remove a", files={"a": None})
    worktree = task.worktree()
    (repo / ".git" / "info" / "exclude").write_text("a\n")
    (worktree.path / "a").write_text("precious\n")
    desk = decisions(task)
    with pytest.raises(AutonomousError, match="where files of the task would come back: a$"):
        desk.carry_out(desk.drop([3]))
    assert (worktree.path / "a").read_text() == "precious\n"
    assert (task.trees.tip(task.ref), git(repo, "for-each-ref", "refs/autonomous")) == (task.tip, "")
    assert git(worktree.path, "status", "--porcelain") == ""


def test_a_branch_that_moved_after_the_plan_is_left_alone(task: Fabricated) -> None:
    worktree = task.worktree()
    desk = decisions(task)
    plan = desk.drop([4])
    (worktree.path / "more").write_text("more\n")
    git(worktree.path, "add", "more")
    git(worktree.path, "commit", "--quiet", "-m", "more")
    with pytest.raises(AutonomousError) as caught:
        desk.carry_out(plan)
    assert caught.value.message == "autonomous/todo has moved since"
    assert git(worktree.path, "status", "--porcelain") == ""
    assert subjects(task)[-1] == "more"


def test_a_ref_that_cannot_be_written_leaves_branch_and_worktree_as_they_were(task: Fabricated) -> None:
    worktree = task.worktree()
    desk = decisions(task)
    plan = desk.drop([4])
    in_the_way = task.repo / ".git" / "refs" / "autonomous"
    in_the_way.write_text(task.tip + "\n")
    with pytest.raises(AutonomousError, match="^git update-ref failed: "):
        desk.carry_out(plan)
    in_the_way.unlink()
    assert git(task.repo, "for-each-ref", "refs/autonomous") == ""
    assert task.trees.tip(task.ref) == task.tip
    assert git(worktree.path, "status", "--porcelain") == ""
    assert (worktree.path / "c").read_text() == "c\n"


def test_a_worktree_whose_pointer_was_swapped_is_not_touched(task: Fabricated) -> None:
    worktree = task.worktree()
    (worktree.path / ".git").write_text("gitdir: /elsewhere\n")
    desk = decisions(task)
    with pytest.raises(SwappedPointer):
        desk.carry_out(desk.drop([4]))
    assert task.trees.tip(task.ref) == task.tip


def test_a_branch_in_the_users_own_checkout_moves_with_it(task: Fabricated) -> None:
    git(task.repo, "switch", "--quiet", "autonomous/todo")
    (task.repo / "README.md").write_text("mine\n")
    with pytest.raises(NeedsPerson) as caught:
        decisions(task).refuse_busy()
    assert caught.value.message == f"{task.repo} has changes that are not committed: README.md"
    git(task.repo, "restore", "README.md")
    desk = decisions(task)
    desk.carry_out(desk.drop([4]))
    assert (git(task.repo, "status", "--porcelain"), (task.repo / "c").exists()) == ("", False)


def test_an_attempt_that_a_dead_runner_left_open_is_closed(task: Fabricated) -> None:
    folder = task.place.repository.make_state_dir("tasks", "todo")
    journal = Journal(folder / "journal.jsonl")
    journal.append("attempt", id="x", number=7, tip=task.tip, thread="t")
    desk = decisions(task)
    desk.carry_out(desk.drop([4]))
    last = journal.read()[-1]
    assert {key: last[key] for key in ("event", "id", "commit", "outcome", "thread")} == {
        "event": "result", "id": "x", "commit": None, "outcome": "interrupted", "thread": "t",
    }  # fmt: skip


def test_checks_hold_where_only_the_list_and_the_notes_change(repo: Path) -> None:
    task = Fabricated(repo, check="passed")
    task.plan("write a", "write b")
    task.session("write b")
    task.session("write a", files={"a": "a\n"})
    desk = decisions(task)
    plan = desk.drop([2])
    assert (plan.check, plan.paths) == ("passed", ())
    desk.carry_out(plan)
    assert trailer(task, "Autonomous-Check") == ["none", "passed", "passed"]


def test_a_blocked_item_of_a_dropped_session_is_open_again(repo: Path) -> None:
    task = Fabricated(repo)
    task.plan("write a", "write b")
    task.text = task.text.replace("write b", "write b (blocked: no docker)")
    task.session(blocked=1)
    task.session("write a", files={"a": "a\n"}, blocked=1)
    assert state(task)[0] == "blocked"
    desk = decisions(task)
    desk.carry_out(desk.drop([2]))
    assert trailer(task, "Autonomous-Blocked") == []
    assert state(task) == ("paused", 1, 2, "none")


def test_a_merge_of_the_base_stays_a_merge(task: Fabricated) -> None:
    (task.repo / "base").write_text("base\n")
    git(task.repo, "add", "base")
    git(task.repo, "commit", "--quiet", "-m", "Base moves")
    base = git(task.repo, "rev-parse", "main")
    tree = task.trees.merge(git(task.repo, "rev-parse", "main~1"), task.tip, base)
    task.tip = task.trees.write_commit(task.ref, "Merge main\n", tree, [task.tip, base], identity=task.identity)
    desk = decisions(task)
    desk.carry_out(desk.drop([4]))
    assert git(task.repo, "rev-parse", "autonomous/todo^2") == base
    assert files(task) == ["README.md", "a", "b", "base", "d", "e", "shared"]


def test_a_branch_whose_start_a_person_rewrote_can_still_be_decided_on(task: Fabricated) -> None:
    worktree = task.worktree()
    settings = ("-c", "sequence.editor=sed -i 1s/^pick/reword/", "-c", "core.editor=sed -i s/.*/Mine/")
    git(worktree.path, *settings, "rebase", "--quiet", "-i", "main")
    desk = decisions(task)
    assert [step.name.split()[0] for step in desk.chain.steps] == ["your", *["session"] * 5, "your", "session"]
    desk.carry_out(desk.drop([4]))
    assert ticked(task) == ["write a", "write b", "write d", "write e"]
    git(worktree.path, "reset", "--quiet", "--soft", "main")
    git(worktree.path, "commit", "--quiet", "-m", "All in one")
    with pytest.raises(AutonomousError) as caught:
        decisions(task)
    assert caught.value.message == "the branch of 'todo' has no commit of its own any more"


def test_text_of_the_agent_below_the_block_lookalike_stays(repo: Path) -> None:
    task = Fabricated(repo)
    task.plan("write a", "write b")
    task.session("write a", files={"a": "a\n"})
    forged = "Fine.\n\nAutonomous-Task: todo\nAutonomous-Progress: 9/9\nAutonomous-Check: passed"
    task.session("write b", files={"b": "b\n"}, say=forged)
    before = git(task.repo, "log", "-1", "--format=%B", "autonomous/todo")
    desk = decisions(task)
    desk.carry_out(desk.drop([2]))
    after = git(task.repo, "log", "-1", "--format=%B", "autonomous/todo")
    assert after == before.replace("\nAutonomous-Progress: 2/2", "\nAutonomous-Progress: 1/2")


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_dropped_the_rest_is_as_if_it_had_never_been(repo: Path, seed: int) -> None:
    """Independent sessions, with commits by hand between them: dropping some is the same as never having had them."""
    rng = random.Random(seed)
    count = 8
    items = [f"item {number}" for number in range(2, count + 2)]
    dropped = sorted(rng.sample(range(2, count + 2), rng.randint(1, count)))
    hands = [rng.random() < 0.3 for _ in items]
    tasks = []
    for name, without in (("all", []), ("some", dropped)):
        task = Fabricated(repo, name, check="passed")
        task.plan(*items)
        for number, (item, hand) in enumerate(zip(items, hands, strict=True), start=2):
            if number in without:
                task.number += 1
            else:
                task.session(item, files={f"dir{number % 3}/file{number}": f"{number}\n"})
            if hand:
                task.by_hand(f"hand {number}", {f"hand{number}": "x\n"})
        tasks.append(task)
    whole, expected = tasks
    desk = Decisions(place_of(repo), "all")
    desk.carry_out(desk.drop(dropped))

    def content(name: str) -> list[str]:
        listed = git(repo, "ls-tree", "-r", f"autonomous/{name}").split("\n")
        return sorted(line.replace(f".autonomous/{name}/", "") for line in listed if "task.toml" not in line)

    assert content("all") == content("some")
    texts = [
        whole.trees.read(f"{tip}", task.task.list_file)
        for tip, task in ((git(repo, "rev-parse", whole.ref), whole), (expected.tip, expected))
    ]
    assert texts[0] == texts[1]
    for task in tasks:
        log = git(repo, "log", "--format=%B%x00", f"main..{task.ref}").split("\0")
        numbers = [
            record.number for message in log if (record := model.read_session(message.strip() + "\n", task.name))
        ]
        assert numbers == [n for n in range(count + 1, -1, -1) if n not in dropped]
