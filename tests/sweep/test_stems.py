"""Who trains a state 0 that cells share, what the others save, and how the plan, the table of runs and the order tell it."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from prune.base.errors import UserError
from prune.base.files import write_json
from prune.cli import main
from prune.engine.cell import Task, run_cell
from prune.rundir.dense import dense_directory
from prune.rundir.identity import run_directory
from prune.rundir.reader import read_run
from prune.rundir.status import now
from prune.sweep import submission as notes
from prune.sweep.dispatch import _mark_queued
from prune.sweep.local import LocalBackend
from prune.sweep.plan import PlannedCell, in_turn, make_plan, trainers_first
from prune.sweep.rows import row_of
from prune.sweep.slurm import SlurmBackend
from prune.sweep.slurm_queue import JobState
from prune.sweep.work import flops_left
from tests.conftest import Compose
from tests.engine.runs import finished
from tests.sweep.sweeps import launch, write_run
from tests.sweep.test_local import LOCAL, Jobs
from tests.sweep.test_plan import finished as earlier
from tests.sweep.test_plan import shown

METHODS = ("method=refill", "method=rsst", "method=dense")


def planned(compose_tiny: Compose, *overrides: str) -> list[PlannedCell]:
    return make_plan([compose_tiny(method, f"seed={seed}", *overrides) for method in METHODS for seed in (0, 1)])


def test_the_work_is_counted_once(compose_tiny: Compose) -> None:
    earlier(compose_tiny("seed=7", "name=before"))
    plan = planned(compose_tiny)
    assert [cell.share.takes_over for cell in plan] == [False, False, True, True, True, True]
    assert [cell.epochs_left for cell in plan] == [6, 6, 4, 4, 4, 4]
    assert [cell.position for cell in plan] == [(0, 0)] * 2 + [(1, 0)] * 4
    alone = planned(compose_tiny, "share_dense=false")
    for cell, other in zip(plan, alone, strict=True):
        assert cell.flops_left == flops_left(other.config, 2 if cell.share.takes_over else 0)
        assert other.epochs_left == 6 and other.hours is not None and cell.hours is not None
        assert (cell.hours < other.hours) == cell.share.takes_over
    text = shown(plan)
    assert "State 0 is trained once where runs have the same: 4 of these take it over and begin with state 1." in text
    assert "To compute: 28 epochs" in text
    assert "take it over" not in shown(alone)


def test_a_finished_run_has_left_it_for_cells_that_are_added_later(compose_tiny: Compose) -> None:
    finished(run_cell(compose_tiny("method=refill")))
    done, new, lacking = make_plan(
        [compose_tiny("method=refill"), compose_tiny("method=rsst"), compose_tiny("method=dense", "method.rewind=epoch:0")]
    )
    assert (done.standing, done.share.takes_over) == ("done", False)
    assert (new.epochs_left, new.begins_with_shared) == (4, True)
    assert (lacking.epochs_left, lacking.share.takes_over) == (6, False), "that point was not kept"
    assert lacking.share.points == ("epoch:0",)


def test_whoever_has_most_of_it_trains_it(compose_tiny: Compose) -> None:
    write_run(compose_tiny("method=rsst"), 1)
    refill, rsst, dense = make_plan([compose_tiny(method) for method in METHODS])
    assert {cell.share.trained_by for cell in (refill, rsst, dense)} == {rsst.directory.path}
    assert (refill.epochs_left, rsst.epochs_left, dense.epochs_left) == (4, 5, 4)
    assert trainers_first([refill, rsst, dense]) == [rsst, refill, dense]
    [other] = make_plan([compose_tiny("seed=1")])
    assert in_turn([other, refill, dense, rsst]) == [other, rsst, refill, dense]


def test_each_trainer_has_the_turn_of_the_first_that_waits_for_it(compose_tiny: Compose) -> None:
    for seed in (0, 1):
        write_run(compose_tiny("method=rsst", f"seed={seed}"), 1)
    order = (("refill", 0), ("refill", 1), ("dense", 1), ("rsst", 1), ("rsst", 0), ("dense", 0))
    plan = make_plan([compose_tiny(f"method={method}", f"seed={seed}") for method, seed in order])
    turns = [(cell.config.method.name, cell.config.seed) for cell in in_turn(plan)]
    assert turns == [("rsst", 0), ("refill", 0), ("rsst", 1), ("refill", 1), ("dense", 1), ("dense", 0)]


def test_the_rest_of_a_sweep_is_counted_once(compose_tiny: Compose, capsys: pytest.CaptureFixture[str]) -> None:
    earlier(compose_tiny("seed=7", "name=before"), seconds=3600.0)
    hours = {}
    for share in ("true", "false"):
        configs = [compose_tiny(method, f"share_dense={share}", f"name=share-{share}") for method in METHODS]
        for config in configs:
            write_run(config, status="queued")
        assert main(["status", str(run_directory(configs[0]).path.parent)]) == 0
        hours[share] = sum(cell.hours or 0 for cell in make_plan(configs))
        assert f"To go: about {hours[share]:.2g} hours" in capsys.readouterr().out
    assert hours["true"] < 0.8 * hours["false"]


def test_a_run_that_waits_says_so(compose_tiny: Compose) -> None:
    directory = write_run(compose_tiny(), status="running", waiting="process 7 on host here")
    assert row_of(read_run(directory.path)).status == "waiting (for state 0)"
    write_json(directory.status, {"status": "running", "waiting": None, "heartbeat": now()})
    assert row_of(read_run(directory.path)).status == "running"


# ---- processes on this machine -------------------------------------------------------------------------------------------


def test_a_slot_is_not_given_to_a_cell_that_would_only_wait(compose_tiny: Compose, tmp_path: Path) -> None:
    plan = planned(compose_tiny, "hardware=local", "hardware.jobs=4")
    backend = LocalBackend(plan[0].config.hardware, Jobs(), tmp_path)
    for cell in plan:
        _mark_queued(cell.config, cell.directory)
    backend.submit(trainers_first(plan))
    jobs = backend.executor
    assert isinstance(jobs, Jobs)
    names = [made.job.config["method"]["name"] for made in jobs.started]
    assert names == ["refill", "refill"], "two seeds; two slots stay free for whoever can use them"
    told = backend.poll([cell.directory for cell in plan])
    assert told is not None and told[plan[2].directory.path].reason == "for state 0"
    seeds = [made.job.config["seed"] for made in jobs.started]
    write_json(plan[seeds.index(0)].directory.status, {"status": "running", "state": 1, "heartbeat": now()})
    backend.poll([])
    assert [(made.job.config["method"]["name"], made.job.config["seed"]) for made in jobs.started[2:]] == [("rsst", 0)]
    jobs.started[seeds.index(1)].ended = True  # it has failed: the next one of its seed trains what the others wait for
    backend.poll([])
    assert [made.job.config["seed"] for made in jobs.started[3:]] == [1]


def test_processes_share(tmp_path: Path) -> None:
    done = launch(tmp_path, *LOCAL, "method=refill,rsst", "method.rewind=epoch:0", "hardware.jobs=2")
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "outputs" / "demo").glob(".dense/*")
    assert {path.name for path in folder.glob("rewind-*")} == {"rewind-init.safetensors", "rewind-epoch-000.safetensors"}
    runs = list((tmp_path / "outputs" / "demo").glob("digits-*"))
    assert sorted((run / "dense.json").exists() for run in runs) == [False, True]


# ---- SLURM ---------------------------------------------------------------------------------------------------------------


class Cluster:
    """Stands for submitit: notes what is submitted, and can refuse."""

    def __init__(self, refuse_from: int = 99, how: type[BaseException] = OSError):
        self.arrays: list[tuple[dict[str, Any], list[Any]]] = []
        self.cancelled: list[str] = []
        self.refuse_from, self.how = refuse_from, how

    def __call__(self, _: str, **parameters: Any) -> SimpleNamespace:
        def submit_array(jobs: list[Any]) -> list[Any]:
            number = len(self.arrays)
            if number >= self.refuse_from:
                raise self.how("no more")
            self.arrays.append((parameters, jobs))
            paths = SimpleNamespace(stdout="out", stderr="err", result_pickle=Path("result"))
            return [self.job(f"{number}_{n}", paths) for n in range(len(jobs))]

        return SimpleNamespace(submit_array=submit_array)

    def job(self, job_id: str, paths: Any) -> SimpleNamespace:
        return SimpleNamespace(job_id=job_id, paths=paths, cancel=lambda check: self.cancelled.append(job_id))


def submit(plan: list[PlannedCell], cluster: Cluster) -> None:
    for cell in plan:
        _mark_queued(cell.config, cell.directory)
    SlurmBackend(plan[0].config.hardware, cluster, Path("/code")).submit(trainers_first(plan))


def test_stems_are_jobs_and_their_cells_are_arrays_that_wait(compose_tiny: Compose) -> None:
    own = compose_tiny("hardware=slurm", "hardware.parallel=8", "method=dense", "seed=5")
    flags = "hardware.sbatch=['--dependency=singleton']"
    shared = [compose_tiny("hardware=slurm", flags, "hardware.parallel=8", m, f"seed={s}") for m in METHODS for s in (0, 1)]
    plan, cluster = make_plan([*shared, own.model_copy(update={"hardware": shared[0].hardware})]), Cluster()
    submit(plan, cluster)
    stems, *arrays = cluster.arrays
    assert [(job.dense_only, job.config["method"]["name"], job.config["seed"]) for job in stems[1]] == [
        (True, "refill", 0), (True, "refill", 1),
    ]  # fmt: skip
    assert stems[0]["additional_parameters"]["dependency"] == "singleton"
    found = {parameters["additional_parameters"]["dependency"]: (parameters, jobs) for parameters, jobs in arrays}
    assert set(found) == {"afterany:0_0", "afterany:0_1", "singleton"}
    for seed in (0, 1):
        parameters, jobs = found[f"afterany:0_{seed}"]
        assert [job.config["method"]["name"] for job in jobs] == ["refill", "rsst", "dense"]
        assert {(job.config["seed"], job.dense_only) for job in jobs} == {(seed, False)}
        assert parameters["array_parallelism"] == 3, "of the eight at the same time"
    assert [job.config["seed"] for job in found["singleton"][1]] == [5]


def test_cells_that_are_added_wait_for_the_stem_that_is_in_the_queue(
    compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = JobState("PENDING")
    monkeypatch.setattr(notes, "queue_states", lambda ids: dict.fromkeys(ids, state))
    first = make_plan([compose_tiny("hardware=slurm", method) for method in METHODS[:2]])
    submit(first, Cluster())
    again = make_plan([compose_tiny("hardware=slurm", method) for method in METHODS])
    assert [cell.standing for cell in again] == ["queued", "queued", "new"]
    cluster = Cluster()
    submit([again[2]], cluster)
    ((parameters, jobs),) = cluster.arrays
    assert parameters["additional_parameters"]["dependency"] == "afterany:0_0"
    assert [job.dense_only for job in jobs] == [False]


def test_the_jobs_of_earlier_stems_are_asked_after_at_once(compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question for each of hundreds of cells would be hundreds of calls of squeue."""
    asked: list[list[str]] = []
    monkeypatch.setattr(notes, "queue_states", lambda ids: asked.append(ids) or dict.fromkeys(ids, JobState("PENDING")))
    cells = [compose_tiny("hardware=slurm", method, f"seed={seed}") for method in METHODS for seed in (0, 1)]
    submit(make_plan(cells[:4]), Cluster())
    added = make_plan([*cells, compose_tiny("hardware=slurm", "schedule.target=0.5")])[4:]
    asked.clear()
    cluster = Cluster()
    submit(added, cluster)
    assert [sorted(ids) for ids in asked] == [["0_0", "0_1"]]
    found = {parameters["additional_parameters"]["dependency"]: jobs for parameters, jobs in cluster.arrays}
    assert {after: [job.config["seed"] for job in jobs] for after, jobs in found.items()} == {
        "afterany:0_0": [0, 0], "afterany:0_1": [1],
    }  # fmt: skip


