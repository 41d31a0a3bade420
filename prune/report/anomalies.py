"""What should not be believed, or not be averaged, without a look: found from the files, never left out in silence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from prune.base.text import ranges
from prune.report.columns import ACCURACY, CHOOSING, PRUNED_PARAMETERS
from prune.report.run import Run, Variant
from prune.report.statistics import outliers
from prune.report.study import Study
from prune.report.text import number, signed
from prune.report.variants import dataset_of, same_setting

REMOVAL_POINTS = 0.5
"""A removal that costs more accuracy (percentage points) than this was not soft."""

MARKED_NORM_RATIO = 0.1
"""Marked units that keep more of their norm than this at removal were not suppressed."""

MOST_LISTED = 3
"""A sentence about more groups of units than this names the first of them only."""

Kind = Literal["stopped", "unfinished", "outlier", "removal", "numbers", "comparison", "environment", "files"]


@dataclass(frozen=True)
class Anomaly:
    """One finding. `run` is a run's key or empty; `state` is None where it concerns no single state."""

    kind: Kind
    message: str
    dataset: str = ""
    variant: str = ""
    run: str = ""
    state: int | None = None


def find(study: Study) -> list[Anomaly]:
    """Every anomaly of a study, in the order of `Kind`."""
    found: list[Anomaly] = []
    for variant in study.variants:
        for run in variant.runs:
            found += _run(variant, run)
        found += _outliers(study, variant)
    found += _state_zero(study)
    found += _coverage(study)
    found += _predictions(study)
    found += _environments(study)
    found += _files(study)
    order = get_args(Kind)
    return sorted(found, key=lambda anomaly: order.index(anomaly.kind))


def flagged(anomalies: list[Anomaly]) -> set[tuple[str, int]]:
    """(run key, state) whose accuracy is marked wherever it enters a number."""
    return {(a.run, a.state) for a in anomalies if a.kind in ("outlier", "removal") and a.state is not None}


def why_incomplete(run: Run) -> str:
    """What a run is doing or why it stopped, in a few words; empty for a complete run."""
    status = run.record.status
    name, at = status.get("status"), _position(status)
    if name == "done":
        return "" if run.complete else "status.json says done, but states are missing"
    if name == "running":
        return f"running{at}"
    if name == "lost":
        seen = f"last sign of life {status.get('heartbeat')} on {status.get('host')}"
        return f"its process is gone{at} ({seen}); start it again to go on"
    if name == "failed":
        return f"failed{at}: {status.get('error') or 'no error was recorded'}"
    if name == "preempted":
        return f"stopped by preemption or a time limit{at}; start it again to go on"
    if name == "queued":
        return "waiting to start"
    return "no readable status.json" + ("" if run.complete else ": it never started, or its folder is incomplete")


def _position(status: dict[str, Any]) -> str:
    if status.get("state") is None:
        return ""
    return f" in state {status['state']}" + (f", epoch {status['epoch']}" if status.get("epoch") is not None else "")


def _run(variant: Variant, run: Run) -> Iterator[Anomaly]:
    about: dict[str, Any] = {"dataset": variant.dataset, "variant": variant.label, "run": run.key}
    status = run.record.status.get("status")
    reason = why_incomplete(run)
    if reason and status not in ("running", "queued"):
        yield Anomaly("stopped", f"{len(run.states_done)} of {run.record.planned_states} states: {reason}", **about)
    epochs: dict[int, set[int]] = {}
    for line in run.record.metrics:
        epochs.setdefault(int(line["state"]), set()).add(int(line["epoch"]))
    if status != "running":
        for state in sorted(set(epochs) - set(run.states_done)):
            message = f"has {len(epochs[state])} of {run.record.epochs_of(state)} epochs and no result; no table counts it"
            yield Anomaly("unfinished", message, **about, state=state)
    for line in run.lines.values():
        yield from _finished_state(run, line, epochs, about)
    yield from _sizes(run, about)


