"""How a family's heads attend, for those who measure or draw it. A family's own view, in a file of its own, imports torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

Place = tuple[float, float]


@dataclass(frozen=True)
class AttentionView(ABC):
    """Of one group of heads: what its module's weights are, and where its tokens lie.

    Attributes:
        places: of each token in the order in which the module is given them: (row, column) of its centre in pixels, within the
            image or, where heads attend within windows, within the window; None for one of no place, as a class token has.
        shown: the token whose attention pictures show, since the classifier reads it; None: the mean over those of a place.
        whole_image: whether all blocks attend over the same tokens of the whole image, so that maps can be followed through.
    """

    places: tuple[Place | None, ...]
    shown: int | None
    whole_image: bool

    @property
    def placed(self) -> list[int]:
        """The tokens that have a place, in order."""
        return [number for number, place in enumerate(self.places) if place is not None]

    @abstractmethod
    def weights(self, module: nn.Module, given: tuple[Any, ...], keywords: dict[str, Any]) -> Tensor:
        """What the module weighs its values by, computed from what it is called with: (samples, heads, queries, keys), each
        query's summing to 1. A sample is an image, or one window of one."""

    @abstractmethod
    def picture(self, values: Tensor) -> Tensor:
        """A number for each token, (samples, heads, tokens), laid out as the image is: (images, heads, height, width)."""
