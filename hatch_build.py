"""Puts the manual pages and completion scripts into the wheel's shared data, made from the one definition of the commands."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Manuals(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the files in a folder of their own and name them in `build_data`."""
        sys.path.insert(0, self.root)
        from gitautonomous import cli, completion, manual, reference

        self.folder = tempfile.TemporaryDirectory()
        commands = reference.read(cli.app)
        files = {f"{manual.SHARED}/{name}": text for name, text in manual.pages(commands).items()}
        files |= {place: completion.script(shell, commands) for shell, place in completion.SHARED.items()}
        for number, (place, text) in enumerate(files.items()):
            path = Path(self.folder.name) / str(number)
            path.write_text(text, encoding="utf-8")
            build_data["shared_data"][str(path)] = place

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        self.folder.cleanup()
