"""What the families of timm's models share: keys for dropout, a model by its name, colour checkpoints for grey images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from prune.architectures.base import ModelOptions
from prune.base.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

DROPOUT = ("drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate")


class TimmOptions(ModelOptions):
    """Keys of a timm model. Its sizes are stated so that counts are known without torch; the job checks them."""

    NOT_STRUCTURE: ClassVar[tuple[str, ...]] = ("pretrained", *DROPOUT)

    drop_rate: float = Field(0.0, ge=0, lt=1, description="dropout before the classifier")
    proj_drop_rate: float = Field(0.0, ge=0, lt=1, description="dropout after attention and in the MLP")
    attn_drop_rate: float = Field(0.0, ge=0, lt=1, description="dropout on attention weights")
    drop_path_rate: float = Field(0.0, ge=0, lt=1, description="stochastic depth, growing linearly with depth")

    @property
    def dropout(self) -> dict[str, float]:
        """The four rates, as timm's models take them."""
        return {key: getattr(self, key) for key in DROPOUT}

    def check_pretrained(self) -> None:
        """Raise `UserError` for weights that timm cannot have."""
        if self.name == "custom" and self.pretrained is True:
            raise UserError("model.name=custom has no pretrained weights of timm's; set model.pretrained=false or to a file.")


def named_model(name: str, family: str, options: dict[str, Any]) -> nn.Module:
    """timm's model of this name, with its initial weights.

    Args:
        family: what a sentence calls it (`ViT`); in lower case its models' names begin so.
        options: what timm is to make otherwise.

    Raises:
        UserError: for a name that timm does not know, or a model that does not take the options.
    """
    import timm

    # Only names in timm's own table: others would make timm look them up on the network.
    if not timm.is_model(name):
        raise UserError(f"model.name={name!r} is not a timm model; `timm.list_models('{family.lower()}*')` lists them.")
    try:
        model: nn.Module = timm.create_model(name, pretrained=False, **options)
    except (TypeError, RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"model.name={name!r} is not a {family} that can be pruned here ({reason}).") from None
    return model


def for_channels(weights: dict[str, Tensor], channels: int) -> dict[str, Tensor]:
    """For grey images the patch embedding of RGB ones is summed over the colours, as timm does."""
    name = "patch_embed.proj.weight"
    kernel = weights.get(name)
    if channels != 1 or kernel is None or kernel.dim() != 4 or kernel.shape[1] != 3:
        return weights
    return {**weights, name: kernel.sum(dim=1, keepdim=True)}
