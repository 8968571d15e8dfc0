"""Every setting under each of its names, who wins, what is refused, and what a repository may set only with approval."""

from __future__ import annotations

import json
import multiprocessing
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitautonomous import config
from gitautonomous.config import SETTINGS, Approvals, Loaded, Settings
from gitautonomous.errors import AutonomousError, UsageError


def load(
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    git_config: Sequence[tuple[str, str, str]] = (),
    toml: str | None = None,
    approved: bool = False,
) -> Loaded:
    return config.load(
        flags=flags or {},
        environ=environ or {},
        git_config=git_config,
        base_toml=None if toml is None else toml.encode(),
        approved=lambda text: approved,
    )


def refusal(error: pytest.ExceptionInfo[AutonomousError]) -> tuple[str, str | None]:
    return error.value.message, error.value.hint


MEND = "${EDITOR:-vi} .autonomous.toml && git commit -m 'Mend the settings' .autonomous.toml"

# One value other than the default for each setting: as text, and as read.
OTHER: dict[str, tuple[str, object]] = {
    "branch_prefix": ("bots/night/", "bots/night/"),
    "worktree_root": ("../trees", "../trees"),
    "templates": ("~/prompts", "~/prompts"),
    "codex": ("/opt/codex", "/opt/codex"),
    "model": ("gpt-6", "gpt-6"),
    "profile": ("night", "night"),
    "sandbox_network": ("yes", True),
    "network": ("on", True),
    "setup": ("npm ci\n\n make deps ", ("npm ci", "make deps")),
    "checks": ("make test", ("make test",)),
    "notify": ("notify-send done", "notify-send done"),
    "notify_timeout": ("1m", 60.0),
    "bell": ("no", False),
    "title": ("no", False),
    "assisted_by": ("off", False),
    "delay": ("0", 0.0),
    "max_sessions": ("7", 7),
    "max_tokens": ("2000000", 2000000),
    "max_time": ("2h30m", 9000.0),
    "max_failures": ("2", 2),
    "max_idle": ("4", 4),
    "max_unticked": ("6", 6),
    "startup_timeout": ("90", 90.0),
    "silence_timeout": ("1.5m", 90.0),
    "command_timeout": ("1d", 86400.0),
    "session_timeout": ("1h", 3600.0),
    "check_timeout": ("10m", 600.0),
    "setup_timeout": ("30s", 30.0),
    "max_files": ("10", 10),
    "max_bytes": ("500m", 500 << 20),
    "lease_term": ("90", 90.0),
    "worker_poll": ("5", 5.0),
    "worker_checks": ("make *\nnpm test", ("make *", "npm test")),
    "worker_network": ("yes", True),
    "keep_tracking": ("true", True),
    "sync_by": ("rebase", "rebase"),
    "announce": ("false", False),
    "guard": ("no", False),
    "resume_on_commit": ("true", True),
}


def test_without_any_source_every_setting_has_its_default() -> None:
    loaded = load()
    assert loaded == Loaded(Settings(), {setting.field: "default" for setting in SETTINGS}, "")
    assert loaded.settings.branch_prefix == "autonomous/"
    assert loaded.settings.silence_timeout == 600.0
    assert loaded.settings.max_bytes == 1073741824


def test_every_setting_can_be_set_in_each_place() -> None:
    assert set(OTHER) == {setting.field for setting in SETTINGS}
    for setting in SETTINGS:
        text, value = OTHER[setting.field]
        toml = f"{setting.key} = {json.dumps(text)}"
        for loaded, source in (
            (load(flags={setting.field: text}), "--" + setting.field.replace("_", "-")),
            (load(environ={setting.variable: text}), setting.variable),
            (load(git_config=[("global", f"autonomous.{setting.key.lower()}", text)]), "git config (global)"),
            (load(toml=toml, approved=True), ".autonomous.toml"),
        ):
            assert getattr(loaded.settings, setting.field) == value
            assert {name: origin for name, origin in loaded.origins.items() if origin != "default"} == {
                setting.field: source
            }


