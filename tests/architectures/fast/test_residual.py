"""Adding in place changes where a sum is written, not its value."""

from __future__ import annotations

import pytest
import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from prune.architectures.fast.residual import InPlaceBlock
from tests.architectures.fast.twins import results, twin

WIDTH = 48


def pair(**options: float) -> tuple[Block, InPlaceBlock]:
    """The same weights in timm's block and in the in-place one, in training mode."""
    torch.manual_seed(0)
    plain = Block(WIDTH, 3, **options).train()
    return plain, twin(plain, InPlaceBlock)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("options", [{}, {"drop_path": 0.5, "proj_drop": 0.3, "attn_drop": 0.2}, {"init_values": 0.1}])
def test_outputs_and_gradients_are_the_same_bits(options: dict[str, float], precision: torch.dtype) -> None:
    plain, in_place = pair(**options)
    # Of two blocks' depth: the second reads what the first wrote.
    expected, found = (results(nn.Sequential(block, block), WIDTH, precision) for block in (plain, in_place))
    assert len(expected) == len(found) > 10
    assert all(torch.equal(left, right) and left.dtype == right.dtype for left, right in zip(expected, found, strict=True))


def test_autograd_does_not_copy_gradients_for_an_addition_to_a_view() -> None:
    """`CopySlices` is what autograd records for a write into a part of a tensor; with it, it copies that tensor's gradient."""
    _, in_place = pair()
    assert "CopySlices" not in recorded(in_place(torch.randn(2, 5, WIDTH)))
    matrix = torch.ones(2, 5, requires_grad=True) * 2
    matrix[0].add_(1)
    assert "CopySlices" in recorded(matrix)


def recorded(output: Tensor) -> set[str]:
    """The names of the nodes of its graph."""
    nodes, names = [output.grad_fn], set()
    while nodes:
        node = nodes.pop()
        assert node is not None
        names.add(type(node).__name__)
        nodes += [following for following, _ in node.next_functions if following is not None]
    return names


def test_in_evaluation_a_hook_keeps_what_it_saw() -> None:
    _, block = pair()
    seen: list[tuple[Tensor, Tensor]] = []
    block.mlp.register_forward_hook(lambda _, __, output: seen.append((output, output.clone())))
    with torch.no_grad():
        block.eval()(torch.randn(2, 5, WIDTH))
    assert torch.equal(*seen[0])
