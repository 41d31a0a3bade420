"""Whole runs of seconds: what must hold of their states, models and rewind points."""

from __future__ import annotations

import hashlib
import math
import shutil
from pathlib import Path

import pytest
import torch

from prune.pruning.budget import rates_of
from prune.engine.cell import Outcome, run_cell
from prune.rundir.checkpoint import read_tensors
from prune.base.files import read_json, read_jsonl
from prune.methods.penalty_growth import growth, simulate
from prune.architectures.build import build_model
from prune.architectures.shape import ViTShape
from tests.conftest import Compose

REFILL = ("method=refill", "method.rewind=init")


def finished(outcome: Outcome) -> Outcome:
    assert outcome.status == "done", outcome.error
    return outcome


def final(outcome: Outcome, state: int) -> dict[str, torch.Tensor]:
    return read_tensors(outcome.directory.state(state) / "final.safetensors")


def equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def shape_of(compose_tiny: Compose) -> ViTShape:
    return compose_tiny().shape()


def test_state_0_is_bit_identical_for_all_methods(run_tiny):
    refill, rsst, dense = (finished(run_tiny(f"method={name}")) for name in ("refill", "rsst", "dense"))
    assert equal(final(refill, 0), final(rsst, 0))
    assert equal(final(refill, 0), final(dense, 0))
    assert not equal(final(refill, 1), final(rsst, 1))


@pytest.mark.parametrize("method", ["refill", "rsst"])
def test_best_and_final_are_models_of_the_states_rate(run_tiny, compose_tiny, method):
    outcome = finished(run_tiny(f"method={method}", "schedule.target=0.6"))
    shape = shape_of(compose_tiny)
    previous = None
    for line in read_jsonl(outcome.directory.states):
        about = read_json(outcome.directory.state(line["state"]) / "pruned.json")
        heads, neurons = [len(block) for block in about["heads"]], [len(block) for block in about["neurons"]]
        rate = 1 - 0.4 ** (line["state"] / 2)
        assert sum(heads) == line["heads_kept"] == round((1 - rate) * shape.heads)
        assert sum(neurons) == line["neurons_kept"] == round((1 - rate) * shape.neurons)
        for name in ("final", "best"):
            tensors = read_tensors(outcome.directory.state(line["state"]) / f"{name}.safetensors")
            assert sum(tensor.numel() for tensor in tensors.values()) == line["parameters"]
            assert [len(tensors[f"blocks.{b}.mlp.fc1.bias"]) for b in range(shape.depth)] == neurons
        units = {(kind, b, unit) for kind in ("heads", "neurons") for b in range(shape.depth) for unit in about[kind][b]}
        assert previous is None or units <= previous  # once pruned, always pruned
        previous = units


def test_the_rewind_point_is_the_initial_model_and_never_changes(run_tiny, compose_tiny, monkeypatch):
    seen = []

    def digest(outcome_or_state) -> str:
        return hashlib.sha256(outcome_or_state.rewind.read_bytes()).hexdigest()

    from prune.methods.refill import Refill

    begin, end_epoch = Refill.begin, Refill.end_epoch
    monkeypatch.setattr(Refill, "begin", lambda self, state: (begin(self, state), seen.append(digest(state.job.directory))))
    monkeypatch.setattr(
        Refill, "end_epoch", lambda self, state, e: (end_epoch(self, state, e), seen.append(digest(state.job.directory)))
    )
    outcome = finished(run_tiny(*REFILL))
    assert len(seen) == 2 + 6 and len(set(seen)) == 1
    config = compose_tiny(*REFILL)
    assert equal(read_tensors(outcome.directory.rewind), build_model(config.model, config.shape(), config.seed).state_dict())


def test_a_state_rewound_to_init_starts_from_the_initial_weights_of_the_kept_units(run_tiny, monkeypatch):
    from prune.methods.refill import Refill

    begin, started = Refill.begin, {}

    def watched(self, state) -> None:
        begin(self, state)
        started[state.index] = ({name: t.clone() for name, t in state.tensors().items()}, state.alive)

    monkeypatch.setattr(Refill, "begin", watched)
    outcome = finished(run_tiny(*REFILL))
    point = read_tensors(outcome.directory.rewind)
    for tensors, alive in started.values():
        for number, kept in enumerate(alive.neurons):
            for name in ("weight", "bias"):
                key = f"blocks.{number}.mlp.fc1.{name}"
                assert torch.equal(tensors[key], torch.stack([point[key][int(unit)] for unit in kept]))
        for name in ("pos_embed", "head.weight", "blocks.0.norm1.weight", "blocks.1.attn.proj.bias"):
            assert torch.equal(tensors[name], point[name])


def test_rewind_to_an_epoch_is_what_the_weights_were_then(run_tiny):
    # Without a schedule that looks ahead, epoch 0 of a longer state is the whole of a state of one epoch.
    steady = ("optim.lr_schedule=constant", "optim.warmup_epochs=0")
    longer = finished(run_tiny("method=refill", "method.rewind=epoch:0", *steady))
    short = finished(run_tiny("method=dense", "schedule.epochs_first=1", *steady))
    assert equal(read_tensors(longer.directory.rewind), final(short, 0))


def test_rsst_with_ramp_1_ends_with_the_model_just_after_removal(run_tiny):
    outcome = finished(run_tiny("method=rsst", "method.ramp=1"))
    for line in read_jsonl(outcome.directory.states)[1:]:
        assert line["best_epoch"] == 1
        assert line["val_accuracy_best"] == line["val_accuracy_final"] == line["val_accuracy_after_removal"]
        assert line["test_accuracy_best"] == line["test_accuracy_final"]


