"""Phases: several methods, each from a state on. They are the classes that they are elsewhere, with options of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError, model_validator

from prune.base.errors import UserError
from prune.base.registries import METHODS
from prune.base.section import Section
from prune.base.text import ranges
from prune.config.parse import problems
from prune.engine.method import Method
from prune.pruning.options import CommonOptions, MethodOptions
from prune.pruning.schedule import ScheduleOptions

if TYPE_CHECKING:
    from prune.config.schema import RunConfig


def _checked(value: Any) -> Any:
    """A phase's method, by the schema of its own; a problem is told as if it stood alone, after the phase's place."""
    if not isinstance(value, dict):
        return value
    if value.get("name") is None:
        raise UserError(f"method.phases: a method has no name; choose one of {', '.join(METHODS.names())}.")
    try:
        registered = METHODS.load(str(value["name"]))
    except UserError as error:
        raise UserError(f"method.phases: {error}") from None
    if not issubclass(registered.Options, MethodOptions):
        raise UserError(f"method.phases: {value['name']} takes turns itself; list its methods instead.")
    try:
        return registered.Options.model_validate(value)
    except ValidationError as error:
        details = [{**detail, "loc": ("method", *detail["loc"])} for detail in error.errors()]
        raise UserError(f"method.phases, {value['name']}: {'; '.join(problems({'method': value}, details))}.") from None  # type: ignore[arg-type]


class Phase(Section):
    """A method and the state at which it takes over."""

    from_state: int = Field(ge=1, description="the first state of the phase")
    method: Annotated[SerializeAsAny[MethodOptions], BeforeValidator(_checked)] = Field(
        description="the method, with its own keys"
    )


class PhasesOptions(CommonOptions):
    phases: tuple[Phase, ...] = Field(
        min_length=1, description="[{from_state: 1, method: {name: rsst, …}}, …]: each method acts until the next takes over"
    )

    @model_validator(mode="after")
    def _one_method_a_state(self) -> PhasesOptions:
        first = self.phases[0]
        if first.from_state > 1:
            raise UserError(
                f"method.phases leaves state {ranges(range(1, first.from_state))} without a method; its first phase must have "
                f"from_state=1, not {first.from_state}."
            )
        for before, after in pairwise(self.phases):
            if after.from_state <= before.from_state:
                raise UserError(
                    f"method.phases overlap: {after.method.name} from state {after.from_state} comes after "
                    f"{before.method.name} from state {before.from_state}; each from_state must be above the one before."
                )
        return self

    @property
    def parts(self) -> tuple[MethodOptions, ...]:
        return tuple(phase.method for phase in self.phases)

    def with_parts(self, change: Callable[[MethodOptions], MethodOptions]) -> CommonOptions:
        changed = tuple(phase.model_copy(update={"method": change(phase.method)}) for phase in self.phases)
        return self.model_copy(update={"phases": changed})

    def in_state(self, state: int) -> MethodOptions:
        return self.parts[self.phase_of(state)]

    def epochs(self, schedule: ScheduleOptions, state: int) -> int:
        return self.in_state(state).epochs(schedule, state)

    def phase_of(self, state: int) -> int:
        """Which phase a state is in; state 0, which prunes nothing, is in the first."""
        return max(sum(phase.from_state <= state for phase in self.phases) - 1, 0)


class Phases(Method):
    Options = PhasesOptions

    def __init__(self, config: RunConfig, options: PhasesOptions):
        super().__init__(config, options)
        self.methods: list[Method] = [METHODS.load(part.name)(config, part) for part in options.parts]

    @classmethod
    def check(cls, config: RunConfig, options: PhasesOptions) -> None:
        last = options.phases[-1]
        if last.from_state >= config.schedule.states:
            raise UserError(
                f"method.phases: {last.method.name} takes over at state {last.from_state}, which never comes; "
                f"schedule.states={config.schedule.states} end with state {config.schedule.states - 1}."
            )
        if len({part.counts for part in options.parts if part.prunes}) > 1:
            raise UserError("method.phases: counts must be the same in all phases that prune, since what is gone stays gone.")
        for number, part in enumerate(options.parts):
            method: type[Method] = METHODS.load(part.name)
            if number and method.changes_state_0:
                raise UserError(f"method.phases: {part.name} acts from state 0 on, so it must be the first phase.")
            method.check(config, part)

    @classmethod
    def macs_per_epoch(cls, config: RunConfig, options: PhasesOptions, sizes: Sequence[int]) -> list[int]:
        """Of each epoch what the method of its state says, which plans as if it acted in all."""
        planned = [METHODS.load(part.name).macs_per_epoch(config, part, sizes) for part in options.parts]
        phase = [options.phase_of(state) for state in range(len(sizes)) for _ in range(config.epochs_of(state))]
        return [planned[which][epoch] for epoch, which in enumerate(phase)]

    def of(self, state: int) -> Method:
        return self.methods[self.options.phase_of(state)]

    def prepare(self, steps_per_epoch: int) -> None:
        for method in self.methods:
            method.prepare(steps_per_epoch)
