"""Replays runs on disk into W&B, exactly once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prune.rundir.reader import RunRecord
from prune.tracking_wandb.credentials import without_key
from prune.tracking_wandb.offline_log import last_step
from prune.tracking_wandb.online_ledger import OnlineLedger
from prune.tracking_wandb.points import History
from prune.tracking_wandb.session import Destination, Session


@dataclass(frozen=True)
class Outcome:
    """What came of one run.

    Attributes:
        run: the run's directory name.
        kind: sent | current (nothing to send) | live (its own job is sending it) | failed.
        points: how many were sent.
        reason: one sentence when failed.
    """

    run: str
    kind: Literal["sent", "current", "live", "failed"]
    points: int = 0
    reason: str = ""


def sync_run(record: RunRecord, destination: Destination, force: bool = False) -> Outcome:
    """Send what `destination` does not have of one run yet. Safe to call at any time and any number of times.

    Args:
        record: the run.
        destination: where to; its `live` must be False.
        force: ask the server even if the note of the last upload says that it has everything.
    """
    history, status = History.read(record), str(record.status.get("status"))
    last = max((point.step for point in history.points()), default=-1)
    if last < 0:
        return Outcome(record.id, "current")
    if destination.mode == "online":
        note = OnlineLedger(record.directory.wandb).read()
        if status == "running" and note.get("live"):
            return Outcome(record.id, "live")
        complete = {"target": destination.target, "live": False, "last_step": last, "status": status}
        if note == complete and not force:
            return Outcome(record.id, "current")
    elif last_step(record.directory.wandb) >= last:
        return Outcome(record.id, "current")
    try:
        with Session(record.directory, history, destination) as session:
            points = session.send()
            session.close(status)
    except Exception as error:  # one run's trouble must not keep the others from being sent; the caller reports it
        return Outcome(record.id, "failed", reason=without_key(error))
    return Outcome(record.id, "sent" if points else "current", points)
