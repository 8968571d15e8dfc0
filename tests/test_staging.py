"""A session's commit holds exactly what `git add --all` would have made of the worktree, in every kind of repository and with every kind of file.

Each case is done twice: in a task's worktree, which is staged as a session is, and in a twin, where plain git does it. The two trees must be the same.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import git
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitautonomous.git import Repository, Worktree

# A filter as git-lfs is one: a pointer in the commit, the content elsewhere.
LFS = """\
import hashlib, os, sys
store = os.environ["STORE"]
os.makedirs(store, exist_ok=True)
def clean(data):
    name = hashlib.sha256(data).hexdigest()
    with open(os.path.join(store, name), "wb") as file:
        file.write(data)
    return b"pointer " + name.encode() + b"\\n"
def smudge(data):
    if not data.startswith(b"pointer "):
        return data
    with open(os.path.join(store, data[8:].strip().decode()), "rb") as file:
        return file.read()
work = {"clean": clean, "smudge": smudge}
"""
ONE_BY_ONE = LFS + "sys.stdout.buffer.write(work[sys.argv[1]](sys.stdin.buffer.read()))\n"
PROCESS = (
    LFS
    + """
read, write = sys.stdin.buffer, sys.stdout.buffer
def packet():
    size = int(read.read(4) or b"0", 16)
    return read.read(size - 4) if size else None
def packets():
    return list(iter(packet, None))
def send(*lines):
    for line in lines:
        write.write(b"%04x" % (len(line) + 4) + line)
    write.write(b"0000")
    write.flush()
packets()
send(b"git-filter-server\\n", b"version=2\\n")
packets()
send(b"capability=clean\\n", b"capability=smudge\\n")
while True:
    head = packets()
    if not head:
        break
    command = dict(line.strip().split(b"=", 1) for line in head)[b"command"].decode()
    data = work[command](b"".join(packets()))
    send(b"status=success\\n")
    send(*[data[at : at + 65000] for at in range(0, len(data), 65000)])
    send()
"""
)


@dataclass(frozen=True)
class Twins:
    """A repository, and later two worktrees of it: the task's, and a plain one."""

    area: Path
    repository: Path

    def commit(self, *paths: str) -> None:
        git(self.repository, "add", "--all", *paths)
        git(self.repository, "commit", "--quiet", "--allow-empty", "-m", "Base")

    def configure(self, **values: str) -> None:
        for key, value in values.items():
            git(self.repository, "config", key.replace("_", "."), value)

    def worktrees(self) -> tuple[Worktree, Path]:
        git(self.repository, "branch", "autonomous/x")
        git(self.repository, "worktree", "add", "--quiet", str(self.area / "twin"), "-b", "twin")
        return Repository.discover(self.repository).add_worktree(self.area / "task", "autonomous/x"), self.area / "twin"


@pytest.fixture
def twins(tmp_path: Path) -> Twins:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    return Twins(tmp_path, folder)


def trees(task: Worktree, twin: Path, work: Callable[[Path], object]) -> tuple[list[str], list[str]]:
    """What `work` becomes when it is staged as a session is, and by plain git. Both worktrees are as they were staged then."""
    for folder in (task.path, twin):
        work(folder)
    ours, excluded = task.stage({})
    assert excluded == {}
    git(twin, "add", "--all")
    assert task.as_tree(ours)
    return listed(task.repository.common_dir, ours), listed(twin, git(twin, "write-tree"))


def listed(repository: Path, tree: str) -> list[str]:
    """Every entry of a tree: mode, object and path. The objects are there, or git would not say their size."""
    command = ["git", "-C", str(repository), "ls-tree", "-r", "-t", "-z", "--long", tree]
    output = subprocess.run(command, check=True, capture_output=True).stdout
    return [os.fsdecode(line) for line in output.split(b"\0") if line]


def write(folder: Path, **files: bytes | None) -> None:
    for name, content in files.items():
        path = folder / name
        if content is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def put(folder: Path, path: str | bytes, content: bytes = b"content\n") -> None:
    place = os.path.join(os.fsencode(folder), os.fsencode(path))
    os.makedirs(os.path.dirname(place), exist_ok=True)
    with open(place, "wb") as file:
        file.write(content)


