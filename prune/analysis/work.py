"""What has to be computed, computed and stored: one analysis of one state at a time, so that an interrupted command goes on."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from prune.analysis.base import Analysis, Shown, Subject, Track, silently
from prune.analysis.runs import AnalysedRun
from prune.base.registries import ANALYSES
from prune.report.figures.style import styled
from prune.rundir.analyses import Stored, model_digest, read_stored, write_stored


@dataclass(frozen=True)
class Item:
    """One analysis of one state of a run. `most`: validation images at most; None: as many as the analysis wants."""

    run: AnalysedRun
    state: int
    name: str
    most: int | None = None

    @cached_property
    def analysis(self) -> Analysis:
        found: Analysis = ANALYSES.load(self.name)()
        return found

    @property
    def most_images(self) -> int | None:
        wanted = self.analysis.most_images
        return wanted if self.most is None or wanted == 0 else self.most

    def subject(self, track: Track = silently) -> Subject:
        return Subject(self.run, self.state, self.most_images, track)


def sources(item: Item) -> dict[str, Any]:
    """All that an item's numbers depend on, as its file has it. Reads neither models nor images."""
    subject, directory, compares = item.subject(), item.run.directory, item.analysis.compares
    models = {(item.state, "best")}
    models |= {(0, "best")} if "dense" in compares else set()
    models |= {subject.began_from} if "before" in compares and item.state else set()
    return {
        "version": item.analysis.version,
        "models": {f"{state}/{which}": model_digest(directory, state, which) for state, which in sorted(models)},
        "data": None if item.most_images == 0 else item.run.data_source(),
        "most_images": item.most_images,
        **item.analysis.sources(subject),
    }


def stored(item: Item) -> Stored | None:
    """What was found before, if it was found from what is there now."""
    found = read_stored(item.run.directory, item.state, item.name)
    return found if found is not None and found.sources == sources(item) else None


def compute(item: Item, track: Track) -> str | None:
    """Measure, draw and store; why the state has no such numbers, if it has none.

    Raises:
        UserError: if a model or the data cannot be had. Nothing is stored then.
    """
    analysis, subject = item.analysis, item.subject(track)
    seen = sources(item)  # before measuring: what changes meanwhile was not, or not all, looked at
    refused = analysis.refuses(subject)
    numbers: dict[str, Any] = {} if refused else analysis.measure(subject)
    with styled():
        shown = Shown() if refused else analysis.show(subject, numbers)
    arrays = {key: value for key, value in numbers.items() if isinstance(value, np.ndarray)}
    about = {
        "analysis": item.name,
        "title": analysis.title,
        "state": item.state,
        "sources": seen,
        "images": 0 if refused or item.most_images == 0 else len(subject.images),
        "sentences": shown.sentences,
        "refused": refused,
        "numbers": {key: _known(value) for key, value in numbers.items() if key not in arrays},
    }
    write_stored(item.run.directory, about, shown.figures, _packed(arrays) if arrays else None)
    return refused


def _known(value: Any) -> Any:
    """A single number as JSON has it, which knows no nan."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and value != value else value


def _packed(arrays: dict[str, np.ndarray]) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    return content.getvalue()
