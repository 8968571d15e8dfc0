"""Text for people: cleaned, measured, cut, coloured and laid out. Values in, strings out; nothing here prints.

Whatever an agent, a file, a branch or another program wrote is foreign text, and `clean` is the one place that makes
foreign text harmless. `table`, `list_table` and `status_text` clean every cell themselves: no caller can forget it.

Light on purpose (no dataclasses, typing, re or json): `git autonomous list` imports this and must start as fast as git.
"""

from __future__ import annotations

import os

from . import states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, TextIO

BOLD, DIM, RED, GREEN, YELLOW, CYAN = "1", "2", "31", "32", "33", "36"
STATE_COLOURS = {
    states.BROKEN: RED,
    states.RUNNING: CYAN,
    states.WAITING: YELLOW,
    states.MERGED: DIM,
    states.FINISHED: GREEN,
    states.FAILING: RED,
    states.BLOCKED: YELLOW,
    states.STALLED: YELLOW,
    states.FAILED: RED,
}
RESULT_COLOURS = {"passed": GREEN, "completed": GREEN, "failed": RED, "timed-out": RED, "interrupted": YELLOW}
CHANGED = {"add": "added", "delete": "deleted", "update": "changed"}
"""What became of a file, by Codex's word for it."""

_NEXT = {
    states.BROKEN: "git autonomous doctor --repair",
    states.RUNNING: "git autonomous attach {}",
    states.WAITING: "git autonomous attach {}",
    states.MERGED: "git autonomous remove {}",
    states.FINISHED: "git autonomous merge {}",
    states.BLOCKED: "git autonomous review {}",
}

# Ordinary text contains these and shows nothing for them: soft hyphen, zero-width spaces and joiners, byte order mark.
_INVISIBLE = frozenset("\u00ad\u180e\u200b\u200c\u200d\u2060\u2061\u2062\u2063\u2064\ufeff")
_CSI_PARAMETERS = "".join(map(chr, range(0x20, 0x40)))
_ASCII = str.maketrans(
    {"█": "#", "░": "-", "…": "...", "–": "-", "—": "-", "─": "-", "│": "|", "·": "-", "•": "*", "●": "*", "→": "->"}
    | {"✓": "+", "✗": "x", "‘": "'", "’": "'", "“": '"', "”": '"'}
)
_GAP = "  "
CHECK_LINES = 10
"""Of what a failed check printed."""
_NO_COLOUR = ("never", "false", "no", "off", "0")
_LEAST_FLEXIBLE = 12


def clean(text: str, *, keep_newlines: bool = False) -> str:
    """Foreign text as something that cannot harm a terminal, a log, a pager or a commit message.

    Every line of the result is printable by `str.isprintable`: no C0 or C1 control, escape sequence, bidi control,
    zero-width character, line separator, tag character, lone surrogate or unassigned code point. Colour and cursor
    sequences (CSI) and the zero-width characters of ordinary text are dropped, other controls become their pictures
    (ESC is ␛), other spaces a space, and the rest �. Line breaks of every kind become a space, or "\\n" with
    `keep_newlines`, which keeps tabs too. Cleaning twice changes nothing more.
    """
    if text.isprintable():
        return text
    if "\x1b[" in text:
        text = _without_csi(text)
    if not keep_newlines:
        text = text.replace("\t", " ")
    # The full stop keeps a line break at the end: splitlines() alone would lose it.
    lines = (text + ".").splitlines()
    lines[-1] = lines[-1][:-1]
    separator = "\n" if keep_newlines else " "
    return separator.join([line if line.isprintable() else _clean_line(line) for line in lines])


def _without_csi(text: str) -> str:
    first, *others = text.split("\x1b[")
    kept = [first]
    for part in others:
        end = len(part) - len(part.lstrip(_CSI_PARAMETERS))
        kept.append(part[end + 1 :] if end < len(part) and "@" <= part[end] <= "~" else "\x1b[" + part)
    return "".join(kept)


def _clean_line(line: str) -> str:
    return "".join([char if char.isprintable() or char == "\t" else _replacement(char) for char in line])


def _replacement(char: str) -> str:
    if char < " ":
        return chr(0x2400 + ord(char))
    if char == "\x7f":
        return "␡"
    if char in _INVISIBLE:
        return ""
    return " " if char.isspace() else "\ufffd"


def one_line(text: str) -> str:
    """Foreign text cleaned, on one line, with runs of spaces made one."""
    text = clean(text).strip()
    return " ".join(text.split()) if "  " in text else text


