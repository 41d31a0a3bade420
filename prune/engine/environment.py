"""What a start ran on: threads, versions, host; stored in status.json so that results can be traced."""

from __future__ import annotations

import logging
from typing import Any

from prune.base.commit import commit
from prune.base.machine import cpu_count, cpu_model
from prune.config.schema import RunConfig
from prune.engine.device import choose_device
from prune.rundir.status import StatusFile

log = logging.getLogger(__name__)


def threads_for(config: RunConfig, status: StatusFile) -> int:
    """CPU threads of this start: as asked for, else as at the run's first start, else all cores.

    Results depend on the number of threads, so a change within a run is logged and flagged in status.json.
    """
    starts = status.starts
    first = starts[0]["threads"] if starts else None
    threads = config.hardware.threads or first or cpu_count()
    if first is not None and threads != first:
        _flag(status, f"CPU threads changed from {first} to {threads}: results may differ in the last digits")
    return threads


def about_this_start(config: RunConfig, threads: int) -> dict[str, Any]:
    """Commit, torch, device, precision and threads."""
    import torch

    device = choose_device(config.hardware.device)
    return {
        "commit": commit(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({cpu_model()})",
        "precision": config.optim.precision,
        "threads": threads,
    }


def _flag(status: StatusFile, text: str) -> None:
    log.warning("%s", text)
    status.update(flags=[*status.value("flags", []), text])
