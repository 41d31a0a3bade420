"""Which cells of a sweep share their state 0, which of them trains it, and which take it over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from prune.config.schema import RunConfig
from prune.rundir.dense import DenseDirectory, DenseState, dense_directory, read_dense


@dataclass(frozen=True)
class Member:
    """A cell as far as sharing goes.

    Attributes:
        path: the run's directory.
        epochs_done: so far; all of its epochs if it is done.
        active: whether a process or a job has it already.
    """

    config: RunConfig
    path: Path
    epochs_done: int
    active: bool = False

    @property
    def in_state_0(self) -> bool:
        return self.epochs_done < self.config.schedule.epochs_of(0)


@dataclass(frozen=True)
class Share:
    """A cell's part in a shared dense state.

    Attributes:
        directory: of that state; None for a cell whose state 0 is its own.
        points: the rewind points that any cell wants of it.
        takes_over: whether the cell's state 0 is there or another cell trains it, so that it has not to be computed.
        trained_by: the directory of the run that has yet to train it while others wait (its own too); None where nobody waits.
    """

    directory: DenseDirectory | None = None
    points: tuple[str, ...] = ()
    takes_over: bool = False
    trained_by: Path | None = None


ALONE = Share()
"""Of a cell whose state 0 is its own."""


def shares(members: Sequence[Member]) -> list[Share]:
    """The part of each cell, in order. Reads the manifests of the shared states that there are."""
    directories = [dense_directory(member.config) for member in members]
    groups: dict[Path, list[int]] = {}
    for number, directory in enumerate(directories):
        if directory is not None:
            groups.setdefault(directory.path, []).append(number)
    found = [ALONE for _ in members]
    for numbers in groups.values():
        directory = directories[numbers[0]]
        assert directory is not None
        points = tuple(dict.fromkeys(point for n in numbers for point in members[n].config.method.rewind_points))
        there = read_dense(directory)
        at_start = {n for n in numbers if members[n].in_state_0}
        waiting = [n for n in numbers if n in at_start and not _holds(there, members[n].config)]
        # Whoever is at it goes on, else who has least to do.
        trainer = max(waiting, key=lambda n: (members[n].active, members[n].epochs_done), default=None)
        for n in numbers:
            found[n] = Share(directory, points, takes_over=n in at_start and n != trainer)
        if trainer is not None and len(waiting) > 1:
            for n in waiting:
                found[n] = replace(found[n], trained_by=members[trainer].path)
    return found


def _holds(there: DenseState | str | None, config: RunConfig) -> bool:
    """Whether a run can take its state 0 over, as far as the manifest tells."""
    return isinstance(there, DenseState) and not there.lacks(config.method.rewind_points)
