"""Composed configuration → RunConfig, or one sentence that names the key to change."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from prune.base.errors import UserError
from prune.base.section import Section
from prune.config.checks import cross_check
from prune.config.describe import FORMS, allowed, one_of, owners, section_of, show
from prune.config.recipe import is_path
from prune.config.schema import CHOSEN_BY_NAME, NAME, RunConfig
from prune.config.secrets import SUBMISSION_ONLY


def parse(config: Mapping[str, Any]) -> RunConfig:
    """Validate a resolved configuration.

    Relative paths (outputs, dataset.root, model.pretrained, a teacher) become absolute against the current directory, which is
    the launch directory while composing.

    Raises:
        UserError: what is wrong with each key, joined by semicolons.
    """
    check_place(config.get("outputs"), config.get("name"))
    try:
        parsed = RunConfig.model_validate(_absolute_paths(config))
    except ValidationError as error:
        raise UserError("; ".join(problems(config, error.errors())) + ".") from None
    cross_check(parsed)
    return parsed


def check_place(outputs: object, name: object) -> None:
    """Raise `UserError` where these could name no folder of a sweep's own: all that is written goes below it."""
    if outputs == "":
        raise UserError("outputs is empty; give a folder, as in outputs=outputs.")
    if isinstance(name, str) and not re.fullmatch(NAME, name):
        raise UserError(f"name={show(name)} must be {FORMS['name']}.")


def _absolute_paths(config: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = deepcopy(dict(config))
    for place, key in _paths(result):
        given = place.get(key) if isinstance(place, dict) else None
        if isinstance(given, str) and (key != "teacher" or is_path(given)) and (key != "counts" or given):
            place[key] = str(Path(given).expanduser().absolute())
    return result


def _paths(config: dict[str, Any]) -> Iterator[tuple[Any, str]]:
    """Where a path may stand: a section, as far as it is what it should be, and the key."""
    yield config, "outputs"
    for section, key in (("dataset", "root"), ("model", "pretrained"), ("method", "counts")):
        yield config.get(section), key
    method, recipe = config.get("method"), config.get("recipe")
    yield (recipe.get("distillation") if isinstance(recipe, dict) else None), "teacher"
    phases = method.get("phases") if isinstance(method, dict) else None
    for phase in phases if isinstance(phases, list) else ():
        yield (phase.get("method") if isinstance(phase, dict) else None), "counts"


def problems(config: Mapping[str, Any], details: Iterable[ErrorDetails]) -> list[str]:
    """One problem a key, in words: pydantic reports each branch of a union, and each entry of a list, by itself."""
    found: dict[str, str] = {}
    for detail in details:
        path, sections = _locate(config, detail["loc"])
        key = ".".join(path)
        if key not in found:
            found[key] = _problem(config, detail, path, sections)
    return list(found.values())


def _locate(config: Mapping[str, Any], location: Sequence[int | str]) -> tuple[list[str], list[type[Section]]]:
    """The key at pydantic's location, part by part, and the sections on the way to it.

    What follows a key that is no section (a union's branch, a list's index) is not part of what a user wrote.
    """
    path: list[str] = []
    sections: list[type[Section]] = [RunConfig]
    for part in map(str, location):
        path.append(part)
        below = _section(config, sections[-1], part)
        if below is None:
            break
        sections.append(below)
    return path, sections


def _section(config: Mapping[str, Any], parent: type[Section], key: str) -> type[Section] | None:
    if parent is RunConfig and key in CHOSEN_BY_NAME and key in config:
        return CHOSEN_BY_NAME[key].load(str(config[key][CHOSEN_BY_NAME[key].leaf])).Options
    return section_of(parent.model_fields[key]) if key in parent.model_fields else None


def _problem(config: Mapping[str, Any], detail: ErrorDetails, path: list[str], sections: list[type[Section]]) -> str:
    key, leaf = ".".join(path), path[-1]
    parent = sections[len(path) - 1]
    if leaf not in parent.model_fields:
        return f"{key} is not a key of this configuration ({_advice(config, path, parent)})"
    field = parent.model_fields[leaf]
    value: Any = config
    for part in path:
        if not isinstance(value, Mapping) or part not in value:
            return f"{key} is missing"
        value = value[part]
    shown = key if key in SUBMISSION_ONLY else f"{key}={show(value)}"
    if detail["type"] == "value_error":
        return f"{shown} {detail['msg'].removeprefix('Value error, ')}"
    return f"{shown} must be {allowed(key, field)}"


def _advice(config: Mapping[str, Any], path: list[str], parent: type[Section]) -> str:
    """What the user may have meant by an unknown key: one of another section, one spelt alike, or else what there is."""
    *parents, leaf = path
    others = owners(parents[0], ".".join([*parents[1:], leaf])) if parents else []
    if others:
        return one_of(parents[0], others)
    elsewhere = [
        f"{name}.{leaf}"
        for name in RunConfig.model_fields
        if (section := _section(config, RunConfig, name)) is not None and leaf in section.model_fields
    ]
    if elsewhere:
        return f"did you mean {' or '.join(elsewhere)}?"
    close = difflib.get_close_matches(leaf, parent.model_fields, n=1)
    if close:
        return f"did you mean {'.'.join([*parents, close[0]])}?"
    place = ".".join(parents)
    return f"{place or 'it'} has {', '.join(parent.model_fields)}"
