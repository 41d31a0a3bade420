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
"""Of a group with more units than this, tenths are silenced."""

PARTS = 10


class Sensitivity(Analysis):
    """Loss and accuracy on validation images with some units silenced; nothing is trained again, so this is an upper bound.

    Of each group of up to 32 alive units each unit alone; of larger ones each tenth by the run's criterion, lowest scores
    first; and all of it.
    """

    title = "Sensitivity"
    most_images = 1000

    def sources(self, subject: Subject) -> dict[str, Any]:
        last = last_state(subject)
        return {"removed_by": [last, model_digest(subject.run.directory, last, "best")]}

    def measure(self, subject: Subject) -> Numbers:
        now = subject.now
        groups = [group for group in subject.structure.groups if len(now.keep[group.name])]
        large = any(len(now.keep[group.name]) > MOST_SINGLE for group in groups)
        scores = scores_of(subject, now, own_criterion(subject)) if large else {}
        numbers: Numbers = {}
        trials: list[Trial] = []
        for group in groups:
            alive = now.keep[group.name]
            if len(alive) > MOST_SINGLE:
                ascending = torch.as_tensor(np.argsort(scores[group.name], kind="stable"))
                parts = [alive[places] for places in ascending.tensor_split(PARTS)]
                numbers[f"scores/{group.name}"] = scores[group.name]
            else:
                parts = list(alive.split(1))
            trials += [Trial(group, units) for units in (*parts, alive)]
            numbers[f"units/{group.name}"] = alive.numpy()
        found = silence_each(subject, now, trials)
        numbers |= {"loss": found.loss, "accuracy": found.accuracy}
        for name, values in (("loss", found.losses), ("accuracy", found.accuracies)):
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
    groups = _present(subject, numbers, kind)
    added = [float(numbers[f"loss.all/{group.name}"][0]) - numbers["loss"] for group in groups]
    points = [float(numbers[f"accuracy.all/{group.name}"][0]) - numbers["accuracy"] for group in groups]
    most, least = int(np.argmax(added)), int(np.argmin(added))
    worst, best = (block_name(subject.structure, groups[index].block) for index in (most, least))
    return (
        f"Without any of its {kind}, {worst} costs most (loss {added[most]:+.2f}, accuracy {points[most]:+.1f} points), {best} "
        f"least ({added[least]:+.2f}, {points[least]:+.1f})."
    ).replace("-", "−")
