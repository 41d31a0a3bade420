"""Configuration → id and run directory. The same configuration always maps to the same directory, however it was typed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prune.base.errors import UserError
from prune.base.registries import DATASETS
from prune.config.schema import RunConfig
from prune.rundir.directory import RunDirectory

NOT_COUNTED = ("name", "outputs", "controls", "plan", "share_dense", "hardware", "checkpoint", "logger")
"""Sections and keys that are not meant to change a number; a device or its threads may change last digits (`FLAGGED`)."""

ADDED_LATER: dict[str, Any] = {
    "model.distilled": False,
    "model.reg_tokens": 0,
    "model.no_embed_class": False,
    "model.init_values": None,
    "model.qkv_bias": True,
    "model.qk_norm": False,
    "model.mlp_layer": "mlp",
    "model.pre_norm": False,
    "model.fc_norm": None,
    "method.counts": None,
    "method.block_rates": None,
    "schedule.measure": "units",
    "schedule.epochs_last": None,
    "dataset.resident": "auto",
    "dataset.resident_limit_gb": 4.0,
    "recipe": {},  # of which only what is on is counted
}
"""Keys that a later version added to the schema → the value that leaves results as they were before.

While a key has that value it is left out of the identity, so directories made by earlier versions are found again.
"""


def counted(config: RunConfig) -> dict[str, Any]:
    """The part of a configuration that a run's identity counts: all that can change a number."""
    content = config.model_dump(mode="json", exclude=set(NOT_COUNTED))
    if config.dataset.root_counts:
        content["dataset"]["root"] = os.path.realpath(content["dataset"]["root"])
    else:
        content["dataset"].pop("root", None)
    if isinstance(config.model.pretrained, str):
        content["model"]["pretrained"] = os.path.realpath(config.model.pretrained)
    for method in _places(content, "method"):
        if method.get("counts") is not None:
            method["counts"] = os.path.realpath(method["counts"])
    if config.recipe.distillation.path is not None:
        content["recipe"]["distillation"]["teacher"] = os.path.realpath(config.recipe.distillation.path)
    content["recipe"] = {key: content["recipe"][key] for key, part in config.recipe if part.on}
    for key, neutral in ADDED_LATER.items():
        section, _, leaf = key.rpartition(".")
        for place in _places(content, section):
            if leaf in place and place[leaf] == neutral:
                del place[leaf]
    return content


def _places(content: dict[str, Any], section: str) -> list[dict[str, Any]]:
    """Where a section's keys stand: of `method` also in each of its phases, if it has any."""
    place = content[section] if section else content
    return [place, *(phase["method"] for phase in place.get("phases", ()))] if section == "method" else [place]


def root_that_counts(dataset: Mapping[str, Any]) -> str | None:
    """The root in a file's `dataset` section where it says which data it is; also where that dataset is not known here, for
    then it may."""
    try:
        counts = DATASETS.load(str(dataset["name"])).Options.model_construct(**dataset).root_counts
    except UserError:
        counts = True
    return str(dataset["root"]) if counts and dataset.get("root") else None


def run_id(config: RunConfig) -> str:
    """Eight hexadecimal digits: the start of the SHA-256 of the counted configuration as canonical JSON."""
    text = json.dumps(counted(config), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def run_directory(config: RunConfig) -> RunDirectory:
    """`<outputs>/<name>/<dataset>-<method>-s<seed>-<id>`; nothing is created."""
    leaf = f"{config.dataset.name}-{config.method.name}-s{config.seed}-{run_id(config)}"
    return RunDirectory(Path(config.outputs) / config.name / leaf)
