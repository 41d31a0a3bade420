"""Padding a pruned MLP to a multiple of 16 neurons changes how it is computed, not what."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from timm.layers import Mlp
from torch import Tensor, nn

from benchmarks.scale import MINI
from benchmarks.workbench import compact_state, make_job
from prune.padding import PaddedMlp

WIDTH = 384


def pair(neurons: int) -> tuple[Mlp, PaddedMlp]:
    """The same weights in timm's MLP and in the padded one, in training mode."""
    torch.manual_seed(neurons)
    plain = Mlp(WIDTH, neurons).train()
    padded = copy.deepcopy(plain)
    padded.__class__ = PaddedMlp
    assert isinstance(padded, PaddedMlp)
    return plain, padded


def gradients(module: nn.Module, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    module.zero_grad()
    output = module(images)
    output.square().sum().backward()
    return output.detach(), [parameter.grad for parameter in module.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("neurons", [457, 464, 1, 0])
def test_outputs_and_gradients_are_the_same(neurons: int) -> None:
    plain, padded = pair(neurons)
    images = torch.randn(4, 17, WIDTH)
    (expected, wanted), (output, found) = gradients(plain, images), gradients(padded, images)
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-6)
    for left, right in zip(found, wanted, strict=True):
        assert left.shape == right.shape
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5 * float(right.abs().max() if right.numel() else 1))


def test_evaluation_is_not_padded() -> None:
    _, padded = pair(457)
    widths: list[int] = []
    padded.fc2.register_forward_pre_hook(lambda _, inputs: widths.append(inputs[0].shape[-1]))
    padded.eval()(torch.randn(1, 2, WIDTH))
    assert widths == [457]


def test_a_state_pads_and_its_tensors_stay_what_they_are(tmp_path: Path) -> None:
    job = make_job(tmp_path, MINI, "method=refill", "schedule.states=2")
    state = compact_state(job, 1)
    assert all(isinstance(block.mlp, PaddedMlp) for block in state.model.blocks)
    counts = state.alive.counts("neurons")
    for number, count in enumerate(counts):
        assert state.tensors()[f"blocks.{number}.mlp.fc1.weight"].shape[0] == count
