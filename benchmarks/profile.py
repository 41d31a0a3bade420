"""Where the time of training steps goes, dense and at 70 %, by torch.profiler: what shrinks with the model, what does not."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from statistics import median

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.scale import Scale
from benchmarks.step_figures import PRUNED
from benchmarks.workbench import compact_state, dense_state, make_job
from prune.base.machine import cpu_count
from prune.engine.epoch import EpochSums, train_epoch
from prune.engine.job import Job
from prune.engine.run import step_hooks
from prune.engine.state import PruningState

ROWS = 24


def run(scale: Scale) -> None:
    """Train epochs of the dense and of the compact model in turns under the profiler; print the operators by their own time."""
    torch.set_num_threads(scale.threads or cpu_count())
    steps, rounds = max(2, scale.steps // 4), max(1, scale.rounds // 3)
    with tempfile.TemporaryDirectory() as folder:
        job = make_job(Path(folder), scale, *PRUNED, steps=steps)
        states = {"dense": dense_state(job), "compact": compact_state(job, 1)}
        found: dict[str, list[Counter[str]]] = {name: [] for name in states}
        for _ in range(rounds):
            for name, state in states.items():
                found[name].append(epoch(job, state))
    dense, compact = (middle(each) for each in found.values())
    print(f"median of {rounds} epochs of {steps} steps, {scale.batch_size} images each\n")
    print("| operator | dense, ms a step | share | compact, ms a step | share | compact / dense |\n|---|---|---|---|---|---|")
    for times in (dense, compact):
        times["all"] = times.total()
    for name, milliseconds in dense.most_common(ROWS):
        small = compact[name]
        shares = f"{100 * milliseconds / dense['all']:.1f} % | {small:.1f} | {100 * small / compact['all']:.1f} %"
        print(f"| `{name}` | {milliseconds:.1f} | {shares} | {small / milliseconds:.3f} |")


def epoch(job: Job, state: PruningState) -> Counter[str]:
    """Milliseconds a step by operator: its own, without the operators that it calls."""
    steps = job.loader.steps_per_epoch
    sums = EpochSums.empty(steps, job.device)
    train_epoch(state, step_hooks(job.method, state), 0, steps - 1, sums, lambda _: None)
    with profile(activities=[ProfilerActivity.CPU]) as found:
        train_epoch(state, step_hooks(job.method, state), 0, 0, sums, lambda _: None)
    return Counter({row.key: row.self_cpu_time_total / (1000 * steps) for row in found.key_averages()})


def middle(epochs: list[Counter[str]]) -> Counter[str]:
    """The median over epochs, operator by operator."""
    return Counter({name: median(each[name] for each in epochs) for name in epochs[0]})
