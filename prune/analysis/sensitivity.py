"""What is lost when units are silenced alone: single ones where a group has few, tenths of it by score where it has many."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from prune.analysis.base import Analysis, Numbers, Shown, Subject
from prune.analysis.colours import block_name
from prune.analysis.scoring import own_criterion, scores_of
from prune.analysis.sensitivity_figures import heat_map
from prune.analysis.silencing import Trial, silence_each
from prune.architectures.group import Group
from prune.base.files import read_json_object
from prune.rundir.analyses import model_digest

MOST_SINGLE = 32
"""Of a kind of which any block has more units than this, tenths are silenced."""

PARTS = 10


class Sensitivity(Analysis):
    """Loss and accuracy on validation images with some units silenced; nothing is trained again.

    Of a kind with up to 32 units left in each block every unit alone; else each tenth of a block by the run's criterion, lowest
    scores first (of fewer than ten units each alone, in that order); and all of a block's.
    """

    title = "Sensitivity"
    most_images = 1000
    version = 2

    def sources(self, subject: Subject) -> dict[str, Any]:
        last = last_state(subject)
        return {"removed_by": [last, model_digest(subject.run.directory, last, "best")]}

    def measure(self, subject: Subject) -> Numbers:
        now = subject.now
        groups = [group for group in subject.structure.groups if len(now.keep[group.name])]
        large = {group.kind for group in groups if len(now.keep[group.name]) > MOST_SINGLE}
        scores = scores_of(subject, now, own_criterion(subject)) if large else {}
        numbers: Numbers = {}
        trials: list[Trial] = []
        for group in groups:
            alive = now.keep[group.name]
            parts = list(alive.split(1))
            if group.kind in large:
                parts = tenths(alive, scores[group.name])
                numbers[f"scores/{group.name}"] = scores[group.name]
            trials += [Trial(group, units) for units in (*parts, alive)]
            numbers[f"units/{group.name}"] = alive.numpy()
        found = silence_each(subject, now, trials)
        numbers |= {"loss": found.loss, "accuracy": found.accuracy}
        measured = {"loss": found.losses, "accuracy": found.accuracies, "standard_error": found.standard_errors}
        for name, values in measured.items():
            for group in groups:
                chosen = found.of(group, values)
                numbers[f"{name}.parts/{group.name}"] = chosen[:-1]
                numbers[f"{name}.all/{group.name}"] = chosen[-1:]
        numbers |= {f"left/{name}": units for name, units in left_by(subject, last_state(subject)).items()}
        return numbers

    def show(self, subject: Subject, numbers: Numbers) -> Shown:
        kinds = [kind for kind in subject.structure.kinds if _present(subject, numbers, kind)]
        figures = [heat_map(subject, numbers, kind, last_state(subject)) for kind in kinds]
        return Shown(figures, [_sentence(subject, numbers, kind) for kind in kinds])


def tenths(alive: torch.Tensor, scores: np.ndarray) -> list[torch.Tensor]:
    """Units in ten parts of ascending score, equal to within one unit; of fewer than ten units each is one."""
    ascending = alive[torch.as_tensor(np.argsort(scores, kind="stable"))]
    return list(ascending.tensor_split(min(PARTS, len(alive))))


def last_state(subject: Subject) -> int:
    """The run's last finished state: what it has removed is shown beside."""
    return subject.run.finished[-1]


def left_by(subject: Subject, state: int) -> dict[str, np.ndarray]:
    """Group → the original indices that a state still has, as its manifest says."""
    groups = read_json_object(subject.run.directory.manifest(state)).get("groups") or {}
    return {name: np.asarray(group["kept"], dtype=np.int64) for name, group in groups.items()}


def _present(subject: Subject, numbers: Numbers, kind: str) -> list[Group]:
    return [group for group in subject.structure.of(kind) if f"loss.all/{group.name}" in numbers]


def _sentence(subject: Subject, numbers: Numbers, kind: str) -> str:
    """What the block costs whose units are needed most, and that whose units are needed least."""
    groups = _present(subject, numbers, kind)
    added = [float(numbers[f"loss.all/{group.name}"][0]) - numbers["loss"] for group in groups]

    def cost(place: int) -> str:
        group = groups[place]
        error = float(numbers[f"standard_error.all/{group.name}"][0])
        points = float(numbers[f"accuracy.all/{group.name}"][0]) - numbers["accuracy"]
        return f"(loss {added[place]:+.3f} ± {2 * error:.3f}, accuracy {points:+.1f} points)".replace("-", "−")

    most, least = int(np.argmax(added)), int(np.argmin(added))
    worst, best = (block_name(subject.structure, groups[place].block) for place in (most, least))
    text = f"Without any of its {kind}, {worst} costs {'most ' if len(groups) > 1 else ''}{cost(most)}"
    text += f", {best} least {cost(least)}" if len(groups) > 1 else ""
    return f"{text}; ±: two standard errors over the images."
