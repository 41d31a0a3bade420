"""One W&B run opened, sent to and closed: what the live logger and the replay have in common."""

from __future__ import annotations

import logging
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prune.rundir.directory import RunDirectory
from prune.tracking_wandb.credentials import server, without_key
from prune.tracking_wandb.offline_log import ended, last_step, log_files
from prune.tracking_wandb.online_ledger import OnlineLedger
from prune.tracking_wandb.points import AXES, UNIT_COLUMNS, History, Point, axis_globs, identity

log = logging.getLogger(__name__)

MODEL_FILES = ("final.safetensors", "best.safetensors", "pruned.json")

SETTLE_SECONDS = 1.0


@dataclass(frozen=True)
class Destination:
    """Where points go, and how long to wait for it.

    Attributes:
        mode: online | offline.
        project, entity: as in W&B; entity None is the key's default.
        artifacts: whether each state's compact model is uploaded.
        live: whether this is the training job itself, whose console, machine and resources W&B may then describe.
        init_timeout: seconds until the server must have answered.
        finish_timeout: seconds for what is left to upload at the end.
    """

    mode: str
    project: str
    entity: str | None = None
    artifacts: bool = False
    live: bool = False
    init_timeout: float = 15.0
    finish_timeout: float = 15.0

    @property
    def target(self) -> str:
        """The server, entity and project in one text."""
        return f"{server()}/{self.entity or ''}/{self.project}"


class Session:
    """A W&B run that accepts a run's points in order, each step at most once. A context manager.

    What marks a point as already there is asked of the place it goes to, never of a note of our own that a kill could
    leave wrong: online the server tells the last step when the run is resumed; offline the run's `.wandb` files tell.

    Attributes:
        next_step: the first step that is not there yet.
    """

    def __init__(self, directory: RunDirectory, history: History, destination: Destination):
        """Open the run.

        Raises:
            Exception: whatever wandb raises when the server does not answer in time, or refuses the key.
        """
        self.directory, self.history, self.destination = directory, history, destination
        self.next_step = 0
        directory.wandb.mkdir(exist_ok=True)
        self._ledger = OnlineLedger(directory.wandb) if destination.mode == "online" else None
        if self._ledger:
            self._ledger.lock(seconds=destination.init_timeout)
        try:
            self._open()
        except BaseException:
            self._abandon()
            raise

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._abandon()
        elif self._ledger:
            self._ledger.release()

    def send(self) -> int:
        """Send every complete point of the history that is not there yet; returns how many that were."""
        sent = 0
        for point in self.history.points(first=self.next_step):
            self._send(point)
            self.next_step = point.step + 1
            sent += 1
        return sent

    def close(self, status: str) -> None:
        """Write the summary and end the W&B run as `status` (done | failed | preempted | …) says.

        Raises:
            TimeoutError: if not everything was uploaded in time. It is on disk; the next session sends it.
        """
        self._run.summary.update(self.history.summary())
        if status not in ("done", "failed"):
            # W&B then shows "preempted", not "crashed": the run is to go on.
            self._run.mark_preempting()
        self._run.finish(exit_code=0 if status == "done" else 1)
        if self._ledger is None:
            self._await_disk()
        else:
            self._ledger.write(target=self.destination.target, live=False, last_step=self.next_step - 1, status=status)
            self._mark_offline_logs_as_synced()

    def _open(self) -> None:
        if "wandb" not in sys.modules:
            # A process that started this one may have left the address of its wandb service. Runs opened there end with
            # that process, and stay "in use" there if this one is killed.
            os.environ.pop("WANDB_SERVICE", None)
        import wandb

        # wandb's diary is in wandb/…/logs; launch.log is for the run's own.
        logging.getLogger("wandb").propagate = False
        # Before anything else, because wandb's own announcements at login ask these settings, not those of the run.
        wandb.setup(wandb.Settings(silent=True))
        destination, online = self.destination, self._ledger is not None
        written = -1 if online else _last_step_on_disk(self.directory.wandb)
        about = identity(self.history.config, self.directory)
        self._run = wandb.init(
            dir=str(self.directory.path),
            entity=destination.entity,
            project=destination.project,
            id=about.id,
            name=about.name,
            group=about.group,
            job_type=about.job_type,
            tags=list(about.tags),
            config=self.history.config,
            mode="online" if online else "offline",
            resume="allow",
            settings=_settings(destination),
        )
        self.next_step = self._run.starting_step if online else written + 1
        if self._ledger:
            self._ledger.write(target=destination.target, live=destination.live, last_step=None, status=None)
        for axis in AXES:
            self._run.define_metric(axis)
        for axis, metrics in axis_globs(self.history.config):
            self._run.define_metric(metrics, step_metric=axis)

    def _abandon(self) -> None:
        """Give up; what has not arrived is for the next session."""
        _stop_service()
        if self._ledger:
            self._ledger.release()

    def _send(self, point: Point) -> None:
        import wandb

        values: dict[str, Any] = dict(point.values)
        if point.units is not None:
            values["state/units"] = wandb.Table(columns=list(UNIT_COLUMNS), data=list(point.units))
        if point.state is not None and self.destination.artifacts:
            self._send_model(point.state)
        # commit: without it wandb holds a row back until the next one, and a kill would lose it.
        self._run.log(values, step=point.step, commit=True)

    def _send_model(self, state: int) -> None:
        import wandb

        folder = self.directory.state(state)
        name = f"{self.directory.path.name}-state_{state:02d}"
        artifact = wandb.Artifact(name, type="model", metadata=self.history.states[state])
        for file in MODEL_FILES:
            # checkpoint.keep may have removed some of them by now.
            if (folder / file).is_file():
                artifact.add_file(str(folder / file), name=file)
        self._run.log_artifact(artifact)

    def _await_disk(self) -> None:
        # wandb's service writes in blocks, the last of them a moment after finish() has returned.
        deadline = time.monotonic() + self.destination.finish_timeout
        while last_step(self.directory.wandb) < self.next_step - 1:
            if time.monotonic() > deadline:
                raise TimeoutError("wandb did not write all points to disk")
            time.sleep(0.02)

    def _mark_offline_logs_as_synced(self) -> None:
        """Tell `wandb sync` that the offline logs have nothing new: what they hold went online just now, or before."""
        for path in log_files(self.directory.wandb):
            if path.parent.name.startswith("offline-"):
                path.with_name(f"{path.name}.synced").touch()


