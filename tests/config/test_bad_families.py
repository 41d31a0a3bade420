"""Bad input in each family of models: one sentence that names the key or the tensors, before any training."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import save_file

from prune.architectures.build import build_model
from tests.config.bad_input import check_sentence, check_untrained, launch
from tests.conftest import compose_config

RUN = (
    "experiment=demo",
    "dataset=digits",
    "schedule.states=3",
    "schedule.epochs=1",
    "schedule.epochs_first=1",
    "hardware=cpu",
    "hardware.threads=1",
)

SMALL = {"vit": ("model.depth=1",), "swin": ("model.embed_dim=8",), "mamba": ("model.patch_size=4", "model.embed_dim=16")}
"""Family → what makes its micro model a matter of a second."""

# (what is typed, what the sentence must contain). {weights} are another family's.
TABLE = [
    # a preset that is not there
    ("model=vit_tinny", "model=vit_tinny must be one of deit3_small, "),
    ("model=swin_tny", "swin_base, swin_micro, swin_small, swin_tiny"),
    ("model=mamba_mikro", "mamba_hybrid_micro, mamba_micro, mamba_small, mamba_tiny"),
    # an image that does not divide into patches
    ("model=vit_micro model.patch_size=3", "dataset.image_size=8 is not divisible by model.patch_size=3"),
    ("model=swin_micro model.patch_size=3", "dataset.image_size=8 is not divisible by model.patch_size=3"),
    ("model=mamba_micro model.patch_size=3", "dataset.image_size=8 is not divisible by model.patch_size=3"),
    # kinds that the model has not
    (
        "model=vit_micro method.targets=[channels]",
        "targets names channels, which this model does not have; it has heads, neurons",
    ),
    ("model=swin_micro method.targets=[channels]", "names channels, which this model does not have; it has heads, neurons"),
    ("model=mamba_micro method.targets=[heads]", "method.targets names heads, which this model does not have; it has channels"),
    ("model=mamba_micro schedule.targets={{heads:0.5}}", "schedule.targets names heads, which this model does not have"),
    ("model=mamba_micro model.num_heads=4", "(it is one of model.family=swin, model.family=vit)"),
    # scores that cannot be compared
    ("model=vit_micro method.pools=joint method.criterion=activation", "method.criterion=activation cannot be compared"),
    ("model=swin_micro method.pools=joint method.criterion=activation", "method.criterion=activation cannot be compared"),
    ("model=mamba_hybrid_micro method.pools=joint method.criterion=activation", "activation cannot be compared between kinds"),
    # weights of another family, and weights that there are none of
    ("model=vit_micro model.pretrained={swin}", "model.pretrained"),
    ("model=swin_micro model.pretrained={vit}", "but a plain ViT's blocks.0.attn.qkv.weight"),
    ("model=swin_micro model.pretrained={mamba}", "they have no layers.0.blocks.0.attn.relative_position_bias_table"),
    ("model=mamba_micro model.pretrained={vit}", "it has blocks, cls_token, fc_norm, which the model has not"),
    ("model=vit_micro model.pretrained=true", "model.name=custom has no pretrained weights"),
    ("model=swin_micro model.pretrained=true", "model.name=custom has no pretrained weights"),
    ("model=mamba_micro model.pretrained=true", "model.pretrained=true: timm has no weights of mamba"),
    # names of another family's models
    ("model=swin_tiny model.name=vit_tiny_patch16_224", "model.name='vit_tiny_patch16_224' is not a Swin"),
    ("model=vit_tiny model.name=swin_tiny_patch4_window7_224", "model.name='swin_tiny_patch4_window7_224' is not a ViT"),
    # quotas below the floors
    ("model=vit_micro method.min_per_block=3", "does not fit: state 2 keeps 7 heads in 3 blocks of 8"),
    ("model=swin_micro method.min_per_block=3", "does not fit: state 2 keeps 7 heads in 4 blocks of 4 to 8"),
    (
        "model=swin_micro method.scope=layer method.min_per_block=4",
        "state 1 keeps 13 heads in 4 blocks of 4 to 8",
    ),
    ("model=mamba_micro method.min_per_block=60", "does not fit: state 1 keeps 158 channels in 3 blocks of 96"),
    # sizes that contradict each other
    ("model=swin_micro model.num_heads=[4]", "model.num_heads=[4] and model.depths=[2, 2] must name as many stages"),
    ("model=swin_micro model.num_heads=[3,8]", "the 32 channels of stage 0"),
    ("model=mamba_micro model.expand=0", "model.expand=0 must be a whole number from 1 to 1024"),
    ("model=mamba_micro model.depth=100000", "model.depth=100000 must be a whole number from 1 to 1000"),
    ("model=swin_micro model.depths=[2,100000]", "a whole number from 1 to 1000"),
    ("model=vit_micro model.mlp_ratio=0.01", "model.mlp_ratio=0.01 of model.embed_dim=48 gives no neuron"),
    ("model=swin_micro model.mlp_ratio=0.01", "model.mlp_ratio=0.01 of model.embed_dim=32 gives no neuron"),
    ("model=mamba_micro model.mlp_ratio=0.01", "model.mlp_ratio=0.01 of model.embed_dim=48 gives no neuron"),
]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Family → a file of weights of its micro model."""
    base = tmp_path_factory.mktemp("weights")
    found = {}
    for family in ("vit", "swin", "mamba"):
        config = compose_config(base / "outputs", *RUN, f"model={family}_micro", *SMALL[family])
        found[family] = base / f"{family}.safetensors"
        save_file(build_model(config.architecture(), seed=0).state_dict(), found[family])
    return found


@pytest.mark.parametrize(("overrides", "fragment"), TABLE, ids=[overrides for overrides, _ in TABLE])
def test_one_sentence_before_any_training(
    overrides: str, fragment: str, weights: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch(*RUN, f"outputs={tmp_path}", *overrides.format(**weights).split()) == 1
    check_sentence(capsys.readouterr().err, fragment)
    check_untrained(tmp_path)


@pytest.mark.parametrize("family", ["vit", "swin", "mamba"])
def test_a_familys_own_file_is_loaded_whole(
    family: str, weights: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = ("schedule.states=2", f"model={family}_micro", f"model.pretrained={weights[family]}", f"outputs={tmp_path}")
    assert launch(*RUN, *keys, *SMALL[family]) == 0
    assert "error" not in capsys.readouterr().err