# -- content that git converts -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["clean", "process"])
def test_filtered_content_is_committed_as_the_filter_makes_it(
    twins: Twins, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    store, program = twins.area / "store", twins.area / "lfs.py"
    monkeypatch.setenv("STORE", str(store))
    program.write_text(PROCESS if kind == "process" else ONE_BY_ONE)
    command = f"'{sys.executable}' '{program}'"
    if kind == "process":
        twins.configure(filter_own_process=command)
    else:
        twins.configure(filter_own_clean=f"{command} clean", filter_own_smudge=f"{command} smudge")
    twins.configure(filter_own_required="true")
    put(twins.repository, ".gitattributes", b"*.big filter=own\n")
    put(twins.repository, "old.big", b"old\n" * 50_000)
    twins.commit()

    def work(folder: Path) -> None:
        assert (folder / "old.big").read_bytes() == b"old\n" * 50_000
        put(folder, "old.big", b"changed\n")
        put(folder, "new.big", bytes(range(256)) * 1000)
        put(folder, "plain.txt")

    ours, theirs = trees(*twins.worktrees(), work)
    assert ours == theirs
    content = git(twins.repository, "cat-file", "blob", ours[1].split()[2])
    assert (ours[1].split()[4], content[:8]) == ("new.big", "pointer ")


@pytest.mark.skipif(shutil.which("git-lfs") is None, reason="no git-lfs: apt-get install git-lfs")
def test_git_lfs_itself_gets_what_it_manages(twins: Twins) -> None:
    program = shutil.which("git-lfs")
    twins.configure(
        filter_lfs_clean=f"{program} clean -- %f",
        filter_lfs_smudge=f"{program} smudge -- %f",
        filter_lfs_process=f"{program} filter-process",
        filter_lfs_required="true",
    )
    put(twins.repository, ".gitattributes", b"*.bin filter=lfs diff=lfs merge=lfs -text\n")
    put(twins.repository, "old.bin", b"old" * 1000)
    twins.commit()

    def work(folder: Path) -> None:
        put(folder, "old.bin", b"changed" * 1000)
        put(folder, "new.bin", b"new" * 1000)

    ours, theirs = trees(*twins.worktrees(), work)
    assert ours == theirs
    pointer = git(twins.repository, "cat-file", "blob", ours[1].split()[2])
    assert pointer.splitlines()[0] == "version https://git-lfs.github.com/spec/v1"
    assert sum(path.is_file() for path in (twins.repository / ".git/lfs/objects").rglob("*")) == 3


def test_encodings_and_line_ends_are_converted(twins: Twins) -> None:
    put(
        twins.repository,
        ".gitattributes",
        b"*.u16 working-tree-encoding=UTF-16LE-BOM eol=crlf\n*.win eol=crlf\n*.sh eol=lf\n*.auto text=auto\n*.id ident\n*.raw -text\n",
    )
    put(twins.repository, "a.u16", "\ufeffGr\u00fc\u00dfe\r\n".encode("utf-16-le"))
    put(twins.repository, "a.id", b"$Id$\n")
    twins.commit()

    def work(folder: Path) -> None:
        put(folder, "a.u16", "\ufeffneu\r\n".encode("utf-16-le"))
        put(folder, "b.u16", "\ufeffzwei\r\n".encode("utf-16-le"))
        for name in ("a.win", "a.sh", "a.auto", "a.raw"):
            put(folder, name, b"one\r\ntwo\r\n")
        put(folder, "a.id", b"$Id: 0123456789012345678901234567890123456789 $\nmore\n")

    ours, theirs = trees(*twins.worktrees(), work)
    assert ours == theirs
    blobs = {line.split("\t")[1]: git(twins.repository, "cat-file", "blob", line.split()[2]) for line in ours}
    assert (blobs["b.u16"], blobs["a.win"], blobs["a.id"]) == ("zwei", "one\ntwo", "$Id$\nmore")


@pytest.mark.parametrize("value", ["input", "true", "false"])
def test_the_users_line_ends_count(twins: Twins, value: str) -> None:
    put(twins.repository, "mixed", b"one\r\ntwo\n")
    twins.commit()
    twins.configure(core_autocrlf=value)

    def work(folder: Path) -> None:
        put(folder, "new", b"one\r\ntwo\r\n")
        put(folder, "binary", b"\0one\r\n")
        put(folder, "mixed", b"one\r\ntwo\nthree\r\n")

    ours, theirs = trees(*twins.worktrees(), work)
    assert ours == theirs


def test_attributes_that_a_session_changes_hold_for_its_own_files(twins: Twins) -> None:
    put(twins.repository, "a.txt", b"one\r\n")
    twins.commit()

    def work(folder: Path) -> None:
        put(folder, ".gitattributes", b"*.txt text\n")
        put(folder, "sub/.gitattributes", b"*.txt -text\n")
        put(folder, "b.txt", b"two\r\n")
        put(folder, "sub/c.txt", b"three\r\n")

    ours, theirs = trees(*twins.worktrees(), work)
    assert ours == theirs


# -- names, modes and kinds ----------------------------------------------------------------------------------------------------------------------


def test_names_of_every_kind_are_committed(twins: Twins) -> None:
    names: list[str | bytes] = [
        "new\nline", "tab\t", 'quo"te', "back\\slash", "-dash", "--all", ":(glob)**", ":!a", "*", "[a]", "a b ", " ", "\u00e9", "e\u0301",
        b"latin-\xe9", b"\xff\xfe", "\x01\x1b[31m", "n" * 254, "/".join(["d" * 200] * 8) + "/deep", ".gitignore2", "...", "con", "a\u202eb",
    ]  # fmt: skip
    twins.commit()

    def work(folder: Path) -> None:
        for name in names:
            put(folder, b"x" + os.fsencode(name))
            put(folder, b"sub/" + os.fsencode(name))

    ours, theirs = trees(*twins.worktrees(), work)
    assert ours == theirs
    assert sum(" blob " in line for line in ours) == 2 * len(names)


def test_modes_links_and_changes_of_kind_are_committed(twins: Twins) -> None:
    for name in ("file", "folder/a", "folder/b", "link-to-be", "script", "gone", "Case"):
        put(twins.repository, name)
    (twins.repository / "link").symlink_to("file")
    twins.commit()

    def work(folder: Path) -> None:
        (folder / "script").chmod(0o755)
        (folder / "gone").unlink()
        (folder / "file").unlink()
        put(folder, "file/inside")
        shutil.rmtree(folder / "folder")
        put(folder, "folder", b"a file now\n")
        (folder / "link").unlink()
        put(folder, "link", b"a file now\n")
        (folder / "link-to-be").unlink()
        (folder / "link-to-be").symlink_to("/nowhere/at/all")
        (folder / "to-a-folder").symlink_to("file")
        (folder / "Case").rename(folder / "case")
        (folder / "empty/inner").mkdir(parents=True)
        put(folder, "odd", b"")
        (folder / "odd").chmod(0o6711)
        os.mkfifo(folder / "fifo")

    ours, theirs = trees(*twins.worktrees(), work)
    assert ours == theirs
    assert [line.split("\t")[1] for line in ours] == [
        "case", "file", "file/inside", "folder", "link", "link-to-be", "odd", "script", "to-a-folder",
    ]  # fmt: skip


def test_modes_and_links_that_git_was_told_to_ignore_stay_as_they_are(twins: Twins) -> None:
    put(twins.repository, "script")
    (twins.repository / "link").symlink_to("target")
    twins.commit()
    twins.configure(core_fileMode="false", core_symlinks="false")

    def work(folder: Path) -> None:
        (folder / "script").chmod(0o755)
        put(folder, "link", b"another")

    ours, theirs = trees(*twins.worktrees(), work)
    assert ours == theirs


def test_ignored_files_stay_out_and_forced_ones_stay_in(twins: Twins) -> None:
    put(twins.repository, ".gitignore", b"*.log\n!kept.log\n")
    put(twins.repository, "forced.log")
    twins.commit("--force")

    def work(folder: Path) -> None:
        put(folder, "a.log")
        put(folder, "kept.log")
        put(folder, "forced.log", b"changed\n")
        put(folder, "sub/.gitignore", b"*\n")
        put(folder, "sub/b")

    ours, theirs = trees(*twins.worktrees(), work)
    assert ours == theirs


# -- repositories of other shapes ----------------------------------------------------------------------------------------------------------------


def test_a_sparse_checkout_loses_nothing_and_takes_what_was_written_beyond_its_cone(twins: Twins) -> None:
    for name in ("in/a", "out/b", "out/c", "top"):
        put(twins.repository, name)
    twins.commit()
    task, twin = twins.worktrees()
    for folder in (task.path, twin):
        git(folder, "sparse-checkout", "set", "in")
        assert not (folder / "out").exists()

    def work(folder: Path) -> None:
        put(folder, "in/new")
        put(folder, "out/new")
        put(folder, "out/b", b"changed beyond the cone\n")

    for folder in (task.path, twin):
        work(folder)
    ours, _ = task.stage({})
    git(twin, "add", "--all", "--sparse")
    assert listed(twin, ours) == listed(twin, git(twin, "write-tree"))
    assert [line.split("\t")[1] for line in listed(twin, ours)] == [
        "in", "in/a", "in/new", "out", "out/b", "out/c", "out/new", "top",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "setting", ["index.sparse", "core.splitIndex", "core.untrackedCache", "feature.manyFiles", "index.skipHash"]
)
def test_indexes_of_other_forms_are_no_obstacle(twins: Twins, setting: str) -> None:
    for number in range(20):
        put(twins.repository, f"d{number % 3}/{number}")
    twins.commit()
    git(twins.repository, "config", setting, "true")

    def work(folder: Path) -> None:
        put(folder, "d0/new")
        (folder / "d1/1").unlink()

    ours, theirs = trees(*twins.worktrees(), work)
    assert ours == theirs


@pytest.fixture
def module(twins: Twins, monkeypatch: pytest.MonkeyPatch) -> Iterator[Twins]:
    """Twins whose repository has a submodule at `sub`."""
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "file")
    origin = twins.area / "origin"
    origin.mkdir()
    git(origin, "init", "--quiet")
    put(origin, "inner")
    git(origin, "add", "--all")
    git(origin, "commit", "--quiet", "-m", "Inner")
    git(twins.repository, "submodule", "--quiet", "add", str(origin), "sub")
    twins.commit()
    yield twins


