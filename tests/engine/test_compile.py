"""`hardware.compile` changes how float32 numbers are computed, within a stated tolerance, and not what is computed."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
import torch

from prune.engine.cell import Outcome
from prune.rundir.checkpoint import read_tensors
from prune.base.files import read_json, read_jsonl

TOLERANCE = 1e-3
"""Largest difference of any weight after the whole run, as a share of its tensor's largest weight (docs/performance.md)."""

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")


def test_a_compiled_run_ends_where_an_eager_one_does(run_tiny: Callable[..., Outcome]) -> None:
    common = ("method=refill", "method.rewind=none", "optim=sgd", "optim.lr=0.05", "schedule.states=2")
    eager = run_tiny(*common, "name=eager").directory
    compiled = run_tiny(*common, "name=compiled", "hardware.compile=true").directory
    torch._dynamo.reset()
    for state in range(2):
        left, right = eager.state(state), compiled.state(state)
        kept, found = (read_json(folder / "pruned.json") for folder in (left, right))
        assert (kept["heads"], kept["neurons"]) == (found["heads"], found["neurons"])
        expected = read_tensors(left / "final.safetensors")
        for name, tensor in read_tensors(right / "final.safetensors").items():
            atol = TOLERANCE * float(expected[name].abs().max())
            torch.testing.assert_close(tensor, expected[name], rtol=0, atol=atol)
    for one, other in zip(read_jsonl(eager.metrics), read_jsonl(compiled.metrics), strict=True):
        assert other["train_loss"] == pytest.approx(one["train_loss"], rel=1e-4)
