"""One process per run directory: a lock that survives crashes, requeues, containers and network file systems."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import stat
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from prune.base.errors import UserError
from prune.rundir.owner import Owner
from prune.rundir.status import HEARTBEAT_SECONDS, STALE_SECONDS

log = logging.getLogger(__name__)

LOST_LOCK = 75
"""Exit code of a process whose run was taken over."""

TORN_SECONDS = 1.5 * HEARTBEAT_SECONDS
"""A lock that names nobody is a leftover after so long; before, its holder may be writing it, or about to repair it."""

NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL, errno.EXDEV)
"""How file systems say that they have no hard links."""


class InUse(UserError):
    """Another process, which lives, holds the lock."""


class RunLock:
    """Holds `lock.json` of a run while in use.

    A lock is taken over if its process, of our own host, boot and PID namespace, is gone; if it belongs to an earlier
    restart of our own SLURM job; or if it is another host's or container's and its heartbeat is older than 60 s. The
    heartbeat is the file's modification time, and its age is measured with the file system's own clock.

    Raises:
        InUse: on entering, if another process holds the run; it names that process's host and pid.
        OSError: on entering, if the folder cannot be written.
    """

    def __init__(self, path: Path):
        self.path, self.owner = path, Owner.this_process()
        self._content = self.owner.to_bytes()
        self._before: Found | None = None

    def __enter__(self) -> RunLock:
        self._take(self.path)
        self._remove_old_claims()
        if self._before is not None and self._may_still_write(self._before):
            # Cut off from its scheduler, it may live on: it notices at its next heartbeat that the run is no longer its own.
            log.warning("waiting until the process that held this run before has noticed")
            time.sleep(1.5 * HEARTBEAT_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            found = _look(self.path)
            if found is not None and found.content == self._content:
                self.path.unlink()
        except (OSError, UserError) as error:  # the run is over all the same; a dead process's lock is taken over
            log.warning("%s could not be released (%s)", self.path, error)

    def beat(self) -> None:
        """Renew the heartbeat. A process whose lock was taken over ends here and now: the run is another's to write."""
        if not self.renew():
            log.error("%s: another process has taken this run over; leaving at once", self.path.parent)
            os._exit(LOST_LOCK)

    def renew(self) -> bool:
        """Renew the heartbeat; false if another process has taken the lock over."""
        found = _look(self.path, renew=self._content)
        if found is not None and found.content == self._content:
            return True
        if found is not None and found.owner is not None:
            return False
        # Somebody removed or damaged it: it is ours all the same.
        if found is not None:
            self.path.unlink(missing_ok=True)
        return _create(self.path, self._content) or self.renew()

    def _take(self, path: Path) -> None:
        """Make `path` hold our name, where there is no such file or only a dead process's.

        Replacing what a dead process left must not collide with another that does the same. So whoever wants to replace
        holds a claim on it meanwhile: a file that is named after what is to be replaced, and taken just like the lock.
        """
        while not _create(path, self._content):
            found = _look(path)
            if found is None:
                continue  # its holder has just released it
            if found.owner is None and found.age < TORN_SECONDS:
                time.sleep(0.2)
                continue
            self._refuse_if_alive(found)
            self._take(found.claim)
            try:
                now_there = _look(path)
                if now_there is not None and now_there.content == found.content:
                    self._before = found
                    _replace(path, self._content)
                    return
            finally:
                found.claim.unlink(missing_ok=True)

    def _refuse_if_alive(self, found: Found) -> None:
        holder = found.owner
        if holder is not None and not _is_dead(found, self.owner):
            raise InUse(f"{self.path.parent} is in use by {holder.in_words()}, says {found.path}; wait for it or stop it.")

    def _may_still_write(self, before: Found) -> bool:
        """Whether a process that the scheduler has given up could be running all the same."""
        holder = before.owner
        if holder is None:
            return False
        return holder.lives_here() if holder.shares_pids_with(self.owner) else before.age <= STALE_SECONDS

    def _remove_old_claims(self) -> None:
        """What processes left that died while they took the run over. No claim on a lock before ours can count again."""
        ours = Found(self.path, self._content, self.path.stat().st_mtime)
        for claim in self.path.parent.glob(".lock.claim.*"):
            if claim.name != ours.claim.name:
                claim.unlink(missing_ok=True)
        for offer in self.path.parent.glob(".lock.*.tmp"):
            if offer.exists() and offer.stat().st_mtime < ours.modified - STALE_SECONDS:
                offer.unlink(missing_ok=True)