def _finished_state(run: Run, line: dict[str, Any], epochs: dict[int, set[int]], about: dict[str, Any]) -> Iterator[Anomaly]:
    state = int(line["state"])
    missing = set(range(run.record.epochs_of(state))) - epochs.get(state, set())
    if missing:
        yield Anomaly("numbers", f"metrics.jsonl lacks its epochs {ranges(missing)}", **about, state=state)
    before, after = line.get("val_accuracy_before_removal"), line.get("val_accuracy_after_removal")
    ratio = line.get("marked_norm_ratio")
    kept = "" if ratio is None else f"; the marked units had {100 * ratio:.2g} % of their norm left"
    if before is not None and after is not None and before - after > REMOVAL_POINTS:
        message = (
            f"removal cost accuracy: {number(before)} % → {number(after)} % on validation ({signed(after - before)}){kept}"
        )
        yield Anomaly("removal", message, **about, state=state)
    elif ratio is not None and ratio > MARKED_NORM_RATIO:
        yield Anomaly("removal", f"units were removed that the penalty had not suppressed{kept}", **about, state=state)


def _sizes(run: Run, about: dict[str, Any]) -> Iterator[Anomaly]:
    """Recorded sizes against the closed form, and kept units that come back."""
    previous: dict[str, Any] = {}
    for state, line in run.lines.items():
        counts, recorded = run.counts(state), line.get("parameters")
        if run.structure is not None and counts is None:
            message = "states.jsonl names other groups of units than the model of config.yaml has; no table of sizes counts it"
            yield Anomaly("numbers", message, **about, state=state)
        elif run.structure is not None and recorded is not None and recorded != run.structure.parameters(counts):
            message = f"states.jsonl records {recorded:,} parameters; its units make {run.structure.parameters(counts):,}"
            yield Anomaly("numbers", message, **about, state=state)
        for column in ("kept", "groups"):
            risen = _risen(previous.get(column) or {}, line.get(column) or {})
            if risen:
                more = f" and {len(risen) - MOST_LISTED} more" if len(risen) > MOST_LISTED else ""
                message = f"units kept rose: {', '.join(risen[:MOST_LISTED])}{more}; a pruned unit must stay pruned"
                yield Anomaly("numbers", message, **about, state=state)
        previous = line


def _risen(before: Mapping[str, int], now: Mapping[str, int]) -> list[str]:
    """`heads from 3 to 4`, for each kind (or group) of which there are more than before."""
    return [f"{name} from {before[name]} to {count}" for name, count in now.items() if count > before.get(name, count)]


def _outliers(study: Study, variant: Variant) -> Iterator[Anomaly]:
    """Validation accuracies of pruned (or later dense) states far outside their neighbours, run by run.

    Never test accuracies: what is flagged is left out of a second mean, and test may choose nothing. State 0 is left out: a
    schedule may jump after it.
    """
    for run in variant.runs:
        lines = {s: line for s, line in run.lines.items() if s >= 1 and _finite(line.get(CHOOSING))}
        states = list(lines)
        gone = [run.pruned(state).get(PRUNED_PARAMETERS, 0.0) for state in states]
        for found in outliers(gone, [float(lines[state][CHOOSING]) for state in states]):
            state = states[found.position]
            expected = f"{number(found.low)} to {number(found.high)} %"
            message = f"validation accuracy {number(found.value)} % is far outside its neighbours ({expected})"
            yield Anomaly("outlier", message, variant.dataset, variant.label, run.key, state)


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _state_zero(study: Study) -> Iterator[Anomaly]:
    """State 0 is the same training for every method: with one seed and one setting it must give one number."""
    for index, first in enumerate(study.variants):
        for second in study.variants[index + 1 :]:
            if first.dataset != second.dataset or not same_setting(first.settings, second.settings):
                continue
            ours, theirs = study.by_seed(first, ACCURACY, 0), study.by_seed(second, ACCURACY, 0)
            unequal = [seed for seed in sorted(set(ours) & set(theirs)) if ours[seed] != theirs[seed]]
            if unequal:
                example = unequal[0]
                message = (
                    f"state 0 prunes nothing, so {first.label} and {second.label} should agree in it; with seed {example} they "
                    f"have {number(ours[example])} and {number(theirs[example])} % (seeds {ranges(unequal)} differ: other "
                    "hardware, versions or threads, or a method that acts in state 0?)"
                )
                yield Anomaly("comparison", message, first.dataset, state=0)


