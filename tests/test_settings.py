"""`config` and `init` as their users run them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from conftest import git, make_repository
from program import Ended, autonomous
from terminals import terminal

from gitautonomous import locks
from gitautonomous.config import SETTINGS

COMMIT = "hint: git add .autonomous.toml && git commit    # only what is committed counts\n"


def refused(message: str, hint: str, status: int = 1) -> Ended:
    return Ended(status, "", f"error: {message}\nhint: {hint}\n")


def commit_settings(repo: Path, text: str) -> None:
    (repo / ".autonomous.toml").write_text(text)
    git(repo, "add", ".autonomous.toml")
    git(repo, "commit", "--quiet", "-m", "Settings")


def test_a_value_goes_to_git_config_and_comes_back(repo: Path) -> None:
    assert autonomous(repo, "config", "set", "silenceTimeout", "10m") == Ended(0, "", "")
    assert git(repo, "config", "--local", "autonomous.silenceTimeout") == "10m"
    assert autonomous(repo, "config", "get", "silencetimeout") == Ended(0, "600\n", "")
    assert autonomous(repo, "config", "get", "autonomous.silenceTimeout", "--show-origin") == Ended(
        0, "git config (local)\t600\n", ""
    )
    assert autonomous(repo, "config", "unset", "silenceTimeout") == Ended(0, "", "")
    assert autonomous(repo, "config", "get", "silenceTimeout", "--show-origin") == Ended(0, "default\t600\n", "")


def test_several_commands_are_one_value_that_is_replaced_as_a_whole(repo: Path) -> None:
    git(repo, "config", "--add", "autonomous.checks", "make one")
    git(repo, "config", "--add", "autonomous.checks", "make two")
    assert autonomous(repo, "config", "set", "checks", "npm test", "npm run lint") == Ended(0, "", "")
    assert git(repo, "config", "--get-all", "autonomous.checks") == "npm test\nnpm run lint"
    assert autonomous(repo, "config", "get", "checks") == Ended(0, "npm test\nnpm run lint\n", "")
    assert autonomous(repo, "config", "set", "checks", "") == Ended(0, "", "")
    assert autonomous(repo, "config", "get", "checks", "--show-origin") == Ended(0, "git config (local)\t\n", "")


def test_each_scope_is_written_and_the_nearest_wins(repo: Path, home: Path) -> None:
    commit_settings(repo, "delay = 1\n")
    git(repo, "config", "extensions.worktreeConfig", "true")
    origins = []
    for scope, value in (("--global", "2"), ("", "3"), ("--worktree", "4")):
        origins.append(autonomous(repo, "config", "get", "delay", "--show-origin").out)
        assert autonomous(repo, "config", "set", *filter(None, [scope]), "delay", value) == Ended(0, "", "")
    origins.append(autonomous(repo, "config", "get", "delay", "--show-origin").out)
    origins.append(autonomous(repo, "config", "get", "delay", "--show-origin", GIT_AUTONOMOUS_DELAY="5").out)
    assert origins == [
        ".autonomous.toml\t1\n",
        "git config (global)\t2\n",
        "git config (local)\t3\n",
        "git config (worktree)\t4\n",
        "GIT_AUTONOMOUS_DELAY\t5\n",
    ]
    assert "delay = 2" in (home / "gitconfig").read_text()


def test_shared_settings_keep_the_comments_of_their_file_and_wait_for_a_commit(repo: Path) -> None:
    commit_settings(repo, "# slow machine\ndelay = 5 # seconds\n")
    assert autonomous(repo, "config", "set", "--shared", "delay", "1m") == Ended(0, "", COMMIT)
    assert (repo / ".autonomous.toml").read_text() == '# slow machine\ndelay = "1m" # seconds\n'
    assert autonomous(repo, "config", "get", "delay") == Ended(0, "5\n", "")
    git(repo, "commit", "--quiet", "-am", "Slower")
    assert autonomous(repo, "config", "get", "delay") == Ended(0, "60\n", "")
    (repo / "folder").mkdir()
    assert autonomous(repo / "folder", "config", "unset", "--shared", "delay") == Ended(0, "", COMMIT)
    assert (repo / ".autonomous.toml").read_text() == "# slow machine\n"


def test_the_list_has_every_setting_and_says_what_is_not_in_effect_yet(repo: Path) -> None:
    commit_settings(repo, 'delay = 1\nchecks = ["make test", "make lint"]\nnetwork = true\n')
    git(repo, "config", "autonomous.setup", "npm ci\nmake deps")
    ended = autonomous(repo, "config", "list", "--show-origin")
    lines = [line.split("\t") for line in ended.out.splitlines()]
    keys = [setting.key for setting in SETTINGS]
    keys.insert(keys.index("setup"), "setup")
    assert [line.partition("=")[0] for _, line in lines] == keys
    assert [line for line in lines if line[0] != "default"] == [
        ["git config (local)", "setup=npm ci"],
        ["git config (local)", "setup=make deps"],
        [".autonomous.toml", "delay=1"],
    ]
    assert ended.err == (
        ".autonomous.toml also sets network, checks: not in effect before you allowed it, "
        "which the next start or resume asks\n"
    )
    plain = autonomous(repo, "config", "list").out
    assert plain == "".join(f"{line}\n" for _, line in lines)


def test_the_list_as_json_has_values_of_their_own_types(repo: Path) -> None:
    git(repo, "config", "autonomous.checks", "make test")
    git(repo, "config", "autonomous.maxTime", "1h")
    found = json.loads(autonomous(repo, "config", "list", "--json").out)
    assert found.pop("schema") == 1
    settings = {setting["key"]: setting for setting in found.pop("settings")}
    assert found == {}
    assert list(settings) == [setting.key for setting in SETTINGS]
    assert settings["checks"] == {
        "key": "checks",
        "value": ["make test"],
        "default": [],
        "origin": "git config (local)",
        "type": "commands, one a line",
        "help": "commands that must pass before work counts",
        "guarded": True,
    }
    assert [settings[key]["value"] for key in ("maxTime", "model", "network")] == [3600.0, None, False]


def test_settings_of_the_user_need_no_repository(tmp_path: Path) -> None:
    assert autonomous(tmp_path, "config", "set", "--global", "delay", "7") == Ended(0, "", "")
    assert autonomous(tmp_path, "config", "get", "delay", "--show-origin") == Ended(0, "git config (global)\t7\n", "")
    assert autonomous(tmp_path, "config", "unset", "--global", "delay") == Ended(0, "", "")
    assert autonomous(tmp_path, "config", "get", "delay") == Ended(0, "3\n", "")
    where = "not a git repository (or any of the parent directories)"
    hint = "git autonomous config set --global KEY VALUE"
    assert autonomous(tmp_path, "config", "set", "delay", "7") == refused(where, hint)


def test_a_bare_repository_has_settings_but_no_file_to_edit(repo: Path, tmp_path: Path) -> None:
    commit_settings(repo, "delay = 9\n")
    bare = tmp_path / "bare.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(repo), str(bare))
    assert autonomous(bare, "config", "get", "delay", "--show-origin") == Ended(0, ".autonomous.toml\t9\n", "")
    assert autonomous(bare, "config", "set", "delay", "8") == Ended(0, "", "")
    assert autonomous(bare, "config", "get", "delay") == Ended(0, "8\n", "")
    assert autonomous(bare, "config", "set", "--shared", "delay", "7") == refused(
        "there is no checkout here to edit .autonomous.toml in", "git autonomous config set KEY VALUE"
    )
    assert autonomous(bare, "init") == refused(
        "there is no checkout here to write .autonomous.toml into", "git autonomous config set KEY VALUE"
    )


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["get", "delya"], "there is no setting 'delya', did you mean delay?", "git autonomous config list"),
        (["set", "brunch", "x"], "there is no setting 'brunch'", "git autonomous config list"),
        (
            ["set", "delay", "soon"],
            "git config (local): delay must be a duration such as 90, 10m or 2h30m (0: none), not 'soon'",
            "git autonomous config set delay 10m",
        ),
        (
            ["set", "--shared", "maxSessions", "--", "-1"],
            ".autonomous.toml: maxSessions must be a whole number, 0 or more, not '-1'",
            "git autonomous config set --shared maxSessions 10",
        ),
        (["set", "delay", "1", "2"], "delay takes one value, not 2", "git autonomous config set delay 10m"),
        (
            ["set", "--shared", "--global", "delay", "1"],
            "--global, --worktree and --shared exclude each other",
            "git autonomous config set -h",
        ),
        (["set", "delay"], "Missing argument 'VALUE'.", "git autonomous config set -h"),
        ([], "Missing command.", "git autonomous config -h"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_can(
    repo: Path, arguments: list[str], message: str, hint: str
) -> None:
    assert autonomous(repo, "config", *arguments) == refused(message, hint, status=2)
    assert not (repo / ".autonomous.toml").exists()


def test_taking_out_what_is_not_there_is_said(repo: Path) -> None:
    hint = "git autonomous config list --show-origin"
    for option, where in (([], "git config (local)"), (["--shared"], ".autonomous.toml")):
        ended = autonomous(repo, "config", "unset", *option, "delay")
        assert ended == refused(f"delay is not set in {where}", hint)


def test_what_git_refuses_is_said_in_its_words(repo: Path, tmp_path: Path) -> None:
    git(repo, "worktree", "add", "--quiet", "--detach", str(tmp_path / "other"))
    ended = autonomous(repo, "config", "set", "--worktree", "delay", "1")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("error: git config failed: --worktree cannot be used with multiple working trees")


def test_a_file_that_is_no_file_is_neither_waited_for_nor_followed(repo: Path) -> None:
    path = repo / ".autonomous.toml"
    os.mkfifo(path)
    hint = "ls -ld .autonomous.toml"
    assert autonomous(repo, "config", "set", "--shared", "delay", "1") == refused(
        ".autonomous.toml is not a regular file", hint
    )
    path.unlink()
    path.symlink_to(repo / "README.md")
    ended = autonomous(repo, "config", "set", "--shared", "delay", "1")
    assert ended == refused(".autonomous.toml cannot be read (Too many levels of symbolic links)", hint)
    assert (repo / "README.md").read_text() == "# A project\n"


def test_a_wrong_setting_in_the_committed_file_is_named_with_its_line(repo: Path) -> None:
    commit_settings(repo, "delay = 1\n\ndelya = 2\n")
    mend = "${EDITOR:-vi} .autonomous.toml && git commit -m 'Mend the settings' .autonomous.toml"
    message = ".autonomous.toml, line 3: there is no setting 'delya', did you mean delay?"
    assert autonomous(repo, "config", "list") == refused(message, mend, status=2)
    assert autonomous(repo, "start", "x") == refused(message, mend, status=2)


def test_values_cannot_harm_the_terminal(repo: Path) -> None:
    git(repo, "config", "autonomous.model", "a\x1b[2Jb\x07")
    assert autonomous(repo, "config", "get", "model") == Ended(0, "ab␇\n", "")


def test_init_writes_a_file_that_changes_nothing_and_writes_it_once(repo: Path, tmp_path: Path) -> None:
    before = autonomous(repo, "config", "list").out
    path = repo / ".autonomous.toml"
    (repo / "folder").mkdir()
    written = f"{path} written: every setting, commented out\n"
    assert autonomous(repo / "folder", "init") == Ended(0, written, COMMIT + "hint: git autonomous hooks install\n")
    git(repo, "add", ".autonomous.toml")
    git(repo, "commit", "--quiet", "-m", "Settings")
    assert autonomous(repo, "config", "list") == Ended(0, before, "")
    assert autonomous(repo, "init") == refused(f"{path} exists already", "git autonomous config list --show-origin")
    assert autonomous(repo, "config", "set", "--shared", "checks", "make test") == Ended(0, "", COMMIT)
    assert git(repo, "diff", "--unified=0", ".autonomous.toml").splitlines()[-2:] == [
        '-#checks = ["make test"]',
        '+checks = ["make test"]',
    ]
    empty = make_repository(tmp_path / "empty")
    (empty / ".autonomous.toml").symlink_to("nowhere")
    ended = autonomous(empty, "init")
    assert ended == refused(f"{empty}/.autonomous.toml exists already", "git autonomous config list --show-origin")


@pytest.mark.parametrize(("answer", "state"), [(b"y\n", True), (b"n\n", False)])
def test_init_offers_the_hooks_on_a_terminal_and_only_once_they_are_missing(
    repo: Path, answer: bytes, state: bool
) -> None:
    for offered in (True, not state):
        (repo / ".autonomous.toml").unlink(missing_ok=True)
        with terminal(160) as screen:
            program = screen.run(repo, ["init"])
            if offered:
                screen.until("Install them into this repository? [y/N]: ")
                screen.type(answer)
            assert screen.finish(program) == 0
            assert ("Hooks that are there already go on running" in screen.text()) is offered
        assert json.loads(autonomous(repo, "hooks", "status", "--json").out)["installed"] is state


def test_settings_of_the_repository_stay_while_a_task_is_worked_on(repo: Path) -> None:
    folder = repo / ".git" / "autonomous" / "tasks" / "todo"
    folder.mkdir(parents=True)
    with locks.exclusive(str(folder / "runner.lock")):
        for command in (["set", "delay", "1"], ["unset", "delay"], ["set", "--worktree", "delay", "1"]):
            assert autonomous(repo, "config", *command) == refused(
                "'todo' is being worked on, and would stop when the repository's settings change under it",
                "git autonomous stop todo # then try again",
            )
        assert autonomous(repo, "config", "set", "--global", "delay", "1") == Ended(0, "", "")
    assert autonomous(repo, "config", "set", "delay", "1") == Ended(0, "", "")


def test_a_wrong_value_in_git_config_is_named_with_its_file_and_line(repo: Path, home: Path, tmp_path: Path) -> None:
    def told(folder: Path) -> str:
        ended = autonomous(folder, "config", "list")
        assert (ended.status, ended.out) == (2, "")
        return ended.err.splitlines()[0]

    config = repo / ".git" / "config"
    before = config.read_text()
    lines = before.count("\n")
    config.write_text(f"{before}[other]\n\tdelay = x\n[Autonomous] delay = 1\n\tcheck = y\n\tDelay = soon ; or late\n")
    where = f"error: {config}, line {lines + 4}"
    assert told(repo) == f"{where}: there is no setting autonomous.check, did you mean autonomous.checks?"
    config.write_text(config.read_text().replace("\tcheck = y\n", "\n"))
    must = "delay must be a duration such as 90, 10m or 2h30m (0: none), not 'soon'"
    assert told(repo) == f"error: {config}, line {lines + 5}: {must}"
    config.write_text(before)
    included = home / "more"
    included.write_text('[autonomous "x"]\n[autonomous]\n\n\tdelay = soon\n')
    git(repo, "config", "--global", "include.path", "more")
    for folder in (repo, tmp_path):
        assert told(folder) == f"error: {included}, line 4: {must}"
