"""How training went: curves at chosen epochs, convergence and fluctuation, overfitting."""

from __future__ import annotations

from typing import Any

import pandas as pd

from prune.report.findings import Findings, run_keys
from prune.report.run import Run, Variant
from prune.report.statistics import Ending, Summary, ending, summarise
from prune.report.tables.table import Table, about, chosen_states, raw
from prune.report.text import NOTHING, mean_std, signed, slug

STABLE_POINTS = 0.5
"""A state whose validation accuracy still moves by more than this, from five epochs to the next five, has not converged."""


def trained_states(findings: Findings, variant: Variant) -> list[int]:
    """The states in which some run of a variant has an epoch, ascending."""
    return sorted({int(state) for state in findings.study.epochs_of(variant)["state"]})


def chosen_epochs(epochs: int) -> list[int]:
    """First, a sixth, half, five sixths, last: 0, 10, 30, 50 and 59 of 60."""
    return sorted({0, epochs // 6, epochs // 2, 5 * epochs // 6, epochs - 1} - {-1})


def curves(findings: Findings, dataset: str) -> Table | None:
    """Validation accuracy at chosen epochs of state 0 and of the last state."""
    variants = [v for v in findings.study.of(dataset) if len(findings.study.epochs_of(v))]
    if not variants:
        return None
    rows, lines = [], []
    planned = max(
        run.record.epochs_of(s) for v in variants for run in v.runs for s in chosen_states(trained_states(findings, v))
    )
    epochs = chosen_epochs(planned)
    for variant in variants:
        frame = findings.study.epochs_of(variant)
        for state in chosen_states(trained_states(findings, variant)):
            at = {epoch: frame[(frame["state"] == state) & (frame["epoch"] == epoch)] for epoch in epochs}
            summaries = {epoch: summarise(found["val_accuracy"]) for epoch, found in at.items()}
            cells = [mean_std(s, len(variant.runs)) for s in summaries.values()]
            rows.append([variant.label, str(state), *cells, run_keys(variant.runs)])
            lines += [
                {**about(variant), "state": state, "epoch": epoch, **raw("val_accuracy", s)} for epoch, s in summaries.items()
            ]
    columns = ["method", "state", *(f"epoch {epoch}" for epoch in epochs), "runs"]
    note = "Validation accuracy in percent at the end of the epoch."
    return Table(f"curves-{slug(dataset)}", "Training curves at chosen epochs", columns, rows, pd.DataFrame(lines), note)


def end_of_state(findings: Findings, run: Run, state: int) -> Ending | None:
    """How a finished state of one run ended. Only epochs of the final model size count: a removal is not a trend."""
    if state not in run.states_done:
        return None
    frame = findings.study.epochs_in(run, state).sort_values("epoch")
    if not len(frame):
        return None
    final = frame["parameters"].iloc[-1]
    return ending(list(frame[frame["parameters"] == final]["val_accuracy"]), window(len(frame)))


def window(epochs: int) -> int:
    """Epochs whose mean is compared: 5, in states shorter than 30 epochs a sixth of them, at least 2.

    Wider windows would compare the start of a short state with its end, and call every such state unconverged.
    """
    return min(5, max(2, epochs // 6))


def convergence(findings: Findings, dataset: str) -> Table | None:
    """Mean of a state's last five epochs against the five before, and the standard deviation of the last five."""
    rows, lines = [], []
    for variant in findings.study.of(dataset):
        states = findings.study.finished(variant)
        for state in states:
            found = [e for run in variant.runs if (e := end_of_state(findings, run, state)) is not None]
            if not found:
                continue
            before, last, trend, fluctuation = (
                summarise(getattr(e, name) for e in found) for name in ("before", "last", "trend", "fluctuation")
            )
            windows = sorted({e.window for e in found})
            lines.append({**about(variant), "state": state, "window": windows[-1], **raw("before", before), **raw("last", last),
                         **raw("trend", trend), **raw("fluctuation", fluctuation)})  # fmt: skip
            if state in chosen_states(states):
                n = len(variant.runs)
                spread = "" if trend is None or trend.n < 2 else f" ± {trend.std:.2f}"
                rows.append([
                    variant.label, str(state), mean_std(before, n), mean_std(last, n),
                    signed(trend.mean if trend else None) + spread, direction(trend, fluctuation), mean_std(fluctuation, n),
                    " / ".join(map(str, windows)), run_keys(variant.runs),
                ])  # fmt: skip
    if not rows:
        return None
    columns = ["method", "state", "epochs before", "last epochs", "trend", "converged?", "fluctuation (std)", "window", "runs"]
    note = (
        "Validation accuracy in percent: the mean over the state's last epochs (the window: 5, in short states a sixth of "
        f"them) against as many before. Still moving: by more than {STABLE_POINTS} points and more than the fluctuation, which "
        "is the standard deviation of the last epochs. After a removal within the state only the epochs of the final model "
        "count. Every state is in the CSV."
    )
    return Table(f"convergence-{slug(dataset)}", "Convergence and fluctuation", columns, rows, pd.DataFrame(lines), note)


def direction(trend: Summary | None, fluctuation: Summary | None) -> str:
    """A trend in words; what is within the fluctuation of the last epochs is no trend."""
    if trend is None:
        return NOTHING
    if abs(trend.mean) <= max(STABLE_POINTS, fluctuation.mean if fluctuation is not None else 0.0):
        return "stable"
    return "still rising" if trend.mean > 0 else "falling"


def overfitting(findings: Findings, dataset: str) -> Table | None:
    """Train and validation accuracy and their gap at each state's last epoch; state 0 and the last state are shown."""
    rows, lines = [], []
    for variant in findings.study.of(dataset):
        for state in trained_states(findings, variant):
            found = last_epochs(findings, variant, state)
            if not len(found):
                continue
            gap = summarise(found["train_accuracy"] - found["val_accuracy"])
            train, val = summarise(found["train_accuracy"]), summarise(found["val_accuracy"])
            epoch = int(found["epoch"].max())
            raw_row: dict[str, Any] = {**about(variant), "state": state, "epoch": epoch}
            lines.append({**raw_row, **raw("train", train), **raw("val", val), **raw("gap", gap)})
            if state in chosen_states(trained_states(findings, variant)):
                n = len(variant.runs)
                cells = [mean_std(train, n), mean_std(val, n), mean_std(gap, n)]
                rows.append([variant.label, str(state), str(epoch), *cells, run_keys(variant.runs)])
    if not rows:
        return None
    columns = ["method", "state", "epoch", "train (%)", "val (%)", "gap (points)", "runs"]
    note = (
        "At the state's latest epoch. Train accuracy is a running mean over the epoch, on augmented images where the data set "
        "augments, so it can lie below validation. Every state is in the CSV."
    )
    return Table(f"overfitting-{slug(dataset)}", "Overfitting", columns, rows, pd.DataFrame(lines), note)


def last_epochs(findings: Findings, variant: Variant, state: int) -> pd.DataFrame:
    """The row of each run's latest epoch in a state, of the runs that got furthest in it."""
    frame = findings.study.epochs_of(variant)
    frame = frame[frame["state"] == state]
    return frame[frame["epoch"] == frame["epoch"].max()]
