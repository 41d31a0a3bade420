"""`python -m prune panels --entity E --project P`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from prune.base.errors import UserError
from prune.tracking_wandb.credentials import check_server, has_key, server, without_key

CONNECT_SECONDS = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--entity", required=True, help="W&B user or team")
    parser.add_argument("--project", required=True, help="W&B project, as in logger.project")
    parser.add_argument("--sweep", metavar="NAME", help="show the runs of this sweep only; default: all of the project")
    parser.add_argument(
        "--outputs", type=Path, default=Path("outputs"),
        help="where local runs tell which datasets and keys to show; without any, all datasets and the usual keys",
    )  # fmt: skip
    parser.add_argument(
        "--group-by",
        default="method.name",
        metavar="KEY",
        help="a line for each value of this key; default: %(default)s",
    )
    parser.add_argument("--dataset", nargs="+", metavar="NAME", help="a section for each of these; default: see --outputs")


def run(arguments: argparse.Namespace) -> int:
    """Save the view and print its address."""
    from prune.tracking_wandb.panels import contents, save, workspace

    if not has_key():
        raise UserError("panels needs a W&B key: set WANDB_API_KEY or run `wandb login`.")
    about = contents(arguments.outputs, arguments.sweep, arguments.group_by)
    if arguments.dataset:
        about = replace(about, datasets=tuple(arguments.dataset))
    if about.mixed:
        keys = ", ".join(about.mixed)
        print(f"note: lines average over {keys} as well as over seeds; --group-by picks another key", file=sys.stderr)
    view = workspace(arguments.entity, arguments.project, arguments.sweep, about)
    try:
        check_server(CONNECT_SECONDS)
        url, new = save(view)
    except Exception as error:  # wandb's errors have no common class; each becomes one sentence
        where = f"{arguments.entity}/{arguments.project}"
        raise UserError(f"The view of {where} was not saved at {server()}: {without_key(error)}") from None
    print(f"{'created' if new else 'updated'}: {url}")
    return 0
