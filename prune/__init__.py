"""Train, prune and compare Vision Transformers. `prune.load(path)` gives a pruned model back.

Importing this package imports nothing heavy: `load` is looked up when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prune.export.loading import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from prune.export.loading import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
