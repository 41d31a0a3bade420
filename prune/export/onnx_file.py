"""Write a pruned model as ONNX that takes raw images, and check it against torch with onnxruntime."""

from __future__ import annotations

import copy
import importlib.util
import json
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from prune.architectures.group import Structure
from prune.base.errors import UserError
from prune.base.files import write_atomically
from prune.rundir.manifest import Manifest

OPSET = 18
TOLERANCE = 1e-4
"""Largest difference of a logit between torch and onnxruntime that passes, as a fraction of the largest logit."""

CHECKED_BATCHES = (1, 5)
"""Batch sizes that are compared; the model is traced with another, so a size fixed by accident would show."""


@dataclass(frozen=True)
class Comparison:
    """How the file's outputs compare with torch's: largest absolute difference, and largest absolute logit."""

    difference: float
    scale: float

    @property
    def agrees(self) -> bool:
        return self.difference <= TOLERANCE * self.scale


class RawImages(nn.Module):
    """The model with normalisation in front: images (b, channels, height, width), float32 in [0, 1] → logits (b, classes)."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, manifest: Manifest):
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(manifest.data.mean).view(1, -1, 1, 1))
        # A channel that never varies has std 0: training divides by the same floor.
        self.register_buffer("std", torch.tensor(manifest.data.std).clamp_min(1e-6).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.model((images - self.mean) / self.std)


class OutputBias(nn.Module):
    """What is left of a branch without units: its output bias, the same at every token."""

    def __init__(self, bias: Tensor):
        super().__init__()
        self.bias = nn.Parameter(bias.detach(), requires_grad=False)

    def forward(self, tokens: Tensor, *_: Any, **__: Any) -> Tensor:
        return self.bias.expand_as(tokens)


def without_empty_branches(model: nn.Module, structure: Structure) -> nn.Module:
    """A copy in which branches without units are their output bias: the same function.

    ONNX reads a 0 in a reshape as "the input's size", so tensors without elements do not survive it; nor are they worth
    their kernels.
    """
    model = copy.deepcopy(model)
    for group in structure.groups:
        reader = group.readers[-1]
        weight: Tensor = model.get_parameter(reader.tensor)
        if weight.numel() == 0:
            bias: Tensor | None = getattr(model.get_submodule(reader.module), "bias", None)
            model.set_submodule(group.name, OutputBias(weight.new_zeros(1) if bias is None else bias))
    return model


def to_onnx(model: nn.Module, manifest: Manifest) -> bytes:
    """The ONNX model, weights included. Input `images` as for `RawImages`, output `logits`; the batch size is free.

    Raises:
        UserError: if the onnx packages are not installed.
    """
    _require("onnx", "onnxscript")
    import onnx

    shape = (2, manifest.data.channels, *manifest.data.image_size)
    with warnings.catch_warnings(), _only_errors("torch.onnx", "onnxscript", "onnx_ir"):
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program: Any = torch.onnx.export(
            RawImages(without_empty_branches(model, manifest.architecture.structure), manifest).eval().requires_grad_(False),
            (torch.zeros(shape),),
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    proto = program.model_proto
    _forget_source(proto)
    about = {
        "classes": list(manifest.data.classes),
        "input": "RGB" if manifest.data.channels == 3 else "grey",
        "range": [0, 1],
        "run": manifest.run,
        "method": manifest.method,
        "state": manifest.state,
    }
    onnx.helper.set_model_props(proto, {k: v if isinstance(v, str) else json.dumps(v) for k, v in about.items()})
    content: bytes = proto.SerializeToString()
    return content


def write_onnx(model: nn.Module, manifest: Manifest, path: Path) -> Comparison:
    """Write the ONNX file, unless its outputs differ from the model's: then `path` stays as it was.

    Raises:
        UserError: if the outputs differ by more than `TOLERANCE`, the onnx packages are not installed, or `path` cannot be
            written.
    """
    _require("onnxruntime")
    content = to_onnx(model, manifest)
    compared: list[Comparison] = []

    def write_and_check(file: IO[bytes]) -> None:
        file.write(content)
        file.flush()
        compared.append(compare(Path(file.name), model, manifest))
        if not compared[0].agrees:
            raise UserError(
                f"{path} was not written: its logits differ from torch's by {compared[0].difference:.2g} where "
                f"{TOLERANCE * compared[0].scale:.2g} is allowed; other versions of torch, onnxscript or onnxruntime may agree."
            )

    try:
        write_atomically(path, write_and_check)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error}).") from None
    return compared[0]


def compare(file: Path, model: nn.Module, manifest: Manifest) -> Comparison:
    """Run seeded random images through the ONNX file and through torch, both on the CPU in float32."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    reference = RawImages(model, manifest).eval()
    random = torch.Generator().manual_seed(0)
    difference, scale = 0.0, 0.0
    for batch in CHECKED_BATCHES:
        images = torch.rand(batch, manifest.data.channels, *manifest.data.image_size, generator=random)
        with torch.inference_mode():
            expected = reference(images)
        (found,) = session.run(["logits"], {"images": images.numpy()})
        apart = (torch.from_numpy(found) - expected).abs().max().item()
        # Unlike max(), this lets a NaN through, so that it fails the comparison.
        difference = apart if not apart <= difference else difference
        scale = max(scale, expected.abs().max().item())
    return Comparison(difference, scale)


def _require(*packages: str) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"ONNX needs {' and '.join(missing)}; install them with: pip install 'vit-prune[onnx]'.")


class _only_errors:
    """Within this context the named loggers pass errors alone."""

    def __init__(self, *names: str):
        self.loggers = [logging.getLogger(name) for name in names]

    def __enter__(self) -> None:
        self.levels = [logger.level for logger in self.loggers]
        for logger in self.loggers:
            logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        for logger, level in zip(self.loggers, self.levels, strict=True):
            logger.setLevel(level)


def _forget_source(proto: Any) -> None:
    """Drop the exporter's notes on where each node came from: they hold this machine's paths, and are most of a small file."""
    graph = proto.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer, *proto.functions):
        if hasattr(part, "metadata_props"):
            del part.metadata_props[:]
        part.doc_string = ""
    for function in proto.functions:
        for node in function.node:
            del node.metadata_props[:]
