"""A model of an architecture: created, checked against the configuration, loaded with weights, or given a keep set's sizes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from prune.architectures.base import Architecture
from prune.architectures.naming import named
from prune.architectures.weights import load_weights, read_weights, timm_weights
from prune.base.errors import UserError
from prune.base.seeding import derive


def build_model(architecture: Architecture, seed: int) -> nn.Module:
    """The dense model before state 0, on the CPU: random weights seeded by the run, then the pretrained ones if asked for.

    Raises:
        UserError: for a name that the library does not know, sizes that differ from its own, or weights that do not fit.
    """
    options = architecture.options
    model = random_model(architecture, derive(seed, "weights"))
    check_model(architecture, model)
    if options.pretrained is True:
        load_weights(architecture, model, timm_weights(options.name), f"timm's {options.name}")
    elif options.pretrained:
        load_weights(architecture, model, read_weights(Path(options.pretrained)), options.pretrained)
    return model


def random_model(architecture: Architecture, seed: int) -> nn.Module:
    """The dense model as the library initialises it, on the CPU, seeded; never with pretrained weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return architecture.create()


def check_model(architecture: Architecture, model: nn.Module) -> None:
    """Raise `UserError` unless the model is what the configuration states, and nothing besides."""
    architecture.check_model(model)
    name, structure, family = architecture.options.name, architecture.structure, type(architecture).__name__
    sizes = {key: parameter.numel() for key, parameter in model.named_parameters()}
    if architecture.fixed is not None:
        wanted = {member.tensor: member.size * group.count for group in structure.groups for member in group.members}
        wanted |= architecture.fixed
        if unknown := sizes.keys() - wanted.keys():
            raise UserError(f"model.name={name!r} has parts that the pruner does not know: {named(sizes, unknown)}.")
        if missing := wanted.keys() - sizes.keys():
            raise UserError(f"model.name={name!r} lacks what a {family} of its sizes has: {named(wanted, missing)}.")
        if other := {key for key in sizes if sizes[key] != wanted[key]}:
            raise UserError(
                f"model.name={name!r} has parts of other sizes than a {family} of its sizes: {named(sizes, other)}."
            )
    counted = sum(sizes.values())
    if counted != structure.parameters():
        raise UserError(
            f"model.name={name!r} has parts that the pruner does not know (it has {counted:,} parameters where a plain "
            f"{family} of its sizes has {structure.parameters():,})."
        )


def empty_model(architecture: Architecture, counts: Mapping[str, int]) -> nn.Module:
    """The model with so many units of each group, on the meta device: names and sizes, no values."""
    with torch.device("meta"):  # nothing is allocated, and no random number is drawn
        model = architecture.create()
    for group in architecture.structure.groups:
        for member in group.members:
            old = model.get_parameter(member.tensor)
            size = list(old.shape)
            size[member.dim] = member.repeats * counts[group.name] * member.lanes
            replace_parameter(model, member.tensor, old.new_empty(size))
    fit_attributes(architecture, model, counts)
    return model


def restore_model(
    architecture: Architecture, counts: Mapping[str, int], tensors: Mapping[str, Tensor], device: torch.device
) -> nn.Module:
    """The model with so many units of each group and these tensors (its whole state_dict), which are copied to `device`.

    Raises:
        RuntimeError: if they are not the tensors of such a model.
    """
    model = empty_model(architecture, counts)
    # Copies: training changes the model's tensors in place, and the given ones must stay what they are.
    model.load_state_dict({name: tensor.to(device, copy=True) for name, tensor in tensors.items()}, assign=True)
    fill_buffers(architecture, model, device)
    return model


def fit_attributes(architecture: Architecture, model: nn.Module, counts: Mapping[str, int]) -> None:
    """Bring the modules' own size attributes in line with their tensors."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.out_features, module.in_features = module.weight.shape
    architecture.resize(model, counts)


def replace_parameter(model: nn.Module, name: str, value: Tensor) -> None:
    """Put a new parameter of another size in the place of one."""
    owner, _, leaf = name.rpartition(".")
    module = model.get_submodule(owner)
    setattr(module, leaf, nn.Parameter(value, requires_grad=getattr(module, leaf).requires_grad))


def fill_buffers(architecture: Architecture, model: nn.Module, device: torch.device) -> None:
    """Give values to the buffers that are in no checkpoint (tables of indices, masks): those of a model made afresh.

    A model that was built on the meta device has none for them.
    """
    empty = [name for name, buffer in model.named_buffers() if buffer.is_meta]
    if not empty:
        return
    with torch.random.fork_rng(devices=[]):
        fresh = dict(architecture.create().named_buffers())
    for name in empty:
        owner, _, leaf = name.rpartition(".")
        model.get_submodule(owner).register_buffer(leaf, fresh[name].to(device), persistent=False)
