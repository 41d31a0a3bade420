"""From a configuration's `model` section to an architecture, and back to what files say of it."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from prune.architectures.base import make_architecture
from prune.architectures.vit import ViT
from prune.base.errors import UserError
from tests.architectures.vits import MICRO, TINY, Shape
from tests.conftest import Compose


@pytest.mark.parametrize("shape", [MICRO, TINY])
def test_an_architecture_is_rebuilt_from_what_files_say(shape: Shape) -> None:
    """The structure's keys survive JSON, and are all that a pruned model needs."""
    keys = json.loads(json.dumps(shape.architecture.options.structure_keys()))
    again = make_architecture(keys, list(shape.image_size), shape.channels, shape.classes)
    assert isinstance(again, ViT)
    assert again.structure == shape.structure
    assert (again.image_size, again.channels, again.classes) == (shape.image_size, shape.channels, shape.classes)
    assert again.options == shape.architecture.options


def test_how_a_model_is_trained_is_no_part_of_its_structure(compose: Compose) -> None:
    plain, regular = (
        compose("dataset=digits", "model=vit_micro", *overrides)
        for overrides in ((), ("model.drop_rate=0.1", "model.drop_path_rate=0.2", "model.attn_drop_rate=0.3"))
    )
    assert plain.model != regular.model
    assert plain.model.structure_keys() == regular.model.structure_keys()
    assert {"family", "name", "depth", "embed_dim", "num_heads", "mlp_ratio"} <= plain.model.structure_keys().keys()
    assert "pretrained" not in plain.model.structure_keys()


def test_one_number_is_a_square_image() -> None:
    options = MICRO.architecture.options
    assert make_architecture(options, 8, 1, 10).image_size == (8, 8)
    assert make_architecture(options, [8, 12], 1, 10).image_size == (8, 12)


def test_a_family_that_is_not_known_is_refused() -> None:
    keys = {**MICRO.architecture.options.structure_keys(), "family": "resnext"}
    with pytest.raises(UserError, match=r"model\.family.*resnext.*vit") as error:
        make_architecture(keys, 8, 1, 10)
    assert "\n" not in str(error.value)


def test_a_key_that_the_family_does_not_have_is_refused() -> None:
    keys = {**MICRO.architecture.options.structure_keys(), "window_size": 7}
    with pytest.raises(ValidationError, match="window_size"):
        make_architecture(keys, 8, 1, 10)
