"""What every dataset's configuration says."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from prune.base.section import Section

Pixels = Annotated[int, Field(ge=1, le=16_384)]


class Augment(Section):
    """Random changes to training images; validation, test and calibration images are never changed."""

    crop_padding: int = Field(0, ge=0, le=1024, description="pad by this many pixels, then crop at random; 0: off")
    flip: bool = Field(False, description="mirror left-right with probability 1/2")


class DatasetOptions(Section):
    """Keys that all datasets share; a dataset adds its own in a subclass."""

    name: str
    root: str | None = Field(None, description="folder that holds (or receives) the files; null: needs none")
    image_size: Pixels | tuple[Pixels, Pixels] = Field(description="pixels, or [height, width]")
    channels: int = Field(3, ge=1, description="colour channels")
    classes: int | None = Field(None, ge=2, description="number of classes; null: found in the data")
    split_seed: int = Field(0, ge=0, description="fixes the splits, independent of `seed`")
    augment: Augment = Augment()

    @field_validator("image_size")
    @classmethod
    def _square_is_one_number(cls, value: int | tuple[int, int]) -> int | tuple[int, int]:
        """32 and [32, 32] are the same size, so they must be the same configuration."""
        return value[0] if isinstance(value, tuple) and value[0] == value[1] else value

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        size = self.image_size
        return (size, size) if isinstance(size, int) else size

    @property
    def root_counts(self) -> bool:
        """Whether `root` is part of a run's identity (it names the data) or only a place to keep known data."""
        return False
