"""Writes the tables of docs/configuration.md from the schema and conf/: python docs/make_configuration.py

Everything between a pair of markers `<!-- keys: SECTION -->` and `<!-- end -->` is replaced.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from pydantic.fields import FieldInfo

from prune.architectures.base import ModelOptions
from prune.base.section import Section
from prune.config.describe import all_keys, allowed, owners, show
from prune.config.schema import CHOSEN_BY_NAME
from prune.data.options import DatasetOptions
from prune.pruning.options import MethodOptions

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "configuration.md"
BLOCK = re.compile(r"(<!-- keys: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
HEADINGS = ("key", "values", "default", "meaning")


def main() -> None:
    PAGE.write_text(renewed(PAGE.read_text()))


def renewed(page: str) -> str:
    """The page with its tables made anew."""
    return BLOCK.sub(lambda found: found[1] + table(found[2]) + found[3], page)


def sections(page: str) -> set[str]:
    """The sections that the page has tables of."""
    return {found[2] for found in BLOCK.finditer(page)}


def table(section: str) -> str:
    """One Markdown row for each key of a section (`run`: the keys outside of any)."""
    lines = [HEADINGS, ("---",) * len(HEADINGS), *rows(section)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def rows(section: str) -> Iterator[tuple[str, str, str, str]]:
    fields: dict[str, FieldInfo] = {}
    for key, field, _ in all_keys():
        if key.rpartition(".")[0].partition(".")[0] == (section if section != "run" else ""):
            fields.setdefault(key, _shared(section, key) or field)
    for key, field in fields.items():
        meaning = field.description or ""
        if key in (registry.key for registry in CHOSEN_BY_NAME.values()):
            meaning = f"set by choosing `{section}=…`"
        elif section in CHOSEN_BY_NAME:
            names = owners(section, key.partition(".")[2])
            if names != CHOSEN_BY_NAME[section].names():
                meaning = f"{', '.join(names)}: {meaning}"
        yield f"`{key}`", allowed(key, field), default(section, key, field), meaning.replace("|", "or")


def _shared(section: str, key: str) -> FieldInfo | None:
    """The field as all options have it, where one of them narrows it."""
    common: dict[str, type[Section]] = {"dataset": DatasetOptions, "model": ModelOptions, "method": MethodOptions}
    return common[section].model_fields.get(key.partition(".")[2]) if section in common else None


def default(section: str, key: str, field: FieldInfo) -> str:
    """The value in conf/, option by option where they differ; else the schema's own."""
    files = [ROOT / "conf/config.yaml"] if section == "run" else sorted((ROOT / "conf" / section).glob("*.yaml"))
    by_value: dict[str, list[str]] = defaultdict(list)
    for path in files or [ROOT / "conf/config.yaml"]:
        value = _stated(path, section, key, field)
        if value is not None:
            by_value[value].append(path.stem)
    if len(by_value) == 1:
        return f"`{next(iter(by_value))}`"
    return "; ".join(f"`{value}` ({', '.join(names)})" for value, names in by_value.items())


def _stated(path: Path, section: str, key: str, field: FieldInfo) -> str | None:
    content: Any = OmegaConf.load(path)
    leaf = key.partition(".")[2]
    inside_group = path.parent.name == section and "hydra" not in content
    keys = (leaf if inside_group else key).split(".")
    if section in CHOSEN_BY_NAME and content[CHOSEN_BY_NAME[section].leaf] not in owners(section, leaf):
        return None
    place = OmegaConf.to_container(content, resolve=False)
    for part in keys:
        if not isinstance(place, dict) or part not in place:
            if field.is_required():
                return None
            return show(field.get_default(call_default_factory=True))
        place = place[part]
    return "must be given" if place == "???" else show(place)


if __name__ == "__main__":
    main()
