"""Classify the images of a folder with a pruned model.

    python docs/examples/classify_folder.py outputs/main/cifar10-refill-s0-1a2b3c4d path/to/images

MODEL is what `prune.load` takes: a run's directory (its last finished state), one of its `checkpoints/state_XX` folders, or
a safetensors file in one. Images are found at any depth. Where an image's folder is named after one of the model's classes,
that is taken as its true class, and the accuracy is printed at the end.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

import prune
from prune.base.errors import UserError

EXTENSIONS = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm"}


def main() -> None:
    parser = argparse.ArgumentParser(description="Classify the images of a folder with a pruned model.")
    parser.add_argument("model", type=Path, help="a run's directory, a state's folder, or a safetensors file")
    parser.add_argument("images", type=Path, help="folder with images, at any depth")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()

    paths = sorted(path for path in arguments.images.rglob("*") if path.suffix.lower() in EXTENSIONS)
    if not paths:
        parser.error(f"no images below {arguments.images}")
    try:
        model = prune.load(arguments.model).to(arguments.device)
    except UserError as error:  # one sentence: what is wrong with the model's files
        parser.error(str(error))
    classes = model.manifest.data.classes

    known = right = 0
    for path, probabilities in classify(model, paths, arguments.batch_size, arguments.device):
        confidence, label = probabilities.max(dim=0)
        predicted, truth = classes[int(label)], path.parent.name
        print(f"{path.relative_to(arguments.images)}\t{predicted}\t{100 * confidence:.1f} %")
        known += truth in classes
        right += truth == predicted
    if known:
        print(f"accuracy: {100 * right / known:.2f} % of {known} images")


def classify(model: nn.Module, paths: list[Path], batch_size: int, device: str) -> Iterator[tuple[Path, Tensor]]:
    """Each path with its class probabilities (classes)."""
    data = model.manifest.data
    mean = torch.tensor(data.mean, device=device).view(-1, 1, 1)
    std = torch.tensor(data.std, device=device).clamp_min(1e-6).view(-1, 1, 1)
    for start in range(0, len(paths), batch_size):
        batch = paths[start : start + batch_size]
        images = torch.stack([read(path, model.manifest.architecture) for path in batch]).to(device)
        with torch.inference_mode():
            probabilities = model((images - mean) / std).softmax(dim=1)
        yield from zip(batch, probabilities.cpu(), strict=True)


def read(path: Path, architecture) -> Tensor:  # type: ignore[no-untyped-def]
    """An image as the model saw it in evaluation, before normalisation: (channels, height, width), float32 in [0, 1].

    The largest centred part with the model's proportions, resized to the model's size.
    """
    height, width = architecture.image_size
    with Image.open(path) as file:
        image = file.convert("RGB" if architecture.channels == 3 else "L")
    image = ImageOps.fit(image, (width, height), method=Image.Resampling.BICUBIC)
    pixels = np.asarray(image, dtype=np.float32) / 255
    return torch.from_numpy(pixels).reshape(height, width, architecture.channels).permute(2, 0, 1)


if __name__ == "__main__":
    main()
