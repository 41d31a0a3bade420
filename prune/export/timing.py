"""Time models side by side: the same images through each in turn, many times over, in one process."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from prune.base.errors import UserError
from prune.export.onnx_file import RawImages, to_onnx
from prune.rundir.manifest import Manifest

Call = Callable[[], object]


@dataclass(frozen=True)
class Latency:
    """Times of one forward pass: median and 90th percentile in milliseconds, throughput at the median, passes timed."""

    median_ms: float
    p90_ms: float
    images_per_second: float
    passes: int

    @classmethod
    def of(cls, seconds: list[float], batch_size: int) -> Latency:
        median = float(np.median(seconds))
        return cls(1000 * median, 1000 * float(np.percentile(seconds, 90)), batch_size / median, len(seconds))


def measure(calls: Mapping[str, Call], batch_size: int, repeats: int, seconds: float, warmup: int) -> dict[str, Latency]:
    """Time each call at least `repeats` times and, all together, for at least `seconds`, after `warmup` untimed ones.

    The calls take turns, and every other round runs backwards, so that whatever else the machine does, and its clock,
    affect all of them alike.
    """
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(warmup):
        for call in calls.values():
            call()
    started = time.perf_counter()
    order = list(calls)
    while len(taken[order[0]]) < repeats or time.perf_counter() - started < seconds:
        for name in order:
            began = time.perf_counter()
            calls[name]()
            taken[name].append(time.perf_counter() - began)
        order.reverse()
    return {name: Latency.of(times, batch_size) for name, times in taken.items()}


class TorchEngine:
    """Torch, eager, float32."""

    def __init__(self, device: torch.device, threads: int):
        self.device = device

    def prepare(self, model: nn.Module, manifest: Manifest) -> Any:
        return RawImages(model, manifest).eval().to(self.device)

    def call(self, prepared: Any, images: np.ndarray) -> Call:
        batch = torch.from_numpy(images).to(self.device)

        def once() -> None:
            with torch.inference_mode():
                prepared(batch)
            if self.device.type == "cuda":  # kernels are queued: wait until they have run
                torch.cuda.synchronize(self.device)

        return once


class OnnxEngine:
    """onnxruntime, on what `prune export --onnx` writes; inputs and outputs stay on the device."""

    def __init__(self, device: torch.device, threads: int):
        import onnxruntime

        self.device, self.index = device.type, device.index or 0
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        # Otherwise one session's idle threads would spin on while the other session is timed.
        self.options.add_session_config_entry("session.force_spinning_stop", "1")

    def prepare(self, model: nn.Module, manifest: Manifest) -> Any:
        import onnxruntime

        cuda = [("CUDAExecutionProvider", {"device_id": self.index})] if self.device == "cuda" else []
        providers = [*cuda, "CPUExecutionProvider"]
        return onnxruntime.InferenceSession(to_onnx(model, manifest), self.options, providers=providers)

    def call(self, prepared: Any, images: np.ndarray) -> Call:
        import onnxruntime

        binding = prepared.io_binding()
        binding.bind_ortvalue_input("images", onnxruntime.OrtValue.ortvalue_from_numpy(images, self.device, self.index))
        binding.bind_output("logits", self.device, self.index)

        def once() -> None:
            prepared.run_with_iobinding(binding)
            binding.synchronize_outputs()

        return once


def make_engine(name: str, device: torch.device, threads: int) -> TorchEngine | OnnxEngine:
    """The engine `torch` or `onnxruntime`.

    Raises:
        UserError: if it is not installed, or cannot use the device.
    """
    if name == "torch":
        return TorchEngine(device, threads)
    reason = why_not_onnxruntime(device)
    if reason:
        raise UserError(f"--engine onnxruntime cannot be measured: {reason}.")
    return OnnxEngine(device, threads)


def why_not_onnxruntime(device: torch.device) -> str | None:
    """Why onnxruntime cannot run here on `device`; None if it can."""
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        return f"{' and '.join(missing)} not installed (pip install 'vit-prune[onnx]')"
    import onnxruntime

    if device.type == "cuda" and "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return "this onnxruntime has no CUDA support (pip install onnxruntime-gpu, or measure with --device cpu)"
    return None


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Within this context torch uses `threads` CPU threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
