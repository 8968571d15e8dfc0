"""What would run on somebody's machine after a merge: judged by path, mode and link target alone. Pure.

A file counts when a tool takes it up by its name: git, an editor, a shell, a build, an agent. A project's own source is not meant: who runs that, knows it. Names are
compared as the most lenient file system would: without case, without invisible characters, without dots and spaces at the end.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import translate
from typing import NamedTuple

EXECUTABLE, LINK, GITLINK = 0o100755, 0o120000, 0o160000


class Change(NamedTuple):
    """One changed path. `status`: git's letter, of which only D (deleted) matters; `mode`, `before`: git's modes, 0 where there is no file;
    `target`: where a symbolic link points, None when nobody looked."""

    path: str
    status: str
    mode: int = 0o100644
    before: int = 0
    target: str | None = None


@dataclass(frozen=True)
class Hazard:
    """A changed path that something runs or obeys. `kind`: one of KINDS; `why`: who takes it up, and when."""

    path: str
    kind: str
    why: str


class _Rule(NamedTuple):
    """`names`: file names; `folders`: everything below a folder of this name, at any depth, or below this path from the top; all may hold `*`."""

    kind: str
    why: str
    names: str = ""
    folders: str = ""


GIT_HOOKS = """applypatch-msg commit-msg fsmonitor-watchman post-applypatch post-checkout post-commit post-index-change post-merge post-receive
    post-rewrite post-update pre-applypatch pre-auto-gc pre-commit pre-merge-commit pre-push pre-rebase pre-receive prepare-commit-msg proc-receive
    push-to-checkout reference-transaction sendemail-validate"""

_RULES = (
    _Rule(
        "hook", "runs as a git hook when you commit, check out or merge",
        " ".join(f"{name} {name}.*" for name in GIT_HOOKS.split()),
        ".husky .githooks .git-hooks githooks git-hooks git_hooks .hooks /hooks /scripts/hooks /tools/hooks /.config/hooks",
    ),
    _Rule(
        "hook", "tells a hook manager what to run when you commit",
        """.pre-commit-config.yaml .pre-commit-config.yml .pre-commit-hooks.yaml prek.toml .huskyrc .huskyrc.* husky.config.* lefthook.* .lefthook.* lefthook-local.*
        .lefthook-local.* .overcommit.yml .local-overcommit.yml .lintstagedrc .lintstagedrc.* lint-staged.config.* .commitlintrc .commitlintrc.* commitlint.config.*
        .simple-git-hooks.* simple-git-hooks.* .captainhook.json captainhook.json grumphp.yml grumphp.yml.dist .czrc .cz.toml .hk.pkl hk.pkl
        """,
        ".git-hooks.d .lefthook .overcommit",
    ),
    _Rule(
        "git", "git obeys it: filters, merge drivers and diff programs, addresses of submodules, settings",
        ".gitattributes .gitmodules .gitconfig .lfsconfig .gitalias", ".git.d",
    ),
    _Rule(
        "git", "configures another version control system, which a shell's prompt may call when you enter the folder", ".hgrc hgrc", ".hg .jj .svn .bzr _darcs"
    ),
    _Rule(
        "autonomous", "git autonomous obeys it: commands, rights, and which ignored files are copied", ".autonomous.toml .worktreeinclude"
    ),
    _Rule(
        "shell", "runs when you enter the folder, or when a shell or an interpreter starts in it",
        """.envrc .env .env.local .env.*.local .env.dev* .env.prod* .env.test .env.ci .env.staging .env.docker .env.default* .autoenv .autoenv.zsh .bashrc .bash_profile .bash_aliases .profile .zshrc .zshenv .zprofile .kshrc .inputrc .tmux.conf .screenrc .gdbinit
        .lldbinit .pdbrc .pdbrc.py .rprofile .renviron .irbrc .pryrc .pythonrc .pythonrc.py .psqlrc .sqliterc .octaverc .ghci .ocamlinit .netrc .curlrc .wgetrc
        sitecustomize.py usercustomize.py *.pth .ps1 profile.ps1 desktop.ini autorun.inf""",
        ".direnv .zsh .bash",
    ),
    _Rule(
        "shell", "chooses the programs that your version manager installs and runs",
        "mise.toml mise.*.toml .mise.toml .mise.*.toml .rtx.toml .tool-versions .sdkmanrc devbox.json devenv.nix devenv.yaml .prototools .pkgx.yaml pkgx.yaml .flox",
        ".mise mise .devenv .flox /.config/mise",
    ),
    _Rule(
        "agent", "instructs or configures coding agents, which run commands",
        """agents.md agents.*.md claude.md claude.*.md gemini.md qwen.md warp.md copilot-instructions.md skill.md .cursorrules .windsurfrules .clinerules .roomodes .roorules
        .goosehints .aider* .mcp.json mcp.json opencode.json opencode.jsonc .rules""",
        """.codex .agents .agent .aws .claude .cursor .windsurf .clinerules .roo .gemini .qwen .continue .kiro .junie .augment .opencode .trae .amazonq .goose .amp .factory
        /.github/instructions /.github/prompts /.github/chatmodes /.github/agents /.github/copilot""",
    ),
    _Rule(
        "editor", "runs or is obeyed when an editor opens the folder: tasks, launch settings, extensions, local scripts",
        """*.code-workspace *.sublime-project *.sublime-build .devcontainer.json .exrc _exrc .vimrc _vimrc .gvimrc .nvimrc .nvim.lua .lvimrc .local.vimrc .vimspector.json
        .dir-locals.el .dir-locals-2.el .projectile .kakrc .project .classpath .gitpod.yml .gitpod.dockerfile coc-settings.json *.iml *.pbxproj *.xcscheme""",
        ".vscode .vscode-test .idea .run .devcontainer .vim .nvim .zed .fleet .helix .nova .settings .theia .emacs.d",
    ),
    _Rule(
        "ci", "runs in continuous integration or deployment, with the rights and secrets of the repository",
        """.gitlab-ci.* *.gitlab-ci.yml *.gitlab-ci.yaml jenkinsfile jenkinsfile.* *.jenkinsfile azure-pipelines*.yml azure-pipelines*.yaml .travis.yml .drone.* .woodpecker.yml .woodpecker.yaml
        .appveyor.yml appveyor.yml .cirrus.* bitbucket-pipelines.yml wercker.yml cloudbuild.* buildspec*.yml buildspec*.yaml .build.yml codefresh.yml codemagic.yaml
        screwdriver.yaml .zuul.yaml dagger.json action.yml action.yaml dependabot.yml dependabot.yaml renovate.json renovate.json5 .renovaterc* .mergify.yml
        netlify.toml vercel.json fly.toml render.yaml app.yaml procfile heroku.yml .ci-operator.yaml .releaserc .releaserc.* release.config.* .goreleaser.* .readthedocs.* readthedocs.yml""",
        """/.github/workflows /.github/actions .gitlab .circleci .azure .azure-pipelines .azuredevops .buildkite .drone .woodpecker .ci /ci .semaphore .teamcity .tekton .dagger .forgejo .gitea .builds
        .harness .concourse zuul.d""",
    ),
    _Rule(
        "build", "runs when the project is built, tested, linted or installed",
        """package.json setup.py setup.cfg pyproject.toml hatch_build.py conftest.py noxfile.py tox.ini pytest.ini .pytest.ini tasks.py fabfile.py dodo.py .pylintrc pylintrc .flake8 .coveragerc
        mypy.ini .mypy.ini manage.py scons* wscript waf makefile gnumakefile bsdmakefile makefile.* makefile_* *.mk *.mak *.make cmakelists.txt cmakepresets.json cmakeuserpresets.json *.cmake meson.build
        meson_options.txt build.ninja configure configure.ac configure.in *.m4 autogen.sh bootstrap.sh justfile .justfile *.just taskfile.yml taskfile.yaml taskfile.dist.* magefile.go earthfile
        build.rs cargo.toml build.gradle build.gradle.* settings.gradle settings.gradle.* init.gradle* *.gradle *.gradle.kts gradle.properties gradlew gradlew.bat gradle-wrapper.* pom.xml mvnw mvnw.cmd
        build.xml ivy.xml build.sbt *.sbt build.sc build.mill .sbtopts .jvmopts rakefile rakefile.rb *.rake gemfile gems.rb *.gemspec guardfile capfile vagrantfile berksfile thorfile .rspec .rubocop.yml
        .solargraph.yml go.mod go.work mix.exs rebar.config rebar.config.script package.swift podfile *.podspec fastfile appfile cartfile build.zig build.zig.zon *.nix nimble.cfg config.nims *.nims
        *.nimble dune dune-project *.opam *.cabal cabal.project* stack.yaml setup.hs makefile.pl build.pl cpanfile dist.ini composer.json phpunit.xml* deno.json deno.jsonc bunfig.toml
        angular.json nx.json project.json turbo.json lerna.json rush.json gruntfile.* gulpfile.* jakefile* *.config.js *.config.cjs *.config.mjs *.config.ts *.config.cts *.config.mts .*rc.js .*rc.cjs
        .*rc.mjs .*rc.ts .babelrc .eslintrc .eslintrc.* .stylelintrc* .prettierrc* .mocharc* .nycrc* .swcrc .jestrc* .pnpmfile.* pnpmfile.* *.csproj *.fsproj *.vbproj *.vcxproj *.proj *.props *.targets *.sln
        *.slnx nuget.config global.json build build.bazel workspace workspace.bazel workspace.bzlmod module.bazel .bazelrc .bazelversion *.bzl *.star .buckconfig buck targets.bzl pants.toml
        build.sh build.bat build.cmd build.ps1 install.sh install.ps1 setup.sh""",
        "/.mvn /gradle/wrapper buildsrc .cargo /.yarn /debian",
    ),
    _Rule(
        "build", "runs when its container or machine is built or started",
        "dockerfile dockerfile.* *.dockerfile containerfile containerfile.* docker-compose*.yml docker-compose*.yaml compose.yml compose.yaml compose.*.yml compose.*.yaml docker-bake.* "
        "tiltfile skaffold.yaml podman-compose.* *.pkr.hcl *.tf *.tf.json *.nomad user-data cloud-init.*",
    ),
    _Rule(
        "dependency", "decides which foreign code is installed, and from where",
        """.npmrc .yarnrc .yarnrc.* .pnpmrc .pypirc pip.conf pip.ini requirements*.txt requirements*.in constraints*.txt pipfile pipfile.lock poetry.lock uv.lock uv.toml pdm.lock pdm.toml pixi.toml pixi.lock
        pylock.toml pylock.*.toml environment.yml environment.yaml conda-lock.yml .condarc package-lock.json npm-shrinkwrap.json yarn.lock pnpm-lock.yaml pnpm-workspace.yaml bun.lock bun.lockb deno.lock
        cargo.lock go.sum go.work.sum gemfile.lock gems.locked .gemrc composer.lock auth.json mix.lock packages.lock.json packages.config paket.* pubspec.yaml pubspec.lock podfile.lock package.resolved
        flake.lock rust-toolchain rust-toolchain.toml brewfile brewfile.lock.json settings.xml gradle.lockfile verification-metadata.xml""",
        "/requirements",
    ),
)  # fmt: skip

KINDS = (*dict.fromkeys(rule.kind for rule in _RULES), "submodule", "link", "program")
"""Every kind of hazard, in the order in which they are listed."""


class _Table(NamedTuple):
    exact: Mapping[str, _Rule]
    patterns: tuple[tuple[re.Pattern[str], _Rule], ...]
    suffixes: Mapping[str, _Rule]
    folders: Mapping[str, _Rule]
    roots: tuple[tuple[str, _Rule], ...]


def _table() -> _Table:
    """The rules by what they look at, so that a path costs a few look-ups and not one comparison for each name. The first rule wins."""
    exact: dict[str, _Rule] = {}
    suffixes: dict[str, _Rule] = {}
    folders: dict[str, _Rule] = {}
    patterns: list[tuple[re.Pattern[str], _Rule]] = []
    roots: list[tuple[str, _Rule]] = []
    for rule in _RULES:
        globs = []
        for name in rule.names.split():
            if "*" not in name:
                exact.setdefault(name, rule)
            elif name.startswith("*.") and name.count(".") == 1 and "*" not in name[1:]:
                suffixes.setdefault(name[1:], rule)
            else:
                globs.append(translate(name))
        if globs:
            patterns.append((re.compile("|".join(globs)), rule))
        for folder in rule.folders.split():
            if folder.startswith("/"):
                roots.append((folder[1:] + "/", rule))
            else:
                folders.setdefault(folder, rule)
    return _Table(exact, tuple(patterns), suffixes, folders, tuple(roots))


_TABLE = _table()


def what_runs(changed: Iterable[Change], *, hooks_path: str | None = None) -> tuple[Hazard, ...]:
    """The changed paths that something runs or obeys, by kind, then path. A deletion counts: what was obeyed no longer is.

    `hooks_path`: the user's core.hooksPath when it lies in the tree, relative to its top.
    """
    hooks = f"{_plain(hooks_path.strip('/').removeprefix('./'))}/" if hooks_path else None
    changed = list(changed)
    repositories = _repositories(changed)
    found = [hazard for change in changed if (hazard := _hazard(change, hooks, repositories)) is not None]
    order = {kind: number for number, kind in enumerate(KINDS)}
    return tuple(sorted(found, key=lambda hazard: (order[hazard.kind], hazard.path)))


def _repositories(changed: Iterable[Change]) -> set[str]:
    """Folders in the tree that git takes for a bare repository when somebody, or the prompt of a shell, enters them: it then runs what the `config` in it names."""
    parts: dict[str, set[str]] = {}
    for change in changed:
        if change.status.startswith("D"):
            continue
        plain = _plain(change.path)
        folder, _, name = plain.rpartition("/")
        if name in ("head", "commondir"):
            parts.setdefault(folder, set()).add(name)
        for inner in ("objects", "refs"):
            at = f"/{plain}".rfind(f"/{inner}/")
            if at >= 0:
                parts.setdefault(plain[: max(0, at - 1)], set()).add(inner)
    return {
        folder for folder, has in parts.items() if "head" in has and ("commondir" in has or has >= {"objects", "refs"})
    }


def _hazard(change: Change, hooks: str | None, repositories: set[str]) -> Hazard | None:
    deleted = change.status.startswith("D")
    if not deleted and change.mode == GITLINK:
        return Hazard(change.path, "submodule", "brings the code of another repository")
    if not deleted and change.mode == LINK and leaves(change.path, change.target):
        where = "somewhere that was not looked at" if change.target is None else f"outside the tree, to {change.target}"
        return Hazard(change.path, "link", f"is a link that points {where}")
    plain = _plain(change.path)
    if hooks is not None and plain.startswith(hooks):
        return _told(change.path, _RULES[0], deleted)
    if repositories and plain.rpartition("/")[0] in repositories and not deleted:
        return Hazard(change.path, "git", "makes its folder a repository of its own, whose configuration git runs")
    rule = _rule(plain)
    if rule is not None:
        return _told(change.path, rule, deleted)
    if not deleted and change.mode == EXECUTABLE and change.before != EXECUTABLE:
        return Hazard(change.path, "program", "became executable" if change.before else "is a new executable file")
    return None


def _told(path: str, rule: _Rule, deleted: bool) -> Hazard:
    return Hazard(path, rule.kind, f"deleted; {rule.why}" if deleted else rule.why)


def _rule(plain: str) -> _Rule | None:
    *folders, name = plain.split("/")
    for folder in folders:
        if (rule := _TABLE.folders.get(folder)) is not None:
            return rule
    for root, rule in _TABLE.roots:
        if plain.startswith(root):
            return rule
    if (rule := _TABLE.exact.get(name)) is not None:
        return rule
    for pattern, rule in _TABLE.patterns:
        if pattern.match(name):
            return rule
    _, dot, suffix = name.rpartition(".")
    return _TABLE.suffixes.get(dot + suffix) if dot else None


def _plain(path: str) -> str:
    """The path as the most lenient file system compares it."""
    if not path.isascii():
        path = "".join(c for c in unicodedata.normalize("NFC", path) if unicodedata.category(c) != "Cf").casefold()
    path = path.lower()
    if " " in path or "." in path:
        path = "/".join(part.rstrip(". ") for part in path.split("/"))
    return path


def leaves(path: str, target: str | None) -> bool:
    """Whether a link at `path` may point outside the tree, or into a git dir. What cannot be told from the text counts as outside."""
    if target is None or target.startswith(("/", "~")) or "\\" in target or re.match(r"[A-Za-z]:", target):
        return True
    depth, named = path.count("/"), False
    for part in target.split("/"):
        if part == "..":
            depth -= 1
            if named or depth < 0:
                return True
        elif part not in ("", "."):
            named = True
            if _plain(part) in (".git", "git~1"):
                return True
    return False
