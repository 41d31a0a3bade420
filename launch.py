"""Compose a configuration, validate it, run it. With -m: the same for every cell of a matrix.

python launch.py --help names the config groups and gives examples.
"""

import sys

import hydra
from omegaconf import DictConfig

from prune.sweep.hydra_errors import in_one_sentence
from prune.sweep.entry import run_single


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    sys.exit(run_single(config))


if __name__ == "__main__":
    with in_one_sentence():
        main()
