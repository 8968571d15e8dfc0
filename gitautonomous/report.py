"""A review as text: what needs eyes first, the table of sessions, one session in full, and what a decision would do. Values in, strings out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from shlex import quote

from . import show, states
from .decisions import Plan, Step, sessions_text
from .review import CLEAN, CONFLICTS, MERGED, Review, Row, Size, StepReview
from .runs import Hazard

MOST_HAZARDS = 100
MOST_SENTENCES = 30
MOST_PATHS = 20

_KIND_COLOURS = {"hook": show.RED, "git": show.RED, "shell": show.RED, "editor": show.RED, "link": show.RED}


@dataclass(frozen=True)
class Style:
    """How text is shown. `width`: columns, None for no limit."""

    width: int | None = None
    colour: bool = False
    ascii: bool = False

    def paint(self, text: str, style: str) -> str:
        return show.paint(text, style) if self.colour else text

    def line(self, text: str) -> str:
        """One line of foreign text, cleaned."""
        plain = show.one_line(text)
        return show.to_ascii(plain) if self.ascii else plain

    def wrapped(self, indent: str, text: str) -> str:
        room = None if self.width is None else max(20, self.width - len(indent))
        return "".join(f"{indent}{line}\n" for line in show.wrap(self.line(text), room))

    def facts(self, facts: Iterable[str]) -> str:
        """Short texts side by side, a line broken only between two."""
        lines: list[str] = []
        for fact in facts:
            text = self.line(fact)
            sign = self.line(" · ").center(3)
            room = self.width is None or (lines and show.measure(lines[-1] + sign + text) <= self.width - 2)
            if lines and room:
                lines[-1] += sign + text
            else:
                lines.append(text)
        return "".join(f"  {line}\n" for line in lines)

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]], **options: object) -> str:
        return show.table(
            headings,
            rows,
            width=self.width,
            ascii=self.ascii,
            colour=self.colour,
            **options,  # type: ignore[arg-type]
        )

    def block(self, heading: str, body: str, colour: str = show.BOLD) -> list[str]:
        lines = [self.paint(line, colour) for line in self.wrapped("", heading).splitlines()]
        return ["\n".join([*lines, body])] if body else []


def review_text(review: Review, style: Style) -> str:
    """A task in the morning: how it ended, what needs eyes first, its sessions, and how a merge would end."""
    name = str(review.known["name"])
    parts = [_headline(review, style)]
    if review.failed is not None:
        failed = review.failed.to_json()
        printed = "".join(f"{line}\n" for line in show.check_output(failed, style.width, ascii=style.ascii))
        parts += style.block(show.check_failure(failed), printed or "  (nothing printed)\n", show.RED)
    parts += style.block("Not done, and why:", _listed(blocked_texts(review), style), show.YELLOW)
    parts += style.block(
        "Runs on your machine, or is obeyed there, after a merge; read these first:",
        _hazards([(hazard, steps) for hazard, steps in review.runs], style),
        show.YELLOW,
    )
    parts += style.block("Put back, because the agent may not change it:", _by_session(review.restored, style))
    parts += style.block("Left out of commits:", _by_session(review.excluded, style))
    proposed = "".join(
        style.wrapped("  ", f"{number}  {text}") for number, text in enumerate(review.proposed[:MOST_SENTENCES], 1)
    )
    parts += style.block(f"Proposed (to accept: git autonomous review {quote(name)} --accept N):", proposed)
    if review.rows:
        parts.append(_rows(review.rows, f"{name}: ", style))
    parts.append(_forecast(review, style))
    parts.append(_next(review, style))
    return "\n".join(parts)


def blocked_texts(review: Review) -> list[str]:
    """The items that are blocked or skipped, with the reasons."""
    texts = [f"{text} ({note})" for text, note in review.blocked[:MOST_SENTENCES]]
    more = len(review.blocked) - len(texts)
    return [*texts, f"and {more} more; --json has all"] if more > 0 else texts


def _headline(review: Review, style: Style) -> str:
    known = review.known
    state, reason = str(known["state"]), str(known["reason"] or "")
    sessions = sum(row.step.record is not None for row in review.rows)
    facts = [
        f"{known['done']}/{known['total']} items" if known["total"] else "no list yet",
        f"checks {known['check']}" if known["check"] != "none" else "no checks",
        f"{sessions} session{'s' * (sessions != 1)}" + (f" and {review.by_hand} by hand" if review.by_hand else ""),
        show.duration(review.seconds),
        f"{show.count(int(str(known['tokens'])))} tokens",
    ]
    title = style.paint(style.line(str(known["name"])), show.BOLD) + ": "
    title += style.paint(style.line(state), show.STATE_COLOURS.get(state, ""))
    title += style.line(f", {reason}" if reason else "")
    return f"{title}\n{style.facts(facts)}{style.wrapped('  ', review.goal)}"


def _hazards(found: Sequence[tuple[Hazard, Sequence[int | str]]], style: Style) -> str:
    rows = [
        (hazard.path, hazard.kind, hazard.why, ", ".join(str(step)[:10] for step in steps))
        for hazard, steps in found[:MOST_HAZARDS]
    ]
    more = f"  and {len(found) - MOST_HAZARDS} more; --json has all\n" if len(found) > MOST_HAZARDS else ""
    return (
        style.table(
            ("path", "kind", "why", "session"), rows, flexible=(2,), droppable=(2, 3), styles={1: _KIND_COLOURS}
        )
        + more
    )


def _by_session(found: Sequence[tuple[int, str]], style: Style) -> str:
    lines = [style.wrapped("  ", f"session {number}: {text}") for number, text in found[:MOST_SENTENCES]]
    if len(found) > MOST_SENTENCES:
        lines.append(f"  and {len(found) - MOST_SENTENCES} more; --json has all\n")
    return "".join(lines)


def _rows(rows: Iterable[Row], prefix: str, style: Style) -> str:
    cells = []
    for row in rows:
        record = row.step.record
        cells.append(
            (
                str(record.number) if record else row.step.commit.oid[:10],
                what_text(row, prefix),
                str(row.size.files) if row.size.files else "",
                lines_text(row.size),
                record.check if record and record.check != "none" else "",
                show.count(record.tokens) if record and record.tokens else "",
                show.duration(record.seconds) if record and record.seconds else "",
                record.outcome if record and record.outcome != "completed" else "",
            )
        )
    return style.table(
        ("session", "what", "files", "lines", "check", "tokens", "time", "outcome"),
        cells,
        flexible=(1,),
        droppable=(5, 6, 2, 4),
        right=(2, 3, 5, 6),
        styles={4: show.RESULT_COLOURS, 7: show.RESULT_COLOURS},
    )


def what_text(row: Row, prefix: str) -> str:
    """What a commit did: the items that it ticked, else its subject without `prefix`."""
    subject = row.step.commit.message.partition("\n")[0]
    done = [*row.ticked, *(f"unticked: {text}" for text in row.unticked)]
    if row.step.record is not None:
        return "; ".join(done) if done else subject.partition(": ")[2]
    if row.step.news is not None:
        return row.step.news
    what = "; ".join(done) if done else subject
    return f"by hand: {what.removeprefix(prefix)}".replace(": changes by hand", "")


def lines_text(size: Size) -> str:
    """`+12 -3`, empty when no line changed."""
    if not size.insertions and not size.deletions:
        return ""
    return f"+{size.insertions} -{size.deletions}"


def forecast_sentences(review: Review) -> list[tuple[str, str]]:
    """How a merge would end, each sentence with its colour."""
    forecast, size, base = review.forecast, review.size, str(review.known["base"])
    brings = f"{size.files} file{'s' * (size.files != 1)}" + (f", {lines_text(size)}" if lines_text(size) else "")
    said = {
        CLEAN: (f"Merging into {base} is clean: {brings}.", show.GREEN),
        MERGED: (f"Merged into {base} already.", show.DIM),
        CONFLICTS: (f"Merging into {base} conflicts in {_paths(forecast.files)} ({brings}).", show.RED),
    }.get(forecast.verdict, (f"The base {base} is not in this repository, so nobody knows how a merge would end.", ""))
    others = [
        (f"It conflicts with the task {name} in {_paths(files)}.", show.YELLOW) for name, files in forecast.others
    ]
    return [said, *others]


def _forecast(review: Review, style: Style) -> str:
    return "".join(
        style.paint(line, colour) + "\n"
        for text, colour in forecast_sentences(review)
        for line in style.wrapped("", text).splitlines()
    )


def next_commands(review: Review) -> list[str]:
    """What a person most likely wants to type now."""
    name = quote(str(review.known["name"]))
    numbers = [row.step.record.number for row in review.rows if row.step.record is not None]
    conflicts = review.forecast.verdict == CONFLICTS
    commands = [show.next_command(str(review.known["name"]), str(review.known["state"]), conflicts=conflicts)]
    if numbers and review.known["state"] not in (states.RUNNING, states.WAITING, states.MERGED):
        commands += [
            f"git autonomous review {name} {numbers[-1]}",
            f"git autonomous review {name} --drop {numbers[-1]}",
        ]
    return [command for command in commands if command != f"git autonomous review {name}"]


def _next(review: Review, style: Style) -> str:
    return "".join(f"  {style.line(command)}\n" for command in next_commands(review))


def step_text(step: StepReview, style: Style) -> str:
    """One session, or one commit of a person, in full; its diff is not part of this."""
    record, commit, row = step.row.step.record, step.row.step.commit, step.row
    who = (
        f"session {record.number} of {step.task}" if record else f"{row.step.news or 'a commit by hand'} in {step.task}"
    )
    facts = [f"{row.size.files} file{'s' * (row.size.files != 1)}", lines_text(row.size)]
    if record:
        facts = [
            record.role,
            record.outcome,
            f"{record.done}/{record.total} items",
            f"checks {record.check}" if record.check != "none" else "no checks",
            *facts,
            f"{show.count(record.tokens)} tokens",
            show.duration(record.seconds),
        ]
    head = style.paint(style.line(who), show.BOLD) + "\n" + style.facts(filter(None, facts))
    head += style.wrapped("  ", f"commit {commit.oid} by {commit.author}")
    if record and record.thread:
        head += style.wrapped("  ", f"thread {record.thread}")
    parts = [head]
    boxes = [f"[x] {text}" for text in row.ticked] + [f"[ ] {text}" for text in row.unticked]
    parts += style.block("Ticked:" if not row.unticked else "Ticked and unticked:", _listed(boxes, style))
    message = show.clean(step.message, keep_newlines=True).split("\n") if step.message else []
    parts += style.block("Message:", "".join(f"  {style.line(line)}".rstrip() + "\n" for line in message))
    if record:
        parts += style.block("Put back:", _listed(record.restored, style))
        parts += style.block("Left out of the commit:", _listed(record.excluded, style))
    hazards = _hazards([(hazard, ()) for hazard in step.runs], style)
    parts += style.block("Runs on your machine, or is obeyed there, after a merge:", hazards, show.YELLOW)
    parts += _commands(step, style)
    return "\n".join(parts)


def _commands(step: StepReview, style: Style) -> list[str]:
    if step.commands is None:
        said = style.wrapped("  ", "not known: the transcript is on the machine where the session ran")
        return style.block("Commands:", said) if step.row.step.record else []
    rows = [("declined" if run.exit_code is None else str(run.exit_code), run.command) for run in step.commands]
    failed = {code: show.RED for code, _ in rows if code != "0"}
    table = style.table(("exit", "command"), rows, flexible=(1,), styles={0: failed})
    return style.block("Commands:", table) if rows else style.block("Commands:", "  none\n")


def _listed(texts: Sequence[str], style: Style) -> str:
    return "".join(style.wrapped("  ", text) for text in texts)


def plan_text(plan: Plan, style: Style) -> str:
    """What a decision would do, before it is done."""
    facts = [
        ("leave", "; ".join(_step(step) for step in plan.gone)),
        ("made again", _numbered(plan.rebuilt)),
        ("open again", "; ".join(plan.reopened)),
        ("ticked again", "; ".join(plan.closed)),
        ("new items", "; ".join(plan.added)),
        ("list", f"{plan.done[0]}/{plan.total[0]} items, then {plan.done[1]}/{plan.total[1]}"),
        ("files", _paths(plan.paths) or "none"),
        ("checks", {"unknown": "have not run on the result", "none": ""}.get(plan.check, plan.check)),
    ]
    title = plan.what[:1].upper() + plan.what[1:]
    out = [style.paint(style.line(f"{title} of {plan.task.name}:" if plan.gone else f"{title}:"), show.BOLD) + "\n"]
    for label, text in facts:
        if text:
            first, *rest = style.wrapped(" " * 16, text).splitlines()
            out.append(f"  {style.paint(f'{label:12}', show.DIM)}  {first.lstrip()}\n")
            out += [f"{line}\n" for line in rest]
    return "".join(out)


def _step(step: Step) -> str:
    subject = step.commit.message.partition("\n")[0]
    return f"{step.name} ({subject.partition(': ')[2] if step.record else subject})"


def _numbered(steps: Sequence[Step]) -> str:
    numbers = [step.record.number for step in steps if step.record is not None]
    named = [sessions_text(numbers)] if numbers else []
    return ", ".join(named + [step.name for step in steps if step.record is None])


def _paths(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - MOST_PATHS} more" if len(paths) > MOST_PATHS else ""
    return ", ".join(show.one_line(path) for path in paths[:MOST_PATHS]) + more
