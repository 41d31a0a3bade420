"""Scores are those by which the run ranks: at its next rate, and with thresholds over the kinds that it prunes alone."""

from __future__ import annotations

import numpy as np
import pytest

from prune.analysis.scoring import own_criterion, scores_of
from prune.pruning.options import ScoredOptions
from prune.pruning.slices import by_unit
from tests.analysis.subjects import subject


@pytest.mark.parametrize("pruned", [("heads",), ("heads", "neurons")])
def test_what_remains_is_judged_by_the_weights_of_the_kinds_that_are_pruned(pruned: tuple[str, ...]) -> None:
    looked_at = subject("vit", state=0)
    looked_at.run.config.method = ScoredOptions(name="refill", criterion="remaining", targets=list(pruned))
    looked_at.run.record.states[1]["rates"] = {kind: 0.75 * (kind in pruned) for kind in ("heads", "neurons")}
    assert own_criterion(looked_at) == "remaining"
    model, structure = looked_at.dense.model, looked_at.structure

    def matrices(name: str) -> list[np.ndarray]:
        (group,) = (group for group in structure.groups if group.name == name)
        members = [member for member in group.members if member.matrix]
        units = [by_unit(model.get_parameter(m.tensor).detach(), m).flatten(1).abs().numpy() for m in members]
        return [np.concatenate([part[unit] for part in units]) for unit in range(group.count)]

    counted = np.concatenate([np.concatenate(matrices(g.name)) for kind in pruned for g in structure.of(kind)])
    threshold = np.sort(counted)[-round(0.25 * len(counted))]
    found = scores_of(looked_at, looked_at.dense, "remaining")
    for group in structure.groups:
        wanted = [unit[unit >= threshold].sum() for unit in matrices(group.name)]
        np.testing.assert_allclose(found[group.name], wanted, rtol=1e-5)
