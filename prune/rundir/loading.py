"""Load a pruned model: the library's own model with smaller tensors, from safetensors and the manifest alone."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from torch import Tensor, nn

from prune.architectures.build import check_model, empty_model, fill_buffers
from prune.base.errors import UserError
from prune.rundir.locate import StateModel, locate
from prune.rundir.manifest import FILE, Manifest, read_manifest


def load(path: str | Path, which: str = "best") -> nn.Module:
    """A pruned model in evaluation mode, on the CPU, checked against its manifest. Nothing that is loaded is executed.

    Args:
        path: a state's folder (`checkpoints/state_XX`), a safetensors file in one, or a run's directory, which means its
            last finished state.
        which: `best` (highest validation accuracy) or `final` (after the state's last epoch).

    Returns:
        A plain model of its family (timm's VisionTransformer, say): normalised images (b, channels, height, width) → logits
        (b, classes). `model.manifest` is the `Manifest` (class names, mean and std, units kept, accuracy), and
        `model.pretrained_cfg` gives timm's own tools the input size, mean and std.

    Raises:
        UserError: one sentence, if a file is missing, damaged, of another version, or does not fit the manifest.
    """
    return load_state(locate(path, which))[0]


def load_state(source: StateModel) -> tuple[nn.Module, Manifest]:
    """The model, as `load` returns it, and its manifest."""
    manifest = read_manifest(source.folder)
    tensors = _read_checked(source.file, manifest.sha256.get(source.which))
    model = _build(source.folder / FILE, manifest)
    _check_tensors(source.file, tensors, model.state_dict())
    model.load_state_dict(tensors, assign=True)
    fill_buffers(manifest.architecture, model, torch.device("cpu"))
    _describe(model, manifest)
    return model.eval(), manifest


def _build(path: Path, manifest: Manifest) -> nn.Module:
    """The compact model on the meta device: names and sizes, no values. `path` is where the manifest was read from."""
    architecture = manifest.architecture
    try:
        with torch.device("meta"):  # nothing is allocated, and no random number is drawn
            check_model(architecture, architecture.create())
        return empty_model(architecture, manifest.counts)
    except UserError as error:
        raise UserError(f"The model of {path} cannot be built: {error}") from None


def _describe(model: nn.Module, manifest: Manifest) -> None:
    """Attach the manifest to the model, also in the form in which timm's own tools look for it."""
    architecture, data = manifest.architecture, manifest.data
    configuration = {
        "architecture": architecture.options.name,
        "input_size": (data.channels, *data.image_size),
        "num_classes": len(data.classes),
        "label_names": list(data.classes),
        "mean": data.mean,
        "std": data.std,
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "crop_mode": "center",
    }
    classifiers = tuple(
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and f"{name}.".startswith(architecture.classifier)
    )
    if classifiers:
        configuration["classifier"] = classifiers[0] if len(classifiers) == 1 else classifiers
    for name, value in (("manifest", manifest), ("pretrained_cfg", configuration), ("default_cfg", configuration)):
        setattr(model, name, value)


def _read_checked(path: Path, sha256: str | None) -> dict[str, Tensor]:
    if sha256 is None:
        raise UserError(f"{path} cannot be checked: the manifest beside it has no checksum for it.")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is missing; the run kept other models only (checkpoint.keep).") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise UserError(f"{path} is damaged or belongs to another manifest: its SHA-256 is not the one in {FILE}.")
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


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
