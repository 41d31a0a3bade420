"""Torch-Pruning's own pruner beside a run of this project: the same dense model, counts, data, recipe and number of epochs.

For each model, data set and seed a run of two states prunes by `taylor`. Torch-Pruning's BasePruner (isomorphic ranking, its
Taylor importance, whole heads) prunes the model that ended the run's state 0 to as many heads and neurons, and `prune.finetune`
trains what it leaves as the run trains its state 1: same batches, learning rates and choice of the best epoch.
"""

from __future__ import annotations

import copy
import json
import logging
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import prune
from benchmarks.timing import quartiles, ratios, take_turns
from benchmarks.workbench import compose
from prune.architectures.base import Architecture
from prune.architectures.build import fit_attributes, restore_model
from prune.base.files import read_jsonl
from prune.engine.cell import run_cell
from prune.engine.epoch import EpochSums, StepHooks, train_epoch
from prune.engine.job import Job, prepare
from prune.engine.stop import Stop
from prune.engine.training import Training
from prune.pruning.keepset import KeepSet
from prune.rundir.checkpoint import read_tensors
from prune.rundir.directory import RunDirectory

MODELS, DATASETS, SEEDS = ("vit_micro", "swin_micro"), ("digits", "digit_pairs"), (0, 1, 2)

CALIBRATION = 8
"""Batches of the training split that both criteria look at."""


@dataclass(frozen=True)
class Pruned:
    """One side of a comparison, with one seed.

    Attributes:
        parameters, macs: of what is left, by torch's own counters; `macs` of one image's forward pass, matrix products alone.
        kept: units by kind.
        accuracy: test, of the epoch that was best on validation; percent.
        prune_seconds: to score, choose and cut; median.
        step_seconds: one training step after; median.
    """

    parameters: int
    macs: int
    kept: dict[str, int]
    accuracy: float
    prune_seconds: float
    step_seconds: float


@dataclass(frozen=True)
class Comparison:
    """Both sides, and the medians of the ratios ours / theirs, taken in turns."""

    model: str
    dataset: str
    seed: int
    dense_accuracy: float
    ours: Pruned
    theirs: Pruned
    prune_ratio: float
    step_ratio: float


def run(mini: bool, file: Path | None) -> None:
    """Compare, print a table, and write every number to `file`."""
    cases = [(model, data, seed) for model in MODELS for data in DATASETS for seed in SEEDS]
    if mini:
        cases = [(model, "digits", 0) for model in MODELS]
    logging.disable(logging.INFO)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for model, data, seed in cases:
            found.append(compare(Path(folder), model, data, seed, mini))
            print(f"{model} on {data}, seed {seed}: done", flush=True)
    Console(width=160).print(table(found))
    if file is not None:
        file.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")


def compare(folder: Path, model: str, dataset: str, seed: int, mini: bool) -> Comparison:
    short = ("schedule.epochs_first=1", "schedule.epochs=1") if mini else ()
    chosen = ("method=refill", "method.criterion=taylor", f"method.calibration_batches={CALIBRATION}", "method.rewind=none")
    about = (f"dataset={dataset}", f"model={model}", "schedule.states=2", f"seed={seed}", "hardware=cpu", *short)
    config = compose(folder, "experiment=demo", *about, *chosen)
    outcome = run_cell(config)
    if outcome.status != "done":
        raise RuntimeError(outcome.error)
    dense, pruned = read_jsonl(outcome.directory.states)
    job = prepare(config, outcome.directory, Stop(), threads=1)
    rounds = 2 if mini else 7

    ours = Ours(job, outcome.directory)
    theirs = Theirs(job, outcome.directory, pruned["kept"])
    cut = take_turns({"ours": ours.prune, "theirs": theirs.prune}, rounds)
    steps = take_turns({"ours": one_step(job, ours.model), "theirs": one_step(job, theirs.model)}, 5 * rounds)
    tuned = prune.finetune(copy.deepcopy(theirs.initial), outcome.directory.path, state=1)

    def side(of: Ours | Theirs, name: str, kept: dict[str, int], accuracy: float) -> Pruned:
        sizes = (sum(p.numel() for p in of.model.parameters()), macs(of.model, config))
        return Pruned(*sizes, kept, accuracy, quartiles(cut[name])[1], quartiles(steps[name])[1])

    return Comparison(
        model, dataset, seed, dense["test_accuracy_best"],
        side(ours, "ours", pruned["kept"], pruned["test_accuracy_best"]),
        side(theirs, "theirs", theirs.kept(), tuned.test_accuracy_best),
        quartiles(ratios(cut["ours"], cut["theirs"]))[1],
        quartiles(ratios(steps["ours"], steps["theirs"]))[1],
    )  # fmt: skip