def test_only_epochs_after_the_removal_can_be_best(run_tiny):
    outcome = finished(run_tiny("method=rsst", "method.ramp=0.5", "schedule.epochs=4"))
    metrics = read_jsonl(outcome.directory.metrics)
    for line in read_jsonl(outcome.directory.states)[1:]:
        after = [m for m in metrics if m["state"] == line["state"] and m["epoch"] >= 2]
        best = max(after, key=lambda m: (m["val_accuracy"], -m["epoch"]))
        assert (line["best_epoch"], line["val_accuracy_best"]) == (best["epoch"], best["val_accuracy"])
        assert {m["parameters"] for m in after} == {line["parameters"]}


def test_state_0_without_epochs_prunes_the_model_it_was_given(run_tiny, compose_tiny):
    outcome = finished(run_tiny("method=refill", "method.rewind=none", "schedule.epochs_first=0"))
    config = compose_tiny("method=refill")
    assert equal(final(outcome, 0), build_model(config.model, config.shape(), config.seed).state_dict())
    line = read_jsonl(outcome.directory.states)[0]
    assert line["best_epoch"] is None and line["test_accuracy_best"] == line["test_accuracy_final"]


def test_dense_never_prunes(run_tiny, compose_tiny):
    outcome = finished(run_tiny("method=dense"))
    assert rates_of(compose_tiny("method=dense")).overall == [0, 0, 0]
    assert {line["parameters"] for line in read_jsonl(outcome.directory.metrics)} == {shape_of(compose_tiny).parameters().total}


SOFT = ("experiment=demo", "dataset=digits", "method=rsst", "hardware=cpu", "hardware.threads=1", "schedule.states=2")


def test_the_simulated_weight_agrees_with_a_real_run(compose):
    config = compose(*SOFT, "method.penalty.ceiling=auto", "schedule.epochs_first=4")
    outcome = finished(run_cell(config))
    measured = read_jsonl(outcome.directory.states)[1]["marked_norm_ratio"]
    # The contract's ramp, spelt out: 0.75 of 6 epochs is 4.5, so the removal is after epoch 4.
    steps = 1203 // 32
    ramp, total, warmup = round(0.75 * 6 * steps), 6 * steps, steps
    lrs, growths = [], []
    for step in range(5 * steps):
        after = (step - warmup) / (total - warmup)
        lrs.append(3e-3 * (step + 1) / warmup if step < warmup else 3e-3 * (1 + math.cos(math.pi * after)) / 2)
        growths.append(growth("exp_custom_exponents", 4, step, ramp))
    ceiling = max(line["penalty"] or 0 for line in read_jsonl(outcome.directory.metrics))
    simulated = simulate(growths, lrs, ceiling, momentum=None).final
    # The loss still pulls at real weights while they shrink, hence a factor and not a digit.
    assert 0.5 < measured / simulated < 2


def test_soft_pruning_makes_the_removal_harmless_and_hard_removal_is_not(compose):
    lines = {}
    for ceiling in (200, 0):
        outcome = finished(run_cell(compose(*SOFT, f"method.penalty.ceiling={ceiling}", "schedule.epochs_first=8")))
        lines[ceiling] = read_jsonl(outcome.directory.states)[1]
    drop = {
        ceiling: line["val_accuracy_before_removal"] - line["val_accuracy_after_removal"] for ceiling, line in lines.items()
    }
    assert lines[200]["marked_norm_ratio"] < 1 / 100
    assert abs(drop[200]) < 1
    assert lines[0]["marked_norm_ratio"] > 0.5
    assert drop[0] > 1


def test_a_loss_that_is_not_finite_fails_the_run_and_leaves_the_last_good_checkpoint(run_tiny, monkeypatch):
    import prune.engine.train

    real = prune.engine.train.lr_at
    monkeypatch.setattr("prune.engine.train.lr_at", lambda state, step: 1e30 if (state.index, step) == (1, 3) else real(state, step))
    outcome = run_tiny("method=refill")
    assert outcome.status == "failed"
    assert "state 1, epoch 0, step 4" in outcome.error and "learning rate" in outcome.error
    assert read_json(outcome.directory.status)["error"] == outcome.error
    assert len(read_jsonl(outcome.directory.states)) == 1
    monkeypatch.undo()
    again = finished(run_tiny("method=refill"))
    whole = Path(str(again.directory.path) + "-first")
    shutil.move(again.directory.path, whole)
    assert equal(read_tensors(whole / "checkpoints/state_02/final.safetensors"), final(finished(run_tiny("method=refill")), 2))


def test_bf16_trains(run_tiny):
    outcome = finished(run_tiny("method=refill", "optim.precision=bf16", "schedule.states=2", "schedule.epochs_first=6"))
    losses = [line["train_loss"] for line in read_jsonl(outcome.directory.metrics)]
    assert losses[5] < losses[0]
    assert final(outcome, 1)["head.weight"].dtype == torch.float32


@pytest.mark.parametrize("keep", ["last", "best"])
def test_checkpoint_keep_bounds_what_stays(run_tiny, keep):
    outcome = finished(run_tiny("method=refill", f"checkpoint.keep={keep}"))
    names = sorted(
        str(path.relative_to(outcome.directory.checkpoints))
        for path in outcome.directory.checkpoints.glob("state_*/*.safetensors")
    )
    newest = ["state_02/best.safetensors", "state_02/final.safetensors"]
    assert names == (newest if keep == "last" else ["state_00/best.safetensors", "state_01/best.safetensors", *newest])
