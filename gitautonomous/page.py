"""Pages to read in a browser: a task in the morning, and all tasks. Values in, HTML out; the style is templates/page.css.

A page is one file that asks for nothing: no script, font, image or address. Foreign text comes in by `markup` alone.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from shlex import quote
from typing import Any
from urllib.parse import quote as quoted_address

from . import __version__, hunks, model, report, show, states
from .events import CommandRun
from .markup import Markup, escaped, joined, tag
from .review import Review, Row

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
MOST_DIFF = 100_000
MOST_DIFFS = 1_500_000
"""Characters of diffs on a page: of one commit, and of all."""
MOST_COMMANDS = 50
LONGEST_COMMAND = 300
LONGEST_GOAL = 4000

_CLASSES = {show.RED: "bad", show.GREEN: "good", show.YELLOW: "warn"}


@dataclass(frozen=True)
class Told:
    """What a page says of one commit beyond its row: the message, the commands (None: not known here), and the diff as `patch.lines` gives it."""

    row: Row
    message: str
    commands: tuple[CommandRun, ...] | None
    diff: Iterable[str]


def review(review: Review, told: Iterable[Told], *, style: str, now: float) -> str:
    """A task's page. `told`: for each row, read one after the other; `now`: epoch seconds."""
    name = str(review.known["name"])
    sections = [
        _head(review),
        _failed(review),
        _blocked(review),
        _hazards(review),
        _by_session("Put back", "What an agent changed in the list without the right to.", review.restored),
        _by_session("Left out of commits", "", review.excluded),
        _proposed(review),
        _plot(review),
        _table(review),
        _sessions(review, told),
    ]
    return _document(
        f"{name}: review", joined(sections), style, now, f"Branch {review.known['branch']} at {review.tip[:10]}."
    )


def tasks(
    found: Sequence[Mapping[str, Any]], *, repository: str, pages: Collection[str], style: str, now: float
) -> str:
    """The page of all tasks, each as `list --json` gives it with `conflicts` described. `pages`: names of tasks whose page NAME.html is beside this one."""
    groups: dict[str, list[Mapping[str, Any]]] = {"Waits for you": [], "At work": [], "Merged": []}
    for task in found:
        state = task["state"]
        busy = "At work" if state in (states.RUNNING, states.WAITING) else "Waits for you"
        groups["Merged" if state == states.MERGED else busy].append(task)
    head = tag("header", tag("p", "git autonomous", class_="kicker"), tag("h1", f"Tasks of {repository}"))
    facts = [(heading, str(len(group))) for heading, group in groups.items()]
    parts = [head, _facts(facts)]
    parts += [
        joined([tag("h2", heading), _task_table(heading, group, pages, now)])
        for heading, group in groups.items()
        if group
    ]
    if not found:
        parts.append(tag("p", "No tasks yet. Start one:"))
        parts.append(tag("code", 'git autonomous start "GOAL"', class_="command"))
    return _document(f"Tasks of {repository}", joined(parts), style, now, "")


def _document(title: str, body: str, style: str, now: float, about: str) -> str:
    made = time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(now))
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("link", rel="icon", href="data:,"),
        tag("title", title),
        tag("style", Markup(style)),
    ]
    page = tag(
        "body",
        tag("a", "Skip to the content", class_="skip", href="#main"),
        tag("main", body, id="main"),
        tag("footer", tag("p", f"{about} Made by git autonomous {__version__}, {made}.".strip())),
    )
    return "<!DOCTYPE html>\n" + tag("html", tag("head", joined(head, "\n")), "\n", page, lang="en") + "\n"


# -- a task ------------------------------------------------------------------------------------------------------------------------------------


def _head(review: Review) -> Markup:
    known = review.known
    state, reason = str(known["state"]), str(known["reason"] or "")
    records = [row for row in review.rows if row.step.record is not None]
    facts = [
        ("items", f"{known['done']}/{known['total']}"),
        ("checks", str(known["check"])),
        ("sessions", str(len(records)) + (f" + {review.by_hand} by hand" if review.by_hand else "")),
        ("time", show.duration(review.seconds)),
        ("tokens", show.count(int(str(known["tokens"])))),
        ("files", str(review.size.files)),
        ("lines", report.lines_text(review.size) or "0"),
    ]
    goal = review.goal
    rest = f" … [{len(goal) - LONGEST_GOAL:,} more characters in task.toml]" if len(goal) > LONGEST_GOAL else ""
    said = [tag("li", text, class_=_CLASSES.get(colour)) for text, colour in report.forecast_sentences(review)]
    return joined(
        [
            tag("header", tag("p", "git autonomous review", class_="kicker"), tag("h1", str(known["name"]))),
            tag("p", _badge(state), " ", reason, class_="verdict"),
            tag("p", goal[:LONGEST_GOAL] + rest, class_="goal"),
            _facts(facts),
            tag("h2", "Merge"),
            tag("ul", *said, class_="plain"),
            *[tag("code", command, class_="command") for command in report.next_commands(review)],
        ]
    )


