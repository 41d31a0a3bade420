"""Where the time of an epoch's training steps goes, by torch.profiler."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.scale import Scale
from benchmarks.workbench import dense_state, make_job
from prune.job import cpu_count
from prune.train import EpochSums, train_epoch

ROWS = 24


def run(scale: Scale) -> None:
    """Train one epoch under the profiler and print the operators by their own time."""
    torch.set_num_threads(scale.threads or cpu_count())
    steps = max(2, scale.steps // 4)
    with tempfile.TemporaryDirectory() as folder:
        job = make_job(Path(folder), scale, steps=steps)
        state, sums = dense_state(job), EpochSums.empty(steps, job.device)
        train_epoch(state, 0, steps - 1, sums, lambda _: None)
        with profile(activities=[ProfilerActivity.CPU]) as found:
            train_epoch(state, 0, 0, sums, lambda _: None)
    rows = sorted(found.key_averages(), key=lambda row: row.self_cpu_time_total, reverse=True)
    total = sum(row.self_cpu_time_total for row in rows)
    print(f"{steps} steps of {scale.batch_size} images, {total / 1e6:.2f} s\n")
    print("| operator | share | seconds | calls a step |\n|---|---|---|---|")
    for row in rows[:ROWS]:
        seconds = row.self_cpu_time_total / 1e6
        print(f"| `{row.key}` | {100 * row.self_cpu_time_total / total:.1f} % | {seconds:.3f} | {row.count / steps:.0f} |")
