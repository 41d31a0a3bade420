"""A model while it is trained: optimiser, forward passes, validation, and the best model so far."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from prune.architectures.base import Architecture
from prune.architectures.fast.swap import FastPaths
from prune.config.schema import RunConfig
from prune.data.loading import Loader
from prune.engine import optim
from prune.engine.deterministic import Strictly
from prune.engine.evaluate import Evaluation, evaluate
from prune.engine.teacher import Teacher


class Training:
    """One model, trained for some epochs with the recipe of a configuration.

    Attributes:
        model: the network; made of the library's own modules.
        config, architecture, loader, device: do not change.
        index: the state whose random draws these epochs use.
        epochs: how many there are.
        teacher: whose answers are learnt beside the labels, if there is one.
        optimizer: None until training starts.
        lr: of the step in progress.
        val_accuracy, val_loss: of the present model, when last evaluated (percent; mean cross-entropy).
        strictly: computes gradients by deterministic kernels, if the configuration asks for them.
        best: epoch, accuracy, loss and tensors of the best model so far; None before the first.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        config: RunConfig,
        architecture: Architecture,
        loader: Loader,
        device: torch.device,
        index: int,
        epochs: int,
        teacher: Teacher | None = None,
        forward: Any = None,
    ):
        self.model, self.config, self.architecture, self.loader, self.device = model, config, architecture, loader, device
        self.index, self.epochs, self.teacher = index, epochs, teacher
        self.optimizer: torch.optim.Optimizer | None = None
        self.lr = 0.0
        self.val_accuracy: float | None = None
        self.val_loss: float | None = None
        self.best: dict[str, Any] | None = None
        self.strictly = Strictly(config.hardware.deterministic)
        self._forward = forward
        self._fast_paths: FastPaths | None = None

    @property
    def forward(self) -> Any:
        """The model as it is called: compiled, once per set of sizes, if `hardware.compile` says so."""
        if self._forward is None:
            if self.config.hardware.compile:
                torch._dynamo.reset()
                self._forward = torch.compile(self.model, dynamic=False)
            else:
                self._forward = self.model
        return self._forward

    @property
    def fast_paths(self) -> FastPaths:
        """What trains faster on this device; nothing where the compiler plans the model's kernels and memory itself."""
        if self._fast_paths is None:
            compiled = self.config.hardware.compile
            self._fast_paths = FastPaths([] if compiled else self.architecture.fast_paths(self.model, self.device.type))
        return self._fast_paths

    def start(self) -> None:
        """A fresh optimiser, unless one was restored."""
        if self.optimizer is None:
            self.optimizer = optim.make_optimizer(self.config.optim, self.model)

    def measure(self, split: str, before_batch: Callable[[], None] | None = None) -> Evaluation:
        """The present model on a split. `before_batch` may raise, to leave in between."""
        batches = self.loader.evaluation(split, self.config.hardware.eval_batch_size)
        return evaluate(self.forward, self.model, batches, self.config.optim.precision, before_batch)

    def validate(self, before_batch: Callable[[], None] | None = None) -> Evaluation:
        """The present model on the validation split; its accuracy and loss are remembered."""
        found = self.measure("val", before_batch)
        self.val_accuracy, self.val_loss = found.accuracy, found.loss
        return found

    def tensors(self) -> dict[str, Tensor]:
        """The model's tensors by name: the live ones, not copies."""
        return {name: tensor.detach() for name, tensor in self.model.state_dict().items()}

    def keep_if_best(self, epoch: int | None) -> None:
        """Remember the present model if it is the best on validation: by accuracy, then by loss, then the first."""
        assert self.val_accuracy is not None and self.val_loss is not None
        if self.best is None or _better(self.val_accuracy, self.val_loss, self.best):
            room = {} if self.best is None else self.best["tensors"]  # the copies before are overwritten: one set is held
            copies = {name: _copy(tensor, room.get(name)) for name, tensor in self.tensors().items()}
            self.best = {
                "epoch": epoch, "val_accuracy": self.val_accuracy, "val_loss": self.val_loss, "tensors": copies,
            }  # fmt: skip


def _better(accuracy: float, loss: float, best: dict[str, Any]) -> bool:
    return (accuracy, -loss) > (best["val_accuracy"], -best["val_loss"])


def _copy(tensor: Tensor, room: Tensor | None) -> Tensor:
    return tensor.clone() if room is None or room.shape != tensor.shape else room.copy_(tensor)
