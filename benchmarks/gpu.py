"""On a GPU: seconds per CIFAR epoch with bfloat16, and the share of the GPU's matmul rate that this is."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.scale import Scale
from benchmarks.timing import quartiles
from benchmarks.workbench import dense_state, make_job, training_flops
from prune.engine.epoch import EpochSums, train_epoch
from prune.engine.run import step_hooks

CIFAR_IMAGES = 45_000
SIDE = 8192


def synchronised(call: Callable[[], object]) -> float:
    """Seconds of a call, its kernels included."""
    torch.cuda.synchronize()
    began = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def matmul_rate(rounds: int) -> float:
    """FLOP/s of a large bfloat16 matrix product."""
    left = torch.randn(SIDE, SIDE, device="cuda", dtype=torch.bfloat16)
    right = torch.randn(SIDE, SIDE, device="cuda", dtype=torch.bfloat16)

    def ten() -> None:
        for _ in range(10):
            torch.mm(left, right)

    ten()
    return 10 * 2 * SIDE**3 / quartiles([synchronised(ten) for _ in range(rounds)])[1]


def run(scale: Scale, file: Path | None) -> None:
    """Print the table, eager and compiled; one sentence where there is no GPU."""
    console = Console(width=120)
    if not torch.cuda.is_available():
        console.print("There is no CUDA device here, so nothing was measured.")
        return
    rate = matmul_rate(scale.rounds)
    name = torch.cuda.get_device_name()
    table = Table(title=f"{name}, torch {torch.__version__}, bfloat16, best matmul {rate / 1e12:.1f} TFLOP/s")
    for column in ("batch", "compile", "seconds per CIFAR epoch", "images/s", "share of the matmul rate"):
        table.add_column(column, justify="right")
    rows = []
    for batch in (128, 512):
        for compiled in (False, True):
            row = epoch(scale, batch, compiled, rate)
            rows.append(row)
            table.add_row(
                str(batch),
                "yes" if compiled else "no",
                f"{row['seconds_per_epoch']:.2f}",
                f"{row['images_per_second']:.0f}",
                f"{row['matmul_fraction']:.3f}",
            )
    console.print(table)
    if file is not None:
        content = {"rows": rows, "machine": {"gpu": name, "torch": torch.__version__, "matmul_flops": rate}}
        file.write_text(json.dumps(content, indent=2) + "\n")


def epoch(scale: Scale, batch: int, compiled: bool, rate: float) -> dict[str, float]:
    """Time a tenth of an epoch through the run's own loop, after a warm-up that compiles."""
    steps = max(2, CIFAR_IMAGES // batch // 10)
    sized = Scale(model=scale.model, batch_size=batch)
    with tempfile.TemporaryDirectory() as folder:
        options = ("optim.precision=bf16", "hardware.device=cuda", f"hardware.compile={str(compiled).lower()}")
        job = make_job(Path(folder), sized, *options, steps=steps)
        state, sums = dense_state(job), EpochSums.empty(steps, job.device)
        train_epoch(state, step_hooks(job.method, state), 0, steps // 2, sums, lambda _: None)

        def whole() -> None:
            train_epoch(state, step_hooks(job.method, state), 0, 0, sums, lambda _: None)

        taken = [synchronised(whole) for _ in range(min(5, scale.rounds))]
    images_per_second = steps * batch / quartiles(taken)[1]
    flops = training_flops(job) / batch * images_per_second
    return {
        "batch": batch,
        "compile": compiled,
        "seconds_per_epoch": CIFAR_IMAGES / images_per_second,
        "images_per_second": images_per_second,
        "matmul_fraction": flops / rate,
    }
