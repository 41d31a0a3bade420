"""What `python -m benchmarks gpu` measures, on whatever device it is given: the dry run on a CPU takes the same path."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.scale import Scale
from benchmarks.step_figures import PRUNED
from benchmarks.timing import quartiles, ratios, take_turns
from benchmarks.workbench import compact_state, compose, dense_state, make_job, one_step, training_flops
from prune.engine.device import set_precision
from prune.engine.epoch import EpochSums, train_epoch
from prune.engine.job import Job
from prune.engine.run import step_hooks
from prune.engine.saver import snapshot
from prune.engine.state import PruningState
from prune.rundir.checkpoint import Progress, save_last
from prune.sweep.work import macs_per_epoch

CIFAR_IMAGES = 45_000

SIDE = 8192
"""Of the square matrices whose product gives a GPU's rate."""

WAITS = (
    "cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy",
    "Memcpy HtoD (Pageable -> Device)", "Memcpy DtoH (Device -> Pageable)",
)  # fmt: skip
"""What the profiler calls it when the host waits: for a queue, or for a copy that is not from or to pinned memory."""


@dataclass(frozen=True)
class Setting:
    """How a run computes."""

    device: torch.device
    batch: int
    precision: str
    compiled: bool
    deterministic: bool

    def named(self) -> dict[str, Any]:
        return {
            "batch": self.batch, "precision": self.precision, "compile": self.compiled, "deterministic": self.deterministic,
        }  # fmt: skip

    def job(self, folder: Path, scale: Scale, *overrides: str, steps: int) -> Job:
        """A job on random images of CIFAR's size."""
        sized = Scale(model=scale.model, batch_size=self.batch, threads=scale.threads)
        options = (
            f"hardware.device={self.device}", f"hardware.compile={str(self.compiled).lower()}",
            f"hardware.deterministic={str(self.deterministic).lower()}", f"optim.precision={self.precision}",
        )  # fmt: skip
        return make_job(folder, sized, *options, *overrides, steps=steps)


def finished(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def synchronised(device: torch.device) -> Callable[[Callable[[], object]], float]:
    """A clock of calls whose kernels are included."""

    def seconds(call: Callable[[], object]) -> float:
        finished(device)
        began = time.perf_counter()
        call()
        finished(device)
        return time.perf_counter() - began

    return seconds


def matmul_rate(device: torch.device, precision: str, scale: Scale) -> float:
    """FLOP/s of a large matrix product in a precision."""
    set_precision(precision)
    side, dtype = (
        SIDE if device.type == "cuda" else max(scale.matrices),
        torch.bfloat16 if precision == "bf16" else torch.float32,
    )
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))

    def ten() -> None:
        for _ in range(10):
            torch.mm(left, right)

    ten()
    return 10 * 2 * side**3 / quartiles([synchronised(device)(ten) for _ in range(scale.rounds)])[1]


def epoch_seconds(scale: Scale, folder: Path, setting: Setting) -> tuple[float, float, float]:
    """Seconds and training FLOPs of a dense CIFAR epoch, from a tenth of one through the run's own loop, after its first
    step, which compiles; and the seconds of that one."""
    steps = scale.steps if setting.device.type == "cpu" else max(2, CIFAR_IMAGES // setting.batch // 10)
    job = setting.job(folder, scale, "method=dense", steps=steps)
    state, clock = dense_state(job), synchronised(setting.device)
    first = clock(one_step(job, state))
    seconds = quartiles([clock(lambda: train(job, state, 0)) for _ in range(scale.rounds)])[1]
    flops = training_flops(job) / setting.batch * CIFAR_IMAGES
    return seconds / (steps * setting.batch) * CIFAR_IMAGES, flops, first


def train(job: Job, state: PruningState, start: int) -> None:
    """The epoch's steps from `start` on."""
    sums = EpochSums.empty(job.loader.steps_per_epoch, job.device)
    train_epoch(state, step_hooks(job.method, state), 0, start, sums, lambda _: None)


def host_waits(scale: Scale, folder: Path, setting: Setting, *overrides: str) -> float:
    """How often the host waits in a training step: what the profiler sees in three steps, less what it sees in one, halved.
    What happens once an epoch is in both."""
    job = setting.job(folder, scale, "method=dense", *overrides, steps=3)
    state = dense_state(job)
    train(job, state, 0)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if setting.device.type == "cuda" else [])]
    counts = []
    for start in (0, 2):
        with profile(activities=activities) as seen:
            train(job, state, start)
        counts.append(sum(row.count for row in seen.key_averages() if row.key in WAITS))
    return (counts[0] - counts[1]) / 2


def input_rate(scale: Scale, folder: Path, setting: Setting) -> float:
    """Images per second of the loader by itself: taken, cropped, mirrored and normalised."""
    steps = 8 * scale.steps
    job = setting.job(folder, scale, "method=dense", steps=steps)

    def epoch() -> None:
        for _ in job.loader.training(0, 0, 0):
            pass

    epoch()
    seconds = quartiles([synchronised(setting.device)(epoch) for _ in range(scale.rounds)])[1]
    return steps * setting.batch / seconds


def compact_share(scale: Scale, folder: Path, setting: Setting) -> tuple[float, float]:
    """At 70 %: the share of the multiply-accumulates that is left, and of the time of a training step, timed in turns."""
    job = setting.job(folder, scale, *PRUNED, steps=2)
    small = compact_state(job, 1)
    calls = {"dense": one_step(job, dense_state(job)), "compact": one_step(job, small)}
    times = take_turns(calls, scale.rounds, timer=synchronised(setting.device))
    return small.sizes()["macs"] / job.architecture.structure.macs(), quartiles(ratios(times["compact"], times["dense"]))[1]


def save_times(scale: Scale, folder: Path, setting: Setting) -> tuple[float, float, int]:
    """Seconds that a save stops training for, seconds that it then takes to write, and the bytes of the file."""
    job = setting.job(folder, scale, "method=dense", steps=2)
    state = dense_state(job)
    train(job, state, 0)
    state.validate()
    state.keep_if_best(0)
    live = {**state.dump(), "sums": None}
    progress = Progress("benchmark", model=state.tensors(), alive=state.alive.to_lists(), live=live, threads=1)
    snapshot(progress)  # pinned memory is found once
    copies, writes = [], []
    for _ in range(scale.rounds):
        finished(setting.device)
        began = time.perf_counter()
        copy = snapshot(progress)
        copied = time.perf_counter()
        save_last(job.directory, copy)
        copies.append(copied - began)
        writes.append(time.perf_counter() - copied)
    return quartiles(copies)[1], quartiles(writes)[1], job.directory.last.stat().st_size


def matrix_hours(folder: Path, epoch: float, left: float, share: float) -> float:
    """Hours of the four runs of cifar10,cifar100 × refill,rsst one after the other, evaluation aside.

    An epoch of a model with a share x of the multiply-accumulates takes what a line through (1, dense epoch) and (`left`,
    `share` of it) says. State 0, the same for both methods, counts once a dataset.
    """
    slope = (1 - share) / (1 - left)
    hours = 0.0
    for number, method in enumerate(("refill", "rsst")):
        config = compose(folder, "dataset=cifar10", "model=vit_small", "schedule=geometric", f"method={method}")
        macs = macs_per_epoch(config)
        shared = config.schedule.epochs_of(0) if number else 0
        hours += sum(1 - (1 - each / macs[0]) * slope for each in macs[shared:]) * epoch / 3600
    return 2 * hours  # two datasets of as many images
