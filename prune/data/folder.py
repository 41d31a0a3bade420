"""Any images in folders by class: root/train/class/*.jpg and root/test or root/val. Tiny-ImageNet, ImageNet, CUB, Dogs."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Literal

from pydantic import Field

from prune.base.errors import UserError
from prune.data.base import Dataset, FileSplit, Splits
from prune.data.options import Augment, DatasetOptions

EXTENSIONS = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm"}


class FolderAugment(Augment):
    crop_scale: float = Field(1.0, gt=0, le=1, description="crop a random part of at least this area; 1: off")


class ImageFolderOptions(DatasetOptions):
    root: str = Field(description="folder with train/ and test/ or val/")
    channels: Literal[1, 3] = Field(3, description="1: grey; 3: RGB")
    val_fraction: float = Field(0.1, gt=0, lt=1, description="share split off train/ where a part is missing")
    augment: FolderAugment = FolderAugment()

    @property
    def root_counts(self) -> bool:
        return True


class ImageFolder(Dataset):
    """Streams files. With train/ and both others, each is used as it is. With one of test/ and val/, that one is the test
    split (ImageNet's labelled `val` is what papers report) and validation is split off train/."""

    Options = ImageFolderOptions

    def load(self) -> Splits:
        from prune.data.splitting import stratified

        root = Path(self.options.root)
        if not root.is_dir():
            raise UserError(f"dataset.root={root} does not exist.")
        if not (root / "train").is_dir():
            raise UserError(f"dataset.root={root} has no train/ folder with a folder per class.")
        classes = sorted(path.name for path in (root / "train").iterdir() if path.is_dir())
        train = _read(root / "train", classes)
        held_out = [name for name in ("val", "test") if (root / name).is_dir()]
        if not held_out:
            raise UserError(f"dataset.root={root} has neither a test/ nor a val/ folder.")
        test = _read(root / ("test" if "test" in held_out else "val"), classes)
        if len(held_out) == 2:
            val = _read(root / "val", classes)
        else:
            rest, part = stratified(train.labels, self.options.val_fraction, self.options.split_seed)
            train, val = _take(train, rest), _take(train, part)
        return Splits(train, val, test, classes)

    def training_images(self) -> int | None:
        root = Path(self.options.root)
        if not (root / "train").is_dir():
            return None  # the job says what is wrong
        count = _count_images(root / "train")
        split_off = not ((root / "val").is_dir() and (root / "test").is_dir())
        return count - round(count * self.options.val_fraction) if split_off else count

    def fingerprint(self) -> str:
        """SHA-256 over the relative path and size of every image."""
        root = Path(self.options.root)
        digest = hashlib.sha256()
        for path in sorted(path for path in root.rglob("*") if path.suffix.lower() in EXTENSIONS):
            digest.update(f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\n".encode())
        return digest.hexdigest()


def _read(folder: Path, classes: list[str]) -> FileSplit:
    import numpy as np

    found = sorted(path.name for path in folder.iterdir() if path.is_dir())
    unknown = sorted(set(found) - set(classes))
    if unknown:
        raise UserError(f"{folder} has classes that train/ lacks: {', '.join(unknown[:5])}; dataset.root is inconsistent.")
    paths, labels = [], []
    for label, name in enumerate(classes):
        if name in found:
            images = sorted(path for path in (folder / name).iterdir() if path.suffix.lower() in EXTENSIONS)
            paths += images
            labels += [label] * len(images)
    if not paths:
        raise UserError(f"dataset.root: {folder} holds no images (class folders with {', '.join(sorted(EXTENSIONS))}).")
    return FileSplit(paths, np.asarray(labels, dtype=np.int64))


@functools.lru_cache
def _count_images(folder: Path) -> int:
    """Images in class folders; counted once for all cells of a sweep."""
    return sum(path.suffix.lower() in EXTENSIONS for path in folder.glob("*/*"))


def _take(split: FileSplit, index) -> FileSplit:  # type: ignore[no-untyped-def]
    return FileSplit([split.paths[i] for i in index], split.labels[index])
