"""Imports go one way: a wing of `prune` imports itself and the wings before it, and no module imports itself in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "prune"

ORDER = (
    "base", "architectures", "pruning", "data", "config", "rundir", "tracking_wandb", "engine", "methods", "export", "report",
    "analysis", "sweep", "cli", "__main__",
)  # fmt: skip
"""From what everything may use to what uses everything. CONTRIBUTING.md says why."""

MODULES = {
    ".".join(("prune", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def imported(module: str) -> Iterator[str]:
    """The modules of `prune` that a module imports anywhere: at its top, in functions, and for the type checker alone."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{module} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith("prune."):
                yield name if name in MODULES else name.rpartition(".")[0]


IMPORTS = {module: sorted(set(imported(module)) - {module}) for module in MODULES if module != "prune"}
# `prune/__init__.py` looks `load` up when it is used: it is the package's front door, above everything.


def wing(module: str) -> str:
    return module.split(".")[1]


def test_every_module_lies_in_a_wing_that_has_its_place() -> None:
    assert {wing(module) for module in IMPORTS} == set(ORDER)


@pytest.mark.parametrize("module", IMPORTS)
def test_a_module_imports_only_its_own_wing_and_those_before(module: str) -> None:
    later = [name for name in IMPORTS[module] if name != "prune" and ORDER.index(wing(name)) > ORDER.index(wing(module))]
    assert not later, f"{module} imports {', '.join(later)}"


def test_no_module_imports_itself_in_a_circle() -> None:
    tuple(TopologicalSorter(IMPORTS).static_order())  # raises CycleError, which names the circle
