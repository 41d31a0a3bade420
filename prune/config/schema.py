"""The schema of conf/: every key, its type and its range. No torch, so composing and submitting stay quick."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny

from prune.config.hardware import HardwareConfig
from prune.data.options import DatasetOptions
from prune.errors import UserError
from prune.methods.options import MethodOptions
from prune.registry import Registry
from prune.section import Section
from prune.shape import ViTShape

Rate = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class ModelConfig(Section):
    """A timm ViT. The sizes are stated here so that counts are known without importing torch; the job checks them."""

    name: str = Field(description="a timm model name, or `custom`: timm's VisionTransformer with the sizes below")
    pretrained: bool | str = Field(
        False, description="true: timm's ImageNet weights; a path: a local checkpoint; false: random"
    )
    patch_size: int = Field(ge=1, description="pixels along one side of a patch")
    depth: int = Field(ge=1, description="transformer blocks")
    embed_dim: int = Field(ge=1, description="width of a token")
    num_heads: int = Field(ge=1, description="attention heads per block")
    mlp_ratio: float = Field(gt=0, description="MLP neurons per block / embed_dim")
    class_token: bool = Field(True, description="whether a class token is prepended")
    global_pool: Literal["token", "avg"] = Field("token", description="what the classifier reads")
    drop_rate: float = Field(0.0, ge=0, lt=1, description="dropout before the classifier")
    proj_drop_rate: float = Field(0.0, ge=0, lt=1, description="dropout after attention and in the MLP")
    attn_drop_rate: float = Field(0.0, ge=0, lt=1, description="dropout on attention weights")
    drop_path_rate: float = Field(0.0, ge=0, lt=1, description="stochastic depth, growing linearly with depth")


class ScheduleConfig(Section):
    """States, epochs per state and the rate of each state."""

    states: int = Field(ge=2, description="S, state 0 (dense) included")
    epochs: int = Field(ge=1, description="epochs of each state")
    epochs_first: int | None = Field(None, ge=0, description="epochs of state 0; null: as `epochs`")
    target: Rate = Field(description="the last state's rate, for heads and neurons alike")
    target_heads: Rate | None = Field(None, description="another target for heads")
    target_neurons: Rate | None = Field(None, description="another target for neurons")
    shape: Literal["geometric", "linear", "cubic", "constant"] = Field("geometric", description="how the rate grows")
    rates: list[float] | None = Field(None, description="an explicit list that starts at 0; overrides target and shape")


class OptimConfig(Section):
    """The optimiser, made afresh in each state, and its learning-rate schedule."""

    name: Literal["sgd", "adamw"] = Field(description="which optimiser")
    lr: float = Field(gt=0, description="peak learning rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="SGD only")
    betas: tuple[Share, Share] = Field((0.9, 0.999), description="AdamW only")
    weight_decay: float = Field(ge=0, description="SGD: added to the gradient as wd·w; AdamW: decoupled")
    decay: Literal["all", "matrices"] = Field("all", description="which parameters decay: all, or matrices only")
    batch_size: int = Field(ge=1, description="training images per step")
    warmup_epochs: float = Field(0.0, ge=0, description="the rate climbs linearly over these epochs of each state")
    lr_schedule: Literal["constant", "cosine"] = Field("constant", description="after the warm-up")
    lr_final: float = Field(0.0, ge=0, le=1, description="cosine ends at this share of lr")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="of the training loss only")
    grad_clip: float | None = Field(None, gt=0, description="clip the gradient's norm to this")
    precision: Literal["float32", "tf32", "bf16"] = Field("float32", description="of the matrix products")


class CheckpointConfig(Section):
    """What is kept on disk, and how often."""

    every_seconds: float = Field(0.0, ge=0, description="least time between two saves of last.pt; 0: each epoch")
    keep: Literal["all", "last", "best"] = Field(
        "all", description="all: each state's final and best; best: each state's best; last: the newest state's only"
    )


class LoggerConfig(Section):
    """Weights & Biases. Keys come from the environment only, never from here."""

    name: Literal["none", "wandb"] = Field("none", description="where results go, besides the run's own files")
    project: str = Field("prune-vit", description="W&B project")
    entity: str | None = Field(None, description="W&B user or team; null: your default")
    mode: Literal["auto", "online", "offline", "disabled"] = Field(
        "auto", description="auto: online when a key is set, else offline"
    )
    artifacts: bool = Field(False, description="upload each state's compact model")


def _datasets() -> Registry:
    from prune.data import DATASETS

    return DATASETS


def _methods() -> Registry:
    from prune.methods import METHODS

    return METHODS


CHOSEN_BY_NAME: dict[str, Callable[[], Registry]] = {"dataset": _datasets, "method": _methods}
"""Sections whose keys depend on their `name`; the registry that knows."""


def _options_of(section: str) -> Any:
    """A validator that picks the options class of the section's `name` from its registry."""

    def pick(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if value.get("name") is None:
            raise UserError(f"{section}.name is missing; choose one of {', '.join(CHOSEN_BY_NAME[section]().names())}.")
        return CHOSEN_BY_NAME[section]().load(str(value["name"])).Options.model_validate(value)

    return BeforeValidator(pick)


class RunConfig(Section):
    """One cell of the matrix."""

    name: str = Field("main", pattern=r"^[A-Za-z0-9._+-]+$", description="the sweep: its folder under `outputs`")
    outputs: str = Field("outputs", description="folder of all sweeps")
    seed: int = Field(0, ge=0, description="of weights, data order, augmentation and dropout")
    plan: bool = Field(False, description="only show what would run")
    dataset: Annotated[SerializeAsAny[DatasetOptions], _options_of("dataset")]
    model: ModelConfig
    method: Annotated[SerializeAsAny[MethodOptions], _options_of("method")]
    schedule: ScheduleConfig
    optim: OptimConfig
    hardware: HardwareConfig = HardwareConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    logger: LoggerConfig = LoggerConfig()

    def epochs(self, state: int) -> int:
        """Epochs of a state."""
        first = self.schedule.epochs_first
        return first if state == 0 and first is not None else self.schedule.epochs

    def shape(self, classes: int | None = None) -> ViTShape:
        """The dense model's sizes. `classes` is needed when only the data itself tells them (image_folder)."""
        model, dataset = self.model, self.dataset
        return ViTShape(
            image_size=dataset.size,
            patch_size=model.patch_size,
            channels=dataset.channels,
            classes=classes or dataset.classes or 0,
            embed_dim=model.embed_dim,
            depth=model.depth,
            num_heads=model.num_heads,
            mlp_hidden=int(model.embed_dim * model.mlp_ratio),
            class_token=model.class_token,
        )
