"""The schema of conf/: every key, its type and its range. No torch, so composing and submitting stay quick."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny

from prune.architectures.base import Architecture, ModelOptions, make_architecture
from prune.architectures.group import Structure
from prune.base.errors import UserError
from prune.base.registries import ARCHITECTURES, DATASETS, METHODS
from prune.base.registry import Registry
from prune.base.section import Section
from prune.config.hardware import HardwareConfig
from prune.config.optim import OptimConfig
from prune.config.recipe import RecipeConfig
from prune.data.options import DatasetOptions
from prune.pruning.budget import StateBudget
from prune.pruning.budgets import budgets
from prune.pruning.options import CommonOptions
from prune.pruning.schedule import ScheduleOptions


class CheckpointConfig(Section):
    """What is kept on disk, and how often."""

    every_seconds: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        "auto", description="least time between two saves of last.pt; auto: so that they take 2 % of it; 0: each epoch"
    )
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


CHOSEN_BY_NAME: dict[str, Registry] = {"dataset": DATASETS, "model": ARCHITECTURES, "method": METHODS}
"""Sections whose keys depend on one of them (`dataset.name`, `model.family`); the registry that knows."""


def _options_of(section: str) -> Any:
    """A validator that picks the options class that the section names from its registry."""
    registry = CHOSEN_BY_NAME[section]

    def pick(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if value.get(registry.leaf) is None:
            raise UserError(f"{registry.key} is missing; choose one of {', '.join(registry.names())}.")
        return registry.load(str(value[registry.leaf])).Options.model_validate(value)

    return BeforeValidator(pick)


Control = Literal["random", "reinit", "scratch"]
"""A control of a run (see `prune.sweep.controls`)."""

SCRATCH = "scratch"
"""The method that makes no claim about units or weights, but is a control itself."""

NAME = r"[A-Za-z0-9_][A-Za-z0-9._+-]*"
"""What a sweep may be called: the name of a folder, of no other than its own."""


class RunConfig(Section):
    """One cell of the matrix."""

    name: str = Field("main", pattern=f"^{NAME}$", description="the sweep: its folder under `outputs`")
    outputs: str = Field("outputs", description="folder of all sweeps")
    seed: int = Field(0, ge=0, description="of weights, data order, augmentation and dropout")
    controls: list[Control] | None = Field(
        None, min_length=1, description="start these controls of the sweep's finished runs (experiment=controls)"
    )
    plan: bool = Field(False, description="only show what would run")
    share_dense: bool = Field(True, description="train state 0 once for all runs of the sweep that have the same one")
    dataset: Annotated[SerializeAsAny[DatasetOptions], _options_of("dataset")]
    model: Annotated[SerializeAsAny[ModelOptions], _options_of("model")]
    method: Annotated[SerializeAsAny[CommonOptions], _options_of("method")]
    schedule: ScheduleOptions
    optim: OptimConfig
    recipe: RecipeConfig = RecipeConfig()
    hardware: HardwareConfig = HardwareConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    logger: LoggerConfig = LoggerConfig()

    def architecture(self, classes: int | None = None) -> Architecture:
        """The dense model. `classes` is needed when only the data itself tells them (image_folder)."""
        dataset = self.dataset
        return make_architecture(self.model, dataset.size, dataset.channels, classes or dataset.classes or 0)

    def with_method(self, method: CommonOptions) -> RunConfig:
        """The same with another method."""
        return self.model_copy(update={"method": method})

    def epochs_of(self, state: int) -> int:
        """Epochs of a state: the schedule's, unless the method has other ones."""
        return self.method.epochs(self.schedule, state)

    def epochs_before(self, state: int) -> int:
        """Epochs of all states before a state; with the number of states, those of the whole run."""
        return sum(self.epochs_of(earlier) for earlier in range(state))

    def states_of(self, options: CommonOptions) -> list[int]:
        """The states s ≥ 1 in which a method of these options acts: all, unless it is one of several that take turns."""
        states = range(1, self.schedule.states)
        return [state for state in states if self.method.in_state(state) is options] or list(states)

    def budgets(self, structure: Structure | None = None) -> list[StateBudget]:
        """What each state may keep.

        Args:
            structure: of the dense model, where the data has told more of it than the configuration does.

        Raises:
            UserError: for kinds that the model does not have, and floors that do not fit.
        """
        return budgets(self.schedule, self.method, structure or self.architecture().structure)
