"""A dense, a pruned and a partly emptied model for every criterion."""

from __future__ import annotations

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from prune.pruning.compact import compact
from prune.pruning.keepset import KeepSet
from tests.architectures.vits import TINY, build, keep_set

KEEPS = {
    "dense": TINY.dense,
    "pruned": keep_set(([[0, 2], [1], [0, 1, 2]], [[0, 3, 4, 6], [2], [1, 5]])),
    "emptied": keep_set(([[0, 2], [], [1]], [[], [2, 3], [1, 5, 6]])),
}


@pytest.fixture(params=KEEPS)
def keep(request: pytest.FixtureRequest) -> KeepSet:
    return KEEPS[request.param]


@pytest.fixture
def model(keep: KeepSet) -> VisionTransformer:
    model = build(TINY, dtype=torch.float64)
    compact(model, TINY.architecture, TINY.dense, keep)
    return model