def to_ascii(text: str) -> str:
    """Text for a stream that can show ASCII only: our signs and typographic quotes get a likeness, the rest is "?"."""
    return text if text.isascii() else text.translate(_ASCII).encode("ascii", "replace").decode("ascii")


def measure(text: str) -> int:
    """The terminal columns that cleaned text takes: East Asian wide characters and emoji two, combining marks none."""
    return sum(_advances(text)) if text.strip("█░") and not text.isascii() else len(text)


def _advances(text: str) -> list[int]:
    from unicodedata import category, east_asian_width

    advances: list[int] = []
    for before, char in zip(" " + text, text, strict=False):
        if char < "\u0300":
            advances.append(1)
        elif char == "\ufe0f":  # shows the character before it as an emoji, where there can be one
            advances.append(1 if before != " " and advances[-1] == 1 else 0)
        elif category(char) in ("Mn", "Me"):
            advances.append(0)
        else:
            advances.append(2 if east_asian_width(char) in "WF" else 1)
    return advances


def cut(text: str, columns: int, *, ascii: bool = False) -> str:
    """Cleaned text, cut to at most `columns` columns (1 or more); what was cut ends in an ellipsis."""
    # A character can carry any number of combining marks: eight characters for a column are enough for every script.
    start = text[: columns * 8]
    if len(start) == len(text) and measure(text) <= columns:
        return text
    dots = (".." if ascii else "…")[:columns]
    room = columns - len(dots)
    if start.isascii():
        return start[:room] + dots
    for index, advance in enumerate(_advances(start)):
        room -= advance
        if room < 0:
            return start[:index] + dots
    return start + dots


def wrap(text: str, columns: int | None) -> list[str]:
    """Cleaned text broken at spaces into lines of at most `columns` columns (None: no limit). Long words stay whole."""
    if columns is None:
        return [text]
    lines: list[str] = []
    for word in text.split(" "):
        if lines and measure(lines[-1]) + 1 + measure(word) <= columns:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return lines


def problem(message: str, hint: str | None, columns: int | None) -> str:
    """An error as people see it, and what to paste: its lines end between words, but for a command, which stays whole. `columns`: None for no limit."""
    lines = wrap(f"error: {one_line(message)}", columns)
    if hint:
        line = f"hint: {one_line(hint)}"
        if columns is not None and measure(line) > columns:
            line = line.replace(" # ", "\n      # ", 1)
        lines.append(line)
    return "\n".join(lines)


def paint(text: str, style: str) -> str:
    """Text in a colour: `style` is the number of an SGR sequence, or "" for none."""
    return f"\x1b[{style}m{text}\x1b[m" if style and text else text


def duration(seconds: float) -> str:
    """Seconds as `45 s`, `3 min 20 s`, `2 h 5 min` or `3 d 4 h`, rounded down."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        (large, small), units = divmod(whole, 60), ("min", "s")
    elif whole < 86400:
        (large, small), units = divmod(whole // 60, 60), ("h", "min")
    else:
        (large, small), units = divmod(whole // 3600, 24), ("d", "h")
    return f"{large} {units[0]} {small} {units[1]}" if small else f"{large} {units[0]}"


def ago(then: float, now: float) -> str:
    """How long before `now` something was (seconds since the epoch): `now`, `5 min ago`, `3 h ago`, `12 d ago`."""
    seconds = int(now - then)
    if seconds < 60:
        return "now"
    if seconds < 3600:
        return f"{seconds // 60} min ago"
    if seconds < 2 * 86400:
        return f"{seconds // 3600} h ago"
    if seconds < 60 * 86400:
        return f"{seconds // 86400} d ago"
    if seconds < 730 * 86400:
        return f"{seconds // (30 * 86400)} months ago"
    return f"{seconds // (365 * 86400)} years ago"


def count(number: int) -> str:
    """A number in at most five characters: `950`, `12.3k`, `310k`, `1.2M`."""
    if number < 1000:
        return str(number)
    value, units = number / 1000, "kMGTP"
    while value >= 999.5 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.1f}{units[0]}" if value < 99.95 else f"{value:.0f}{units[0]}"


def bar(done: int, total: int, columns: int) -> str:
    """A progress bar of `columns` columns. It is full only when everything is done, and not empty when something is."""
    filled = columns * done // total if total else 0
    if done and not filled:
        filled = 1
    return "█" * filled + "░" * (columns - filled)


def terminal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Is this a terminal that obeys escape sequences? (TERM=dumb does not.)"""
    return environ.get("TERM", "") not in ("", "dumb") and stream.isatty()


