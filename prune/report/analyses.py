"""What `python -m prune analyse` left in the runs' directories: figures and sentences, and the command for what is missing."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from prune.base.registries import ANALYSES
from prune.base.text import printable
from prune.report.figures.style import Figure
from prune.report.run import Run, Variant
from prune.report.study import Study
from prune.report.text import count, slug
from prune.rundir.analyses import Stored, all_stored, picture

MOST_SHOWN = 4
"""Configurations of a dataset whose figures are in the page: of dozens nobody would read them all."""


@dataclass(frozen=True)
class Analysed:
    """A configuration, the one of its runs that has most analyses, and these in its last analysed state, by name."""

    variant: Variant
    run: Run
    state: int
    found: dict[str, Stored]

    @property
    def label(self) -> str:
        return f"{self.variant.label} ({self.run.key}, state {self.state})"


def items(study: Study, dataset: str) -> list[Figure | str]:
    """Sentences and figures of what was analysed, analysis by analysis, then what was not."""
    variants = [variant for variant in study.of(dataset) if study.finished(variant)]
    analysed = [found for variant in variants if (found := _analysed(variant)) is not None]
    shown, others = analysed[:MOST_SHOWN], analysed[MOST_SHOWN:]
    parts: list[Figure | str] = []
    for name in dict.fromkeys(name for one in shown for name in one.found):
        for one in shown:
            if name in one.found:
                parts.append(_paragraph(one, one.found[name]))
                parts += _figures(one, one.found[name])
    if others:
        folders = ", ".join(f"`{printable(one.run.path / 'analysis')}`" for one in others)
        parts.append(f"Further analyses, not shown here: {folders}.")
    return [*parts, *_missing(study, variants, analysed)]


def _analysed(variant: Variant) -> Analysed | None:
    every = [(run, all_stored(run.record.directory)) for run in variant.runs]
    run, found = max(every, key=lambda item: len(item[1]))
    if not found:
        return None
    last = max(stored.state for stored in found)
    ordered = {stored.analysis: stored for stored in found if stored.state == last}
    names = [*(name for name in ANALYSES.table if name in ordered), *sorted(set(ordered) - set(ANALYSES.table))]
    return Analysed(variant, run, last, {name: ordered[name] for name in names})


def _paragraph(one: Analysed, stored: Stored) -> str:
    images = f", {count(stored.images, 'validation image')}" if stored.images else ""
    says = [stored.refused] if stored.refused else stored.sentences
    return " ".join([f"{stored.title}: {one.label}{images}.", *says])


def _figures(one: Analysed, stored: Stored) -> Iterator[Figure]:
    for figure in stored.figures:
        found = picture(one.run.record.directory, stored, figure)
        if found is not None:
            name = f"analysis-{slug(one.run.record.id)}-state_{one.state:02d}-{found.name}"
            yield Figure(name, f"{found.title}: {one.label}", found.caption, found.png, found.svg, found.wide, light=True)


def _missing(study: Study, variants: list[Variant], analysed: list[Analysed]) -> list[str]:
    have = {one.variant.label: one for one in analysed}
    lacking = [
        (variant.label, names)
        for variant in variants
        if (names := [name for name in ANALYSES.table if variant.label not in have or name not in have[variant.label].found])
    ]
    if not lacking:
        return []
    sweeps = " ".join(shlex.quote(printable(sweep)) for sweep in study.sweeps)
    command = f"`python -m prune analyse {sweeps}` measures what is missing."
    if all(len(names) == len(ANALYSES.table) for _, names in lacking):
        return [f"Not analysed: {_some([label for label, _ in lacking])}. {command}"]
    parts = [f"{label} ({', '.join(names)})" for label, names in lacking]
    return [f"Not analysed: {_some(parts, '; ')}. {command}"]


def _some(names: list[str], between: str = ", ") -> str:
    rest = f"{between}and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    return between.join(names[:MOST_SHOWN]) + rest
