"""Whole runs of seconds: what must hold of their states, lines and models."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import prune.engine.epoch
from prune.architectures.build import build_model
from prune.base.files import read_json, read_jsonl
from prune.engine.state import PruningState
from prune.rundir.checkpoint import read_tensors
from tests.conftest import Compose
from tests.engine.runs import RunTiny, equal, final, finished

DEPTH = 2
HEADS, NEURONS = DEPTH * 4, DEPTH * 32
"""Of the tiny run's dense model."""


def test_lines_of_the_files(run_tiny: RunTiny) -> None:
    directory = finished(run_tiny("method=rsst"))
    metrics, states = read_jsonl(directory.metrics), read_jsonl(directory.states)
    assert [(line["state"], line["epoch"]) for line in metrics] == [(s, e) for s in range(3) for e in range(2)]
    assert set(metrics[0]) == {"state", "epoch", "lr", "penalty", "train_loss", "train_accuracy", "val_loss", "val_accuracy",
                               "parameters", "seconds", "images_per_second"}  # fmt: skip
    assert set(states[0]) == {"state", "rate", "rates", "kept", "groups", "parameters", "macs", "val_accuracy_pruned",
                              "val_accuracy_before_removal", "val_accuracy_after_removal", "marked_norm_ratio", "best_epoch",
                              "val_accuracy_best", "val_accuracy_final", "test_accuracy_best", "test_accuracy_final",
                              "test_top5_best", "test_top5_final", "epochs_since_rewind", "training_flops",
                              "seconds"}  # fmt: skip
    assert states[0]["kept"] == {"heads": HEADS, "neurons": NEURONS}
    assert list(states[0]["groups"].items()) == [
        ("blocks.0.attn", 4), ("blocks.0.mlp", 32), ("blocks.1.attn", 4), ("blocks.1.mlp", 32)
    ]  # fmt: skip
    assert states[0]["val_accuracy_pruned"] is None and states[1]["val_accuracy_pruned"] is not None
    # λ at the epoch's last step: nothing in state 0, the ceiling at the ramp's end, nothing once the units are gone.
    assert [line["penalty"] for line in metrics] == [None, None, 200.0, None, 200.0, None]


def test_state_0_is_bit_identical_for_all_methods(run_tiny: RunTiny) -> None:
    refill, rsst, dense = (finished(run_tiny(f"method={name}")) for name in ("refill", "rsst", "dense"))
    assert equal(final(refill, 0), final(rsst, 0))
    assert equal(final(refill, 0), final(dense, 0))
    assert not equal(final(refill, 1), final(rsst, 1))


@pytest.mark.parametrize("method", ["refill", "rsst"])
def test_best_and_final_are_models_of_the_states_rate(run_tiny: RunTiny, method: str) -> None:
    directory = finished(run_tiny(f"method={method}", "schedule.target=0.6"))
    previous = None
    for line in read_jsonl(directory.states):
        groups = read_json(directory.manifest(line["state"]))["groups"]
        heads = [groups[f"blocks.{block}.attn"]["kept"] for block in range(DEPTH)]
        neurons = [groups[f"blocks.{block}.mlp"]["kept"] for block in range(DEPTH)]
        rate = 1 - 0.4 ** (line["state"] / 2)
        assert sum(map(len, heads)) == line["kept"]["heads"] == round((1 - rate) * HEADS)
        assert sum(map(len, neurons)) == line["kept"]["neurons"] == round((1 - rate) * NEURONS)
        assert line["groups"] == {name: len(group["kept"]) for name, group in groups.items()}
        for name in ("final", "best"):
            tensors = read_tensors(directory.state(line["state"]) / f"{name}.safetensors")
            assert sum(tensor.numel() for tensor in tensors.values()) == line["parameters"]
            assert [len(tensors[f"blocks.{block}.mlp.fc1.bias"]) for block in range(DEPTH)] == list(map(len, neurons))
        units = {(name, unit) for name, group in groups.items() for unit in group["kept"]}
        assert previous is None or units <= previous  # once pruned, always pruned
        previous = units


def test_state_0_without_epochs_prunes_the_model_it_was_given(run_tiny: RunTiny, compose_tiny: Compose) -> None:
    directory = finished(run_tiny("method=refill", "method.rewind=none", "schedule.epochs_first=0"))
    config = compose_tiny("method=refill")
    assert equal(final(directory, 0), build_model(config.architecture(), config.seed).state_dict())
    line = read_jsonl(directory.states)[0]
    assert line["best_epoch"] is None and line["test_accuracy_best"] == line["test_accuracy_final"]


def test_a_loss_that_is_not_finite_fails_the_run_and_leaves_the_last_good_checkpoint(
    run_tiny: RunTiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = prune.engine.epoch.lr_at

    def explosive(state: PruningState, step: int) -> float:
        return 1e30 if (state.index, step) == (1, 3) else real(state, step)

    monkeypatch.setattr(prune.engine.epoch, "lr_at", explosive)
    outcome = run_tiny("method=refill")
    assert outcome.status == "failed"
    error = str(outcome.error)
    assert "state 1, epoch 0, step 4" in error and "learning rate" in error
    assert read_json(outcome.directory.status)["error"] == error
    assert len(read_jsonl(outcome.directory.states)) == 1
    monkeypatch.undo()
    again = finished(run_tiny("method=refill"))
    whole = Path(str(again.path) + "-first")
    shutil.move(again.path, whole)
    assert equal(read_tensors(whole / "checkpoints/state_02/final.safetensors"), final(finished(run_tiny("method=refill")), 2))


def test_bf16_trains(run_tiny: RunTiny) -> None:
    directory = finished(run_tiny("method=refill", "optim.precision=bf16", "schedule.states=2", "schedule.epochs_first=6"))
    losses = [line["train_loss"] for line in read_jsonl(directory.metrics)]
    assert losses[5] < losses[0]
    assert final(directory, 1)["head.weight"].dtype == torch.float32
