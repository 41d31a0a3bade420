"""Do scores tell the truth? Rank correlation of criteria with the loss of silencing and with each other; overlap of seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import stats  # type: ignore[import-untyped]

from prune.analysis.base import Analysis, Numbers, Shown, Subject
from prune.analysis.importance_figures import agreement, chance_bound, correlations, points
from prune.analysis.overlap import by_chance, jaccard, kept_in, other_seeds
from prune.analysis.scoring import own_criterion, scores_of
from prune.analysis.silencing import Trial, silence_each
from prune.base.errors import UserError
from prune.base.files import sha256_of
from prune.base.seeding import generator

COMPARED = ("magnitude", "group_magnitude", "remaining", "remaining_count", "taylor", "activation", "random")
"""The project's criteria; a run's own is compared as well if it is another."""

SAMPLE = 32
"""Of a group with more alive units than this so many are silenced: one from each of as many strata by the run's criterion."""

FEWEST = 8
"""Units of a block without which it has no correlation of its own."""


class Importance(Analysis):
    """Spearman's rank correlation of each criterion's scores with the loss that silencing each unit alone adds."""

    title = "Importance"
    most_images = 1000
    version = 2

    def sources(self, subject: Subject) -> dict[str, Any]:
        others = {seed: kept_in(directory, subject.state) for seed, directory in other_seeds(subject.run).items()}
        kept = {str(seed): _sorted(units) for seed, units in sorted(others.items()) if units is not None}
        return {"other_seeds": {seed: sha256_of(repr(units)) for seed, units in kept.items()}}

    def measure(self, subject: Subject) -> Numbers:
        now, numbers = subject.now, Numbers()
        own = own_criterion(subject)
        scores, unable = {}, []
        for criterion in dict.fromkeys((*COMPARED, own)):
            try:
                scores[criterion] = scores_of(subject, now, criterion)
            except UserError as error:
                unable.append(str(error))
        if own not in scores:
            own = COMPARED[0]
        numbers |= {"own": own, "unable": " ".join(unable)}
        trials, places = [], {}
        for group in subject.structure.groups:
            alive = now.keep[group.name]
            places[group.name] = stratified(scores[own][group.name], group.name)
            trials += [Trial(group, alive[place : place + 1]) for place in places[group.name].tolist()]
        found = silence_each(subject, now, trials)
        for group in subject.structure.groups:
            numbers[f"units/{group.name}"] = now.keep[group.name].numpy()[places[group.name]]
            numbers[f"added/{group.name}"] = found.of(group, found.losses) - found.loss
            numbers[f"standard_error/{group.name}"] = found.of(group, found.standard_errors)
            for criterion, by_group in scores.items():
                numbers[f"scores.{criterion}/{group.name}"] = by_group[group.name]
                numbers[f"sampled.{criterion}/{group.name}"] = by_group[group.name][places[group.name]]
        for kind in subject.structure.kinds:
            numbers |= _of_kind(subject, numbers, kind, list(scores))
        return numbers | _overlaps(subject)

    def show(self, subject: Subject, numbers: Numbers) -> Shown:
        kinds = [kind for kind in subject.structure.kinds if numbers[f"count/{kind}"] >= FEWEST]
        if not kinds:
            return Shown([], [f"No kind has {FEWEST} units left: too few for a correlation."])
        figures = [correlations(subject, numbers, kinds), points(subject, numbers, kinds), agreement(subject, numbers, kinds)]
        sentences = [_sentence(numbers, kind) for kind in kinds]
        sentences += [f"Seeds: {text}" for kind in subject.structure.kinds if (text := _overlap_sentence(numbers, kind))]
        return Shown(figures, sentences + ([numbers["unable"]] if numbers["unable"] else []))


