"""What a start ran on: threads, versions, host; stored in status.json so that results can be traced."""

from __future__ import annotations

import logging
from typing import Any

import prune
from prune.base.commit import commit
from prune.base.machine import cpu_count
from prune.base.registries import ARCHITECTURES, CRITERIA, DATASETS, METHODS
from prune.config.schema import RunConfig
from prune.engine.device import choose_device, device_name
from prune.pruning.options import ScoredOptions
from prune.rundir.status import StatusFile

log = logging.getLogger(__name__)


def threads_for(config: RunConfig, status: StatusFile, first: int = 0) -> int:
    """CPU threads of this start: as asked for, else as at the run's first start, else all cores.

    Results depend on the number of threads, so a change within a run is logged and flagged in status.json.

    Args:
        first: the threads of the run's first start; 0 if this is it.
    """
    threads = config.hardware.threads or first or cpu_count()
    if first and threads != first:
        flag(status, f"CPU threads changed from {first} to {threads}: results may differ in the last digits")
    return threads


FLAGGED = {
    "torch": "torch", "device": "device", "compile": "hardware.compile", "deterministic": "hardware.deterministic",
    "world_size": "the number of processes",
}  # fmt: skip
"""What each start says of itself that may change a number in its last digits → what a message calls it."""


def about_this_start(
    config: RunConfig, status: StatusFile, threads: int, dense: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Version, commit, torch, device, precision, threads and plug-ins of this start. What changed since the last is flagged.

    Args:
        dense: what the start said that trained state 0, where the run takes it over from another.
    """
    import torch

    device = choose_device(config.hardware.device)
    about = {
        "version": prune.__version__,
        "commit": commit(),
        "torch": torch.__version__,
        "device": device_name(device),
        "precision": config.optim.precision,
        "threads": threads,
        "compile": config.hardware.compile,
        "deterministic": config.hardware.deterministic,
        "world_size": 1,
        "plugins": plugins_of(config),
    }
    before = dense or (status.starts[-1] if status.starts else about)
    for key, name in FLAGGED.items():
        if key in before and before[key] != about[key]:
            flag(status, f"{name} changed from {before[key]} to {about[key]}: results may differ in the last digits")
    return about


def plugins_of(config: RunConfig) -> dict[str, str]:
    """Key → `package version` of everything in a configuration that another installed package brings."""
    chosen = [(DATASETS, config.dataset.name), (ARCHITECTURES, config.model.family), (METHODS, config.method.name)]
    chosen += [(METHODS, part.name) for part in config.method.parts]
    chosen += [(CRITERIA, part.criterion) for part in config.method.parts if isinstance(part, ScoredOptions)]
    found: dict[str, dict[str, None]] = {}
    for registry, name in chosen:
        plugin = registry.plugin(name)
        if plugin is not None:
            found.setdefault(registry.key, {})[plugin] = None
    return {key: ", ".join(plugins) for key, plugins in found.items()}


def flag(status: StatusFile, text: str) -> None:
    """Say in the log and in status.json what may make this run's numbers differ from another's."""
    log.warning("%s", text)
    status.update(flags=[*status.value("flags", []), text])
