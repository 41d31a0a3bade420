"""What share of the units that go each block loses, where the configuration says it and not the scores. No torch."""

from __future__ import annotations

from prune.architectures.group import Structure
from prune.base.errors import UserError
from prune.pruning.options import MethodOptions

Shares = dict[str, list[float]]
"""Kind → a weight for each of its groups, in the order of the blocks: units go in proportion to it (see `quotas.in_turn`)."""


def shares(method: MethodOptions, structure: Structure) -> Shares | None:
    """By `method.block_rates`, else by width for `method.scope=layer`; None where the scores decide.

    A block's weight is its width times its relative rate.

    Raises:
        UserError: for rates of the wrong number, of other kinds, or that are all 0.
    """
    if not method.prunes or (method.block_rates is None and method.scope != "layer"):
        return None
    if method.block_rates is None:
        return by_width(structure)
    relative = _relative_rates(method, structure)
    return {
        kind: [width * rate for width, rate in zip(widths, relative.get(kind, [1.0] * len(widths)), strict=True)]
        for kind, widths in by_width(structure).items()
    }


def by_width(structure: Structure) -> Shares:
    """The same share of every block."""
    return {kind: [float(group.count) for group in structure.of(kind)] for kind in structure.kinds}


def _relative_rates(method: MethodOptions, structure: Structure) -> Shares:
    """Kind → the relative rate of each of its groups, for the kinds that are pruned."""
    key, given, kinds = "method.block_rates", method.block_rates, method.kinds(structure)
    assert given is not None
    if isinstance(given, dict):
        unknown = [kind for kind in given if kind not in structure.kinds]
        if unknown:
            raise UserError(
                f"{key} names {', '.join(unknown)}, which this model does not have; it has {', '.join(structure.kinds)}."
            )
        missing = [kind for kind in kinds if kind not in given]
        if missing:
            raise UserError(f"{key} has no rates for {' and '.join(missing)}; give a list for each kind that is pruned.")
        idle = [kind for kind in given if kind not in kinds]
        if idle:
            raise UserError(f"{key} names {', '.join(idle)}, which method.targets leaves alone; change one of them.")
        found = {kind: list(given[kind]) for kind in kinds}
        for kind, rates in found.items():
            blocks = len(structure.of(kind))
            if len(rates) != blocks:
                raise UserError(f"{key} has {len(rates)} rates for {kind}, which {blocks} blocks have; give one for each.")
    else:
        blocks = 1 + max(group.block for group in structure.groups)
        if len(given) != blocks:
            raise UserError(f"{key} has {len(given)} rates and the model has {blocks} blocks; give one for each.")
        found = {kind: [given[group.block] for group in structure.of(kind)] for kind in kinds}
    idle = [kind for kind, rates in found.items() if not any(rates)]
    if idle:
        raise UserError(f"{key} has no rate above 0 for {' and '.join(idle)}; a block of rate 0 keeps all its units.")
    return found
