"""Cores, memory, GPUs, and NVIDIA's driver: too old for an engine, or not the kernel's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from codehearth.cli.doctor.check import Check
from codehearth.cli.output import size
from codehearth.settings import Settings

_LOW_MEMORY_BYTES = 2 * 2**30

# CUDA's release notes: the oldest Linux driver of a major release (minor version compatibility).
_OLDEST_DRIVER: Mapping[int, int] = {11: 450, 12: 525, 13: 580}


def machine(settings: Settings) -> Iterator[Check]:
    from codehearth.cli.machine import GPU_NOTE, usable_hardware
    from codehearth.models.hardware import snapshot

    here = snapshot()
    yield Check("cores", "ok", f"{here.num_cores:g} of {here.cpu_name}")
    yield memory(here.free_bytes, here.total_bytes)
    if not here.gpus:
        yield Check("gpu", "ok", "none; models run on the CPU")
    is_used = bool(usable_hardware(settings).gpus)
    for gpu in here.gpus:
        detail = f"{gpu.name}, {size(gpu.free_bytes)} of {size(gpu.total_bytes)} free"
        yield Check("gpu", "ok" if is_used else "warn", detail, None if is_used else GPU_NOTE)


def memory(free_bytes: int, total_bytes: int) -> Check:
    detail = f"{size(free_bytes)} of {size(total_bytes)} free"
    if free_bytes < _LOW_MEMORY_BYTES:
        hint = "only small models will fit; close what holds memory"
        return Check("memory", "warn", detail, hint)
    return Check("memory", "ok", detail)


def driver() -> Iterator[Check]:
    """NVIDIA's driver, where there is one: too old for an engine, or not the one in the kernel."""
    try:
        import pynvml

        pynvml.nvmlInit()
        version = str(pynvml.nvmlSystemGetDriverVersion())
    except Exception as error:  # noqa: BLE001 - a broken driver raises what it likes
        if Path("/proc/driver/nvidia/version").exists():
            yield driver_check(None, str(error), cuda_wanted())
        return
    yield driver_check(version, "", cuda_wanted())


def driver_check(version: str | None, problem: str, cuda: int) -> Check:
    """What a driver's version means for an engine built with CUDA `cuda`; pure."""
    if version is None:
        detail = f"the kernel has NVIDIA's driver, but its library does not answer: {problem}"
        hint = "after an update of the driver, restart; in a container, use the NVIDIA runtime"
        return Check("driver", "fail", detail, hint)
    major = version.split(".")[0]
    oldest = _OLDEST_DRIVER.get(cuda, 0)
    if major.isdigit() and int(major) < oldest:
        detail = f"NVIDIA {version} is too old for CUDA {cuda}, which the GPU engines are built for"
        return Check("driver", "warn", detail, f"install driver {oldest} or later, then restart")
    return Check("driver", "ok", f"NVIDIA {version}, fit for CUDA {cuda}")


def cuda_wanted() -> int:
    """The major release of CUDA that the pinned engines are built with; 0 where none is."""
    from codehearth.engines.recipes import RECIPES

    for devices in RECIPES.values():
        if "cuda" in devices:
            for line in devices["cuda"].pins.read_text("utf-8").splitlines():
                if line.startswith("cuda-toolkit=="):
                    return int(line.removeprefix("cuda-toolkit==").split(".")[0])
    return 0