def test_the_names_of_a_setting_follow_from_its_field() -> None:
    setting = config.find("autonomous.SILENCEtimeout")
    assert (setting.field, setting.key, setting.variable, setting.default, setting.guarded) == (
        "silence_timeout",
        "silenceTimeout",
        "GIT_AUTONOMOUS_SILENCE_TIMEOUT",
        600.0,
        False,
    )


def test_flag_beats_environment_beats_git_config_beats_the_file_of_the_base() -> None:
    scopes = [("global", "autonomous.delay", "3"), ("local", "autonomous.delay", "4"), ("worktree", "x.delay", "9")]
    sources: list[tuple[dict[str, object], dict[str, str], list[tuple[str, str, str]], str, float, str]] = [
        ({}, {}, [], "delay = 2", 2.0, ".autonomous.toml"),
        ({}, {}, scopes[:1], "delay = 2", 3.0, "git config (global)"),
        ({}, {}, scopes, "delay = 2", 4.0, "git config (local)"),
        ({}, {"GIT_AUTONOMOUS_DELAY": "5"}, scopes, "delay = 2", 5.0, "GIT_AUTONOMOUS_DELAY"),
        ({"delay": 6}, {"GIT_AUTONOMOUS_DELAY": "5"}, scopes, "delay = 2", 6.0, "--delay"),
        ({"delay": None}, {"GIT_AUTONOMOUS_DELAY": ""}, scopes, "delay = 2", 4.0, "git config (local)"),
    ]
    for flags, environ, git_config, toml, value, source in sources:
        loaded = load(flags, environ, git_config, toml)
        assert (loaded.settings.delay, loaded.origins["delay"]) == (value, source)


def test_the_last_scope_of_git_config_gives_all_commands() -> None:
    git_config = [
        ("global", "autonomous.checks", "make lint"),
        ("local", "autonomous.checks", "make test"),
        ("local", "autonomous.checks", "make docs"),
    ]
    assert load(git_config=git_config).settings.checks == ("make test", "make docs")
    assert load(git_config=[*git_config, ("local", "autonomous.checks", "")]).settings.checks == ()
    assert load(flags={"checks": ()}, git_config=git_config).settings.checks == ()


def test_other_configuration_and_environment_is_no_concern() -> None:
    loaded = load(environ={"GIT_DIR": "x", "PATH": "y"}, git_config=[("local", "autonomousx.delay", "1")], toml="")
    assert loaded == load()


def test_an_unknown_name_is_refused_with_its_place_and_the_nearest_name() -> None:
    with pytest.raises(UsageError) as error:
        load(environ={"GIT_AUTONOMOUS_DELYA": "1"})
    assert refusal(error) == (
        "environment: there is no setting GIT_AUTONOMOUS_DELYA, did you mean GIT_AUTONOMOUS_DELAY?",
        "unset GIT_AUTONOMOUS_DELYA",
    )
    with pytest.raises(UsageError) as error:
        load(git_config=[("global", "autonomous.silencetimeot", "1")])
    assert refusal(error) == (
        "git config (global): there is no setting autonomous.silencetimeot, did you mean autonomous.silenceTimeout?",
        "git config --global --unset-all autonomous.silencetimeot",
    )
    with pytest.raises(UsageError) as error:
        load(toml="check = 'make'")
    assert refusal(error) == (
        ".autonomous.toml, line 1: there is no setting 'check', did you mean checks?",
        MEND,
    )
    with pytest.raises(UsageError) as error:
        load(toml="'\\n' = 1")
    assert refusal(error) == (".autonomous.toml, line 1: there is no setting '\\\\n'", MEND)
    with pytest.raises(UsageError) as error:
        config.find("brunch")
    assert refusal(error) == ("there is no setting 'brunch'", "git autonomous config list")