class Ours:
    """Prunes the run's state 0 as the run does."""

    def __init__(self, job: Job, directory: RunDirectory):
        self.job, self.tensors = job, read_tensors(directory.state(0) / "final.safetensors")
        self.model: nn.Module = nn.Identity()

    def prune(self) -> None:
        structure = self.job.architecture.structure
        self.model = restore_model(self.job.architecture, structure.dense, self.tensors, self.job.device)
        state = self.job.state(1, self.model, KeepSet.dense(structure))
        state.remove(state.choose(state.score()))


class Theirs:
    """Prunes the same model by Torch-Pruning, to as many units of each kind.

    Attributes:
        initial: what it left the first time, before any step was timed on it.
    """

    def __init__(self, job: Job, directory: RunDirectory, keep: dict[str, int]):
        self.job, self.keep = job, keep
        self.tensors = read_tensors(directory.state(0) / "final.safetensors")
        self.model = self.initial = nn.Identity()

    def prune(self) -> None:
        structure = self.job.architecture.structure
        self.model = restore_model(self.job.architecture, structure.dense, self.tensors, self.job.device).eval()
        prune_by_torch_pruning(self.model, self.job.architecture, list(self.job.loader.calibration(1, CALIBRATION)), self.keep)
        if isinstance(self.initial, nn.Identity):
            self.initial = copy.deepcopy(self.model)

    def kept(self) -> dict[str, int]:
        return self.job.architecture.structure.by_kind(counted(self.model, self.job.architecture))


def prune_by_torch_pruning(
    model: nn.Module, architecture: Architecture, data: Sequence[tuple[Tensor, Tensor]], keep: dict[str, int]
) -> None:
    """Its BasePruner on heads and neurons. What it does not know, a head's column of Swin's position tables, is cut here."""
    import torch_pruning as tp  # type: ignore[import-untyped]

    structure = architecture.structure
    attention: list[Any] = [module for module in model.modules() if hasattr(module, "fused_attn")]
    fused = [module.fused_attn for module in attention]
    for module in attention:
        module.fused_attn = False  # its tracer does not see through the fused kernel
    for images, labels in data:
        F.cross_entropy(model(images), labels).backward()
    makers = {model.get_submodule(m.module) for g in structure.groups for m in g.members if m.role == "makes"}
    tables = [model.get_parameter(m.tensor) for g in structure.groups for m in g.members if m.role == "between"]
    others = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d) and module not in makers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says what it would do with embeddings, which no unit touches
        pruner = tp.pruner.BasePruner(
            model, data[0][0][:1], tp.importance.GroupTaylorImportance(), global_pruning=True, isomorphic=True,
            pruning_ratio=ratio(keep["neurons"], structure.units("neurons")),
            head_pruning_ratio=ratio(keep["heads"], structure.units("heads")),
            num_heads={module.qkv: module.num_heads for module in attention},
            prune_num_heads=True, prune_head_dims=False, ignored_layers=[*others, *tables],
        )  # fmt: skip
        readers = {model.get_submodule(group.readers[-1].module): group for group in structure.groups}
        for found in pruner.step(interactive=True):
            dep, channels = found[0]
            if dep.target.module in readers:  # attention: its groups begin at the reader
                _cut_tables(model, readers[dep.target.module], channels)
            found.prune()
    for module, was in zip(attention, fused, strict=True):
        module.fused_attn = was
    model.zero_grad(set_to_none=True)
    fit_attributes(architecture, model, counted(model, architecture))


