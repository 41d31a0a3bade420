"""Real configurations, jobs and pruning states to measure: the code that a run executes, on random images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import OmegaConf

from benchmarks.random_images import register
from benchmarks.scale import Scale
from prune.architectures.build import build_model
from prune.base.machine import cpu_count
from prune.config import RunConfig, parse
from prune.engine.epoch import EpochSums, train_epoch
from prune.engine.job import Job, prepare
from prune.engine.run import step_hooks
from prune.engine.state import PruningState
from prune.engine.stop import Stop
from prune.pruning.keepset import KeepSet
from prune.rundir.directory import RunDirectory

CONF = Path(__file__).resolve().parent.parent / "conf"


def compose(outputs: Path, *overrides: str) -> RunConfig:
    """The validated configuration that the command line would give."""
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        composed = hydra_compose("config", overrides=[f"outputs={outputs}", *overrides])
    content = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    assert isinstance(content, dict)
    return parse({str(key): value for key, value in content.items()})


def random_images(train: int, val: int = 256, test: int = 256) -> tuple[str, ...]:
    """Overrides: random images of CIFAR's size, augmented as CIFAR is."""
    register()
    return ("dataset=cifar10", "dataset.name=random_images", f"+dataset.images=[{train},{val},{test}]")


def make_job(folder: Path, scale: Scale, *overrides: str, steps: int = 2) -> Job:
    """A job on random images, `steps` steps an epoch, on the CPU."""
    images = random_images(steps * scale.batch_size)
    fixed = ("hardware=cpu", f"optim.batch_size={scale.batch_size}")
    config = compose(folder, *images, *scale.model, *fixed, *overrides)
    directory = RunDirectory(folder / f"job-{len(list(folder.iterdir()))}")
    directory.path.mkdir(parents=True)
    return prepare(config, directory, Stop(), scale.threads or cpu_count())


def dense_state(job: Job, index: int = 0) -> PruningState:
    """A state whose model has all its units, ready to train."""
    state = _new_state(job, index)
    state.start()
    return state


def compact_state(job: Job, index: int) -> PruningState:
    """A state as Refill begins it: ranked by the configured criterion, the rest removed."""
    state = _new_state(job, index)
    state.remove(state.choose(state.score()))
    state.start()
    return state


def _new_state(job: Job, index: int) -> PruningState:
    architecture = job.architecture
    model = build_model(architecture, job.config.seed).to(job.device)
    return job.state(index, model, KeepSet.dense(architecture.structure))


def one_step(job: Job, state: PruningState) -> Callable[[], None]:
    """A call that makes one training step through the run's own loop: the last step of the epoch."""
    steps = job.loader.steps_per_epoch
    sums = EpochSums.empty(steps, job.device)

    def step() -> None:
        train_epoch(state, step_hooks(job.method, state), 0, steps - 1, sums, lambda _: None)

    return step


def training_flops(job: Job) -> float:
    """Floating-point operations of the matrix products of one dense training step: 2 forward and 4 backward per MAC."""
    return 6.0 * job.architecture.structure.macs() * job.config.optim.batch_size
