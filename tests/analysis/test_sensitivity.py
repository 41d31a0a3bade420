"""Single units where a group has few, tenths by score where it has many, and all of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from prune.analysis import sensitivity
from prune.analysis.scoring import scores_of
from prune.analysis.sensitivity import PARTS, Sensitivity
from prune.analysis.silencing import Trial, silence_each
from prune.pruning.slices import by_unit
from tests.analysis.subjects import MODELS, architecture_of, subject


@pytest.mark.parametrize("family", MODELS)
def test_single_units_are_silenced_in_the_order_of_their_index(family: str) -> None:
    looked_at = subject(family)
    found = Sensitivity().measure(looked_at)
    for group in looked_at.structure.groups:
        alive = looked_at.now.keep[group.name]
        np.testing.assert_array_equal(found[f"units/{group.name}"], alive)
        trials = [Trial(group, alive[place : place + 1]) for place in range(len(alive))] + [Trial(group, alive)]
        alone = silence_each(looked_at, looked_at.now, trials)
        np.testing.assert_allclose(found[f"loss.parts/{group.name}"], alone.losses[:-1], rtol=1e-12)
        np.testing.assert_allclose(found[f"loss.all/{group.name}"], alone.losses[-1:], rtol=1e-12)


@pytest.mark.parametrize("family", MODELS)
def test_tenths_of_a_kind_hold_every_unit_once_lowest_scores_first(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensitivity, "MOST_SINGLE", 4)
    tried: list[Trial] = []

    def remember(looked_at: object, snapshot: object, trials: list[Trial]) -> object:
        tried.extend(trials)
        return silence_each(looked_at, snapshot, trials)  # type: ignore[arg-type]

    monkeypatch.setattr(sensitivity, "silence_each", remember)
    looked_at = subject(family, state=0)
    found = Sensitivity().measure(looked_at)
    scores = scores_of(looked_at, looked_at.now, "magnitude")
    large = {group.kind for group in looked_at.structure.groups if group.count > 4}  # of a Swin's stages, one has 3 heads
    for group in looked_at.structure.groups:
        *parts, every = [trial.units for trial in tried if trial.group == group]
        assert torch.equal(every, looked_at.now.keep[group.name])
        if group.kind not in large:
            assert len(parts) == group.count and f"scores/{group.name}" not in found
            continue
        assert len(parts) == min(PARTS, group.count) and found[f"loss.parts/{group.name}"].shape == (len(parts),)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
        laid = torch.cat(parts)
        assert torch.equal(laid.sort().values, every)
        assert (np.diff(scores[group.name][laid]) >= 0).all()


@pytest.mark.parametrize("family", MODELS)
def test_a_block_whose_units_nothing_reads_costs_nothing(family: str) -> None:
    groups = [group for group in architecture_of(family).structure.groups if group.block == 1]

    def edit(model: nn.Module) -> None:
        for group in groups:
            for member in group.readers:
                by_unit(model.get_parameter(member.tensor), member).zero_()

    found = Sensitivity().measure(subject(family, edit=edit))
    for group in groups:
        np.testing.assert_allclose(found[f"loss.all/{group.name}"], found["loss"], rtol=1e-12)
        np.testing.assert_allclose(found[f"accuracy.parts/{group.name}"], found["accuracy"])