def populate(folder: Path) -> None:
    git(folder, "submodule", "--quiet", "update", "--init")


def test_a_submodule_that_git_populated_is_recorded_where_it_stands(module: Twins) -> None:
    def work(folder: Path) -> None:
        populate(folder)
        put(folder, "sub/more")
        git(folder / "sub", "add", "--all")
        environment = {"GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z"}
        command = ["git", "-C", str(folder / "sub"), "commit", "--quiet", "-m", "More"]
        subprocess.run(command, check=True, env={**os.environ, **environment})
        put(folder, "sub/uncommitted")

    ours, theirs = trees(*module.worktrees(), work)
    assert ours == theirs
    assert "160000 commit" in ours[-1] and ours[-1] not in listed(module.repository, "HEAD")


@pytest.mark.parametrize(
    "change", ["nothing", "populated", "removed", "emptied", "a file", "a link", "unpopulated files"]
)
def test_a_submodule_that_changes_its_kind_is_committed_as_git_would(module: Twins, change: str) -> None:
    def work(folder: Path) -> None:
        put(folder, "beside")
        if change == "populated":
            populate(folder)
        elif change == "removed":
            shutil.rmtree(folder / "sub")
            put(folder, ".gitmodules", b"")
        elif change == "emptied":
            populate(folder)
            shutil.rmtree(folder / "sub")
            (folder / "sub").mkdir()
        elif change in ("a file", "a link"):
            (folder / "sub").rmdir()
            (folder / "sub").symlink_to("beside") if change == "a link" else put(folder, "sub")
        elif change == "unpopulated files":
            put(folder, "sub/file")

    ours, theirs = trees(*module.worktrees(), work)
    assert ours == theirs


