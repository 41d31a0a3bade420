"""From what a user points at to a state's folder and one of its two models. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prune.base.errors import UserError
from prune.rundir.directory import RunDirectory
from prune.rundir.manifest import FILE
from prune.rundir.reader import run_folders

WHICH = ("best", "final")


@dataclass(frozen=True)
class StateModel:
    """One model on disk: `best` or `final` of a state's folder."""

    folder: Path
    which: str

    @property
    def file(self) -> Path:
        return self.folder / f"{self.which}.safetensors"


def locate(path: str | Path, which: str = "best") -> StateModel:
    """The model that `path` means: a state's folder, a safetensors file in one, or a run's directory (its last finished state).

    Args:
        path: as above; a file's own name wins over `which`.
        which: `best` or `final`.

    Raises:
        UserError: if there is no such model, or another version of this program wrote the run.
    """
    path = Path(path)
    if path.is_file():
        if path.suffix != ".safetensors" or path.stem not in WHICH:
            raise UserError(
                f"{path} is not a pruned model; give a state's folder, or its best.safetensors or final.safetensors."
            )
        return StateModel(path.parent, path.stem)
    if which not in WHICH:
        raise UserError(f"which={which!r} is not known; choose one of {', '.join(WHICH)}.")
    if not path.is_dir():
        raise UserError(f"{path} does not exist; give a run's directory or one of its checkpoints/state_XX folders.")
    if (path / FILE).is_file() or any((path / f"{name}.safetensors").is_file() for name in WHICH):
        return StateModel(path, which)
    RunDirectory(path).check_format()
    last = last_state(path)
    if last is None:
        raise UserError(f"{path} is neither a state's folder nor the directory of a run that has finished a state.")
    return StateModel(last, which)


def last_state(run: Path) -> Path | None:
    """The folder of a run's last finished state; None without one. A state's manifest is written last, so it marks the end."""
    finished = [manifest.parent for manifest in RunDirectory(run).checkpoints.glob(f"state_*/{FILE}")]
    numbers = {folder.name.removeprefix("state_"): folder for folder in finished}  # beside others, such as state_01_backup
    return max((item for item in numbers.items() if item[0].isdecimal()), key=lambda item: int(item[0]), default=("", None))[1]


def locate_all(paths: list[Path], which: str) -> tuple[list[StateModel], list[Path]]:
    """The models that several paths mean, each once, in order; a sweep's folder means every run's last finished state.

    Returns:
        The models, and the run directories of sweeps that have not finished a state yet.

    Raises:
        UserError: if a path means nothing.
    """
    models: dict[StateModel, None] = {}
    unfinished = []
    for path in paths:
        if not _is_sweep(path):
            models[locate(path, which)] = None
            continue
        for run in run_folders(path):
            folder = last_state(run)
            if folder is None:
                unfinished.append(run)
            else:
                models[StateModel(folder, which)] = None
    return list(models), unfinished


def _is_sweep(path: Path) -> bool:
    return not (path / "config.yaml").is_file() and any(path.glob("*/config.yaml"))
