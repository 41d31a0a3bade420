"""One training step: what it computes, and what it leaves behind."""

from __future__ import annotations

import weakref
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.scale import MINI
from benchmarks.workbench import dense_state, make_job
from prune.config.optim import OptimConfig
from prune.data.loading import TrainingBatch
from prune.engine.epoch import EpochSums, train_epoch
from prune.engine.loss import compute_gradients
from prune.engine.run import step_hooks
from tests.conftest import Compose
from tests.engine.states import first_state


class Remembering(nn.Linear):
    """A layer that knows its last output without keeping it."""

    def forward(self, x: Tensor) -> Tensor:
        output = super().forward(x)
        self.last = weakref.ref(output)
        return output


def test_gradients_loss_and_hits_are_those_of_the_mean_cross_entropy(tmp_path: Path) -> None:
    torch.manual_seed(0)
    optim: OptimConfig = make_job(tmp_path, MINI, "method=refill", "optim.label_smoothing=0.1").config.optim
    layer, images, labels = nn.Linear(5, 3), torch.randn(7, 5), torch.randint(3, (7,))
    loss, hits = compute_gradients(layer, TrainingBatch(images, labels), optim)
    logits = (images @ layer.weight.T + layer.bias).detach()
    # Smoothing 0.1 over 3 classes: the target is 0.9 of the label and 0.1 spread evenly.
    target = 0.9 * F.one_hot(labels, 3) + 0.1 / 3
    torch.testing.assert_close(loss, -(target * logits.log_softmax(1)).sum(1).mean())
    torch.testing.assert_close(layer.weight.grad, (logits.softmax(1) - target).T @ images / 7)
    assert hits == sum(int(row.argmax()) == int(label) for row, label in zip(logits, labels, strict=True))
    assert not loss.requires_grad


def test_nothing_of_the_graph_is_alive_after_the_backward_pass(tmp_path: Path) -> None:
    job = make_job(tmp_path, MINI, "method=refill")
    state = dense_state(job)
    layer = Remembering(state.model.head.in_features, state.model.head.out_features)
    layer.load_state_dict(state.model.head.state_dict())
    state.model.head = layer
    kept = compute_gradients(state.model.train(), next(iter(job.loader.training(0, 0, 0))), job.config.optim)
    assert layer.last() is None
    assert all(tensor.grad_fn is None for tensor in kept)


def test_normalisation_reaches_the_model(compose_tiny: Compose, tmp_path: Path) -> None:
    """What the patch embedding of a real run is given, over an epoch of training."""
    job, state = first_state(compose_tiny("method=dense"), tmp_path)
    seen: list[Tensor] = []
    state.model.patch_embed.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    state.start()
    sums = EpochSums.empty(job.loader.steps_per_epoch, job.device)
    train_epoch(state, step_hooks(job.method, state), 0, 0, sums, lambda _: None)
    images = torch.cat(seen)
    assert len(images) == 1203 // 128 * 128
    # All training images but the 51 that no whole batch holds: their absence moves the mean by a few thousandths.
    assert abs(images.mean()) < 0.01
    assert abs(images.std() - 1) < 0.01
    seen.clear()
    state.measure("test")
    test = torch.cat(seen)
    assert abs(test.mean()) < 0.1  # by the training split's moments, which are close to the test split's
    assert abs(test.std() - 1) < 0.1
