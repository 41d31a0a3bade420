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
from timm.models.vision_transformer import VisionTransformer

from prune.rundir.checkpoint import save_state
from prune.pruning.compact import compact
from prune.rundir.directory import RunDirectory
from prune.architectures.shape import ViTShape
from prune.pruning.units import KeepSet

HEADS = [[0, 2], [1]]
NEURONS = [[0, 3, 4, 17], [2, 40]]
TIMM_NAME = "vit_tiny_patch16_224"


@dataclass(frozen=True)
class Saved:
    """A state's folder, and the models behind it: compact, and full-size with the pruned units at zero."""

    folder: Path
    compact: VisionTransformer
    masked: VisionTransformer
    shape: ViTShape


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
    shape = ViTShape(image_size, 4, channels, 5, 24, 2, 3, 48, settings["class_token"])
    torch.manual_seed(7)
    build = VisionTransformer(img_size=image_size, patch_size=4, in_chans=channels, num_classes=5, **settings)
    return _save(run, build, shape, KeepSet.from_lists(heads, neurons), state, "custom", settings)


def save_pruned_timm(run: Path) -> Saved:
    """The same for a model of timm's table, at other image and patch sizes than its own."""
    shape = ViTShape((16, 16), 4, 1, 5, 192, 12, 3, 768)
    torch.manual_seed(7)
    model = timm.create_model(TIMM_NAME, img_size=16, patch_size=4, in_chans=1, num_classes=5)
    keep = KeepSet.from_lists([[block % 3] for block in range(12)], [[block, 100, 767] for block in range(12)])
    settings = {"embed_dim": 192, "depth": 12, "num_heads": 3, "mlp_ratio": 4.0, "class_token": True}
    return _save(run, model, shape, keep, 1, TIMM_NAME, settings)


def _save(run: Path, model: VisionTransformer, shape: ViTShape, keep: KeepSet, state: int, name: str, settings: Any) -> Saved:
    for parameter in model.parameters():  # timm starts with biases at zero: a branch's bias must count here
        torch.nn.init.normal_(parameter, std=0.3)
    masked = _masked(model.eval(), keep, shape)
    compact(model, KeepSet.dense(shape), keep)
    final = {key: tensor + 0.01 for key, tensor in model.state_dict().items()}
    about = {
        "format": 1,
        "architecture": {
            "name": name,
            "image_size": list(shape.image_size),
            "patch_size": shape.patch_size,
            "channels": shape.channels,
            "classes": shape.classes,
            "global_pool": settings.get("global_pool", "token"),
            **{key: settings[key] for key in ("embed_dim", "depth", "num_heads", "mlp_ratio", "class_token")},
        },
        **keep.to_lists(),
        "data": {
            "dataset": "digits",
            "classes": ["a", "b", "c", "d", "e"],
            "mean": [0.3, 0.4, 0.5][: shape.channels],
            "std": [0.2, 0.25, 0.3][: shape.channels],
        },
        "run": run.name,
        "method": "refill",
        "state": state,
        "rate": 0.5,
        "parameters": shape.parameters(keep.counts("heads"), keep.counts("neurons")).total,
        "macs": shape.macs(keep.counts("heads"), keep.counts("neurons")).total,
        "accuracy": {"best": {"val": 91.0, "test": 90.0}, "final": {"val": 90.5, "test": None}},
    }
    directory = RunDirectory(run)
    save_state(directory, state, final, model.state_dict(), about)
    return Saved(directory.state(state), model, masked, shape)


def _masked(model: VisionTransformer, keep: KeepSet, shape: ViTShape) -> VisionTransformer:
    """A full-size copy whose pruned units are zeroed one by one, by the definition of a unit."""
    import copy

    masked, width = copy.deepcopy(model), shape.head_dim
    with torch.no_grad():
        for block, heads, neurons in zip(masked.blocks, keep.heads, keep.neurons, strict=True):
            for head in set(range(shape.num_heads)) - set(heads.tolist()):
                block.attn.proj.weight[:, head * width : (head + 1) * width] = 0
            for neuron in set(range(shape.mlp_hidden)) - set(neurons.tolist()):
                block.mlp.fc2.weight[:, neuron] = 0
    return masked


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change pruned.json in place."""
    path = folder / "pruned.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def renew_checksum(folder: Path, which: str = "best") -> None:
    """Make the manifest's checksum that of the file as it is now, so that the checks behind it are reached."""
    digest = hashlib.sha256((folder / f"{which}.safetensors").read_bytes()).hexdigest()
    edit_manifest(folder, lambda content: content["sha256"].update({which: digest}))


def raw_images(saved: Saved, count: int = 3) -> torch.Tensor:
    """Random images in [0, 1]."""
    return torch.rand(count, saved.shape.channels, *saved.shape.image_size, generator=torch.Generator().manual_seed(1))
