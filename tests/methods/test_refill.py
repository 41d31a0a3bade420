"""Refill: what is kept is whole, and begins each state from the rewind point."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from prune.base.files import read_jsonl
from prune.base.seeding import derive
from prune.engine.cell import run_cell
from prune.engine.state import PruningState
from prune.methods.refill import Refill
from prune.rundir.checkpoint import read_tensors
from tests.conftest import Compose
from tests.engine.runs import RunTiny, equal, final, finished, stop_at

Began = dict[int, tuple[dict[str, torch.Tensor], Any]]
"""State → the tensors and the units with which its training began."""


@pytest.fixture
def began(monkeypatch: pytest.MonkeyPatch) -> Began:
    """Filled while runs of Refill go on in this process."""
    prune: Any = Refill.prune
    found: Began = {}

    def watched(self: Refill, state: PruningState) -> None:
        prune(self, state)
        found[state.index] = ({name: tensor.clone() for name, tensor in state.tensors().items()}, state.alive)

    monkeypatch.setattr(Refill, "prune", watched)
    return found


def check_slices(tensors: dict[str, torch.Tensor], alive: Any, dense: dict[str, torch.Tensor]) -> None:
    """A tiny run's tensors are the dense model's, cut to the neurons kept, unit by unit."""
    for block in range(2):
        kept = alive[f"blocks.{block}.mlp"]
        assert len(kept) < 32
        for name in ("weight", "bias"):
            key = f"blocks.{block}.mlp.fc1.{name}"
            assert torch.equal(tensors[key], torch.stack([dense[key][int(unit)] for unit in kept]))
    for name in ("pos_embed", "head.weight", "blocks.0.norm1.weight", "blocks.1.attn.proj.bias"):
        assert torch.equal(tensors[name], dense[name])


def test_a_state_rewound_to_init_starts_from_the_initial_weights_of_the_kept_units(run_tiny: RunTiny, began: Began) -> None:
    directory = finished(run_tiny("method=refill", "method.rewind=init"))
    point = read_tensors(directory.rewind("init"))
    assert began.keys() == {1, 2}
    for tensors, alive in began.values():
        check_slices(tensors, alive, point)


def test_reinit_draws_each_state_afresh_and_keeps_no_point(compose_tiny: Compose, began: Began) -> None:
    config = compose_tiny("method=refill", "method.rewind=reinit", "seed=4")
    directory = finished(run_cell(config))
    assert not list(directory.checkpoints.glob("rewind-*"))
    assert began.keys() == {1, 2}
    drawn = []
    for state, (tensors, alive) in began.items():
        torch.manual_seed(derive(4, "reinit", state))
        dense = config.architecture().create().state_dict()  # timm's own initialisation
        check_slices(tensors, alive, dense)
        drawn.append(dense["blocks.0.mlp.fc1.weight"])
    assert not torch.equal(*drawn)
    lines = read_jsonl(directory.states)
    assert [line["epochs_since_rewind"] for line in lines] == [2, 2, 2]


def test_a_reinitialised_run_that_was_stopped_ends_as_one_that_was_not(
    compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, stopped = (compose_tiny("method=refill", "method.rewind=reinit", f"name={name}") for name in ("whole", "stopped"))
    with monkeypatch.context() as patch:
        stop_at(patch, 1, 1, 3)
        assert run_cell(stopped).status == "preempted"
    one, other = finished(run_cell(whole)), finished(run_cell(stopped))
    assert all(equal(final(one, state), final(other, state)) for state in range(3))
