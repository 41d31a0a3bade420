"""pruned.json: what a compact model is, so that it can be rebuilt and checked without the run that made it. No torch."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from prune.errors import UserError
from prune.shape import ViTShape

if TYPE_CHECKING:
    from prune.job import Job
    from prune.state import PruningState

FORMAT = 1
FILE = "pruned.json"

Size = Annotated[int, Field(gt=0)]
Units = tuple[tuple[int, ...], ...]


class _Part(BaseModel):
    """Keys that a later version adds are passed over; those below must be there, and of their type."""

    model_config = ConfigDict(frozen=True, strict=True)


class Architecture(_Part):
    """The dense ViT that was pruned. `image_size` is (height, width) in pixels; `name` is timm's, or `custom`."""

    name: str
    image_size: tuple[Size, Size]
    patch_size: Size
    channels: Size
    classes: Size
    embed_dim: Size
    depth: Size
    num_heads: Size
    mlp_ratio: Annotated[float, Field(gt=0)]
    class_token: bool
    global_pool: str

    @property
    def shape(self) -> ViTShape:
        return ViTShape(
            image_size=self.image_size,
            patch_size=self.patch_size,
            channels=self.channels,
            classes=self.classes,
            embed_dim=self.embed_dim,
            depth=self.depth,
            num_heads=self.num_heads,
            mlp_hidden=int(self.embed_dim * self.mlp_ratio),
            class_token=self.class_token,
        )


class Data(_Part):
    """What the model was trained on: class names in the order of the logits; mean and std per channel, of images in [0, 1]."""

    dataset: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[Annotated[float, Field(ge=0)], ...]


class Accuracy(_Part):
    """Top-1 in percent; None where it was not measured."""

    val: Annotated[float, Field(ge=0, le=100)] | None
    test: Annotated[float, Field(ge=0, le=100)] | None


class Manifest(_Part):
    """pruned.json as read back.

    Attributes:
        architecture: the dense ViT.
        heads, neurons: per block, the original indices kept, ascending.
        data: class names, mean and std.
        run, method, state, rate: where it comes from; `rate` is the fraction of units pruned.
        parameters, macs: of the compact model (macs: forward pass of one image).
        accuracy: of its `best` and `final` weights.
        sha256: checksum of the `best` and `final` safetensors files.
    """

    format: int
    architecture: Architecture
    heads: Units
    neurons: Units
    data: Data
    run: str
    method: str
    state: int
    rate: float
    parameters: int
    macs: int
    accuracy: dict[str, Accuracy]
    sha256: dict[str, str]

    @model_validator(mode="after")
    def _parts_agree(self) -> Manifest:
        shape, data = self.architecture.shape, self.data
        for kind, blocks, available in (("heads", self.heads, shape.num_heads), ("neurons", self.neurons, shape.mlp_hidden)):
            if len(blocks) != shape.depth:
                raise ValueError(f"{kind} has {len(blocks)} blocks where the architecture has {shape.depth}")
            for number, block in enumerate(blocks):
                ascending = all(a < b for a, b in pairwise(block))
                if not ascending or not all(0 <= unit < available for unit in block):
                    raise ValueError(f"{kind} of block {number} are not ascending indices below {available}")
        if len(data.classes) != shape.classes:
            raise ValueError(f"data.classes names {len(data.classes)} classes where the architecture has {shape.classes}")
        for key, values in (("mean", data.mean), ("std", data.std)):
            if len(values) != shape.channels:
                raise ValueError(f"data.{key} has {len(values)} values where the architecture has {shape.channels} channels")
        counted = shape.parameters(self.kept("heads"), self.kept("neurons")).total
        if self.parameters != counted:
            raise ValueError(f"parameters is {self.parameters:,} where a model of these heads and neurons has {counted:,}")
        return self

    def kept(self, kind: str) -> list[int]:
        """Units of a kind (`heads` or `neurons`) kept in each block."""
        return [len(block) for block in (self.heads if kind == "heads" else self.neurons)]


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a state's folder.

    Raises:
        UserError: if it is missing, of another format version, or contradicts itself.
    """
    path = folder / FILE
    try:
        text = path.read_text()
        version = json.loads(text)["format"]
    except FileNotFoundError:
        raise UserError(f"{path} is missing, and without it the model beside it cannot be rebuilt.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a readable manifest ({type(error).__name__}: {error}).") from None
    if version != FORMAT:
        raise UserError(f"{path} has format {version}, and this version of the program reads format {FORMAT}.")
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{path} is not a valid manifest: {f'{where}: ' if where else ''}{message}.") from None


def manifest(job: Job, state: PruningState, line: dict[str, Any]) -> dict[str, Any]:
    """The content of pruned.json, except the checksums of the files that it describes.

    `architecture` holds the dense ViT's sizes; `heads` and `neurons` hold, per block, the original indices kept.
    """
    model, shape = job.config.model, job.shape
    return {
        "format": FORMAT,
        "architecture": {
            "name": model.name,
            "image_size": list(shape.image_size),
            "patch_size": shape.patch_size,
            "channels": shape.channels,
            "classes": shape.classes,
            "embed_dim": shape.embed_dim,
            "depth": shape.depth,
            "num_heads": shape.num_heads,
            "mlp_ratio": model.mlp_ratio,
            "class_token": shape.class_token,
            "global_pool": model.global_pool,
        },
        **state.alive.to_lists(),
        "data": {
            "dataset": job.config.dataset.name,
            "classes": job.facts.classes,
            "mean": job.facts.mean,
            "std": job.facts.std,
        },
        "run": job.directory.path.name,
        "method": job.config.method.name,
        "state": line["state"],
        "rate": line["rate"],
        "parameters": line["parameters"],
        "macs": line["macs"],
        "accuracy": {
            "best": {"val": line["val_accuracy_best"], "test": line["test_accuracy_best"]},
            "final": {"val": line["val_accuracy_final"], "test": line["test_accuracy_final"]},
        },
    }
