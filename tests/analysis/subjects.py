"""Small models of each family with random weights, pruned by hand, on random images: subjects that no run has made."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prune.analysis.base import Subject
from prune.analysis.images import Images
from prune.analysis.runs import Snapshot
from prune.architectures.base import Architecture, make_architecture
from prune.data.base import ArraySplit, DataFacts, Splits
from prune.data.loading import ResidentLoader
from prune.data.options import Augment
from prune.pruning.compact import compact
from prune.pruning.keepset import KeepSet
from prune.pruning.options import ScoredOptions
from prune.rundir.directory import RunDirectory

MODELS: dict[str, dict[str, Any]] = {
    "vit": {"family": "vit", "name": "custom", "patch_size": 4, "depth": 3, "embed_dim": 12, "num_heads": 3, "mlp_ratio": 2.0,
            "class_token": True, "global_pool": "token"},
    "swin": {"family": "swin", "name": "custom", "patch_size": 1, "window_size": 4, "embed_dim": 12, "depths": [2, 1],
             "num_heads": [3, 6], "mlp_ratio": 1.5},
    "mamba": {"family": "mamba", "name": "custom", "patch_size": 2, "depth": 2, "embed_dim": 10, "d_state": 3,
              "mlp_ratio": 1.5},
}  # fmt: skip
"""A Swin whose first stage has shifted windows, a Mamba with two kinds of unit."""

SIZE, CHANNELS, CLASSES = 8, 2, 5


class Handmade(Subject):
    """What an analysis may look at, without a run. `architecture`, `images` and the models are as they are given."""

    def __init__(self, architecture: Architecture, images: Images, dense: Snapshot, before: Snapshot, now: Snapshot):
        self._architecture, self._dense, self._before, self._now = architecture, dense, before, now
        self.__dict__["images"] = images
        self.state = now.state
        self.run = run_of(now.state)

    began_from = (0, "final")  # type: ignore[assignment]

    @staticmethod
    def track(items: Any, total: int) -> Any:
        return items

    architecture = property(lambda self: self._architecture)  # type: ignore[assignment]
    structure = property(lambda self: self._architecture.structure)  # type: ignore[assignment]
    dense = property(lambda self: self._dense)  # type: ignore[assignment]
    before = property(lambda self: self._before)  # type: ignore[assignment]
    now = property(lambda self: self._now)  # type: ignore[assignment]


def run_of(state: int) -> Any:
    """As much of a run as analyses ask about: a Refill run of two states, alone in its sweep."""
    rates = {"rates": dict.fromkeys(("heads", "neurons", "channels"), 0.5)}
    return SimpleNamespace(
        config=SimpleNamespace(
            method=ScoredOptions(name="refill"),
            schedule=SimpleNamespace(states=2),
            seed=0,
            dataset=SimpleNamespace(name="none"),
        ),
        record=SimpleNamespace(
            states=[{"state": 0, "rates": {}}, {"state": 1, **rates}],
            config={"seed": 0, "dataset": {"name": "none"}, "method": {"name": "refill"}},
        ),
        finished=[0, 1],
        directory=RunDirectory(Path("nowhere") / "run"),
    )


def random_images(count: int = 40, seed: int = 0, most: int | None = None) -> Images:
    """Random pixels and labels; the validation split of a dataset whose other splits are small."""
    draw = np.random.default_rng(seed)

    def split(size: int) -> ArraySplit:
        pixels = draw.integers(0, 256, (size, CHANNELS, SIZE, SIZE)).astype(np.uint8)
        return ArraySplit(pixels, draw.integers(0, CLASSES, size))

    splits = Splits(split(8), split(count), split(4), [f"class {number}" for number in range(CLASSES)])
    facts = DataFacts([0.5] * CHANNELS, [0.25] * CHANNELS, splits.classes, None)
    return Images(ResidentLoader(splits, facts, 4, 0, torch.device("cpu"), Augment()), facts, most)


def architecture_of(family: str) -> Architecture:
    return make_architecture(MODELS[family], SIZE, CHANNELS, CLASSES)


def dense_model(family: str, seed: int = 0) -> nn.Module:
    """Every tensor random: none at zero or one, where many start."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = architecture_of(family).create()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape), alpha=0.1)
    return model.eval()


def every_second(keep: KeepSet) -> KeepSet:
    """Of each group the first, third, … unit."""
    return KeepSet({name: units[::2].contiguous() for name, units in keep.items()})


def subject(
    family: str,
    images: Images | None = None,
    edit: Callable[[nn.Module], object] = lambda model: None,
    state: int = 1,
    choose: Callable[[KeepSet], KeepSet] = every_second,
) -> Handmade:
    """State 1 of a model that lost every second unit and was not trained after that; or state 0.

    Args:
        edit: changes the dense model in place, before it is pruned.
    """
    architecture, dense = architecture_of(family), dense_model(family)
    with torch.no_grad():
        edit(dense)
    whole = KeepSet.dense(architecture.structure)
    first, last = Snapshot(0, "best", dense, whole), Snapshot(0, "final", dense, whole)
    if state == 0:
        return Handmade(architecture, images or random_images(), first, first, first)
    small, keep = copy.deepcopy(dense), choose(whole)
    compact(small, architecture, whole, keep)
    return Handmade(architecture, images or random_images(), first, last, Snapshot(1, "best", small, keep))


def pixels_of(images: Images) -> tuple[Tensor, Tensor]:
    """All images as the model takes them, and their labels, in one batch."""
    (batch,) = images.batches(len(images))
    return batch
