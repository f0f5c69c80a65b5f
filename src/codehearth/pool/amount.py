"""Memory in two kinds that cannot stand in for each other: the host's, and all GPUs' together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Amount:
    """Bytes of host memory and of GPU memory. A GPU that shares the host's bytes has none."""

    host_bytes: int = 0
    gpu_bytes: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.host_bytes + other.host_bytes, self.gpu_bytes + other.gpu_bytes)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.host_bytes - other.host_bytes, self.gpu_bytes - other.gpu_bytes)

    def fits(self, room: Amount) -> bool:
        """Whether there is so much room. Who needs no GPU does not mind an overfull one."""
        is_on_gpu = self.gpu_bytes <= max(0, room.gpu_bytes)
        return self.host_bytes <= room.host_bytes and is_on_gpu

    def lacks(self, room: Amount) -> Amount:
        """What is missing in a room, never less than nothing."""
        missing = self - room
        gpu_bytes = max(0, missing.gpu_bytes) if self.gpu_bytes else 0
        return Amount(max(0, missing.host_bytes), gpu_bytes)


def least(one: Amount, other: Amount) -> Amount:
    """The smaller of each kind."""
    return Amount(
        min(one.host_bytes, other.host_bytes),
        min(one.gpu_bytes, other.gpu_bytes),
    )


def total(amounts: Iterable[Amount]) -> Amount:
    return sum(amounts, Amount())
