"""A run's files read back: the one reader for all commands. No torch; works on a copied folder and while the run goes on.

Each run is read by itself. What cannot be believed is named, and never spoils what is told of other runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from prune.base.errors import UserError
from prune.base.files import jsonl, read_json, read_json_object, read_jsonl_lines, sha256, sha256_of
from prune.rundir.directory import RunDirectory
from prune.rundir.epochs import epochs_of_states, position
from prune.rundir.shapes import METRICS, STATES, STATUS, Check, misfit
from prune.rundir.status import effective_status

SIGNS = ("config.yaml", "status.json", "metrics.jsonl", "states.jsonl", "submission.json")
"""A folder with one of these is a run's, whatever else has been lost."""

HASHED_BYTES = 16 * 2**20
"""Files up to this size are read whole before a run is believed to be done; of larger ones (models), that they are there."""


@dataclass(frozen=True)
class RunRecord:
    """One run as its files tell it.

    Attributes:
        directory: where it is.
        config: config.yaml.
        metrics: metrics.jsonl, a dictionary per epoch, up to the first line that cannot be read.
        states: states.jsonl, a dictionary per finished state, likewise.
        status: status.json, with `state` corrected to `lost` when a running process's heartbeat is stale; empty if it is
            missing or damaged.
        problems: what could not be read or believed, a sentence each that names the file.
    """

    directory: RunDirectory
    config: dict[str, Any]
    metrics: list[dict[str, Any]]
    states: list[dict[str, Any]]
    status: dict[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The directory's name, unique within a sweep."""
        return self.directory.path.name

    @property
    def planned_states(self) -> int:
        return int(self.config["schedule"]["states"])

    @property
    def planned_epochs(self) -> int:
        """Epochs of all states."""
        return sum(self._epochs)

    @cached_property
    def _epochs(self) -> tuple[int, ...]:
        return epochs_of_states(self.config)

    def epochs_of(self, state: int) -> int:
        """Epochs that the configuration gives a state."""
        return self._epochs[state]

    def epochs_before(self, state: int) -> int:
        """Epochs of all states before a state."""
        return sum(self._epochs[:state])

    @property
    def position(self) -> tuple[int, int]:
        """(state, epoch) of the epoch in progress, judged by the lines of metrics.jsonl."""
        return position(self._epochs, len(self.metrics))

    @property
    def epochs_left(self) -> int:
        """Epochs that are still to be done."""
        return max(self.planned_epochs - len(self.metrics), 0)

    @property
    def state_0_of(self) -> str:
        """The run that trained its state 0: itself, unless it has taken over that of another run of its sweep."""
        taken = self.status.get("dense")
        trained_by = taken.get("run") if isinstance(taken, dict) else None
        return trained_by if isinstance(trained_by, str) else self.id

    @property
    def done(self) -> bool:
        """Whether it says so, and nothing speaks against it."""
        return self.status.get("status") == "done" and not self.problems


@dataclass(frozen=True)
class Unreadable:
    """A run of which nothing can be told, and one sentence that says why and names the file."""

    path: Path
    why: str

    @property
    def id(self) -> str:
        return self.path.name


def read_run(path: Path, config: Mapping[str, Any] | None = None) -> RunRecord:
    """Read one run directory.

    Args:
        config: the run's configuration where it is known; config.yaml is then not read.

    Raises:
        UserError: if config.yaml is missing, damaged, or of another run or version of this program.
    """
    directory = RunDirectory(path)
    sections = directory.read_config() if config is None else dict(config)
    problems: list[str] = []
    metrics = _lines(directory.metrics, METRICS, problems)
    states = _lines(directory.states, STATES, problems)
    status = _status(directory.status, problems)
    record = RunRecord(directory, sections, metrics, states, status)
    if status.get("status") == "done":
        problems += _missing_lines(record) or _other_lines(record)
    return RunRecord(directory, sections, metrics, states, status, tuple(problems))


def read_runs(folders: Iterable[Path]) -> tuple[list[RunRecord], list[Unreadable]]:
    """The runs of these directories, and for each that cannot be read the sentence that says why."""
    found = [look(folder) for folder in folders]
    return [run for run in found if isinstance(run, RunRecord)], [run for run in found if isinstance(run, Unreadable)]


def look(folder: Path) -> RunRecord | Unreadable:
    """A run, or why it cannot be read."""
    try:
        return read_run(folder)
    except UserError as error:
        return Unreadable(folder, str(error))


def find_runs(sweep: Path) -> tuple[list[RunRecord], list[Unreadable]]:
    """All runs below a sweep's folder (`outputs/<name>`), or the one run that `sweep` itself is, and those that cannot be read.

    Raises:
        UserError: if there is none, or none that can be read.
    """
    runs, unreadable = read_runs(folders_of(sweep))
    if not runs:
        raise UserError(unreadable[0].why)
    return runs, unreadable


def folders_of(sweep: Path) -> list[Path]:
    """As `run_folders`, of a path that a user gave.

    Raises:
        UserError: if there is no run.
    """
    if not sweep.is_dir():
        raise UserError(f"{sweep} is not a folder; give a sweep's folder such as outputs/main.")
    folders = run_folders(sweep)
    if not folders:
        raise UserError(f"{sweep} holds no runs; give a sweep's folder such as outputs/main.")
    return folders


def run_folders(sweep: Path) -> list[Path]:
    """The run directories below a sweep's folder, or the one that `sweep` itself is, ordered by name."""
    if is_run(sweep):
        return [sweep]
    return sorted(path for path in sweep.glob("[!.]*") if is_run(path))


def read_status(directory: RunDirectory) -> dict[str, Any]:
    """status.json, with `running` corrected to `lost` when the heartbeat is stale; empty if it is missing or damaged."""
    return _status(directory.status, [])


def is_finished(record: RunRecord) -> bool:
    """Whether a run is done and its files are those that it wrote: what checksums.json says of them, as far as it is quick."""
    return record.done and not any(
        _differs(record.directory.path / name, digest) for name, digest in _checksums(record.directory).items()
    )


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's, be it damaged."""
    return any((folder / name).is_symlink() or (folder / name).exists() for name in SIGNS)


def _lines(path: Path, shape: Mapping[str, Check], problems: list[str]) -> list[dict[str, Any]]:
    lines, problem = read_jsonl_lines(path)
    if problem is not None:
        problems.append(f"{path} {problem}")
    for number, line in enumerate(lines, 1):
        wrong = misfit(line, shape)
        if wrong is not None:
            problems.append(f"{path} is damaged: in line {number} {wrong}")
            return lines[: number - 1]
    return lines


def _status(path: Path, problems: list[str]) -> dict[str, Any]:
    if not path.is_symlink() and not path.exists():
        return {}
    status = read_json(path)
    wrong = misfit(status, STATUS)
    if wrong is None:
        return effective_status(status)
    problems.append(f"{path} is damaged: {wrong}")
    return {}


def _missing_lines(record: RunRecord) -> list[str]:
    """A run that says it is done has a line for each of its epochs and states."""
    expected = (
        (record.directory.metrics, record.metrics, record.planned_epochs),
        (record.directory.states, record.states, record.planned_states),
    )
    return [
        f"{path} has {len(lines)} lines where a run that is done has {count}"
        for path, lines, count in expected
        if len(lines) != count
    ]


def _other_lines(record: RunRecord) -> list[str]:
    """The lines of a finished run are those that it wrote."""
    digests, directory = _checksums(record.directory), record.directory
    files = ((directory.metrics, record.metrics), (directory.states, record.states))
    return [
        f"{path} is damaged: its checksum is not the one in {directory.checksums.name}"
        for path, lines in files
        if digests.get(path.name, sha256_of(jsonl(lines))) != sha256_of(jsonl(lines))
    ]


def _checksums(directory: RunDirectory) -> dict[str, Any]:
    files = read_json_object(directory.checksums).get("files")
    return files if isinstance(files, dict) else {}


def _differs(path: Path, digest: Any) -> bool:
    try:
        return path.stat().st_size <= HASHED_BYTES and sha256(path) != digest
    except OSError:
        return True
