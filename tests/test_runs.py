"""What would run on the user's machine after a merge, told from names, modes and link targets."""

from __future__ import annotations

import time

import pytest

from gitautonomous.runs import EXECUTABLE, GITLINK, KINDS, LINK, Change, Hazard, leaves, what_runs

BY_KIND = {
    "hook": """.husky/pre-commit .husky/_/husky.sh .githooks/anything packages/a/.husky/commit-msg hooks/build.py tools/hooks/x deep/down/hooks/pre-push scripts/post-checkout.sh
        .pre-commit-config.yaml lefthook.yml .lefthook-local.toml .overcommit.yml .lintstagedrc.json lint-staged.config.mjs commitlint.config.js .huskyrc""",
    "git": ".gitattributes sub/.gitattributes .gitmodules .gitconfig .lfsconfig .hg/hgrc sub/.hg/hgrc .jj/config.toml",
    "autonomous": ".autonomous.toml .worktreeinclude",
    "shell": ".envrc api/.envrc .env .env.local .bashrc .gdbinit .pdbrc sitecustomize.py lib/x.pth .tool-versions mise.toml .mise.toml .mise/config.toml .config/mise/config.toml",
    "agent": """AGENTS.md src/AGENTS.override.md CLAUDE.md CLAUDE.local.md GEMINI.md .codex/config.toml .agents/skills/x/run.sh .aws/x .claude/settings.json .cursor/rules/a.mdc .cursorrules
        .mcp.json .github/copilot-instructions.md .github/instructions/a.md skills/x/SKILL.md .aider.conf.yml""",
    "editor": """.vscode/tasks.json a/.vscode/settings.json .idea/workspace.xml .devcontainer/devcontainer.json .devcontainer.json x.code-workspace .vim/coc.vim .exrc .nvimrc .nvim.lua
        .dir-locals.el .zed/tasks.json x.sublime-project App.xcodeproj/project.pbxproj""",
    "ci": """.github/workflows/ci.yml .github/actions/a/action.yml .gitlab-ci.yml .gitlab/ci/x.yml Jenkinsfile Jenkinsfile.release .circleci/config.yml azure-pipelines.yml .buildkite/pipeline.yml
        .travis.yml .drone.yml .drone.star .woodpecker.yml .woodpecker/a.yml .ci/run.sh ci/run.sh .forgejo/workflows/a.yml bitbucket-pipelines.yml appveyor.yml .cirrus.yml Procfile""",
    "build": """package.json web/package.json setup.py setup.cfg pyproject.toml tests/conftest.py noxfile.py tox.ini Makefile GNUmakefile src/Makefile.am rules.mk CMakeLists.txt x.cmake
        build.rs Cargo.toml .cargo/config.toml build.gradle build.gradle.kts app.gradle gradlew gradle/wrapper/gradle-wrapper.jar pom.xml .mvn/extensions.xml Rakefile lib/tasks/a.rake Gemfile x.gemspec
        go.mod go.work mix.exs Package.swift composer.json build.zig flake.nix meson.build justfile vite.config.ts .eslintrc.js .eslintrc.json babel.config.js Gruntfile.js WORKSPACE BUILD.bazel defs.bzl
        a.csproj Directory.Build.props Dockerfile api/Dockerfile.dev Containerfile compose.yaml docker-compose.override.yml main.tf Vagrantfile .pylintrc configure""",
    "dependency": """.npmrc .yarnrc.yml requirements.txt requirements-dev.txt poetry.lock uv.lock package-lock.json yarn.lock pnpm-lock.yaml Cargo.lock go.sum Gemfile.lock rust-toolchain.toml
        pip.conf Brewfile""",
}  # fmt: skip

HARMLESS = """README.md src/main.py src/hooks/useFoo.ts app/hooks.py docs/build/index.md src/makefile_parser/x.py tests/test_env.py environment.py .env.example agents/mod.rs docs/claude.txt notes.txt LICENSE .gitignore
    .editorconfig src/package.json5 config.json data/requirements.md my.vscode/x lib/ci/parser.py .autonomous/todo/task_list.md .autonomous/todo/task.toml .autonomous/todo/progress.md git.py a.go b.rs"""


@pytest.mark.parametrize(("kind", "path"), [(kind, path) for kind, paths in BY_KIND.items() for path in paths.split()])
def test_a_file_that_a_tool_takes_up_by_its_name_is_told_with_its_kind(kind: str, path: str) -> None:
    assert [hazard.kind for hazard in what_runs([Change(path, "A")])] == [kind]
    assert [hazard.kind for hazard in what_runs([Change(path.upper(), "M")])] == [kind]


