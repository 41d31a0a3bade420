"""The table of figures on this machine's CPU."""

from __future__ import annotations

import json
import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks.analysis_figures import analyse, analyse_memory
from benchmarks.budget_figures import choose_macs, sensitivity
from benchmarks.demo_figure import demo
from benchmarks.figure import Figure, table
from benchmarks.input_figure import input_rate
from benchmarks.mamba_figures import mamba_compact_step, mamba_plain_step
from benchmarks.matmul_figure import matmul_fraction
from benchmarks.memory_figure import memory
from benchmarks.overhead_figure import overhead
from benchmarks.pruning_figure import prune_time
from benchmarks.recipe_figures import randaugment_rate, recipe_step, teacher_step
from benchmarks.resident_figures import cache_build, resident_rate
from benchmarks.scale import Scale
from benchmarks.sharing_figures import shared_demo, shared_sweep
from benchmarks.step_figures import compact_step, penalty_step, run_cost
from benchmarks.sweep_figures import plan_growth, status_growth
from benchmarks.swin_figures import swin_compact, swin_dense, swin_prune
from prune.base.machine import cpu_count, cpu_model

FIGURES: dict[str, Callable[[Scale, Path], Figure]] = {
    "matmul_fraction": matmul_fraction,
    "compact_step": compact_step,
    "penalty_step": penalty_step,
    "run_cost": run_cost,
    "prune_time": prune_time,
    "choose_macs": choose_macs,
    "sensitivity": sensitivity,
    "input_rate": input_rate,
    "overhead": overhead,
    "memory": memory,
    "demo": demo,
    "resident_rate": resident_rate,
    "cache_build": cache_build,
    "recipe_step": recipe_step,
    "randaugment_rate": randaugment_rate,
    "teacher_step": teacher_step,
    "swin_compact": swin_compact,
    "swin_dense": swin_dense,
    "swin_prune": swin_prune,
    "analyse": analyse,
    "analyse_memory": analyse_memory,
    "mamba_compact_step": mamba_compact_step,
    "mamba_plain_step": mamba_plain_step,
    "plan_growth": plan_growth,
    "status_growth": status_growth,
    "shared_demo": shared_demo,
    "shared_sweep": shared_sweep,
}


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "cpu": cpu_model(),
        "cores": cpu_count(),
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
    }


def run(scale: Scale, names: Sequence[str], file: Path | None) -> None:
    """Measure the named figures (none: all), print their table, and write them to `file`."""
    console = Console(width=200)
    torch.set_num_threads(scale.threads or cpu_count())
    figures = []
    for name in names or FIGURES:
        console.print(f"measuring {name} …")
        with tempfile.TemporaryDirectory() as folder:
            figures.append(FIGURES[name](scale, Path(folder)))
        if file is not None:  # after each: a figure that takes minutes is not lost if the next one fails
            content = {
                "figures": {figure.name: figure.value for figure in figures},
                "details": {figure.name: asdict(figure) for figure in figures},
                "machine": machine(),
            }
            file.write_text(json.dumps(content, indent=2) + "\n")
    about = machine()
    console.print(table(figures, f"{about['cpu']}, {about['cores']} cores, torch {about['torch']}, float32"))
