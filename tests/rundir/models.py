"""Small pruned models on disk, built directly, for the tests of loading, ONNX and latency."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from prune.architectures.base import Architecture, make_architecture
from prune.pruning.compact import compact
from prune.pruning.keepset import KeepSet
from prune.rundir.checkpoint import save_state
from prune.rundir.digests import Digests
from prune.rundir.directory import RunDirectory
from prune.rundir.manifest import manifest_digest
from tests.architectures.vits import Shape, keep_set, masked

HEADS = [[0, 2], [1]]
NEURONS = [[0, 3, 4, 17], [2, 40]]
TIMM_NAME = "vit_tiny_patch16_224"


@dataclass(frozen=True)
class Saved:
    """A state's folder, and the models behind it: compact, and full-size with the pruned units at zero."""

    folder: Path
    compact: nn.Module
    masked: nn.Module
    architecture: Architecture


def save_pruned(
    run: Path,
    heads: Sequence[Sequence[int]] = HEADS,
    neurons: Sequence[Sequence[int]] = NEURONS,
    channels: int = 3,
    state: int = 1,
    image_size: tuple[int, int] = (8, 12),
    **options: Any,
) -> Saved:
    """Prune a ViT of two blocks, three heads and 48 neurons to `heads` and `neurons`, and save it as a run saves a state."""
    settings = {"embed_dim": 24, "depth": 2, "num_heads": 3, "mlp_ratio": 2.0, "class_token": True, **options}
    shape = Shape(image_size, 4, channels, 5, 24, 2, 3, 48, settings["class_token"])
    torch.manual_seed(7)
    model = timm.models.VisionTransformer(img_size=image_size, patch_size=4, in_chans=channels, num_classes=5, **settings)
    about = {"family": "vit", "name": "custom", "patch_size": 4, "global_pool": "token", **settings}
    return _save_vit(run, model, shape, (_lists(heads), _lists(neurons)), state, about)


def save_pruned_timm(run: Path) -> Saved:
    """The same for a model of timm's table, at other image and patch sizes than its own."""
    shape = Shape((16, 16), 4, 1, 5, 192, 12, 3, 768)
    torch.manual_seed(7)
    model = timm.create_model(TIMM_NAME, img_size=16, patch_size=4, in_chans=1, num_classes=5)
    units = [[block % 3] for block in range(12)], [[block, 100, 767] for block in range(12)]
    sizes = {"embed_dim": 192, "depth": 12, "num_heads": 3, "mlp_ratio": 4.0}
    about = {"family": "vit", "name": TIMM_NAME, "patch_size": 4, "class_token": True, "global_pool": "token", **sizes}
    return _save_vit(run, model, shape, units, 1, about)


def _lists(units: Sequence[Sequence[int]]) -> list[list[int]]:
    return [list(block) for block in units]


def _save_vit(run: Path, model: nn.Module, shape: Shape, units: Any, state: int, about: dict[str, Any]) -> Saved:
    randomise(model)
    architecture = make_architecture(about, shape.image_size, shape.channels, shape.classes)
    full = masked(model.eval(), shape, units)
    return save_compact(run, model, full, architecture, keep_set(units), state, about)


def randomise(model: nn.Module) -> None:
    """Timm starts with biases at zero: a branch's bias must count here."""
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)


def save_compact(
    run: Path, model: nn.Module, masked: nn.Module, architecture: Architecture, keep: KeepSet, state: int, about: dict[str, Any]
) -> Saved:
    """Prune a dense model to `keep`, and save it as a run saves a state."""
    structure, channels = architecture.structure, architecture.channels
    compact(model, architecture, KeepSet.dense(structure), keep)
    final = {key: tensor + 0.01 for key, tensor in model.state_dict().items()}
    content = {
        "format": 2,
        "model": about,
        "groups": {
            group.name: {"kind": group.kind, "block": group.block, "units": group.count, "kept": keep.to_lists()[group.name]}
            for group in structure.groups
        },
        "data": {
            "dataset": "digits",
            "image_size": list(architecture.image_size),
            "channels": channels,
            "classes": ["a", "b", "c", "d", "e"],
            "mean": [0.3, 0.4, 0.5][:channels],
            "std": [0.2, 0.25, 0.3][:channels],
        },
        "run": run.name,
        "method": "refill",
        "state": state,
        "rate": 0.5,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "macs": structure.macs(keep.counts()),
        "accuracy": {"best": {"val": 91.0, "test": 90.0}, "final": {"val": 90.5, "test": None}},
    }
    directory = RunDirectory(run)
    save_state(Digests(directory, {}), state, final, model.state_dict(), content)
    return Saved(directory.state(state), model, masked, architecture)


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change pruned.json in place."""
    path = folder / "pruned.json"
    content = json.loads(path.read_text())
    change(content)
    if isinstance(content.get("sha256"), dict):  # else the checks behind the manifest's own checksum would not be reached
        content["sha256"]["manifest"] = manifest_digest(content)
    path.write_text(json.dumps(content))


def renew_checksum(folder: Path, which: str = "best") -> None:
    """Make the manifest's checksum that of the file as it is now, so that the checks behind it are reached."""
    digest = hashlib.sha256((folder / f"{which}.safetensors").read_bytes()).hexdigest()
    edit_manifest(folder, lambda content: content["sha256"].update({which: digest}))


def raw_images(saved: Saved, count: int = 3) -> torch.Tensor:
    """Random images in [0, 1]."""
    size = (count, saved.architecture.channels, *saved.architecture.image_size)
    return torch.rand(size, generator=torch.Generator().manual_seed(1))
