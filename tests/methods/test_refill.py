"""Refill: what is kept is whole, and begins each state from the rewind point."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from prune.engine.state import PruningState
from prune.methods.refill import Refill
from prune.rundir.checkpoint import read_tensors
from tests.engine.runs import RunTiny, finished


def test_a_state_rewound_to_init_starts_from_the_initial_weights_of_the_kept_units(
    run_tiny: RunTiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Refill.prune
    started: dict[int, Any] = {}

    def watched(self: Refill, state: PruningState) -> None:
        begin(self, state)
        started[state.index] = ({name: tensor.clone() for name, tensor in state.tensors().items()}, state.alive)

    monkeypatch.setattr(Refill, "prune", watched)
    directory = finished(run_tiny("method=refill", "method.rewind=init"))
    point = read_tensors(directory.rewind("init"))
    assert started.keys() == {1, 2}
    for tensors, alive in started.values():
        for block in range(2):
            kept = alive[f"blocks.{block}.mlp"]
            assert len(kept) < 32
            for name in ("weight", "bias"):
                key = f"blocks.{block}.mlp.fc1.{name}"
                assert torch.equal(tensors[key], torch.stack([point[key][int(unit)] for unit in kept]))
        for name in ("pos_embed", "head.weight", "blocks.0.norm1.weight", "blocks.1.attn.proj.bias"):
            assert torch.equal(tensors[name], point[name])
