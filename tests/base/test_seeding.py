"""What dropout draws from is seeded on the CPU and on the one device in use, and nowhere else."""

from __future__ import annotations

import pytest
import torch

from prune.base.seeding import seed_default_generators


def test_the_numbers_are_those_of_torch_manual_seed() -> None:
    torch.manual_seed(7)
    expected = torch.rand(5)
    seed_default_generators(7, torch.device("cpu"))
    assert torch.equal(torch.rand(5), expected)


@pytest.mark.parametrize(("name", "seeded"), [("cuda:1", 1), ("cuda", 2)])
def test_only_the_device_in_use_is_seeded(monkeypatch: pytest.MonkeyPatch, name: str, seeded: int) -> None:
    """A machine of three devices, of which the third is the current one."""
    generators = tuple(torch.Generator().manual_seed(number) for number in range(3))
    before = [one.initial_seed() for one in generators]
    monkeypatch.setattr(torch.cuda, "default_generators", generators)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 2)
    seed_default_generators(7, torch.device(name))
    assert [one.initial_seed() for one in generators] == [7 if at == seeded else seed for at, seed in enumerate(before)]
    assert torch.default_generator.initial_seed() == 7
