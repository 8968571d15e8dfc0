"""A diff as HTML: one fold for each file, added and removed lines as what they are. Pure.

Strings, comments, numbers and common words of programming languages are coloured alike in every language. A library that knows each language works by regular expressions, and
the content is an agent's: Pygments needs 3.3 seconds for 4,000 spaces in a C++ file.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from .markup import Markup, escaped, joined, tag

LONGEST = 1000
"""Characters of a line that are shown."""

_WORDS = frozenset(
    """abstract and as assert async await begin bool boolean break case catch char class const continue def default defer del delete do done double elif else elsif end enum
    esac except export extends extern false False fi final finally float fn for foreach from func function global goto if impl implements import in include instanceof int
    interface is lambda let long loop match mod module mut namespace new nil None nonlocal not null operator or override package pass private protected pub public raise
    readonly return self short signed sizeof static struct super switch template then this throw throws trait true True try type typedef typeof union unless unsafe unsigned
    until use using val var virtual void volatile when where while with yield""".split()
)

_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)"""
    r"""|(?P<comment>(?:(?<![^\s])(?:\#|//|--\ )|/\*|<!--).*)|(?P<number>\b[0-9][\w.]*)|(?P<word>[^\W\d]\w*)"""
)
"""Tokens that most languages share; what is none stays as it is. On a line of LONGEST characters it takes milliseconds at the worst."""

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
    if line.startswith("@@"):
        return Markup(f'<span class="hunk">{escaped(line)}\n</span>')
    text = escaped(line[:1]) + _coloured(line[1:])
    if line.startswith("+"):
        return Markup(f"<ins>{text}\n</ins>")
    if line.startswith("-"):
        return Markup(f"<del>{text}\n</del>")
    return Markup(f"{text}\n")


def _coloured(code: str) -> Markup:
    """A line of code; `i` elements tell strings (s), comments (c), numbers (n) and words of the language (w)."""
    parts: list[str] = []
    end = 0
    for found in _TOKEN.finditer(code):
        kind = str(found.lastgroup)
        if kind != "word" or found[0] in _WORDS:
            parts += [escaped(code[end : found.start()]), f'<i class="{kind[0]}">{escaped(found[0])}</i>']
            end = found.end()
    return Markup("".join(parts) + escaped(code[end:]))
