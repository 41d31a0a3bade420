"""Peak memory of a run, beside what a training step cannot do without."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.figure import Figure
from benchmarks.scale import Scale
from benchmarks.workbench import dense_state, make_job, one_step
from prune.engine.job import Job
from prune.engine.recover import find_progress
from prune.engine.run import Run
from prune.engine.state import PruningState
from prune.engine.tracker import NoTracker
from prune.engine.watch import Watcher
from prune.rundir.status import StatusFile


def memory(scale: Scale, folder: Path) -> Figure:
    """(Peak of a run - its memory when the data was loaded) / (model + optimiser + activations of one step)."""
    del folder
    runs = [in_a_process_of_its_own(scale) for _ in range(scale.repeats_memory)]
    parts = {key: runs[0][key] for key in ("model", "optimizer", "activations")}
    grown = [run["peak"] - run["start"] for run in runs]
    megabytes = {f"{key}_mb": round(value / 2**20) for key, value in {**parts, "grown": median(grown)}.items()}
    return Figure.of("memory", [each / sum(parts.values()) for each in grown], 1.2, True, **megabytes)


def in_a_process_of_its_own(scale: Scale) -> dict[str, int]:
    """What `main` prints: this process's memory has held much else. Where tensors fall differs from process to process."""
    command = [sys.executable, "-m", "benchmarks.memory_figure", json.dumps(asdict(scale))]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, int] = json.loads(output.splitlines()[-1])
    return found


def resident(key: str) -> int:
    """VmRSS (now) or VmHWM (peak) of this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{key} is not in /proc/self/status; this figure needs Linux")


def activations(state: PruningState) -> int:
    """Bytes that one training step's forward pass keeps for the backward pass, parameters aside."""
    owned = {parameter.untyped_storage().data_ptr() for parameter in state.model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in owned:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    images, labels, _ = next(iter(state.loader.training(0, 0, 0)))
    state.model.train()
    with state.fast_paths.installed(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = nn.functional.cross_entropy(state.model(images), labels)
        found = sum(kept.values())  # while the loss holds them all
    del loss
    return found


def run(job: Job) -> None:
    with Watcher(job, StatusFile(job.directory.status), NoTracker()) as watcher:
        Run(job, watcher, find_progress(job.config, job.directory)).execute()


def sizes(job: Job) -> dict[str, Any]:
    """Model, optimiser and activations in bytes."""
    state = dense_state(job)
    one_step(job, state)()
    assert state.optimizer is not None
    momenta = [v for entry in state.optimizer.state.values() for v in entry.values() if isinstance(v, Tensor)]
    return {
        "model": sum(tensor.nbytes for tensor in state.tensors().values()),
        "optimizer": sum(tensor.nbytes for tensor in momenta),
        "activations": activations(state),
    }


def main(scale: Scale) -> None:
    """A run of two states; its start, its peak, and the sizes of what it had to hold."""
    with tempfile.TemporaryDirectory() as folder:
        epochs = ("schedule.states=2", "schedule.epochs=1", "schedule.epochs_first=2")
        job = make_job(Path(folder), scale, "method=refill", *epochs, steps=max(2, scale.steps // 4))
        start = resident("VmRSS")
        run(job)
        peak = resident("VmHWM")
        print(json.dumps({"start": start, "peak": peak, **sizes(job)}))


if __name__ == "__main__":
    main(Scale(**json.loads(sys.argv[1])))
