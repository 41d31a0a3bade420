"""What an analysis is, and what it may look at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

from prune.analysis.images import Images
from prune.analysis.runs import AnalysedRun, Snapshot
from prune.architectures.base import Architecture
from prune.architectures.group import Structure
from prune.report.figures.style import Figure

Numbers = dict[str, Any]
"""What was measured, by name: numpy arrays, which go to NAME.npz, and single numbers, which go to NAME.json."""

Track = Callable[[Iterable[Any], int], Iterator[Any]]
"""Hands on what it is given, and shows how much of it is done."""

Other = Literal["dense", "before"]


def silently(items: Iterable[Any], total: int) -> Iterator[Any]:
    """A `Track` that shows nothing."""
    yield from items


class Subject:
    """One finished state of a run.

    Attributes:
        run: its configuration, its other states and, through its directory, the other runs of the sweep.
        state: which one.
        images: the validation images to look at.
        track: wrap what takes long in it (`for batch in subject.track(batches, count)`): the bar moves.
    """

    def __init__(self, run: AnalysedRun, state: int, most: int | None, track: Track = silently):
        self.run, self.state, self.track, self._most = run, state, track, most

    @cached_property
    def images(self) -> Images:
        return self.run.images(self._most)

    @property
    def now(self) -> Snapshot:
        """The state's best model."""
        return self.run.snapshot(self.state)

    @property
    def dense(self) -> Snapshot:
        """The best model of state 0, which pruned nothing."""
        return self.run.snapshot(0)

    @property
    def before(self) -> Snapshot:
        """The model that the state began from: the final one of the state before; its best where only that was kept.

        State 0 has none.
        """
        return self.run.snapshot(*self.began_from)

    @property
    def began_from(self) -> tuple[int, str]:
        """(state, which) of `before`."""
        return self.state - 1, "final" if self.run.has(self.state - 1, "final") else "best"

    @property
    def architecture(self) -> Architecture:
        return self.run.architecture

    @property
    def structure(self) -> Structure:
        """The dense model's groups."""
        return self.run.architecture.structure


@dataclass(frozen=True)
class Shown:
    """How an analysis shows its numbers.

    Attributes:
        figures: each with a caption that says how to read it.
        sentences: what the numbers support, and what could not be measured and why.
    """

    figures: list[Figure] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)


class Analysis(ABC):
    """Measures one thing of one state. Registered by name under `ANALYSES` (entry point `prune.analyses`).

    Attributes:
        title: what it is called in reports.
        most_images: of how many validation images at most, unless the user says otherwise; None: of all; 0: of none.
        compares: which other models of the run it looks at, `before` in states that have one: results are computed again when
            one of them has changed.
        version: raised when the same models and images give other numbers or figures than before.
    """

    title: ClassVar[str]
    most_images: ClassVar[int | None] = None
    compares: ClassVar[tuple[Other, ...]] = ()
    version: ClassVar[int] = 1

    def refuses(self, subject: Subject) -> str | None:
        """Why this state has no such numbers, a sentence; None if it has. A family without attention has no maps of it."""
        return None

    def sources(self, subject: Subject) -> dict[str, Any]:
        """What else the numbers depend on, besides models, images and version: plain values."""
        return {}

    @abstractmethod
    def measure(self, subject: Subject) -> Numbers:
        """The numbers.

        Raises:
            UserError: if a model or the data cannot be had.
        """

    @abstractmethod
    def show(self, subject: Subject, numbers: Numbers) -> Shown:
        """Figures and sentences; called within the report's style."""
