"""Figures of one family of models beside the library's own: its steps, and pruning beside torch-pruning."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.figure import Figure
from benchmarks.scale import MINI, Scale
from benchmarks.timing import quartiles, ratios, take_turns
from benchmarks.workbench import compact_state, dense_state, make_job, one_step
from prune.engine.job import Job
from prune.engine.state import PruningState
from prune.pruning.keepset import KeepSet

PRUNED = ("method=refill", "method.rewind=none", "schedule.states=2", "schedule.target=0.7")
"""One state at 70 %."""

OtherPruner = Callable[[nn.Module, torch.Tensor], None]
"""Prunes a model in place to 30 % of its units by magnitude, given an example of its input."""


@dataclass(frozen=True)
class Family:
    """What is measured of a family.

    Attributes:
        model: overrides that choose a preset, without weights of the network's; `mini` the same in miniature.
        batch_size: training images per step.
        compact_limit: what a step at 70 % / dense should be at most.
        other_pruner: torch-pruning doing the same; None where it cannot.
    """

    model: tuple[str, ...]
    mini: tuple[str, ...]
    batch_size: int
    compact_limit: float
    other_pruner: OtherPruner | None = None

    def job(self, scale: Scale, folder: Path) -> Job:
        if scale is MINI:
            return make_job(folder, replace(scale, model=self.mini), *PRUNED)
        return make_job(folder, replace(scale, model=self.model, batch_size=self.batch_size), *PRUNED)


def compact_step(name: str, family: Family, scale: Scale, folder: Path) -> Figure:
    """Training step at 70 % / dense training step."""
    job = family.job(scale, folder)
    small = compact_state(job, 1)
    times = take_turns({"dense": one_step(job, dense_state(job)), "compact": one_step(job, small)}, scale.rounds)
    macs = small.sizes()["macs"] / job.architecture.structure.macs()
    rounds = ratios(times["compact"], times["dense"])
    seconds = quartiles(times["dense"])[1]
    return Figure.of(f"{name}_compact", rounds, family.compact_limit, True, macs_left=macs, dense_seconds=seconds)


def dense_step(name: str, family: Family, scale: Scale, folder: Path) -> Figure:
    """Our dense training step / the same loop's step with the library's modules as they are."""
    job, library = family.job(scale, folder), family.job(scale, folder)
    library.architecture.fast_paths = lambda model, device: []  # type: ignore[method-assign]
    calls = {"ours": one_step(job, dense_state(job)), "plain": one_step(library, dense_state(library))}
    times = take_turns(calls, 2 * scale.rounds)
    rounds = ratios(times["ours"], times["plain"])
    return Figure.of(f"{name}_dense", rounds, 1.02, True, library_seconds=quartiles(times["plain"])[1])


def prune_time(name: str, family: Family, scale: Scale, folder: Path) -> Figure:
    """Rank by magnitude and slice / torch-pruning doing the same, from its trace of the graph on."""
    assert family.other_pruner is not None
    job, pruner = family.job(scale, folder), family.other_pruner
    architecture = job.architecture
    dense = dense_state(job).model
    images = torch.randn(1, architecture.channels, *architecture.image_size)

    def prepared() -> tuple[PruningState, nn.Module]:
        return job.state(1, copy.deepcopy(dense), KeepSet.dense(architecture.structure)), copy.deepcopy(dense)

    # Every call prunes a model of its own; the copies are made beforehand.
    repeats = max(2, scale.rounds // 3)
    models = [prepared() for _ in range(repeats + 1)]
    mine, theirs = iter([state for state, _ in models]), iter([model for _, model in models])

    def ours() -> None:
        state = next(mine)
        state.remove(state.choose(state.score()))

    times = take_turns({"ours": ours, "torch-pruning": lambda: pruner(next(theirs), images)}, repeats)
    rounds = ratios(times["ours"], times["torch-pruning"])
    milliseconds = {f"{key}_ms": 1000 * quartiles(values)[1] for key, values in times.items()}
    return Figure.of(f"{name}_prune", rounds, 0.2, True, **milliseconds)


def torch_pruning_of_swin(model: nn.Module, images: torch.Tensor) -> None:
    """Heads and neurons of timm's Swin, by torch-pruning's own pruner for attention; it cuts no tables of positions."""
    import torch_pruning as tp  # type: ignore[import-untyped]

    blocks: list[Any] = [module for module in model.modules() if type(module).__name__ == "SwinTransformerBlock"]
    tables = [parameter for name, parameter in model.named_parameters() if name.endswith("relative_position_bias_table")]
    graph = tp.DependencyGraph().build_dependency(model, example_inputs=images, ignored_params=tables, verbose=False)
    importance = tp.importance.MagnitudeImportance(p=1)
    found = []
    for block in blocks:
        attention, mlp = block.attn, block.mlp
        lanes, rows = list(range(attention.proj.in_features)), list(range(mlp.fc1.out_features))
        heads = graph.get_pruning_group(attention.proj, tp.prune_linear_in_channels, idxs=lanes)
        found.append((block, "heads", importance(heads).view(attention.num_heads, -1).sum(1)))
        neurons = graph.get_pruning_group(mlp.fc1, tp.prune_linear_out_channels, idxs=rows)
        found.append((block, "neurons", importance(neurons)))
    for kind in ("heads", "neurons"):
        scores = torch.cat([score for _, of, score in found if of == kind])
        threshold = scores.sort().values[round(0.7 * len(scores)) - 1]
        for block, of, score in found:
            if of == kind:
                gone = (score <= threshold).nonzero().flatten()
                gone = gone[: len(score) - 1]  # a block keeps one
                _remove_of_swin(graph, block, kind, gone)


def _remove_of_swin(graph: Any, block: Any, kind: str, gone: torch.Tensor) -> None:
    import torch_pruning as tp

    if not len(gone):
        return
    if kind == "neurons":
        graph.get_pruning_group(block.mlp.fc1, tp.prune_linear_out_channels, idxs=gone.tolist()).prune()
        return
    attention = block.attn
    width = attention.proj.in_features // attention.num_heads
    lanes = (gone[:, None] * width + torch.arange(width)).flatten().tolist()
    graph.get_pruning_group(attention.proj, tp.prune_linear_in_channels, idxs=lanes).prune()
    attention.num_heads -= len(gone)


FAMILIES = {
    "swin": Family(
        ("model=swin_tiny", "model.pretrained=false"),
        ("model=swin_micro", "model.patch_size=8"),
        batch_size=32,
        compact_limit=0.40,
        other_pruner=torch_pruning_of_swin,
    ),
}
"""Preset → what is measured of it."""


def family_figures() -> dict[str, Callable[[Scale, Path], Figure]]:
    """Figures by name: `swin_compact`, `swin_dense`, `swin_prune`."""
    figures: dict[str, Callable[[Scale, Path], Figure]] = {}
    for name, family in FAMILIES.items():
        for kind, measure in (("compact", compact_step), ("dense", dense_step), ("prune", prune_time)):
            if kind != "prune" or family.other_pruner is not None:
                figures[f"{name}_{kind}"] = _bound(measure, name, family)
    return figures


def _bound(measure: Callable[..., Figure], name: str, family: Family) -> Callable[[Scale, Path], Figure]:
    return lambda scale, folder: measure(name, family, scale, folder)
