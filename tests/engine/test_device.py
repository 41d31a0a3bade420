"""The device of a run is the current one of its process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from prune.engine.device import use_device
from tests.conftest import Compose


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


def test_the_chosen_gpu_becomes_the_current_one(compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    assert use_device(compose_tiny("hardware.device=cuda:1")) == torch.device("cuda:1")
    assert use_device(compose_tiny("hardware.device=cuda")) == torch.device("cuda:0")
    assert current == [torch.device("cuda:1"), torch.device("cuda:0")]
    use_device(compose_tiny("hardware.device=cpu"))
    assert len(current) == 2
