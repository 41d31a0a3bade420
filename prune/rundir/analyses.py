"""analysis/state_XX/NAME.json: what an analysis found in a state, what from, and the figures and arrays beside it. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from prune.base.files import read_json_object, sha256, sha256_of, write_atomically, write_json
from prune.rundir.directory import RunDirectory

FORMAT = 1
"""Of these files. One of another format counts as missing: analyses are computed again, which costs minutes."""


@dataclass(frozen=True)
class Picture:
    """A figure: title and caption, and its two files' content."""

    name: str
    title: str
    caption: str
    wide: bool
    png: bytes
    svg: bytes


class Figure(BaseModel):
    """A figure as the file names it; `NAME.png` and `NAME.svg` lie beside the file."""

    model_config = ConfigDict(frozen=True, strict=True)

    name: str
    title: str
    caption: str
    wide: bool


class Stored(BaseModel):
    """One analysis of one state as its file has it.

    Attributes:
        analysis, title: its name, and what it is called.
        state: of the run.
        sources: all that the numbers depend on: the models' digests, the images, the version of the analysis.
        images: how many validation images were looked at.
        sentences: what can be said of the numbers.
        refused: why there are no numbers; None where there are.
        numbers: single numbers by name; arrays are in NAME.npz.
        figures: in the order in which they are to be shown.
        files: each file beside this one → its sha256.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    format: int
    analysis: str
    title: str
    state: int
    sources: dict[str, Any]
    images: int
    sentences: list[str]
    refused: str | None
    numbers: dict[str, float | int | str | None]
    figures: list[Figure]
    files: dict[str, str]


def folder_of(directory: RunDirectory, state: int) -> Path:
    """Where a state's analyses are."""
    return directory.analysis / f"state_{state:02d}"


def read_stored(directory: RunDirectory, state: int, name: str) -> Stored | None:
    """What an analysis found; None if it is missing, of another format, or damaged, any file beside it included."""
    folder = folder_of(directory, state)
    try:
        stored = Stored.model_validate(read_json_object(folder / f"{name}.json"))
        whole = all(sha256(folder / file) == digest for file, digest in stored.files.items())
    except (ValidationError, OSError, ValueError):
        return None
    needed = {f"{figure.name}.{suffix}" for figure in stored.figures for suffix in ("png", "svg")}
    named = (stored.format, stored.analysis, stored.state) == (FORMAT, name, state)
    return stored if whole and named and needed <= set(stored.files) else None


def picture(directory: RunDirectory, stored: Stored, figure: Figure) -> Picture | None:
    """A stored figure with its content; None if it can no longer be read."""
    place = folder_of(directory, stored.state)
    try:
        png, svg = ((place / f"{figure.name}.{suffix}").read_bytes() for suffix in ("png", "svg"))
    except OSError:
        return None
    return Picture(figure.name, figure.title, figure.caption, figure.wide, png, svg)


def write_stored(directory: RunDirectory, stored: Mapping[str, Any], pictures: list[Any], arrays: bytes | None) -> None:
    """Write an analysis of a state, the file that says what it is last: interrupted, it counts as missing.

    Files that it had before and has no longer, such as a figure that fewer images do not give, are removed.

    Args:
        stored: the fields of `Stored` but `format`, `figures` and `files`.
        pictures: what has the fields of `Picture`.
        arrays: the content of NAME.npz; None where there are no arrays.
    """
    folder, name = folder_of(directory, int(stored["state"])), str(stored["analysis"])
    folder.mkdir(parents=True, exist_ok=True)
    before = read_json_object(folder / f"{name}.json").get("files")
    contents = {f"{found.name}.{suffix}": getattr(found, suffix) for found in pictures for suffix in ("png", "svg")}
    if arrays is not None:
        contents[f"{name}.npz"] = arrays
    for file, content in contents.items():
        write_atomically(folder / file, lambda target, content=content: target.write(content))  # type: ignore[misc]
    figures = [{"name": p.name, "title": p.title, "caption": p.caption, "wide": bool(p.wide)} for p in pictures]
    files = {file: sha256_of(content) for file, content in contents.items()}
    write_json(folder / f"{name}.json", {"format": FORMAT, **stored, "figures": figures, "files": files})
    for file in set(before if isinstance(before, dict) else ()) - set(files):
        (folder / Path(file).name).unlink(missing_ok=True)


def model_digest(directory: RunDirectory, state: int, which: str) -> str | None:
    """The sha256 of a state's model as its manifest has it; None without one."""
    digests = read_json_object(directory.manifest(state)).get("sha256")
    digest = digests.get(which) if isinstance(digests, dict) else None
    return digest if isinstance(digest, str) else None


def is_of_these_models(directory: RunDirectory, stored: Stored) -> bool:
    """Whether the models that an analysis looked at are still the run's."""
    models = stored.sources.get("models")
    return isinstance(models, dict) and all(
        isinstance(place, str)
        and re.fullmatch(r"\d+/\w+", place) is not None
        and model_digest(directory, int(place.split("/")[0]), place.split("/")[1]) == digest
        for place, digest in models.items()
    )


def all_stored(directory: RunDirectory) -> list[Stored]:
    """Every analysis of a run that is whole and of its present models, by state and name."""
    found = []
    for path in sorted(directory.analysis.glob("state_*/*.json")):
        number = path.parent.name.removeprefix("state_")
        stored = read_stored(directory, int(number), path.stem) if number.isdecimal() else None
        if stored is not None and is_of_these_models(directory, stored):
            found.append(stored)
    return found