def _coverage(study: Study) -> Iterator[Anomaly]:
    """Seeds that only some variants of a dataset have, so that their runs cannot be paired."""
    for dataset in study.datasets:
        variants = study.of(dataset)
        everything = {seed for variant in variants for seed in variant.seeds}
        for variant in variants:
            missing = everything - set(variant.seeds)
            if missing:
                noun = "seed" if len(missing) == 1 else "seeds"
                message = f"there is no run with {noun} {ranges(missing)}, which other configurations on {dataset} have"
                yield Anomaly("comparison", message, dataset, variant.label)


def _predictions(study: Study) -> Iterator[Anomaly]:
    """Finished states whose predictions cannot be used, run by run; a study that has none at all has a note on it instead."""
    usable = {(run.key, s): study.correct(run, s) is not None for run in study.runs for s in _with_accuracy(run)}
    if not any(usable.values()):
        return
    for run in study.runs:
        missing = [state for state in _with_accuracy(run) if not usable[run.key, state]]
        if missing:
            message = (
                f"predictions/ lacks state {ranges(missing)}, or does not give the accuracy in states.jsonl: the test images' "
                "part in the error is a bound there"
            )
            yield Anomaly("files", message, dataset_of(run.settings), run=run.key)


def _with_accuracy(run: Run) -> list[int]:
    return [state for state, line in run.lines.items() if _finite(line.get(ACCURACY))]


ENVIRONMENT = ("version", "torch", "device", "precision", "threads", "compile", "world_size", "plugins")
"""What each start says about itself that may change a number in its last digits."""


def in_words(value: Any) -> str:
    """What a start says of itself: plug-ins by key and version, truth values as in a configuration."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {version}" for key, version in value.items()) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _environments(study: Study) -> Iterator[Anomaly]:
    seen: dict[str, dict[str, list[str]]] = {key: {} for key in (*ENVIRONMENT, "commit")}
    for run in study.runs:
        starts = [start for start in run.record.status.get("starts") or [] if isinstance(start, dict)]
        for key in ENVIRONMENT:
            values = list(dict.fromkeys(in_words(start[key]) for start in starts if start.get(key) is not None))
            if len(values) > 1:
                message = f"{key} changed between its starts: {' → '.join(values)}"
                yield Anomaly("environment", message, dataset_of(run.settings), run=run.key)
        for key, by_value in seen.items():
            if starts and starts[-1].get(key) is not None:
                by_value.setdefault(in_words(starts[-1][key]), []).append(run.key)
    for key, by_value in seen.items():
        if len(by_value) > 1:
            parts = "; ".join(f"{value}: {' '.join(keys)}" for value, keys in sorted(by_value.items()))
            yield Anomaly("environment", f"the runs differ in {key} ({parts})")


def _files(study: Study) -> Iterator[Anomaly]:
    for run in study.runs:
        for problem in run.record.problems:
            yield Anomaly("files", problem.rstrip("."), dataset_of(run.settings), run=run.key)
    for path, why in study.unreadable.items():
        yield Anomaly("files", f"{path} could not be read and is in no table ({why})")
    for left_out, used in study.duplicates:
        message = f"{left_out.directory.path} has the configuration and seed of {used.directory.path}; only the latter is used"
        yield Anomaly("files", message)
