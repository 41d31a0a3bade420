"""Dense: the same states and epochs, nothing pruned. The baseline that every comparison needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from prune.engine.method import Method
from prune.pruning.options import MethodOptions

if TYPE_CHECKING:
    from prune.engine.state import PruningState


class DenseOptions(MethodOptions):
    rewind: str = Field("none", description="none; init, epoch:K or reinit: for comparisons with methods that rewind")

    @property
    def prunes(self) -> bool:
        return False


class Dense(Method):
    Options = DenseOptions

    def prune(self, state: PruningState) -> None:
        state.rewind()
