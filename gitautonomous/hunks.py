"""A diff as HTML: one fold for each file, added and removed lines as what they are. Pure.

Lines are coloured by their sign alone. A syntax colouring library works by regular expressions, and the content is an agent's: Pygments needs 3.3 seconds for 4,000 spaces in a C++ file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from .markup import Markup, escaped, joined, tag

LONGEST = 1000
"""Characters of a line that are shown."""

_NOISE = ("index ", "--- ", "+++ ", "similarity ", "dissimilarity ")


@dataclass
class File:
    """One file of a diff. `notes`: what git says of it besides the lines (new file mode, rename from …)."""

    path: str
    notes: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def read(lines: Iterable[str], room: int) -> tuple[list[File], int, bool]:
    """The files of a diff as `patch.lines` gives it, the characters that were taken, and whether it was cut: nothing beyond `room` characters is read."""
    files: list[File] = []
    taken, content = 0, False
    for raw in lines:
        line = raw.removesuffix("\n")
        if line.startswith("diff --git "):
            files.append(File(_path(line[11:])))
            content = False
        elif not files:
            continue  # the summary above
        elif line.startswith("@@") or content:
            content = True
            if len(line) > LONGEST:
                line = f"{line[:LONGEST]} [{len(line) - LONGEST:,} more characters]"
            files[-1].lines.append(line)
        elif line.startswith(("rename to ", "copy to ")):
            files[-1].path = line.partition(" to ")[2]
        elif not line.startswith(_NOISE):
            files[-1].notes.append(line)
        taken += len(line) + 1
        if taken > room:
            return files, taken, True
    return files, taken, False


def _path(names: str) -> str:
    """The file's name from `a/NAME b/NAME`, which is all that there is where no line says more."""
    half = len(names) // 2
    first, second = names[:half], names[half + 1 :]
    quoted = '"' if first.startswith('"') else ""
    if first[len(quoted) + 2 :] == second[len(quoted) + 2 :]:
        return quoted + second[len(quoted) + 2 :]
    return names


def render(files: Iterable[File], hazards: Collection[str]) -> Markup:
    """The folds, open. `hazards`: paths that run or are obeyed on the user's machine, which are marked."""
    return joined(_file(file, file.path in hazards) for file in files)


def _file(file: File, hazard: bool) -> Markup:
    added = sum(line.startswith("+") for line in file.lines)
    removed = sum(line.startswith("-") for line in file.lines)
    counts = tag("span", f"+{added} −{removed}", class_="muted") if file.lines else ""
    mark = tag("span", "runs here", class_="tag warn") if hazard else ""
    parts = [tag("summary", tag("code", file.path), " ", counts, " ", mark)]
    if file.notes:
        parts.append(tag("p", "; ".join(file.notes), class_="muted note"))
    if file.lines:
        body = tag("code", joined(_line(line) for line in file.lines))
        label = f"Diff of {file.path}"
        parts.append(tag("pre", body, class_="diff", tabindex="0", role="region", aria_label=label))
    return tag("details", *parts, class_="file", open="")


def _line(line: str) -> Markup:
    text = escaped(line)
    if line.startswith("+"):
        return Markup(f"<ins>{text}\n</ins>")
    if line.startswith("-"):
        return Markup(f"<del>{text}\n</del>")
    if line.startswith("@@"):
        return Markup(f'<span class="hunk">{text}\n</span>')
    return Markup(f"{text}\n")
