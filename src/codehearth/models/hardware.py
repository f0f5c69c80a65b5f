"""This machine as a frozen snapshot: the cores and bytes that a model may really use.

Cheap enough to take once a second (about a millisecond): what cannot change is asked for once.
"""

from __future__ import annotations

import functools
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from codehearth.models.cgroups import Limits, read_limits
from codehearth.models.gpus import Gpu, cuda_gpus, metal_gpus, sysctl

__all__ = ["Gpu", "Hardware", "snapshot"]


@dataclass(frozen=True)
class Hardware:
    """What is here now.

    `num_cores` respects affinity and quotas and may be a fraction. `free_bytes` is what a new
    process can take before something is killed: file pages count as free, *also those of weights
    that a running engine has mapped*, so whoever plans beside running engines subtracts theirs.
    """

    system: str
    machine: str
    cpu_name: str
    num_cores: float
    num_physical_cores: int
    total_bytes: int
    free_bytes: int
    gpus: tuple[Gpu, ...] = ()


def snapshot() -> Hardware:
    limits = read_limits() if sys.platform == "linux" else Limits()
    memory = psutil.virtual_memory()
    total_bytes = min(memory.total, limits.total_bytes or memory.total)
    free_bytes = memory.available
    if limits.free_bytes is not None:
        free_bytes = min(free_bytes, limits.free_bytes)
    processors = available_processors()
    num_cores = float(len(processors))
    return Hardware(
        system=platform.system(),
        machine=platform.machine(),
        cpu_name=_cpu_name(),
        num_cores=min(num_cores, limits.num_cores or num_cores),
        num_physical_cores=num_physical_cores(processors),
        total_bytes=total_bytes,
        free_bytes=free_bytes,
        gpus=cuda_gpus() or metal_gpus(total_bytes, free_bytes),
    )


def available_processors() -> frozenset[int]:
    """Numbers of the logical processors that this process may run on."""
    if sys.platform == "linux":
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


@functools.lru_cache(maxsize=8)
def num_physical_cores(
    processors: frozenset[int], root: Path = Path("/sys/devices/system/cpu")
) -> int:
    """How many cores those processors are, two threads of one core counted once."""
    if sys.platform != "linux":
        return psutil.cpu_count(logical=False) or len(processors)
    cores = set()
    for processor in processors:
        topology = root / f"cpu{processor}" / "topology"
        try:
            package = (topology / "physical_package_id").read_text().strip()
            core = (topology / "core_id").read_text().strip()
        except OSError:
            return len(processors)
        cores.add((package, core))
    return len(cores) or 1


@functools.cache
def _cpu_name() -> str:
    if sys.platform == "darwin":
        return sysctl("machdep.cpu.brand_string") or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
