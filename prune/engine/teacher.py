"""Distillation: a model whose answers a state learns beside the labels."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from prune.architectures.group import FORWARD_FLOPS_PER_MAC
from prune.architectures.weights import timm_model
from prune.base.errors import UserError
from prune.config.recipe import STATE_0, DistillationOptions
from prune.config.schema import RunConfig
from prune.data.base import DataFacts
from prune.rundir.directory import RunDirectory
from prune.rundir.loading import load_state
from prune.rundir.locate import StateModel
from prune.rundir.pretrained import teacher_file

log = logging.getLogger(__name__)


Colours = tuple[Sequence[float], Sequence[float]]
"""Mean and std by channel, of images in [0, 1]."""


class Teacher:
    """A model in evaluation mode, and what is learnt of it.

    Args:
        model: normalised images → logits over the run's classes.
        options: kind, temperature and weight.
        normalised: the colours by which the images are normalised that the model expects, and those that the run gives it.
        macs: multiply-accumulates of its forward pass of one image.

    Attributes:
        weight: its share of the loss, in (0, 1].
    """

    def __init__(
        self,
        model: nn.Module,
        options: DistillationOptions,
        normalised: tuple[Colours, Colours],
        device: torch.device,
        macs: int,
    ):
        self.model, self.weight, self._options = model.eval().requires_grad_(False).to(device), options.weight, options
        self.macs = macs
        theirs, ours = normalised
        self._same = [list(values) for values in theirs] == [list(values) for values in ours]
        (mean, std), (mean_here, std_here) = (_columns(colours, device) for colours in normalised)
        self._scale, self._shift = std_here / std, (mean_here - mean) / std

    @torch.no_grad()
    def answer(self, images: Tensor) -> Tensor:
        """Its logits (b, classes) for a batch as the run normalises it: augmented and mixed as the student sees it."""
        logits: Tensor = self.model(images if self._same else images * self._scale + self._shift)
        return logits

    def loss(self, logits: Tensor, answer: Tensor) -> Tensor:
        """How far the student's logits are from the teacher's, ().

        soft: T²·KL(softmax(teacher/T) ‖ softmax(student/T)), mean over images (Hinton et al. 2015, section 2).
        hard: cross-entropy with the teacher's best guess (DeiT, eq. 3).
        """
        if self._options.kind == "hard":
            return F.cross_entropy(logits, answer.argmax(1))
        t = self._options.temperature
        ours, theirs = F.log_softmax(logits / t, dim=1), F.log_softmax(answer / t, dim=1)
        return t**2 * F.kl_div(ours, theirs, reduction="batchmean", log_target=True)


class Teachers:
    """The teacher of each state of a run; made when it is first asked for."""

    def __init__(self, config: RunConfig, directory: RunDirectory, facts: DataFacts, device: torch.device):
        self._config, self._directory, self._facts, self._device = config, directory, facts, device
        self._made: Teacher | None = None

    @property
    def own(self) -> Path | None:
        """The file of the run's own model that teaches, if one does."""
        own = self._config.recipe.distillation.teacher == STATE_0
        return StateModel(self._directory.state(0), "best").file if own else None

    def of(self, state: int) -> Teacher | None:
        """None without distillation, and in state 0 where that is the teacher itself.

        Raises:
            UserError: for a model that is missing or damaged, or has other classes or colour channels.
        """
        options = self._config.recipe.distillation
        if not options.on or (options.teacher == STATE_0 and state == 0):
            return None
        if self._made is None:
            self._made = self._make(options)
        return self._made

    def _make(self, options: DistillationOptions) -> Teacher:
        if options.teacher == STATE_0:
            model, manifest = load_state(StateModel(self._directory.state(0), "best"))
            colours: Colours = (manifest.data.mean, manifest.data.std)
            macs = manifest.macs
        elif options.path is not None:
            model, manifest = load_state(teacher_file(options.path))
            self._check_classes(manifest.data.classes, manifest.data.channels, manifest.data.image_size)
            colours = (manifest.data.mean, manifest.data.std)
            macs = manifest.macs
        else:
            assert options.of_timm is not None
            model = self._from_timm(options.of_timm)
            colours = (model.pretrained_cfg["mean"], model.pretrained_cfg["std"])
            macs = _counted_macs(model, self._config.dataset.channels, self._config.dataset.size)
        log.info("teacher: %s", options.teacher)
        return Teacher(model, options, (colours, (self._facts.mean, self._facts.std)), self._device, macs)

    def _check_classes(self, classes: Sequence[str], channels: int, size: tuple[int, int]) -> None:
        dataset, teacher = self._config.dataset, self._config.recipe.distillation.teacher
        key = f"recipe.distillation.teacher={teacher}"
        if tuple(classes) != tuple(self._facts.classes):
            raise UserError(
                f"{key} tells {len(classes)} classes apart that are not the {len(self._facts.classes)} of "
                f"dataset.name={dataset.name}; name a teacher of the same classes."
            )
        if channels != dataset.channels or size != dataset.size:
            raise UserError(
                f"{key} takes images of {channels} channels and {size[0]} × {size[1]} pixels, the data has {dataset.channels} "
                f"and {dataset.size[0]} × {dataset.size[1]}."
            )

    def _from_timm(self, name: str) -> Any:
        dataset, classes = self._config.dataset, len(self._facts.classes)
        model = timm_model(name, f"recipe.distillation.teacher={name}")
        channels = model.pretrained_cfg["input_size"][0]
        if channels != dataset.channels:
            raise UserError(
                f"recipe.distillation.teacher={name} takes images of {channels} channels, the data has {dataset.channels}."
            )
        if model.num_classes != classes:
            raise UserError(
                f"recipe.distillation.teacher={name} tells {model.num_classes} classes apart, dataset.name={dataset.name} "
                f"has {classes}; name a teacher of the same classes."
            )
        if hasattr(model, "set_input_size"):  # timm's transformers are of one size until told of another
            try:
                model.set_input_size(img_size=dataset.size)
            except (AssertionError, ValueError) as error:
                raise UserError(f"recipe.distillation.teacher={name} cannot take images of {dataset.size} ({error}).") from None
        return model


def _counted_macs(model: nn.Module, channels: int, size: tuple[int, int]) -> int:
    """Multiply-accumulates of one image, as far as they are products of matrices or convolutions."""
    # The counter does not know the kernel that fuses attention on a CPU.
    with FlopCounterMode(display=False) as flops, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        model.eval()(torch.zeros(1, channels, *size))
    return flops.get_total_flops() // FORWARD_FLOPS_PER_MAC


def _columns(colours: Colours, device: torch.device) -> tuple[Tensor, Tensor]:
    mean, std = (torch.tensor(list(values)).view(-1, 1, 1).to(device) for values in colours)
    return mean, std.clamp_min(1e-6)