def colour(stream: TextIO, environ: Mapping[str, str], setting: str = "auto") -> bool:
    """Shall output be coloured? By NO_COLOR, CLICOLOR_FORCE, `setting` (color.ui), and whether it is a terminal."""
    if environ.get("NO_COLOR"):
        return False
    if environ.get("CLICOLOR_FORCE", "0") not in ("", "0"):
        return True
    setting = setting.lower()
    if setting == "always":
        return True
    return setting not in _NO_COLOUR and terminal(stream, environ)


def colour_of_output(stream: TextIO, environ: Mapping[str, str], settings: Mapping[str, str]) -> bool:
    """As `colour`, by git's settings (lower-case keys): color.autonomous, else color.ui; and color.pager where git has put a pager behind the stream."""
    setting = settings.get("color.autonomous", settings.get("color.ui", "auto"))
    if environ.get("GIT_PAGER_IN_USE") in ("true", "1") and setting.lower() not in _NO_COLOUR:
        setting = "never" if settings.get("color.pager", "").lower() in _NO_COLOUR else "always"
    return colour(stream, environ, setting)


def unicode(stream: TextIO) -> bool:
    """Can the stream's encoding show our signs? If not, output is ASCII."""
    try:
        "█░…–│·●✓✗".encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True


def columns(stream: TextIO, environ: Mapping[str, str]) -> int | None:
    """The width to fit output into: COLUMNS, else the terminal's; None (no limit) when the stream is no terminal."""
    given = environ.get("COLUMNS", "")
    if given.isdecimal() and 0 < len(given) < 6 and int(given):
        return int(given)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return None


def fits(text: str, stream: TextIO) -> bool:
    """Whether a text needs no pager: it fits on the screen, or the stream is no terminal."""
    try:
        return text.count("\n") < os.get_terminal_size(stream.fileno()).lines
    except (OSError, ValueError):
        return True


def next_command(name: str, state: str, *, conflicts: bool = False) -> str:
    """The command that a person most likely wants for a task in this state, ready to paste into a shell. `conflicts`: with its base."""
    safe = name.isascii() and name.replace("-", "").replace("_", "").replace(".", "").replace("/", "").isalnum()
    quoted = name if safe else "'" + clean(name).replace("'", "'\\''") + "'"
    if conflicts and state == states.FINISHED:
        return f"git autonomous merge --resolve {quoted}"
    return _NEXT.get(state, "git autonomous resume {}").format(quoted)


def next_for(task: Mapping[str, object]) -> str:
    """The same for a task as `list --json` gives it; its conflicts may be described."""
    against_base = any(other.partition(" (")[0] == task["base"] for other in _texts(task, "conflicts"))
    return next_command(_text(task, "name"), _text(task, "state"), conflicts=against_base)


def table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int | None,
    ascii: bool = False,
    colour: bool = False,
    flexible: Sequence[int] = (),
    droppable: Sequence[int] = (),
    right: Sequence[int] = (),
    styles: Mapping[int, Mapping[str, str]] | None = None,
) -> str:
    """Rows of foreign text as aligned lines, each ended by a newline, that fit into `width` columns (None: no limit).

    Empty columns are left out. When there is no room, `flexible` columns are cut and `droppable` ones left out, the
    first named first. The first column is never cut: a text too long for it gets a line of its own. `right` columns are
    aligned right; `styles` gives the colours of a column's texts.
    """
    if not rows:
        return ""
    columns = zip(headings, zip(*rows, strict=True), strict=True)
    cells = [_prepared(heading, column, ascii) for heading, column in columns]
    natural = {index: _widest(column) for index, column in enumerate(cells) if index == 0 or any(column[1:])}
    widths = _fit(natural, width, flexible, droppable)
    laid_out = []
    for index, size in widths.items():
        column = cells[index]
        if natural[index] > size and index:
            column = [cut(text, size, ascii=ascii) for text in column]
        padded = _padded(column, size, index in right)
        if colour:
            style = (styles or {}).get(index, {})
            padded = [paint(padded[0], DIM), *[paint(text, style.get(text.rstrip(), "")) for text in padded[1:]]]
        laid_out.append(padded)
    lines: list[tuple[str, ...]] = list(zip(*laid_out, strict=True))
    if natural[0] > widths[0]:
        blank = " " * widths[0]
        lines = [
            part
            for key, line in zip(cells[0], lines, strict=True)
            for part in ([(line[0],), (blank, *line[1:])] if measure(key) > widths[0] else [line])
        ]
    return "\n".join([_GAP.join(line).rstrip() for line in lines]) + "\n"


