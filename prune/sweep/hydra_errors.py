"""Hydra's own paragraphs about a key or an option that is not there, in one sentence."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

FULL = "HYDRA_FULL_ERROR"

SPECIAL = set("^&<>!;#~`")
"""Characters that Hydra reads within quotes only."""


@contextmanager
def in_one_sentence() -> Iterator[None]:
    """Within this context Hydra's complaints are one sentence and exit code 1. Whoever sets HYDRA_FULL_ERROR sees them all."""
    if FULL in os.environ:
        yield
        return
    os.environ[FULL] = "1"  # Hydra then raises what it would print; nothing else in this program reads the variable
    try:
        yield
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        if isinstance(error, ValueError) and not str(error).startswith("Config group override"):
            raise  # not Hydra's
        print(f"error: {explain(error)}", file=sys.stderr)
        sys.exit(1)
    finally:
        del os.environ[FULL]


def explain(error: Exception) -> str:
    """The sentence for what Hydra says while composing; its own first line where there is nothing to add."""
    text = str(error).strip()
    lines = [line.strip().rstrip(".") for line in text.splitlines()]
    if isinstance(error, OverrideParseException):
        if set(error.override) & SPECIAL:
            key, _, value = error.override.partition("=")
            return f"""{error.override} cannot be read; quote its value inside the shell's quotes, as in "{key}='{value}'"."""
        if "=" not in error.override:
            return f"{error.override} is not key=value."
        return f"{error.override} cannot be read ({lines[lines[0].startswith('Error parsing')]})."
    several = re.match(r"Ambiguous value for argument '(?P<override>[^']+)'", text)
    if several:
        key, _, value = several["override"].partition("=")
        return f"{key}={value} is more than one value; -m runs each of them, and brackets make a list: {key}=[{value}]."
    options = re.search(
        r"Could not find '(?P<choice>.+)'\s+Available options in '(?P<group>.+)':\n(?P<names>(?:\t.+\n)+)", text
    )
    if options:
        group = options["group"]
        choice = options["choice"].removeprefix(f"{group}/")
        return _without_file(group, choice) or f"{group}={choice} must be one of {', '.join(options['names'].split())}."
    unknown = re.match(r"Could not override '(?P<key>[^']+)'", text) or re.search(r"'(?P<key>[^']+)' does not exist", text)
    if unknown:
        key = unknown["key"]
        return f"{key} is not a key of this configuration ({_meant(key) or '--cfg job shows them all'})."
    return f"{lines[0]}."


def _without_file(group: str, choice: str) -> str | None:
    """What to say of a name that an installed package offers without the file that chooses it."""
    from prune.config.schema import CHOSEN_BY_NAME

    registry = CHOSEN_BY_NAME.get(group)
    package = registry.plugin(choice) if registry is not None else None
    if package is None:
        return None
    return (
        f"{group}={choice} is installed ({package}), but there is no {group}/{choice}.yaml: its package can bring one by the "
        "entry point prune.conf, or --config-dir can name a folder that has one."
    )


def _files_with(group: str, key: str) -> list[str]:
    """The options of a config group whose files have a key."""
    import yaml

    from prune.sweep.conf_folder import conf_folder

    found = []
    for path in sorted((conf_folder() / group).glob("*.yaml")):
        content = yaml.safe_load(path.read_text()) or {}
        if key in (content.get(group) or content):  # below the group's name where the file sets other groups' keys too
            found.append(path.stem)
    return found


def _meant(key: str) -> str | None:
    """One spelt alike, the option that has it, or one of the same name in another section."""
    from prune.config.describe import all_keys, one_of, owners

    known = {name for name, _, _ in all_keys()}
    group, _, leaf = key.partition(".")
    if key in known:
        return one_of(group, owners(group, leaf) or _files_with(group, leaf))
    longer = sorted(name for name in known if name.startswith(f"{key}_"))
    groups = {name.partition(".")[0] for name in known}
    close = longer or difflib.get_close_matches(key, known | groups, n=1, cutoff=0.75)
    same_leaf = sorted(name for name in known if name.endswith(f".{key}"))
    return f"did you mean {' or '.join(close or same_leaf)}?" if close or same_leaf else None
