"""Figures of Swin-Tiny: a step at 70 % beside a dense one, a dense step beside timm's, and pruning beside torch-pruning."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.figure import Figure
from benchmarks.scale import Scale
from benchmarks.step_figures import PRUNED, compact_figure
from benchmarks.timing import quartiles, ratios, take_turns
from benchmarks.workbench import dense_state, make_job, one_step
from prune.engine.state import PruningState
from prune.pruning.keepset import KeepSet

TINY, MICRO = ("model=swin_tiny", "model.pretrained=false"), ("model=swin_micro", "model.patch_size=8")
BATCH = 32


def swin_compact(scale: Scale, folder: Path) -> Figure:
    """Training step at 70 % / dense training step; 32 pixels in patches of 2, batch 32."""
    return compact_figure("swin_compact", 0.40, scale.of(TINY, MICRO, BATCH), folder)


def swin_dense(scale: Scale, folder: Path) -> Figure:
    """Our dense training step / the same loop's step with timm's modules as they are."""
    job, library = (make_job(folder, scale.of(TINY, MICRO, BATCH), *PRUNED) for _ in range(2))
    library.architecture.fast_paths = lambda model, device: []  # type: ignore[method-assign]
    calls = {"ours": one_step(job, dense_state(job)), "plain": one_step(library, dense_state(library))}
    times = take_turns(calls, 2 * scale.rounds)
    rounds = ratios(times["ours"], times["plain"])
    return Figure.of("swin_dense", rounds, 1.02, True, library_seconds=quartiles(times["plain"])[1])


def swin_prune(scale: Scale, folder: Path) -> Figure:
    """Rank by magnitude and slice / torch-pruning doing the same, from its trace of the graph on."""
    job = make_job(folder, scale.of(TINY, MICRO, BATCH), *PRUNED)
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

    times = take_turns({"ours": ours, "torch-pruning": lambda: by_torch_pruning(next(theirs), images)}, repeats)
    rounds = ratios(times["ours"], times["torch-pruning"])
    milliseconds = {f"{key}_ms": 1000 * quartiles(values)[1] for key, values in times.items()}
    return Figure.of("swin_prune", rounds, 0.2, True, **milliseconds)


def by_torch_pruning(model: nn.Module, images: torch.Tensor) -> None:
    """30 % of heads and neurons stay, by magnitude and its own pruner for attention; it cuts no tables of positions."""
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
                _remove(graph, block, kind, gone)


def _remove(graph: Any, block: Any, kind: str, gone: torch.Tensor) -> None:
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