def _prepared(heading: str, column: Sequence[str], ascii: bool) -> list[str]:
    cells = [heading, *column]
    together = "".join(cells)
    if not together.isprintable():
        cells = [one_line(text) for text in cells]
    return [to_ascii(text) for text in cells] if ascii and not together.isascii() else cells


def _widest(column: Sequence[str]) -> int:
    return max(map(len, column)) if "".join(column).isascii() else max(map(measure, set(column)))


def _padded(column: Sequence[str], size: int, right: bool) -> list[str]:
    if "".join(column).isascii():
        return [text.rjust(size) for text in column] if right else [text.ljust(size) for text in column]
    spaces = {text: " " * (size - measure(text)) for text in set(column)}
    return [spaces[text] + text if right else text + spaces[text] for text in column]


def _fit(
    natural: Mapping[int, int], width: int | None, flexible: Sequence[int], droppable: Sequence[int]
) -> dict[int, int]:
    """The columns that there is room for, with their widths."""
    widths = dict(natural)
    if width is None:
        return widths
    widths[0] = min(natural[0], max(16, width * 2 // 5))
    waiting = [index for index in droppable if index in widths]
    while (excess := sum(widths.values()) + len(_GAP) * (len(widths) - 1) - width) > 0:
        slack = {index: max(0, widths[index] - _LEAST_FLEXIBLE) for index in flexible if index in widths}
        if sum(slack.values()) >= excess:
            for index, available in slack.items():
                taken = min(excess, available)
                widths[index] -= taken
                excess -= taken
            break
        if not waiting:
            widths |= {index: widths[index] - available for index, available in slack.items()}
            break
        del widths[waiting.pop(0)]
    else:
        widths[0] = min(natural[0], widths[0] - excess)
    return widths


def list_table(
    tasks: Sequence[Mapping[str, Any]], *, width: int | None, colour: bool = False, ascii: bool = False, now: float
) -> str:
    """The tasks, as `listing.tasks` gives them, as a table; "" for none. `now`: seconds since the epoch."""
    rows = []
    for task in tasks:
        done, total, sessions, tokens = task["done"], task["total"], task["sessions"], task["tokens"]
        note = task["reason"] or ""
        if task["conflicts"]:
            note += f"{'; ' * bool(note)}conflicts with {', '.join(task['conflicts'])}"
        rows.append(
            (
                task["name"],
                task["state"],
                bar(done, total, 10) if total else "",
                f"{done}/{total}" if total else "",
                str(sessions) if sessions else "",
                task["check"],
                count(tokens) if tokens else "",
                ago(task["updated"], now) if task["updated"] else "",
                note,
            )
        )
    return table(
        ("task", "state", "", "done", "sessions", "check", "tokens", "updated", "note"),
        rows,
        width=width,
        ascii=ascii,
        colour=colour,
        flexible=(8,),
        droppable=(6, 4, 2, 5, 8, 7),
        right=(3, 4, 6),
        styles={0: {}, 1: STATE_COLOURS, 5: RESULT_COLOURS},
    )


def status_text(
    task: Mapping[str, object],
    sessions: Sequence[Mapping[str, object]],
    items: Sequence[Mapping[str, object]],
    *,
    width: int | None,
    colour: bool = False,
    ascii: bool = False,
    now: float,
) -> str:
    """One task in full: its facts with the next command to type, its items by phase, its sessions.

    `task` as `list --json` gives it, `goal` and `failed_check`. An item has text, done, note, phase and depth. A session has number,
    role, outcome, ticked (texts), check, tokens and seconds.
    """
    parts = [_facts(task, sessions, width, colour, ascii, now)]
    failed = task.get("failed_check")
    if isinstance(failed, dict):
        heading = "\n".join(wrap(_shown(check_failure(failed), ascii), width))
        lines = check_output(failed, width, ascii=ascii)
        parts.append("".join(f"{line}\n" for line in (paint(heading, RED) if colour else heading, *lines)))
    if items:
        parts.append(_items(items, width, colour, ascii))
    if sessions:
        parts.append(_sessions(sessions, width, colour, ascii))
    return "\n".join(parts)


def check_failure(failed: Mapping[str, object]) -> str:
    """How a check (as `status --json` has it) failed, in a sentence that is not cleaned."""
    ended = "out of time" if failed["timed_out"] else f"exit status {failed['returncode']}"
    return f"This check fails ({ended}): {failed['command']}"


def check_output(failed: Mapping[str, object], width: int | None, *, ascii: bool = False) -> list[str]:
    """The last lines of what it printed, cleaned, indented and cut to `width` columns (None: no limit)."""
    printed = clean(str(failed["output"]), keep_newlines=True).expandtabs()
    lines = [line.rstrip() for line in printed.split("\n") if line.strip()][-CHECK_LINES:]
    lines = [to_ascii(line) for line in lines] if ascii else lines
    return [f"  {line if width is None else cut(line, max(20, width - 2), ascii=ascii)}" for line in lines]


def _facts(
    task: Mapping[str, object],
    sessions: Sequence[Mapping[str, object]],
    width: int | None,
    colour: bool,
    ascii: bool,
    now: float,
) -> str:
    name, state, reason = _text(task, "name"), _text(task, "state"), _text(task, "reason")
    done, total, tokens = _number(task, "done"), _number(task, "total"), _number(task, "tokens")
    seconds = sum(_number(session, "seconds") for session in sessions)
    base, updated = _text(task, "base"), _number(task, "updated")
    facts = (
        ("task", name),
        ("goal", _text(task, "goal")),
        ("state", f"{state}: {reason}" if reason else state),
        ("now", _text(task, "now")),
        ("next", next_for(task)),
        ("branch", _text(task, "branch") + (f", from {base}" if base else "")),
        ("worktree", _text(task, "worktree")),
        ("done", f"{bar(done, total, 20)} {done}/{total}" if total else ""),
        ("check", _text(task, "check")),
        ("conflicts", ", ".join(_texts(task, "conflicts"))),
        ("tokens", count(tokens) if tokens else ""),
        ("time", duration(seconds) if seconds else ""),
        ("thread", _text(task, "thread")),
        ("updated", ago(updated, now) if updated else ""),
    )
    out = []
    for label, text in facts:
        lines = wrap(_shown(text, ascii), None if width is None or label == "next" else max(20, width - 11))
        if colour:
            style = {"task": BOLD, "next": BOLD, "state": STATE_COLOURS.get(state, "")}.get(label, "")
            lines = [paint(line, style) for line in lines]
        if text:
            heading = paint(f"{label:9}", DIM) if colour else f"{label:9}"
            out.append(heading + _GAP + ("\n" + " " * 11).join(lines) + "\n")
    return "".join(out)


def _items(items: Sequence[Mapping[str, object]], width: int | None, colour: bool, ascii: bool) -> str:
    out: list[str] = []
    phase = ""
    for item in items:
        if (new := _text(item, "phase")) != phase:
            phase = new
            heading = _shown(phase, ascii)
            out.append(("\n" if out else "") + (paint(heading, BOLD) if colour else heading) + "\n")
        note = _text(item, "note")
        indent = "  " * (1 + min(_number(item, "depth"), 8))
        text = _shown(_text(item, "text") + (f" ({note})" if note else ""), ascii)
        lines = wrap(text, None if width is None else max(20, width - len(indent) - 4))
        box, style = ("[x]", DIM) if item.get("done") else ("[ ]", YELLOW if note else "")
        if colour:
            lines = [paint(line, style) for line in lines]
        out.append(f"{indent}{box} " + f"\n{indent}    ".join(lines) + "\n")
    return "".join(out)


def _sessions(sessions: Sequence[Mapping[str, object]], width: int | None, colour: bool, ascii: bool) -> str:
    return table(
        ("session", "role", "outcome", "check", "tokens", "time", "ticked"),
        [
            (
                str(_number(session, "number")),
                _text(session, "role"),
                _text(session, "outcome"),
                _text(session, "check"),
                count(_number(session, "tokens")),
                duration(_number(session, "seconds")),
                "; ".join(_texts(session, "ticked")),
            )
            for session in sessions
        ],
        width=width,
        ascii=ascii,
        colour=colour,
        flexible=(6,),
        droppable=(1, 4, 3, 5),
        right=(0, 4, 5),
        styles={2: RESULT_COLOURS, 3: RESULT_COLOURS},
    )


def _shown(text: str, ascii: bool) -> str:
    return to_ascii(one_line(text)) if ascii else one_line(text)


def _text(values: Mapping[str, object], key: str) -> str:
    value = values.get(key)
    return "" if value is None else str(value)


def _texts(values: Mapping[str, object], key: str) -> list[str]:
    value = values.get(key)
    return [str(text) for text in value] if isinstance(value, (list, tuple)) else []


def _number(values: Mapping[str, object], key: str) -> int:
    value = values.get(key)
    return int(value) if isinstance(value, (int, float)) else 0
