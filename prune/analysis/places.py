"""Where to look in a model of any family: what its blocks give, and what the readers of its units are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from prune.architectures.group import Group, Structure
from prune.base.errors import UserError
from prune.pruning.criteria.activation import features_of

INPUT = "input"
"""What the first block is given."""


def block_modules(model: nn.Module, structure: Structure) -> dict[int, str]:
    """Block → the name of its module: the innermost that has all its groups and something besides them (norms, a residual sum).

    Of `blocks.3.attn` and `blocks.3.mlp` that is `blocks.3`; of `layers.3.mixer` alone `layers.3`; of `blocks.3` in a list of
    blocks, itself.
    """
    found = {}
    for block in sorted({group.block for group in structure.groups}):
        names = [group.name for group in structure.groups if group.block == block]
        others = [group.name for group in structure.groups if group.block != block]
        name = names[0]
        if len(names) > 1:
            while not all(_is_in(other, name) for other in names):
                name = name.rpartition(".")[0]
        else:
            above = name.rpartition(".")[0]
            inside = isinstance(model.get_submodule(above), nn.ModuleList | nn.Sequential)
            if above and not inside and not any(_is_in(other, above) for other in others):
                name = above
        found[block] = name
    return found


def _is_in(name: str, module: str) -> bool:
    return module == "" or name == module or name.startswith(f"{module}.")


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
