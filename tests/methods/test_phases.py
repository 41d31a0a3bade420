"""Phases: each method does in its states what it does alone, and a stop in any of them changes nothing."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch

from prune.base.errors import UserError
from prune.base.files import read_json, read_jsonl
from prune.base.registries import METHODS
from prune.engine.cell import run_cell
from prune.engine.method import Method
from prune.methods.phases import Phases
from prune.pruning.keepset import KeepSet
from prune.pruning.options import MethodOptions
from prune.pruning.ranking import choose
from prune.rundir.checkpoint import read_tensors
from prune.rundir.identity import run_id
from tests.conftest import TINY_RUN, Compose
from tests.engine.runs import RunTiny, equal, final, finished, stop_at

RSST, REFILL = "{name: rsst, penalty: {ceiling: 200}}", "{name: refill, rewind: init}"


def phases(*methods: str) -> tuple[str, str]:
    """Overrides: each method from the state of its place on, 1, 2, …"""
    listed = ", ".join(f"{{from_state: {number}, method: {method}}}" for number, method in enumerate(methods, 1))
    return "method=phases", f"method.phases=[{listed}]"


def without_seconds(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key not in ("seconds", "images_per_second")}


def test_one_phase_is_the_method_alone(run_tiny: RunTiny) -> None:
    alone, phase = finished(run_tiny("method=rsst", "method.penalty.ceiling=200")), finished(run_tiny(*phases(RSST)))
    assert phase.path.name.startswith("digits-phases-s0-")
    assert all(equal(final(alone, state), final(phase, state)) for state in range(3))
    for name in ("metrics", "states"):
        left, right = (list(map(without_seconds, read_jsonl(getattr(run, name)))) for run in (alone, phase))
        assert left == right and left


def test_each_method_acts_in_its_states(run_tiny: RunTiny, compose_tiny: Compose) -> None:
    """State 1 is RSST's to the bit; in state 2 Refill keeps, of the units that ended state 1, those of largest Σ|w|."""
    mixed, soft = finished(run_tiny(*phases(RSST, REFILL))), finished(run_tiny("method=rsst", "method.penalty.ceiling=200"))
    assert equal(final(mixed, 1), final(soft, 1)) and not equal(final(mixed, 2), final(soft, 2))
    _, one, two = read_jsonl(mixed.states)
    assert one["marked_norm_ratio"] is not None and two["marked_norm_ratio"] is None
    assert (one["epochs_since_rewind"], two["epochs_since_rewind"]) == (4, 2)
    assert [line["penalty"] is None for line in read_jsonl(mixed.metrics)] == [True, True, False, True, True, True]
    ended, groups = final(mixed, 1), (read_json(mixed.manifest(1)) or {})["groups"]
    scores = {
        (block, unit): float(ended[f"blocks.{block}.mlp.fc1.weight"][place].abs().sum())
        for block in range(2)
        for place, unit in enumerate(groups[f"blocks.{block}.mlp"]["kept"])
    }
    best = sorted(scores, key=lambda unit: (-scores[unit], unit))[: two["kept"]["neurons"]]
    kept = (read_json(mixed.manifest(2)) or {})["groups"]
    assert {(b, unit) for b in range(2) for unit in kept[f"blocks.{b}.mlp"]["kept"]} == set(best)


@pytest.mark.parametrize(("state", "epoch"), [(1, 0), (2, 1)])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch, state: int, epoch: int
) -> None:
    chosen = phases(RSST, "{name: refill, rewind: reinit, criterion: random}")
    whole, stopped = (compose_tiny(*chosen, f"name={name}") for name in ("whole", "stopped"))
    with monkeypatch.context() as patch:
        stop_at(patch, state, epoch, 3)
        assert run_cell(stopped).status == "preempted"
    one, other = finished(run_cell(whole)), finished(run_cell(stopped))
    assert all(equal(final(one, state), final(other, state)) for state in range(3))


@pytest.mark.parametrize(
    "model", [("model=swin_micro", "model.embed_dim=8"), ("model=mamba_hybrid_micro", "model.embed_dim=16")]
)
def test_other_families(compose: Compose, model: tuple[str, ...]) -> None:
    others = [key for key in TINY_RUN if not key.startswith("model.")]
    directory = finished(run_cell(compose(*others, *model, *phases(RSST, REFILL), "schedule.epochs=2")))
    lines = read_jsonl(directory.states)
    dense = lines[0]["kept"]
    assert lines[-1]["kept"] == {kind: round(0.3 * units) for kind, units in dense.items()}


def test_a_unit_that_is_gone_stays_gone(compose_tiny: Compose) -> None:
    """A phase that leaves a kind alone, prunes nothing, or fills back, keeps no more than the phase before has left."""
    config = compose_tiny(
        *phases("{name: refill}", "{name: refill, targets: [heads]}", "{name: dense}", "{name: refill, fillback_rate: 0.9}"),
        "schedule.states=5",
        "schedule.shape=linear",
    )
    kept = [budget.kept for budget in config.budgets()]
    # Of 8 heads and 64 neurons; rates 0, 0.175, 0.35, 0.525, 0.7.
    assert kept == [
        {"heads": 8, "neurons": 64},
        {"heads": 7, "neurons": 53},
        {"heads": 5, "neurons": 53},
        {"heads": 5, "neurons": 53},
        {"heads": 5, "neurons": 53},
    ]
    assert [budget.rates["neurons"] for budget in config.budgets()] == pytest.approx([0, 0.175, 0.175, 0.175, 0.7])


