"""Every preset of conf/model: sizes as published, as the library has them, as torch counts them, and as the pages say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from prune.architectures.base import Architecture, make_architecture
from prune.architectures.build import check_model
from tests.conftest import Compose

ROOT = Path(__file__).resolve().parents[2]

PUBLISHED: dict[str, tuple[int, dict[str, int]]] = {
    "vit_tiny": (5_717_416, {"heads": 36, "neurons": 9_216}),
    "vit_small": (22_050_664, {"heads": 72, "neurons": 18_432}),
    "vit_base": (86_567_656, {"heads": 144, "neurons": 36_864}),
    "deit_tiny": (5_717_416, {"heads": 36, "neurons": 9_216}),
    "deit_small": (22_050_664, {"heads": 72, "neurons": 18_432}),
    "deit_base": (86_567_656, {"heads": 144, "neurons": 36_864}),
    "deit_small_distilled": (22_436_432, {"heads": 72, "neurons": 18_432}),
    "deit3_small": (22_059_496, {"heads": 72, "neurons": 18_432}),
    "swin_tiny": (28_288_354, {"heads": 138, "neurons": 17_664}),
    "swin_small": (49_606_258, {"heads": 282, "neurons": 36_096}),
    "swin_base": (87_768_224, {"heads": 376, "neurons": 48_128}),
    "mamba_tiny": (7_148_008, {"channels": 9_216}),
    "mamba_small": (25_796_584, {"channels": 18_432}),
}
"""Parameters at 224 pixels with 1,000 classes (in millions the papers': 5.7, 22, 86; 29, 50, 88; 7, 26), and units."""

AT_224: dict[str, dict[str, int]] = {
    "vit": {"patch_size": 16}, "swin": {"patch_size": 4, "window_size": 7}, "mamba": {"patch_size": 16},
}  # fmt: skip

MICRO: dict[str, tuple[int, dict[str, int]]] = {
    "vit_micro": (86_506, {"heads": 24, "neurons": 576}),
    "swin_micro": (135_042, {"heads": 24, "neurons": 768}),
    "mamba_micro": (64_474, {"channels": 288}),
    "mamba_hybrid_micro": (62_314, {"channels": 192, "neurons": 192}),
}
"""On digits."""


def page(family: str) -> str:
    return (ROOT / "docs" / "families" / f"{family}.md").read_text()


def check_counts(family: Architecture, model: nn.Module) -> None:
    """On the meta device, which counts and computes nothing."""
    check_model(family, model)
    assert sum(parameter.numel() for parameter in model.parameters()) == family.structure.parameters()
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False  # the counter knows matrix products, not every fused kernel
    with FlopCounterMode(display=False) as flops:
        model.eval()(torch.empty((1, family.channels, *family.image_size), device="meta"))
    assert flops.get_total_flops() == 2 * family.structure.macs()


def units(family: Architecture) -> dict[str, int]:
    return family.structure.by_kind(family.structure.dense)


def test_every_preset_is_looked_at() -> None:
    assert {path.stem for path in (ROOT / "conf" / "model").glob("*.yaml")} == PUBLISHED.keys() | MICRO.keys()


@pytest.mark.parametrize("preset", PUBLISHED)
def test_a_preset_is_the_published_model(compose: Compose, preset: str) -> None:
    """At its published size against the library's own model, and as the preset is, at 32 pixels."""
    parameters, wanted = PUBLISHED[preset]
    small = compose("dataset=cifar10", f"model={preset}").architecture(10)
    name, kind = small.options.name, small.options.family
    large = make_architecture({**small.options.model_dump(), **AT_224[kind]}, 224, 3, 1000)
    with torch.device("meta"):
        check_counts(large, timm.create_model(name) if timm.is_model(name) else large.create())
        check_counts(small, small.create())
    assert (large.structure.parameters(), units(large)) == (parameters, wanted)
    assert units(small) == wanted
    assert f" {parameters:,} " in page(kind)
    assert f" {small.structure.parameters():,} " in page(kind)
    assert small.options.pretrained is timm.is_model(name)


@pytest.mark.parametrize("preset", MICRO)
def test_a_micro_preset_is_what_its_page_says(compose: Compose, preset: str) -> None:
    parameters, wanted = MICRO[preset]
    family: Any = compose("dataset=digits", f"model={preset}").architecture(10)
    with torch.device("meta"):
        check_counts(family, family.create())
    assert (family.structure.parameters(), units(family)) == (parameters, wanted)
    assert f" {parameters:,} " in page(family.options.family)
