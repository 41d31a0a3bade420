"""What a recipe is called, and what a teacher's key means."""

from __future__ import annotations

from pathlib import Path

import pytest

from prune.config.recipe import DistillationOptions
from tests.conftest import Compose


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ((), "none"),
        (("recipe=light",), "mixup 0.2 + cutmix 0.2 (prob 0.5) + randaugment 1×9"),
        (("recipe=deit",), "mixup 0.8 + cutmix 1 + randaugment 2×27 + erasing 0.25"),
        (
            ("recipe=deit", "recipe.mix.switch_prob=0.2", "recipe.randaugment.ops=0"),
            "mixup 0.8 + cutmix 1 (switch 0.2) + erasing 0.25",
        ),
        (("recipe.mix.cutmix=1", "recipe.mix.switch_prob=0.2"), "cutmix 1"),
        (("recipe.mix.mixup=1", "recipe.mix.prob=0"), "none"),
        (("recipe.distillation.teacher=state0", "recipe.distillation.kind=hard"), "hard teacher state0 (0.5, T 1)"),
    ],
)
def test_words_say_what_is_on(compose: Compose, overrides: tuple[str, ...], words: str) -> None:
    assert compose(*overrides).recipe.words == words


def test_a_teacher_with_a_separator_is_a_path_and_becomes_absolute(compose: Compose, tmp_path: Path) -> None:
    (tmp_path / "best.safetensors").touch()
    found = compose(f"recipe.distillation.teacher={tmp_path}/x/../best.safetensors").recipe.distillation
    assert found.path is not None and found.path.is_absolute() and found.of_timm is None
    assert compose("recipe.distillation.teacher=./run").recipe.distillation.teacher == str(Path.cwd() / "run")


@pytest.mark.parametrize(("given", "of_timm"), [("state0", None), ("resnet50.a1_in1k", "resnet50.a1_in1k"), (None, None)])
def test_a_teacher_without_one_is_a_name(given: str | None, of_timm: str | None) -> None:
    options = DistillationOptions(teacher=given)
    assert options.path is None and options.of_timm == of_timm
