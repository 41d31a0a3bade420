"""Train, prune and compare vision models.

`prune.load(path)` gives a pruned model back, `prune.finetune(model, run)` trains one with a run's recipe, and
`prune.results(path)` gives every state of every run as one pandas table. Importing this package imports nothing heavy: each
is looked up when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prune.engine.finetune import Finetuned, finetune
    from prune.report.results import results
    from prune.rundir.loading import load

__version__ = "0.2.0"

__all__ = ["Finetuned", "finetune", "load", "results"]

_WHERE = {
    "load": "prune.rundir.loading",
    "finetune": "prune.engine.finetune",
    "Finetuned": "prune.engine.finetune",
    "results": "prune.report.results",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
