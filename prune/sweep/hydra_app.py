"""Hydra's entry into this program: `python launch.py …` and `prune launch …` are the same."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import hydra
from omegaconf import DictConfig

from prune.base.ending import exit_code
from prune.sweep.conf_folder import conf_folder
from prune.sweep.entry import run_single
from prune.sweep.hydra_errors import in_one_sentence

MULTIRUN = ("-m", "--multirun")


@hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")
def _main(config: DictConfig) -> None:
    sys.exit(run_single(config))


def launch(arguments: Sequence[str], program: str = "launch.py") -> None:
    """Compose a configuration and run it; with -m, every cell of a matrix. Leaves with the exit code, by SystemExit."""
    sweep = [word for word in arguments if word in MULTIRUN][:1]  # argparse reads no overrides on both sides of a flag
    sys.argv = [program, *sweep, *(word for word in arguments if word not in MULTIRUN)]  # where Hydra looks
    sys.exit(exit_code(_compose_and_run))


def _compose_and_run() -> int:
    with in_one_sentence():
        _main()  # leaves by SystemExit, but after --help and the like
    return 0
