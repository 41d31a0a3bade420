"""Controls: runs that keep as many units in each group as another run did. What they are called, and what they say of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from prune.base.files import read_json_object, sha256_of
from prune.config.describe import show
from prune.report.variants import differing_keys, group_key, labels
from prune.rundir.reader import RunRecord

COUNTS = re.compile(r"method\.(phases\.\d+\.method\.)?counts")
"""The keys that name a run whose counts are taken."""


def of_sources(records: Sequence[RunRecord], settings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The settings, with the configuration of the run that was counted where they name that run itself.

    So the controls of several seeds are one group, as what they are controls of is. A run that is not among `records` stays
    a path.
    """
    known = {record.id: setting for record, setting in zip(records, settings, strict=True)}
    result = []
    for record, setting in zip(records, settings, strict=True):
        names = {path: PurePath(str(taken["run"])).name for path, taken in read_json_object(record.directory.counts).items()}
        changed = dict(setting)
        for key, value in setting.items():
            if COUNTS.fullmatch(key) and value is not None:
                name = names.get(value, PurePath(value).name)
                changed[key] = _token(known[name]) if name in known else value
        result.append(changed)
    return result


def control_labels(groups: Sequence[Mapping[str, Any]]) -> list[tuple[str, str | None]]:
    """Each group's label, and that of the group whose counts it takes; None where it takes none, or of a group not here.

    `refill control: criterion=random`, `refill control: scratch`.
    """
    sources = [_source(group, groups) for group in groups]
    own = [group for group, source in zip(groups, sources, strict=True) if source is None]
    named = dict(zip(map(group_key, own), labels(own), strict=True))
    result: list[tuple[str, str | None]] = []
    for group, source in zip(groups, sources, strict=True):
        if source is None:
            result.append((named[group_key(group)], None))
            continue
        alike = [other for other, of in zip(groups, sources, strict=True) if of is source]
        label = named[group_key(source)]
        result.append((f"{label} control: {_what_differs(group, source, alike)}", label))
    return result


def _source(group: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    taken = {value for key, value in group.items() if COUNTS.fullmatch(key) and value is not None}
    return next((other for other in groups if taken == {_token(other)}), None)


def _token(group: Mapping[str, Any]) -> str:
    """What stands for a group in the settings of its controls: `refill-3f3503cc`."""
    return f"{group['method.name']}-{sha256_of(group_key(group))[:8]}"


def _what_differs(group: Mapping[str, Any], source: Mapping[str, Any], alike: Sequence[Mapping[str, Any]]) -> str:
    """In what a control differs from its source; of another method, in what from the other controls by that method."""
    method = str(group["method.name"])
    keys = [key for key in differing_keys([group, source]) if not COUNTS.fullmatch(key)]
    if method == source["method.name"]:
        return ", ".join(_shown(keys, group)) or "counts"
    same = [other for other in alike if other["method.name"] == method]
    return " ".join([method, ", ".join(_shown(differing_keys(same), group))]).strip()


def _shown(keys: Sequence[str], group: Mapping[str, Any]) -> list[str]:
    short = {re.sub(r"^method\.(phases\.\d+\.method\.)?", "", key): group.get(key) for key in keys}
    return [f"{key}={show(value)}" for key, value in short.items()]