@pytest.mark.parametrize("path", HARMLESS.split())
def test_an_ordinary_file_is_not_told(path: str) -> None:
    assert what_runs([Change(path, "A")]) == ()


@pytest.mark.parametrize(
    "path", ["Makefile.", "MAKEFILE ", "m\u200cakefile", ".husky./x", ".git\ufeffattributes", "\u017fetup.py"]
)
def test_a_name_that_only_some_file_systems_take_for_another_counts_as_that_one(path: str) -> None:
    assert len(what_runs([Change(path, "A")])) == 1


def test_the_list_is_in_the_order_of_the_kinds_and_says_why() -> None:
    assert what_runs(
        [
            Change("b/Makefile", "M"), Change("run", "A", EXECUTABLE), Change("Makefile", "D", 0, 0o100644), Change("main.c", "M"),
            Change(".husky/pre-push", "A", EXECUTABLE), Change("old", "M", EXECUTABLE, 0o100644), Change("same", "M", EXECUTABLE, EXECUTABLE),
        ]
    ) == (
        Hazard(".husky/pre-push", "hook", "runs as a git hook when you commit, check out or merge"),
        Hazard("Makefile", "build", "deleted; runs when the project is built, tested, linted or installed"),
        Hazard("b/Makefile", "build", "runs when the project is built, tested, linted or installed"),
        Hazard("old", "program", "became executable"),
        Hazard("run", "program", "is a new executable file"),
    )  # fmt: skip


def test_links_that_leave_the_tree_and_submodules_are_told() -> None:
    assert what_runs(
        [
            Change("home", "A", LINK, 0, "/home/me"), Change("up", "A", LINK, 0, "a/../../x"), Change("in", "A", LINK, 0, "src/main.py"),
            Change("unread", "A", LINK), Change("gone", "D", 0, LINK), Change("vendor/lib", "A", GITLINK),
        ]
    ) == (
        Hazard("vendor/lib", "submodule", "brings the code of another repository"),
        Hazard("home", "link", "is a link that points outside the tree, to /home/me"),
        Hazard("unread", "link", "is a link that points somewhere that was not looked at"),
        Hazard("up", "link", "is a link that points outside the tree, to a/../../x"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("path", "target", "expected"),
    [
        ("a/b/link", "../../x", False),
        ("a/b/link", "../../../x", True),
        ("link", "..", True),
        ("link", ".", False),
        ("link", "other/../x", True),
        ("link", ".git/hooks/post-merge", True),
        ("a/link", "../.GIT", True),
        ("link", "C:\\Users", True),
        ("link", "C:/Users", True),
        ("link", "~/x", True),
        ("link", "./a//b", False),
    ],
)
def test_a_link_leaves_the_tree_when_its_text_may_lead_out(path: str, target: str, expected: bool) -> None:
    assert leaves(path, target) is expected


@pytest.mark.parametrize(
    ("paths", "told"),
    [
        ("x/HEAD x/config x/objects/keep x/refs/heads/main x/readme", "x/HEAD x/config x/readme"),
        ("x/y/head x/y/OBJECTS/a x/y/refs/b", "x/y/head"),
        ("HEAD config objects/a refs/b", "HEAD config"),
        ("x/HEAD x/commondir x/config", "x/HEAD x/commondir x/config"),
        ("x/HEAD x/objects/a", ""),
        ("x/HEAD y/objects/a z/refs/a", ""),
    ],
)
def test_a_bare_repository_made_of_plain_files_is_told(paths: str, told: str) -> None:
    found = what_runs([Change(path, "A") for path in paths.split()])
    assert [hazard.path for hazard in found] == told.split()
    assert {hazard.kind for hazard in found} <= {"git"}


def test_the_users_own_hooks_folder_in_the_tree_counts_wherever_it_is() -> None:
    changed = [Change("build-support/git/check", "M"), Change("build-support/other", "M")]
    assert what_runs(changed) == ()
    assert [hazard.path for hazard in what_runs(changed, hooks_path="./Build-Support/git/")] == [
        "build-support/git/check"
    ]


def test_every_kind_has_a_place_in_the_order() -> None:
    assert set(BY_KIND) | {"submodule", "link", "program"} == set(KINDS)


def test_a_hundred_thousand_paths_take_no_time_to_speak_of() -> None:
    changed = [Change(f"src/part{number % 977}/module{number}.py", "A") for number in range(100_000)]
    began = time.process_time()
    assert what_runs(changed) == ()
    assert time.process_time() - began < 5
