"""Which model is a state's best, what is never saved, and what every state leaves for paired statistics."""

from __future__ import annotations

import signal
from typing import Any

import numpy as np
import pytest
import torch

import prune
from prune.base.files import read_jsonl
from prune.base.registries import DATASETS
from prune.engine.cell import run_cell
from prune.engine.training import Training
from prune.methods.refill import Refill
from prune.rundir.predictions import read_correct
from tests.conftest import Compose
from tests.engine.runs import RunTiny, equal, final, finished


@pytest.mark.parametrize(
    ("epochs", "best"),
    [
        ([(90.0, 0.5), (90.0, 0.4), (90.0, 0.4)], 1),  # the lower loss, then the first
        ([(90.0, 0.5), (89.0, 0.1), (90.0, 0.6)], 0),  # accuracy first
        ([(80.0, 0.5), (90.0, 9.0)], 1),
    ],
)
def test_ties_of_accuracy_go_to_the_lower_loss(epochs: list[tuple[float, float]], best: int) -> None:
    training: Any = Training.__new__(Training)
    training.model, training.best = torch.nn.Linear(2, 2), None
    for epoch, (training.val_accuracy, training.val_loss) in enumerate(epochs):
        training.keep_if_best(epoch)
    assert training.best["epoch"] == best


def test_weights_that_are_not_finite_are_never_saved(compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finite loss, an infinite gradient, and a stop signal in that very step: the earlier checkpoint stays, and goes on."""
    undisturbed = finished(run_cell(compose_tiny("method=refill")))
    config = compose_tiny("method=refill", "name=disturbed")
    with monkeypatch.context() as patch:
        before_step = Refill.before_step

        def infinite(self: Refill, state: Any, position: int) -> None:
            before_step(self, state, position)
            if (state.index, position) == (1, 10):
                state.model.head.weight.grad.fill_(float("inf"))
                signal.raise_signal(signal.SIGTERM)

        patch.setattr(Refill, "before_step", infinite)
        outcome = run_cell(config)
    assert outcome.status == "failed"
    assert outcome.error is not None and outcome.error.startswith("weights became infinite or nan in state 1, ")
    assert outcome.error.endswith("lower optim.lr or set optim.grad_clip.")
    resumed = finished(run_cell(config))
    assert all(equal(final(undisturbed, state), final(resumed, state)) for state in range(3))


def test_predictions_are_those_of_the_best_model(run_tiny: RunTiny, compose_tiny: Compose) -> None:
    directory = finished(run_tiny("method=refill"))
    options = compose_tiny("method=refill").dataset
    splits = DATASETS.load("digits")(options).load()
    for line in read_jsonl(directory.states):
        model = prune.load(directory.state(line["state"]))
        data = model.manifest.data
        for split, key in (("test", "test_accuracy_best"), ("val", "val_accuracy_best")):
            images = (splits.of(split).images / 255 - np.array(data.mean)[:, None, None]) / np.array(data.std)[:, None, None]
            with torch.no_grad():
                right = model(torch.tensor(images, dtype=torch.float32)).argmax(1).numpy() == splits.of(split).labels
            correct = read_correct(directory, line["state"], split)
            assert correct is not None and (correct == right).all()
            assert line[key] == pytest.approx(100 * right.mean())


def test_the_plan_counts_what_training_counts(run_tiny: RunTiny, compose_tiny: Compose) -> None:
    from prune.sweep.work import flops_left

    soft = ("method=rsst", "method.ramp=0.55"), ("method=rsst", "method.ramp=1")
    taught = ("method=refill", "recipe.distillation.teacher=state0")
    for overrides in (("method=refill",), *soft, ("method=dense",), taught):
        directory = finished(run_tiny(*overrides))
        assert read_jsonl(directory.states)[-1]["training_flops"] == flops_left(compose_tiny(*overrides))


def test_a_states_seconds_include_ranking(run_tiny: RunTiny, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    prune_it = Refill.prune
    monkeypatch.setattr(Refill, "prune", lambda self, state: (time.sleep(0.3), prune_it(self, state)))
    lines = read_jsonl(finished(run_tiny("method=refill")).states)
    assert all(line["seconds"] >= 0.3 for line in lines[1:])


def test_a_run_that_compiles_does_so_once_for_each_set_of_sizes(run_tiny: RunTiny, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[int] = []

    def compile_(model: torch.nn.Module, **_: Any) -> torch.nn.Module:
        compiled.append(sum(parameter.numel() for parameter in model.parameters()))
        return model

    monkeypatch.setattr(torch, "compile", compile_)
    finished(run_tiny("method=rsst", "hardware.compile=true"))
    assert len(compiled) == len(set(compiled)) == 3
