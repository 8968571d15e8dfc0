"""A task with its sessions, made without an agent: as the runner would have committed them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gitautonomous import checklist, model, prompt
from gitautonomous.config import Approvals, Settings
from gitautonomous.git import ZERO, Repository, Worktree
from gitautonomous.model import Session, Task
from gitautonomous.tasks import Place
from gitautonomous.trees import Trees


def place_of(repo: Path) -> Place:
    repository = Repository.discover(repo)
    trees = Trees(repository)
    return Place(repository, trees, Settings(), Approvals(repo / ".git" / "approvals.json"))


def list_of(items: Sequence[str], proposed: Sequence[str] = ()) -> str:
    boxes = "".join(f"- [ ] {item}\n" for item in items)
    return f"# A task\n\n## Tasks\n{boxes}\n## Proposed\n\n" + "".join(f"- {item}\n" for item in proposed)


@dataclass
class Fabricated:
    """Commits go straight onto the branch. `text`, `notes`: the tracking files as they are now."""

    repo: Path
    name: str = "todo"
    base: str = "main"
    check: str = "none"
    place: Place = field(init=False)
    tip: str = field(init=False)
    text: str = ""
    notes: str | None = None
    number: int = 0
    spent: int = 0

    def __post_init__(self) -> None:
        self.place = place_of(self.repo)
        base = self.place.repository.resolve(self.base)
        assert base is not None
        checks = () if self.check == "none" else ("true",)
        self.task = Task(
            self.name, f"Make {self.name} work", self.base, base, "2026-01-01T00:00:00Z", proposed_checks=checks
        )
        tree = self.trees.with_contents(base, {self.task.file: model.write_task(self.task).encode()})
        self.tip = self.trees.write_commit(None, model.start_message(self.task), tree, [base], identity=self.identity)
        self.place.repository.update_ref(self.ref, self.tip, ZERO, "start")

    @property
    def trees(self) -> Trees:
        assert isinstance(self.place.objects, Trees)
        return self.place.objects

    @property
    def ref(self) -> str:
        return self.place.ref(self.name)

    @property
    def identity(self) -> str:
        return "Ada Tester <ada@example.org>"

    def plan(self, *items: str, proposed: Sequence[str] = ()) -> str:
        """The initializer's session."""
        return self._session("initializer", list_of(items, proposed), {}, "The list is written.")

    def session(
        self,
        *ticks: str,
        files: Mapping[str, str | None] | None = None,
        say: str = "It is done.",
        propose: str = "",
        **record: object,
    ) -> str:
        """An executor's session that ticks items and writes files (None: deletes). Returns the commit."""
        text = self.text + (f"- {propose}\n" if propose else "")
        for item in ticks:
            assert f"- [ ] {item}\n" in text
            text = text.replace(f"- [ ] {item}\n", f"- [x] {item}\n", 1)
        return self._session("executor", text, files or {}, say, **record)

    def by_hand(self, message: str, files: Mapping[str, str | None], text: str | None = None) -> str:
        """A person's commit."""
        self.text = self.text if text is None else text
        return self._commit(f"{message}\n", files)

    def worktree(self) -> Worktree:
        """The task's worktree, made from the branch as it is now."""
        path = self.place.repository.worktree_path(self.name, None)
        return self.place.repository.add_worktree(path, self.place.branch(self.name))

    def _session(self, role: str, text: str, files: Mapping[str, str | None], say: str, **extra: object) -> str:
        before = checklist.parse(self.text)
        done = {item.text for item in before.items if item.done}
        self.number += 1
        self.spent += 1000
        self.text = text
        listed = checklist.parse(text)
        ticked = [item.text for item in listed.items if item.done and item.text not in done]
        self.notes = prompt.ensure_entry(
            self.notes, self.notes, session=self.number, lines=[f"Ticked: {item}" for item in ticked] or ["Nothing."]
        )
        facts: dict[str, object] = {
            "task": self.name, "number": self.number, "role": role, "done": listed.done, "total": listed.total,
            "check": self.check, "base": self.base, "tokens": 1000, "all_tokens": self.spent, "seconds": 60,
            "all_seconds": 60 * self.number, "thread": f"thread-{self.number}", "assisted_by": "Codex:gpt",
        }  # fmt: skip
        record = Session(**{**facts, **extra})  # type: ignore[arg-type]
        return self._commit(model.commit_message(record, ticked=ticked, closing=say), files)

    def _commit(self, message: str, files: Mapping[str, str | None]) -> str:
        contents = {path: None if content is None else content.encode() for path, content in files.items()}
        if self.text:
            contents[self.task.list_file] = self.text.encode()
        if self.notes:
            contents[self.task.progress_file] = self.notes.encode()
        tree = self.trees.with_contents(self.tip, contents)
        self.tip = self.trees.write_commit(self.ref, message, tree, [self.tip], identity=self.identity)
        return self.tip
