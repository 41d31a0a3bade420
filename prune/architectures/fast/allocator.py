"""Keep freed memory for the next training step instead of handing it back to the kernel."""

from __future__ import annotations

import ctypes
import logging
import platform

log = logging.getLogger(__name__)

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MOST = 2**31 - 4096
_LARGEST_TENSOR = 2**30


def keep_freed_memory() -> None:
    """Tell glibc to serve large tensors from its heap and never to shrink it.

    By default every activation above 32 MB at most is mapped afresh in each step, and the top of the heap is given back after
    each backward pass: the kernel then zeroes gigabytes of pages per step, page by page. Reused memory costs nothing. The
    peak stays what a step needs. Elsewhere than on glibc nothing happens.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    if not mallopt(_M_TRIM_THRESHOLD, _MOST) or not mallopt(_M_MMAP_THRESHOLD, _LARGEST_TENSOR):
        log.debug("glibc did not take the allocator's settings")
