"""Adding in place changes where a sum is written, not its value."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from benchmarks.scale import MINI
from benchmarks.workbench import compact_state, make_job
from prune.residual import InPlaceBlock

WIDTH = 48


def pair(**options: float) -> tuple[Block, InPlaceBlock]:
    """The same weights in timm's block and in the in-place one, in training mode."""
    torch.manual_seed(0)
    plain = Block(WIDTH, 3, **options).train()
    in_place = copy.deepcopy(plain)
    in_place.__class__ = InPlaceBlock
    assert isinstance(in_place, InPlaceBlock)
    return plain, in_place


def gradients(module: nn.Module, precision: torch.dtype) -> list[Tensor]:
    """Output and all gradients, of two blocks' depth: the second reads what the first wrote."""
    torch.manual_seed(1)  # dropout and drop path
    tokens = torch.randn(4, 17, WIDTH, requires_grad=True)
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        output = module(module(tokens))
    output.square().sum().backward()
    return [output.detach(), *(t.grad for t in (tokens, *module.parameters()) if t.grad is not None)]


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("options", [{}, {"drop_path": 0.5, "proj_drop": 0.3, "attn_drop": 0.2}, {"init_values": 0.1}])
def test_outputs_and_gradients_are_the_same_bits(options: dict[str, float], precision: torch.dtype) -> None:
    plain, in_place = pair(**options)
    expected, found = gradients(plain, precision), gradients(in_place, precision)
    assert len(expected) == len(found) > 10
    assert all(torch.equal(left, right) and left.dtype == right.dtype for left, right in zip(expected, found, strict=True))


def test_autograd_does_not_copy_gradients_for_an_addition_to_a_view() -> None:
    _, in_place = pair()
    nodes = [in_place(torch.randn(2, 5, WIDTH)).grad_fn]
    names = set()
    while nodes:
        node = nodes.pop()
        names.add(type(node).__name__)
        nodes += [following for following, _ in node.next_functions if following is not None]
    assert "AddmmBackward0" in names and "CopySlices" not in names


def test_in_evaluation_a_hook_keeps_what_it_saw() -> None:
    _, block = pair()
    seen: list[tuple[Tensor, Tensor]] = []
    block.mlp.register_forward_hook(lambda _, __, output: seen.append((output, output.clone())))
    with torch.no_grad():
        block.eval()(torch.randn(2, 5, WIDTH))
    assert torch.equal(*seen[0])


def test_a_state_adds_in_place(tmp_path: Path) -> None:
    state = compact_state(make_job(tmp_path, MINI, "method=refill", "schedule.states=2"), 1)
    assert all(isinstance(block, InPlaceBlock) for block in state.model.blocks)
