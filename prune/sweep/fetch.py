"""Data and weights are fetched once, before anything is submitted: compute nodes have no network."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import prune
from prune.base.errors import UserError
from prune.base.registries import DATASETS
from prune.config.schema import RunConfig
from prune.data.base import Dataset
from prune.data.folder import ImageFolderOptions
from prune.rundir.directory import cache_folder

log = logging.getLogger(__name__)


def fetch_first(configs: Iterable[RunConfig]) -> None:
    """Run `prune data fetch` for what the cells need, in a process of its own: it imports torch, this one does not.

    Raises:
        UserError: what could not be fetched, in that command's own words.
    """
    wanted = {json.dumps(needs, sort_keys=True): needs for config in configs if (needs := _needs(config))}
    if not wanted:
        return
    kinds = {kind for needs in wanted.values() for kind in needs}
    if kinds & {"dataset", "weights"}:
        log.info("fetching what is missing of the data and weights")
    if "images" in kinds:
        log.info("decoding images that many jobs will share, where that has not been done yet")
    environment = dict(os.environ)
    # The package may be importable only because launch.py lies beside it.
    here = str(Path(prune.__file__).resolve().parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join([here, *filter(None, [environment.get("PYTHONPATH")])])
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(f"[{', '.join(sorted(wanted))}]")
        file.flush()
        command = [sys.executable, "-m", "prune", "data", "fetch", "--needs", file.name]
        process = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    if process.returncode:
        last = (process.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(last.removeprefix("error: ") if last.startswith("error: ") else f"fetching data failed ({last}).")
    sys.stderr.write(process.stderr)


def _needs(config: RunConfig) -> dict[str, object]:
    """What `prune data fetch --needs` reads; empty for a cell that needs nothing to be there before it."""
    needs: dict[str, object] = {}
    if isinstance(config.dataset, ImageFolderOptions) and config.dataset.resident:
        needs["images"] = {"dataset": config.dataset.model_dump(mode="json"), "folder": str(cache_folder(config.outputs))}
    if DATASETS.load(config.dataset.name).fetch is not Dataset.fetch:
        needs["dataset"] = config.dataset.model_dump(mode="json")
    teacher = config.recipe.distillation.of_timm
    weights = [config.model.name] * (config.model.pretrained is True) + [teacher] * (teacher is not None)
    if weights:
        needs["weights"] = weights
    return needs
