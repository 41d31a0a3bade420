"""Composing, planning and reading what runs left import neither torch nor timm, so that they are quick on a login node."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import CONF

COMPOSE = f"""
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from prune.config import parse
from prune.sweep.plan import make_plan, print_plan
with initialize_config_dir(version_base="1.3", config_dir={str(CONF)!r}):
    composed = compose("config", overrides=["model=vit_small", "method=rsst", "outputs=here"])
(cell,) = make_plan([parse(OmegaConf.to_container(composed, resolve=True))])
assert (cell.standing, cell.epochs_left) == ("new", 960)
assert cell.config.architecture().structure.parameters() == 21_342_346
print_plan([cell])
"""

REPORT = """
import importlib, pkgutil
import prune.report
for module in pkgutil.walk_packages(prune.report.__path__, "prune.report."):
    importlib.import_module(module.name)
"""


@pytest.mark.parametrize(
    "code",
    [COMPOSE, REPORT, "import prune.rundir.manifest", "import prune.rundir.locate", "import prune.sweep.status_command"],
    ids=["compose", "report", "manifest", "locate", "status"],
)
def test_neither_torch_nor_timm_is_imported(code: str, tmp_path: Path) -> None:
    code += "\nimport sys\nheavy = {'torch', 'timm', 'torchvision', 'wandb'} & set(sys.modules)\nassert not heavy, heavy\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())
