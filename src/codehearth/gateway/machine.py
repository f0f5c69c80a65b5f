"""What this machine has, as far as the engines here can use it."""

from __future__ import annotations

import sys
from dataclasses import replace

from codehearth.models.hardware import Hardware, snapshot
from codehearth.settings import Settings


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
