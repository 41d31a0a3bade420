"""The schema of conf/hardware: where and how runs compute. Nothing here counts for a run's identity."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from prune.base.section import Section


def _as_long_flag(value: str) -> str:
    if not re.fullmatch(r"--[a-z][a-z-]*(=.+)?", value):
        raise ValueError("write --name=value or --name")
    return value


SbatchFlag = Annotated[str, AfterValidator(_as_long_flag)]

OF_ONE_RUN = ("device", "threads", "workers", "compile", "deterministic", "eval_batch_size", "throughput_tflops")
"""Keys that may differ between the runs of a sweep; the others say how the sweep as a whole is started."""


READ_BY: dict[str, tuple[str, ...]] = {
    "jobs": ("local",),
    "wait": ("local", "slurm"),
    **dict.fromkeys(
        ("partition", "account", "qos", "constraint", "exclude", "gpus", "cpus", "memory_gb", "time_minutes", "signal_seconds",
         "max_requeues", "parallel", "setup", "sbatch"),
        ("slurm",),
    ),
}  # fmt: skip
"""Keys that only some launchers read → which."""


class HardwareConfig(Section):
    """Where and how runs compute, and how a sweep's runs are started.

    Keys after `wait` are the scheduler's: they describe what one run asks of SLURM.
    """

    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: CUDA if there, else the CPU")
    threads: int | None = Field(None, ge=1, le=4096, description="CPU threads; null: all cores this process may use")
    workers: int = Field(0, ge=0, le=1024, description="processes that decode images (image_folder only)")
    compile: bool = Field(False, description="torch.compile the model")
    deterministic: bool = Field(
        True, description="the same numbers each time; what has no such kernel is told; false: faster on GPUs"
    )
    eval_batch_size: int = Field(256, ge=1, le=1_000_000, description="images at a time in evaluation")
    throughput_tflops: float | None = Field(
        None, gt=0, description="training speed in 10^12 FLOP/s, for the plan's hours; null: no estimate"
    )
    launcher: Literal["inline", "local", "slurm"] = Field(
        "inline", description="inline: in this process; local: a process per run; slurm: a job per run"
    )
    jobs: int = Field(1, ge=1, le=1024, description="local: runs at a time")
    wait: bool = Field(True, description="show a live table until all runs have ended; false: return after submission")

    partition: str | None = Field(None, description="sbatch --partition")
    account: str | None = Field(None, description="sbatch --account")
    qos: str | None = Field(None, description="sbatch --qos")
    constraint: str | None = Field(None, description="sbatch --constraint: features the node must have")
    exclude: str | None = Field(None, description="sbatch --exclude: nodes to avoid")
    gpus: int = Field(0, ge=0, le=1, description="GPUs of one run: 1, or 0 to train on the CPU")
    cpus: int | None = Field(None, ge=1, description="CPU cores of one run; null: the cluster's default")
    memory_gb: float | None = Field(None, gt=0, description="main memory of one run; null: the cluster's default")
    time_minutes: int = Field(60, ge=1, description="time limit of one start; a run that needs more is requeued")
    signal_seconds: int = Field(120, ge=1, le=65535, description="how long before its time limit a run is told to save")
    max_requeues: int = Field(20, ge=0, description="how often a run may reach its time limit and go on")
    parallel: int = Field(256, ge=1, description="runs of the array at the same time")
    # Only submitting reads these two, and they may hold secrets: no file of a run and no service is given them.
    setup: list[str] = Field(
        [], exclude=True, description="shell lines before Python starts: module load, conda activate, export"
    )
    sbatch: list[SbatchFlag] = Field(
        [], exclude=True, description="any other sbatch flags, as sbatch takes them: [--mail-type=FAIL]"
    )