def test_a_value_of_the_wrong_type_is_refused_with_its_place() -> None:
    with pytest.raises(UsageError) as error:
        load(flags={"max_time": "10 minutes"})
    assert refusal(error) == (
        "--max-time: maxTime must be a duration such as 90, 10m or 2h30m (0: none), not '10 minutes'",
        None,
    )
    with pytest.raises(UsageError) as error:
        load(environ={"GIT_AUTONOMOUS_MAX_SESSIONS": "-1"})
    assert refusal(error) == (
        "GIT_AUTONOMOUS_MAX_SESSIONS: maxSessions must be a whole number, 0 or more, not '-1'",
        "unset GIT_AUTONOMOUS_MAX_SESSIONS",
    )
    with pytest.raises(UsageError) as error:
        load(git_config=[("local", "autonomous.network", "perhaps")])
    assert refusal(error) == (
        "git config (local): network must be true or false, not 'perhaps'",
        "git config --local autonomous.network true",
    )
    with pytest.raises(UsageError) as error:
        load(toml="maxBytes = [" + "1, " * 30 + "]")
    assert refusal(error) == (
        f".autonomous.toml, line 1: maxBytes must be a number of bytes such as 500m or 1g, not [{'1, ' * 18}1,...",
        MEND,
    )


@pytest.mark.parametrize(
    "line",
    [
        "delay = true",
        "delay = -1",
        "delay = nan",
        "delay = inf",
        "delay = 1e30",
        "delay = '99999d'",
        "delay = 1979-05-27",
        "maxSessions = 1.5",
        "maxSessions = true",
        f"maxSessions = {'9' * 4000}",
        f"maxSessions = 0x{'f' * 5000}",
        "maxSessions = '1_0'",
        "maxSessions = '٣'",
        "maxBytes = '1t'",
        "network = 1",
        "model = 7",
        'model = "a\\u0000b"',
        "model = {}",
        "checks = [1]",
        "checks = [['make']]",
        "checks = {a = 'make'}",
        "branchPrefix = ''",
        "branchPrefix = '/'",
        "branchPrefix = 'autonomous'",
        "branchPrefix = '-x/'",
        "branchPrefix = 'a//b/'",
        "branchPrefix = '../'",
        "branchPrefix = 'a..b/'",
        "branchPrefix = 'a.lock/'",
        "branchPrefix = 'a b/'",
        "branchPrefix = 'a./'",
    ],
)
def test_a_value_that_cannot_be_meant_is_refused(line: str) -> None:
    with pytest.raises(UsageError) as error:
        load(toml=line)
    key = line.partition(" ")[0]
    assert error.value.message.startswith(f".autonomous.toml, line 1: {key} must be ")


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        ("# delya = 1\n\ndelya = 1", ", line 3"),
        ('delay = 2\r\n  "delya"=1\r\n', ", line 2"),
        ('model = """\ndelya = 1\n"""\n\'delya\' = 1', ", line 4"),
        ("checks = [\n  'delya = 1',\n]\ndelya.x.y = 1", ", line 4"),
        ("[delya]\nx = 1", ", line 1"),
        ("\n[[delya]]\nx = 1", ", line 2"),
        ('model = "x"\n"del\\u0079a" = 1', ""),
    ],
)
def test_the_line_of_an_unknown_name_is_the_one_that_sets_it(toml: str, line: str) -> None:
    with pytest.raises(UsageError) as error:
        load(toml=toml)
    assert refusal(error) == (f".autonomous.toml{line}: there is no setting 'delya', did you mean delay?", MEND)


