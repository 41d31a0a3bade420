"""`python -m prune wandb-sync outputs/NAME`."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from prune.base.errors import UserError
from prune.config.schema import LoggerConfig
from prune.rundir.reader import RunRecord, find_runs
from prune.tracking_wandb.credentials import check_server, has_key, resolve_mode, server, without_key
from prune.tracking_wandb.session import Destination
from prune.tracking_wandb.sync import Outcome, sync_run

log = logging.getLogger(__name__)

CONNECT_SECONDS, INIT_SECONDS, FINISH_SECONDS = 10.0, 60.0, 600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="sweeps (outputs/NAME) or single runs")
    parser.add_argument("--project", help="W&B project; default: each run's logger.project")
    parser.add_argument("--entity", help="W&B user or team; default: each run's logger.entity, else the key's default")
    parser.add_argument(
        "--mode", choices=("auto", "online", "offline"), default="auto",
        help="auto: online when a key is set, else offline, which writes files that `wandb sync` can upload elsewhere",
    )  # fmt: skip
    parser.add_argument("--artifacts", action="store_true", help="upload each state's compact model as well")
    parser.add_argument(
        "--force", action="store_true", help="ask the server even where the last upload is known to be complete"
    )


def run(arguments: argparse.Namespace) -> int:
    """Sync each run and print a line about it; returns 1 if any failed."""
    mode = resolve_mode(arguments.mode)
    if mode == "disabled":
        raise UserError("WANDB_MODE=disabled switches W&B off; unset it or give --mode online.")
    if mode == "online":
        if not has_key():
            raise UserError("--mode online needs a W&B key: set WANDB_API_KEY or run `wandb login`.")
        try:
            check_server(CONNECT_SECONDS)
        except OSError as error:
            raise UserError(f"W&B at {server()} cannot be reached ({without_key(error)}); try again later.") from None
    outcomes = []
    for path in arguments.paths:
        records, unreadable = find_runs(path)
        for folder in unreadable:
            log.warning("%s", folder.why)
        for record in records:
            outcomes.append(sync_run(record, _destination(record, arguments, mode), arguments.force))
            print(_sentence(outcomes[-1], mode), flush=True)
    return int(any(outcome.kind == "failed" for outcome in outcomes))


def _destination(record: RunRecord, arguments: argparse.Namespace, mode: str) -> Destination:
    logger = record.config.get("logger") or {}
    project = arguments.project or logger.get("project") or LoggerConfig.model_fields["project"].default
    return Destination(
        mode=mode,
        project=project,
        entity=arguments.entity or logger.get("entity"),
        artifacts=arguments.artifacts or bool(logger.get("artifacts")),
        init_timeout=INIT_SECONDS,
        finish_timeout=FINISH_SECONDS,
    )


def _sentence(outcome: Outcome, mode: str) -> str:
    points = f"{outcome.points} point{'' if outcome.points == 1 else 's'}"
    return (
        f"{outcome.run}: "
        + {
            "sent": f"{points} {'sent' if mode == 'online' else 'written to wandb/, for `wandb sync` to upload'}",
            "current": "nothing new",
            "live": "left to its own job, which is running and sends online",
            "failed": f"not sent: {outcome.reason}",
        }[outcome.kind]
    )
