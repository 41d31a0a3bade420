"""Config groups of installed plug-ins: a package that adds a method may bring the YAML file that chooses it."""

from __future__ import annotations

from importlib.metadata import entry_points

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

GROUP = "prune.conf"
"""Entry points whose value is a package that holds config groups: `my_pruning.conf`, with `method/movement.yaml` below it."""


class PluginConfigurations(SearchPathPlugin):
    """Appends `pkg://<package>` for each entry point: the project's own groups are found first."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
            search_path.append(provider=f"prune.conf:{entry.name}", path=f"pkg://{entry.value}")
