"""pruned.json: what a compact model is, so that it can be rebuilt and checked without the run that made it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prune.job import Job
    from prune.state import PruningState

FORMAT = 1


def manifest(job: Job, state: PruningState, line: dict[str, Any]) -> dict[str, Any]:
    """The content of pruned.json, except the checksums of the files that it describes.

    `architecture` holds the dense ViT's sizes; `heads` and `neurons` hold, per block, the original indices kept.
    """
    model, shape = job.config.model, job.shape
    return {
        "format": FORMAT,
        "architecture": {
            "name": model.name,
            "image_size": list(shape.image_size),
            "patch_size": shape.patch_size,
            "channels": shape.channels,
            "classes": shape.classes,
            "embed_dim": shape.embed_dim,
            "depth": shape.depth,
            "num_heads": shape.num_heads,
            "mlp_ratio": model.mlp_ratio,
            "class_token": shape.class_token,
            "global_pool": model.global_pool,
        },
        **state.alive.to_lists(),
        "data": {
            "dataset": job.config.dataset.name,
            "classes": job.facts.classes,
            "mean": job.facts.mean,
            "std": job.facts.std,
        },
        "run": job.directory.path.name,
        "method": job.config.method.name,
        "state": line["state"],
        "rate": line["rate"],
        "parameters": line["parameters"],
        "macs": line["macs"],
        "accuracy": {
            "best": {"val": line["val_accuracy_best"], "test": line["test_accuracy_best"]},
            "final": {"val": line["val_accuracy_final"], "test": line["test_accuracy_final"]},
        },
    }
