"""Which images a pruned model gets wrong: by class, beside dense; which change sides; what its confidence is worth."""

from __future__ import annotations

from itertools import chain

import numpy as np
import torch

from prune.analysis.base import Analysis, Numbers, Shown, Subject
from prune.analysis.errors_figures import calibration, classes, flips
from prune.analysis.judging import BINS, by_class, expected_calibration_error, flipped, judge

BATCH = 256

FEWEST_FOR_CALIBRATION = 1000
"""With fewer images a bin holds a few dozen, and the error measured is mostly chance."""


class Errors(Analysis):
    """What a state's model and the dense one say of each image; accuracy by class, and calibration where images are enough."""

    title = "Errors"
    compares = ("dense",)

    def measure(self, subject: Subject) -> Numbers:
        images, models = subject.images, {"now": subject.now.model, "dense": subject.dense.model}
        names = list(models) if subject.state else ["now"]
        found: dict[str, list[torch.Tensor]] = {}
        for batch, labels in subject.track(images.batches(BATCH), images.count(BATCH)):
            found.setdefault("labels", []).append(labels.cpu())
            for name in names:
                chosen, confidence, loss = judge(models[name], batch, labels)
                for key, value in (("predicted", chosen), ("confidence", confidence), ("losses", loss)):
                    found.setdefault(f"{key}.{name}", []).append(value)
        numbers: Numbers = {key: torch.cat(values).numpy() for key, values in found.items()}
        if not subject.state:
            numbers |= {key.replace(".now", ".dense"): value for key, value in numbers.items() if key.endswith(".now")}
        for name in models:
            right = numbers[f"predicted.{name}"] == numbers["labels"]
            numbers[f"by_class.{name}"] = by_class(right, numbers["labels"], len(images.facts.classes))
            numbers[f"accuracy.{name}"] = 100 * float(right.mean())
            numbers[f"loss.{name}"] = float(numbers.pop(f"losses.{name}").mean(dtype=np.float64))
            if len(images) >= FEWEST_FOR_CALIBRATION:
                numbers[f"ece.{name}"] = expected_calibration_error(numbers[f"confidence.{name}"], right)
        return numbers

    def show(self, subject: Subject, numbers: Numbers) -> Shown:
        figures = [classes(subject, numbers)]
        calibrated = "ece.now" in numbers
        figures += [calibration(subject, numbers)] if calibrated else []
        figures += [flips(subject, numbers)] if subject.state and len(flipped(numbers)[0]) + len(flipped(numbers)[1]) else []
        return Shown(figures, list(chain(_flip_sentence(subject, numbers), _calibration_sentence(subject, numbers))))


def _flip_sentence(subject: Subject, numbers: Numbers) -> list[str]:
    from scipy import stats  # type: ignore[import-untyped]

    if not subject.state:
        return []
    lost, won = map(len, flipped(numbers))
    total = len(numbers["labels"])
    text = (
        f"Of {total:,} validation images {lost} are right in the dense model only, {won} in that of state {subject.state} only"
    )
    if not lost + won:
        return [f"{text}."]
    p = stats.binomtest(lost, lost + won, 0.5).pvalue
    verdict = "more than chance would do" if p <= 0.05 else "no difference beyond chance"
    return [f"{text}: {verdict} (exact McNemar test of these images, p = {p:.2g})."]


def _calibration_sentence(subject: Subject, numbers: Numbers) -> list[str]:
    if "ece.now" not in numbers:
        return [
            f"Calibration is not measured: {len(numbers['labels']):,} images are too few for {BINS} bins, which takes "
            f"{FEWEST_FOR_CALIBRATION:,}."
        ]
    beside = f" (dense: {100 * numbers['ece.dense']:.1f})" if subject.state else ""
    return [f"Expected calibration error: {100 * numbers['ece.now']:.1f} points{beside}."]
