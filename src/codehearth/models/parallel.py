"""How a model is shared among GPUs, and what of them it takes. Pure."""

from __future__ import annotations

from codehearth.models.hardware import Hardware
from codehearth.models.memory import Footprint


def tensor_parallel_for(num_gpus: int, num_heads: int) -> int:
    """Among how many of `num_gpus` each layer is shared: the most that divides the heads evenly."""
    fitting = (count for count in range(num_gpus, 0, -1) if num_heads % count == 0)
    return next(fitting, 1)


def gpu_share_of(footprint: Footprint, hardware: Hardware) -> float:
    """The part of all GPUs' memory that was planned, 0 to 1; 0 where nothing is on GPUs.

    Engines that lay hold of their memory at once are told it, so that other models keep theirs.
    """
    total = sum(gpu.total_bytes for gpu in hardware.gpus)
    if not total:
        return 0.0
    return min(1.0, footprint.gpu_bytes / total)
