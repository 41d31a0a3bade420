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


def seed_default_generators(seed: int, device: torch.device) -> None:
    """Seed torch's default generators of the CPU and of the device that the run computes on: dropout draws from them.

    Not through `torch.manual_seed`, which seeds every device of the machine, and where CUDA is not in use records a stack trace
    at each call, which takes longer than the rest of a small model's bookkeeping. The numbers drawn are the same.
    """
    import torch

    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        number = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[number].manual_seed(seed)
