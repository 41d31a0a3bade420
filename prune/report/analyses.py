"""What `python -m prune analyse` left in the runs' directories: figures and sentences, and the command for what is missing."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from prune.base.registries import ANALYSES
from prune.base.text import count, printable
from prune.report.figures.style import Figure
from prune.report.run import Run, Variant
from prune.report.study import Study
from prune.report.text import slug
from prune.rundir.analyses import Stored, all_stored, picture

MOST_SHOWN = 4
"""Configurations of a dataset whose figures are in the page: of dozens nobody would read them all."""

DENSE = "0/best"
"""The dense model among the models that an analysis looked at (`sources`)."""


@dataclass(frozen=True)
class Analysed:
    """A configuration, the one of its runs that has most analyses, and what is shown of these.

    Attributes:
        state: the last that was analysed.
        found: by name, state by state: of the last one; and of the dense model where the last one's is not beside it already.
    """

    variant: Variant
    run: Run
    state: int
    found: dict[str, list[Stored]]

    def label(self, stored: Stored) -> str:
        return f"{self.variant.label} ({self.run.key}, state {stored.state})"

    def has(self, name: str) -> bool:
        """Whether the last analysed state has an analysis."""
        return any(stored.state == self.state for stored in self.found.get(name, []))


def items(study: Study, dataset: str) -> list[Figure | str]:
    """Sentences and figures of what was analysed, analysis by analysis, then what was not."""
    variants = [variant for variant in study.of(dataset) if study.finished(variant)]
    analysed = [found for variant in variants if (found := _analysed(variant)) is not None]
    shown, others = analysed[:MOST_SHOWN], analysed[MOST_SHOWN:]
    parts: list[Figure | str] = []
    for name in dict.fromkeys(name for one in shown for name in one.found):
        for one in shown:
            for stored in one.found.get(name, []):
                parts.append(_paragraph(one, stored))
                parts += _figures(one, stored)
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
    beside_dense = {stored.analysis for stored in found if stored.state == last and DENSE in stored.sources["models"]}
    shown: dict[str, list[Stored]] = {}
    for stored in found:
        if stored.state == last or (stored.state == 0 and stored.analysis not in beside_dense):
            shown.setdefault(stored.analysis, []).append(stored)
    names = [*(name for name in ANALYSES.table if name in shown), *sorted(set(shown) - set(ANALYSES.table))]
    return Analysed(variant, run, last, {name: shown[name] for name in names})


def _paragraph(one: Analysed, stored: Stored) -> str:
    images = f", {count(stored.images, 'validation image')}" if stored.images else ""
    says = [stored.refused] if stored.refused else stored.sentences
    return " ".join([f"{stored.title}: {one.label(stored)}{images}.", *says])


def _figures(one: Analysed, stored: Stored) -> Iterator[Figure]:
    for figure in stored.figures:
        found = picture(one.run.record.directory, stored, figure)
        if found is not None:
            name = f"analysis-{slug(one.run.record.id)}-state_{stored.state:02d}-{found.name}"
            yield Figure(
                name, f"{found.title}: {one.label(stored)}", found.caption, found.png, found.svg, found.wide, light=True
            )


def _missing(study: Study, variants: list[Variant], analysed: list[Analysed]) -> list[str]:
    have = {one.variant.label: one for one in analysed}
    lacking = [
        (variant.label, names)
        for variant in variants
        if (names := [name for name in ANALYSES.table if variant.label not in have or not have[variant.label].has(name)])
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
