"""Each thing that a task needs is found good, or named with the command that mends it. Git, Codex and its sandbox are real."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import git

from gitautonomous import codex, doctor, scripted
from gitautonomous.config import Settings
from gitautonomous.doctor import Finding
from gitautonomous.errors import AutonomousError
from gitautonomous.git import Repository
from gitautonomous.objects import Objects

GIT = shutil.which("git") or ""
OWN_PROVIDER = 'model_provider = "own"\n[model_providers.own]\nname = "own"\nbase_url = "http://127.0.0.1:9/v1"\n'


def engine() -> codex.Codex:
    return codex.find(None)


def codex_line() -> Finding:
    found = engine()
    return Finding("codex", True, f"Codex {'.'.join(map(str, found.version))} at {found.path}")


def git_line() -> Finding:
    version = subprocess.run([GIT, "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    return Finding("git", True, f"git {version} at {GIT}")


def named(findings: list[Finding], *names: str) -> list[Finding]:
    return [finding for finding in findings if finding.name in names]


def here() -> list[Finding]:
    return doctor.examine_here(os.environ)


def stops(repository: Path, settings: Settings | None = None) -> tuple[str, str | None]:
    """Message and hint of what keeps a task from running in `repository`."""
    with pytest.raises(AutonomousError) as error:
        doctor.preflight(Repository.discover(repository), settings or Settings(), say=lambda text: None)
    return error.value.message, error.value.hint


def starts(repository: Path, settings: Settings | None = None) -> list[str]:
    """What is said before a task runs in `repository`."""
    said: list[str] = []
    assert doctor.preflight(Repository.discover(repository), settings or Settings(), say=said.append) == engine()
    return said


@pytest.fixture
def home_of_codex(area: Path, model: scripted.Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CODEX_HOME in which nobody is signed in. What it says about OpenAI keeps Codex from looking for it outside."""
    path = area / "codex-home"
    path.mkdir()
    base = f"http://127.0.0.1:{model.port}/v1"
    (path / "config.toml").write_text(f'openai_base_url = "{base}"\nchatgpt_base_url = "{base}"\n')
    monkeypatch.setenv("CODEX_HOME", str(path))
    return path


# -- all is well -----------------------------------------------------------------------------------------------------


