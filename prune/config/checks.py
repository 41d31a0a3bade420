"""Checks that involve more than one key of the configuration."""

from __future__ import annotations

from itertools import pairwise

from prune.base.errors import UserError
from prune.base.registries import CRITERIA, METHODS
from prune.config.describe import show
from prune.config.hardware import READ_BY, HardwareConfig
from prune.config.recipe import STATE_0
from prune.config.schema import RunConfig
from prune.pruning.options import MethodOptions, ScoredOptions, rewind_epoch


def cross_check(config: RunConfig) -> None:
    """Raise `UserError`, one sentence that names the keys, unless the sections fit together."""
    config.architecture().check()
    _check_schedule(config)
    _check_optimiser(config)
    _check_recipe(config)
    for part in config.method.parts:
        _check_ranking(config, part)
    config.budgets()  # raises where a kind is unknown or an explicit floor does not fit
    _check_hardware(config)
    METHODS.load(config.method.name).check(config, config.method)


def _check_schedule(config: RunConfig) -> None:
    schedule = config.schedule
    listed = schedule.rates
    if schedule.measure != "units" and schedule.targets is not None:
        raise UserError(
            f"schedule.measure={schedule.measure} gives the whole model one rate, so schedule.targets must be null; give one "
            "of them."
        )
    if listed is not None:
        if schedule.targets is not None:
            raise UserError("schedule.rates fixes the rate of every kind, so schedule.targets must be null; give one of them.")
        if len(listed) != schedule.states:
            raise UserError(
                f"schedule.rates has {len(listed)} entries but schedule.states={schedule.states}; they must be equal."
            )
        if listed[0] != 0:
            raise UserError(f"schedule.rates must start at 0 (state 0 is dense), not at {listed[0]:g}.")
        if any(later < earlier for earlier, later in pairwise(listed)):
            raise UserError(f"schedule.rates={show(listed)} falls; each rate must be at least the one before.")
        if not 0 < listed[-1] < 1:
            raise UserError(f"schedule.rates must end above 0 and below 1, not at {listed[-1]:g}.")
    for point in config.method.rewind_points:
        epoch, dense = rewind_epoch(point), schedule.epochs_of(0)
        if epoch is not None and epoch >= dense:
            first = "schedule.epochs" if schedule.epochs_first is None else "schedule.epochs_first"
            raise UserError(
                f"method.rewind={point} lies beyond state 0: with {first}={dense} K must be less than {dense}."
                if dense
                else f"method.rewind={point} needs epochs in state 0, but {first}=0; set method.rewind=init or none."
            )


def _check_optimiser(config: RunConfig) -> None:
    optim = config.optim
    schedule = config.schedule
    for key in ("epochs", "epochs_last"):
        epochs = getattr(schedule, key)
        if epochs is not None and optim.warmup_epochs > epochs:
            raise UserError(f"optim.warmup_epochs={optim.warmup_epochs:g} is longer than a state (schedule.{key}={epochs}).")


def _check_recipe(config: RunConfig) -> None:
    recipe, dataset = config.recipe, config.dataset
    if recipe.mix.on and config.optim.batch_size < 2:
        raise UserError(
            "recipe.mix mixes the images of a batch with each other, so optim.batch_size must be at least 2, not 1."
        )
    if recipe.randaugment.on and dataset.channels not in (1, 3):
        raise UserError(
            f"recipe.randaugment works on images of 1 or 3 channels, not dataset.channels={dataset.channels}; set "
            "recipe.randaugment.ops=0."
        )
    if recipe.distillation.teacher == STATE_0 and not config.schedule.epochs_of(0) and not config.model.pretrained:
        raise UserError("recipe.distillation.teacher=state0 would be an untrained model, because schedule.epochs_first=0.")


def _check_hardware(config: RunConfig) -> None:
    hardware = config.hardware
    for key, launchers in READ_BY.items():
        if hardware.launcher not in launchers and getattr(hardware, key) != HardwareConfig.model_fields[key].default:
            names = " or ".join(f"hardware={name}" for name in launchers)
            raise UserError(f"hardware.{key} is read by {names} only; add that, or leave it out.")
    if hardware.launcher != "slurm":
        return
    if hardware.signal_seconds >= 60 * hardware.time_minutes:
        raise UserError(
            f"hardware.signal_seconds={hardware.signal_seconds} leaves nothing of hardware.time_minutes="
            f"{hardware.time_minutes}; it must be less."
        )
    if hardware.gpus == 0 and hardware.device.startswith("cuda"):
        raise UserError(
            f"hardware.gpus=0 but hardware.device={hardware.device}; on nodes without GPUs set hardware.device=cpu."
        )


def _check_ranking(config: RunConfig, method: MethodOptions) -> None:
    scored = method if isinstance(method, ScoredOptions) else None
    criterion = None if scored is None else CRITERIA.load(scored.criterion)
    if method.pools == "joint":
        if method.targets != "all":
            raise UserError(
                f"method.pools=joint ranks all kinds of unit together, so it needs method.targets=all, not "
                f"{show(method.targets)}."
            )
        if method.compares_kinds and scored is not None and criterion is not None and not criterion.has_densities():
            raise UserError(
                f"method.criterion={scored.criterion} cannot be compared between kinds of unit; set method.pools=separate."
            )
        if method.scope == "layer":
            raise UserError("method.pools=joint ranks all blocks in one list, so it needs method.scope=global or sensitivity.")
        if method.block_rates is not None:
            raise UserError("method.pools=joint ranks all blocks in one list, so method.block_rates must be null.")
    if method.scope == "sensitivity" and method.prunes:
        if method.block_rates is not None:
            raise UserError("method.scope=sensitivity says how much each block loses, so method.block_rates must be null.")
        if scored is None:
            raise UserError(
                f"method.scope=sensitivity needs method.calibration_batches, which method={method.name} has not; set another "
                "scope."
            )
    if criterion is not None:
        criterion.check(config.with_method(method))
