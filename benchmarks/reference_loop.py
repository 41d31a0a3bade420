"""The yardstick: the loop that a careful user writes without this package.

torchvision transforms on PIL images in a DataLoader with two workers, an eager float32 timm ViT, masks of
torch.nn.utils.prune on qkv, proj, fc1 and fc2, RSST as a per-weight λ tensor times the weight added to each gradient,
`.item()` for metrics in every step, validation and test in every epoch. Only the experiment's settings (sizes, data splits,
rates, learning rates) are read from a configuration, so that both sides train the same thing.

    python -m benchmarks.reference_loop FILE dataset=digits method=refill [KEY=VALUE…] [-- the next cell's overrides …]
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from benchmarks.reference_data import Loaders, loaders
from benchmarks.reference_prune import Keep, Marked, apply_masks, choose, marked_parameters
from benchmarks.workbench import compose
from prune.architectures.build import build_model
from prune.config import RunConfig
from prune.config.optim import OptimConfig, learning_rate


class DensePruner:
    """Nothing is penalised."""

    def before_step(self, step: int) -> None:
        pass


class RSSTPruner:
    """grad += λ(t)·w on marked units, λ as a tensor of the weight's size."""

    def __init__(self, marked: list[Marked], ceiling: float, exponent: float, ramp_steps: int):
        self.marked, self.ceiling, self.exponent, self.ramp_steps = marked, ceiling, exponent, ramp_steps

    def before_step(self, step: int) -> None:
        progress = (step + 1) / self.ramp_steps
        strength = self.ceiling * (math.exp(progress**self.exponent) - 1) / (math.e - 1)
        for parameter, mask in self.marked:
            assert parameter.grad is not None
            strengths = strength * mask
            parameter.grad += strengths * parameter.detach()


def make_optimizer(config: OptimConfig, model: nn.Module) -> torch.optim.Optimizer:
    """As torch's defaults have it."""
    if config.name == "sgd":
        return torch.optim.SGD(model.parameters(), config.lr, config.momentum, weight_decay=config.weight_decay)
    decayed = [p for p in model.parameters() if p.dim() in (2, 4)]
    others = [p for p in model.parameters() if p.dim() not in (2, 4)]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, config.lr, config.betas)


def train_step(
    config: OptimConfig,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    pruner: DensePruner | RSSTPruner,
    step: int,
    images: Tensor,
    labels: Tensor,
) -> tuple[float, float]:
    """One step; loss and accuracy as numbers."""
    optimizer.zero_grad()
    logits = model(images)
    loss = F.cross_entropy(logits, labels, label_smoothing=config.label_smoothing)
    loss.backward()
    if config.grad_clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
    pruner.before_step(step)
    optimizer.step()
    return loss.item(), (logits.argmax(1) == labels).float().mean().item()


@torch.no_grad()
def accuracy(model: nn.Module, loader: DataLoader[Any]) -> float:
    """Top-1 in percent."""
    model.eval()
    correct = total = 0
    for images, labels in loader:
        correct += (model(images).argmax(1) == labels).sum().item()
        total += len(labels)
    model.train()
    return 100 * correct / total


def train_cell(config: RunConfig) -> list[dict[str, float]]:
    """All states of one cell; per state the test accuracy of the epoch that was best on validation, and of the last."""
    model = build_model(config.architecture(), config.seed).train()
    data = loaders(config)
    alive: Keep | None = None
    results = []
    for index, budget in enumerate(config.budgets()):
        keep, ramp_steps = alive, 0
        pruner: DensePruner | RSSTPruner = DensePruner()
        if index > 0 and config.method.name != "dense":
            keep = choose(model, alive, budget)
            if config.method.name == "refill":
                apply_masks(model, keep)
            else:
                options: Any = config.method
                ramp_steps = ramp(config, len(data[0]))
                marked = marked_parameters(model, alive, keep)
                pruner = RSSTPruner(marked, options.penalty.ceiling, options.penalty.exponents, ramp_steps)
        removal = -(-ramp_steps // len(data[0])) - 1
        epochs = config.schedule.epochs_of(index)
        results.append({"rate": budget.rate, **train_state(config, model, data, epochs, pruner, removal, keep)})
        alive = keep
    return results


def ramp(config: RunConfig, steps: int) -> int:
    """Steps over which λ grows; at least one epoch is left after them."""
    options: Any = config.method
    wanted = max(1, round(options.ramp * config.schedule.epochs * steps))
    return min(wanted, (config.schedule.epochs - 1) * steps)


def train_state(
    config: RunConfig,
    model: nn.Module,
    data: Loaders,
    epochs: int,
    pruner: DensePruner | RSSTPruner,
    removal: int,
    keep: Keep | None,
) -> dict[str, float]:
    """Train and evaluate `epochs` epochs with a fresh optimiser; after epoch `removal` (if ≥ 0) mask all but `keep`."""
    optim, (train, val, test) = config.optim, data
    steps = len(train)
    optimizer = make_optimizer(optim, model)
    best = last = (-1.0, 0.0)
    losses = 0.0
    for epoch in range(epochs):
        losses, hits = 0.0, 0.0
        for number, (images, labels) in enumerate(train):
            step = epoch * steps + number
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(optim, step, epochs * steps, round(optim.warmup_epochs * steps))
            loss, hit = train_step(optim, model, optimizer, pruner, step, images, labels)
            losses, hits = losses + loss, hits + hit
        last = accuracy(model, val), accuracy(model, test)
        if epoch == removal:
            apply_masks(model, keep)
            pruner = DensePruner()
        elif epoch > removal and last[0] > best[0]:
            best = last
    return {"test_best": best[1], "test_final": last[1], "train_loss": losses / steps}


def cells(arguments: list[str]) -> Iterator[list[str]]:
    """The overrides of each cell: groups between `--`."""
    for separator, group in groupby(arguments, lambda argument: argument == "--"):
        if not separator:
            yield list(group)


def main(file: Path, arguments: list[str]) -> None:
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for overrides in cells(arguments):
            config = compose(Path(folder), *overrides)
            torch.manual_seed(config.seed)
            results.append(train_cell(config))
    file.write_text(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
