"""The device that a run computes on."""

from __future__ import annotations

import torch

from prune.base.errors import UserError


def choose_device(wanted: str) -> torch.device:
    """`auto`: CUDA if there is one, else the CPU; anything else must be there."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(wanted)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"hardware.device={wanted} is not there: this machine has {torch.cuda.device_count()} CUDA devices.")
    return device