# -- many files ----------------------------------------------------------------------------------------------------------------------------------


def test_hundreds_of_new_files_reach_the_disk_as_one_pack(twins: Twins) -> None:
    put(twins.repository, ".gitattributes", b"*.txt text\n")
    for number in range(0, 300, 2):
        put(twins.repository, f"d{number % 7}/{number}", b"old\n")
    twins.commit()
    packs = twins.repository / ".git/objects/pack"
    task, twin = twins.worktrees()

    def work(folder: Path) -> None:
        for number in range(300):
            put(folder, f"d{number % 7}/{number}", b"%d\0\r\n" % number)
        put(folder, "d0/a.txt", b"one\r\n")

    work(task.path)
    ours, _ = task.stage({".autonomous/x/task.toml": b"goal\r\n"})
    assert (len(list(packs.glob("*.pack"))), list(packs.glob("tmp_*"))) == (1, [])
    work(twin)
    put(twin, ".autonomous/x/task.toml", b"goal\r\n")
    git(twin, "add", "--all")
    assert listed(twins.repository, ours) == listed(twin, git(twin, "write-tree"))


def test_what_a_person_left_unmerged_is_committed_as_it_stands(twins: Twins) -> None:
    for name in ("both", "gone", "other"):
        put(twins.repository, name)
    twins.commit()
    task, _ = twins.worktrees()
    blob = git(task.path, "rev-parse", "HEAD:both")
    entries = "".join(f"100644 {blob} {stage}\t{name}\n" for name in ("both", "gone") for stage in (1, 2, 3))
    for line in ("0 " + "0" * 40 + "\tboth\n0 " + "0" * 40 + "\tgone\n", entries):
        task.run("update-index", "--index-info", input=line.encode())
    assert git(task.path, "ls-files", "--unmerged") != ""
    (task.path / "gone").unlink()
    tree, _ = task.stage({})
    assert [line.split("\t")[1] for line in listed(task.path, tree)] == ["both", "other"]
    assert task.as_tree(tree)


