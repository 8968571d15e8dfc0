"""review: the morning after."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from .. import show
from ..errors import AutonomousError, NeedsPerson, UsageError
from .common import AsHtml, AsJson, coloured, pager_for, print_json

if TYPE_CHECKING:
    from ..decisions import Decisions, Plan
    from ..report import Style
    from ..tasks import Place

KEYS = "number: look at a session · d N: drop · k N-M: keep only · b N: go back to · a N: accept · l: list · q: quit"


def review(
    task: Annotated[
        str | None, typer.Argument(metavar="TASK", help="Default: this worktree's task, else the newest.")
    ] = None,
    session: Annotated[
        str | None, typer.Argument(metavar="SESSION", help="Number of a session, or id of a commit by hand.")
    ] = None,
    drop: Annotated[
        str | None, typer.Option("--drop", metavar="N", help="Take sessions out, with their ticks: 4, or 4,6-8.")
    ] = None,
    keep: Annotated[
        str | None, typer.Option("--keep", metavar="N", help="Keep only these sessions: 1-3, or 1-3,7.")
    ] = None,
    rewind_to: Annotated[
        int | None, typer.Option("--rewind-to", min=0, metavar="N", help="Go back to the end of session N.")
    ] = None,
    accept: Annotated[
        str | None, typer.Option("--accept", metavar="N", help="Make proposed items open items: 1, or 1,3.")
    ] = None,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Carry out what was decided without asking.")] = False,
    interactive: Annotated[
        bool | None,
        typer.Option("-i/-I", "--interactive/--no-interactive", help="Ask what to do (default: on a terminal)."),
    ] = None,
    as_json: AsJson = False,
    html: AsHtml = None,
) -> int:
    """See what a task did, session by session, and what a merge would make run here; drop, keep, go back, accept."""
    from .. import review as reviewing
    from .. import tasks

    place = tasks.open_place({}, None)
    name = tasks.known_task(place, task) if task is not None else reviewing.default_task(place)
    desk = Desk(place, name)
    decisions = {"drop": drop, "keep": keep, "rewind-to": rewind_to, "accept": accept}
    given = [(verb, str(value)) for verb, value in decisions.items() if value is not None]
    if len(given) + (session is not None) > 1:
        raise UsageError("one decision, or one session, at a time", f"git autonomous review {name}")
    if html is not None:
        if given or session is not None or as_json or interactive:
            hint = f"git autonomous review {quote(name)} --html {quote(name)}.html"
            raise UsageError("--html shows the whole task, and only shows", hint)
        return desk.save(html)
    if given:
        return desk.decide(*given[0], yes=yes, as_json=as_json)
    if as_json:
        found = reviewing.review_step(place, name, session) if session else reviewing.review(place, name)
        print_json({"schema": 1, "step" if session else "review": found.to_json()})
        return 0
    if session is not None:
        desk.show_step(session)
        return 0
    desk.show()
    on_terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
    if interactive if interactive is not None else on_terminal:
        desk.ask()
    return 0


@dataclass(frozen=True)
class Desk:
    """One task under review, with the terminal that it is shown on."""

    place: Place
    name: str

    def style(self, pager: str | None = None) -> Style:
        from ..report import Style

        width = show.columns(sys.stdout, os.environ)
        return Style(width, coloured(self.place, pager), not show.unicode(sys.stdout))

    def show(self) -> None:
        """The task, in the user's pager."""
        from .. import pager, report
        from .. import review as reviewing

        text = report.review_text(reviewing.review(self.place, self.name), self.style())
        pager.write(text, sys.stdout, self.place.repository)

    def show_step(self, which: str) -> None:
        """A session with its diff, in the user's pager."""
        from .. import pager, patch, report
        from .. import review as reviewing

        command = pager_for(self.place, *pager.NAMES, "show", "diff")
        step, style = reviewing.review_step(self.place, self.name, which), self.style(command)
        diff = patch.lines(
            self.place.repository, step.row.step.parent, step.row.step.commit.oid,
            without=f".autonomous/{self.name}", colour=style.colour, width=style.width,
        )  # fmt: skip
        with pager.output(sys.stdout, command, self.place.repository.main_root) as out:
            out.write(report.step_text(step, style) + "\n")
            for line in diff:
                out.write(line)

    def save(self, target: str) -> int:
        """The task as a page in a file, or on standard output for "-"."""
        from .. import page, patch, resources
        from .. import review as reviewing
        from . import files

        files.check(self.place, target, f"{self.name}.html", f"git autonomous review {quote(self.name)} --html")
        repository, found = self.place.repository, reviewing.review(self.place, self.name)
        folder = repository.task_dir(self.name)
        told = (
            page.Told(
                row,
                reviewing.closing_message(row.step, ticked=bool(row.ticked)),
                reviewing.commands_of(folder, row.step.record) if row.step.record else None,
                patch.lines(
                    repository, row.step.parent, row.step.commit.oid, without=f".autonomous/{self.name}", colour=False
                ),
            )
            for row in found.rows
        )
        files.write(target, page.review(found, told, style=resources.template("page.css"), now=time.time()))
        return 0

    # -- decisions -----------------------------------------------------------------------------------------------------------------------------

    def decide(self, verb: str, value: str, *, yes: bool, as_json: bool = False) -> int:
        """Show what a decision would do, and do it after a yes. Raises NeedsPerson where nobody can be asked."""
        from ..decisions import Decisions

        decisions = Decisions(self.place, self.name)
        plan = plan_for(decisions, verb, value)
        decisions.refuse_busy()
        again = f"git autonomous review {self.name} --{verb} {value} --yes"
        if as_json:
            kept = decisions.carry_out(plan) if yes else None
            print_json({"schema": 1, "plan": plan.to_json(), "kept": kept})
            return 0
        if not self._agreed(plan, yes):
            if sys.stdin is not None and sys.stdin.isatty():
                print("Nothing was changed.", file=sys.stderr)
                return 1
            raise NeedsPerson("nothing was changed: there is no terminal to ask on", again)
        self._carry_out(decisions, plan)
        return 0

    def _agreed(self, plan: Plan, yes: bool) -> bool:
        from .. import report

        sys.stdout.write(report.plan_text(plan, self.style()))
        sys.stdout.flush()
        if yes:
            return True
        if not sys.stdin.isatty():
            return False
        return typer.confirm("Do this?", default=False)

    def _carry_out(self, decisions: Decisions, plan: Plan) -> None:
        kept = decisions.carry_out(plan)
        print(f"{self.name}: {plan.new[:10]}, {plan.done[1]}/{plan.total[1]} items; as it was: {kept}", flush=True)
        print(f"hint: git autonomous restore {self.name}    # undoes this", file=sys.stderr)
        if plan.check == "unknown":
            print(f"hint: git autonomous resume {self.name}    # runs the checks, and goes on", file=sys.stderr)

    # -- on a terminal -------------------------------------------------------------------------------------------------------------------------

    def ask(self) -> None:
        """Take decisions until the user quits. A mistake is told and asked again."""
        keys = KEYS if show.unicode(sys.stdout) else show.to_ascii(KEYS)
        keys = "\n".join(show.wrap(keys, show.columns(sys.stdout, os.environ)))
        print(f"\n{keys}", flush=True)
        while True:
            try:
                words = input("review> ").split(maxsplit=1)
            except EOFError:
                print()
                return
            try:
                if words and words[0] in ("q", "quit", "exit"):
                    return
                self._answer(words, keys)
            except AutonomousError as error:
                print(show.problem(error.message, error.hint, show.columns(sys.stderr, os.environ)), file=sys.stderr)

    def _answer(self, words: list[str], keys: str) -> None:
        verbs = {"d": "drop", "k": "keep", "b": "rewind-to", "a": "accept"}
        if not words:
            return
        verb = verbs.get(words[0][0]) if len(words) == 2 else None
        if verb is not None:
            self.decide(verb, words[1], yes=False)
        elif words in (["l"], ["list"]):
            self.show()
        elif len(words) == 1 and words[0].isalnum() and words[0][0].isdecimal():
            self.show_step(words[0])
        else:
            print(keys)


def plan_for(decisions: Decisions, verb: str, value: str) -> Plan:
    """The plan of a decision as the command line has it. Raises UsageError."""
    from ..decisions import parse_numbers

    numbers = parse_numbers(value)
    if verb == "rewind-to":
        if len(numbers) != 1:
            raise UsageError("one session at a time to go back to", "git autonomous review TASK --rewind-to 3")
        return decisions.rewind_to(numbers[0])
    return {"drop": decisions.drop, "keep": decisions.keep, "accept": decisions.accept}[verb](numbers)
