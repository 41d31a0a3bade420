"""Cells composed by copying what their groups give are what Hydra composes of each, word for word where it refuses."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from prune.sweep.composing import SweepLoader
from prune.sweep.conf_folder import conf_folder

GROUPS = ("dataset", "model", "method", "schedule", "optim", "hardware", "logger")

VALUES = (
    "seed=3", "seed=null", "seed='7'", "name=a_b", "name=${dataset.name}-${seed}",
    "name=${hydra.runtime.choices.model}", "+name=x", "++name=y", "+extra=1", "++extra.deep.er=[1,2]", "~seed",
    "~seed=0", "~seed=9", "~extra", "optim.lr=1e-4", "optim.lr=${seed}", "optim={lr: 0.5}", "model={depth: 3}",
    "+model={new: ${seed}}", "model.depth=2", "model.dpeth=2", "schedule.rates=[0,0.5,0.7]",
    "schedule.rates=[${seed},0.1]", "~schedule.shape", "~model.depth", "schedule.states=3", "outputs='a b=c'",
    'outputs="x,y"', "outputs=${hydra:job.override_dirname}", "checkpoint.keep=[", "seed@here=1", "hydra.job.name=own",
    "hydra={job: {name: own}}", "+hydra.job.env_set.A=b", "seed=1,2", "seed=range(3)", "method.rewind=epoch:1",
    "+method={criterion: random}", "dataset.augment.flip=true", "+dataset.augment.more=1", "hydra/job_logging=none",
    "=3", "name=${oc.env:HOME}", "++schedule=null", "model=null", "dataset.root=${outputs}",
)  # fmt: skip

CHOICES = (
    "experiment=demo", "experiment=report_vit_small_70p", "experiment=no_such", "experiment=null", "dataset=digits",
    "dataset=digit_pairs", "dataset=no_such", "model=vit_micro", "model=swin_micro", "model=mamba_micro", "method=rsst",
    "method=dense", "optim=adamw", "optim@extra=adamw", "+optim@extra=adamw", "+optim@optim.inner=sgd", "++optim=sgd",
    "~logger", "~logger=none", "~logger=wandb", "~optim", "hardware=local", "hardware=slurm", "schedule=[cubic,linear]",
    "schedule=7", "+schedule=cubic", "dataset@dataset=digits", "method@_global_=rsst",
)  # fmt: skip


def _master(loader: ConfigLoaderImpl, *hydras: str) -> DictConfig:
    return loader.load_configuration("config", [*hydras], RunMode.MULTIRUN)


@pytest.fixture
def loaders() -> Iterator[tuple[ConfigLoaderImpl, SweepLoader]]:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        hydra = GlobalHydra.instance().config_loader()
        assert isinstance(hydra, ConfigLoaderImpl)
        yield hydra, SweepLoader(hydra.get_search_path())


def _of(loader: ConfigLoaderImpl, master: DictConfig, overrides: Sequence[str]) -> Any:
    """All of what comes out: the values, how they are typed and closed, each of ours resolved; or the complaint."""
    try:
        config = loader.load_sweep_config(master, list(overrides))
    except Exception as error:
        return type(error), str(error), str(error.__cause__)
    resolved: list[tuple[Any, ...]] = []
    for key in config:
        if key != "hydra":
            try:
                resolved.append((key, repr(_value(config, key))))
            except Exception as error:
                resolved.append((key, type(error), str(error)))
    return OmegaConf.to_container(config, resolve=False), resolved, _nodes(config)


def _value(config: DictConfig, key: Any) -> Any:
    value = config[key]
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _nodes(node: Any) -> Any:
    """Each node's class, flags and type, in order."""
    metadata = node._metadata
    own = type(node).__name__, metadata.flags, metadata.ref_type, metadata.optional, metadata.object_type
    if not OmegaConf.is_config(node) or node._is_none() or node._is_missing() or node._is_interpolation():
        return own
    children = node._content.items() if isinstance(node._content, dict) else enumerate(node._content)
    return own, [(key, _nodes(child)) for key, child in children]


