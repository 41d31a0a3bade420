"""What this machine has: cores, processor, GPUs. No torch."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

log = logging.getLogger(__name__)


def cpu_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """Memory that this process may use: the machine's, or less where a scheduler or a container limits it."""
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_cgroup_limits(Path("/"))])


def _cgroup_limits(root: Path) -> list[int]:
    """What the control groups around this process allow, each within the next (version 2, or version 1's for memory)."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return []
    limits = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, name = ("memory", "memory.limit_in_bytes") if controllers else ("", "memory.max")
        group = Path(os.path.normpath(f"/{path}"))
        for part in (group, *group.parents):
            try:
                text = (root / "sys/fs/cgroup" / top / str(part).lstrip("/") / name).read_text().strip()
            except OSError:  # outside this container, or a group without a limit of its own
                continue
            limits += [int(text)] if text.isdecimal() else []  # else "max"
    return limits


def cpu_model() -> str:
    """The processor's own name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        log.debug("no /proc/cpuinfo here")
    return platform.processor() or platform.machine()


def set_cublas_workspace() -> None:
    """Have cuBLAS compute with workspaces of its own for each stream, without which its results may differ from call to call.

    It looks at this once, so it is set before torch starts, and only where the user has not chosen a size.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def visible_gpus() -> list[str]:
    """GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them. Asks the driver's own tool, not torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip()]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=60, check=False)
    if listed.returncode:
        print(f"nvidia-smi does not work here ({listed.stdout.strip()}); using no GPU", file=sys.stderr)
        return []
    return [str(number) for number, line in enumerate(listed.stdout.splitlines()) if line.startswith("GPU ")]
