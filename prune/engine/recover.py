"""Where a run stands, from its files, none of which is believed before it was checked."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from prune.base.errors import UserError
from prune.base.files import jsonl, read_json, read_jsonl, remove_unfinished, sha256, sha256_of, write_json, write_jsonl
from prune.config.schema import RunConfig
from prune.rundir.checkpoint import Progress, foreign, load_last, read_run_memory, read_tensors
from prune.rundir.digests import Digests, digest
from prune.rundir.directory import RunDirectory
from prune.rundir.manifest import whole_manifest

log = logging.getLogger(__name__)


def find_progress(config: RunConfig, directory: RunDirectory) -> Progress:
    """The run's position: from last.pt, else from the newest complete state, else the start.

    The position is the truth: the files that can be made from it are written again where they differ, those of finished states
    are compared with their digests and named where they differ, and files that a kill left half-written are removed.

    Raises:
        UserError: if another version of this program wrote a file, or the only checkpoint is another run's.
    """
    remove_unfinished(directory.checkpoints)
    progress = load_last(directory) or _from_complete_states(config, directory)
    if progress is None:
        other = foreign(directory)
        if other is not None:
            raise UserError(f"{other} belongs to another run; put the right one back, or remove it to start afresh.")
        progress = Progress(directory.path.name)
    elif progress.begun and progress.state < config.schedule.states:
        log.info("resuming at state %d, epoch %d, step %d", progress.state, progress.epoch, progress.step)
    _restore_facts(directory, progress)
    _name_broken_files(directory, progress, over=progress.state == config.schedule.states)
    _restore_lines(directory.metrics, progress.metrics)
    _restore_lines(directory.states, progress.states)
    return progress


def _restore_facts(directory: RunDirectory, progress: Progress) -> None:
    """What was found at first start is as last.pt says. Without one nothing is known, and will be found again."""
    for path in directory.facts:
        known = progress.facts.get(path.name)
        if known is None:
            path.unlink(missing_ok=True)
        elif read_json(path) != known:
            log.warning("%s is missing or damaged; written again from the checkpoint", path)
            write_json(path, known)


def _restore_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    """Rewrite a file of lines as the checkpoint has them; say so where it held others, not only more or fewer of them."""
    text = jsonl(lines).encode()
    try:
        found = path.read_bytes()
    except OSError:
        found = b""
    if not text.startswith(found) and not found.startswith(text):
        log.warning("%s differs from the checkpoint; written again from it", path)
    if found != text:
        write_jsonl(path, lines)


def _name_broken_files(directory: RunDirectory, progress: Progress, over: bool) -> None:
    """Name what finished states have lost. As long as rewind points are needed they are `begin_state`'s to make again."""
    for path in Digests(directory, progress.files).broken():
        if over or path.parent != directory.checkpoints:
            log.warning("%s is missing or damaged; what it belongs to is finished, and it is not made again", path)


def _from_complete_states(config: RunConfig, directory: RunDirectory) -> Progress | None:
    """The start of the state after the newest whose files and lines are all there, as their checksums say."""
    states, metrics = read_jsonl(directory.states), read_jsonl(directory.metrics)
    for index in reversed(range(config.schedule.states)):
        about = whole_manifest(directory.manifest(index))
        if about is None:
            continue
        path = directory.manifest(index)
        if about["run"] != directory.path.name:
            log.warning("%s belongs to another run, %s", path, about["run"])
            continue
        files = ((directory.state(index) / "final.safetensors", "final"), (directory.run_memory(index), "run_memory"))
        epochs = config.epochs_before(index + 1)
        lines = ((directory.metrics, "metrics", metrics[:epochs]), (directory.states, "states", states[: index + 1]))
        damaged = [
            *(file for file, name in files if name in about["sha256"] and about["sha256"][name] != digest(file)),
            *(file for file, name, found in lines if about["resume"]["lines"][name] != sha256_of(jsonl(found))),
        ]
        if damaged:
            log.warning("%s is missing or damaged (its checksum does not match)", damaged[0])
            continue
        log.warning("no whole last.pt; going on from the final model of state %d", index)
        return _after(directory, index, about, metrics[:epochs], states[: index + 1])
    if states or metrics:
        log.warning("no whole last.pt and no complete state; starting afresh")
    return None


def _after(
    directory: RunDirectory, index: int, about: dict[str, Any], metrics: list[dict[str, Any]], states: list[dict[str, Any]]
) -> Progress:
    """The position after a complete state, from its manifest and the lines so far."""
    resume, folder = about["resume"], directory.state(index)
    progress = Progress(
        directory.path.name,
        state=index + 1,
        metrics=metrics,
        states=states,
        alive={name: group["kept"] for name, group in about["groups"].items()},
        run_memory=read_run_memory(directory, index),
        model=read_tensors(folder / "final.safetensors"),
        threads=resume["threads"],
        facts=resume["facts"],
        files=resume["files"],
    )
    digests = Digests(directory, progress.files)
    files = {
        "final": folder / "final.safetensors",
        "best": folder / "best.safetensors",
        "run_memory": directory.run_memory(index),
    }
    for name in files.keys() & about["sha256"].keys():
        digests.note(files[name], about["sha256"][name])
    digests.note(directory.manifest(index), sha256(directory.manifest(index)))
    return progress
