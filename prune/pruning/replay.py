"""A model looked at again and again on one batch: blocks before the change give what they gave, and are not computed again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from prune.architectures.group import Structure


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


def before(blocks: Mapping[int, str], given: Mapping[str, Tensor], block: int) -> dict[str, Tensor]:
    """Of what was recorded, that of the blocks before one: what changes only from there on may use it again."""
    return {name: given[name] for earlier, name in blocks.items() if earlier < block and name in given}


def _is_in(name: str, module: str) -> bool:
    return module == "" or name == module or name.startswith(f"{module}.")


@contextmanager
def recording(model: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """What each of these modules gives within this context.

    One that is called more than once is left out, and so is what is no tensor, or is changed in place later in the pass.
    """
    given: dict[str, Tensor] = {}
    versions: dict[str, int] = {}
    unfit: set[str] = set()

    def keep(name: str, result: Tensor) -> None:
        if name in given or not isinstance(result, Tensor):
            unfit.add(name)
            return
        given[name], versions[name] = result, result._version

    handles = [
        model.get_submodule(name).register_forward_hook(lambda _, __, result, name=name: keep(name, result)) for name in names
    ]
    try:
        yield given
    finally:
        for handle in handles:
            handle.remove()
        unfit.update(name for name, result in given.items() if result._version != versions[name])
        for name in unfit:
            given.pop(name, None)


@contextmanager
def replaying(model: nn.Module, given: Mapping[str, Tensor]) -> Iterator[None]:
    """Within this context these modules give what they gave before, and compute nothing."""
    modules = [model.get_submodule(name) for name in given]
    for module, result in zip(modules, given.values(), strict=True):
        module.__dict__["forward"] = lambda *_, result=result, **__: result
    try:
        yield
    finally:
        for module in modules:
            del module.__dict__["forward"]
