"""Where to look in a model of any family: what its blocks give, and what the readers of its units are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from prune.architectures.group import Group
from prune.base.errors import UserError
from prune.pruning.criteria.activation import features_of

INPUT = "input"
"""What the first block is given."""


@contextmanager
def outputs_of(model: nn.Module, names: Sequence[str], seen: Callable[[str, Tensor], object]) -> Iterator[None]:
    """Within this context `seen(name, tensor)` is told what the first of these is given (`INPUT`), and what each gives."""
    handles = [model.get_submodule(names[0]).register_forward_pre_hook(lambda _, given: seen(INPUT, given[0]) and None)]
    for name in names:
        handles.append(model.get_submodule(name).register_forward_hook(_teller(name, seen)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _teller(name: str, seen: Callable[[str, Tensor], object]) -> Callable[[nn.Module, Any, Any], None]:
    def hook(_: nn.Module, given: Any, result: Any) -> None:
        if not isinstance(result, Tensor):
            raise UserError(f"{name} gives a {type(result).__name__}, and this analysis needs a block that gives a tensor.")
        seen(name, result)

    return hook


@contextmanager
def read_from(model: nn.Module, groups: Sequence[Group], seen: Callable[[Group, Tensor], object]) -> Iterator[None]:
    """Within this context `seen(group, activations)` is told what the last reader of each group is given.

    The activations are (samples, units, entries of one unit): a sample is a token or place of an image.
    """
    handles = []
    for group in groups:
        reader = group.readers[-1]
        features = features_of(model, group)

        def hook(_: nn.Module, given: tuple[Tensor, ...], group: Group = group, features: int = features) -> None:
            reader = group.readers[-1]
            flat = given[0].detach().movedim(features, -1).flatten(0, -2)
            split = flat.unflatten(1, (reader.repeats, flat.shape[1] // (reader.repeats * reader.lanes), reader.lanes))
            seen(group, split.transpose(1, 2).flatten(2))

        handles.append(model.get_submodule(reader.module).register_forward_pre_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
