"""What this machine has, as far as the engines here can use it, in words."""

from __future__ import annotations

from codehearth.cli.output import size
from codehearth.gateway.machine import usable_hardware
from codehearth.models.hardware import Hardware

__all__ = ["GPU_NOTE", "in_words", "usable_hardware"]

GPU_NOTE = (
    "the llama.cpp that comes with CodeHearth uses the CPU only; a llama-server built for the GPU, "
    "on PATH or named by llama_server, uses both"
)


def in_words(hardware: Hardware) -> str:
    """`AMD EPYC 7B13, 2 cores, 5.1 GiB of 7.8 GiB memory free, no GPU`."""
    memory = f"{size(hardware.free_bytes)} of {size(hardware.total_bytes)} memory free"
    gpus = [f"{gpu.name} ({size(gpu.free_bytes)} free)" for gpu in hardware.gpus]
    cores = f"{hardware.num_cores:g} cores"
    return ", ".join((hardware.cpu_name, cores, memory, *(gpus or ["no GPU"])))
