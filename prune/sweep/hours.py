"""How long a cell will take, judged by what the epochs of earlier runs of the same model and data took."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from prune.base.errors import UserError
from prune.base.machine import cpu_model, visible_gpus
from prune.base.text import count
from prune.config.hardware import HardwareConfig
from prune.config.schema import RunConfig
from prune.rundir.identity import counted
from prune.rundir.reader import RunRecord, read_run
from prune.sweep.stems import Member, shares
from prune.sweep.work import flops_of_image

LOOKED_AT = 50
"""Runs of a data set that are read, the newest first: a folder may hold thousands."""

COMPARED = 10
"""The newest runs that fit, of which the one with most epochs is used."""

UNKNOWN = (
    "Hours unknown: no earlier run of this model and data here; they are told when the first epoch has ended, or estimated by "
    "hardware.throughput_tflops=… (training speed in 10^12 FLOP/s)."
)


@dataclass(frozen=True)
class Speed:
    """How fast a run was.

    Attributes:
        seconds_per_flop: seconds of an epoch, per training FLOP of one image.
        source: which run it was, on what.
    """

    seconds_per_flop: float
    source: str


class Speeds:
    """What the runs below a folder tell of speed. Reads files when it is first asked about a model, data and device.

    Args:
        outputs: the folder of all sweeps.
    """

    def __init__(self, outputs: Path):
        self.outputs = outputs
        self._known: dict[str, Speed | None] = {}
        self._files: dict[str, list[Path]] = {}
        self._runs: dict[Path, tuple[RunRecord, RunConfig] | None] = {}

    def of(self, config: RunConfig) -> Speed | None:
        """The speed of the newest runs with the same model, data, batch size and precision on the device of this machine.

        What will run on CUDA or through SLURM runs on a device that is not known here: then that of the newest run counts.
        A run that is still going on counts as far as it is.
        """
        key = judged_by(config)
        if key not in self._known:
            self._known[key] = self._find(config.dataset.name, _kind(config), _fits(config.hardware))
        return self._known[key]

    def _find(self, dataset: str, kind: dict[str, Any], fits: Callable[[str], bool]) -> Speed | None:
        found: list[tuple[RunRecord, RunConfig]] = []
        for run, config in self._newest(dataset):
            device = _device(run)
            if device is None or not fits(device) or _kind(config) != kind or (found and _device(found[0][0]) != device):
                continue
            found.append((run, config))
            if len(found) == COMPARED:
                break
        return _speed(*max(found, key=lambda pair: len(pair[0].metrics))) if found else None

    def _newest(self, dataset: str) -> Iterator[tuple[RunRecord, RunConfig]]:
        """Looked for and read once, however many models, devices and batch sizes are asked about."""
        if dataset not in self._files:
            files = [file for file in self.outputs.glob(f"*/{dataset}-*/metrics.jsonl") if file.is_file()]
            self._files[dataset] = sorted(files, key=lambda file: file.stat().st_mtime, reverse=True)[:LOOKED_AT]
        for file in self._files[dataset]:
            if file not in self._runs:
                self._runs[file] = _begun(file.parent)
            found = self._runs[file]
            if found is not None:
                yield found


def judged_by(config: RunConfig) -> str:
    """Equal for configurations that the same runs tell the speed of."""
    return json.dumps([config.outputs, _kind(config), config.hardware.model_dump(mode="json")], sort_keys=True)


def _begun(folder: Path) -> tuple[RunRecord, RunConfig] | None:
    """A run that has finished an epoch; None for one of another version, of a package that is not here, or being written."""
    try:
        run = read_run(folder)
        config = RunConfig.model_validate(run.config)
    except (UserError, ValidationError, OSError, yaml.YAMLError):
        return None
    return (run, config) if run.metrics else None


def _kind(config: RunConfig) -> dict[str, Any]:
    """What the time of an epoch depends on, its FLOPs and the machine aside."""
    content = counted(config)
    optim = {key: content["optim"][key] for key in ("batch_size", "precision")}
    return {"dataset": content["dataset"], "model": content["model"], "optim": optim}


def _device(run: RunRecord) -> str | None:
    """What the run was last started on: `cpu (AMD EPYC)`, or a GPU's name."""
    starts = run.status.get("starts") or [{}]
    return starts[-1].get("device")


def _fits(hardware: HardwareConfig) -> Callable[[str], bool]:
    """Whether a device, as a run's start names it, may be the one that a cell would run on."""
    if hardware.launcher == "slurm":
        on_cpu = hardware.device == "cpu" or hardware.gpus == 0
        return lambda device: device.startswith("cpu ") == on_cpu
    if hardware.device == "cpu" or (hardware.device == "auto" and not visible_gpus()):
        here = f"cpu ({cpu_model()})"
        return lambda device: device == here
    return lambda device: not device.startswith("cpu ")


def _speed(run: RunRecord, config: RunConfig) -> Speed:
    """Over all of a run's epochs but the first (or that one, if it is the only one); much happens there for the first time."""
    epochs = list(zip(run.metrics, flops_of_image(config), strict=False))
    epochs = epochs[1:] or epochs
    seconds, flops = sum(line["seconds"] for line, _ in epochs), sum(flops for _, flops in epochs)
    threads = run.status["starts"][-1].get("threads")
    on = f"{_device(run)}, {count(threads, 'thread')}" if threads else str(_device(run))
    return Speed(seconds / flops, f"{run.directory.path.parent.name}/{run.id} ({on})")


def hours(config: RunConfig, speed: Speed, epochs_done: int = 0) -> float:
    """Hours of the epochs after the first `epochs_done`, at the speed of an earlier run."""
    return sum(flops_of_image(config)[epochs_done:]) * speed.seconds_per_flop / 3600


def hours_left(runs: list[RunRecord], speeds: Speeds) -> tuple[float, str] | None:
    """Hours of computing that some runs have before them, and by which runs that is judged; None if it cannot be.

    Runs that are over count as well unless they are done: the command that started them goes on with them.
    """
    total = 0.0
    sources: dict[str, None] = {}
    members = []
    for run in runs:
        if run.done:
            continue
        try:
            config = RunConfig.model_validate(run.config)
        except (UserError, ValidationError):
            return None
        members.append(Member(config, run.directory.path, len(run.metrics), run.status.get("status") == "running"))
    for member, share in zip(members, shares(members), strict=True):
        speed = speeds.of(member.config)
        if speed is None:
            return None
        done = member.config.schedule.epochs_of(0) if share.takes_over else member.epochs_done
        total += hours(member.config, speed, done)
        sources[speed.source] = None
    return (total, ", ".join(sources)) if sources else None