# -- at random -----------------------------------------------------------------------------------------------------------------------------------

PATHS = st.sampled_from(
    ["a", "b", "d", "d/a", "d/b", "d/e/a", "e", "e/a.txt", "a.txt", "b.bin", "\u00e4", ".gitignore", "d/.gitattributes"]
)
CONTENTS = st.sampled_from(
    [b"", b"a\n", b"a\r\nb\r\n", b"\0\r\n", b"*.bin\n", b"*.txt text eol=crlf\n", b"*\n!a\n", b"x" * 5000]
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), PATHS, CONTENTS),
        st.tuples(st.sampled_from(["delete", "run", "link", "folder"]), PATHS, st.just(b"")),
    ),
    max_size=12,
)


def play(folder: Path, steps: list[tuple[str, str, bytes]]) -> None:
    """Do each step as far as it goes: one kind of file may stand in another's way."""
    for kind, name, content in steps:
        path = folder / name
        try:
            if kind == "write":
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            elif kind == "run":
                path.chmod(0o755)
            elif kind == "folder":
                path.mkdir(parents=True)
            elif kind == "link":
                path.symlink_to("a")
            else:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        except OSError:
            continue


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(base=STEPS, first=STEPS, second=STEPS)
def test_any_changes_come_out_as_git_add_makes_them(
    tmp_path_factory: pytest.TempPathFactory,
    base: list[tuple[str, str, bytes]],
    first: list[tuple[str, str, bytes]],
    second: list[tuple[str, str, bytes]],
) -> None:
    area = tmp_path_factory.mktemp("twins")
    twins = Twins(area, area / "repository")
    twins.repository.mkdir()
    git(twins.repository, "init", "--quiet")
    play(twins.repository, base)
    twins.commit()
    task, twin = twins.worktrees()
    for steps in (first, second):
        ours, theirs = trees(task, twin, lambda folder, steps=steps: play(folder, steps))  # type: ignore[misc]
        assert ours == theirs
    shutil.rmtree(area)
