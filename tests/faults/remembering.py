"""A method whose runs leave every kind of file: two rewind points, and a memory of the run."""

from __future__ import annotations

import torch

from prune.base.registries import METHODS
from prune.engine.state import PruningState
from prune.methods.refill import Refill, RefillOptions

NAME = "remembering"


class Options(RefillOptions):
    """Refill's, with a second rewind point, which is used in the last states."""

    @property
    def rewind_points(self) -> tuple[str, ...]:
        return ("init", "epoch:1")


class Remembering(Refill):
    """Rewinds to `init` in state 1 and to `epoch:1` afterwards; remembers how often, and a tensor."""

    Options = Options

    def prune(self, state: PruningState) -> None:
        state.remove(state.choose(state.score()))
        state.rewind("init" if state.index == 1 else "epoch:1")
        memory = state.run_memory
        memory["states"] = memory.get("states", 0) + 1
        memory["sum"] = memory.get("sum", torch.zeros(3)) + state.index
        state.record["remembered"] = memory["states"]


def register() -> None:
    """Make the method known under its name, in this process."""
    METHODS.table[NAME] = f"{__name__}:Remembering"


def forget() -> None:
    """Undo `register`."""
    METHODS.table.pop(NAME, None)
