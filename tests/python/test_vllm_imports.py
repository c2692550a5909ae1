"""The plugin's modules import each other one way, so each can be read after those it imports."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

import pytest

import ascend_prefetch.vllm as plugin

ROOT = Path(plugin.__file__).parent
PACKAGE = plugin.__name__


def name_of(path: Path) -> str:
    parts = (PACKAGE, *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in ROOT.rglob("*.py")}


def imported(path: Path) -> set[str]:
    """Modules of the plugin that a file imports, anywhere but for type checking alone."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom):
            continue
        package = ".".join([PACKAGE, *path.relative_to(ROOT).parts[: -node.level]])
        module = f"{package}.{node.module or ''}".rstrip(".") if node.level else node.module
        for alias in node.names:
            found |= {module, f"{module}.{alias.name}"} & MODULES.keys()
    return found - {name_of(path)}


def graph() -> dict[str, set[str]]:
    """What each module imports; the package itself is imported before all of them."""
    return {name: imported(path) - {PACKAGE} for name, path in MODULES.items()}


def test_imports_have_an_order():
    order = list(graphlib.TopologicalSorter(graph()).static_order())
    assert order.index(f"{PACKAGE}.switch") < order.index(f"{PACKAGE}.layer")


def test_a_cycle_is_found():
    found = graph()
    found[f"{PACKAGE}.switch"].add(f"{PACKAGE}.layer")
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(found).prepare()
