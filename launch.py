"""Compose a configuration, validate it, run it. With -m: the same for every cell of a matrix.

python launch.py --help names the config groups and gives examples.
"""

import sys

from prune.sweep.hydra_app import launch

if __name__ == "__main__":
    launch(sys.argv[1:])
