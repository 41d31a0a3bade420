"""torch.compile on this CPU: a training step with and without, dense and compact, and what compiling takes."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.cpu import machine
from benchmarks.scale import Scale
from benchmarks.step_figures import PRUNED
from benchmarks.timing import clock, quartiles, ratios, take_turns
from benchmarks.workbench import compact_state, dense_state, make_job, one_step
from prune.base.machine import cpu_count


def run(scale: Scale, file: Path | None) -> None:
    """Print step times, their ratio and the seconds of the first, compiling step."""
    torch.set_num_threads(scale.threads or cpu_count())
    table = Table(title=f"torch.compile, batch {scale.batch_size}, {torch.get_num_threads()} threads")
    for column in ("model", "eager s", "compiled s", "compiled / eager", "quartiles", "first step s"):
        table.add_column(column, justify="left" if column == "model" else "right")
    rows = []
    for name in ("dense", "compact"):
        with tempfile.TemporaryDirectory() as folder:
            jobs = [make_job(Path(folder), scale, *PRUNED, f"hardware.compile={flag}") for flag in ("false", "true")]
            states = [dense_state(job) if name == "dense" else compact_state(job, 1) for job in jobs]
            eager, compiled = (one_step(job, state) for job, state in zip(jobs, states, strict=True))
            first = clock(compiled)
            times = take_turns({"eager": eager, "compiled": compiled}, scale.rounds)
        low, middle, high = quartiles(ratios(times["compiled"], times["eager"]))
        medians = [quartiles(times[way])[1] for way in ("eager", "compiled")]
        row = {"eager_seconds": medians[0], "compiled_seconds": medians[1], "ratio": middle, "low": low, "high": high}
        rows.append({"model": name, **row, "first_step_seconds": first})
        spread = f"{low:.3f} … {high:.3f}"
        table.add_row(name, f"{medians[0]:.3f}", f"{medians[1]:.3f}", f"{middle:.3f}", spread, f"{first:.1f}")
    Console(width=120).print(table)
    if file is not None:
        file.write_text(json.dumps({"rows": rows, "machine": machine()}, indent=2) + "\n")
