"""One epoch of training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prune.base.errors import TrainingFailed
from prune.base.seeding import derive, seed_default_generator
from prune.config.optim import OptimConfig, learning_rate
from prune.engine.evaluate import autocast
from prune.engine.method import Method
from prune.engine.optim import set_learning_rate
from prune.engine.state import PruningState


@dataclass
class EpochSums:
    """Loss and hits of the epoch so far. They stay on the device until the epoch ends or a checkpoint is saved."""

    losses: Tensor  # (steps): the loss of each step, filled up to the step in progress
    correct: Tensor  # (): right predictions on training images
    seconds: float = 0.0

    @classmethod
    def empty(cls, steps: int, device: torch.device) -> EpochSums:
        return cls(torch.zeros(steps, device=device), torch.zeros((), dtype=torch.int64, device=device))

    def check_finite(self, state: int, epoch: int, done: int, lr_of: Callable[[int], float]) -> None:
        """Raise `TrainingFailed` with the first step, of `done`, whose loss is not finite."""
        bad = (~torch.isfinite(self.losses[:done])).nonzero()
        if len(bad):
            step = int(bad[0])
            raise TrainingFailed(
                f"the training loss became {self.losses[step].item()} at state {state}, epoch {epoch}, step {step} "
                f"(learning rate {lr_of(step):g}); lower optim.lr or set optim.grad_clip."
            )


def train_epoch(
    state: PruningState, method: Method, epoch: int, start: int, sums: EpochSums, after_step: Callable[[int], None]
) -> None:
    """Train from step `start` of an epoch to its end.

    Args:
        state: the pruning state in progress; its model and optimiser are used.
        method: is called before each optimiser's step of a state s ≥ 1.
        sums: filled as training goes.
        after_step: called with the number of steps done in this epoch.
    """
    optim, loader, model, optimizer = state.config.optim, state.loader, state.model, state.optimizer
    assert optimizer is not None
    forward = state.forward
    model.train()
    parameters = list(model.parameters())
    steps = loader.steps_per_epoch
    for offset, (images, labels) in enumerate(loader.training(state.index, epoch, start)):
        step = start + offset
        position = epoch * steps + step
        seed_default_generator(derive(state.config.seed, "dropout", state.index, epoch, step), state.device)
        state.lr = lr_at(state, position)
        set_learning_rate(optimizer, state.lr)
        with state.fast_paths.installed():
            loss, hits = compute_gradients(forward, images, labels, optim)
        if optim.grad_clip is not None:
            nn.utils.clip_grad_norm_(parameters, optim.grad_clip)
        if state.index > 0:
            method.before_step(state, position)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        sums.losses[step] = loss
        sums.correct += hits
        after_step(step + 1)


def compute_gradients(forward: nn.Module, images: Tensor, labels: Tensor, optim: OptimConfig) -> tuple[Tensor, Tensor]:
    """Fill the parameters' gradients. The batch's mean loss and its number of right predictions, both () and on the device.

    The graph ends with this function. Alive during the next forward pass, its small objects would lie between the rooms of
    freed activations and keep the allocator from joining them.
    """
    with autocast(images.device, optim.precision):
        logits = forward(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=optim.label_smoothing)
    loss.backward()
    return loss.detach(), (logits.detach().argmax(1) == labels).sum()


def lr_at(state: PruningState, position: int) -> float:
    """The learning rate of a step of the state, counted from the state's first."""
    optim, steps = state.config.optim, state.loader.steps_per_epoch
    return learning_rate(optim, position, state.epochs * steps, round(optim.warmup_epochs * steps))
