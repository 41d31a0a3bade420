"""Scratch: each state's small model, drawn afresh, for the epochs that its budget says."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from prune.base.errors import UserError
from prune.base.files import read_jsonl
from prune.base.seeding import derive
from prune.engine.cell import run_cell
from prune.engine.state import PruningState
from prune.methods.scratch import Scratch
from prune.rundir.identity import run_directory
from prune.rundir.reader import read_run
from prune.sweep.work import macs_per_epoch
from tests.conftest import TINY_RUN, Compose
from tests.engine.runs import RunTiny, equal, final, finished, stop_at


def test_each_state_is_the_small_model_drawn_afresh(compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    prune: Any = Scratch.prune
    began: dict[int, Any] = {}

    def watched(self: Scratch, state: PruningState) -> None:
        prune(self, state)
        began[state.index] = ({name: tensor.clone() for name, tensor in state.tensors().items()}, state.alive.to_lists())

    monkeypatch.setattr(Scratch, "prune", watched)
    directory = finished(run_cell(compose_tiny("method=scratch", "seed=5")))
    lines = read_jsonl(directory.states)
    # Evenly: 4 of 8 heads and 35 of 64 neurons in state 1, 2 and 19 in state 2, of two blocks.
    assert [list(line["groups"].values()) for line in lines] == [[4, 32, 4, 32], [2, 18, 2, 17], [1, 10, 1, 9]]
    assert [line["epochs_since_rewind"] for line in lines] == [2, 2, 2]
    config = compose_tiny("method=scratch")
    for state, (tensors, alive) in began.items():
        assert alive["blocks.0.mlp"] == list(range(lines[state]["groups"]["blocks.0.mlp"]))
        torch.manual_seed(derive(5, "reinit", state))
        dense = config.architecture().create().state_dict()
        for name in ("blocks.0.mlp.fc1.weight", "blocks.1.mlp.fc1.bias"):
            assert torch.equal(tensors[name], dense[name][: len(tensors[name])])
        assert torch.equal(tensors["head.weight"], dense["head.weight"])


def test_its_state_0_is_that_of_the_others(run_tiny: RunTiny) -> None:
    one, other = finished(run_tiny("method=scratch")), finished(run_tiny("method=dense"))
    assert equal(final(one, 0), final(other, 0))


def test_the_budget_of_a_run_is_what_a_run_without_rewinding_has_had(compose_tiny: Compose) -> None:
    config = compose_tiny("method=scratch", "method.budget=run", "schedule.epochs_first=1", "schedule.epochs=2")
    assert [config.epochs_of(state) for state in range(3)] == [1, 3, 5]
    directory = finished(run_cell(config))
    run = read_run(directory.path)
    assert [line["epochs_since_rewind"] for line in run.states] == [1, 3, 5]
    assert [(line["state"], line["epoch"]) for line in run.metrics] == [
        (state, epoch) for state, count in enumerate((1, 3, 5)) for epoch in range(count)
    ]
    assert run.done and run.planned_epochs == 9 and run.position == (3, 0)
    sizes = [line["macs"] for line in run.states]
    assert macs_per_epoch(config) == [sizes[0]] + 3 * [sizes[1]] + 5 * [sizes[2]]


@pytest.mark.parametrize(("state", "epoch", "step"), [(1, 2, 3), (2, 3, 5)])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch, state: int, epoch: int, step: int
) -> None:
    whole, stopped = (compose_tiny("method=scratch", "method.budget=run", f"name={name}") for name in ("whole", "stopped"))
    with monkeypatch.context() as patch:
        stop_at(patch, state, epoch, step)
        assert run_cell(stopped).status == "preempted"
    assert read_run(run_directory(stopped).path).position == (state, epoch)
    one, other = finished(run_cell(whole)), finished(run_cell(stopped))
    assert all(equal(final(one, state), final(other, state)) for state in range(3))


FAMILIES = [("model=swin_micro", "model.embed_dim=8"), ("model=mamba_hybrid_micro", "model.embed_dim=16")]


@pytest.mark.parametrize("model", FAMILIES)
def test_other_families(compose: Compose, model: tuple[str, ...]) -> None:
    others = [key for key in TINY_RUN if not key.startswith("model.")]
    directory = finished(run_cell(compose(*others, *model, "method=scratch", "schedule.states=2")))
    dense, last = read_jsonl(directory.states)
    for kind, units in dense["kept"].items():
        assert last["kept"][kind] == round(0.3 * units)
    # Every block keeps its share, to less than one unit.
    for name, units in last["groups"].items():
        assert abs(units - 0.3 * dense["groups"][name]) < 1


def test_budgets_beyond_all_reason_are_refused(compose_tiny: Compose) -> None:
    with pytest.raises(UserError, match=r"^method.budget=run makes 18,042,024 epochs; a run has at most 1,000,000"):
        compose_tiny(
            "method=scratch", "method.budget=run", "schedule.states=3003", "schedule.epochs=4", "schedule.epochs_first=4"
        )