def ratio(keep: int, units: int) -> float:
    """It keeps int(units · (1 - ratio)): half a unit more than wanted, so that no rounding takes one."""
    return 1 - (keep + 0.5) / units


def _cut_tables(model: nn.Module, group: Any, channels: Sequence[int]) -> None:
    gone = {channel // group.readers[-1].lanes for channel in channels}
    stay = torch.tensor([unit for unit in range(group.count) if unit not in gone])
    for member in group.members:
        if member.role == "between":
            owner, _, leaf = member.tensor.rpartition(".")
            table = model.get_parameter(member.tensor).detach().index_select(member.dim, stay)
            setattr(model.get_submodule(owner), leaf, nn.Parameter(table))


def counted(model: nn.Module, architecture: Architecture) -> dict[str, int]:
    """Group → units, by the size of what reads them."""
    readers = {group.name: group.readers[-1] for group in architecture.structure.groups}
    return {name: model.get_parameter(m.tensor).shape[m.dim] // m.lanes for name, m in readers.items()}


def macs(model: nn.Module, config: Any) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(torch.zeros(1, config.dataset.channels, *config.dataset.size))
    return int(counter.get_total_flops()) // 2


def one_step(job: Job, model: nn.Module) -> Any:
    """A call that makes one training step, as a run makes it."""
    training = Training(
        copy.deepcopy(model), config=job.config, architecture=job.architecture, loader=job.loader, device=job.device,
        index=1, epochs=1,
    )  # fmt: skip
    training.start()
    steps = job.loader.steps_per_epoch
    sums = EpochSums.empty(steps, job.device)
    return lambda: train_epoch(training, StepHooks(), 0, steps - 1, sums, lambda _: None)


def table(found: Sequence[Comparison]) -> Table:
    """A row a model and data set, means over seeds."""
    result = Table(title="Torch-Pruning's BasePruner beside a run: means over seeds; ours / theirs")
    columns = (
        "model",
        "data",
        "dense",
        "kept",
        "parameters",
        "MACs",
        "test accuracy",
        "of each seed",
        "prune ms",
        "ratio",
        "step ms",
        "ratio",
    )
    for column in columns:
        result.add_column(column)
    for model, dataset in dict.fromkeys((one.model, one.dataset) for one in found):
        ones = [one for one in found if (one.model, one.dataset) == (model, dataset)]

        def pair(value: Any, shown: str, ones: Sequence[Comparison] = ones) -> str:
            return " / ".join(format(fmean(value(getattr(one, side)) for one in ones), shown) for side in ("ours", "theirs"))

        result.add_row(
            model, dataset, f"{fmean(one.dense_accuracy for one in ones):.2f}",
            " / ".join(", ".join(f"{n} {kind}" for kind, n in of.kept.items()) for of in (ones[0].ours, ones[0].theirs)),
            pair(lambda of: of.parameters, ",.0f"), pair(lambda of: of.macs, ",.0f"), pair(lambda of: of.accuracy, ".2f"),
            ", ".join(f"{one.ours.accuracy:.1f} / {one.theirs.accuracy:.1f}" for one in ones),
            pair(lambda of: 1000 * of.prune_seconds, ".0f"), f"{fmean(one.prune_ratio for one in ones):.2f}",
            pair(lambda of: 1000 * of.step_seconds, ".1f"), f"{fmean(one.step_ratio for one in ones):.2f}",
        )  # fmt: skip
    return result