def holder(path: Path) -> Owner | None:
    """Who holds the lock at `path`; None if nobody does, or only a process that is gone."""
    try:
        found = _look(path)
    except (OSError, UserError):
        return None  # unreadable: whoever starts the run will be told
    return None if found is None or found.owner is None or _is_dead(found, Owner.this_process()) else found.owner


@dataclass(frozen=True)
class Found:
    """A lock's file as it was read: its bytes, and when it was last renewed, by the file system's clock."""

    path: Path
    content: bytes
    modified: float

    @property
    def owner(self) -> Owner | None:
        return Owner.parse(self.content)

    @property
    def claim(self) -> Path:
        """The file that a process holds while it replaces this one."""
        return self.path.with_name(f".lock.claim.{hashlib.sha256(self.content).hexdigest()[:16]}")

    @cached_property
    def age(self) -> float:
        """Seconds since it was renewed; minus infinity where the clock cannot be asked."""
        return _now_of(self.path.parent) - self.modified


def _is_dead(found: Found, me: Owner) -> bool:
    """Whether the process that holds a lock is gone, as `me` can know."""
    holder = found.owner
    assert holder is not None
    if me.is_later_restart_of(holder):
        return True
    if me.shares_pids_with(holder):
        return not holder.lives_here()
    return found.age > STALE_SECONDS


def _look(path: Path, renew: bytes | None = None) -> Found | None:
    """Read a lock's file; None if it is not there. With `renew`, set its time to now if it holds these bytes.

    Everything happens on one open file, so a lock that is replaced meanwhile is never touched; and opening makes a network
    file system fetch the file's true time.

    Raises:
        UserError: if something else stands in its place.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENXIO):
            raise _foreign(path) from None
        raise
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise _foreign(path)
        content = os.read(descriptor, 2**16)
        if renew is not None and content == renew:
            os.utime(descriptor)
        return Found(path, content, about.st_mtime)
    finally:
        os.close(descriptor)


def _foreign(path: Path) -> UserError:
    return UserError(f"{path} is not a file that this program wrote; remove it.")


def _now_of(folder: Path) -> float:
    """The present time by the clock that stamps files in `folder`; minus infinity if it cannot be asked."""
    probe = folder / f".lock.{uuid.uuid4().hex}.tmp"
    try:
        descriptor = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except OSError:
        return float("-inf")  # a folder that cannot be written: nobody can be proved dead, and nothing taken over
    try:
        with suppress(OSError):  # on a full disk its time is that of its making, which is as good but on some servers
            os.write(descriptor, b".")
            os.fsync(descriptor)
        return os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)
        probe.unlink(missing_ok=True)


def _create(path: Path, content: bytes) -> bool:
    """Make a file with this content unless there is one: atomic on every POSIX file system, NFS included."""
    offer = path.with_name(f".lock.{uuid.uuid4().hex}.tmp")
    try:
        _write_new(offer, content)
        try:
            os.link(offer, path)
        except FileExistsError:
            return offer.exists() and offer.stat().st_nlink == 2  # NFS may lose the answer and ask again
        except FileNotFoundError:
            return False  # removed by a process that took us for dead: look again
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            return _create_without_links(path, content)
        return True
    finally:
        offer.unlink(missing_ok=True)


def _create_without_links(path: Path, content: bytes) -> bool:
    """The slower way: for a moment others see a file that names nobody, and wait (`TORN_SECONDS`)."""
    _note_no_links(path.parent)
    try:
        _write_new(path, content)
    except FileExistsError:
        return False
    return True


def _replace(path: Path, content: bytes) -> None:
    offer = path.with_name(f".lock.{uuid.uuid4().hex}.tmp")
    try:
        _write_new(offer, content)
        os.replace(offer, path)
    finally:
        offer.unlink(missing_ok=True)


def _write_new(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


@lru_cache
def _note_no_links(folder: Path) -> None:
    log.info("the file system of %s has no hard links; taking a run takes some seconds longer", folder)