def test_finding_the_line_takes_no_long_time_whatever_the_file_looks_like() -> None:
    lookalikes = "x = 1\n" * 40_000
    with pytest.raises(UsageError) as error:
        load(toml=f'model = """\n{lookalikes}"""\nx = 1')
    assert refusal(error) == (".autonomous.toml: there is no setting 'x'", MEND)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff", ".autonomous.toml is not UTF-8"),
        (b"delay = ", ".autonomous.toml is not TOML: Invalid value (at end of document)"),
        (b"a = " + b"[" * 100_000, ".autonomous.toml is nested too deeply"),
        (b"#" * 300_000, ".autonomous.toml is larger than 256 KiB"),
    ],
)
def test_a_file_that_is_no_settings_file_is_refused_with_one_line(content: bytes, message: str) -> None:
    with pytest.raises(UsageError) as error:
        config.load(flags={}, environ={}, git_config=[], base_toml=content, approved=lambda text: False)
    assert refusal(error) == (message, MEND)


def test_a_number_of_more_digits_than_python_reads_is_refused_with_one_line() -> None:
    with pytest.raises(UsageError) as error:
        load(toml=f"delay = {'9' * 5000}")
    assert error.value.message.startswith(".autonomous.toml is not TOML: Exceeds the limit")


@given(st.binary(max_size=200))
def test_no_content_of_the_file_gives_another_error_than_a_refusal(content: bytes) -> None:
    try:
        loaded = config.load(flags={}, environ={}, git_config=[], base_toml=content, approved=lambda text: False)
    except UsageError:
        return
    assert loaded == load()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90", 90),
        ("1.5", 1.5),
        ("45s", 45),
        ("10m", 600),
        ("2h30m", 9000),
        ("1d2h3m4s", 93784),
        (" 1h ", 3600),
    ],
)
def test_a_duration_is_seconds_or_parts_with_units(text: str, seconds: float) -> None:
    assert config.duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "m", "-1", "1w", "30m2h", "2h30", "1 h", "1e3", "0x10", "nan", "367d", "1h1h", "٣m"]
)
def test_what_is_not_clearly_a_duration_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        config.duration(text)


def test_what_is_printed_is_read_back() -> None:
    for setting in SETTINGS:
        for value in (setting.default, OTHER[setting.field][1]):
            assert setting.kind.read(config.render(value)) == value


def test_values_are_printed_as_they_are_written() -> None:
    values = [None, True, False, 3.0, 0.5, 31622400.0, 1 << 30, "x", ("make test", "make lint"), ()]
    printed = ["", "true", "false", "3", "0.5", "31622400", "1073741824", "x", "make test\nmake lint", ""]
    assert [config.render(value) for value in values] == printed


GUARDED = """\
delay = 9
codex = "/tmp/codex"
network = true
checks = ["make test", "echo \\"\\u001b[2J\\""]
notify = ""
sandboxNetwork = false
"""
GUARDED_TEXT = """\
codex = "/tmp/codex"
network = true
checks = ["make test", "echo \\"\\u001b[2J\\""]
"""


def test_what_runs_something_or_widens_rights_counts_from_the_repository_only_when_approved() -> None:
    loaded = load(toml=GUARDED)
    assert loaded.settings == Settings(delay=9.0)
    assert loaded.unapproved == GUARDED_TEXT
    asked: list[str] = []

    def yes(text: str) -> bool:
        asked.append(text)
        return True

    loaded = config.load(flags={}, environ={}, git_config=[], base_toml=GUARDED.encode(), approved=yes)
    assert asked == [GUARDED_TEXT]
    assert loaded.settings == Settings(
        delay=9.0, codex="/tmp/codex", network=True, checks=("make test", 'echo "\x1b[2J"')
    )
    assert loaded.unapproved == ""


def test_the_user_needs_no_approval_for_own_settings() -> None:
    loaded = load(
        {"checks": ("a",)}, {"GIT_AUTONOMOUS_CODEX": "/c"}, [("local", "autonomous.network", "true")], "delay = 1"
    )
    assert loaded.settings == Settings(checks=("a",), codex="/c", network=True, delay=1.0)
    assert loaded.unapproved == ""


