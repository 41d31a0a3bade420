"""What Hydra composes for the cells of a sweep, composed once per choice of config groups."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.config_repository import IConfigRepository
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf


class SweepLoader(ConfigLoaderImpl):
    """Hydra's loader, quicker where the cells of a sweep differ by values.

    Reading, ordering and merging the groups' files is nearly all of composing, and depends on the chosen groups alone. So
    this is done once per choice; a cell is a copy of it to which Hydra's own function applies the cell's values. Whatever
    that leaves open, and whatever fails, is composed by Hydra as a whole: what comes out, errors included, is Hydra's.
    """

    def __init__(self, search_path: ConfigSearchPath) -> None:
        super().__init__(search_path)
        self._parser = OverridesParser.create()
        self._composed: dict[tuple[str | None, tuple[str, ...], tuple[str, ...]], DictConfig] = {}
        self._repositories: dict[tuple[str | None, tuple[str, ...]], IConfigRepository] = {}

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """One cell of the sweep whose own configuration is `master_config`.

        Raises:
            HydraException, OmegaConfBaseException, ValueError: as Hydra's own loader.
        """
        try:
            config = self._of_copy(master_config, sweep_overrides)
        except Exception:  # of whatever kind: composed as a whole, it fails in Hydra's own words, or not at all
            config = None
        return super().load_sweep_config(master_config, sweep_overrides) if config is None else config

    def _of_copy(self, master: DictConfig, lines: Sequence[str]) -> DictConfig | None:
        """The cell as a copy of its groups with its values; None where only composing it as a whole is sure to be right."""
        overrides = self._parser.parse_overrides(list(lines))
        if any(override.is_sweep_override() or _is_hydras(override) for override in overrides):
            return None
        groups, values = self._apart(master, overrides)
        config = copy.deepcopy(self._groups(master, groups))
        self._apply_overrides_to_config(values, config)
        if config.hydra.job.env_copy:
            return None  # Hydra looks these up once the values are known
        config.hydra.overrides.task = list(lines)
        names = config.hydra.job.config.override_dirname
        config.hydra.job.override_dirname = get_overrides_dirname(
            overrides=overrides, kv_sep=names.kv_sep, item_sep=names.item_sep, exclude_keys=names.exclude_keys
        )
        OmegaConf.copy_cache(from_config=master, to_config=config)
        return config

    def _apart(self, master: DictConfig, overrides: Sequence[Override]) -> tuple[list[str], list[Override]]:
        """Overrides that choose groups, as typed, and those that set values, by the rule of Hydra's defaults list."""
        name, given = _whole_sweep(master)
        if (name, given) not in self._repositories:
            _, self._repositories[name, given] = self._parse_overrides_and_create_caching_repo(name, list(given))
        repository = self._repositories[name, given]
        groups: list[str] = []
        values: list[Override] = []
        for override in overrides:
            if isinstance(override.value(), dict) or not repository.group_exists(override.key_or_group):
                values.append(override)
            else:
                groups.append(str(override.input_line))
        return groups, values

    def _groups(self, master: DictConfig, groups: Sequence[str]) -> DictConfig:
        """The configuration of these groups without any cell's values; composed once."""
        key = (*_whole_sweep(master), tuple(groups))
        if key not in self._composed:
            self._composed[key] = super().load_sweep_config(master, list(groups))
        return self._composed[key]


def _whole_sweep(master: DictConfig) -> tuple[str | None, tuple[str, ...]]:
    """What all cells share: the primary configuration's name, and overrides of Hydra's own keys."""
    given: Any = OmegaConf.to_container(master.hydra.overrides.hydra)
    return master.hydra.job.config_name, tuple(given)


def _is_hydras(override: Override) -> bool:
    return override.is_hydra_override() or override.key_or_group == "hydra"
