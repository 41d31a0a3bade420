"""Dense: the same states and epochs, nothing pruned. The baseline that every comparison needs."""

from __future__ import annotations

from typing import Literal

from prune.engine.method import Method
from prune.pruning.options import MethodOptions


class DenseOptions(MethodOptions):
    rewind: Literal["none"] = "none"

    @property
    def prunes(self) -> bool:
        return False


class Dense(Method):
    Options = DenseOptions