def stratified(scores: np.ndarray, name: str) -> np.ndarray:
    """Places of the units to silence: all of up to `SAMPLE`, else one drawn from each of `SAMPLE` strata of ascending score."""
    if len(scores) <= SAMPLE:
        return np.arange(len(scores))
    draw = generator(0, f"importance/{name}")
    strata = torch.as_tensor(np.argsort(scores, kind="stable")).tensor_split(SAMPLE)
    return torch.stack([part[torch.randint(len(part), (), generator=draw)] for part in strata]).sort().values.numpy()


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's correlation of ranks, equal values sharing their mean rank; nan where one does not vary."""
    if len(first) < 2 or not np.ptp(first) or not np.ptp(second):
        return float("nan")
    return float(stats.spearmanr(first, second).statistic)


def _of_kind(subject: Subject, numbers: Numbers, kind: str, criteria: list[str]) -> Numbers:
    groups = subject.structure.of(kind)
    added = [numbers[f"added/{group.name}"] for group in groups]
    every = {c: np.concatenate([numbers[f"scores.{c}/{group.name}"] for group in groups]) for c in criteria}
    found: Numbers = {
        "criteria": np.array(criteria),
        f"count/{kind}": sum(map(len, added)),
        f"agreement/{kind}": np.array([[spearman(every[a], every[b]) for b in criteria] for a in criteria]),
    }
    for criterion in criteria:
        sampled = [numbers[f"sampled.{criterion}/{group.name}"] for group in groups]
        found[f"spearman.{criterion}/{kind}"] = spearman(np.concatenate(sampled), np.concatenate(added))
        found[f"by_block.{criterion}/{kind}"] = np.array(
            [spearman(s, a) if len(a) >= FEWEST else np.nan for s, a in zip(sampled, added, strict=True)]
        )
    return found


def _overlaps(subject: Subject) -> Numbers:
    """Jaccard's index with each other seed of the configuration that has finished this state, and its expectation by chance."""
    own = {name: set(units.tolist()) for name, units in subject.now.keep.items()}
    others = [
        kept for directory in other_seeds(subject.run).values() if (kept := kept_in(directory, subject.state)) is not None
    ]
    found: Numbers = {}
    for kind in subject.structure.kinds if others else ():
        groups = subject.structure.of(kind)
        if any(len(own[group.name]) < group.count for group in groups):
            found[f"jaccard/{kind}"] = np.array([jaccard(own, other, groups) for other in others])
            found[f"chance/{kind}"] = np.array([by_chance(own, other, groups) for other in others])
    return found


def _sorted(units: dict[str, set[int]]) -> list[tuple[str, list[int]]]:
    return [(name, sorted(kept)) for name, kept in sorted(units.items())]


def _sentence(numbers: Numbers, kind: str) -> str:
    own, count = numbers["own"], numbers[f"count/{kind}"]
    rho = numbers[f"spearman.{own}/{kind}"]
    if rho != rho:
        return f"{kind.capitalize()}: {own} gives all units the same score, or silencing any of them changes nothing."
    known = [c for c in numbers["criteria"].tolist() if numbers[f"spearman.{c}/{kind}"] == numbers[f"spearman.{c}/{kind}"]]
    best = max(known, key=lambda criterion: numbers[f"spearman.{criterion}/{kind}"])
    word = "no more than chance would" if abs(rho) <= chance_bound(count) else "more than chance would"
    text = f"{kind.capitalize()}: {own} agrees with the measured loss by ρ = {rho:.2f} over {count} units, {word}"
    return text.replace("= -", "= −") + (f"; {best} by {numbers[f'spearman.{best}/{kind}']:.2f}." if best != own else ".")


def _overlap_sentence(numbers: Numbers, kind: str) -> str:
    if f"jaccard/{kind}" not in numbers:
        return ""
    found, chance = numbers[f"jaccard/{kind}"], numbers[f"chance/{kind}"]
    return f"{kind} kept overlap by {found.mean():.2f} (Jaccard, mean over {len(found)} others; by chance {chance.mean():.2f})."
