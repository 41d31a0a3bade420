"""All cases, each by a name, and what became of one. A harness is made once; its cases run in any order, in any process."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from prune.base.files import read_json
from prune.engine.cell import run_cell
from prune.rundir import lock
from prune.rundir.identity import run_directory
from tests.faults import damages, reading, remembering, resume
from tests.faults.points import Points, be_full, die
from tests.faults.sweeps import KINDS, Sweep, added, configs, in_a_child, make, start

FLIPS = 3
"""Bits that are flipped in each file, one a case."""

SHORT = ("schedule.states=2", "schedule.epochs=1", "schedule.epochs_first=2")
"""A run of few points, for kills and full disks."""

WRITES = ("write", "fsync", "mkdir")
"""Points at which a full disk can be noticed."""

ROOM = 24
"""Sizes of the small disk, from one that takes nothing to one that takes almost all."""


@dataclass(frozen=True)
class Case:
    """One thing that goes wrong.

    Attributes:
        act: `resume` or `read` for a damage, `adopt` for one of a shared state 0, `kill`, `full`, or `small disk`.
        kind: the kind of sweep.
        file, damage: which file of the run, and how.
        number: which bit is flipped, which point is hit, or how much room there is.
    """

    act: str
    kind: str = ""
    file: str = ""
    damage: str = ""
    number: int = 0

    @property
    def group(self) -> str:
        """What it is, in a word."""
        return {
            "kill": "killed at a point",
            "full": "disk full from a point on (injected)",
            "small disk": "disk of limited size (tmpfs)",
        }.get(self.act, f"{self.act}, {self.kind}")


@dataclass(frozen=True)
class Result:
    """What became of a case: `what` is the row of the table, `word` its column."""

    case: Case
    what: str
    word: str
    text: str

    @property
    def good(self) -> bool:
        return self.word in (*resume.GOOD, *reading.GOOD)


class Harness:
    """The sweeps that are damaged, in a folder.

    Args:
        folder: an empty one.
    """

    def __init__(self, folder: Path):
        self.folder, self._torn_seconds = folder, lock.TORN_SECONDS
        lock.TORN_SECONDS = 0.1  # a lock that names nobody is waited for; here nobody comes
        whole = make("finished", folder / "finished" / "outputs")
        self.sweeps = {"finished": whole} | {kind: make(kind, folder / kind / "outputs", whole.outputs) for kind in KINDS[1:]}
        alone = run_cell(added(folder / "added" / "outputs", "share_dense=false"))
        assert alone.status == "done"
        self.added = alone.directory.path
        short = configs(folder / "short" / "outputs", *SHORT)[0]
        assert run_cell(short).status == "done"
        self.short = run_directory(short).path
        self._running = start(self.sweeps["running"])
        self.told = {
            kind: {name: command(sweep) for name, command in reading.COMMANDS.items()} for kind, sweep in self.sweeps.items()
        }

    def close(self) -> None:
        """End the run that is running, and leave the process as it was found."""
        os.kill(self._running, signal.SIGKILL)
        os.waitpid(self._running, 0)
        lock.TORN_SECONDS = self._torn_seconds
        remembering.forget()

    def damages(self) -> Iterator[Case]:
        """Each file of each sweep, damaged in each way that means something: before a start, and before each command."""
        for kind, sweep in self.sweeps.items():
            acts = ["read"] if kind == "running" else ["resume", "read"]
            for file in sweep.files():
                for damage in damages.of(Path(file)):
                    for number in range(FLIPS if damage == "flip" else 1):
                        yield from (Case(act, kind, file, damage, number) for act in acts)

    def shared(self) -> Iterator[Case]:
        """Each file of the finished sweep's shared state 0, damaged before a run that is added takes it over."""
        sweep = self.sweeps["finished"]
        for file in sweep.dense_files():
            for damage in damages.of(Path(file)):
                yield from (Case("adopt", "shared", file, damage, n) for n in range(FLIPS if damage == "flip" else 1))

    def kills(self) -> Iterator[Case]:
        yield from (Case("kill", number=number) for number in range(self.points[0]))

    def full_disks(self) -> Iterator[Case]:
        yield from (Case("full", number=number) for number in range(self.points[1]))
        if _may_mount():
            yield from (Case("small disk", number=number) for number in range(ROOM))

    def all(self) -> list[Case]:
        return [*self.damages(), *self.shared(), *self.kills(), *self.full_disks()]

    @cached_property
    def points(self) -> tuple[int, int]:
        """How many points a short run has: to be killed at, and to find the disk full."""
        counted = []
        for kinds in ((), WRITES):
            with tempfile.TemporaryDirectory(dir=self.folder) as folder:
                points = Points(Path(folder), None, die, *([kinds] if kinds else []))
                with points.watched():
                    assert run_cell(configs(Path(folder) / "outputs", *SHORT)[0]).status == "done"
                counted.append(points.count)
        return counted[0], counted[1]

    def run(self, case: Case) -> list[Result]:
        """Try a case, in a copy that is removed again; what became of it, or of each command."""
        act = {
            "kill": self._kill,
            "full": self._full,
            "small disk": self._small_disk,
            "resume": self._resume,
            "adopt": self._adopt,
        }.get(case.act)
        with tempfile.TemporaryDirectory(dir=self.folder, ignore_cleanup_errors=True) as folder:
            if act is not None:
                return [Result(case, case.group, *act(case, Path(folder)))]
            return [Result(case, f"{name}, {case.kind}", *found) for name, found in self._read(case, Path(folder))]

    def _resume(self, case: Case, folder: Path) -> tuple[str, str]:
        sweep = self.sweeps[case.kind].copy(folder / "outputs")
        other = resume.snapshot(sweep.other)
        with self._damaged(case, sweep) as path:
            found = resume.go_on(sweep.configs[0], self.sweeps["finished"].run.path, path)
        return found if resume.snapshot(sweep.other) == other else ("spoilt", "another run's files changed")

    def _adopt(self, case: Case, folder: Path) -> tuple[str, str]:
        sweep = self.sweeps["finished"].copy(folder / "outputs")
        with self._damaged(case, sweep) as path, resume.Said() as said:
            found = resume.go_on(added(sweep.outputs), self.added)
        nothing_there = (case.file, case.damage) == ("dense.json", "missing")  # as in a sweep that has none yet
        if found == ("identical", "") and not (
            nothing_there or read_json(run_directory(added(sweep.outputs)).dense) or said.names(path)
        ):
            return "unnamed", "trained anew without a word"
        return found

    def _read(self, case: Case, folder: Path) -> Iterator[tuple[str, tuple[str, str]]]:
        sweep = self.sweeps[case.kind].copy(folder / "outputs")
        with self._damaged(case, sweep) as path:
            for name, command in reading.COMMANDS.items():
                yield name, reading.read(command, sweep, self.told[case.kind][name], path)

    @contextmanager
    def _damaged(self, case: Case, sweep: Sweep) -> Iterator[Path]:
        """Within this context a file of the sweep's first run, or of its shared state 0, is damaged."""
        mine, other = sweep.dense if case.act == "adopt" else (sweep.run.path, sweep.other.path)
        path = mine / case.file
        draw = random.Random(f"{case.file} {case.damage} {case.number}")
        damages.of(path)[case.damage](path, other / case.file, draw)
        with damages.refusing(path if case.damage == "unreadable" else None):
            yield path

    def _kill(self, case: Case, folder: Path) -> tuple[str, str]:
        config = configs(folder / "outputs", *SHORT)[0]

        def act() -> None:
            with Points(folder, case.number, die).watched():
                run_cell(config)

        in_a_child(act)
        return resume.go_on(config, self.short)

    def _full(self, case: Case, folder: Path) -> tuple[str, str]:
        config = configs(folder / "outputs", *SHORT)[0]
        with Points(folder, case.number, be_full, WRITES).watched():
            found = self._without_room(config)
        return found or resume.go_on(config, self.short)

    def _small_disk(self, case: Case, folder: Path) -> tuple[str, str]:
        disk = folder / "disk"
        disk.mkdir()
        needed = sum(path.stat().st_size + 4096 for path in self.short.rglob("*"))
        room = 8192 + needed * case.number // ROOM
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", disk], check=True)
        try:
            config = configs(disk / "outputs", *SHORT)[0]
            found = self._without_room(config)
            subprocess.run(["mount", "-o", f"remount,size={4 * needed}", disk], check=True)
            return found or resume.go_on(config, self.short)
        finally:
            subprocess.run(["umount", disk], check=True)

    def _without_room(self, config: object) -> tuple[str, str] | None:
        """Run; None if it ended as it should: done, or with one sentence that says that the disk is full."""
        try:
            with resume.in_time():
                outcome = run_cell(config)  # type: ignore[arg-type]
        except resume.Hung:
            return "hung", ""
        except BaseException as error:
            return "crashed", f"{type(error).__name__}: {error}"
        text = str(outcome.error)
        if outcome.status == "failed" and ("\n" in text or not ("full" in text or "No space left" in text)):
            return "unnamed", text
        if (read_json(outcome.directory.status) or {}).get("traceback"):
            return "crashed", text
        return None


def _may_mount() -> bool:
    """Whether a small disk can be made: by root, outside most containers."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        tried = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, check=False)
        if tried.returncode == 0:
            subprocess.run(["umount", folder], check=True)
    return tried.returncode == 0
