"""Local files of weights that a run begins with must stay what they were: pretrained ones, and a teacher's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prune.base.errors import UserError
from prune.base.files import read_json_object, sha256, write_json
from prune.config.schema import RunConfig
from prune.rundir.directory import RunDirectory
from prune.rundir.locate import StateModel, locate
from prune.rundir.reader import is_run, read_status

PRETRAINED, TEACHER = "model.pretrained", "recipe.distillation.teacher"


def remember_weights(config: RunConfig, directory: RunDirectory) -> None:
    """Store the digests of the files that the run has just begun with, once."""
    found = {key: {"path": str(path), "sha256": sha256(path)} for key, path in _files(config).items() if path.is_file()}
    if found and not directory.weights.exists():
        write_json(directory.weights, found)


def check_weights(config: RunConfig, directory: RunDirectory) -> None:
    """Raise `UserError` if a file has changed since; before the first start, if a teacher's may still go or change.

    One that is gone is missed only where it is needed again.
    """
    stored = read_json_object(directory.weights)
    for key, path in _files(config).items():
        before = stored.get(key)
        if isinstance(before, dict) and path.is_file() and sha256(path) != before.get("sha256"):
            raise UserError(f"{key}={path} has changed since this run began; restore it, or set another name.")
        if key == TEACHER and before is None:
            _check_lasting(path)


def _check_lasting(file: Path) -> None:
    """Refuse a model of a run that goes on: its `checkpoint.keep` may remove it, and the run's last state will be another."""
    checkpoints = file.parent.parent
    run = RunDirectory(checkpoints.parent)
    if checkpoints == run.checkpoints and is_run(run.path) and read_status(run).get("status") != "done":
        raise UserError(
            f"{TEACHER}: {run.path} is not finished, and may yet remove {file.parent.name} (checkpoint.keep) or go on to "
            "another state; finish it first, or name a copy of the state's folder."
        )


def other_weights(config: RunConfig, stored: Any) -> str | None:
    """The key of a file that is not what a run stored of its own; None if all are the same, as far as they are there."""
    known = stored if isinstance(stored, dict) else {}
    for key, path in _files(config).items():
        before = known.get(key)
        if path.is_file() and not (isinstance(before, dict) and sha256(path) == before.get("sha256")):
            return key
    return None


def teacher_file(path: Path) -> StateModel:
    """The pruned model that a teacher's path means (see `locate`).

    Raises:
        UserError: if it means none.
    """
    try:
        return locate(path)
    except UserError as error:
        raise UserError(f"{TEACHER}: {error}") from None


def _files(config: RunConfig) -> dict[str, Path]:
    files = {}
    if isinstance(config.model.pretrained, str):
        files[PRETRAINED] = Path(config.model.pretrained)
    if config.recipe.distillation.path is not None:
        files[TEACHER] = teacher_file(config.recipe.distillation.path).file
    return files
