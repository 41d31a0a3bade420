"""The device to compute on."""

from __future__ import annotations

import torch

from prune.base.errors import UserError
from prune.base.machine import cpu_model


def choose_device(wanted: str, option: str = "hardware.device=") -> torch.device:
    """`auto`: CUDA if there is one, else the CPU; anything else must be there.

    Args:
        wanted: auto, cpu, cuda or cuda:N.
        option: what the user wrote before it, for errors.

    Raises:
        UserError: naming the option, if there is no such device.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise UserError(f"{option}{wanted} is not known; choose auto, cpu, cuda or cuda:N.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"{option}{wanted} is not there: this machine has {torch.cuda.device_count()} CUDA devices.")
    return device


def device_name(device: torch.device) -> str:
    """The device's own name, for records."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({cpu_model()})"


def set_precision(precision: str) -> None:
    """How torch computes float32 products: in full, or as TF32 where `optim.precision=tf32` says so."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"  # convolutions: torch would allow it
