"""What pruning did: drop and recovery, RSST before and after removal, survival per block."""

from __future__ import annotations

import pandas as pd

from prune.base.text import ranges
from prune.report.findings import Findings, run_keys
from prune.report.run import Variant
from prune.report.statistics import Summary, summarise
from prune.report.survival import Survival, survival
from prune.report.tables.table import Table, about, chosen_states, mark, raw, raws
from prune.report.text import NOTHING, mean_std, slug


def signed_mean_std(summary: Summary | None, n: int) -> str:
    """`−55.42 ± 0.80`, always with a sign."""
    text = mean_std(summary, n)
    return f"+{text}" if summary is not None and summary.mean >= 0 else text


def recovery(findings: Findings, dataset: str) -> Table | None:
    """For each pruned state: the model before, right after pruning, after its first epoch and at the end."""
    study, rows, lines = findings.study, [], []
    for variant in study.of(dataset):
        states = [s for s in study.finished(variant, "val_accuracy_pruned") if s >= 1]
        for state in states:
            before = study.by_seed(variant, "val_accuracy_final", state - 1)
            pruned = study.by_seed(variant, "val_accuracy_pruned", state)
            after = study.by_seed(variant, "val_accuracy_final", state)
            epochs = study.epochs_of(variant)
            first = epochs[(epochs["state"] == state) & (epochs["epoch"] == 0)]
            values = {
                "before": summarise(before.values()),
                "pruned": summarise(pruned.values()),
                "drop": change(before, pruned),
                "first_epoch": summarise(first["val_accuracy"]),
                "final": summarise(after.values()),
                "recovery": change(pruned, after),
                "net": change(before, after),
            }
            n = len(variant.runs)
            shown = {
                k: signed_mean_std(v, n) if k in ("drop", "recovery", "net") else mean_std(v, n) for k, v in values.items()
            }
            rows.append([variant.label, str(state), *shown.values(), run_keys(variant.runs)])
            lines.append({**about(variant), "state": state, **raws(values)})
    if not rows:
        return None
    columns = [
        "method",
        "state",
        "before (state − 1, final)",
        "right after pruning",
        "drop",
        "after epoch 0",
        "final",
        "recovery",
        "net",
        "runs",
    ]
    note = (
        "Validation accuracy in percent. “Right after pruning” is before any training and any rewind; for a method that only "
        "marks units at first, with the marked units masked: the drop that removing them at once would have cost."
    )
    return Table(
        f"recovery-{slug(dataset)}",
        "Drop right after pruning, and recovery",
        columns,
        rows,
        pd.DataFrame(lines),
        note,
        len(rows) > 12,
    )


def change(before: dict[int, float], after: dict[int, float]) -> Summary | None:
    return summarise(after[seed] - before[seed] for seed in after if seed in before)


def removal(findings: Findings, dataset: str) -> Table | None:
    """Soft methods: accuracy just before and just after the marked units are removed."""
    study, rows, lines = findings.study, [], []
    for variant in study.of(dataset):
        for state in study.finished(variant, "val_accuracy_after_removal"):
            before = study.by_seed(variant, "val_accuracy_before_removal", state)
            after = study.by_seed(variant, "val_accuracy_after_removal", state)
            ratio = findings.summary(variant, state, "marked_norm_ratio")
            at_once = findings.summary(variant, state, "val_accuracy_pruned")
            cost, n = change(before, after), len(variant.runs)
            rows.append([
                variant.label, str(state), mean_std(at_once, n), mean_std(summarise(before.values()), n),
                mean_std(summarise(after.values()), n), mark(signed_mean_std(cost, n), findings, variant, [state]),
                NOTHING if ratio is None else f"{100 * ratio.mean:.2g}", run_keys(variant.runs),
            ])  # fmt: skip
            lines.append({**about(variant), "state": state, **raws({
                "pruned_at_once": at_once, "before_removal": summarise(before.values()),
                "after_removal": summarise(after.values()), "change": cost, "marked_norm_ratio": ratio,
            })})  # fmt: skip
    if not rows:
        return None
    columns = ["method", "state", "if removed at once", "before removal", "after removal", "change", "norm left (%)", "runs"]
    note = (
        "Validation accuracy in percent. “If removed at once” masks the units at the state's start; “norm left” is what the "
        "penalty left of the marked units' norm when they were removed."
    )
    return Table(
        f"removal-{slug(dataset)}", "Before and after removal", columns, rows, pd.DataFrame(lines), note, len(rows) > 12
    )


def survivors(variant: Variant) -> Survival | None:
    """Survival per block and state, mean over runs, for a variant that prunes."""
    return survival(variant) if variant.prunes else None


def per_block(findings: Findings, dataset: str) -> Table | None:
    """Units of each kind that each block keeps in the last state."""
    rows, lines = [], []
    every = [(variant, found) for variant in findings.study.of(dataset) if (found := survivors(variant)) is not None]
    kinds = list(dict.fromkeys(kind for _, found in every for kind in found.kinds))
    for variant, found in every:
        for state in found.states:
            shown = state in chosen_states(found.states)[-1:]
            for block in found.blocks:
                cells = []
                for kind in kinds:
                    total = found.units.get((kind, block))
                    if total is None:
                        cells.append(NOTHING)
                        continue
                    kept = summarise(found.kept(kind, state, block))
                    lines.append(
                        {**about(variant), "state": state, "block": block, "kind": kind, "of": total, **raw("kept", kept)}
                    )
                    cells.append(f"{mean_std(kept, len(variant.runs), 1)} of {total}")
                if shown:
                    rows.append([variant.label, str(state), found.labels[block], *cells, run_keys(variant.runs)])
    if not rows:
        return None
    note = "Mean ± standard deviation over runs. Every state is in the CSV."
    columns = ["method", "state", "block", *(f"{kind} kept" for kind in kinds), "runs"]
    return Table(
        f"survival-{slug(dataset)}",
        "Units kept per block in the last state",
        columns,
        rows,
        pd.DataFrame(lines),
        note,
        folded=True,
    )


def penalties(findings: Findings, dataset: str) -> Table | None:
    """λ at the end of the first penalised epoch, half way and at its largest, in the last penalised state."""
    rows, lines = [], []
    for variant in findings.study.of(dataset):
        frame = findings.study.epochs_of(variant).dropna(subset=["penalty"])
        if not len(frame):
            continue
        state = int(frame["state"].max())
        by_epoch = frame[frame["state"] == state].groupby("epoch")["penalty"].mean()
        rows.append([
            variant.label, str(state), f"{by_epoch.iloc[0]:.3g}", f"{by_epoch.iloc[len(by_epoch) // 2]:.3g}",
            f"{by_epoch.max():.3g}", ranges(int(str(e)) for e in by_epoch.index),
            run_keys(variant.runs),
        ])  # fmt: skip
        lines += [{**about(variant), "state": state, "epoch": int(str(e)), "penalty": float(p)} for e, p in by_epoch.items()]
    if not rows:
        return None
    columns = ["method", "state", "λ, first epoch", "λ, half way", "λ, largest", "penalised epochs", "runs"]
    return Table(
        f"penalty-{slug(dataset)}", "Penalty λ over a state", columns, rows, pd.DataFrame(lines), "λ at each epoch's last step."
    )