def _failed(review: Review) -> Markup:
    if review.failed is None:
        return Markup()
    failed = review.failed.to_json()
    printed = "\n".join(line[2:] for line in show.check_output(failed, None))
    said = tag("p", show.check_failure(failed), class_="bad")
    return joined([tag("h2", "Why the check fails"), said, tag("pre", printed) if printed else ""])


def _blocked(review: Review) -> Markup:
    items = [tag("li", text) for text in report.blocked_texts(review)]
    return joined([tag("h2", "Not done, and why"), tag("ul", *items, class_="plain")]) if items else Markup()


def _badge(state: str) -> Markup:
    return tag("span", state, class_=f"tag {_CLASSES.get(show.STATE_COLOURS.get(state, ''), '')}".rstrip())


def _facts(facts: Sequence[tuple[str, str]]) -> Markup:
    return tag("dl", *[tag("div", tag("dt", label), tag("dd", value)) for label, value in facts], class_="facts")


def _hazards(review: Review) -> Markup:
    heading = tag("h2", "Runs on your machine after a merge")
    if not review.runs:
        return joined([heading, tag("p", "Nothing that a tool takes up by itself was changed.", class_="muted")])
    links = {row.step.name: _address(row) for row in review.rows}
    commits = {row.step.commit.oid: row.step.name for row in review.rows}
    rows = []
    for hazard, steps in review.runs[: report.MOST_HAZARDS]:
        names = [f"session {step}" if isinstance(step, int) else commits[step] for step in steps]
        by = joined([tag("a", name, href=f"#{links[name]}") for name in names], ", ")
        rows.append(
            tag(
                "tr",
                tag("th", tag("code", hazard.path), scope="row", class_="wide"),
                tag("td", tag("span", hazard.kind, class_="tag warn")),
                tag("td", hazard.why, class_="wide"),
                tag("td", by),
            )
        )
    more = len(review.runs) - report.MOST_HAZARDS
    left = [tag("p", f"And {more} more; git autonomous review --json has all.")] if more > 0 else []
    caption = "Run, or are obeyed, on your machine: read these first."
    return joined([heading, _rows_table(caption, ("path", "kind", "why", "changed by"), rows), *left])


def _rows_table(caption: str, headings: Sequence[str], rows: Sequence[Markup]) -> Markup:
    head = tag("thead", tag("tr", *[tag("th", heading, scope="col") for heading in headings]))
    return tag("table", tag("caption", caption), head, tag("tbody", *rows), class_="stack")


def _by_session(heading: str, about: str, found: Sequence[tuple[int, str]]) -> Markup:
    if not found:
        return Markup()
    shown = [
        tag("li", tag("a", f"Session {number}", href=f"#session-{number}"), ": ", text)
        for number, text in found[: report.MOST_HAZARDS]
    ]
    if len(found) > len(shown):
        shown.append(tag("li", f"and {len(found) - len(shown)} more; git autonomous review --json has all"))
    return joined(
        [tag("h2", heading), tag("p", about, class_="muted") if about else "", tag("ul", *shown, class_="plain")]
    )


def _proposed(review: Review) -> Markup:
    if not review.proposed:
        return Markup()
    items = [tag("li", model.one_line(text, 400)) for text in review.proposed[: report.MOST_HAZARDS]]
    accept = f"git autonomous review {quote(str(review.known['name']))} --accept N"
    return joined([tag("h2", "Proposed"), tag("ol", *items), tag("code", accept, class_="command")])


