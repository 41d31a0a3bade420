"""Size: parameters and MACs by part, compression, retention, accuracy against measured latency."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from prune.architectures.shape import Parts, ViTShape
from prune.report.analysis import Analysis, run_keys
from prune.report.latency import Measurement
from prune.report.statistics import Summary, summarise
from prune.report.study import Variant
from prune.report.tables.table import FLAG, Table, about, chosen_states, mark, raw, raws
from prune.report.text import NOTHING, large, mean_std, number, slug


def parts_kept(analysis: Analysis, variant: Variant, state: int) -> list[tuple[Parts, Parts]]:
    """Parameters and MACs by part, one pair per run that finished a state. A sum over blocks needs only how many are kept."""
    found = []
    for run in variant.runs:
        line = next((line for line in run.record.states if line.get("state") == state), None)
        if line is None or run.shape is None or None in (line.get("heads_kept"), line.get("neurons_kept")):
            continue
        kept = [line["heads_kept"]], [line["neurons_kept"]]
        found.append((run.shape.parameters(*kept), run.shape.macs(*kept)))
    return found


def parameters(analysis: Analysis, dataset: str) -> Table | None:
    """Parameters by part, dense and in the last state."""
    return _by_part(analysis, dataset, "parameters", "Parameters by part", 0, lambda shape: shape.parameters())


def macs(analysis: Analysis, dataset: str) -> Table | None:
    """Multiply-accumulates of one image's forward pass by part, dense and in the last state."""
    return _by_part(analysis, dataset, "macs", "MACs by part (one image, forward)", 1, lambda shape: shape.macs())


def _by_part(
    analysis: Analysis, dataset: str, name: str, title: str, which: int, dense_of: Callable[[ViTShape], Parts]
) -> Table | None:
    rows, lines = [], []
    for variant in analysis.study.of(dataset):
        shape = next((run.shape for run in variant.runs if run.shape is not None), None)
        if shape is None:
            continue
        dense = dense_of(shape)
        for state in analysis.study.finished(variant):
            found = [pair[which] for pair in parts_kept(analysis, variant, state)]
            if not found:
                continue
            kept = {part: summarise(getattr(p, part) for p in found) for part in ("attention", "mlp", "other", "total")}
            total = kept["total"]
            assert total is not None
            share = total.mean / dense.total
            lines.append({**about(variant), "state": state, **raws(kept), "dense_total": dense.total, "kept": share,
                          "compression": 1 / share})  # fmt: skip
            if state in chosen_states(analysis.study.finished(variant)):
                cells = [_size(s, getattr(dense, part)) for part, s in kept.items()]
                rows.append([variant.label, str(state), *cells, f"{1 / share:.2f}×", run_keys(variant.runs)])
    if not rows:
        return None
    columns = ["method", "state", "attention (heads)", "MLP (neurons)", "other", "total", "compression", "runs"]
    note = (
        "In brackets the share of the dense model that is kept. Other: embeddings, norms and the classifier, which are never "
        "pruned. Counted in closed form from config.yaml and the units kept; every state is in the CSV."
    )
    if name == "macs":
        note += " One MAC is two FLOPs; both attention products are counted."
    return Table(f"{name}-{slug(dataset)}", title, columns, rows, pd.DataFrame(lines), note)


def _size(summary: Summary | None, dense: int) -> str:
    if summary is None:
        return NOTHING
    return f"{large(summary.mean)} ({100 * summary.mean / dense:.1f} %)" if dense else large(summary.mean)


def retention(analysis: Analysis, dataset: str) -> Table | None:
    """What the last state keeps: units, parameters, MACs and accuracy, of state 0 and of the baseline in the same state."""
    study, rows, lines = analysis.study, [], []
    for variant in study.of(dataset):
        last = analysis.last_state(variant)
        if last is None:
            continue
        other = analysis.baseline_of(variant)
        own = study.by_seed(variant, "test_accuracy_best", last)
        zero = study.by_seed(variant, "test_accuracy_best", 0)
        base = {} if other is None else study.by_seed(other, "test_accuracy_best", last)
        of_zero, of_base = _ratio(own, zero), _ratio(own, base)
        kept = {name: _ratio(study.by_seed(variant, name, last), study.by_seed(variant, name, 0))
                for name in ("heads_kept", "neurons_kept", "parameters", "macs")}  # fmt: skip
        n = len(variant.runs)
        rows.append([
            variant.label,
            str(last),
            *map(_share, kept.values()),
            mark(mean_std(of_zero, n, 1), analysis, variant, [0, last]),
            mark(mean_std(of_base, n, 1), analysis, variant, [last]),
            run_keys(variant.runs),
        ])  # fmt: skip
        lines.append({**about(variant), "state": last, **raws(kept),
                     **raw("accuracy_of_state_0", of_zero), **raw("accuracy_of_baseline", of_base)})  # fmt: skip
    if not rows:
        return None
    columns = ["method", "state", "heads", "neurons", "parameters", "MACs", "accuracy / state 0",
               f"accuracy / {analysis.baseline}, same state", "runs"]  # fmt: skip
    note = (
        "All in percent. Accuracy above 100 % of state 0 can come from the longer training alone; the column beside it "
        f"compares with {analysis.baseline} after as many epochs."
    )
    return Table(f"retention-{slug(dataset)}", "Retention in the last state", columns, rows, pd.DataFrame(lines), note)


def _share(summary: Summary | None) -> str:
    """A share in percent; the runs keep the same number of units, so the spread is shown only where there is one."""
    if summary is None:
        return NOTHING
    return mean_std(summary, None, 1) if summary.std > 1e-9 else number(summary.mean, 1)


def _ratio(values: dict[int, float], of: dict[int, float]) -> Summary | None:
    return summarise(100 * values[seed] / of[seed] for seed in values if of.get(seed))


def latency(analysis: Analysis, dataset: str, measured: list[Measurement]) -> Table | None:
    """Accuracy against measured latency: the last measured state of each run, every one in the CSV."""
    rows, lines = [], []
    here = [m for m in measured if m.variant.dataset == dataset]
    last = {m.run.key: m.state for m in sorted(here, key=lambda m: m.state)}
    for m in here:
        if m.pruned is None:
            continue
        accuracy = analysis.study.by_seed(m.variant, "test_accuracy_best", m.state).get(m.run.seed)
        dense, pruned = m.dense or {}, m.pruned
        speedup = dense["median_ms"] / pruned["median_ms"] if dense else None
        flag = f" {FLAG}" if (m.run.key, m.state) in analysis.flagged else ""
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
