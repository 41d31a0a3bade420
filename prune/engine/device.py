"""The device to compute on, and how it computes."""

from __future__ import annotations

import torch

from prune.base.errors import UserError
from prune.base.machine import cpu_model
from prune.config.schema import RunConfig
from prune.engine.deterministic import set_deterministic


def choose_device(wanted: str, option: str = "hardware.device=") -> torch.device:
    """`auto`: CUDA if there is one, else the CPU; anything else must be there.

    Args:
        wanted: auto, cpu, cuda or cuda:N.
        option: what the user wrote before it, for errors.

    Returns:
        cpu, or cuda:N; `cuda` is the first.

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
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def use_device(config: RunConfig) -> torch.device:
    """The device of a run, from now on the current one, set to compute as the configuration says.

    Raises:
        UserError: if there is no such device.
    """
    device = choose_device(config.hardware.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # streams, pinned memory and libraries that ask for "cuda" are this one's
    set_precision(config.optim.precision)
    set_deterministic(config.hardware.deterministic)
    return device


def device_name(device: torch.device) -> str:
    """The device's own name, for records."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({cpu_model()})"


def set_precision(precision: str) -> None:
    """How torch computes float32 products: in full, or as TF32 where `optim.precision=tf32` says so."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"  # convolutions: torch would allow it
