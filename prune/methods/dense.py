"""Dense: the same states and epochs, nothing pruned. The baseline that every comparison needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from prune.base.errors import UserError
from prune.engine.method import Method
from prune.pruning.options import MethodOptions

if TYPE_CHECKING:
    from prune.config.schema import RunConfig
    from prune.engine.state import PruningState


class DenseOptions(MethodOptions):
    rewind: str = Field("none", description="none; init, epoch:K or reinit: for comparisons with methods that rewind")

    @property
    def prunes(self) -> bool:
        return False


class Dense(Method):
    Options = DenseOptions

    @classmethod
    def check(cls, config: RunConfig, options: DenseOptions) -> None:
        if options.counts is not None:
            raise UserError("method.counts says how many units each group keeps, and dense keeps all; set it to null.")

    def prune(self, state: PruningState) -> None:
        state.rewind()
