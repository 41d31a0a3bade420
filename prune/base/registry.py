"""Names in a configuration → the code behind them, imported only when it is used.

A registry is a plain table `name → "module:attribute"`. Composing and validating a configuration reads the names alone,
so it never imports torch. Other packages add names through Python entry points of the registry's group.
"""

from __future__ import annotations

import pkgutil
from importlib.metadata import entry_points
from typing import Any

from prune.base.errors import UserError


class Registry:
    """One kind of thing that a configuration chooses by name.

    Args:
        key: the configuration key that names an entry, for error messages (`method.name`).
        group: the entry-point group in which other packages may add entries (`prune.methods`).
        builtin: `name → "module:attribute"`.
    """

    def __init__(self, key: str, group: str, builtin: dict[str, str]):
        self.key, self.group, self.table = key, group, dict(builtin)

    @property
    def leaf(self) -> str:
        """The key without its section: `family` of `model.family`."""
        return self.key.rpartition(".")[2]

    def names(self) -> list[str]:
        """Every name that can be chosen, those of other installed packages included."""
        return sorted({*self.table, *(entry.name for entry in entry_points(group=self.group))})

    def __contains__(self, name: str) -> bool:
        return name in self.table or any(entry.name == name for entry in entry_points(group=self.group))

    def plugin(self, name: str) -> str | None:
        """`my-pruning 1.2`: the installed package that adds an entry, with its version; None for the project's own."""
        if name in self.table:
            return None
        found = next((entry.dist for entry in entry_points(group=self.group) if entry.name == name), None)
        return None if found is None else f"{found.name} {found.version}"

    def load(self, name: str) -> Any:
        """Import and return the entry; `UserError` that lists the valid names if there is none."""
        if name in self.table:
            return pkgutil.resolve_name(self.table[name])
        for entry in entry_points(group=self.group):
            if entry.name == name:
                return entry.load()
        raise UserError(
            f"{self.key}={name!r} is not known; choose one of {', '.join(self.names())} (an installed package can add to them, "
            f"under the entry point {self.group})."
        )
