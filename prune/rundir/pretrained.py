"""A local pretrained file must stay what it was when a run began with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prune.base.errors import UserError
from prune.base.files import read_json_object, sha256, write_json
from prune.config.schema import RunConfig
from prune.rundir.directory import RunDirectory


def remember_weights(config: RunConfig, directory: RunDirectory) -> None:
    """Store the digest of the file that the model has just been built from, once."""
    digest = _digest(config)
    if digest is not None and not directory.weights.exists():
        write_json(directory.weights, {"pretrained": config.model.pretrained, "sha256": digest})


def check_weights(config: RunConfig, directory: RunDirectory) -> None:
    """Raise `UserError` if the file has changed since. One that is gone is missed only where it is needed again."""
    stored, digest = read_json_object(directory.weights).get("sha256"), _digest(config)
    if stored is not None and digest is not None and stored != digest:
        raise UserError(
            f"model.pretrained={config.model.pretrained} has changed since this run began; restore it, or set another name."
        )


def same_weights(config: RunConfig, stored: Any) -> bool:
    """Whether what a run stored of its pretrained file is true of this configuration's, as far as that file is there."""
    digest = _digest(config)
    return digest is None or (isinstance(stored, dict) and stored.get("sha256") == digest)


def _digest(config: RunConfig) -> str | None:
    path = config.model.pretrained
    if not isinstance(path, str) or not Path(path).is_file():
        return None
    return sha256(Path(path))
