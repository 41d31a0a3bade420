"""The criteria's scores of a state's units, on the validation images that analyses look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prune.analysis.base import Subject
from prune.analysis.runs import Snapshot
from prune.base.errors import UserError
from prune.base.registries import CRITERIA
from prune.base.seeding import generator
from prune.pruning.criteria.base import Scoring
from prune.pruning.options import ScoredOptions
from prune.pruning.ranking import check_scores

BATCH = 128

USUAL = "magnitude"
"""By which units are ordered where the run's method has no criterion."""


def own_options(subject: Subject) -> ScoredOptions | None:
    """The keys by which the run ranks this state's units (the last's: by which they were); None of a method without."""
    config = subject.run.config
    options = config.method.in_state(min(subject.state + 1, config.schedule.states - 1))
    return options if isinstance(options, ScoredOptions) else None


def own_criterion(subject: Subject) -> str:
    """The criterion by which the run ranks this state's units; `USUAL` where its method has none."""
    options = own_options(subject)
    return options.criterion if options else USUAL


def rates_after(subject: Subject) -> Mapping[str, float]:
    """Kind → the rate at which this state's units are ranked: that of the next state, or its own if it is the last."""
    lines = {int(line["state"]): line for line in subject.run.record.states}
    line = lines.get(subject.state + 1) or lines[subject.state]
    rates: dict[str, float] = line.get("rates") or dict.fromkeys(subject.structure.kinds, float(line.get("rate") or 0.0))
    return rates


def scores_of(subject: Subject, snapshot: Snapshot, criterion: str) -> dict[str, np.ndarray]:
    """Group → one score for each alive unit, in the order of the snapshot's keep set.

    Raises:
        UserError: if the criterion gives scores that cannot be ranked, or its package is not installed.
    """

    def logits(images: Tensor) -> Tensor:
        found: Tensor = snapshot.model(images).float()
        return found

    options = own_options(subject)
    scoring = Scoring(
        model=snapshot.model,
        logits=logits,
        structure=subject.structure,
        rates=rates_after(subject),
        kinds=options.kinds(subject.structure) if options else subject.structure.kinds,
        batches=lambda: subject.images.batches(BATCH),
        generator=generator(0, "analysis/criterion", subject.state),
    )
    try:
        with torch.enable_grad():
            scores: Mapping[str, Any] = CRITERIA.load(criterion)().scores(scoring)
    except ImportError as error:
        raise UserError(f"criterion {criterion} needs a package that is not installed here ({error}).") from None
    check_scores(scores, snapshot.keep, f"criterion {criterion}")
    return {name: vector.double().numpy() for name, vector in scores.items()}
