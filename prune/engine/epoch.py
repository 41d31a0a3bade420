"""One epoch of training."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prune.base.errors import TrainingFailed
from prune.base.seeding import derive, seed_default_generators
from prune.config.optim import learning_rate
from prune.data.loading import TrainingBatch
from prune.engine.loss import LossTerm, compute_gradients
from prune.engine.optim import set_learning_rate
from prune.engine.training import Training


@dataclass
class EpochSums:
    """Loss and hits of the epoch so far. They stay on the device until the epoch ends or a checkpoint is saved."""

    losses: Tensor  # (steps): the loss of each step, filled up to the step in progress
    correct: Tensor  # (): right predictions on training images; of mixed ones, by the labels' shares
    seconds: float = 0.0

    @classmethod
    def empty(cls, steps: int, device: torch.device) -> EpochSums:
        return cls(torch.zeros(steps, device=device), torch.zeros((), dtype=torch.float64, device=device))

    def check_finite(self, state: int, epoch: int, done: int, lr_of: Callable[[int], float]) -> None:
        """Raise `TrainingFailed` with the first step, of `done`, whose loss is not finite."""
        bad = (~torch.isfinite(self.losses[:done])).nonzero()
        if len(bad):
            step = int(bad[0])
            raise TrainingFailed(
                f"the training loss became {self.losses[step].item()} at state {state}, epoch {epoch}, step {step} "
                f"(learning rate {lr_of(step):g}); lower optim.lr or set optim.grad_clip."
            )


@dataclass(frozen=True)
class StepHooks:
    """What happens in a step besides training. Steps are counted from the state's first.

    Attributes:
        loss_term: of images, logits and labels: a term to add to the loss, or None. With one, no fast paths are installed.
        before_step, after_step: called around the optimiser's step.
    """

    loss_term: LossTerm | None = None
    before_step: Callable[[int], None] | None = None
    after_step: Callable[[int], None] | None = None


def train_epoch(
    training: Training, hooks: StepHooks, epoch: int, start: int, sums: EpochSums, done: Callable[[int], None]
) -> None:
    """Train from step `start` of an epoch to its end.

    Args:
        training: its model and optimiser, as they are in each step: a method may remove units between two.
        sums: filled as training goes.
        done: called with the number of steps done in this epoch.
    """
    config, loader, model = training.config, training.loader, training.model
    optim, steps = config.optim, loader.steps_per_epoch
    model.train()
    for offset, batch in enumerate(loader.training(training.index, epoch, start)):
        step = start + offset
        position = epoch * steps + step
        training.lr = lr_at(training, position)
        assert training.optimizer is not None
        set_learning_rate(training.optimizer, training.lr)
        # A loss term may look at the model, and differentiate the logits, as at timm's own.
        paths = training.fast_paths.installed() if hooks.loss_term is None else nullcontext()
        seed = derive(config.seed, "dropout", training.index, epoch, step)

        def gradients(batch: TrainingBatch = batch, seed: int = seed) -> tuple[Tensor, Tensor]:
            seed_default_generators(seed, training.device)
            return compute_gradients(training.forward, batch, optim, hooks.loss_term, training.teacher)

        with paths:
            loss, hits = training.strictly.compute(gradients, undo=training.optimizer.zero_grad)
        if optim.grad_clip is not None:
            nn.utils.clip_grad_norm_(list(model.parameters()), optim.grad_clip)
        if hooks.before_step is not None:
            hooks.before_step(position)
        training.optimizer.step()
        if hooks.after_step is not None:
            hooks.after_step(position)
        training.optimizer.zero_grad(set_to_none=True)
        sums.losses[step] = loss
        sums.correct += hits
        done(step + 1)


def lr_at(training: Training, position: int) -> float:
    """The learning rate of a step of the state, counted from the state's first."""
    optim, steps = training.config.optim, training.loader.steps_per_epoch
    return learning_rate(optim, position, training.epochs * steps, round(optim.warmup_epochs * steps))
