"""latency.json: one pruned model and its dense counterpart, timed side by side on this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from prune.base.errors import UserError
from prune.base.files import write_json
from prune.engine.device import device_name
from prune.export.timing import make_engine, measure, torch_threads
from prune.rundir.loading import load_state
from prune.rundir.locate import StateModel
from prune.rundir.manifest import Manifest
from prune.rundir.status import now

FILE = "latency.json"


@dataclass(frozen=True)
class Settings:
    """What to measure: engines by name, batch sizes in images, timed passes and seconds at least, untimed passes, CPU
    threads, device."""

    engines: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    repeats: int
    seconds: float
    warmup: int
    threads: int
    device: torch.device


def measure_model(
    source: StateModel, settings: Settings, told: Callable[[str], object]
) -> tuple[Manifest, list[dict[str, Any]]]:
    """Measure one model against its dense counterpart, and write latency.json beside it.

    Args:
        source: the pruned model.
        settings: what to measure.
        told: is called with a few words on what is being measured now.

    Returns:
        The model's manifest, and latency.json's `results`: a line per engine, batch size and variant (`dense`, `pruned`).

    Raises:
        UserError: as `prune.load` does, if an engine cannot run here, or if the file cannot be written.
    """
    pruned, manifest = load_state(source)
    models = {"dense": dense_model(manifest), "pruned": pruned}
    results = []
    with torch_threads(settings.threads):
        for name in settings.engines:
            engine = make_engine(name, settings.device, settings.threads)
            told(f"{manifest.run}, state {manifest.state}: preparing {name}")
            prepared = {variant: engine.prepare(model, manifest) for variant, model in models.items()}
            for batch_size in settings.batch_sizes:
                told(f"{manifest.run}, state {manifest.state}: {name}, batch size {batch_size}")
                images = random_images(manifest, batch_size)
                calls = {variant: engine.call(ready, images) for variant, ready in prepared.items()}
                for variant, latency in measure(calls, batch_size, settings.repeats, settings.seconds, settings.warmup).items():
                    results.append({"engine": name, "variant": variant, "batch_size": batch_size, **asdict(latency)})
    content = {
        "machine": machine(settings),
        "time": now(),
        "model": source.which,
        "warmup": settings.warmup,
        "results": results,
    }
    path = source.folder / FILE
    try:
        write_json(path, content)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error}); copy the folder to where it can.") from None
    return manifest, results


def dense_model(manifest: Manifest) -> nn.Module:
    """The model before pruning, with random weights: the time a pass takes does not depend on their values."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return manifest.architecture.create().eval()


def random_images(manifest: Manifest, batch_size: int) -> np.ndarray:
    """Images (batch, channels, height, width), float32 in [0, 1)."""
    shape = (batch_size, manifest.data.channels, *manifest.data.image_size)
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def machine(settings: Settings) -> dict[str, Any]:
    """What the times hold for."""
    device = settings.device
    about = {
        "device": device_name(device),
        "threads": settings.threads,
        "torch": torch.__version__,
    }
    if "onnxruntime" in settings.engines:
        import onnxruntime

        about["onnxruntime"] = onnxruntime.__version__
    return about
