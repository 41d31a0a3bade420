"""The report's contents in order, before they become a page or a Markdown file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from prune.base.text import count
from prune.report import analyses, latency
from prune.report.conclusions import conclude
from prune.report.figures import accuracy as accuracy_figures
from prune.report.figures import models as model_figures
from prune.report.figures import pareto as pareto_figures
from prune.report.figures import sensitivity as sensitivity_figures
from prune.report.figures import survival as survival_figures
from prune.report.figures import swept
from prune.report.figures import training as training_figures
from prune.report.figures.style import Figure, Style, styled
from prune.report.findings import Findings
from prune.report.tables import accuracy, differences, equal_size, pruning, runs, size, training
from prune.report.tables.table import Table
from prune.report.text import slug

Item = Table | Figure | str
"""A table, a figure, or a paragraph in which `…` is code."""


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    heading: str
    items: list[Item] = field(default_factory=list)
    children: list[Section] = field(default_factory=list)
    context: str = ""

    @property
    def anchor(self) -> str:
        return slug(f"{self.context} {self.heading}")


@dataclass(frozen=True)
class Document:
    """The whole report."""

    title: str
    summary: str
    conclusions: dict[str, list[str]]
    findings: Findings
    sections: list[Section]

    @property
    def tables(self) -> list[Table]:
        return [item for item in self._items() if isinstance(item, Table)]

    @property
    def figures(self) -> list[Figure]:
        return [item for item in self._items() if isinstance(item, Figure)]

    def _items(self) -> list[Item]:
        return [item for s in self.sections for part in (s, *s.children) for item in part.items]


def build(findings: Findings) -> Document:
    """Make every table and figure that the runs so far allow."""
    study = findings.study
    style = Style(study)
    measured = latency.measurements(study)
    with styled():
        datasets = [_dataset(findings, style, dataset, measured) for dataset in study.datasets]
    runs_section = Section("Runs", _present([runs.completeness(findings), runs.environment(findings)]))
    names = " + ".join(sweep.resolve().name for sweep in study.sweeps)
    done = sum(run.complete for run in study.runs)
    return Document(
        title=f"Pruning report: {names}",
        summary=f"{count(len(study.runs), 'run')} ({done} complete) of {count(len(study.variants), 'configuration')} on "
        f"{', '.join(study.datasets)}.",
        conclusions={dataset: conclude(findings, dataset) for dataset in study.datasets},
        findings=findings,
        sections=[*datasets, runs_section],
    )


def _present(items: list[Table | Figure | None]) -> list[Item]:
    return [item for item in items if item is not None]


def _dataset(findings: Findings, style: Style, dataset: str, measured: list[latency.Measurement]) -> Section:
    def table(make: Callable[[Findings, str], Table | None]) -> Table | None:
        return make(findings, dataset)

    def figure(make: Callable[[Findings, Style, str], Figure | None]) -> Figure | None:
        return make(findings, style, dataset)

    variants = findings.study.of(dataset)
    heat_maps = [survival_figures.heat_map(v, slug(f"{dataset} {v.label}")) for v in variants]
    sensitivity = [sensitivity_figures.curves(v, slug(f"{dataset} {v.label}")) for v in variants]
    parts: list[tuple[str, list[Table | Figure | None]]] = [
        ("Accuracy", [
            table(accuracy.overall), table(differences.leading), table(differences.others),
            figure(accuracy_figures.by_state), figure(accuracy_figures.by_rate), figure(swept.by_target),
            table(accuracy.by_state), table(differences.by_state), table(accuracy.every_state),
        ]),
        ("At equal size", [table(equal_size.at_equal_size), figure(model_figures.by_size)]),
        ("Size and speed", [
            table(size.parameters), table(size.macs), table(size.retention), figure(pareto_figures.against_parameters),
            figure(pareto_figures.against_macs), size.latency(findings, dataset, measured),
            pareto_figures.against_latency(findings, style, dataset, measured),
        ]),
        ("Pruning", [
            figure(training_figures.recovery), table(pruning.recovery), figure(training_figures.removal),
            figure(training_figures.penalty), table(pruning.removal), table(pruning.penalties),
            *swept.penalties(findings, dataset), *heat_maps, table(pruning.per_block), *sensitivity,
        ]),
        ("Training", [
            figure(training_figures.curves), figure(training_figures.within_states), table(training.curves),
            table(training.convergence), table(training.overfitting),
        ]),
        ("Time", [figure(training_figures.time), table(runs.time)]),
    ]  # fmt: skip
    children = [Section(heading, _present(items), context=dataset) for heading, items in parts]
    for child in children:
        child.items.extend(_missing(findings, dataset, child, measured))
    children.append(Section("What pruning did", list(analyses.items(findings.study, dataset)), context=dataset))
    return Section(dataset, [], [child for child in children if child.items])


def _missing(findings: Findings, dataset: str, section: Section, measured: list[latency.Measurement]) -> list[Item]:
    """Sentences for what could be here and is not."""
    study = findings.study
    sentences: list[Item] = []
    if section.heading == "Size and speed":
        unknown = [v.label for v in study.of(dataset) if study.finished(v) and v.structure is None]
        if unknown:
            sentences.append(
                f"Size by part: not of {', '.join(unknown)}; the family of models is not installed here, or nothing tells the "
                "number of classes."
            )
        command = latency.command(study, dataset)
        if command and not any(m.variant.dataset == dataset for m in measured):
            sentences.append(f"Latency: not measured. `{command}` measures it.")
    if section.heading == "Pruning" and any(v.prunes and pruning.survivors(v) is None for v in study.of(dataset)):
        sentences.append(
            "Survival per block: not every configuration has a readable pruned.json in its checkpoints/state_XX folders."
        )
    return sentences
