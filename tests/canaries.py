"""Programs that git could be made to run, each with a canary in its place: a script that leaves a mark when it is run."""

from __future__ import annotations

from pathlib import Path

HOOKS = [
    "applypatch-msg", "commit-msg", "fsmonitor-watchman", "post-applypatch", "post-checkout", "post-commit", "post-index-change", "post-merge",
    "post-receive", "post-rewrite", "post-update", "pre-applypatch", "pre-auto-gc", "pre-commit", "pre-merge-commit", "pre-push", "pre-rebase",
    "pre-receive", "prepare-commit-msg", "push-to-checkout", "reference-transaction", "update",
]  # fmt: skip

SETTINGS = {
    "core.fsmonitor": "fsmonitor",
    "core.pager": "pager",
    "core.editor": "editor",
    "sequence.editor": "sequence-editor",
    "core.sshCommand": "ssh",
    "core.askPass": "askpass",
    "core.gitProxy": "proxy",
    "credential.helper": "credential-helper",
    "gpg.program": "gpg",
    "gpg.ssh.program": "gpg-ssh",
    "diff.external": "external-diff",
    "diff.evil.textconv": "textconv",
    "diff.evil.command": "diff-command",
    "filter.evil.clean": "clean",
    "filter.evil.smudge": "smudge",
    "filter.evil2.process": "process",
    "merge.evil.driver": "merge-driver",
    "interactive.diffFilter": "diff-filter",
    "uploadpack.packObjectsHook": "pack-objects",
    "gc.recentObjectsHook": "recent-objects",
    "alias.status": "!alias",
    "alias.add": "!alias",
    "alias.autonomous-helper": "!alias",
    "pager.status": "pager-of-status",
    "trailer.evil.command": "trailer",
}
ATTRIBUTES = "* filter=evil diff=evil merge=evil\n*.p filter=evil2\n"


class Canaries:
    """Scripts in a folder, and the file that they leave their marks in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = folder / "marks"
        folder.mkdir(parents=True)

    def script(self, name: str) -> Path:
        """A canary of this name. What it gets it gives back, so that a filter's work goes on."""
        path = self.folder / name
        path.write_text(f'#!/bin/sh\necho "{name}" >> {self.mark}\nexec cat\n')
        path.chmod(0o755)
        return path

    def marks(self) -> list[str]:
        return sorted(set(self.mark.read_text().split())) if self.mark.exists() else []

    def config(self) -> str:
        """A git configuration that names a canary wherever git takes a program."""
        lines = []
        for key, name in SETTINGS.items():
            section, _, rest = key.partition(".")
            middle, _, variable = rest.rpartition(".")
            header = f'[{section} "{middle}"]' if middle else f"[{section}]"
            shell = "!" if name.startswith("!") else ""
            lines.append(f"{header}\n\t{variable} = {shell}{self.script(name.lstrip('!'))}")
        return "\n".join(lines) + '\n[commit]\n\tgpgSign = true\n[filter "evil"]\n\trequired = true\n'

    def hooks(self, folder: Path) -> None:
        """Fill a folder with a canary for each of git's hooks."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in HOOKS:
            hook = folder / name
            hook.write_text(self.script(name).read_text())
            hook.chmod(0o755)
