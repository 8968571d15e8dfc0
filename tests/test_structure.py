"""The package's docstring is the map: every module stands in one layer of it, and imports go down only."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import gitautonomous

PACKAGE = Path(gitautonomous.__file__).parent


def layers() -> list[list[str]]:
    """The modules of each layer, from the top, as the docstring gives them."""
    table = (gitautonomous.__doc__ or "").rpartition("holds this table):\n\n")[2]
    joined = re.sub(r"\n {4}", " ", table).strip().splitlines()
    return [line.rpartition(": ")[2].split(", ") for line in joined]


def imports(path: Path) -> set[str]:
    """The modules of the package (the folder `commands` counts as one) that a file imports, wherever in it."""
    depth = len(path.relative_to(PACKAGE).parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            found |= {node.module.partition(".")[0]} if node.module else {alias.name for alias in node.names}
    return found


def test_every_module_stands_in_one_layer_of_the_map() -> None:
    modules = {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in PACKAGE.rglob("*.py")} - {"__init__"}
    assert sorted(name for names in layers() for name in names) == sorted(modules)


def test_imports_go_down_only() -> None:
    height = {name: number for number, names in enumerate(layers()) for name in names}
    upward = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in PACKAGE.rglob("*.py")
        if path.name != "__init__.py"
        for name in imports(path) & height.keys()
        if height[name] < height[path.relative_to(PACKAGE).with_suffix("").parts[0]]
    ]
    assert upward == []
