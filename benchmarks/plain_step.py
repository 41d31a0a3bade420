"""The reference loop's dense training step on command: a line on stdin, its seconds as a line on stdout."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.reference_loop import DensePruner, make_optimizer, train_step
from benchmarks.timing import clock
from benchmarks.workbench import compose, random_images
from prune.architectures.build import build_model


def main(batch_size: int, threads: int, overrides: list[str]) -> None:
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        config = compose(Path(folder), *random_images(batch_size), *overrides, f"optim.batch_size={batch_size}")
    architecture = config.architecture(10)
    model = build_model(architecture, config.seed).train()
    optimizer = make_optimizer(config.optim, model)
    images = torch.randn(batch_size, architecture.channels, *architecture.image_size)
    labels = torch.randint(0, 10, (batch_size,))
    pruner = DensePruner()
    for _ in sys.stdin:
        print(json.dumps(clock(lambda: train_step(config.optim, model, optimizer, pruner, 0, images, labels))), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
