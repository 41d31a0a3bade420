"""A GPU: seconds per CIFAR epoch in every setting, waits for the host, input, saving, and what the 2×2 matrix would take."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import gpu_figures as figures
from benchmarks.gpu_figures import Setting
from benchmarks.recipe_figures import MIXED
from benchmarks.scale import Scale

BATCHES = (128, 512)
PRECISIONS = ("float32", "tf32", "bf16")
ON_AND_OFF = (False, True)

REPEATED = 5
"""Times that each setting's steps are timed: there are 24 settings."""

NO_GPU = (
    "There is no CUDA device here, so nothing was measured. `python -m benchmarks gpu --mini` goes through the same code on "
    "the CPU in a minute, which says nothing about a GPU."
)


def run(scale: Scale, mini: bool, file: Path | None) -> None:
    """Print the tables; one sentence where there is no GPU, unless it is to be tried on the CPU at miniature size."""
    console = Console(width=128)
    there = torch.cuda.is_available()
    if not there and not mini:
        console.print(NO_GPU, soft_wrap=True)
        return
    device = torch.device("cuda", 0) if there else torch.device("cpu")
    name = torch.cuda.get_device_name(device) if there else "no GPU: the CPU, at miniature size"
    scale = replace(scale, rounds=min(REPEATED, scale.rounds))
    settings = [
        Setting(device, batch, precision, compiled, deterministic)
        for batch, precision, compiled, deterministic in product(
            (scale.batch_size,) if mini else BATCHES, PRECISIONS, (False,) if mini else ON_AND_OFF, (True, False)
        )
    ]
    rates = {precision: figures.matmul_rate(device, precision, scale) for precision in PRECISIONS}
    with tempfile.TemporaryDirectory() as folder:
        rows = [epoch_row(scale, Path(folder), setting, rates) for setting in settings]
        others = other_figures(scale, Path(folder), settings[0], rows[0])
    console.print(epoch_table(f"{name}, torch {torch.__version__}", rows))
    console.print(other_table(others))
    if file is not None:
        about = {"device": name, "torch": torch.__version__, "matmul_flops": rates, "measured_on_gpu": there}
        file.write_text(json.dumps({"rows": rows, "others": others, "machine": about}, indent=2) + "\n")


def epoch_row(scale: Scale, folder: Path, setting: Setting, rates: dict[str, float]) -> dict[str, Any]:
    """One setting: its epoch, and the share that this is of the best product of matrices in the same precision."""
    seconds, flops, first = figures.epoch_seconds(scale, folder, setting)
    return {
        **setting.named(),
        "seconds_per_epoch": seconds,
        "images_per_second": figures.CIFAR_IMAGES / seconds,
        "matmul_fraction": flops / seconds / rates[setting.precision],
        "first_step_seconds": first,
    }


def other_figures(scale: Scale, folder: Path, setting: Setting, row: dict[str, Any]) -> dict[str, float]:
    """What is measured in the first setting alone: a run's defaults."""
    left, share = figures.compact_share(scale, folder, setting)
    snapshot, write, size = figures.save_times(scale, folder, setting)
    return {
        "host_waits_per_step": figures.host_waits(scale, folder, setting),
        "recipe_host_waits_per_step": figures.host_waits(scale, folder, setting, *MIXED, "recipe.erasing.prob=0.25"),
        "input_images_per_second": figures.input_rate(scale, folder, setting),
        "compact_step_at_70": share,
        "macs_left_at_70": left,
        "save_stops_training_seconds": snapshot,
        "save_writes_seconds": write,
        "save_megabytes": size / 1e6,
        "matrix_hours": figures.matrix_hours(folder, row["seconds_per_epoch"], left, share),
    }


def epoch_table(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=title)
    for column in (
        "batch",
        "precision",
        "compile",
        "deterministic",
        "s per CIFAR epoch",
        "images/s",
        "of the matmul rate",
        "first step, s",
    ):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            str(row["batch"]), row["precision"], _yes(row["compile"]), _yes(row["deterministic"]),
            f"{row['seconds_per_epoch']:.2f}", f"{row['images_per_second']:.0f}", f"{row['matmul_fraction']:.3f}",
            f"{row['first_step_seconds']:.1f}",
        )  # fmt: skip
    return table


def other_table(others: dict[str, float]) -> Table:
    table = Table(title="in the first of these settings")
    table.add_column("figure")
    table.add_column("value", justify="right")
    words = {
        "host_waits_per_step": "waits for the host in a training step (to reach: 0)",
        "recipe_host_waits_per_step": "the same with MixUp, CutMix, RandAugment and random erasing (to reach: 0)",
        "input_images_per_second": "images/s of the loader by itself, augmented",
        "compact_step_at_70": "training step at 70 % / dense",
        "macs_left_at_70": "multiply-accumulates left at 70 %",
        "save_stops_training_seconds": "s that a save stops training (a copy to the host)",
        "save_writes_seconds": "s that a thread then writes",
        "save_megabytes": "MB of last.pt",
        "matrix_hours": "h of cifar10,cifar100 × refill,rsst, 16 states of 60 epochs (calculated from the above)",
    }
    for key, value in others.items():
        table.add_row(words[key], f"{value:.3g}")
    return table


def _yes(value: bool) -> str:
    return "yes" if value else "no"
