"""Keys that must fit together: what just fits is accepted, and what no longer does is one sentence that names the keys.

Most of the sentences are rows of bad_input_table.py, which test_bad_input.py types at a whole run.
"""

from __future__ import annotations

import re

import pytest

from prune.base.errors import UserError
from tests.conftest import Compose


def test_a_gpu_is_needed_for_cuda(compose: Compose) -> None:
    with pytest.raises(UserError, match=r"hardware\.gpus=0 but hardware\.device=cuda"):
        compose("hardware=slurm", "hardware.gpus=0")
    compose("hardware=slurm", "hardware.gpus=0", "hardware.device=cpu")


def test_a_run_needs_time_before_it_is_told_to_save(compose: Compose) -> None:
    with pytest.raises(UserError, match=r"hardware\.signal_seconds=120 leaves nothing of hardware\.time_minutes=2"):
        compose("hardware=slurm", "hardware.time_minutes=2")


def test_listed_rates_are_those_of_every_kind(compose_tiny: Compose) -> None:
    """So there is nothing left that a kind's own target could mean."""
    sentence = r"^schedule\.rates fixes the rate of every kind, so schedule\.targets must be null; give one of them\.$"
    with pytest.raises(UserError, match=sentence):
        compose_tiny("schedule.rates=[0,0.5,0.6]", "schedule.targets={heads:0.5}")


@pytest.mark.parametrize(
    ("beside", "key", "fits", "no_longer"),
    [
        ("", "schedule.rates", "[0,0.5,0.5]", "[0,0.5,0.499]"),
        ("", "schedule.rates", "[0,0,0.999]", "[0,0,1.0]"),
        ("", "schedule.rates", "[0,0,0.001]", "[0,0,0]"),
        ("", "optim.warmup_epochs", "2", "2.01"),
        ("schedule.epochs_first=4", "method.rewind", "epoch:3", "epoch:4"),
        ("schedule.epochs_first=null", "method.rewind", "epoch:1", "epoch:2"),
        ("hardware=slurm hardware.device=cpu hardware.time_minutes=2", "hardware.signal_seconds", "119", "120"),
    ],
)
def test_the_last_that_fits_and_the_first_that_does_not(
    compose_tiny: Compose, beside: str, key: str, fits: str, no_longer: str
) -> None:
    compose_tiny(*beside.split(), f"{key}={fits}")
    with pytest.raises(UserError, match=rf"^{re.escape(key)}[ =]"):
        compose_tiny(*beside.split(), f"{key}={no_longer}")
