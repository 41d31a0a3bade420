"""Which runs are seeds of one configuration, and how two configurations that differ are named."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from prune.base.errors import UserError
from prune.base.text import dataset_label, flatten
from prune.config.schema import RunConfig
from prune.rundir import identity


def counted(config: Mapping[str, Any]) -> dict[str, Any]:
    """What can change a run's numbers, its seed aside, as `dotted.key → value`: runs that agree in this are one group.

    The schema fills in defaults, so that a run written before a key existed still groups with the runs after. A recipe is one
    value, in words. A configuration that it does not accept (a method of a package that is not installed here, say) is taken
    as it stands.
    """
    try:
        parsed = RunConfig.model_validate(dict(config))
        plain = {**identity.counted(parsed), "recipe": parsed.recipe.words}
    except (UserError, ValidationError):
        plain = {key: value for key, value in config.items() if key not in identity.NOT_COUNTED}
        plain = json.loads(json.dumps(plain, default=str))
        if identity.root_that_counts(plain["dataset"]) is None:
            plain["dataset"].pop("root", None)
    return flatten({key: value for key, value in plain.items() if key != "seed"})


def group_key(settings: Mapping[str, Any]) -> str:
    """Equal for equal settings, however they were typed (1 and 1.0 are the same)."""
    return json.dumps({key: _plain(value) for key, value in settings.items()}, sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def differing_keys(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """The dotted keys whose value is not the same in all groups."""
    keys = sorted({key for group in groups for key in group})
    return [key for key in keys if not _all_same([group.get(key) for group in groups])]


def _all_same(values: Sequence[Any]) -> bool:
    first = values[0]
    return all(value is first or _same(first, value) for value in values)


def _same(first: Any, second: Any) -> bool:
    """Whether they count as one value (see `group_key`). Most are text or fractions; large sweeps compare millions of them."""
    if type(first) is type(second) and isinstance(first, str | float):
        return bool(first == second)
    return group_key({"": first}) == group_key({"": second})


def dataset_of(settings: Mapping[str, Any]) -> str:
    """What the report calls a group's dataset: a root that counts is part of the name."""
    root = settings.get("dataset.root")
    return dataset_label(str(settings["dataset.name"]), str(root) if root else None)


def labels(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """A name for each group: its method, and the keys in which that method's groups differ on any one dataset.

    `refill`, or `refill · criterion=taylor, schedule.target=0.5`; a key of the method is written without `method.`.
    """
    alike: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for group in groups:
        alike.setdefault(str(group["method.name"]), {}).setdefault(dataset_of(group), []).append(group)
    telling: dict[tuple[str, Any], list[str]] = {}
    result = []
    for group in groups:
        method, family = str(group["method.name"]), group.get(FAMILY)
        if (method, family) not in telling:
            keys = {key for others in alike[method].values() for key in _telling_keys(family, others)}
            telling[method, family] = sorted(keys, key=_method_first)
        shown = [f"{key.removeprefix('method.')}={_short(_value(group, key))}" for key in telling[method, family]]
        result.append(" · ".join([method, ", ".join(shown)]) if shown else method)
    return result


def _value(group: Mapping[str, Any], key: str) -> Any:
    """A key's value; of one that counts for no identity while at its default, that default."""
    return group.get(key, identity.ADDED_LATER.get(key))


def _telling_keys(family: Any, others: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys that tell a group with a model of this family from others. Of another family that says it: its sizes have other
    keys."""
    keys = differing_keys(others)
    if FAMILY not in keys:
        return keys
    relatives = differing_keys([other for other in others if other.get(FAMILY) == family])
    return [key for key in keys if key == FAMILY or key in relatives or not key.startswith("model.")]


FAMILY = "model.family"


def _method_first(key: str) -> tuple[bool, str]:
    return (not key.startswith("method."), key)


def _short(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_short, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def model_names(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each group's model is called: its family; of several models of a family also what tells them apart.

    `swin`, `vit · name=vit_tiny_patch16_224`, `vit · depth=3, embed_dim=48`.
    """
    relatives: dict[Any, list[Mapping[str, Any]]] = {}
    for group in groups:
        relatives.setdefault(group.get(FAMILY), []).append(group)
    keys = {family: _of_model(members) for family, members in relatives.items()}
    return [_model_name(group, keys[group.get(FAMILY)]) for group in groups]


def _of_model(relatives: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys that tell the models of a family apart: the name alone, where it does."""
    keys = [key for key in differing_keys(relatives) if key.startswith("model.")]
    models = {group_key({key: other.get(key) for key in keys}) for other in relatives}
    return ["model.name"] if len({other.get("model.name") for other in relatives}) == len(models) > 1 else keys


def _model_name(group: Mapping[str, Any], keys: Sequence[str]) -> str:
    telling = ", ".join(f"{key.removeprefix('model.')}={_short(group.get(key))}" for key in keys)
    return " · ".join(filter(None, (str(group.get(FAMILY)), telling)))


TARGETS = "schedule.targets"
"""The key that holds a target for each kind of unit."""


def _respect(key: str) -> str:
    """What a key is a part of when differences are counted: the method, or the targets by kind, are one respect each."""
    return next((whole for whole in ("method", TARGETS) if key == whole or key.startswith(f"{whole}.")), key)


def distance(first: Mapping[str, Any], second: Mapping[str, Any]) -> int:
    """In how many respects two groups differ: the method with all its keys is one, every other key one each."""
    return len({_respect(key) for key in differing_keys([first, second])})


NO_MATTER_TO_DENSE = ("schedule.target", TARGETS, "schedule.shape", "schedule.rates", "schedule.measure")
"""Keys that change nothing where nothing is pruned."""


def same_setting(first: Mapping[str, Any], second: Mapping[str, Any], ignore: Sequence[str] = ()) -> bool:
    """Whether two groups differ in nothing but the method (and the keys to ignore)."""
    return {_respect(key) for key in differing_keys([first, second])} <= {"method", *ignore}
