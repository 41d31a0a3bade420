"""`python -m prune …` (also installed as `prune`): one subcommand each.

A subcommand is a module with `add_arguments(parser)` and `run(arguments) -> exit code`; only the chosen one is imported.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from prune.base.ending import exit_code

COMMANDS = {
    "launch": ("prune.sweep.hydra_app", "run one configuration, or with -m a sweep; the same as python launch.py"),
    "report": ("prune.report.command", "tables, figures and one page that compare the runs of sweeps"),
    "analyse": (
        "prune.analysis.command",
        "what pruning did to the models, measured on validation images for the report",
    ),
    "panels": ("prune.tracking_wandb.panels_command", "build or update the comparison view on Weights & Biases"),
    "wandb-sync": ("prune.tracking_wandb.sync_command", "replay runs on disk into Weights & Biases, exactly once"),
    "export": ("prune.export.command", "write a pruned model as ONNX"),
    "latency": ("prune.export.latency_command", "measure latency and throughput, dense and pruned side by side"),
    "status": ("prune.sweep.status_command", "what each run of a sweep is doing"),
    "data": ("prune.sweep.data_command", "fetch datasets and pretrained weights before they are needed"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit code. See `exit_code`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["launch"]:  # its arguments, --help among them, are Hydra's
        importlib.import_module(COMMANDS["launch"][0]).launch(given[1:], "prune launch")
    parser = argparse.ArgumentParser(prog="prune", description="Read, compare and take away what launch.py produced.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, summary) in COMMANDS.items():
        # Only the command that was asked for is imported: the others' libraries would slow every start.
        command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if given[:1] == [name]:
            importlib.import_module(module).add_arguments(command)
    parsed = parser.parse_args(given)
    return exit_code(lambda: int(importlib.import_module(COMMANDS[parsed.command][0]).run(parsed)))
