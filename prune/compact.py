"""Keep set → smaller model, and back: slicing tensors, silencing units, and expanding to the full size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from prune.shape import ViTShape
from prune.units import KeepSet, unit_slices, without


def compact(model: VisionTransformer, alive: KeepSet, keep: KeepSet) -> None:
    """Remove from `model`, whose units are `alive`, all that are not in `keep`. In place, by slicing.

    The sliced parameters are new objects, so an optimiser must be rebuilt (see `prune.optim.slice_state`).
    A block that loses a whole branch keeps that branch's output bias, as the masked model does.
    """
    head_dim = model.blocks[0].attn.head_dim
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, units in unit_slices(alive, keep, head_dim):
            old = parameters[name]
            _set_parameter(model, name, nn.Parameter(units.of(old), requires_grad=old.requires_grad))
    _set_sizes(model, keep)


def shrink_structure(model: VisionTransformer, keep: KeepSet) -> None:
    """Give `model` (built dense, on the meta device or not) the tensor sizes of `keep`, without meaningful values."""
    dense = KeepSet(
        tuple(torch.arange(block.attn.num_heads) for block in model.blocks),
        tuple(torch.arange(block.mlp.fc1.out_features) for block in model.blocks),
    )
    compact(model, dense, keep)


def slice_tensors(tensors: Mapping[str, Tensor], alive: KeepSet, keep: KeepSet, head_dim: int) -> dict[str, Tensor]:
    """The tensors of a model of `alive`, by name, cut down to `keep`; tensors without units pass as they are."""
    result = dict(tensors)
    for name, units in unit_slices(alive, keep, head_dim):
        if name in result:
            result[name] = units.of(result[name])
    return result


def expand(tensors: Mapping[str, Tensor], keep: KeepSet, shape: ViTShape) -> dict[str, Tensor]:
    """The masked model's tensors: the compact model's, put back into full-size tensors that are zero elsewhere."""
    result = dict(tensors)
    dense = KeepSet.dense(shape)
    for name, units in unit_slices(dense, keep, shape.head_dim):
        small = tensors[name]
        size = list(small.shape)
        size[units.dim] = 3 * shape.embed_dim if ".qkv." in name else shape.embed_dim if ".proj." in name else shape.mlp_hidden
        full = torch.zeros(size, dtype=small.dtype, device=small.device)
        result[name] = full.index_copy(units.dim, units.index.to(small.device), small)
    return result


@contextmanager
def silenced(model: VisionTransformer, alive: KeepSet, keep: KeepSet) -> Iterator[None]:
    """Within this context the units of `alive` that are not in `keep` contribute nothing; afterwards all is as before.

    Zeroing the columns that read a unit (proj, fc2) silences it exactly, whatever its own weights are.
    """
    head_dim = model.blocks[0].attn.head_dim
    parameters = dict(model.named_parameters())
    readers = [
        (parameters[name], units) for name, units in unit_slices(alive, without(alive, keep), head_dim) if units.dim == 1
    ]
    saved = [units.of(reader.detach()) for reader, units in readers]
    with torch.no_grad():
        for reader, units in readers:
            reader.index_fill_(1, units.index.to(reader.device), 0.0)
    try:
        yield
    finally:
        with torch.no_grad():
            for (reader, units), columns in zip(readers, saved, strict=True):
                reader.index_copy_(1, units.index.to(reader.device), columns)


def _set_parameter(model: VisionTransformer, name: str, parameter: nn.Parameter) -> None:
    owner, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(owner), leaf, parameter)


def _set_sizes(model: VisionTransformer, keep: KeepSet) -> None:
    """Bring the modules' own size attributes in line with their tensors."""
    for block, heads, neurons in zip(model.blocks, keep.heads, keep.neurons, strict=True):
        attn, mlp = block.attn, block.mlp
        attn.num_heads = len(heads)
        attn.attn_dim = len(heads) * attn.head_dim
        attn.qkv.out_features = 3 * attn.attn_dim
        attn.proj.in_features = attn.attn_dim
        if len(heads) == 0:
            attn.fused_attn = False  # the plain formula accepts zero heads on every device; fused kernels need not
        mlp.fc1.out_features = mlp.fc2.in_features = len(neurons)
