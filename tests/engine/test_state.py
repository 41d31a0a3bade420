"""`hardware.compile` changes how float32 numbers are computed, within a stated tolerance, and not what is computed."""

from __future__ import annotations

import shutil

import pytest
import torch

from prune.base.files import read_json, read_jsonl
from tests.engine.runs import RunTiny, final, finished

TOLERANCE = 1e-3
"""Largest difference of any weight after the whole run, as a share of its tensor's largest weight (docs/performance.md)."""


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_a_compiled_run_ends_where_an_eager_one_does(run_tiny: RunTiny) -> None:
    common = ("method=refill", "method.rewind=none", "optim=sgd", "optim.lr=0.05", "schedule.states=2")
    eager = finished(run_tiny(*common, "name=eager"))
    compiled = finished(run_tiny(*common, "name=compiled", "hardware.compile=true"))
    torch._dynamo.reset()
    for state in range(2):
        assert read_json(eager.manifest(state))["groups"] == read_json(compiled.manifest(state))["groups"]
        expected = final(eager, state)
        for name, tensor in final(compiled, state).items():
            atol = TOLERANCE * float(expected[name].abs().max())
            torch.testing.assert_close(tensor, expected[name], rtol=0, atol=atol)
    for one, other in zip(read_jsonl(eager.metrics), read_jsonl(compiled.metrics), strict=True):
        assert other["train_loss"] == pytest.approx(one["train_loss"], rel=1e-4)
