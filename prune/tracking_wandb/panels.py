"""The saved view that compares methods: built with wandb-workspaces, found again by a name derived from its subject."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prune.base.errors import UserError
from prune.base.text import flatten
from prune.rundir.directory import RunDirectory
from prune.rundir.reader import run_folders
from prune.tracking_wandb.points import dataset_of

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2 import LinePlot
    from wandb_workspaces.workspaces import Section, Workspace

METHOD = "method.name"
DEFAULT_KEYS = (METHOD, "dataset.name", "model.name", "method.criterion", "schedule.target", "optim.lr", "seed")
"""Columns of the parallel coordinates when no local run tells which keys a sweep varies."""

_NOT_SWEPT = ("hardware", "logger", "checkpoint", "name", "outputs")
MAX_RUNS = 200


@dataclass(frozen=True)
class Contents:
    """What the view is about.

    Attributes:
        datasets: labels as in `points.dataset_of`; a section each.
        keys: dotted configuration keys, the columns of the parallel coordinates.
        group_by: the key whose values are the lines of a panel, each the mean of its runs.
        mixed: keys that vary beside dataset, seed and `group_by`: runs that differ in them share a line.
    """

    datasets: tuple[str, ...]
    keys: tuple[str, ...]
    group_by: str = METHOD
    mixed: tuple[str, ...] = ()


def contents(outputs: Path, sweep: str | None, group_by: str = METHOD) -> Contents:
    """Datasets and varied keys of the runs below `outputs` (one sweep or all); without any, every known dataset."""
    folders = [outputs / sweep] if sweep else sorted(path for path in outputs.glob("*") if path.is_dir())
    configs: list[dict[str, Any]] = []
    for run in [run for folder in folders for run in run_folders(folder)]:
        with suppress(UserError):  # a run of another version of this program
            configs.append(RunDirectory(run).read_config())
    if not configs:  # the runs may be on another machine; the view needs none of them here
        from prune.base.registries import DATASETS

        return Contents(tuple(DATASETS.names()), DEFAULT_KEYS, group_by)
    varied = _varied(configs)
    first = [key for key in DEFAULT_KEYS if key in varied or key == METHOD]
    keys = (*first, *sorted(varied - set(first)))
    datasets = tuple(sorted({dataset_of(config) for config in configs}))
    mixed = tuple(key for key in keys if key not in ("seed", METHOD, group_by) and not key.startswith("dataset."))
    return Contents(datasets, keys, group_by, mixed)


def _varied(configs: list[dict[str, Any]]) -> set[str]:
    """Dotted keys that differ between the runs.

    Of the keys below `method` and `dataset` only those that differ between runs of the same one: two methods have
    different defaults, which is the difference between the methods and not one more.
    """
    rows = [flatten(config) for config in configs]
    result = {key for key in _differing(rows) if key.split(".")[0] not in ("method", "dataset", *_NOT_SWEPT)}
    for section in ("method", "dataset"):
        names = sorted({row[f"{section}.name"] for row in rows})
        if len(names) > 1:
            result.add(f"{section}.name")
        for name in names:
            same = [row for row in rows if row[f"{section}.name"] == name]
            result |= {key for key in _differing(same) if key.startswith(f"{section}.")}
    return result


def _differing(rows: list[dict[str, Any]]) -> set[str]:
    return {key for row in rows for key in row if row[key] != rows[0].get(key)}


def workspace(entity: str, project: str, sweep: str | None, about: Contents) -> Workspace:
    """The view, not saved yet. The same arguments give the same specification, byte for byte."""
    import wandb_workspaces.expr as expr
    import wandb_workspaces.workspaces as ws

    sections = [*(_dataset_section(dataset, about.group_by) for dataset in about.datasets), _runs(about)]
    for section in sections:
        for panel in section.panels:
            panel._id = hashlib.sha256(f"{section.name}/{getattr(panel, 'title', 'comparer')}".encode()).hexdigest()[:11]
    view = ws.Workspace(
        entity=entity,
        project=project,
        name=f"Pruning: {sweep}" if sweep else "Pruning: all sweeps",
        sections=sections,
        settings=ws.WorkspaceSettings(max_runs=MAX_RUNS, smoothing_type="none"),
        runset_settings=ws.RunsetSettings(
            filters=expr.And(expr.Metric("Group") == sweep) if sweep else "",
            pinned_columns=["run:displayName", *(f"config:{_config_path(key)}" for key in about.keys)],
        ),
    )
    view._internal_name = view_name(entity, project, sweep)
    view._internal_runset_id = view_name(entity, project, sweep).split("-")[1]
    return view


def view_name(entity: str, project: str, sweep: str | None) -> str:
    """The view's identity on the server: always the same for the same entity, project and sweep, on any machine."""
    digest = hashlib.sha256(f"{entity}/{project}/{sweep or ''}".encode()).hexdigest()[:11]
    return f"nw-{digest}-v"  # the form that the W&B app gives to its own views