HEADS, NEURONS = "{name: refill, targets: [heads]}", "{name: refill, targets: [neurons]}"


@pytest.mark.parametrize("measure", ["parameters", "macs"])
def test_under_a_budget_of_size_a_phase_prunes_its_own_kinds_alone(compose_tiny: Compose, measure: str) -> None:
    """Heads in state 1, neurons in state 2: the heads that are left by then stay, whatever size is to be saved."""
    config = compose_tiny(*phases(HEADS, NEURONS), f"schedule.measure={measure}", "schedule.rates=[0,0.2,0.35]")
    structure, planned = config.architecture().structure, config.budgets()
    assert [budget.pruned for budget in planned] == [(), ("heads",), ("neurons",)]
    alive, kept = KeepSet.dense(structure), []
    for budget in planned[1:]:
        scores = {name: torch.arange(len(units), dtype=torch.float32) for name, units in alive.items()}
        alive = choose(scores, alive, structure, budget)
        kept.append(structure.by_kind(alive.counts()))
        assert budget.limit is not None and structure.size(budget.measure, alive.counts()) <= budget.limit
    assert kept == [budget.kept for budget in planned[1:]]
    assert kept[0]["heads"] == kept[1]["heads"] < structure.units("heads")
    assert kept[0]["neurons"] == structure.units("neurons") > kept[1]["neurons"]


def test_a_phase_is_checked_in_its_own_states_and_on_what_is_left(compose_tiny: Compose) -> None:
    """What it alone could not do in states of others is no fault of it."""
    rates = "schedule.rates=[0,0.3,0.6]"
    compose_tiny(*phases("{name: refill, min_per_block: 2}", REFILL), rates)  # 8 heads in two blocks: 6, then 3
    with pytest.raises(UserError, match=r"min_per_block=2 does not fit: state 2 keeps 3 heads .* or schedule\.rates\.$"):
        compose_tiny(*phases(REFILL, "{name: refill, min_per_block: 2}"), rates)
    compose_tiny(*phases(HEADS, NEURONS), "schedule.targets={heads: 0.5, neurons: 0.8}")
    # All neurons are 57 % of the MACs; with the heads that went before, 60 % can go.
    macs = ("schedule.measure=macs", "schedule.rates=[0,0.2,0.6]")
    last = compose_tiny(*phases(HEADS, NEURONS), *macs).budgets()[-1]
    assert last.kept["neurons"] < 32
    with pytest.raises(UserError, match=r"^schedule.measure=macs: state 2 removes 60 % of the MACs, but the most that can go"):
        compose_tiny(*phases("{name: dense}", NEURONS), *macs)


def test_the_states_of_others_do_not_move_a_penalty(compose_tiny: Compose) -> None:
    """`ceiling: auto` is that of the states that RSST has; a short last one is another method's."""
    soft = "{name: rsst, penalty: {ceiling: auto}}"
    ceilings = []
    for last in (6, 1):
        config = compose_tiny(*phases(soft, REFILL), "schedule.epochs=6", f"schedule.epochs_last={last}")
        method = Phases(config, config.method)
        method.prepare(9)
        ceilings.append(method.of(1).ceiling)  # type: ignore[attr-defined]
    assert ceilings[0] == ceilings[1] > 0
    with pytest.raises(UserError, match=r"ramp=0.75 with schedule.epochs_last=1 leaves no epoch to recover in"):
        compose_tiny(*phases(REFILL, soft), "schedule.epochs=6", "schedule.epochs_last=1")


def test_a_phase_of_longer_states_is_planned(compose_tiny: Compose) -> None:
    """Scratch has all epochs so far in state 1; RSST after it is planned at its own place."""
    config = compose_tiny(*phases("{name: scratch, budget: run}", RSST))
    assert Phases.macs_per_epoch(config, config.method, [100, 60, 30]) == [100, 100, 60, 60, 60, 60, 60, 30]


def test_the_plan_counts_each_methods_epochs(compose_tiny: Compose) -> None:
    """RSST trains at the size of the state before until its removal (here the first of its two epochs); Refill at its own."""
    config = compose_tiny(*phases(RSST, REFILL))
    assert Phases.macs_per_epoch(config, config.method, [100, 60, 30]) == [100, 100, 100, 60, 30, 30]


class Early(Method):
    """Acts from state 0 on."""

    Options = MethodOptions
    changes_state_0: ClassVar[bool] = True


def test_what_acts_from_state_0_on_must_come_first(compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS.table, "early", f"{__name__}:Early")
    compose_tiny(*phases("{name: early}", RSST))
    with pytest.raises(UserError, match=r"^method.phases: early acts from state 0 on, so it must be the first phase\.$"):
        compose_tiny(*phases(RSST, "{name: early}"))


def test_identity_counts_every_key_of_every_phase(compose_tiny: Compose) -> None:
    ids = {
        run_id(compose_tiny(*phases(*methods)))
        for methods in ((RSST, REFILL), (RSST,), (RSST, "{name: refill, rewind: none}"), ("{name: rsst}", REFILL))
    }
    assert len(ids) == 4


def test_the_rewind_points_of_all_phases_are_kept(run_tiny: RunTiny) -> None:
    directory = finished(run_tiny(*phases("{name: refill, rewind: init}", "{name: refill, rewind: 'epoch:1'}")))
    points = [read_tensors(directory.rewind(name)) for name in ("init", "epoch-001")]
    assert not torch.equal(points[0]["head.weight"], points[1]["head.weight"])
