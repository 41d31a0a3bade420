"""The interface of a family of models. Its own file imports torch only inside the methods that build or change a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from prune.architectures.group import Structure
from prune.base.errors import UserError
from prune.base.registries import ARCHITECTURES
from prune.base.section import Section

if TYPE_CHECKING:
    from torch import Tensor, nn

    from prune.architectures.attention import AttentionView


class ModelOptions(Section):
    """Keys that all families share. A family states its sizes, so that counts are known without importing torch."""

    NOT_STRUCTURE: ClassVar[tuple[str, ...]] = ("pretrained",)
    """Keys that say how a model is trained, not what it is: they are not part of what a pruned model is rebuilt from."""

    family: str
    name: str = Field(description="a timm model name, or `custom`: the family's model with the sizes below")
    pretrained: bool | str = Field(
        False, description="true: timm's ImageNet weights; a path: a local checkpoint; false: random"
    )

    def structure_keys(self) -> dict[str, Any]:
        """What fixes the structure of the model, for files."""
        return self.model_dump(mode="json", exclude=set(self.NOT_STRUCTURE))


class Architecture(ABC):
    """A model of one family: a configuration's sizes, for images and classes of a dataset.

    Args:
        options: the family's `Options`.
        image_size: (height, width) in pixels.
        channels: of an image.
        classes: 0 where only the data itself will tell; the structure is then that of a model without classifier rows.
    """

    Options: ClassVar[type[ModelOptions]] = ModelOptions

    classifier: ClassVar[tuple[str, ...]] = ("head.",)
    """How the names of the classifier's tensors begin: pretrained ones are used only if they fit."""

    no_attention: ClassVar[str] = "This family does not say how it attends (Architecture.attention)."
    """Why `attention` says nothing, a sentence."""

    def __init__(self, options: Any, image_size: tuple[int, int], channels: int, classes: int):
        self.options, self.image_size, self.channels, self.classes = options, image_size, channels, classes

    def check(self) -> None:  # noqa: B027
        """While composing, without torch: raise `UserError`, naming the keys, for sizes that do not go together."""

    @property
    @abstractmethod
    def structure(self) -> Structure:
        """The units of the dense model and what everything costs, in closed form. No torch. Worth a `cached_property`."""

    @property
    def fixed(self) -> Mapping[str, int] | None:
        """Every parameter of the dense model that no unit owns → its size, by which parts that are not understood are named.
        None: they are noticed by their number alone. No torch."""
        return None

    @abstractmethod
    def create(self) -> nn.Module:
        """The dense model with the library's initial weights, on the default device.

        A model with several classifiers may give a tuple of logits in training mode: each then learns the label (the loss is
        the mean of theirs), and their mean is what counts as the logits.

        Raises:
            UserError: for a name that the library does not know, or options that it refuses.
        """

    def check_model(self, model: nn.Module) -> None:  # noqa: B027
        """Raise `UserError`, naming keys or modules, unless `create`'s model is what the configuration says. That its
        parameters are those of `structure` and `fixed` is checked after this, for every family."""

    def resize(self, model: nn.Module, counts: Mapping[str, int]) -> None:  # noqa: B027
        """Bring modules' own size attributes in line, now that their tensors hold so many units of each group.

        The widths of linear layers are in line already.
        """

    def adapt_weights(self, weights: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """A published checkpoint's tensors under this model's names, resampled to its sizes."""
        return weights

    def attention(self, model: nn.Module) -> Mapping[str, AttentionView]:
        """Group of heads → how a model's heads of it attend, for pictures and measures of it; empty: see `no_attention`."""
        return {}

    def fast_paths(self, model: nn.Module, device: str) -> list[tuple[nn.Module, type]]:
        """(module, class) pairs: what trains faster as which class of the same results (see `architectures/fast`)."""
        return []


def check_patches(image_size: tuple[int, int], patch_size: int) -> None:
    """Raise `UserError`, naming the keys, unless patches tile the image."""
    for side in image_size:
        if side % patch_size:
            shown = side if len(set(image_size)) == 1 else list(image_size)
            raise UserError(f"dataset.image_size={shown} is not divisible by model.patch_size={patch_size}.")


def make_architecture(model: ModelOptions | Mapping[str, Any], image_size: Any, channels: int, classes: int) -> Architecture:
    """The architecture of a configuration's `model` section, validated or as a file holds it.

    Raises:
        UserError: for a family that is not known.
        pydantic.ValidationError: for a mapping that does not fit the family's options.
    """
    options = (
        ARCHITECTURES.load(str(model["family"])).Options.model_validate(dict(model)) if isinstance(model, Mapping) else model
    )
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    family: type[Architecture] = ARCHITECTURES.load(options.family)
    return family(options, (int(height), int(width)), int(channels), int(classes))
