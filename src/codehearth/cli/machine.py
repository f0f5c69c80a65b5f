"""What this machine has, as far as the engines here can use it, in words."""

from __future__ import annotations

import sys
from dataclasses import replace

from codehearth.cli.output import size
from codehearth.models.hardware import Hardware, snapshot
from codehearth.settings import Settings

GPU_NOTE = (
    "the llama.cpp that comes with CodeHearth uses the CPU only; a llama-server built for the GPU, "
    "on PATH or named by llama_server, uses both"
)


def usable_hardware(settings: Settings) -> Hardware:
    """The machine without GPUs that no engine here would use.

    The wheel knows Apple's Metal, but not CUDA. Of a llama-server that is there it is assumed
    that it was built for the machine's GPU.
    """
    hardware = snapshot()
    if sys.platform == "darwin" or not hardware.gpus or has_native_server(settings):
        return hardware
    return replace(hardware, gpus=())


def has_native_server(settings: Settings) -> bool:
    from codehearth.engines import llama_server

    return llama_server.find(settings.llama_server) is not None


def in_words(hardware: Hardware) -> str:
    """`AMD EPYC 7B13, 2 cores, 5.1 GiB of 7.8 GiB memory free, no GPU`."""
    memory = f"{size(hardware.free_bytes)} of {size(hardware.total_bytes)} memory free"
    gpus = [f"{gpu.name} ({size(gpu.free_bytes)} free)" for gpu in hardware.gpus]
    cores = f"{hardware.num_cores:g} cores"
    return ", ".join((hardware.cpu_name, cores, memory, *(gpus or ["no GPU"])))
