"""Composed configuration → RunConfig, or one sentence that names the key to change."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from prune.config.checks import cross_check
from prune.config.schema import RunConfig
from prune.errors import UserError


def parse(config: Mapping[str, Any]) -> RunConfig:
    """Validate a resolved configuration.

    Relative paths (outputs, dataset.root, model.pretrained) become absolute against the current directory, which is the
    launch directory while composing.

    Raises:
        UserError: one sentence per wrong key, joined by semicolons.
    """
    try:
        parsed = RunConfig.model_validate(_absolute_paths(config))
    except ValidationError as error:
        raise UserError("; ".join(_sentence(config, detail) for detail in error.errors()) + ".") from None
    cross_check(parsed)
    return parsed


def _absolute_paths(config: Mapping[str, Any]) -> dict[str, Any]:
    result = {key: dict(value) if isinstance(value, Mapping) else value for key, value in config.items()}
    for section, key in ((None, "outputs"), ("dataset", "root"), ("model", "pretrained")):
        place = result if section is None else result.get(section)
        if isinstance(place, dict) and isinstance(place.get(key), str):
            place[key] = str(Path(place[key]).expanduser().absolute())
    return result


def _sentence(config: Mapping[str, Any], detail: ErrorDetails) -> str:
    # A union's branch or a nested model's class is part of pydantic's location, but not of the key a user wrote.
    path = [part for part in detail["loc"] if _is_key(part)]
    key = ".".join(str(part) for part in path)
    if detail["type"] == "extra_forbidden":
        return f"{key} is not a key of the configuration{_suggestion(config, path)}"
    if detail["type"] == "missing":
        return f"{key} is missing"
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if detail["type"] == "literal_error":
        message = "choose one of " + str(detail["ctx"]["expected"]).replace("'", "").replace(" or ", ", ")
    return f"{key}={detail['input']!r}: {message[0].lower()}{message[1:]}"


def _is_key(part: Any) -> bool:
    return isinstance(part, int) or not (
        part in {"int", "float", "bool", "str"} or part.startswith(("literal[", "tuple[", "function-", "constrained-"))
    )


def _suggestion(config: Mapping[str, Any], path: list[Any]) -> str:
    known = _known_keys(config, path[:-1])
    close = difflib.get_close_matches(str(path[-1]), known, n=1)
    return f"; did you mean {'.'.join([*map(str, path[:-1]), close[0]])}?".rstrip("?") + "" if close else ""


def _known_keys(config: Mapping[str, Any], parents: list[Any]) -> list[str]:
    """Keys that the schema has below `parents`."""
    from prune.data import DATASETS
    from prune.methods import METHODS

    model: Any = RunConfig
    for part in parents:
        if model is RunConfig and part in ("method", "dataset"):
            registry = METHODS if part == "method" else DATASETS
            model = registry.load(str(config[part]["name"])).Options
        else:
            model = model.model_fields[part].annotation
    return list(model.model_fields)
