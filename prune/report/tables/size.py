"""Size: parameters and MACs by part, compression, retention, accuracy against measured latency."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from prune.architectures.group import Structure
from prune.report import budgets
from prune.report.columns import kept_column
from prune.report.findings import Findings, run_keys
from prune.report.latency import Measurement
from prune.report.run import Variant, kinds_of
from prune.report.statistics import Summary, summarise
from prune.report.tables.table import FLAG, Table, about, chosen_states, mark, raw, raws
from prune.report.text import NOTHING, large, mean_std, number, slug

OTHER, TOTAL = "other", "total"
"""The parts of a model's size beside its kinds of unit: what no unit owns, and everything."""

Parts = Callable[[Structure, Mapping[str, int] | None], dict[str, int]]
"""(structure, group → units kept; None: all) → part → its size."""


def parameters_by_part(structure: Structure, counts: Mapping[str, int] | None = None) -> dict[str, int]:
    """Parameters of each kind's units, of what no unit owns, and in all."""
    by_kind = structure.parameters_by_kind(counts)
    return {**by_kind, OTHER: structure.fixed_parameters, TOTAL: structure.parameters(counts)}


def macs_by_part(structure: Structure, counts: Mapping[str, int] | None = None) -> dict[str, int]:
    """Multiply-accumulates of one image's forward pass, likewise."""
    by_kind = structure.macs_by_kind(counts)
    return {**by_kind, OTHER: structure.fixed_macs, TOTAL: structure.macs(counts)}


def parts_kept(variant: Variant, state: int, parts: Parts) -> list[dict[str, int]]:
    """A state's size by part, of each run that finished it and whose structure is known."""
    return [
        parts(run.structure, counts)
        for run in variant.runs
        if run.structure is not None and (counts := run.counts(state)) is not None
    ]


def parameters(findings: Findings, dataset: str) -> Table | None:
    """Parameters by part, dense and in the last state."""
    return _by_part(findings, dataset, "parameters", "Parameters by part", parameters_by_part)


def macs(findings: Findings, dataset: str) -> Table | None:
    """Multiply-accumulates of one image's forward pass by part, dense and in the last state."""
    return _by_part(findings, dataset, "macs", "MACs by part (one image, forward)", macs_by_part)


def _by_part(findings: Findings, dataset: str, name: str, title: str, parts: Parts) -> Table | None:
    variants, rows, lines = findings.study.of(dataset), [], []
    columns = [*kinds_of(variants), OTHER, TOTAL]
    for variant in variants:
        if variant.structure is None:
            continue
        dense, states = parts(variant.structure, None), findings.study.finished(variant)
        for state in states:
            found = parts_kept(variant, state, parts)
            if not found:
                continue
            kept = {part: summarise(sizes[part] for sizes in found) for part in dense}
            total = kept[TOTAL]
            assert total is not None
            share = total.mean / dense[TOTAL]
            lines.append({**about(variant), "state": state, **raws(kept), "dense_total": dense[TOTAL], "kept": share,
                          "compression": 1 / share})  # fmt: skip
            if state in chosen_states(states):
                cells = [_size(kept.get(part), dense.get(part, 0)) for part in columns]
                rows.append([variant.label, str(state), *cells, f"{1 / share:.2f}×", run_keys(variant.runs)])
    if not rows:
        return None
    note = (
        "In brackets the share of the dense model that is kept. Other: what no unit owns: embeddings, norms, biases after a "
        "branch, the classifier. Counted in closed form from config.yaml and the units kept; every state is in the CSV."
    )
    if name == "macs":
        note += " One MAC is two FLOPs; every matrix product is counted."
    headings = ["method", "state", *columns, "compression", "runs"]
    return Table(f"{name}-{slug(dataset)}", title, headings, rows, pd.DataFrame(lines), note)


def _size(summary: Summary | None, dense: int) -> str:
    if summary is None:
        return NOTHING
    return f"{large(summary.mean)} ({100 * summary.mean / dense:.1f} %)" if dense else large(summary.mean)


