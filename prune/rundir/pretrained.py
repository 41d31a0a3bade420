"""Local files of weights that a run begins with must stay what they were: pretrained ones, and a teacher's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prune.base.errors import UserError
from prune.base.files import read_json_object, sha256, write_json
from prune.config.schema import RunConfig
from prune.rundir.directory import RunDirectory
from prune.rundir.locate import StateModel, locate


def remember_weights(config: RunConfig, directory: RunDirectory) -> None:
    """Store the digests of the files that the run has just begun with, once."""
    found = {key: {"path": str(path), "sha256": sha256(path)} for key, path in _files(config).items() if path.is_file()}
    if found and not directory.weights.exists():
        write_json(directory.weights, found)


def check_weights(config: RunConfig, directory: RunDirectory) -> None:
    """Raise `UserError` if a file has changed since. One that is gone is missed only where it is needed again."""
    stored = read_json_object(directory.weights)
    for key, path in _files(config).items():
        before = stored.get(key)
        if isinstance(before, dict) and path.is_file() and sha256(path) != before.get("sha256"):
            raise UserError(f"{key}={path} has changed since this run began; restore it, or set another name.")


def same_weights(config: RunConfig, stored: Any) -> bool:
    """Whether what a run stored of its files is true of this configuration's, as far as they are there."""
    known = stored if isinstance(stored, dict) else {}
    return all(
        isinstance(known.get(key), dict) and sha256(path) == known[key].get("sha256")
        for key, path in _files(config).items()
        if path.is_file()
    )


def teacher_file(path: Path) -> StateModel:
    """The pruned model that a teacher's path means (see `locate`).

    Raises:
        UserError: if it means none.
    """
    try:
        return locate(path)
    except UserError as error:
        raise UserError(f"recipe.distillation.teacher: {error}") from None


def _files(config: RunConfig) -> dict[str, Path]:
    files = {}
    if isinstance(config.model.pretrained, str):
        files["model.pretrained"] = Path(config.model.pretrained)
    if config.recipe.distillation.path is not None:
        files["recipe.distillation.teacher"] = teacher_file(config.recipe.distillation.path).file
    return files
