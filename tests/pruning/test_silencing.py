"""Curves of sensitivity, measured: against compact models, and on a model that has a dead branch."""

from __future__ import annotations

import copy
import itertools
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from prune.architectures.build import build_model
from prune.architectures.group import Measure
from prune.base.files import read_jsonl
from prune.config import RunConfig
from prune.engine.cell import run_cell
from prune.engine.state import PruningState
from prune.pruning.budget import StateBudget
from prune.pruning.compact import compact
from prune.pruning.criteria.base import Scoring
from prune.pruning.keepset import KeepSet
from prune.pruning.options import ScoredOptions
from prune.pruning.ranking import choose
from prune.pruning.sensitivity import points
from prune.pruning.silencing import sensitivities
from prune.rundir.reader import read_run
from tests.conftest import Compose
from tests.engine.runs import RunTiny, equal, final, finished
from tests.engine.states import first_state

FAMILIES = {
    "vit": (),
    "swin": ("model=swin_micro", "model.embed_dim=16", "model.depths=[1,1]", "model.num_heads=[2,4]"),
    "mamba": ("model=mamba_hybrid_micro", "model.embed_dim=24", "model.depth=2"),
}
VIT = ("model.depth=2", "model.embed_dim=16", "model.num_heads=4", "model.mlp_ratio=2")


def small(compose: Compose, family: str, *overrides: str) -> RunConfig:
    sizes = VIT if family == "vit" else FAMILIES[family]
    return compose(
        "experiment=demo", "dataset=digits", *sizes, "schedule.states=2", "schedule.epochs=1", "schedule.epochs_first=1",
        "optim.batch_size=64", "hardware=cpu", "hardware.threads=1", "method=refill", "method.scope=sensitivity",
        "method.calibration_batches=3", *overrides,
    )  # fmt: skip


def last_budget(config: RunConfig, measure: Measure) -> StateBudget:
    schedule = config.schedule.model_copy(update={"measure": measure})
    return config.model_copy(update={"schedule": schedule}).budgets()[-1]


def scoring_of(state: PruningState) -> Scoring:
    options = state.options
    assert isinstance(options, ScoredOptions)
    return state._scoring(options)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_curves_are_the_losses_of_compact_models(compose: Compose, tmp_path: Path, family: str) -> None:
    """Of a model that has lost units already; what a group loses is cut away here, where it is silenced there."""
    config = small(compose, family)
    job, _ = first_state(config, tmp_path)
    structure = job.architecture.structure
    dense, draw = KeepSet.dense(structure), torch.Generator().manual_seed(0)
    alive = KeepSet({name: units[torch.rand(len(units), generator=draw) < 0.7] for name, units in dense.items()})
    model = build_model(job.architecture, 0)
    compact(model, job.architecture, dense, alive)
    model.double()
    state = job.state(1, model, alive)
    batches = [(images.double(), labels) for images, labels in scoring_of(state).batches()]
    scoring = replace(scoring_of(state), logits=model, batches=lambda: iter(batches))
    scores = {name: torch.rand(len(units), generator=draw) for name, units in alive.items()}
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = sensitivities(scoring, scores, alive, state.budget)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.training and all("forward" not in vars(module) for module in model.modules())

    def loss(keep: KeepSet) -> float:
        other = copy.deepcopy(model)
        compact(other, job.architecture, alive, keep)
        other.eval()
        with torch.no_grad():
            logits = torch.cat([other(images) for images, _ in batches])
        return F.cross_entropy(logits, torch.cat([labels for _, labels in batches])).item()

    whole = loss(alive)
    for group in structure.groups:
        units = alive[group.name]
        silenced = points(len(units) - state.budget.kinds[group.kind].floor)
        assert (group.name in found) == bool(silenced)
        if not silenced:
            continue
        curve = found[group.name]
        assert list(curve.units) == [0, *silenced]
        assert curve.loss[0] == pytest.approx(whole, rel=1e-9)
        worst_first = sorted(range(len(units)), key=lambda place, s=scores[group.name]: float(s[place]))  # type: ignore[misc]
        for silent, value in zip(curve.units[1:], curve.loss[1:], strict=True):
            left = units[sorted(worst_first[silent:])]
            assert value == pytest.approx(loss(KeepSet({**alive, group.name: left})), rel=1e-9)


