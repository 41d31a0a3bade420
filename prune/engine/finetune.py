"""Train a model that was pruned by something else, with the recipe of a run of this project."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from prune.base.errors import UserError
from prune.base.machine import set_cublas_workspace
from prune.config.schema import RunConfig
from prune.engine.device import use_device
from prune.engine.epoch import EpochSums, StepHooks, lr_at, train_epoch
from prune.engine.loaders import load_data
from prune.engine.teacher import Teachers
from prune.engine.training import Training
from prune.rundir.directory import RunDirectory


@dataclass(frozen=True)
class Finetuned:
    """What `finetune` gives. Accuracies are top-1 in percent.

    Attributes:
        model: the model that was given, with the weights of its best epoch on validation.
        best_epoch: which that was, from 0.
        val_accuracy: of each epoch.
        val_accuracy_best, test_accuracy_best: of the best epoch's weights.
        test_accuracy_final: of the last epoch's weights.
    """

    model: nn.Module
    best_epoch: int
    val_accuracy: list[float]
    val_accuracy_best: float
    test_accuracy_best: float
    test_accuracy_final: float


def finetune(model: nn.Module, run: str | Path, state: int | None = None, epochs: int | None = None) -> Finetuned:
    """Train a model as the run trained a state: its data and splits, optimiser, learning-rate schedule, batches and seeds.

    Nothing is written, and no method acts: this is for models that were pruned outside a run and are to be compared with it.

    Args:
        model: normalised images (b, channels, height, width) → logits (b, classes); trained in place, on the run's device.
        run: directory of a run that has begun.
        state: whose epochs and random draws; default: the last one of the schedule.
        epochs: how many, if not as many as the state has.

    Raises:
        UserError: if `run` is no run, its data is missing or has changed, or it has no such state.
        TrainingFailed: if a loss is not finite.
    """
    directory = RunDirectory(Path(run))
    if not (directory.config.is_file() and directory.data.is_file()):
        raise UserError(f"{run} is not the directory of a run that has begun.")
    config = RunConfig.model_validate(directory.read_config())
    index = config.schedule.states - 1 if state is None else state
    if not 0 <= index < config.schedule.states:
        raise UserError(f"state={index}: {run} has states 0 to {config.schedule.states - 1}.")
    set_cublas_workspace()
    device = use_device(config)
    loader, facts = load_data(config, directory.data, device)
    training = Training(
        model.to(device),
        config=config,
        architecture=config.architecture(len(facts.classes)),
        loader=loader,
        device=device,
        index=index,
        epochs=config.epochs_of(index) if epochs is None else epochs,
        teacher=Teachers(config, directory, facts, device).of(index),
    )
    try:
        return _train(training)
    finally:
        loader.close()


def _train(training: Training) -> Finetuned:
    steps = training.loader.steps_per_epoch
    training.start()
    accuracies = [training.validate().accuracy] if training.epochs == 0 else []
    for epoch in range(training.epochs):
        sums = EpochSums.empty(steps, training.device)
        train_epoch(training, StepHooks(), epoch, 0, sums, lambda _: None)
        sums.check_finite(training.index, epoch, steps, lambda step, at=epoch * steps: lr_at(training, at + step))  # type: ignore[misc]
        accuracies.append(training.validate().accuracy)
        training.keep_if_best(epoch)
    final = training.measure("test").accuracy
    if training.best is None:  # no epochs: the model as it came
        return Finetuned(training.model, 0, accuracies, accuracies[0], final, final)
    tensors: dict[str, Tensor] = training.best["tensors"]
    training.model.load_state_dict(tensors)
    best = training.measure("test").accuracy
    training.model.eval()
    return Finetuned(training.model, training.best["epoch"], accuracies, training.best["val_accuracy"], best, final)
