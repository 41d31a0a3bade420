"""What a method remembers, as a checkpoint holds it: plain values and tensors, each of which knows where it belongs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from prune.base.errors import UserError

PLAIN = (bool, int, float, str, type(None))


def pack(value: Any, where: str) -> Any:
    """A copy for a file: each tensor as (whether it was on the CPU, its values there).

    Args:
        where: how a message names the value (`state.memory`).

    Raises:
        UserError: for anything but numbers, texts, None, tensors, and lists, tuples and dictionaries of these.
    """
    if isinstance(value, Tensor):
        return {"tensor": value.detach().cpu().clone(), "cpu": value.device.type == "cpu"}
    if isinstance(value, dict):
        return {"items": [(pack(key, where), pack(item, f"{where}[{key!r}]")) for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [pack(item, f"{where}[{number}]") for number, item in enumerate(value)]}
    if isinstance(value, PLAIN):
        return value
    raise UserError(
        f"{where} is a {type(value).__name__}; it may hold numbers, texts, None, tensors, and lists and dictionaries."
    )


def unpack(packed: Any, device: torch.device) -> Any:
    """The reverse of `pack`: tensors that were not on the CPU come back on `device`."""
    if not isinstance(packed, dict):
        return packed
    if "tensor" in packed:
        return packed["tensor"].clone() if packed["cpu"] else packed["tensor"].to(device, copy=True)
    if "items" in packed:
        return {unpack(key, device): unpack(item, device) for key, item in packed["items"]}
    ((kind, items),) = packed.items()
    unpacked = [unpack(item, device) for item in items]
    return tuple(unpacked) if kind == "tuple" else unpacked