def _plot(review: Review) -> Markup:
    """Items done over time, as steps; its text alternative says the same in a sentence, and the table below has every number."""
    rows = [row for row in review.rows if row.step.record is not None]
    if len(rows) < 2:
        return Markup()
    began = min([datetime.fromisoformat(review.created).timestamp(), *(row.step.commit.time for row in rows)])
    ended = max(row.step.commit.time for row in rows)
    records = [row.step.record for row in rows if row.step.record is not None]
    most = max(1, *(record.total for record in records))
    points = []
    for row, record in zip(rows, records, strict=True):
        x = 1000 * (row.step.commit.time - began) / (ended - began) if ended > began else 1000
        points.append((x, 100 - 100 * min(record.done, most) / most, 100 - 100 * record.total / most, record))
    curve, total, before = "M0 100", f"M0 {points[0][2]:.1f}", points[0][2]
    for x, y, top, _ in points:
        curve += f"H{x:.1f}V{y:.1f}"
        total += f"H{x:.1f}" + (f"V{top:.1f}" if top != before else "")
        before = top
    bad = [(x, y) for x, y, _, record in points if record.check == "failed" or record.outcome != "completed"]
    dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in bad)
    first, last = (time.strftime("%Y-%m-%d %H:%M", time.localtime(at)) for at in (began, ended))
    trouble = (
        f"Red: {len(bad)} session{'s' * (len(bad) != 1)} whose check failed or that did not complete." if bad else ""
    )
    sentence = f"Items done over time: from 0 at {first} to {records[-1].done} of {records[-1].total} at {last}, in {len(rows)} sessions. {trouble}"
    drawing = tag(
        "svg",
        tag("title", sentence.strip()),
        tag("path", class_="area", d=f"{curve}V100Z"),
        tag("path", class_="total", d=total),
        tag("path", class_="curve", d=curve),
        tag("path", class_="dot", d=dots) if dots else "",
        viewBox="0 0 1000 100", preserveAspectRatio="none", role="img", aria_label=sentence.strip(),
    )  # fmt: skip
    plot = tag("div", tag("span", str(most), class_="top"), tag("span", "0", class_="bottom"), drawing, class_="plot")
    caption = tag("figcaption", f"Items done; dotted: items in all. {trouble}".strip())
    times = tag("div", tag("span", first), tag("span", last), class_="times")
    return joined([tag("h2", "Progress"), tag("figure", plot, times, caption)])


def _address(row: Row) -> str:
    record = row.step.record
    return f"session-{record.number}" if record is not None else f"commit-{row.step.commit.oid[:10]}"


def _table(review: Review) -> Markup:
    if not review.rows:
        return joined([tag("h2", "Sessions"), tag("p", "None yet.")])
    rows = []
    for row in review.rows:
        record = row.step.record
        label = str(record.number) if record else row.step.commit.oid[:10]
        outcome = record.outcome if record and record.outcome != "completed" else ""
        check = record.check if record and record.check != "none" else ""
        rows.append(
            tag(
                "tr",
                tag("th", tag("a", label, href=f"#{_address(row)}"), scope="row"),
                tag("td", report.what_text(row, f"{review.known['name']}: "), class_="wide"),
                tag("td", str(row.size.files or ""), class_="number", data_label="files"),
                tag("td", report.lines_text(row.size), class_="number"),
                tag("td", _result(check), data_label="check"),
                tag(
                    "td",
                    show.count(record.tokens) if record and record.tokens else "",
                    class_="number",
                    data_label="tokens",
                ),
                tag("td", show.duration(record.seconds) if record and record.seconds else "", class_="number"),
                tag("td", _result(outcome)),
            )
        )
    headings = ("session", "ticked, or what was done", "files", "lines", "check", "tokens", "time", "outcome")
    return joined([tag("h2", "Sessions"), _rows_table("Oldest first.", headings, rows)])


def _result(text: str) -> str:
    colour = _CLASSES.get(show.RESULT_COLOURS.get(text, ""))
    return tag("span", text, class_=colour) if text else ""