def retention(findings: Findings, dataset: str) -> Table | None:
    """What the last state keeps: units, parameters, MACs and accuracy, of state 0 and of the baseline in the same state."""
    study, rows, lines = findings.study, [], []
    kinds = kinds_of(study.of(dataset))
    for variant in study.of(dataset):
        last = findings.last_state(variant)
        if last is None:
            continue
        other = findings.baseline_of(variant)
        own = study.by_seed(variant, "test_accuracy_best", last)
        zero = study.by_seed(variant, "test_accuracy_best", 0)
        base = {} if other is None else study.by_seed(other, "test_accuracy_best", last)
        of_zero, of_base = _ratio(own, zero), _ratio(own, base)
        kept = {name: _ratio(study.by_seed(variant, name, last), study.by_seed(variant, name, 0))
                for name in (*map(kept_column, kinds), "parameters", "macs")}  # fmt: skip
        n = len(variant.runs)
        rows.append([
            variant.label,
            str(last),
            *map(_share, kept.values()),
            mark(mean_std(of_zero, n, 1), findings, variant, [0, last]),
            mark(mean_std(of_base, n, 1), findings, variant, [last]),
            " / ".join(
                NOTHING if v is None else budgets.epochs(findings, v, state)
                for v, state in ((variant, last), (variant, 0), (other, last))
            ),
            budgets.flops(findings, variant, last) + (f" / {budgets.flops(findings, other, last)}" if other else ""),
            run_keys(variant.runs),
        ])  # fmt: skip
        lines.append({**about(variant), "state": last, **raws(kept),
                     **raw("accuracy_of_state_0", of_zero), **raw("accuracy_of_baseline", of_base),
                     "baseline": None if other is None else other.label,
                     **raws({column: findings.summary(variant, last, column) for column in (budgets.EPOCHS, budgets.FLOPS)}),
                     })  # fmt: skip
    if not rows:
        return None
    columns = ["method", "state", *kinds, "parameters", "MACs", "accuracy / state 0",
               f"accuracy / {findings.baseline}, same state", "epochs since rewind", "training FLOPs", "runs"]  # fmt: skip
    note = (
        f"Shares in percent. Epochs since the last rewind: of this state, of state 0, and of {findings.baseline} in the same "
        f"state; training FLOPs of the run by then, and of {findings.baseline}. Where the epochs differ, a ratio of accuracies "
        "is one of method and training together."
    )
    return Table(f"retention-{slug(dataset)}", "Retention in the last state", columns, rows, pd.DataFrame(lines), note)


def _share(summary: Summary | None) -> str:
    """A share in percent; the runs keep the same number of units, so the spread is shown only where there is one."""
    if summary is None:
        return NOTHING
    return mean_std(summary, None, 1) if summary.std > 1e-9 else number(summary.mean, 1)


def _ratio(values: dict[int, float], of: dict[int, float]) -> Summary | None:
    return summarise(100 * values[seed] / of[seed] for seed in values if of.get(seed))


def latency(findings: Findings, dataset: str, measured: list[Measurement]) -> Table | None:
    """Accuracy against measured latency: the last measured state of each run, every one in the CSV."""
    rows, lines = [], []
    here = [m for m in measured if m.variant.dataset == dataset]
    last = {m.run.key: m.state for m in sorted(here, key=lambda m: m.state)}
    for m in here:
        if m.pruned is None:
            continue
        accuracy = findings.study.by_seed(m.variant, "test_accuracy_best", m.state).get(m.run.seed)
        dense, pruned = m.dense or {}, m.pruned
        speedup = dense["median_ms"] / pruned["median_ms"] if dense else None
        flag = f" {FLAG}" if (m.run.key, m.state) in findings.flagged else ""
        if m.state == last[m.run.key]:
            rows.append([
                m.variant.label, str(m.state), number(accuracy) + flag, m.engine, str(m.batch_size),
                number(dense.get("median_ms")), f"{number(pruned['median_ms'])} ({number(pruned.get('p90_ms'))})",
                NOTHING if speedup is None else f"{speedup:.2f}×", number(pruned.get("images_per_second"), 0), m.machine,
                m.run.key,
            ])  # fmt: skip
        raw_row: dict[str, Any] = {
            "dataset": dataset, "variant": m.variant.label, "seed": m.run.seed, "state": m.state, "accuracy": accuracy,
            "engine": m.engine, "batch_size": m.batch_size, "machine": m.machine, "speedup": speedup, "runs": m.run.key,
            "directories": str(m.run.path),
        }  # fmt: skip
        for kind, values in (("dense", dense), ("pruned", pruned)):
            raw_row |= {f"{kind}_{key}": values.get(key) for key in ("median_ms", "p90_ms", "images_per_second")}
        lines.append(raw_row)
    if not rows:
        return None
    columns = ["method", "state", "accuracy (%)", "engine", "batch", "dense, median (ms)", "pruned, median (p90) (ms)",
               "speed-up", "pruned, images/s", "machine", "runs"]  # fmt: skip
    note = (
        "Measured by `python -m prune latency`, dense and pruned interleaved in one process. Compare rows of one machine "
        "only; every measured state is in the CSV."
    )
    return Table(f"latency-{slug(dataset)}", "Accuracy against measured latency", columns, rows, pd.DataFrame(lines), note)