def _assert_same(loaders: tuple[ConfigLoaderImpl, SweepLoader], master: DictConfig, overrides: Sequence[str]) -> bool:
    """Whether it could be composed, by both alike."""
    hydra, quick = loaders
    expected = _of(hydra, master, overrides)
    for _ in range(2):  # as the first of its groups, and on a copy of what is there
        assert _of(quick, master, overrides) == expected, overrides
    return not isinstance(expected[0], type)


def test_each_shipped_choice_is_as_hydra_composes_it(loaders: tuple[ConfigLoaderImpl, SweepLoader]) -> None:
    master = _master(loaders[0])
    experiments = [path.stem for path in sorted((conf_folder() / "experiment").glob("*.yaml"))]
    cells = [[f"experiment={name}", f"dataset={data}"] for name in experiments for data in ("cifar10", "digits")]
    cells += [[f"{group}={path.stem}"] for group in GROUPS for path in sorted((conf_folder() / group).glob("*.yaml"))]
    assert len(cells) > 30
    for cell in cells:
        assert _assert_same(loaders, master, [*cell, "seed=5", "++optim.lr=0.5", "name=${dataset.name}"])


def _seeded(seed: int) -> list[str]:
    draw = random.Random(seed)
    mixed = draw.choices(CHOICES, k=draw.randint(0, 2)) + draw.choices(VALUES, k=draw.randint(0, 3))
    draw.shuffle(mixed)
    return mixed


def test_any_overrides_give_what_hydra_gives(loaders: tuple[ConfigLoaderImpl, SweepLoader]) -> None:
    master = _master(loaders[0], "hydra.job.config.override_dirname.exclude_keys=[seed]", "hydra.job.chdir=true")
    composed = [_assert_same(loaders, master, _seeded(seed)) for seed in range(40)]
    assert 10 < sum(composed) < 35, "both what can be composed and what cannot"


@pytest.mark.exhaustive
def test_each_override_and_each_pair_gives_what_hydra_gives(loaders: tuple[ConfigLoaderImpl, SweepLoader]) -> None:
    master = _master(loaders[0])
    for first in (*CHOICES, *VALUES):
        _assert_same(loaders, master, [first])
        for second in VALUES:
            _assert_same(loaders, master, [first, second])


def test_variables_that_jobs_get_are_looked_up_with_the_cells_values(
    loaders: tuple[ConfigLoaderImpl, SweepLoader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_A", "a")
    monkeypatch.setenv("OF_B", "b")
    master = _master(loaders[0], "hydra.job.env_copy=['OF_${name}']", "name=A")
    for name in ("A", "B"):
        assert _assert_same(loaders, master, [f"name={name}"])


def test_a_cell_does_not_reach_into_the_next(loaders: tuple[ConfigLoaderImpl, SweepLoader]) -> None:
    hydra, quick = loaders
    master = _master(hydra)
    quick.load_sweep_config(master, ["+model.left=1", "~seed", "schedule.states=9"])
    assert _of(quick, master, ["seed=2"]) == _of(hydra, master, ["seed=2"])


def test_hydra_composes_once_per_choice_of_groups(
    loaders: tuple[ConfigLoaderImpl, SweepLoader], monkeypatch: pytest.MonkeyPatch
) -> None:
    hydra, quick = loaders
    master = _master(hydra)
    whole: list[list[str]] = []
    compose = ConfigLoaderImpl.load_configuration

    def counted(self: ConfigLoaderImpl, config_name: Any, overrides: list[str], *args: Any, **keywords: Any) -> DictConfig:
        whole.append(overrides)
        return compose(self, config_name, overrides, *args, **keywords)

    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", counted)
    for seed in range(30):
        for dataset in ("digits", "digit_pairs"):
            assert quick.load_sweep_config(master, [f"dataset={dataset}", f"seed={seed}", "optim.lr=0.1"]).seed == seed
    assert whole == [["dataset=digits"], ["dataset=digit_pairs"]]
