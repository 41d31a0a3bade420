"""The loss of mixed labels and of a teacher, against sums written out image by image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prune.config.recipe import DistillationOptions
from prune.data.loading import TrainingBatch
from prune.data.mixing import MixedLabels
from prune.engine.loss import cross_entropy, hits, logits_and_loss
from prune.engine.teacher import Teacher

CPU = torch.device("cpu")
LABELS, OTHERS = torch.tensor([0, 3, 2, 1, 3]), torch.tensor([1, 3, 0, 2, 2])
COLOURS = ([0.5, 0.4, 0.3], [0.2, 0.3, 0.1])


def drawn(seed: int, *size: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def teacher(kind: str, temperature: float = 1.0, weight: float = 0.3) -> Teacher:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    options = DistillationOptions(teacher="state0", kind=kind, temperature=temperature, weight=weight)  # type: ignore[arg-type]
    return Teacher(model, options, (COLOURS, COLOURS), CPU, 48)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_mixed_image_learns_both_labels_by_their_shares(smoothing: float) -> None:
    logits = drawn(0, 5, 4)
    expected = 0.0
    for row, own, other in zip(logits.log_softmax(1), LABELS, OTHERS, strict=True):
        for label, share in ((own, 0.7), (other, 0.3)):
            target = (1 - smoothing) * F.one_hot(label, 4) + smoothing / 4
            expected -= share * float(target @ row) / 5
    found = cross_entropy(logits, LABELS, MixedLabels(OTHERS, 0.7), smoothing)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_a_mixed_image_is_right_by_the_share_of_the_label_that_it_is_given() -> None:
    logits = F.one_hot(torch.tensor([0, 3, 0, 3, 2]), 4).float()  # own; both; other; none; other
    assert float(hits(logits, LABELS, MixedLabels(OTHERS, 0.7))) == pytest.approx(0.7 + 1.0 + 0.3 + 0.0 + 0.3)
    assert int(hits(logits, LABELS, None)) == 2


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_soft_distillation_is_the_divergence_from_the_teachers_probabilities(temperature: float) -> None:
    batch, student, taught = TrainingBatch(drawn(1, 5, 3, 2, 2), LABELS), drawn(2, 5, 4), teacher("soft", temperature)
    answers = taught.model(batch.images) / temperature
    divergence = 0.0
    for theirs, ours in zip(answers.softmax(1), (student / temperature).softmax(1), strict=True):
        divergence += sum(float(p * (p / q).log()) for p, q in zip(theirs, ours, strict=True)) / 5
    expected = 0.7 * float(F.cross_entropy(student, LABELS)) + 0.3 * temperature**2 * divergence
    assert float(logits_and_loss(student, batch, 0.0, taught)[1]) == pytest.approx(expected, rel=1e-4)


def test_hard_distillation_learns_the_teachers_best_guess() -> None:
    batch, student, taught = TrainingBatch(drawn(1, 5, 3, 2, 2), LABELS), drawn(2, 5, 4), teacher("hard")
    guesses = taught.model(batch.images).argmax(1)
    expected = 0.7 * F.cross_entropy(student, LABELS) + 0.3 * F.cross_entropy(student, guesses)
    torch.testing.assert_close(logits_and_loss(student, batch, 0.0, taught)[1], expected)


def test_of_two_classifiers_the_second_learns_the_teacher() -> None:
    batch, outputs, taught = TrainingBatch(drawn(1, 5, 3, 2, 2), LABELS), (drawn(2, 5, 4), drawn(3, 5, 4)), teacher("hard")
    guesses = taught.model(batch.images).argmax(1)
    expected = 0.7 * F.cross_entropy(outputs[0], LABELS) + 0.3 * F.cross_entropy(outputs[1], guesses)
    logits, loss = logits_and_loss(outputs, batch, 0.0, taught)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(logits, (outputs[0] + outputs[1]) / 2)


def test_a_teacher_of_other_colours_is_given_its_own() -> None:
    pixels, options = torch.rand(5, 3, 2, 2, generator=torch.Generator().manual_seed(0)), DistillationOptions(teacher="state0")
    model, others = nn.Sequential(nn.Flatten(), nn.Linear(12, 4)), ([0.1, 0.6, 0.5], [0.4, 0.2, 0.25])

    def normalised(colours: tuple[list[float], list[float]]) -> Tensor:
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in colours)
        return (pixels - mean) / std

    found = Teacher(model, options, (others, COLOURS), CPU, 48).answer(normalised(COLOURS))
    torch.testing.assert_close(found, model(normalised(others)), rtol=1e-5, atol=1e-5)


def test_a_teacher_is_in_evaluation_mode_and_learns_nothing() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 4)).train()
    taught = Teacher(model, DistillationOptions(teacher="state0"), (COLOURS, COLOURS), CPU, 48)
    images = drawn(1, 5, 3, 2, 2)
    assert torch.equal(taught.answer(images), taught.answer(images)) and not taught.answer(images).requires_grad
    student = drawn(2, 5, 4).requires_grad_()
    taught.loss(student, taught.answer(images)).backward()
    assert student.grad is not None and all(parameter.grad is None for parameter in model.parameters())