def _sessions(review: Review, told: Iterable[Told]) -> Markup:
    """Each commit in full. What one diff leaves of its share of the room, the next ones may have."""
    hazards = {hazard.path for hazard, _ in review.runs}
    name, left, sections = str(review.known["name"]), MOST_DIFFS, []
    for number, each in enumerate(told):
        room = min(MOST_DIFF, left // max(1, len(review.rows) - number))
        section, taken = _session(name, each, room, hazards)
        left = max(0, left - taken)
        sections.append(section)
    return joined([tag("h2", "Session by session"), *sections]) if sections else Markup()


def _session(name: str, told: Told, room: int, hazards: Collection[str]) -> tuple[Markup, int]:
    row, record, commit = told.row, told.row.step.record, told.row.step.commit
    facts = [time.strftime("%Y-%m-%d %H:%M", time.localtime(commit.time)), f"commit {commit.oid[:10]}"]
    if record:
        checks = f"checks {record.check}" if record.check != "none" else "no checks"
        facts[:0] = [record.role, record.outcome, f"{record.done}/{record.total} items", checks]
        facts += [f"{show.count(record.tokens)} tokens", show.duration(record.seconds)]
    else:
        facts.append(f"by {commit.author}")
    subject = model.one_line(commit.message.partition("\n")[0], 200).removeprefix(f"{name}: ")
    whose = f"Session {record.number}" if record else "By hand" if row.step.news is None else "Brought in"
    heading = f"{whose}: {subject.removeprefix('bring in ') if whose == 'Brought in' else subject}"
    boxes = [tag("li", f"✓ {text}") for text in row.ticked] + [tag("li", f"unticked: {text}") for text in row.unticked]
    diff, taken = _diff(told, room, hazards)
    section = tag(
        "section",
        tag("h3", heading, id=f"h-{_address(row)}"),
        tag("p", " · ".join(facts), class_="muted"),
        tag("ul", *boxes, class_="plain") if boxes else "",
        tag("p", told.message, class_="message") if told.message else "",
        _commands(name, told) if record else "",
        diff,
        class_="session", id=_address(row), aria_labelledby=f"h-{_address(row)}",
    )  # fmt: skip
    return section, taken


def _commands(name: str, told: Told) -> Markup:
    if told.commands is None:
        said = "Commands: not known, the transcript is on the machine where the session ran."
        return tag("p", said, class_="muted")
    if not told.commands:
        return tag("p", "No commands ran.", class_="muted")
    rows = []
    for run in told.commands[:MOST_COMMANDS]:
        code = "declined" if run.exit_code is None else str(run.exit_code)
        colour = None if code == "0" else "bad"
        text = tag("code", model.one_line(run.command, LONGEST_COMMAND))
        rows.append(tag("tr", tag("td", code, class_=colour), tag("td", text)))
    failed = sum(run.exit_code != 0 for run in told.commands)
    count = len(told.commands)
    summary = f"{count} command{'s' * (count != 1)}" + (f", {failed} failed" if failed else "")
    head = tag("thead", tag("tr", tag("th", "exit", scope="col"), tag("th", "command", scope="col")))
    table = tag("table", head, tag("tbody", *rows), class_="commands")
    number = told.row.step.record.number if told.row.step.record else ""
    whole = (
        _whole(f"{count - len(rows)} more:", f"git autonomous review {quote(name)} {number}")
        if count > len(rows)
        else ""
    )
    return tag("details", tag("summary", summary), table, whole)


def _diff(told: Told, room: int, hazards: Collection[str]) -> tuple[Markup, int]:
    step, size = told.row.step, told.row.size
    if not size.files:
        return Markup(), 0
    files, taken, cut = hunks.read(told.diff, room)
    whole = ""
    if cut:
        whole = _whole("This diff is cut here. The whole:", f"git diff {step.parent[:12]} {step.commit.oid[:12]}")
    counts = report.lines_text(size)
    summary = f"{size.files} file{'s' * (size.files != 1)}" + (f", {counts}" if counts else "")
    return tag("details", tag("summary", summary), hunks.render(files, hazards), whole), taken


def _whole(said: str, command: str) -> Markup:
    return tag("p", tag("strong", said), tag("code", command, class_="command"))


# -- all tasks ---------------------------------------------------------------------------------------------------------------------------------


def _task_table(heading: str, found: Sequence[Mapping[str, Any]], pages: Collection[str], now: float) -> Markup:
    rows = []
    for task in found:
        name, done, total = str(task["name"]), int(task["done"]), int(task["total"])
        label = tag("a", name, href=quoted_address(f"./{name}.html")) if name in pages else escaped(name)
        percent = min(100, 100 * done // total) if total else 0
        bar = tag("span", tag("i", style=f"width:{percent}%"), class_="bar", aria_hidden="true")
        conflicts = ", ".join(task["conflicts"] or ())
        forecast = "not known" if task["conflicts"] is None else f"conflicts with {conflicts}" if conflicts else "clean"
        rows.append(
            tag(
                "tr",
                tag("th", label, scope="row", class_="wide"),
                tag("td", _badge(str(task["state"])), " ", str(task["reason"] or "")),
                tag("td", bar, f"{done}/{total}") if total else tag("td"),
                tag("td", str(task["sessions"]), class_="number", data_label="sessions"),
                tag("td", _result(str(task["check"])), data_label="check"),
                tag("td", tag("span", forecast, class_="bad" if conflicts else None), data_label="merge"),
                tag("td", show.ago(datetime.fromisoformat(task["updated"]).timestamp(), now)),
                tag("td", tag("code", show.next_for(task)), class_="wide"),
            )
        )
    headings = ("task", "state", "done", "sessions", "check", "merge", "updated", "type next")
    return _rows_table(f"{len(found)} task{'s' * (len(found) != 1)}", headings, rows)
