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
from prune.engine.train import compute_gradients


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
    loss, hits = compute_gradients(layer, images, labels, optim)
    logits = (images @ layer.weight.T + layer.bias).detach()
    # Smoothing 0.1 over 3 classes: the target is 0.9 of the label and 0.1 spread evenly.
    target = 0.9 * F.one_hot(labels, 3) + 0.1 / 3
    torch.testing.assert_close(loss, -(target * logits.log_softmax(1)).sum(1).mean())
    torch.testing.assert_close(layer.weight.grad, (logits.softmax(1) - target).T @ images / 7)
    assert hits == sum(int(row.argmax()) == int(label) for row, label in zip(logits, labels, strict=True))
    assert not loss.requires_grad


def test_nothing_of_the_graph_is_alive_after_the_backward_pass(tmp_path: Path) -> None:
    state = dense_state(make_job(tmp_path, MINI, "method=refill"))
    job = state.job
    layer = Remembering(job.shape.embed_dim, job.shape.classes)
    layer.load_state_dict(state.model.head.state_dict())
    state.model.head = layer
    kept = compute_gradients(state.model.train(), *next(iter(job.loader.training(0, 0, 0))), job.config.optim)
    assert layer.last() is None
    assert all(tensor.grad_fn is None for tensor in kept)
