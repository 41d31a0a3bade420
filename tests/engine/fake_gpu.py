"""A GPU that is not there: torch's fake tensors on cuda:0 go through a run's own code, and what crosses to the host is counted.

Fake tensors have sizes, types and a device, and no values. An operation on tensors of two devices raises, and so does reading
a value, for which the host would have to wait. What they cannot do is done beside them: what the host draws and counts is done
with real tensors, and gradients, which autograd's engine computes only on devices that are there, are filled in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

from prune.data.loading import ResidentLoader
from prune.data.randaugment import RandAugment
from prune.pruning import penalty
from prune.pruning.keepset import KeepSet
from prune.pruning.slices import unit_slices

GPU = torch.device("cuda:0")

COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)

LISTS = ("_foreach_", "_fused_")
"""Operations on lists of tensors, whose devices fake tensors do not compare."""


BY_INDEX = ("scatter", "index_put", "index_copy", "index_add", "index_fill", "put_", "bincount", "histc", "nonzero", "masked_")
"""Operations for which a GPU has no deterministic kernel, or one that sorts, waits for the host or is sent numbers by it: what
happens within a kernel, fake tensors do not show."""


class Traffic(TorchDispatchMode):
    """Counts the copies between the host and the device, and the operations; notes those that go by index."""

    def __init__(self) -> None:
        super().__init__()
        self.up = self.down = self.operations = 0
        self.by_index: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.__name__.startswith(LISTS) and len({tensor.device for tensor in _tensors(args)}) > 1:
            raise RuntimeError(f"{func}: Expected all tensors to be on the same device")
        result = func(*args, **(kwargs or {}))
        self.operations += 1
        if func.__name__.startswith(BY_INDEX) and not _fills_by_mask(func, args) and not _adds_in_one_row(func, args):
            self.by_index.add(func.__name__)
        if func in COPIES:
            source = args[1] if func is torch.ops.aten.copy_.default else args[0]
            self.up += source.device.type == "cpu" and result.device.type == "cuda"
            self.down += source.device.type == "cuda" and result.device.type == "cpu"
        return result


def _fills_by_mask(func: Any, args: Any) -> bool:
    """Whether it sets to one number what a mask selects: one plain kernel, also where it is written as an assignment."""
    if func.__name__.startswith("masked_fill"):
        return True
    assigned = func.__name__.startswith("index_put") and args[2].dim() == 0
    return assigned and all(index.dtype == torch.bool for index in args[1])


def _adds_in_one_row(func: Any, args: Any) -> bool:
    """Whether it adds integers to places of one row: that deterministic kernel sorts, but neither waits nor is sent any."""
    return func.__name__.startswith("scatter_add") and args[0].dim() == 1 and not args[0].is_floating_point()


def _tensors(arguments: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(arguments) if isinstance(leaf, Tensor)]


@contextmanager
def fake_gpu() -> Iterator[None]:
    """Within this context tensors can be made on cuda:0, and what a run asks of CUDA besides is answered."""

    def fill_gradients(loss: Tensor) -> None:
        assert loss.requires_grad and loss.device == GPU and loss.dim() == 0
        for parameter in _leaves(loss.grad_fn):
            parameter.grad = torch.empty_like(parameter)

    def fused_sgd(*lists: list[Tensor], **_: object) -> None:  # the one kernel that knows no fake tensors
        assert all(tensor is None or tensor.device == GPU for tensors in lists for tensor in tensors)

    with (
        mock.patch.object(torch, "_fused_sgd_", fused_sgd),
        mock.patch.object(torch.cuda, "default_generators", (torch.Generator(),)),
        mock.patch.object(torch.cuda.amp.common, "amp_definitely_not_available", return_value=False),
        mock.patch.object(torch.cuda, "is_bf16_supported", return_value=True),
        mock.patch.object(torch.Tensor, "backward", fill_gradients),
        mock.patch.object(ResidentLoader, "draws", on_the_host(ResidentLoader.draws)),
        mock.patch.object(KeepSet, "without", on_the_host(KeepSet.without)),
        mock.patch.object(penalty, "unit_slices", on_the_host(lambda *sets: list(unit_slices(*sets)))),
        mock.patch.object(torch.Tensor, "pin_memory", lambda tensor: tensor),
        FakeTensorMode(allow_non_fake_inputs=True),
    ):
        yield


def on_the_host(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with real tensors."""

    def called(*arguments: Any) -> Any:
        with _disable_current_modes():
            return function(*arguments)

    return called


def _leaves(node: Any) -> set[Tensor]:
    """The parameters that a loss depends on, from autograd's graph."""
    found, seen, waiting = set[Tensor](), set[Any](), [node]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(node.variable)
        waiting += [following for following, _ in node.next_functions]
    return found


def move(thing: Any) -> Any:
    """The same on cuda:0, without values: a tensor, a model, a loader, and what they hold."""
    if isinstance(thing, Tensor):
        there = torch.empty_strided(thing.size(), thing.stride(), dtype=thing.dtype, device=GPU)
        return nn.Parameter(there) if isinstance(thing, nn.Parameter) else there
    if isinstance(thing, dict):
        return {key: move(item) for key, item in thing.items()}
    if isinstance(thing, nn.Module):
        for module in thing.modules():
            module._parameters.update(move(dict(module._parameters)))
            module._buffers.update(move(dict(module._buffers)))
    if isinstance(thing, ResidentLoader | RandAugment):
        vars(thing).update(move(vars(thing)))
    if isinstance(thing, ResidentLoader):
        thing.device = GPU
    return thing
