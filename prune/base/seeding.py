"""Every random choice of a run derives from what it is for, never from a generator left over from earlier work."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive(seed: int, purpose: str, *position: int) -> int:
    """A 63-bit seed that depends on the run's `seed`, the purpose and a position such as (state, epoch, step)."""
    text = f"{seed}/{purpose}/" + "/".join(str(part) for part in position)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, purpose: str, *position: int) -> torch.Generator:
    """A CPU generator seeded by `derive`: the numbers are the same whatever device the run computes on."""
    import torch

    return torch.Generator().manual_seed(derive(seed, purpose, *position))


def seed_default_generator(seed: int, device: torch.device) -> None:
    """Seed torch's default generator of the device, from which dropout draws.

    For the CPU not through `torch.manual_seed`: where CUDA is not in use that records a stack trace at each call, which
    takes longer than the rest of a small model's bookkeeping.
    """
    import torch

    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)
