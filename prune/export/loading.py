"""Load a pruned model: timm's VisionTransformer with smaller tensors, from safetensors and the manifest alone."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from prune.base.errors import UserError
from prune.export.locate import locate
from prune.pruning.compact import shrink_structure
from prune.pruning.units import KeepSet
from prune.rundir.manifest import Architecture, Manifest, read_manifest


def load(path: str | Path, which: str = "best") -> VisionTransformer:
    """A pruned model in evaluation mode, on the CPU, checked against its manifest. Nothing that is loaded is executed.

    Args:
        path: a state's folder (`checkpoints/state_XX`), a safetensors file in one, or a run's directory, which means its
            last finished state.
        which: `best` (highest validation accuracy) or `final` (after the state's last epoch).

    Returns:
        A plain timm model: normalised images (b, channels, height, width) → logits (b, classes). `model.manifest` is the
        `Manifest` (class names, mean and std, units kept, accuracy), and `model.pretrained_cfg` gives timm's own tools the
        input size, mean and std.

    Raises:
        UserError: one sentence, if a file is missing or damaged, or does not fit the manifest.
    """
    model_file = locate(path, which)
    manifest = read_manifest(model_file.folder)
    tensors = _read_checked(model_file.file, manifest.sha256.get(model_file.which))
    model = build(manifest)
    _check_tensors(model_file.file, tensors, model.state_dict())
    model.load_state_dict(tensors, assign=True)
    return describe(model, manifest).eval()


def build(manifest: Manifest) -> VisionTransformer:
    """The compact model's structure, on the meta device: names and shapes, no values.

    Raises:
        UserError: if timm cannot build the manifest's architecture.
    """
    # On the meta device nothing is allocated and no random number is drawn.
    with torch.device("meta"):
        model = build_dense(manifest.architecture)
    shrink_structure(model, KeepSet.from_lists(manifest.heads, manifest.neurons))
    return model


def build_dense(architecture: Architecture) -> VisionTransformer:
    """The model before any pruning, with timm's initial weights, on the current default device.

    Raises:
        UserError: if timm does not know the name, or what it builds has other sizes.
    """
    options: dict[str, Any] = {
        "img_size": architecture.image_size,
        "patch_size": architecture.patch_size,
        "in_chans": architecture.channels,
        "num_classes": architecture.classes,
        "global_pool": architecture.global_pool,
    }
    sizes = ("embed_dim", "depth", "num_heads", "mlp_ratio", "class_token")
    # Only names in timm's own table: others would make timm look them up on the network.
    if architecture.name != "custom" and not timm.is_model(architecture.name):
        raise UserError(f"timm {timm.__version__} does not know the manifest's architecture.name={architecture.name!r}.")
    model: Any
    try:
        if architecture.name == "custom":
            model = VisionTransformer(**options, **{key: getattr(architecture, key) for key in sizes})
        else:
            model = timm.create_model(architecture.name, pretrained=False, **options)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:  # how timm refuses sizes and options
        raise UserError(
            f"timm {timm.__version__} cannot build the manifest's architecture {architecture.name} ({_line(error)})."
        ) from None
    if not isinstance(model, VisionTransformer):
        raise UserError(f"timm's {architecture.name} is a {type(model).__name__}, not a VisionTransformer.")
    block: Any = model.blocks[0]
    built = (
        model.embed_dim,
        len(model.blocks),
        block.attn.num_heads,
        block.mlp.fc1.out_features / model.embed_dim,
        model.has_class_token,
    )
    for key, value in zip(sizes, built, strict=True):
        if value != getattr(architecture, key):
            raise UserError(f"timm's {architecture.name} has {key}={value}, its manifest {getattr(architecture, key)}.")
    return model


def describe(model: VisionTransformer, manifest: Manifest) -> VisionTransformer:
    """Attach the manifest to the model, also in the form in which timm's own tools look for it."""
    architecture, data = manifest.architecture, manifest.data
    configuration = {
        "architecture": architecture.name,
        "input_size": (architecture.channels, *architecture.image_size),
        "num_classes": architecture.classes,
        "label_names": list(data.classes),
        "mean": data.mean,
        "std": data.std,
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "crop_mode": "center",
        "first_conv": "patch_embed.proj",
        "classifier": "head",
    }
    for name, value in (("manifest", manifest), ("pretrained_cfg", configuration), ("default_cfg", configuration)):
        setattr(model, name, value)
    return model


def _read_checked(path: Path, sha256: str | None) -> dict[str, Tensor]:
    if sha256 is None:
        raise UserError(f"{path} cannot be checked: the manifest beside it has no checksum for it.")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is missing; the run kept other models only (checkpoint.keep).") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise UserError(f"{path} is damaged or belongs to another manifest: its SHA-256 is not the one in pruned.json.")
    try:
        return parse_safetensors(data)
    except SafetensorError as error:
        raise UserError(f"{path} is not a safetensors file ({error}).") from None


def _check_tensors(path: Path, tensors: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    missing, unknown = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    if missing or unknown:
        problems = [f"it lacks {_some(missing)}"] * bool(missing) + [f"it has {_some(unknown)} besides"] * bool(unknown)
        raise UserError(f"{path} does not fit its manifest: {' and '.join(problems)}.")
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape or tensor.dtype != wanted[name].dtype:
            raise UserError(f"{path} does not fit its manifest: {name} is {_kind(tensor)} instead of {_kind(wanted[name])}.")


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
