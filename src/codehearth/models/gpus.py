"""The GPUs of this machine and what they have free, counting what other processes hold."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

# Metal lets a process use this share of unified memory (its recommendedMaxWorkingSetSize), as
# Apple's and llama.cpp's users report it: two thirds up to 36 GiB, three quarters above.
_METAL_SMALL_SHARE = 2 / 3
_METAL_LARGE_SHARE = 3 / 4
_METAL_LARGE_BYTES = 36 << 30


@dataclass(frozen=True)
class Gpu:
    """One GPU. `index` is the driver's; a "metal" one shares its bytes with the host."""

    index: int
    name: str
    kind: Literal["cuda", "metal"]
    total_bytes: int
    free_bytes: int


def cuda_gpus(visible: str | None = None) -> tuple[Gpu, ...]:
    """NVIDIA's, through the driver's library; none where that is missing or fails.

    `visible` limits them as CUDA_VISIBLE_DEVICES does (indexes or UUIDs), and is that variable's
    value unless given.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") if visible is None else visible
    if not _driver_is_there():
        return ()
    import pynvml

    gpus = []
    try:
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            if not is_visible(index, _string(pynvml.nvmlDeviceGetUUID(handle)), visible):
                continue
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            name = _string(pynvml.nvmlDeviceGetName(handle))
            gpus.append(Gpu(index, name, "cuda", int(memory.total), int(memory.free)))
    except pynvml.NVMLError:
        return ()
    return tuple(gpus)


def cuda_bytes_held_by(pids: Collection[int]) -> int | None:
    """What these processes hold of NVIDIA's GPUs, their CUDA contexts included; None where there
    is no such GPU, or where the driver does not tell (some virtual ones)."""
    if not _driver_is_there():
        return None
    import pynvml

    try:
        handles = [
            pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())
        ]
        holders = [
            one for handle in handles for one in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
        ]
    except pynvml.NVMLError:
        return None
    held = [one.usedGpuMemory for one in holders if one.pid in pids]
    if not handles or None in held:
        return None
    return sum(int(num_bytes) for num_bytes in held)


def is_visible(index: int, uuid: str, visible: str | None) -> bool:
    """Whether CUDA_VISIBLE_DEVICES with the value `visible` shows a GPU (None: not set)."""
    if visible is None:
        return True
    for name in (part.strip() for part in visible.split(",")):
        if name == "-1":
            return False
        if name == str(index) or (name.startswith("GPU-") and uuid.startswith(name)):
            return True
    return False


def metal_gpus(total_bytes: int, free_bytes: int) -> tuple[Gpu, ...]:
    """Apple silicon's one GPU, which shares the host's bytes (the arguments)."""
    if platform.system() != "Darwin" or platform.machine() != "arm64":
        return ()
    limit = metal_limit_bytes(total_bytes, _wired_limit_bytes())
    name = sysctl("machdep.cpu.brand_string") or "Apple GPU"
    return (Gpu(0, name, "metal", limit, min(limit, free_bytes)),)


def metal_limit_bytes(total_bytes: int, wired_limit_bytes: int) -> int:
    """What the GPU may hold; an administrator's `iogpu.wired_limit_mb` wins where it is set."""
    if wired_limit_bytes:
        return min(wired_limit_bytes, total_bytes)
    share = _METAL_SMALL_SHARE if total_bytes <= _METAL_LARGE_BYTES else _METAL_LARGE_SHARE
    return int(total_bytes * share)


def _wired_limit_bytes() -> int:
    text = sysctl("iogpu.wired_limit_mb")
    return int(text) << 20 if text.isdigit() else 0


@functools.cache
def sysctl(name: str) -> str:
    """A fact of macOS's kernel as text; empty where it is not known. Asked once for each name."""
    try:
        result = subprocess.run(
            ["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip()


@functools.cache
def _driver_is_there() -> bool:
    """Opens the driver's library once; a driver installed later needs a new start."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # noqa: BLE001 - a broken driver raises what it likes; we then have no GPU
        return False
    return True


def _string(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