def test_where_everything_is_right_everything_is_said_to_be_right(
    agent_repo: Path, codex_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(agent_repo)
    findings = here()
    assert findings[-1].name == "disk" and findings[-1].ok is True
    assert findings[:-1] == [
        git_line(),
        codex_line(),
        Finding("sign-in", True, "Codex: OpenAI auth is not required for the active model provider"),
        Finding("sandbox", True, "the sandbox works"),
        Finding("identity", True, "commits are made by Ada Tester <ada@example.org>"),
        Finding("repository", True, f"repository {agent_repo}/.git"),
    ]
    assert starts(agent_repo) == []


def test_outside_of_a_repository_the_rest_is_examined(
    tmp_path: Path, codex_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert here() == [
        git_line(),
        codex_line(),
        Finding("sign-in", True, "Codex: OpenAI auth is not required for the active model provider"),
        Finding("sandbox", True, "the sandbox works"),
        Finding(
            "repository",
            False,
            "not a git repository (or any of the parent directories)",
            "git init && git commit --allow-empty -m 'First commit'",
        ),
    ]


def test_a_report_is_one_line_a_finding_and_the_hint_below_it() -> None:
    findings = [
        Finding("git", True, "git 2.39.5 at /usr/bin/git"),
        Finding("head", None, "HEAD is detached", "git switch main"),
        Finding("codex", False, "Codex is \x1b[31mnot\n signed in", "codex login"),
    ]
    assert doctor.report(findings, colour=False, ascii=False) == (
        "✓ git 2.39.5 at /usr/bin/git\n"
        "! HEAD is detached\n"
        "  hint: git switch main\n"
        "✗ Codex is not signed in\n"
        "  hint: codex login\n"
        "\n"
        "1 to mend before a task can run.\n"
    )
    assert doctor.report(findings[:1], colour=False, ascii=True) == (
        "+ git 2.39.5 at /usr/bin/git\n\nA task can run here.\n"
    )
    assert doctor.report(findings[:1], colour=True, ascii=False) == (
        "\x1b[32m✓\x1b[m git 2.39.5 at /usr/bin/git\n\nA task can run here.\n"
    )
    assert [finding.to_json() for finding in findings[1:2]] == [
        {"name": "head", "ok": None, "message": "HEAD is detached", "hint": "git switch main"}
    ]


# -- git -------------------------------------------------------------------------------------------------------------


def test_no_git_is_the_first_thing_to_mend(codex_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert here()[0] == Finding("git", False, "git is not on PATH", "apt install git")


def test_an_old_git_is_refused(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bin" / "git"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exec echo git version 2.30.1\nexec {GIT} "$@"\n')
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
    assert stops(repo) == (f"git 2.30.1 at {path} is older than 2.39", "apt install git")


def test_a_git_inside_the_worktree_is_refused(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = repo / "bin" / "git"
    path.parent.mkdir()
    path.symlink_to(GIT)
    shutil.copy(GIT, repo / "bin" / "real")
    path.unlink()
    (repo / "bin" / "real").rename(path)
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
    assert stops(repo) == (f"the first git on PATH is inside this worktree: {path}", "which -a git")


# -- Codex and its sign-in -------------------------------------------------------------------------------------------


def test_without_codex_the_command_that_installs_it_is_named(repo: Path, home_of_codex: Path) -> None:
    settings = Settings(codex=str(repo / "none"))
    with pytest.raises(AutonomousError) as error:
        codex.find(settings.codex)
    assert stops(repo, settings) == (error.value.message, error.value.hint)


def test_nobody_signed_in_stops_a_task(repo: Path, home_of_codex: Path) -> None:
    assert stops(repo) == ("Codex is not signed in", f"{engine().path} login")


def test_a_stored_key_will_do(agent_repo: Path, home_of_codex: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [str(engine().path), "login", "--with-api-key"]
    subprocess.run(command, input=b"sk-test", check=True, capture_output=True)
    assert starts(agent_repo) == []
    monkeypatch.chdir(agent_repo)
    assert named(here(), "sign-in") == [Finding("sign-in", True, "Logged in using an API key - ***")]


def test_codex_api_key_will_do_and_openai_api_key_alone_will_not(
    agent_repo: Path, home_of_codex: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    assert stops(agent_repo) == (
        "Codex is not signed in: it does not use OPENAI_API_KEY on its own",
        f"printenv OPENAI_API_KEY | {engine().path} login --with-api-key",
    )
    monkeypatch.setenv("CODEX_API_KEY", "sk-test")
    assert starts(agent_repo) == []
    monkeypatch.chdir(agent_repo)
    assert named(here(), "sign-in") == [Finding("sign-in", True, "Codex: auth is provided by environment")]


@pytest.mark.parametrize("variable", ["OWN_KEY", "OPENAI_API_KEY"])
def test_a_provider_with_a_key_in_the_environment_needs_that_key(
    agent_repo: Path, home_of_codex: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    (home_of_codex / "config.toml").write_text(OWN_PROVIDER + f'env_key = "{variable}"\n')
    assert stops(agent_repo) == (
        f"{variable} is not set, and Codex's model provider needs it",
        f"export {variable}=YOUR_KEY",
    )
    monkeypatch.setenv(variable, "secret")
    assert [text for text in starts(agent_repo) if "reach" not in text] == []


def test_a_provider_that_cannot_be_reached_is_a_warning(
    agent_repo: Path, home_of_codex: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home_of_codex / "config.toml").write_text(OWN_PROVIDER)
    assert starts(agent_repo) == ["Codex cannot reach its model provider now"]


def test_a_provider_given_for_this_task_counts(agent_repo: Path, home_of_codex: Path) -> None:
    overrides = ['model_provider="own"', 'model_providers.own={name="own", base_url="http://127.0.0.1:9/v1"}']
    repository = Repository.discover(agent_repo)
    assert doctor.preflight(repository, Settings(), say=lambda text: None, overrides=overrides) == engine()


def test_settings_that_codex_cannot_load_stop_a_task(repo: Path, home_of_codex: Path) -> None:
    (home_of_codex / "config.toml").write_text('model_provider = "nope"\n')
    assert stops(repo) == (
        "Codex cannot load its settings: Model provider `nope` not found",
        f"{engine().path} doctor",
    )


def test_a_profile_that_does_not_exist_stops_a_task(repo: Path, codex_home: Path) -> None:
    assert stops(repo, Settings(profile="night")) == (
        f"Codex has no profile 'night': there is no file {codex_home}/night.config.toml",
        f"ls {codex_home}/*.config.toml",
    )


def test_a_profile_may_bring_its_own_provider(agent_repo: Path, home_of_codex: Path) -> None:
    profile = home_of_codex / "night.config.toml"
    profile.write_text('model = "gpt-5.5"\n')
    assert stops(agent_repo, Settings(profile="night")) == ("Codex is not signed in", f"{engine().path} login")
    profile.write_text(OWN_PROVIDER)
    assert starts(agent_repo, Settings(profile="night")) == []


# -- the sandbox -----------------------------------------------------------------------------------------------------


def test_that_the_sandbox_works_is_remembered_until_codex_or_the_machine_changes(
    agent_repo: Path, codex_home: Path
) -> None:
    starts(agent_repo)
    known = agent_repo / ".git" / "autonomous" / "cache" / "sandbox-works"
    first = known.stat()
    content = known.read_text()
    assert str(engine().path) in content and os.uname().release in content
    starts(agent_repo)
    assert known.stat().st_mtime_ns == first.st_mtime_ns
    known.write_text(content.replace(os.uname().release, "0.0.1"))
    starts(agent_repo)
    assert known.read_text() == content


def test_what_cannot_be_read_or_written_is_a_finding_and_keeps_no_other_part_away(
    agent_repo: Path, codex_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (agent_repo / ".git/autonomous").write_text("no folder\n")
    git(agent_repo, "config", "autonomous.worktreeRoot", "x" * 300)
    git(agent_repo, "config", "filter.own.clean", "tools/clean")
    monkeypatch.chdir(agent_repo)
    look = f"ls -ld {agent_repo}/.git {agent_repo}/.git/*"
    assert [(found.message, found.hint) for found in doctor.examine_here(os.environ) if found.ok is False] == [
        (f"{agent_repo}/.git/autonomous cannot be written", look),
        (f"{agent_repo}/{'x' * 300}: File name too long", f"ls -ld {agent_repo}"),
        ("filter.own.clean runs tools/clean, which would be found inside the agent's worktree",
         "git config filter.own.clean /absolute/path/to/clean"),
    ]  # fmt: skip


def test_with_full_access_no_sandbox_is_needed(agent_repo: Path, codex_home: Path) -> None:
    starts(agent_repo, Settings(network=True))
    assert not (agent_repo / ".git" / "autonomous").exists()


# -- the repository --------------------------------------------------------------------------------------------------


def test_an_unknown_user_is_told_how_to_introduce_themselves(agent_repo: Path, codex_home: Path, home: Path) -> None:
    (home / "gitconfig").write_text("[user]\n\tuseConfigOnly = true\n")
    assert stops(agent_repo) == (
        "git does not know who you are",
        'git config --global user.name "Your Name" && git config --global user.email you@example.com',
    )


def test_a_sha256_repository_is_refused_in_words(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--object-format=sha256", "repo")
    with pytest.raises(AutonomousError) as error:
        doctor.refuse_unsupported(Repository.discover(tmp_path / "repo"))
    assert (error.value.message, error.value.hint) == (
        "this repository names its objects by sha256; only SHA-1 repositories can be worked on",
        "git init --object-format=sha1 ANOTHER-FOLDER",
    )


def test_a_partial_clone_is_refused_and_the_hint_makes_it_whole(repo: Path, tmp_path: Path) -> None:
    git(repo, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "--quiet", "--filter=blob:none", "--no-checkout", f"file://{repo}", "partial")
    partial = tmp_path / "partial"
    with pytest.raises(AutonomousError) as error:
        doctor.refuse_unsupported(Repository.discover(partial))
    assert error.value.message == (
        "this repository is a partial clone of origin: objects that the work needs may be missing"
    )
    subprocess.run(["sh", "-c", error.value.hint or "false"], cwd=partial, check=True, capture_output=True)
    doctor.refuse_unsupported(Repository.discover(partial))
    repo.rename(tmp_path / "gone")
    assert git(partial, "cat-file", "--batch-all-objects", "--batch-check").count("blob") == 1
    assert Objects(partial / ".git").tip("refs/heads/main") == git(partial, "rev-parse", "HEAD")


def test_refs_in_another_form_are_refused_in_words(repo: Path) -> None:
    class Reftable(Repository):
        """What a newer git reports; this one may not be able to make it."""

        def config(self) -> list[tuple[str, str, str]]:
            return [*super().config(), ("local", "extensions.refstorage", "reftable")]

    found = Repository.discover(repo)
    with pytest.raises(AutonomousError) as error:
        doctor.refuse_unsupported(Reftable(found.git, found.common_dir, found.git_dir, found.toplevel, None))
    assert (error.value.message, error.value.hint) == (
        "this repository keeps its refs as reftable; only files can be worked on",
        "git refs migrate --ref-format=files",
    )


@pytest.mark.parametrize("way", ["split", "sparse"])
def test_a_split_or_sparse_index_is_no_obstacle(repo: Path, tmp_path: Path, way: str) -> None:
    (repo / "folder").mkdir()
    (repo / "folder" / "file").write_text("1\n")
    git(repo, "add", "folder")
    git(repo, "commit", "--quiet", "-m", "Second commit")
    git(repo, "branch", "autonomous/x")
    repository = Repository.discover(repo)
    if way == "split":
        git(repo, "config", "core.splitIndex", "true")
    worktree = repository.add_worktree(tmp_path / "x", "autonomous/x")
    if way == "sparse":
        git(worktree.path, "sparse-checkout", "set", "--sparse-index", "other")
    doctor.refuse_unsupported(repository)
    (worktree.path / "new").write_text("2\n")
    tree, _ = worktree.stage({})
    assert git(repo, "ls-tree", "-r", "--name-only", tree).splitlines() == ["README.md", "folder/file", "new"]
    objects = Objects(repository.common_dir)
    assert objects.changed_paths(objects.commit(git(repo, "rev-parse", "HEAD")).tree, tree) == ["new"]


def test_codex_settings_of_the_project_are_said_not_to_apply_and_the_hint_makes_a_profile(
    agent_repo: Path, codex_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (agent_repo / ".codex").mkdir()
    (agent_repo / ".codex" / "config.toml").write_text('model = "gpt-5.5"\n')
    git(agent_repo, "add", ".codex")
    git(agent_repo, "commit", "--quiet", "-m", "Codex settings")
    message = "this project's .codex/config.toml does not apply: an agent could change it to widen its own rights"
    assert starts(agent_repo) == [message]
    monkeypatch.chdir(agent_repo)
    (finding,) = named(here(), "project settings")
    subprocess.run(["sh", "-c", finding.hint or "false"], check=True)
    assert (codex_home / "project.config.toml").read_text() == 'model = "gpt-5.5"\n'
    assert named(here(), "profile") == [
        Finding("profile", True, f"Codex profile project: {codex_home}/project.config.toml")
    ]


def test_where_head_is_matters_to_the_next_start(
    agent_repo: Path, codex_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(agent_repo)
    assert named(here(), "head") == []
    git(agent_repo, "switch", "--quiet", "--detach")
    assert named(here(), "head") == [
        Finding(
            "head",
            None,
            "HEAD is detached: name the branch to start from",
            'git autonomous start --base main "GOAL"',
        )
    ]
    git(agent_repo, "switch", "--quiet", "--orphan", "empty")
    assert named(here(), "head") == [
        Finding(
            "head",
            False,
            "the branch empty has no commit to start from",
            "git commit --allow-empty -m 'First commit'",
        )
    ]


def test_a_bare_repository_is_fine(
    agent_repo: Path, area: Path, codex_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(area, "clone", "--quiet", "--bare", str(agent_repo), "bare.git")
    monkeypatch.chdir(area / "bare.git")
    findings = here()
    assert all(finding.ok for finding in findings)
    assert named(findings, "head") == [
        Finding("head", True, "a bare repository: its tasks' worktrees are its only ones")
    ]


def test_a_wrong_setting_is_a_finding(agent_repo: Path, codex_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(agent_repo)
    git(agent_repo, "config", "autonomous.delay", "soon")
    assert named(here(), "settings") == [
        Finding(
            "settings",
            False,
            f"{agent_repo}/.git/config, line 7: delay must be a duration such as 90, 10m or 2h30m (0: none), not 'soon'",
            "git config --local autonomous.delay 10m",
        )
    ]


def test_a_filter_that_the_agent_could_replace_is_a_finding(
    agent_repo: Path, codex_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(agent_repo)
    git(agent_repo, "config", "filter.own.clean", "tools/clean")
    (finding,) = named(here(), "filters")
    assert finding.ok is False
    assert finding.message == "filter.own.clean runs tools/clean, which would be found inside the agent's worktree"


def test_little_disk_space_warns_and_hardly_any_stops() -> None:
    where = Path("/data")
    assert [doctor.space(free, where) for free in (5 << 30, (1 << 30) - 1, (100 << 20) - 1)] == [
        Finding("disk", True, "5.0 GiB of disk space are free at /data"),
        Finding("disk", None, "only 1.0 GiB of disk space are free at /data", "git autonomous prune"),
        Finding("disk", False, "only 0.1 GiB of disk space are free at /data", "git autonomous prune"),
    ]


def test_findings_are_plain_json() -> None:
    assert json.loads(json.dumps(Finding("a", None, "b").to_json())) == {
        "name": "a",
        "ok": None,
        "message": "b",
        "hint": None,
    }
