"""How a sentence names tensors of a model: by their modules where it can, and no more than it can hold."""

from __future__ import annotations

from collections.abc import Collection, Iterable

SHOWN = 3
"""Parts that a sentence names; of more it says how many there are."""


def named(tensors: Iterable[str], chosen: Collection[str]) -> str:
    """Three of the chosen tensors, in the order of `tensors`: by their outermost module of which all are chosen."""
    tensors = list(tensors)
    spared = {module for name in tensors if name not in chosen for module in _modules(name)}
    parts = dict.fromkeys(next((m for m in _modules(name) if m not in spared), name) for name in tensors if name in chosen)
    more = f" and {len(parts) - SHOWN} more" if len(parts) > SHOWN else ""
    return ", ".join(list(parts)[:SHOWN]) + more


def _modules(name: str) -> list[str]:
    """The modules that a tensor is in, the outermost first."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]
