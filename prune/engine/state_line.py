"""What a state comes to: its line of states.jsonl, and the refusal of weights that are not finite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prune.base.errors import TrainingFailed
from prune.engine.evaluate import Evaluation
from prune.engine.state import PruningState


@dataclass(frozen=True)
class Tested:
    """A finished state's models on test, and what its best one predicts, split by split."""

    best: Evaluation
    final: Evaluation
    predictions: Mapping[str, Evaluation]


def state_line(state: PruningState, tested: Tested) -> dict[str, Any]:
    """One line of states.jsonl; null where a field has no meaning."""
    assert state.best is not None
    return {
        "state": state.index,
        "rate": state.budget.rate,
        "rates": state.budget.rates if state.budget.measure == "units" else {},
        **state.sizes(),
        **({} if state.sensitivity is None else {"sensitivity": {n: c.to_json() for n, c in state.sensitivity.items()}}),
        **state.record.columns(),
        "best_epoch": state.best["epoch"],
        "val_accuracy_best": state.best["val_accuracy"],
        "val_accuracy_final": state.val_accuracy,
        "test_accuracy_best": tested.best.accuracy,
        "test_accuracy_final": tested.final.accuracy,
        "test_top5_best": tested.best.top5,
        "test_top5_final": tested.final.top5,
        "epochs_since_rewind": state.epochs_since_rewind,
        "training_flops": state.training_flops,
        "seconds": round(state.seconds, 3),
    }


def check_finite(tensors: Mapping[str, Tensor], state: PruningState) -> None:
    """Raise `TrainingFailed` unless all weights are finite: a finite loss may have an infinite gradient.

    Called before anything is saved, so that no checkpoint holds such weights.
    """
    floating = [tensor for tensor in tensors.values() if tensor.is_floating_point()]
    if not bool(torch.stack([tensor.isfinite().all() for tensor in floating]).all()):
        bad = next(name for name, tensor in tensors.items() if not bool(tensor.isfinite().all()))
        raise TrainingFailed(
            f"weights became infinite or nan in state {state.index}, {bad} among them (learning rate {state.lr:g}); lower "
            "optim.lr or set optim.grad_clip."
        )