@pytest.mark.parametrize(("how", "seen"), [(OSError, UserError), (KeyboardInterrupt, KeyboardInterrupt)])
def test_what_was_submitted_is_cancelled_if_the_rest_is_not(
    compose_tiny: Compose, how: type[BaseException], seen: type[BaseException]
) -> None:
    """sbatch refuses, or Ctrl-C comes between two arrays."""
    plan, cluster = make_plan([compose_tiny("hardware=slurm", method) for method in METHODS]), Cluster(1, how)
    with pytest.raises(seen, match="sbatch refused the sweep" if seen is UserError else "no more"):
        submit(plan, cluster)
    assert cluster.cancelled == ["0_0"]
    assert not plan[0].directory.submission.exists()


def test_a_stem_that_is_there_needs_no_job(compose_tiny: Compose) -> None:
    finished(run_cell(compose_tiny("method=refill", "schedule.states=2"), Task()))
    plan, cluster = make_plan([compose_tiny("hardware=slurm", method) for method in METHODS]), Cluster()
    submit(plan, cluster)
    ((parameters, jobs),) = cluster.arrays
    assert "dependency" not in parameters["additional_parameters"]
    assert len(jobs) == 3
    place = dense_directory(plan[0].config)
    assert place is not None
    shutil.rmtree(place.path)
    assert sum(cell.share.takes_over for cell in make_plan([cell.config for cell in plan])) == 2