@pytest.mark.parametrize("which", [0, -1], ids=["first kind", "last kind"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_dead_branch_goes_first_down_to_its_floor(compose: Compose, tmp_path: Path, family: str, which: int) -> None:
    """Of a model that is sure of what it says, so that changes cost: one branch is multiplied by zero."""
    config = small(compose, family, "schedule.target=0.5")
    job, state = first_state(config, tmp_path)
    structure, model = job.architecture.structure, state.model
    dense = KeepSet.dense(structure)
    dead = structure.of(structure.kinds[which])[0]
    with torch.no_grad():
        for parameter in model.get_submodule(dead.readers[-1].module).parameters():
            parameter.mul_(0)
    state = job.state(1, model, dense)
    images = torch.cat([images for images, _ in scoring_of(state).batches()])
    model.eval()
    with torch.no_grad():
        labels = model(images).argmax(1)
    scoring = replace(scoring_of(state), logits=lambda images: 1e4 * model(images), batches=lambda: iter([(images, labels)]))
    scores = state.score()
    curves = sensitivities(scoring, scores, dense, state.budget)
    assert set(curves[dead.name].loss) == {curves[dead.name].loss[0]}
    # Units without which the loss is even lower are better gone, and go before.
    harmful = {name: int((curve.slopes() < 0).sum()) for name, curve in curves.items()}
    assert sum(units == 0 for units in harmful.values()) >= len(harmful) / 2
    emptied = 0
    measures: tuple[Measure, ...] = ("units", "parameters", "macs")
    for measure, pools in itertools.product(measures, ("separate", "joint")):
        budget = last_budget(config, measure)
        floor = budget.kinds[dead.kind].floor
        keep = choose(scores, dense, structure, budget, pools, curves)
        lost = {group.name: group.count - len(keep[group.name]) for group in structure.groups}
        assert lost[dead.name] > 0
        others = [group for group in structure.groups if group is not dead and lost[group.name] > harmful[group.name]]
        if pools == "separate" and measure == "units":
            others = [group for group in others if group.kind == dead.kind]
        assert not others or len(keep[dead.name]) == floor
        emptied += len(keep[dead.name]) == floor
    assert emptied


def test_curves_are_kept_with_the_state_and_the_dense_state_has_none(run_tiny: RunTiny) -> None:
    for method in ("refill", "rsst"):
        directory = finished(run_tiny(f"method={method}", "method.scope=sensitivity", "method.calibration_batches=2"))
        dense, *pruned = read_jsonl(directory.states)
        assert "sensitivity" not in dense
        for before, line in zip([dense, *pruned], pruned, strict=False):
            assert line["sensitivity"].keys() == {name for name, units in before["groups"].items() if units > 1}
            for name, curve in line["sensitivity"].items():
                assert curve["units"][-1] == before["groups"][name] - 1
                assert line["groups"][name] >= 1
        assert read_run(directory.path).problems == ()


def test_a_measurement_that_was_interrupted_is_made_again(
    run_tiny: RunTiny, compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked to stop in the middle of state 2's curves: they are measured anew from the same weights."""
    keys = ("method=rsst", "method.scope=sensitivity", "method.calibration_batches=2")
    whole = finished(run_tiny(*keys))
    calls = []
    plain = PruningState._measure_sensitivity

    def stopped(self: PruningState, scores: Any) -> Any:
        check = self.check_stop

        def stop() -> None:
            calls.append(self.index)
            if self.index == 2 and calls.count(2) == 7:
                signal.raise_signal(signal.SIGTERM)
            check()

        self.check_stop = stop
        return plain(self, scores)

    config = compose_tiny(*keys, "name=stopped")
    with monkeypatch.context() as patch:
        patch.setattr(PruningState, "_measure_sensitivity", stopped)
        assert run_cell(config).status == "preempted"
    assert calls.count(2) == 7
    again = finished(run_cell(config))
    assert [line["sensitivity"] for line in read_jsonl(again.states)[1:]] == [
        line["sensitivity"] for line in read_jsonl(whole.states)[1:]
    ]
    assert all(equal(final(again, state), final(whole, state)) for state in range(3))
