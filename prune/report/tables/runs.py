"""The runs themselves: completeness, time, and where every number comes from."""

from __future__ import annotations

import pandas as pd

from prune.base.text import count, ranges
from prune.report.anomalies import in_words, why_incomplete
from prune.report.findings import Findings, run_keys
from prune.report.statistics import Summary, summarise
from prune.report.tables.table import Table, about, raws
from prune.report.text import NOTHING, number, slug, time_taken
from prune.rundir.computed import computed


def completeness(findings: Findings) -> Table:
    """Every run: how far it is, what is missing and why, and its directory."""
    rows, lines = [], []
    for variant in findings.study.variants:
        for run in variant.runs:
            planned = run.record.planned_states
            missing = sorted(set(range(planned)) - set(run.states_done))
            status = str(run.record.status.get("status") or "unknown")
            reason = why_incomplete(run)
            done = f"{len(run.states_done)} of {planned} ({100 * len(run.states_done) / planned:.0f} %)"
            rows.append([
                run.key, variant.dataset, variant.label, str(run.seed), status, done,
                f"state {ranges(missing)}" if missing else "nothing", reason or NOTHING, str(run.path),
            ])  # fmt: skip
            lines.append({
                "runs": run.key, "dataset": variant.dataset, "variant": variant.label, "seed": run.seed, "status": status,
                "states_done": len(run.states_done), "states_planned": planned, "missing_states": ranges(missing),
                "why": reason, "state_0_of": run.record.state_0_of, "directories": str(run.path),
            })  # fmt: skip
    columns = ["run", "dataset", "method", "seed", "status", "states", "missing", "why", "directory"]
    note = "The keys R1, R2, … stand for these directories in every table; the CSVs carry the directories themselves."
    return Table("runs", "Runs and completeness", columns, rows, pd.DataFrame(lines), note)


def environment(findings: Findings) -> Table | None:
    """What each run computed with, as its last start recorded it."""
    keys = ("version", "commit", "torch", "device", "precision", "threads", "compile", "world_size", "plugins")
    rows, lines = [], []
    for run in findings.study.runs:
        starts = [start for start in run.record.status.get("starts") or [] if isinstance(start, dict)]
        if not starts:
            continue
        values = {key: starts[-1].get(key) for key in keys}
        host = run.record.status.get("host")
        rows.append(
            [run.key, str(len(starts)), *(NOTHING if v is None else in_words(v) for v in values.values()), str(host or NOTHING)]
        )
        values = {key: None if value is None else in_words(value) for key, value in values.items()}
        lines.append({"runs": run.key, "starts": len(starts), **values, "host": host, "directories": str(run.path)})
    if not rows:
        return None
    columns = ["run", "starts", *keys, "host"]
    return Table(
        "environment", "What the runs computed with", columns, rows, pd.DataFrame(lines), "At the last start.", folded=True
    )


def time(findings: Findings, dataset: str) -> Table | None:
    """Time per run, per state and per epoch, and throughput."""
    rows, lines = [], []
    for variant in findings.study.of(dataset):
        states = findings.study.states
        states = states[(states["dataset"] == dataset) & (states["variant"] == variant.label)]
        epochs = findings.study.epochs_of(variant)
        if not len(epochs):
            continue
        whole = summarise(epochs.groupby("run")["seconds"].sum())
        complete = [run.key for run in variant.runs if run.complete]
        total = summarise(states[states["run"].isin(complete)].groupby("run")["seconds"].sum())
        per_state, per_epoch = _per_run(states, "seconds"), _per_run(epochs, "seconds")
        ends = {s: _per_run(epochs[epochs["state"] == s], "seconds") for s in (0, int(epochs["state"].max()))}
        speed = _per_run(epochs, "images_per_second")
        finished = f"{len(complete)} of {len(variant.runs)}"
        last = max(ends)
        rows.append([
            variant.label, _time(total) if complete else f"{_time(whole)} so far", finished, _time(per_state), _time(per_epoch),
            _time(ends[0]), f"{_time(ends[last])} (state {last})", number(speed.mean if speed else None, 0),
            run_keys(variant.runs),
        ])  # fmt: skip
        lines.append({**about(variant), "last_state": last, **raws({
            "run_seconds": total, "run_seconds_so_far": whole, "state_seconds": per_state, "epoch_seconds": per_epoch,
            "epoch_seconds_state_0": ends[0], "epoch_seconds_last_state": ends[last], "images_per_second": speed,
        })})  # fmt: skip
    if not rows:
        return None
    columns = [
        "method",
        "per run",
        "complete runs",
        "per state",
        "per epoch",
        "per epoch, state 0",
        "per epoch, last",
        "images/s",
        "runs",
    ]
    note = (
        "Training and validation, as the runs recorded it; per run: complete runs only, and what one costs by itself, with the "
        "time that training took of a state 0 that it has from another. Different machines are not told apart here; the last "
        f"table says what each run computed with. {_together(findings, dataset)}"
    )
    return Table(f"time-{slug(dataset)}", "Time", columns, rows, pd.DataFrame(lines), note)


def _together(findings: Findings, dataset: str) -> str:
    """What the runs of a dataset have computed in all."""
    runs = [run.record for variant in findings.study.of(dataset) for run in variant.runs]
    found = computed(runs)
    whole = f"The finished states of {count(len(runs), 'run')} took {time_taken(found.seconds)}{' together' * (len(runs) > 1)}"
    if not found.taken_over:
        return f"{whole}."
    over = f"{count(found.taken_over, 'run')} took state 0 over from another"
    return f"{whole}: {over}; had each trained its own, {time_taken(found.each_alone)}."


def _per_run(frame: pd.DataFrame, column: str) -> Summary | None:
    """Each run's mean of a column, summarised over runs."""
    return summarise(frame.groupby("run")[column].mean())


def _time(summary: Summary | None) -> str:
    if summary is None:
        return NOTHING
    return time_taken(summary.mean) + (f" ± {time_taken(summary.std)}" if summary.n > 1 else "")


def every_epoch(findings: Findings) -> pd.DataFrame:
    """All epochs of all runs, as read: tables/epochs.csv."""
    return findings.study.epochs


def every_result(findings: Findings) -> pd.DataFrame:
    """All finished states of all runs, as read, with whether an accuracy is flagged: tables/states.csv."""
    frame = findings.study.states.copy()
    flags = [(run, int(state)) in findings.flagged for run, state in zip(frame["run"], frame["state"], strict=True)]
    frame.insert(len(frame.columns), "flagged", flags)
    return frame
