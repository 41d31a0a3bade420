"""pruned.json: what a compact model is, so that it can be rebuilt and checked without the run that made it. No torch."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from prune.architectures.base import Architecture, make_architecture
from prune.base.errors import UserError
from prune.base.files import sha256_of
from prune.base.registries import ARCHITECTURES
from prune.config.schema import RunConfig
from prune.data.base import DataFacts
from prune.rundir.format import FORMAT, check_format

log = logging.getLogger(__name__)

FILE = "pruned.json"

Size = Annotated[int, Field(gt=0)]


class _Part(BaseModel):
    """Keys that a later version adds are passed over; those below must be there, and of their type."""

    model_config = ConfigDict(frozen=True, strict=True)


class Units(_Part):
    """The units of one group: their kind, the group's block, how many the dense model has, the original indices kept."""

    kind: str
    block: int
    units: Size
    kept: tuple[int, ...]


class Data(_Part):
    """What the model was trained on: class names in the order of the logits; mean and std per channel, of images in [0, 1]."""

    dataset: str
    image_size: tuple[Size, Size]
    channels: Size
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
        model: the dense model: family, name and sizes, as in the configuration's `model` section.
        groups: name → the units kept, in the order of the blocks.
        data: image size, class names, mean and std.
        run, method, state, rate: where it comes from; `rate` is the scheduled one.
        parameters, macs: of the compact model (macs: forward pass of one image).
        accuracy: of its `best` and `final` weights.
        sha256: checksum of the `best` and `final` safetensors files, of `run_memory` where there is one, and of the
            `manifest` itself (see `manifest_digest`).
    """

    format: int
    model: dict[str, Any]
    groups: dict[str, Units]
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
        try:
            self.architecture.check()
        except KeyError:
            raise ValueError("model.family is missing") from None
        except ValidationError as error:
            raise ValueError(f"model.{_first_problem(error)}") from None
        except UserError as error:
            raise ValueError(str(error).removesuffix(".")) from None
        structure = self.architecture.structure
        if set(self.groups) != set(structure.dense):
            raise ValueError(f"groups are not those of the model ({', '.join(list(structure.dense)[:3])}, …)")
        for group in structure.groups:
            units = self.groups[group.name]
            if (units.kind, units.block, units.units) != (group.kind, group.block, group.count):
                raise ValueError(
                    f"{group.name} has {units.units} {units.kind} in block {units.block} where the model has {group.count} "
                    f"{group.kind} in block {group.block}"
                )
            ascending = all(a < b for a, b in pairwise(units.kept))
            if not ascending or not all(0 <= unit < group.count for unit in units.kept):
                raise ValueError(f"{group.kind} of {group.name} are not ascending indices below {group.count}")
        for key, values in (("mean", self.data.mean), ("std", self.data.std)):
            if len(values) != self.data.channels:
                raise ValueError(f"data.{key} has {len(values)} values where an image has {self.data.channels} channels")
        counted = structure.parameters(self.counts)
        if self.parameters != counted:
            raise ValueError(f"parameters is {self.parameters:,} where a model of these units has {counted:,}")
        return self

    @cached_property
    def architecture(self) -> Architecture:
        """The dense model."""
        data = self.data
        return make_architecture(self.model, data.image_size, data.channels, len(data.classes))

    @property
    def counts(self) -> dict[str, int]:
        """Group → units kept."""
        return {name: len(group.kept) for name, group in self.groups.items()}


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a state's folder.

    Raises:
        UserError: if it is missing, of another format version, or contradicts itself.
    """
    path = folder / FILE
    try:
        text = path.read_text()
        content = json.loads(text)
        if not isinstance(content, dict):
            raise TypeError("not an object")
    except FileNotFoundError:
        raise UserError(f"{path} is missing, and without it the model beside it cannot be rebuilt.") from None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is not a readable manifest ({type(error).__name__}: {error}).") from None
    check_format(path, content.get("format"))
    _check_family(path, content.get("model"))
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        raise UserError(f"{path} is not a valid manifest: {_first_problem(error)}.") from None
    if manifest.sha256.get("manifest", manifest_digest(content)) != manifest_digest(content):
        raise UserError(f"{path} is damaged or was changed: its checksum does not match what it says.")
    return manifest


def _check_family(path: Path, model: object) -> None:
    """A family that is not known here is no damage: its package is missing."""
    if isinstance(model, dict) and isinstance(model.get("family"), str):
        try:
            ARCHITECTURES.load(model["family"])
        except UserError as error:
            raise UserError(f"{path}: {error}") from None


def manifest_digest(content: Mapping[str, Any]) -> str:
    """The checksum of a manifest's content, itself left out: of canonical JSON."""
    sha256 = {name: digest for name, digest in content["sha256"].items() if name != "manifest"}
    return sha256_of(json.dumps({**content, "sha256": sha256}, sort_keys=True, separators=(",", ":")))


def whole_manifest(path: Path) -> dict[str, Any] | None:
    """The content of a pruned.json to go on from; None if it is missing or damaged, which the log says.

    Raises:
        UserError: if another version of this program wrote it.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        content = None
    if isinstance(content, dict) and content.keys() & {"format", "model", "groups"}:
        check_format(path, content.get("format"))
        digests = content.get("sha256")
        if isinstance(digests, dict) and digests.get("manifest") == manifest_digest(content):
            return content
    log.warning("%s is damaged (its checksum does not match)", path)
    return None


def _first_problem(error: ValidationError) -> str:
    """`data.mean: Field required`."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


def describe_state(
    config: RunConfig,
    architecture: Architecture,
    facts: DataFacts,
    run: str,
    kept: Mapping[str, Sequence[int]],
    line: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of pruned.json, except the checksums of the files that it describes.

    Args:
        run: the run directory's name.
        kept: group → original indices kept.
        line: the state's line of states.jsonl.
    """
    return {
        "format": FORMAT,
        "model": config.model.structure_keys(),
        "groups": {
            group.name: {"kind": group.kind, "block": group.block, "units": group.count, "kept": list(kept[group.name])}
            for group in architecture.structure.groups
        },
        "data": {
            "dataset": config.dataset.name,
            "image_size": list(architecture.image_size),
            "channels": architecture.channels,
            "classes": facts.classes,
            "mean": facts.mean,
            "std": facts.std,
        },
        "run": run,
        "method": config.method.name,
        "state": line["state"],
        "rate": line["rate"],
        "parameters": line["parameters"],
        "macs": line["macs"],
        "accuracy": {
            "best": {"val": line["val_accuracy_best"], "test": line["test_accuracy_best"]},
            "final": {"val": line["val_accuracy_final"], "test": line["test_accuracy_final"]},
        },
    }
