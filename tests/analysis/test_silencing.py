"""Trials against models whose units were zeroed by hand and run from the images on; nothing of them stays."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prune.analysis import silencing
from prune.analysis.silencing import Trial, silence_each
from prune.architectures.group import Group
from prune.pruning.replay import block_modules, recording, replaying
from prune.pruning.slices import by_unit
from tests.analysis.subjects import MODELS, architecture_of, pixels_of, random_images, subject


def zeroed(model: nn.Module, group: Group, alive: Tensor, units: Tensor) -> nn.Module:
    """A copy in which every tensor of these units is zero, whatever its role."""
    result = copy.deepcopy(model)
    places = [index for index, unit in enumerate(alive.tolist()) if unit in units.tolist()]
    with torch.no_grad():
        for member in group.members:
            by_unit(result.get_parameter(member.tensor), member)[places] = 0
    return result


@pytest.mark.parametrize("family", MODELS)
def test_each_trial_is_the_model_with_these_units_zeroed(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silencing, "BATCH", 9)  # three batches
    looked_at = subject(family, random_images(25))
    now = looked_at.now
    trials = []
    for group in reversed(looked_at.structure.groups):  # in any order
        alive = now.keep[group.name]
        trials += [Trial(group, alive[:1]), Trial(group, alive[-2:]), Trial(group, alive)]
    found = silence_each(looked_at, now, trials)
    images, labels = pixels_of(looked_at.images)
    with torch.no_grad():
        whole = nn.functional.cross_entropy(now.model(images), labels, reduction="none").double()
    for number, trial in enumerate(trials):
        with torch.no_grad():
            logits = zeroed(now.model, trial.group, now.keep[trial.group.name], trial.units)(images)
        assert found.losses[number] == pytest.approx(nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)
        assert found.accuracies[number] == pytest.approx(100 * (logits.argmax(1) == labels).double().mean().item())
        added = (nn.functional.cross_entropy(logits, labels, reduction="none").double() - whole).numpy()
        assert found.standard_errors[number] == pytest.approx(added.std(ddof=1) / np.sqrt(len(added)), rel=1e-3, abs=1e-9)
    with torch.no_grad():
        logits = now.model(images)
    assert found.loss == pytest.approx(nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)


@pytest.mark.parametrize("family", MODELS)
def test_a_unit_that_was_zeroed_before_has_no_effect(family: str) -> None:
    """Unit 0 of every group."""

    def edit(model: nn.Module) -> None:
        for group in architecture_of(family).structure.groups:
            for member in group.members:
                if member.role == "reads":
                    by_unit(model.get_parameter(member.tensor), member)[0] = 0

    looked_at = subject(family, edit=edit, state=0)
    trials = [Trial(group, torch.tensor([unit])) for group in looked_at.structure.groups for unit in (0, 1)]
    found = silence_each(looked_at, looked_at.now, trials)
    np.testing.assert_allclose(found.losses[::2], found.loss, rtol=1e-12)
    assert (found.standard_errors[::2] == 0).all()
    assert (np.abs(found.losses[1::2] - found.loss) > 1e-7).all()


@pytest.mark.parametrize("family", MODELS)
def test_the_model_is_left_as_it_was(family: str) -> None:
    looked_at = subject(family)
    before = copy.deepcopy(looked_at.now.model.state_dict())
    images, _ = pixels_of(looked_at.images)
    with torch.no_grad():
        logits = looked_at.now.model(images)
    silence_each(looked_at, looked_at.now, [Trial(g, looked_at.now.keep[g.name][:1]) for g in looked_at.structure.groups])
    after = looked_at.now.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    with torch.no_grad():
        assert torch.equal(looked_at.now.model(images), logits)


@pytest.mark.parametrize("family", MODELS)
def test_blocks_before_the_group_are_not_computed_again(family: str) -> None:
    looked_at = subject(family, random_images(10))
    model, structure = looked_at.now.model, looked_at.structure
    names = block_modules(model, structure)
    last = structure.groups[-1]
    calls = dict.fromkeys(names.values(), 0)
    for name in calls:  # inside the block, where replaying does not reach

        def count(*_: object, name: str = name) -> None:
            calls[name] += 1

        next(model.get_submodule(name).children()).register_forward_hook(count)
    silence_each(looked_at, looked_at.now, [Trial(last, looked_at.now.keep[last.name][:1])] * 3)
    assert list(calls.values()) == [1] * (len(calls) - 1) + [4]


def test_a_module_that_is_called_twice_is_not_replayed() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.once, self.shared = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.shared(self.shared(self.once(x)))

    model = Twice()
    with recording(model, ["once", "shared"]) as given:
        result = model(torch.ones(1, 2))
    assert list(given) == ["once"]
    with replaying(model, given):
        assert torch.equal(model(torch.zeros(1, 2)), result)
    assert not torch.equal(model(torch.zeros(1, 2)), result)


def test_a_single_image_tells_no_error() -> None:
    looked_at = subject("vit", random_images(1))
    group = looked_at.structure.groups[0]
    found = silence_each(looked_at, looked_at.now, [Trial(group, looked_at.now.keep[group.name])])
    assert np.isnan(found.standard_errors).all() and np.isfinite(found.losses).all()
