"""`prune data fetch`: datasets and pretrained weights, downloaded before they are needed."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from prune.base.errors import UserError
from prune.base.logs import setup_console
from prune.base.registries import DATASETS
from prune.base.text import printable
from prune.data.fetching import download_lock

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    fetch = actions.add_parser(
        "fetch",
        help="download datasets and weights",
        description="Download what runs will need, once: on a login node, before jobs that have no network.",
        epilog="example: python -m prune data fetch cifar10 cifar100 --weights vit_small_patch16_224",
    )
    fetch.add_argument("datasets", nargs="*", metavar="DATASET", help=f"one of {', '.join(DATASETS.names())}")
    fetch.add_argument("--root", type=Path, default=Path("data"), help="dataset.root of the runs (default: data)")
    fetch.add_argument("--weights", action="append", default=[], metavar="MODEL", help="timm's weights of model.name=MODEL")
    fetch.add_argument("--needs", type=Path, help=argparse.SUPPRESS)  # what the launcher writes


def run(arguments: argparse.Namespace) -> int:
    """Fetch everything asked for; what is there already is not fetched again."""
    setup_console()
    root = str(arguments.root.expanduser().absolute())
    wanted: list[dict[str, Any]] = [{"dataset": {"name": name, "root": root}} for name in arguments.datasets]
    wanted += [{"weights": arguments.weights}] * bool(arguments.weights)
    if arguments.needs is not None:
        wanted += json.loads(arguments.needs.read_text())
    if not wanted:
        raise UserError("name a dataset (such as cifar10) or give --weights MODEL.")
    for needs in wanted:
        if "dataset" in needs:
            fetch_dataset(needs["dataset"])
        if "images" in needs:
            decode_images(needs["images"]["dataset"], Path(needs["images"]["folder"]))
    for name in sorted({name for needs in wanted for name in needs.get("weights", [])}):
        fetch_weights(name)
    return 0


def fetch_dataset(options: dict[str, Any]) -> None:
    """Download a dataset, if it needs that; `options` is a dataset section, of which only name and root matter here."""
    kind = DATASETS.load(options["name"])
    kind(kind.Options.model_validate({"image_size": 1, **options})).fetch()
    log.info("%s: ready%s", options["name"], f" in {options['root']}" if options.get("root") else "")


def decode_images(options: dict[str, Any], folder: Path) -> None:
    """Build the cache of a folder's images, where they are to be resident (see `prune.data.resident`)."""
    from prune.data.resident import is_resident, resident

    kind = DATASETS.load(options["name"])
    dataset = kind(kind.Options.model_validate(options))
    splits = dataset.load()
    if is_resident(dataset.options, splits):
        resident(dataset.options, splits, folder)
        log.info("images of %s: ready in %s", printable(options["root"]), folder)


def fetch_weights(name: str) -> None:
    """Put timm's ImageNet weights of a model into the cache that jobs read."""
    import torch

    from prune.architectures.build import timm_weights

    with download_lock(Path(torch.hub.get_dir())):
        timm_weights(name)
    log.info("weights of %s: ready", name)
