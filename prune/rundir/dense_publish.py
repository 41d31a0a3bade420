"""Writing a shared dense state, by the run that has trained it and holds its lock."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import Tensor

import prune
from prune.base.errors import UserError
from prune.base.files import read_json_object, sha256_of, write_atomically, write_json
from prune.rundir.checkpoint import dump_tensors
from prune.rundir.dense import BEST, FINAL, PREDICTIONS, DenseDirectory, DenseState, manifest_checksum, read_dense
from prune.rundir.digests import Digests, digest
from prune.rundir.format import FORMAT

log = logging.getLogger(__name__)


def keep_point(directory: DenseDirectory, run: str, point: str, tensors: Mapping[str, Tensor]) -> None:
    """Keep a rewind point that other runs want, until the run that passes it publishes the whole.

    Args:
        run: the run that passes it, to which it belongs until then.
    """
    name, data = directory.rewind(point).name, dump_tensors(tensors)
    directory.path.mkdir(parents=True, exist_ok=True)  # it may have been removed meanwhile
    write_atomically(directory.aside(name), lambda file: file.write(data))
    write_json(directory.pending, {"run": run, "sha256": {**_pending(directory, run), name: sha256_of(data)}})


def _pending(directory: DenseDirectory, run: str) -> dict[str, str]:
    """Name → digest of the points that this run has kept so far."""
    content = read_json_object(directory.pending)
    files = content.get("sha256")
    if content.get("run") != run or not isinstance(files, dict):
        return {}
    return {name: sha for name, sha in files.items() if Path(name).name == name}


def publish(
    directory: DenseDirectory,
    digests: Digests,
    points: Iterable[str],
    *,
    start: dict[str, Any],
    threads: int,
    facts: dict[str, Any],
    metrics: list[dict[str, Any]],
    line: dict[str, Any],
) -> DenseState | None:
    """Make what a run's finished state 0 is the shared one. Only for who holds the lock.

    If the same is there already, the rewind points that it lacks are added. If another is there, of the same data (another
    processor's, say, which differs in last digits), it stays: runs may have begun with it.

    Args:
        digests: of the run's files.
        points: the run's own rewind points.
        start, threads, facts, metrics, line: see `DenseState`.

    Returns:
        What is there now; None if it is not this run's.

    Raises:
        UserError: if a file of the run is not as it was written.
        OSError: if something cannot be written. Then there is nothing to adopt.
    """
    run = digests.directory
    own = {
        FINAL: run.state(0) / FINAL,
        BEST: run.state(0) / BEST,
        PREDICTIONS: run.predictions(0),
        **{path.name: run.checkpoints / path.name for path in map(directory.rewind, points)},
    }
    for_others = {name: sha for name, sha in _pending(directory, run.path.name).items() if digest(directory.aside(name)) == sha}
    made = DenseState(directory, run.path.name, prune.__version__, start, threads, facts, metrics, line, {})
    kept: dict[str, str] = {}
    there = read_dense(directory)
    if isinstance(there, DenseState) and there.facts == facts and there.broken(()) is None:
        if there.sha256[FINAL] != digests.of(own[FINAL]):
            log.info("%s holds other bits than this run's state 0 (other hardware?) and stays as it is", directory.path)
            _forget_pending(directory)
            return None
        kept = {name: sha for name, sha in there.sha256.items() if digest(directory.path / name) == sha}
        made = there
    directory.path.mkdir(parents=True, exist_ok=True)  # it may have been removed meanwhile
    directory.manifest.unlink(missing_ok=True)
    sources: dict[str, tuple[Path, str | None]] = {name: (directory.aside(name), sha) for name, sha in for_others.items()}
    sources |= {name: (path, digests.of(path)) for name, path in own.items()}
    for name, (path, sha) in sources.items():
        if kept.get(name) != sha or sha is None:
            kept[name] = _copy(path, directory.path / name, sha)
    made = replace(made, sha256=kept)
    content = {**asdict(made), "format": FORMAT, "fixed_by": directory.fixed_by}
    del content["directory"]
    write_json(directory.manifest, {**content, "checksum": manifest_checksum(content)})
    _forget_pending(directory)
    return made


def _forget_pending(directory: DenseDirectory) -> None:
    """Nobody waits to publish what lies aside: this run has done so, and earlier ones that held the lock are gone."""
    directory.pending.unlink(missing_ok=True)
    for path in directory.path.glob(directory.aside("*").name):
        path.unlink(missing_ok=True)


def _copy(source: Path, target: Path, sha256: str | None) -> str:
    """Copy a file that must have this digest; the digest."""
    data = source.read_bytes()
    if sha256 is None or sha256_of(data) != sha256:
        raise UserError(f"{source} is damaged: its checksum is not the one that was noted.")
    write_atomically(target, lambda file: file.write(data))
    return sha256
