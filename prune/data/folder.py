"""Any images in folders by class: root/train/class/*.jpg and root/test or root/val. ImageNet, Tiny-ImageNet, CUB, Dogs."""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from prune.base.errors import UserError
from prune.base.text import printable
from prune.data.base import Dataset, FileSplit, Splits
from prune.data.options import Augment, DatasetOptions

EXTENSIONS = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm"}


class FolderAugment(Augment):
    crop_scale: float = Field(1.0, gt=0, le=1, description="crop a random part of at least this area; 1: off")


class ImageFolderOptions(DatasetOptions):
    root: str = Field(description="folder with train/ and test/ or val/")
    channels: Literal[1, 3] = Field(3, description="1: grey; 3: RGB")
    val_fraction: float = Field(0.1, gt=0, lt=1, description="share split off train/ where a part is missing")
    resident: Literal["auto"] | bool = Field(
        "auto", description="decode all images once and keep them on the device; auto: where they fit, uncropped"
    )
    resident_limit_gb: float = Field(4.0, gt=0, le=1e6, description="auto: decoded images of at most so much")
    augment: FolderAugment = FolderAugment()

    @model_validator(mode="after")
    def _cropped_images_stream(self) -> ImageFolderOptions:
        if self.resident is True and self.augment.crop_scale < 1:
            raise UserError(
                f"dataset.resident=true keeps images of one size, and dataset.augment.crop_scale={self.augment.crop_scale:g} "
                "crops them before they are resized; set crop_scale to 1, or resident to false."
            )
        return self

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
            raise UserError(f"dataset.root={root} {'is not a folder' if root.exists() else 'does not exist'}.")
        if not (root / "train").is_dir():
            raise UserError(f"dataset.root={root} has no train/ folder with a folder per class.")
        images = labelled_images(root / "train")
        classes = _check_classes(root / "train", images)
        train = _split(root / "train", images, classes)
        held_out = held_out_folders(root)
        if not held_out:
            raise UserError(f"dataset.root={root} has neither a test/ nor a val/ folder with labels.")
        name = "test" if "test" in held_out else "val"
        test = _split(root / name, labelled_images(root / name), classes)
        if len(held_out) == 2:
            val = _split(root / "val", labelled_images(root / "val"), classes)
        else:
            rest, part = stratified(train.labels, self.options.val_fraction, self.options.split_seed)
            train, val = _take(train, rest), _take(train, part)
        return Splits(train, val, test, classes)

    def training_images(self) -> int | None:
        root = Path(self.options.root)
        if not (root / "train").is_dir():
            return None  # the job says what is wrong
        count = _count_images(root / "train")
        split_off = len(held_out_folders(root)) < 2
        return count - round(count * self.options.val_fraction) if split_off else count

    def fingerprint(self) -> str:
        """SHA-256 over the relative path and size of every image."""
        root = Path(self.options.root)
        digest = hashlib.sha256()
        for path in sorted(path for path in root.rglob("*") if path.suffix.lower() in EXTENSIONS):
            relative = path.relative_to(root)
            if any(part.startswith(".") for part in relative.parts):
                continue
            try:
                size = path.stat().st_size
            except OSError as error:
                raise UserError(f"dataset.root: {printable(path)} cannot be read ({error.strerror}).") from None
            digest.update(os.fsencode(f"{relative.as_posix()}\0{size}\n"))
        return digest.hexdigest()


def labelled_images(folder: Path) -> dict[str, list[Path]]:
    """The images of one split by class, both in the order of their names; classes without images are left out.

    A class is a folder, with its images in it or, as in Tiny-ImageNet, in `images/` below it. Where there is a file of
    annotations (`val/val_annotations.txt`: lines of file name, class, …) it names the class of each file of `images/`.

    Raises:
        UserError: if a folder or that file cannot be read.
    """
    annotations = _annotations(folder)
    if annotations.is_file():
        return _annotated_images(annotations)
    found = {}
    for entry in _entries(folder):
        if entry.is_dir():
            images = _images(Path(entry)) or _images(Path(entry, "images"))
            if images:
                found[entry.name] = images
    return found


def held_out_folders(root: Path) -> list[str]:
    """Which of val/ and test/ there are with labels: Tiny-ImageNet's test/ has images/ alone, whose classes are secret."""
    return [name for name in ("val", "test") if (root / name).is_dir() and not _is_unlabelled(root, name)]


def _is_unlabelled(root: Path, name: str) -> bool:
    folders = [entry.name for entry in _entries(root / name) if entry.is_dir()]
    return folders == ["images"] and not _annotations(root / name).is_file() and not (root / "train" / "images").is_dir()


def _annotations(folder: Path) -> Path:
    return folder / f"{folder.name}_annotations.txt"


def _annotated_images(annotations: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    try:
        lines = annotations.read_text().splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"dataset.root: {annotations} cannot be read ({error}).") from None
    for number, line in enumerate(lines, 1):
        name, _, rest = line.partition("\t")
        label = rest.partition("\t")[0]
        path = annotations.parent / "images" / name
        if not label or not path.is_file():
            raise UserError(f"dataset.root: line {number} of {annotations} names no class, or no file of images/.")
        found.setdefault(label, []).append(path)
    return {label: sorted(found[label]) for label in sorted(found)}


def _images(folder: Path) -> list[Path]:
    images = [entry for entry in _entries(folder) if Path(entry.name).suffix.lower() in EXTENSIONS]
    for entry in images:
        if not entry.is_file() and os.path.exists(entry):  # a pipe would be waited for; a link to nowhere is named when read
            raise UserError(f"dataset.root: {printable(entry.path)} cannot be decoded (it is not a file).")
    return [Path(entry) for entry in images]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder, by name, without hidden files and folders: editors and file browsers keep images there."""
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"dataset.root: {printable(folder)} cannot be read ({error.strerror}).") from None


def _check_classes(folder: Path, images: dict[str, list[Path]]) -> list[str]:
    for name in images:
        if printable(name) != name:
            shown = printable(folder / name)
            raise UserError(f"dataset.root: the folder {shown} has a name that cannot be printed; rename it.")
    if len(images) == 1:
        raise UserError(f"dataset.root: {folder} has images of one class only, {next(iter(images))}; at least two are needed.")
    return list(images)


def _split(folder: Path, images: dict[str, list[Path]], classes: list[str]) -> FileSplit:
    import numpy as np

    unknown = sorted(set(images) - set(classes)) if classes else []
    if unknown:
        names = ", ".join(map(printable, unknown[:5]))
        raise UserError(f"{folder} has classes that train/ lacks: {names}; dataset.root is inconsistent.")
    if not images:
        raise UserError(f"dataset.root: {folder} holds no images (class folders with {', '.join(sorted(EXTENSIONS))}).")
    paths = [path for name in classes for path in images.get(name, [])]
    labels = [label for label, name in enumerate(classes) for _ in images.get(name, [])]
    return FileSplit(paths, np.asarray(labels, dtype=np.int64))


@functools.lru_cache
def _count_images(folder: Path) -> int:
    """Images in class folders; counted once for all cells of a sweep."""
    return sum(map(len, labelled_images(folder).values()))


def _take(split: FileSplit, index) -> FileSplit:  # type: ignore[no-untyped-def]
    return FileSplit([split.paths[i] for i in index], split.labels[index])
