"""Is what an architecture says of its units true? For whoever adds a family: `assert verify(architecture) == []`."""

from __future__ import annotations

import random
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from prune.architectures.base import Architecture
from prune.architectures.build import check_model
from prune.pruning.compact import compact, silenced
from prune.pruning.keepset import KeepSet

TOLERANCE = 1e-9
"""Of the largest logit, in float64: compact and silenced differ in the order of sums alone."""


def verify(architecture: Architecture, keep_sets: int = 3) -> list[str]:
    """What is wrong, a sentence each; nothing if all holds.

    Raises:
        UserError: if the members fit, and the model as a whole is not what the architecture says (see `check_model`).

    The model is built and checked as at the start of a run. Then, dense and for seeded random keep sets, in one of which some
    groups lose all their units: sizes of the members' tensors, parameters and MACs by closed form against the counted model
    and torch's FLOP counter, and logits of the compact model against those of the full-size model whose units are silenced.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = architecture.create()
        with torch.no_grad():
            for parameter in model.parameters():  # no tensor at zero or one, as many start
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
        images = torch.randn(2, architecture.channels, *architecture.image_size, dtype=torch.float64)
        problems = list(_members(architecture, model))
        if problems:
            return problems
        check_model(architecture, model)
        model = model.double().eval()
        dense = KeepSet.dense(architecture.structure)
        for number in range(keep_sets + 1):
            keep = dense if number == 0 else _random(dense, number)
            name = "dense" if number == 0 else f"random keep set {number}"
            problems += _one(architecture, model, dense, keep, images, name)
    return problems


def _members(architecture: Architecture, model: nn.Module) -> Iterator[str]:
    tensors = dict(model.named_parameters())
    for group in architecture.structure.groups:
        if not group.readers:
            yield f"{group.name} has no member that reads its units"
        for member in group.members:
            tensor = tensors.get(member.tensor)
            if tensor is None:
                yield f"{group.name}: {member.tensor} is no parameter of the model"
            elif tensor.shape[member.dim] != group.count * member.lanes * member.repeats:
                yield (
                    f"{group.name}: {member.tensor} has {tensor.shape[member.dim]} entries along dimension {member.dim}, not "
                    f"{group.count} units × {member.lanes} lanes × {member.repeats} repeats"
                )
            elif tensor.numel() != group.count * member.size:
                own = tensor.numel() // group.count
                yield f"{group.name}: a unit has {own} parameters in {member.tensor}, not {member.size}"


def _one(
    architecture: Architecture, model: nn.Module, dense: KeepSet, keep: KeepSet, images: Tensor, name: str
) -> Iterator[str]:
    structure, counts = architecture.structure, keep.counts()
    small = architecture.create().double().eval()
    small.load_state_dict(model.state_dict())
    compact(small, architecture, dense, keep)
    counted = sum(parameter.numel() for parameter in small.parameters())
    if counted != structure.parameters(counts):
        yield f"{name}: {counted:,} parameters, {structure.parameters(counts):,} by closed form"
    # The counter knows matrix products, not the kernel that fuses attention on a CPU.
    try:
        with FlopCounterMode(display=False) as flops, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
            found = small(images)
    except RuntimeError as error:
        yield f"{name}: the compact model cannot compute ({str(error).splitlines()[0]})"
        return
    macs = flops.get_total_flops() // 2 // len(images)
    if macs != structure.macs(counts):
        yield f"{name}: {macs:,} MACs of one image, {structure.macs(counts):,} by closed form"
    with silenced(model, structure, dense, keep), torch.no_grad():
        expected = model(images)
    difference, scale = (found - expected).abs().max().item(), expected.abs().max().item()
    if not difference <= TOLERANCE * scale:
        yield f"{name}: logits of the compact model differ by {difference:.2g} from those of the model with silenced units"


def _random(dense: KeepSet, seed: int) -> KeepSet:
    """Some units of each group; with seed 1 none of every second group."""
    draw = random.Random(seed)

    def some(number: int, units: list[int]) -> list[int]:
        return [] if seed == 1 and number % 2 else sorted(draw.sample(units, draw.randint(1, len(units))))

    return KeepSet.from_lists({name: some(number, units) for number, (name, units) in enumerate(dense.to_lists().items())})
