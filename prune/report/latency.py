"""The latencies that `python -m prune latency` left beside the models."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prune.base.files import read_json
from prune.report.run import Run, Variant
from prune.report.study import Study


@dataclass(frozen=True)
class Measurement:
    """One state's model under one engine and batch size; `dense` and `pruned` hold median_ms, p90_ms, images_per_second."""

    variant: Variant
    run: Run
    state: int
    engine: str
    batch_size: int
    machine: str
    dense: Mapping[str, float] | None
    pruned: Mapping[str, float] | None


def measurements(study: Study) -> list[Measurement]:
    """Every `latency.json` in the state folders, dense and pruned put side by side."""
    found = []
    for variant in study.variants:
        for run in variant.runs:
            for state in run.states_done:
                content = read_json(run.record.directory.state(state) / "latency.json")
                if isinstance(content, dict):
                    found += _of(variant, run, state, content)
    return found


def _of(variant: Variant, run: Run, state: int, content: Mapping[str, Any]) -> list[Measurement]:
    table: dict[tuple[str, int], dict[str, Mapping[str, float]]] = {}
    for line in content.get("results", []):
        if line.get("median_ms"):
            table.setdefault((str(line["engine"]), int(line["batch_size"])), {})[str(line["variant"])] = line
    machine = describe(content.get("machine"))
    return [
        Measurement(variant, run, state, engine, batch, machine, by.get("dense"), by.get("pruned"))
        for (engine, batch), by in sorted(table.items())
    ]


def describe(machine: Any) -> str:
    """A machine in a few words: the values of its description."""
    if isinstance(machine, Mapping):
        return ", ".join(f"{key} {value}" for key, value in machine.items() if value not in (None, "")) or "unknown"
    return str(machine) if machine else "unknown"


def command(study: Study, dataset: str) -> str | None:
    """The command that measures the last states of a dataset's first complete seed; None while no state is finished."""
    paths = [
        shlex.quote(str(run.record.directory.state(run.states_done[-1])))
        for variant in study.of(dataset)
        for run in [max(variant.runs, key=lambda r: len(r.states_done))]
        if run.states_done
    ]
    return f"python -m prune latency {' '.join(paths)}" if paths else None
