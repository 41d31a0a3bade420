"""What the machine did to us, in one sentence: a full disk, no memory, a killed helper. None of it needs a traceback."""

from __future__ import annotations

import errno

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

NO_MEMORY = (
    "out of memory", "can't allocate memory", "cannot allocate memory", "can't start new thread", "bad_alloc",
    "failed to map segment",
)  # fmt: skip
"""What libraries say, each with an exception of its own, when memory is short (threads and code take memory as well)."""

WORKER = "DataLoader worker"
"""How torch begins its sentence about a worker process that was killed."""


def disk_is_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in FULL


def memory_is_short(error: BaseException) -> bool:
    """Whether this process, or its GPU, was refused memory."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, (RuntimeError, ImportError)):
        return any(words in str(error).lower() for words in NO_MEMORY)
    return isinstance(error, MemoryError)


def worker_was_killed(error: BaseException) -> bool:
    """Whether a process that decodes images ended by itself."""
    return isinstance(error, RuntimeError) and str(error).startswith(WORKER)


def in_words(error: BaseException, place: object = "this place") -> str | None:
    """The sentence, without its full stop; None for what is a fault of the program.

    Args:
        place: what was being written, where the error does not name a file.
    """
    if memory_is_short(error):
        return f"there is not enough memory ({first_line(error)})"
    if worker_was_killed(error):
        return f"a process that decodes images was killed ({first_line(error)})"
    if not isinstance(error, OSError):
        return None
    reason, file = error.strerror or first_line(error), error.filename or place
    if disk_is_full(error):
        return f"the disk of {file} is full ({reason})"
    return f"{file} cannot be used ({reason})"


def first_line(error: BaseException) -> str:
    """The first line of what an exception says, or its name where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0].strip().rstrip(".") if lines else type(error).__name__
