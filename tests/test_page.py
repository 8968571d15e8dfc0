"""Pages for a browser: they ask for nothing, hostile text stays text, and what cannot be written is refused. In a real browser: tests/in_browser.py."""

from __future__ import annotations

import os
import re
from html.parser import HTMLParser
from itertools import pairwise, product
from pathlib import Path

import pytest
from fabricated import Fabricated
from program import autonomous

from gitautonomous import hunks, markup, resources

HOSTILE = "<script>alert(1)</script>\u202e\x1b[31m\"'&"
VOID = {"meta", "link", "path"}


class Page(HTMLParser):
    """What a browser would make of a page: elements with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def task(repo: Path) -> Fabricated:
    made = Fabricated(repo, check="passed")
    made.plan("write a", f"write {HOSTILE}", proposed=[f"try {HOSTILE}"])
    made.session("write a", files={"a": f"{HOSTILE}\n", ".vscode/tasks.json": "{}\n"}, say=f"Done {HOSTILE}")
    made.session(
        files={"a": "changed\n", "<img src=x>": "x\n"}, restored=(HOSTILE,), excluded=("dist",), check="failed"
    )
    made.by_hand(f"Mine {HOSTILE}", {"b": "b\n"})
    return made


def pages(repo: Path) -> list[Page]:
    found = [autonomous(repo, "review", "todo", "--html", "-"), autonomous(repo, "list", "--html", "-")]
    assert [ended.status for ended in found] == [0, 0], [ended.err for ended in found]
    return [Page(ended.out) for ended in found]


def test_pages_ask_for_nothing_and_run_nothing(task: Fabricated) -> None:
    for page in pages(task.repo):
        names = {name for name, _ in page.elements}
        assert page.open == []
        assert not names & {"script", "img", "iframe", "object", "embed", "form", "base"}
        for _, attributes in page.elements:
            assert not {"src", "srcset", "action"} & attributes.keys()
            assert not [key for key in attributes if key.startswith("on")]
            assert (attributes.get("href") or "#").startswith(("#", "data:,", "./"))
        policy = next(each["content"] for name, each in page.elements if name == "meta" and "http-equiv" in each)
        assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
        assert "url(" not in page.text and "@import" not in page.text


def test_hostile_text_is_shown_as_text(task: Fabricated) -> None:
    text = pages(task.repo)[0].text
    assert "<script>alert(1)</script>" in text and "<img src=x>" in text
    assert "<U+202E>" in text and "^[[31m" in text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
    assert markup.tag("p", "a\ud800\u2028", title='"><b>') == (
        '<p title="&quot;&gt;&lt;b&gt;">a&lt;U+D800&gt;&lt;U+2028&gt;</p>'
    )


def test_pages_can_be_read_without_eyes_and_without_a_mouse(task: Fabricated) -> None:
    for page in pages(task.repo):
        headings = [int(name[1]) for name, _ in page.elements if re.fullmatch("h[1-6]", name)]
        assert headings[0] == 1 and headings.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(headings))
        named = {name: attributes for name, attributes in page.elements}
        assert named["html"]["lang"] == "en" and named["main"]["id"] == "main"
        assert all("scope" in attributes for name, attributes in page.elements if name == "th")
        ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        links = [str(attributes["href"]) for name, attributes in page.elements if name == "a"]
        assert links[0] == "#main" and {link[1:] for link in links if link.startswith("#")} <= set(ids)


def test_the_page_says_what_the_review_knows(task: Fabricated) -> None:
    text = pages(task.repo)[0].text
    for part in (
        "Merging into main is clean", "runs or is obeyed when an editor opens the folder", "Put back", "Left out of commits",
        "git autonomous review todo --accept N", "Red: 1 session whose check failed", "By hand: Mine", "✓ write a", "runs here",
    ):  # fmt: skip
        assert part in text


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_text_colour_stands_out_from_every_background_in_light_and_dark() -> None:
    schemes = re.findall(r":root \{([^}]*--page[^}]*)\}", resources.template("page.css"))
    assert len(schemes) == 2
    for scheme in schemes:
        colours = {name: luminance(value) for name, value in re.findall(r"--(\w+): (#[0-9a-f]{6})", scheme)}
        backgrounds = ("page", "raised", "added", "removed")
        texts = ("text", "muted", "link", "good", "bad", "warn", "string", "number", "word")
        for ground, text in product(backgrounds, texts):
            dark, light = sorted((colours[ground], colours[text]))
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ground, text)


def test_code_is_coloured_by_what_most_languages_share() -> None:
    diff = [
        "diff --git a/a.py b/a.py\n",
        "@@ -1 +1 @@\n",
        "-# old <b>\n",
        '+return "a\\"b" + f(2)  # why\n',
        " plain text's own\n",
    ]
    text = hunks.render(hunks.read(diff, 1000)[0], ())
    assert '<del>-<i class="c"># old &lt;b&gt;</i>\n</del>' in text
    assert (
        '<ins>+<i class="w">return</i> <i class="s">&quot;a\\&quot;b&quot;</i> + f(<i class="n">2</i>)  <i class="c"># why</i>\n</ins>'
        in text
    )
    assert " plain text&#x27;s own\n" in text


def test_a_diff_is_cut_where_the_room_ends_and_long_lines_are_cut() -> None:
    lines = ["diff --git a/x y b/x y\n", "index 1..2\n", "--- a/x y\n", "+++ b/x y\n", "@@ -1 +1 @@\n", "--- old\n"]
    files, _, cut = hunks.read([*lines, "+" + "n" * 2000 + "\n"], 10_000)
    assert (files[0].path, files[0].lines[:2], cut) == ("x y", ["@@ -1 +1 @@", "--- old"], False)
    assert files[0].lines[2].endswith("nnn [1,001 more characters]")
    read: list[int] = []
    endless = (read.append(1) or "+line\n" for _ in range(10_000))  # type: ignore[func-returns-value]
    assert hunks.read([*lines, *endless], 60)[2]
    renamed = ("diff --git a/old b/new\n", "rename from old\n", "rename to new\n")
    assert [(file.path, file.notes) for file in hunks.read(renamed, 100)[0]] == [("new", ["rename from old"])]


def test_a_large_diff_is_cut_and_the_page_names_the_command_for_the_whole(task: Fabricated) -> None:
    task.session(files={"large": "a line of text\n" * 30_000})
    ended = autonomous(task.repo, "review", "todo", "--html", "-")
    parent = task.place.repository.run("rev-parse", f"{task.tip}~").strip()
    assert f"git diff {parent[:12]} {task.tip[:12]}" in Page(ended.out).text
    assert len(ended.out) < 500_000


def test_a_page_is_written_whole_with_the_usual_rights_and_linked_from_the_list(task: Fabricated) -> None:
    before = os.umask(0o022)
    try:
        ended = autonomous(task.repo, "review", "todo", "--html", "todo.html")
    finally:
        os.umask(before)
    assert (ended.status, ended.out, ended.err) == (0, f"{task.repo}/todo.html written\n", "")
    assert (task.repo / "todo.html").stat().st_mode & 0o777 == 0o644
    assert autonomous(task.repo, "list", "--html", "tasks.html").status == 0
    assert 'href="./todo.html"' in (task.repo / "tasks.html").read_text()
    assert sorted(path.name for path in task.repo.iterdir()) == [".git", "README.md", "tasks.html", "todo.html"]


def test_what_cannot_be_written_is_refused_with_a_way_out(task: Fabricated, tmp_path: Path) -> None:
    worktree = task.worktree().path
    (worktree / "out").symlink_to(tmp_path)
    (tmp_path / "link.html").symlink_to(tmp_path / "target")
    for target, said in (
        (str(tmp_path), "is a folder, not a file"),
        (str(tmp_path / "none" / "x.html"), "there is no folder"),
        (str(tmp_path / "link.html"), "is there and not a file"),
        ("/dev/null", "is there and not a file"),
        (str(worktree / "x.html"), "is in a task's worktree"),
        (str(worktree / "out" / "x.html"), "is in a task's worktree"),
    ):
        ended = autonomous(task.repo, "list", "--html", target)
        assert (ended.status, ended.out) == (1, "")
        assert said in ended.err.splitlines()[0] and ended.err.splitlines()[1].startswith("hint: ")
    assert not (tmp_path / "target").exists() and not (tmp_path / "x.html").exists()


def test_a_page_goes_with_no_decision_and_no_other_form(task: Fabricated) -> None:
    for more in (
        ["review", "todo", "2"],
        ["review", "todo", "--json"],
        ["review", "todo", "--drop", "2"],
        ["list", "--watch"],
    ):
        assert autonomous(task.repo, *more, "--html", "x.html").status == 2
    assert not (task.repo / "x.html").exists()