def _stop_service() -> None:
    """After trouble, end wandb's service of this process; the next session starts another.

    The old one would go on holding a run that it could not start or finish, and refuse to open it again; and if it was
    itself killed, wandb would print a traceback when the process ends.
    """
    import wandb

    try:
        wandb.teardown()
    except Exception as error:  # it is gone already, which is all we want
        log.debug("wandb.teardown: %s", without_key(error))


def _last_step_on_disk(folder: Path) -> int:
    if not all(ended(path) for path in log_files(folder)):
        # The process was killed, but wandb's service may have outlived it for the moment it needs to write its last block.
        time.sleep(SETTLE_SECONDS)
    return last_step(folder)


def _settings(destination: Destination) -> Any:
    import wandb

    return wandb.Settings(
        reinit="create_new",  # several runs in one process, none of them the global one
        init_timeout=destination.init_timeout,
        finish_timeout=destination.finish_timeout,
        finish_timeout_raises=True,
        # launch.log holds the console, the commit is in status.json, and a diff of the working tree may hold secrets.
        console="off",
        disable_git=True,
        save_code=False,
        disable_job_creation=True,
        x_save_requirements=False,
        silent=True,
        show_errors=False,
        symlink=False,  # two processes of one sweep must not fight over latest-run
        use_dot_wandb=False,
        # A replay runs on another machine than the training did; its load and its arguments say nothing about the run.
        x_disable_stats=not destination.live,
        x_disable_meta=not destination.live,
        x_disable_machine_info=not destination.live,
    )
