"""How much memory a child and all that it started hold. Safe in a thread; 0 for what is gone."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from codehearth.models.gpus import cuda_bytes_held_by


def resident_bytes(pid: int) -> int:
    """Memory held; on Linux pages shared with other processes count in part (PSS).

    Elsewhere they count in full (RSS). Takes milliseconds for gigabytes of mapped weights.
    """
    return sum(_resident(process) for process in _tree(pid))


def private_bytes(pid: int) -> int:
    """Memory that comes back to the system when the child ends.

    On Linux that leaves out pages of mapped files: the system counts them as available while
    they are in use. Elsewhere it is `resident_bytes`.
    """
    return sum(_private(process) for process in _tree(pid))


def gpu_bytes(pid: int) -> int | None:
    """Memory held of NVIDIA's GPUs; None where there is none, or the driver does not tell."""
    return cuda_bytes_held_by({pid, *_others(pid)})


def touched_bytes(pid: int) -> int:
    """Resident pages, shared ones in full: cheap, and grows while a model is being loaded."""
    total = 0
    for process in _tree(pid):
        with contextlib.suppress(psutil.Error):
            total += int(process.memory_info().rss)
    return total


def _tree(pid: int) -> list[psutil.Process]:
    """The child and what it started."""
    processes = []
    for one in (pid, *_others(pid)):
        with contextlib.suppress(psutil.Error):
            processes.append(psutil.Process(one))
    return processes


def _others(pid: int) -> list[int]:
    if sys.platform != "linux":
        with contextlib.suppress(psutil.Error):
            return [child.pid for child in psutil.Process(pid).children(recursive=True)]
        return []
    # A child leads a session of its own. To ask the kernel who is in it takes a tenth of a
    # millisecond; psutil reads a file about every process of the machine, which takes six.
    return [one for one in _all_pids() if one != pid and _session_of(one) == pid]


def _all_pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _resident(process: psutil.Process) -> int:
    try:
        if sys.platform == "linux":
            return int(process.memory_full_info().pss)
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _private(process: psutil.Process) -> int:
    try:
        memory = process.memory_info()
    except psutil.Error:
        return 0
    shared = memory.shared if sys.platform == "linux" else 0
    return max(0, int(memory.rss - shared))
