"""Fixtures that several test modules share: real configurations composed from conf/, and tiny runs of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import OmegaConf

from prune.base.registries import ANALYSES, ARCHITECTURES, CRITERIA, DATASETS, METHODS
from prune.config import RunConfig, parse
from prune.engine.cell import Outcome, run_cell

os.environ.pop("HYDRA_FULL_ERROR", None)  # what a user may have set for debugging: it turns sentences into tracebacks

CONF = Path(__file__).resolve().parent.parent / "conf"

# The sums of a matrix product depend on the number of threads; one is the same everywhere, and as quick at these sizes.
torch.set_num_threads(1)

# A shell that starts the tests in the background has them ignore Ctrl-C, and every process they start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

Compose = Callable[..., RunConfig]

TINY_RUN = (
    "experiment=demo",
    "dataset=digits",
    "model.depth=2",
    "model.embed_dim=16",
    "model.num_heads=4",
    "model.mlp_ratio=2",
    "schedule.states=3",
    "schedule.epochs=2",
    "schedule.epochs_first=2",
    "optim.batch_size=128",
    "hardware=cpu",
    "hardware.threads=1",
    "checkpoint.every_seconds=0",
)
"""Three states of a few steps each: a whole run in about two seconds. It saves at each epoch's end."""

ENDLESS = 30_000
"""Epochs of a run that no machine finishes before the test interrupts it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several processes (`pytest -n`) a file's tests share one. Those that use Slurm begin first: they mostly wait,
    while others compute."""
    slurm = Path(__file__).parent / "slurm"
    items.sort(key=lambda item: slurm not in item.path.parents)


@pytest.fixture(autouse=True)
def leave_the_process_as_found() -> Iterator[None]:
    """What a run or a test sets for the whole process must not reach the next test: registries, threads, precision."""
    before = {registry: dict(registry.table) for registry in (ANALYSES, ARCHITECTURES, CRITERIA, DATASETS, METHODS)}
    yield
    for registry, table in before.items():
        registry.table = table
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")


def compose_config(outputs: Path, *overrides: str) -> RunConfig:
    """The validated configuration that the command line would give."""
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        composed = hydra_compose("config", overrides=[f"outputs={outputs}", *overrides])
    content = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    assert isinstance(content, dict)
    return parse({str(key): value for key, value in content.items()})


@pytest.fixture
def compose(tmp_path: Path) -> Compose:
    """`compose("model=vit_micro", …)`: the validated configuration; runs go to tmp_path."""
    return partial(compose_config, tmp_path / "outputs")


@pytest.fixture
def compose_tiny(compose: Compose) -> Compose:
    """As `compose`, for a run of seconds on the digits."""
    return lambda *overrides: compose(*TINY_RUN, *overrides)


@pytest.fixture
def run_tiny(compose_tiny: Compose) -> Callable[..., Outcome]:
    """`run_tiny("method=rsst", …)`: a whole run of seconds; returns its outcome."""
    return lambda *overrides: run_cell(compose_tiny(*overrides))


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Photograph-like JPEGs of three classes: root/train and root/test, 12 + 4 images a class, of several sizes."""
    import numpy as np
    from PIL import Image

    draw = np.random.default_rng(0)
    root = tmp_path / "images"
    for split, count in (("train", 12), ("test", 4)):
        for label, name in enumerate(("ant", "bee", "cat")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                height, width = draw.integers(16, 32, 2)
                pixels = draw.integers(0, 100, (height, width, 3)) + 70 * label
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:04d}.jpg")
    return root
