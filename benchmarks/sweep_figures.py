"""What a cell costs in a large sweep and in a small one, planned or shown by status. Well beyond 1, a step is quadratic."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from rich.console import Console

from benchmarks.figure import Figure
from benchmarks.scale import Scale
from benchmarks.timing import quartiles, ratios, take_turns
from benchmarks.workbench import CONF
from prune.base.files import write_json
from prune.config import RunConfig
from prune.rundir.identity import run_directory
from prune.rundir.reader import look
from prune.rundir.status import now
from prune.sweep.composing import SweepLoader
from prune.sweep.entry import read_config
from prune.sweep.plan import make_plan, print_plan
from prune.sweep.rows import counts, table_of
from prune.sweep.status_command import rows_of


def _composed(folder: Path, cells: int) -> list[RunConfig]:
    """A demo run per seed, as a launch composes and validates them: twice, by the sweeper and by the launcher."""
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        loader = SweepLoader(GlobalHydra.instance().config_loader().get_search_path())
        master = loader.load_configuration("config", [], RunMode.MULTIRUN)
        matrix = [["experiment=demo", "dataset=digits", f"outputs={folder}", f"seed={seed}"] for seed in range(cells)]
        for overrides in matrix:
            loader.load_sweep_config(master, overrides)
        return [read_config(loader.load_sweep_config(master, overrides)) for overrides in matrix]


def _console() -> Console:
    return Console(file=io.StringIO(), width=200)


def _plan(folder: Path, cells: int) -> None:
    print_plan(make_plan(_composed(folder, cells)), _console())


def _status(folder: Path) -> None:
    rows = rows_of([look(run) for run in sorted(folder.iterdir())])
    _console().print(table_of(rows, counts(rows)))


def _begun(folder: Path, cells: int) -> Path:
    """So many runs that have been stopped before their first epoch's end; returns the sweep's folder."""
    configs = _composed(folder, cells)
    for config in configs:
        run = run_directory(config)
        run.path.mkdir(parents=True)
        run.write_config(config.model_dump(mode="json"))
        write_json(run.status, {"status": "preempted", "host": "here", "heartbeat": now()})
    return run_directory(configs[0]).path.parent


def _growth(name: str, scale: Scale, many: Callable[[], None], few: Callable[[], None]) -> Figure:
    """Milliseconds of this process's time per cell, of many cells / of few."""

    def busy(call: Callable[[], object]) -> float:
        began = time.process_time()
        call()
        return time.process_time() - began

    large, small = scale.cells
    times = take_turns({"many": many, "few": few}, scale.repeats_sweep, timer=busy)
    each = {"many": [1000 * t / large for t in times["many"]], "few": [1000 * t / small for t in times["few"]]}
    notes = {f"ms_at_{large}": quartiles(each["many"])[1], f"ms_at_{small}": quartiles(each["few"])[1]}
    return Figure.of(name, ratios(each["many"], each["few"]), 1.2, True, **notes)


def plan_growth(scale: Scale, folder: Path) -> Figure:
    """`plan=true` of new runs: composing, validating, looking for what is there, the table."""
    large, small = scale.cells
    return _growth("plan_growth", scale, lambda: _plan(folder, large), lambda: _plan(folder, small))


def status_growth(scale: Scale, folder: Path) -> Figure:
    """`prune status` of runs that have begun: reading their files, the table."""
    large, small = (_begun(folder / str(cells), cells) for cells in scale.cells)
    return _growth("status_growth", scale, lambda: _status(large), lambda: _status(small))
