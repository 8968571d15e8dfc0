from __future__ import annotations

import os
import tomllib
from itertools import pairwise
from pathlib import Path

import codex_cli_bin  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitautonomous import codex
from gitautonomous.codex import Access, Codex, Invocation
from gitautonomous.errors import AutonomousError, UsageError

PACKAGED = Path(codex_cli_bin.__file__).parent / "bin" / "codex"
THREAD = "01a20a3b-356e-76e1-b2fb-b59965bd8342"
INSTALL = "pip install openai-codex-cli-bin   # or: npm install -g @openai/codex"


def program(path: Path, says: str = "codex-cli 0.169.0") -> Path:
    """A program that answers --version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def invocation(folder: Path, **changed: object) -> Invocation:
    options: dict[str, object] = {
        "codex": Codex(Path("/opt/codex"), (0, 169, 0)),
        "worktree": folder / "repo.autonomous" / "task",
        "main_root": folder / "repo",
        "access": Access(),
        "tmpdir": folder / "tmp",
        "model": None,
        "profile": None,
        "config": (),
        "thread": None,
        "last_message": folder / "last.txt",
    }
    return Invocation(**{**options, **changed})  # type: ignore[arg-type]


def settings(argv: list[str]) -> list[str]:
    """The values of -c, in order."""
    return [value for flag, value in pairwise(argv) if flag == "-c"]


# -- where it is -------------------------------------------------------------------------------------------------------


def test_the_setting_names_codex_and_no_other_is_looked_for(tmp_path: Path) -> None:
    wanted, other = program(tmp_path / "mine" / "codex"), program(tmp_path / "bin" / "codex")
    assert codex.find(str(wanted), path=str(other.parent)) == Codex(wanted, (0, 169, 0))
    with pytest.raises(AutonomousError) as raised:
        codex.find(str(tmp_path / "missing"), path=str(other.parent))
    assert raised.value.message == f"there is no Codex at '{tmp_path / 'missing'}'"


def test_the_setting_may_be_a_name_on_the_path(tmp_path: Path) -> None:
    nightly = program(tmp_path / "bin" / "codex-nightly", "codex-cli 0.170.0-alpha.1")
    assert codex.find("codex-nightly", path=str(nightly.parent)) == Codex(nightly, (0, 170, 0))


def test_the_setting_may_begin_with_the_home(home: Path) -> None:
    wanted = program(home / "bin" / "codex")
    assert codex.find("~/bin/codex", path="").path == wanted


def test_a_relative_path_is_refused_since_it_depends_on_where_one_stands(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        codex.find("bin/codex", path="")
    assert raised.value.message == "the path of Codex has to be absolute, not 'bin/codex'"


def test_codex_on_the_path_comes_before_the_packaged_one(tmp_path: Path) -> None:
    found = program(tmp_path / "bin" / "codex")
    assert codex.find(None, path=f"{tmp_path}/none:{found.parent}") == Codex(found, (0, 169, 0))


def test_the_packaged_codex_is_found_without_one_on_the_path() -> None:
    found = codex.find(None, path="")
    assert found.path == PACKAGED
    assert found.version >= codex.MINIMUM


def test_the_native_program_behind_npms_wrapper_is_taken(tmp_path: Path) -> None:
    modules = tmp_path / "lib" / "node_modules" / "@openai"
    wrapper = program(modules / "codex" / "bin" / "codex.js", "never asked")
    machine = {"x86_64": "x64", "aarch64": "arm64"}[os.uname().machine]
    native = program(modules / f"codex-linux-{machine}" / "vendor" / "any-triple" / "bin" / "codex")
    link = tmp_path / "bin" / "codex"
    link.parent.mkdir()
    link.symlink_to(wrapper)
    assert codex.find(None, path=str(link.parent)).path == native
    nested = modules / "codex" / "node_modules" / "@openai" / native.parents[3].name
    nested.parent.mkdir(parents=True)
    native.parents[3].rename(nested)
    assert codex.find(None, path=str(link.parent)).path == nested / "vendor" / "any-triple" / "bin" / "codex"


def test_a_wrapper_without_its_native_program_is_taken_as_it_is(tmp_path: Path) -> None:
    wrapper = program(tmp_path / "codex" / "bin" / "codex.js")
    assert codex.find(str(wrapper), path="").path == wrapper


def test_a_codex_in_the_worktree_does_not_count(tmp_path: Path) -> None:
    worktree = tmp_path / "worktree"
    planted = program(worktree / "bin" / "codex")
    assert codex.find(None, path=str(planted.parent), outside=worktree).path == PACKAGED
    link = tmp_path / "elsewhere" / "codex"
    link.parent.mkdir()
    link.symlink_to(planted)
    assert codex.find(None, path=str(link.parent), outside=worktree).path == PACKAGED
    with pytest.raises(AutonomousError) as raised:
        codex.find(str(planted), path="", outside=worktree)
    assert raised.value.message == (
        f"the Codex at {planted} lies in the task's worktree, where the agent could have put it"
    )


def test_a_relative_entry_of_the_path_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin" / "codex")
    monkeypatch.chdir(tmp_path)
    assert codex.find(None, path="bin::.").path == PACKAGED


def test_a_codex_that_is_too_old_is_passed_over(tmp_path: Path) -> None:
    old = program(tmp_path / "old" / "codex", "codex-cli 0.162.9")
    new = program(tmp_path / "new" / "codex", "codex-cli 1.0.0")
    assert codex.find(None, path=f"{old.parent}:{new.parent}") == Codex(new, (1, 0, 0))
    with pytest.raises(AutonomousError) as raised:
        codex.find(str(old))
    assert (raised.value.message, raised.value.hint) == (
        f"the Codex at {old} has version 0.162.9; 0.163.0 or newer is needed",
        INSTALL,
    )


@pytest.mark.parametrize("says", ["", "git version 2.39.5", "codex-cli new", f"codex-cli {'9' * 5000}.1.2"])
def test_a_program_that_is_no_codex_is_said_to_be(tmp_path: Path, says: str) -> None:
    odd = program(tmp_path / "codex", says)
    with pytest.raises(AutonomousError) as raised:
        codex.find(str(odd))
    assert raised.value.message == f"{odd} does not answer 'codex --version'"


def test_a_file_that_cannot_be_run_is_no_codex(tmp_path: Path) -> None:
    odd = tmp_path / "codex"
    odd.write_bytes(b"\x7fELF nonsense")
    odd.chmod(0o755)
    with pytest.raises(AutonomousError, match="does not answer"):
        codex.find(str(odd))


# -- how it is called --------------------------------------------------------------------------------------------------


def test_the_first_turn_is_called_as_the_contract_says(tmp_path: Path) -> None:
    assert codex.exec_argv(invocation(tmp_path)) == [
        *("/opt/codex", "exec", "--json", "-C", f"{tmp_path}/repo.autonomous/task", "-s", "workspace-write"),
        *("-o", f"{tmp_path}/last.txt"),
        *("-c", "sandbox_workspace_write.exclude_slash_tmp=true"),
        *("-c", "sandbox_workspace_write.exclude_tmpdir_env_var=false"),
        *("-c", "sandbox_workspace_write.network_access=false"),
        *(
            "-c",
            f'projects={{"{tmp_path}/repo"={{trust_level="untrusted"}}, "{tmp_path}/repo.autonomous/task"={{trust_level="untrusted"}}}}',
        ),
        *("-c", "features.unbounded_connection_retries=false"),
        "-",
    ]


def test_a_resumed_turn_has_every_option_before_the_word(tmp_path: Path) -> None:
    first = codex.exec_argv(invocation(tmp_path))
    assert codex.exec_argv(invocation(tmp_path, thread=THREAD)) == [*first[:-1], "resume", THREAD, "-"]


def test_what_the_user_asks_for_comes_before_what_is_decided(tmp_path: Path) -> None:
    config = ("model_reasoning_effort=high", 'mcp_servers.docs.command="docs --stdio"')
    argv = codex.exec_argv(invocation(tmp_path, model="gpt-5.5", profile="work", config=config))
    assert argv[9:13] == ["-m", "gpt-5.5", "-p", "work"]
    assert settings(argv)[:2] == list(config)
    assert len(settings(argv)) == 7


def test_the_network_is_open_only_when_asked_for(tmp_path: Path) -> None:
    argv = codex.exec_argv(invocation(tmp_path, access=Access(network=True)))
    assert "sandbox_workspace_write.network_access=true" in settings(argv)
    assert "sandbox_workspace_write.network_access=false" not in settings(argv)


def test_full_access_is_no_sandbox_but_project_settings_still_do_not_count(tmp_path: Path) -> None:
    argv = codex.exec_argv(invocation(tmp_path, access=Access(full=True)))
    assert argv[5:7] == ["-s", "danger-full-access"]
    assert any(setting.startswith("projects={") for setting in settings(argv))


@pytest.mark.parametrize("thread", ["", "--last", "my-thread", THREAD.upper(), f"{THREAD}\n", f" {THREAD}"])
def test_a_thread_is_an_id_since_codex_silently_begins_a_new_one_for_a_name(tmp_path: Path, thread: str) -> None:
    with pytest.raises(UsageError):
        codex.exec_argv(invocation(tmp_path, thread=thread))


@pytest.mark.parametrize("name", ["", "-s", "--yolo", "a b", "a\n", "../x y", "$(x)"])
def test_a_name_that_codex_could_misread_is_refused(tmp_path: Path, name: str) -> None:
    for what in ("model", "profile"):
        with pytest.raises(UsageError) as raised:
            codex.exec_argv(invocation(tmp_path, **{what: name}))
        assert raised.value.message == f"'{name}' is not a name of a {what}"


@pytest.mark.parametrize(
    "name", ['a"b', "a\\b", "a'b", "a b", "a=b", "a{b}", "a.b", "a#b", "a\nb", "a\tb", "a\x7fb", "ä☃", "a]b,"]
)
def test_an_odd_path_of_the_project_is_quoted_as_toml(tmp_path: Path, name: str) -> None:
    argv = codex.exec_argv(invocation(tmp_path, main_root=tmp_path / name, worktree=tmp_path / "w"))
    projects = next(setting for setting in settings(argv) if setting.startswith("projects="))
    assert tomllib.loads(projects) == {
        "projects": {
            f"{tmp_path}/{name}": {"trust_level": "untrusted"},
            f"{tmp_path}/w": {"trust_level": "untrusted"},
        }
    }


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=20))
def test_any_path_of_the_project_survives_toml(name: str) -> None:
    argv = codex.exec_argv(invocation(Path("/w"), main_root=Path("/p") / name))
    projects = next(setting for setting in settings(argv) if setting.startswith("projects="))
    assert str(Path("/p") / name) in tomllib.loads(projects)["projects"]


def test_a_project_that_is_reached_through_a_link_is_named_both_ways(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    argv = codex.exec_argv(invocation(tmp_path, main_root=tmp_path / "link", worktree=tmp_path / "w"))
    projects = next(setting for setting in settings(argv) if setting.startswith("projects="))
    assert list(tomllib.loads(projects)["projects"]) == [f"{tmp_path}/link", f"{tmp_path}/real", f"{tmp_path}/w"]


def test_a_path_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not valid UTF-8"):
        codex.exec_argv(invocation(tmp_path, main_root=Path(os.fsdecode(b"/repo-\xff"))))


@pytest.mark.parametrize("entry", ["", "key", "=value", "a b=1", "a..b=1", '"a"=1', 'a."b"=1', "-c=1\0", "a.=1", "ä=1"])
def test_an_entry_that_codex_would_silently_ignore_is_refused(entry: str) -> None:
    with pytest.raises(UsageError) as raised:
        codex.check_config([entry])
    assert raised.value.message == f"'{entry}' is not KEY=VALUE with a dotted key"


@pytest.mark.parametrize(
    "key",
    [
        *(
            "sandbox_mode",
            "approval_policy",
            "projects",
            "projects.x.trust_level",
            "default_permissions",
            "permissions.x",
        ),
        *("profile", "sandbox_workspace_write", "sandbox_workspace_write.network_access", "features"),
        *("sandbox_workspace_write.exclude_slash_tmp", "features.unbounded_connection_retries"),
    ],
)
def test_a_key_that_is_decided_elsewhere_is_refused(key: str) -> None:
    with pytest.raises(UsageError) as raised:
        codex.check_config([f"{key}=x"])
    assert raised.value.message.startswith(f"'{key}' cannot be set with -c: ")


def test_keys_beside_those_that_are_decided_are_the_users() -> None:
    mine = ['sandbox_workspace_write.writable_roots=["/cache"]', "features.goals=true", "profiles.x.y=1", "model=a=b"]
    assert codex.check_config(mine) == mine


def test_a_check_runs_in_the_sandbox_of_the_agent(tmp_path: Path) -> None:
    engine = Codex(Path("/opt/codex"), (0, 169, 0))
    argv = codex.sandbox_argv(engine, "make test", main_root=tmp_path, access=Access(network=True), config=["a.b=1"])
    assert argv == [
        *("/opt/codex", "sandbox", "-c", 'sandbox_mode="workspace-write"', "-c", "a.b=1"),
        *("-c", "sandbox_workspace_write.exclude_slash_tmp=true"),
        *("-c", "sandbox_workspace_write.exclude_tmpdir_env_var=false"),
        *("-c", "sandbox_workspace_write.network_access=true"),
        *("-c", f'projects={{"{tmp_path}"={{trust_level="untrusted"}}}}'),
        *("--", "/bin/sh", "-c", "make test"),
    ]
    assert codex.sandbox_argv(engine, "make test", main_root=tmp_path, access=Access(full=True)) == [
        *("/bin/sh", "-c", "make test")
    ]


def test_the_environment_has_a_private_folder_for_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    environment = codex.environment(tmp_path)
    assert environment["TMPDIR"] == str(tmp_path)
    assert "GIT_DIR" not in environment


def test_the_home_of_codex_is_where_codex_looks_for_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert codex.home() == home / ".codex"
    monkeypatch.setenv("CODEX_HOME", "/elsewhere")
    assert codex.home() == Path("/elsewhere")


def test_only_empty_leftovers_are_removed(tmp_path: Path) -> None:
    for name in (".agents", ".aws", ".git"):
        (tmp_path / name).mkdir()
    (tmp_path / ".codex").mkdir()
    (tmp_path / ".codex" / "config.toml").touch()
    codex.clean_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "home") == [".codex", ".git"]
    codex.clean_leftovers(tmp_path)


def test_a_sandbox_that_does_not_work_is_told_with_its_reason(tmp_path: Path) -> None:
    broken = tmp_path / "codex"
    broken.write_text(
        "#!/bin/sh\necho 'some noise' >&2\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n"
    )
    broken.chmod(0o755)
    with pytest.raises(AutonomousError) as raised:
        codex.canary(Codex(broken, (0, 169, 0)), main_root=tmp_path, directory=tmp_path)
    assert raised.value.message == (
        "Codex's sandbox does not work on this machine: bwrap: No permissions to create new namespace"
    )
    assert raised.value.hint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["codex", "home"]


def test_a_sandbox_that_does_not_hold_is_told(tmp_path: Path) -> None:
    open_door = tmp_path / "codex"
    open_door.write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n')
    open_door.chmod(0o755)
    with pytest.raises(AutonomousError) as raised:
        codex.canary(Codex(open_door, (0, 169, 0)), main_root=tmp_path, directory=tmp_path)
    assert raised.value.message == "Codex's sandbox does not hold: a command wrote outside its folder"