def test_every_setting_that_runs_something_or_widens_rights_is_guarded() -> None:
    assert [setting.key for setting in SETTINGS if setting.guarded] == [
        "worktreeRoot",
        "templates",
        "codex",
        "profile",
        "sandboxNetwork",
        "network",
        "setup",
        "checks",
        "notify",
        "workerNetwork",
        "guard",
        "resumeOnCommit",
    ]


def test_an_approval_is_for_one_repository_and_one_text(tmp_path: Path) -> None:
    approvals = Approvals(tmp_path / "state" / "approvals.json")
    here, there = tmp_path / "a.git", tmp_path / "b.git"
    assert not approvals.approved(here, "checks")
    approvals.approve(here, "checks")
    approvals.approve(here, "setup")
    again = Approvals(approvals.file)
    assert again.approved(here, "checks") and again.approved(here, "setup")
    assert not again.approved(here, "checks\n")
    assert not again.approved(there, "checks")


def test_approvals_are_readable_by_the_user_alone_and_leave_nothing_else_behind(tmp_path: Path) -> None:
    approvals = Approvals(tmp_path / "state" / "approvals.json")
    approvals.approve(tmp_path, "checks")
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in [approvals.file.parent, *tmp_path.glob("state/*")]
    }
    assert modes == {"state": 0o700, "approvals.json": 0o600, "approvals.lock": 0o600}


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"schema": 1}', b'{"schema": 1, "approved": 3}', b"[" * 100_000]
)
def test_a_damaged_file_of_approvals_is_kept_and_named(tmp_path: Path, content: bytes) -> None:
    approvals = Approvals(tmp_path / "approvals.json")
    approvals.file.write_bytes(content)
    expected = (f"{approvals.file} is damaged", f"mv {approvals.file} {approvals.file}.damaged")
    with pytest.raises(AutonomousError) as error:
        approvals.approved(tmp_path, "checks")
    assert refusal(error) == expected
    with pytest.raises(AutonomousError) as error:
        approvals.approve(tmp_path, "checks")
    assert refusal(error) == expected
    assert approvals.file.read_bytes() == content


def test_approvals_of_a_newer_version_are_left_alone(tmp_path: Path) -> None:
    approvals = Approvals(tmp_path / "approvals.json")
    approvals.file.write_text('{"schema": 2}')
    with pytest.raises(AutonomousError) as error:
        approvals.approve(tmp_path, "checks")
    assert refusal(error) == (
        f"{approvals.file} was written by a newer git-autonomous",
        "pip install -U git-autonomous",
    )
    assert approvals.file.read_text() == '{"schema": 2}'


def test_approvals_that_cannot_be_written_are_an_error_with_the_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    approvals = Approvals(tmp_path / "file" / "approvals.json")
    with pytest.raises(AutonomousError) as error:
        approvals.approve(tmp_path, "checks")
    assert refusal(error) == (f"cannot write {approvals.file}: File exists", f"ls -ld {tmp_path}/file")


def approve(file: Path, text: str) -> None:
    Approvals(file).approve(file.parent, text)


def test_approvals_made_at_once_are_all_kept(tmp_path: Path) -> None:
    file = tmp_path / "approvals.json"
    texts = [str(number) for number in range(20)]
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.starmap(approve, [(file, text) for text in texts])
    assert [text for text in texts if Approvals(file).approved(tmp_path, text)] == texts


def test_the_state_directory_obeys_an_absolute_xdg_state_home() -> None:
    assert config.state_directory({"XDG_STATE_HOME": "/s", "HOME": "/h"}) == Path("/s/git-autonomous")
    assert config.state_directory({"XDG_STATE_HOME": "s", "HOME": "/h"}) == Path("/h/.local/state/git-autonomous")
    assert config.state_directory({"HOME": "/h"}) == Path("/h/.local/state/git-autonomous")


def test_settings_cost_no_heavy_import() -> None:
    code = "import sys, gitautonomous.config; print([m for m in ('tomllib', 'pydantic', 'pygit2', 'difflib') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
