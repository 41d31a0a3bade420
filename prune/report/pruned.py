"""What share of a model is gone, as counted, in words; beside it what the schedule said, where that is something else."""

from __future__ import annotations

from collections.abc import Iterable

from prune.architectures.group import MEASURED
from prune.report.columns import PRUNED_PARAMETERS, pruned_column
from prune.report.findings import Findings
from prune.report.run import Variant, kinds_of
from prune.report.text import NOTHING, number


def by_kind(findings: Findings, variant: Variant, state: int) -> str:
    """Percent of the units of each kind: `70.0`, or `heads 69.4, neurons 70.0`, and `(scheduled 50.0)` where that differs.

    Where the rate is one of the whole model's size, that beside it: `heads 61.1, neurons 61.8 (70.0 % of MACs)`.
    """
    shown = {kind: percent(findings, variant, state, pruned_column(kind)) for kind in kinds_of([variant])}
    text, measure = _each(shown), variant.runs[0].measure
    if measure != "units":
        gone = percent(findings, variant, state, f"pruned.{measure}")
        asked = scheduled(findings, variant, state)
        counted = f"{gone} % of {MEASURED[measure]}"
        return f"{text} ({counted if counted == asked else f'{counted}, scheduled {asked}'})"
    off = any(run.off_schedule(state) for run in variant.runs if state in run.lines)
    return f"{text} (scheduled {scheduled(findings, variant, state)})" if off else text


def of_parameters(findings: Findings, variant: Variant, state: int) -> str:
    """Percent of all parameters."""
    return percent(findings, variant, state, PRUNED_PARAMETERS)


def scheduled(findings: Findings, variant: Variant, state: int) -> str:
    """The schedule's rate in percent, kind by kind where they differ; `70.0 % of MACs` where it is one of the whole model."""
    run = next((run for run in variant.runs if state in run.lines), None)
    if run is not None and run.measure != "units":
        return f"{number(100 * (run.lines[state].get('rate') or 0.0), 1)} % of {MEASURED[run.measure]}"
    return NOTHING if run is None else _each({kind: number(100 * rate, 1) for kind, rate in run.scheduled(state).items()})


def _each(shown: dict[str, str]) -> str:
    """`70.0` where all kinds have it, else `heads 50.0, neurons 80.0`."""
    known = {kind: text for kind, text in shown.items() if text != NOTHING}
    if len(set(known.values())) == 1:
        return next(iter(known.values()))
    return ", ".join(f"{kind} {text}" for kind, text in known.items()) or NOTHING


def percent(findings: Findings, variant: Variant, state: int, column: str) -> str:
    """A fraction's mean over seeds, in percent."""
    found = findings.summary(variant, state, column)
    return NOTHING if found is None else number(100 * found.mean, 1)


def counted_alike(variants: Iterable[Variant]) -> str | None:
    """The kind with most units, if it says of every model how much of each kind is gone, to within one unit; else None."""
    variants = list(variants)
    kinds = kinds_of(variants)
    runs = [run for variant in variants for run in variant.runs if run.states_done]
    if not runs or any(set(run.dense_units) != set(kinds) for run in runs):
        return None
    finest = max(kinds, key=lambda kind: min(run.dense_units[kind] for run in runs))
    for run in runs:
        for gone in map(run.pruned, run.states_done):
            for kind in kinds:
                off = gone.get(pruned_column(kind), 0.0) - gone.get(pruned_column(finest), 0.0)
                if abs(off) * run.dense_units[kind] > 1 + 1e-9:
                    return None
    return finest
