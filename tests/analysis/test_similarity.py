"""CKA against loops, and planted truths: a block that hands on its input, a rotation, other images."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prune.analysis import similarity
from prune.analysis.similarity import Similarity, layer_kernels, unbiased_hsic
from prune.pruning.replay import block_modules
from tests.analysis.subjects import MODELS, architecture_of, dense_model, pixels_of, random_images, subject


def naive_hsic(k: np.ndarray, m: np.ndarray) -> float:
    """The estimate as a mean over quadruples of different images (Song et al. 2012, eq. 4), one by one."""
    total, count = 0.0, 0
    for i, j, q, r in itertools.permutations(range(len(k)), 4):
        total += k[i, j] * m[i, j] + k[i, j] * m[q, r] - 2 * k[i, j] * m[i, q]
        count += 1
    return total / count


def test_unbiased_hsic_is_the_mean_over_all_quadruples() -> None:
    features = torch.randn((3, 7, 5), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kernels = features @ features.transpose(1, 2)
    found = unbiased_hsic(kernels)
    for i, j in itertools.product(range(3), repeat=2):
        assert found[i, j].item() == pytest.approx(naive_hsic(kernels[i].numpy(), kernels[j].numpy()), rel=1e-10)


def test_cka_of_two_batches_is_what_another_package_says() -> None:
    """The value is that of `cka_batch` of ckatorch 1.0.3 for these numbers."""
    i = torch.arange(2 * 9 * 4, dtype=torch.float64)
    first = torch.sin(1.7 * i).view(2, 9, 4)
    second = (torch.cos(0.9 * i).view(2, 9, 4) + first**2)[:, :, :3]
    pairs = [torch.stack([x @ x.T, y @ y.T]) for x, y in zip(first, second, strict=True)]
    hsic = sum(unbiased_hsic(kernels) for kernels in pairs)
    assert isinstance(hsic, Tensor)
    assert (hsic[0, 1] / (hsic[0, 0] * hsic[1, 1]).sqrt()).item() == pytest.approx(-0.3103927713517181, abs=1e-12)


def features_of(model: nn.Module, names: list[str], images: Tensor) -> list[np.ndarray]:
    """What the first block is given and what each gives, a row an image."""
    kept: list[Tensor] = []
    handles = [model.get_submodule(names[0]).register_forward_pre_hook(lambda _, given: kept.append(given[0]))]
    handles += [model.get_submodule(name).register_forward_hook(lambda _, __, out: kept.append(out)) for name in names]
    with torch.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    return [tensor.flatten(1).double().numpy() for tensor in kept]


@pytest.mark.parametrize("family", MODELS)
def test_cka_is_that_of_the_naive_estimates_averaged_over_batches(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "BATCH", 7)
    looked_at = subject(family, random_images(14))
    found = Similarity().measure(looked_at)
    assert found["batches"] == 2
    names = list(block_modules(looked_at.dense.model, looked_at.structure).values())
    sums: dict[tuple[str, int, int], float] = {}
    for images, _ in looked_at.images.batches(7):
        kernels = [
            [x @ x.T for x in features_of(model, names, images)] for model in (looked_at.dense.model, looked_at.now.model)
        ]
        for i, j in ((0, 0), (1, 2), (2, 1)):
            for key, value in (
                ("cross", naive_hsic(kernels[0][i], kernels[1][j])), ("dense", naive_hsic(kernels[0][i], kernels[0][i])),
                ("now", naive_hsic(kernels[1][j], kernels[1][j])),
            ):  # fmt: skip
                sums[key, i, j] = sums.get((key, i, j), 0) + value
    for i, j in ((0, 0), (1, 2), (2, 1)):
        wanted = sums["cross", i, j] / math.sqrt(sums["dense", i, j] * sums["now", i, j])
        assert found["cka.dense_now"][i, j] == pytest.approx(wanted, abs=1e-4)  # features are float32


def silence(block: nn.Module) -> None:
    """What a block adds to its input becomes zero."""
    for name, parameter in block.named_parameters():
        if name.endswith(("proj.weight", "proj.bias", "fc2.weight", "fc2.bias")) and "in_proj" not in name:
            parameter.zero_()


@pytest.mark.parametrize("family", MODELS)
def test_a_block_that_hands_on_its_input_has_cka_1_with_it(family: str) -> None:
    name = block_modules(dense_model(family), architecture_of(family).structure)[1]
    looked_at = subject(family, edit=lambda model: silence(model.get_submodule(name)), state=0)
    within = Similarity().measure(looked_at)["cka.now"]
    assert within[1, 2] == pytest.approx(1, abs=1e-6)  # layer 1 is what block 0 gives, layer 2 what block 1 gives
    assert within[0, 1] < 0.9999
    np.testing.assert_allclose(np.diag(within), 1, atol=1e-12)


def test_cka_does_not_see_rotation_shift_and_scale_and_sees_independence() -> None:
    draw = torch.Generator().manual_seed(0)
    features = torch.randn((400, 6), generator=draw, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn((6, 6), generator=draw, dtype=torch.float64)).Q
    other = torch.randn((400, 6), generator=draw, dtype=torch.float64)
    kernels = torch.stack([x @ x.T for x in (features, 3 * features @ rotation + 5, other)])
    hsic = unbiased_hsic(kernels)
    root = hsic.diagonal().sqrt()
    cka = hsic / torch.outer(root, root)
    assert cka[0, 1].item() == pytest.approx(1, abs=1e-9)
    assert abs(cka[0, 2].item()) < 0.02  # a biased estimate would be about 6/400 above zero


def test_kernels_do_not_depend_on_a_shift_of_the_features() -> None:
    """They are centred within the batch, which the unbiased estimate must not notice."""
    features = torch.randn((9, 4), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    centred = features - features.mean(0)
    plain = unbiased_hsic(torch.stack([features @ features.T, (features**2) @ (features**2).T]))
    squares = features**2 - (features**2).mean(0)
    np.testing.assert_allclose(unbiased_hsic(torch.stack([centred @ centred.T, squares @ squares.T])), plain, rtol=1e-9)


def test_too_few_images_are_refused() -> None:
    assert "3 validation images are too few" in (Similarity().refuses(subject("vit", random_images(3))) or "")
    assert Similarity().refuses(subject("vit", random_images(4))) is None


@pytest.mark.parametrize("family", MODELS)
def test_layers_are_the_input_and_each_block(family: str) -> None:
    model = dense_model(family)
    names = list(block_modules(model, architecture_of(family).structure).values())
    images, _ = pixels_of(random_images(5))
    kernels = layer_kernels(model, names, images)
    for kernel, features in zip(kernels.values(), features_of(model, names, images), strict=True):
        centred = features - features.mean(0)
        np.testing.assert_allclose(kernel, centred @ centred.T, rtol=1e-3, atol=1e-3 * np.abs(centred).max() ** 2)