def save(view: Workspace) -> tuple[str, bool]:
    """Create the view, or replace what the same call created before; returns its address and whether it is new.

    The server is asked for a view of the same name; a save with that view's id updates it, one without an id adds.

    Raises:
        ValueError: if the project does not exist or may not be read.
    """
    import wandb
    from wandb_workspaces.workspaces import internal

    wandb.setup(wandb.Settings(silent=True))
    slug = internal._internal_name_to_url_query_str(view._internal_name)
    try:
        found = internal.get_view_dict(view.entity, view.project, slug)
    except ValueError as error:
        if not str(error).startswith("Workspace "):
            raise
        found = None
    if found:
        view._internal_id = found["id"]
    view.save()
    return view.url, found is None


def _dataset_section(dataset: str, group_by: str) -> Section:
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    def lines(title: str, x: str, names: Sequence[str], title_x: str, title_y: str) -> LinePlot:
        """Mean over the runs of a method, with a band of one standard deviation."""
        return wr.LinePlot(
            title=title, x=x, y=[f"{dataset}/{name}" for name in names], title_x=title_x, title_y=title_y,
            groupby=wr.Config(group_by), groupby_aggfunc="mean", groupby_rangefunc="stddev",
            max_runs_to_show=MAX_RUNS, smoothing_factor=0,
        )  # fmt: skip

    best, removal = "state/test_accuracy_best", "state/val_accuracy_{}_removal"
    accuracy, points, epochs = "top-1 accuracy (%)", "percentage points (validation)", "epochs finished"
    panels = [
        lines("Test accuracy, best epoch", "state", [best], "state", accuracy),
        lines("Validation accuracy, best epoch", "state", ["state/val_accuracy_best"], "state", accuracy),
        lines("Test accuracy against parameters", "state/parameters", [best], "parameters", accuracy),
        lines("Test accuracy against MACs", "state/macs", [best], "MACs", accuracy),
        lines("Drop right after pruning", "state", ["state/drop"], "state", points),
        lines("Recovery by the end of the state", "state", ["state/recovery"], "state", points),
        lines(
            "Soft pruning: before and after removal", "state",
            [removal.format("before"), removal.format("after")], "state", accuracy,
        ),
        lines("λ, penalty on marked units", "epoch", ["epoch/penalty"], epochs, "λ"),
        lines("Validation accuracy while training", "epoch", ["epoch/val_accuracy"], epochs, accuracy),
        lines("Training loss", "epoch", ["epoch/train_loss"], epochs, "cross-entropy"),
    ]  # fmt: skip
    return ws.Section(name=dataset, is_open=True, panels=panels)


def _runs(about: Contents) -> Section:
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    columns = [wr.ParallelCoordinatesPlotColumn(metric=wr.Config(key), display_name=key) for key in about.keys]
    columns += [
        wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(f"state/{name}"), display_name=name)
        for name in ("parameters", "test_accuracy_best")
    ]
    title = "Keys of the sweep and the last state's result"
    panels = [wr.ParallelCoordinatesPlot(title=title, columns=columns), wr.RunComparer(diff_only="split")]
    return ws.Section(name="Runs", is_open=True, panels=panels)


def _config_path(key: str) -> str:
    """How the runs table addresses a nested configuration key: `method.name` is `method.value.name`."""
    first, _, rest = key.partition(".")
    return f"{first}.value" + (f".{rest}" if rest else "")
