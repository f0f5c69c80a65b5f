"""The last look at the memory, and whether it is good enough to decide on."""

from __future__ import annotations

import math

from codehearth.pool.amount import Amount
from codehearth.pool.errands import Reading
from codehearth.pool.limits import Limits
from codehearth.pool.policy import Memory


class Gauge:
    """Holds the last reading. Who reads is `errands`; what each life held is in its record."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.free = Amount()
        self.read_at = -math.inf
        self._is_outdated = True
        self._settled_at = -math.inf

    def memory(self) -> Memory:
        return Memory(self.free, self._limits.budget_bytes, self._settled_at)

    def take(self, reading: Reading, now: float) -> None:
        self.free, self.read_at, self._is_outdated = reading.free, now, False
        for life, resident_bytes, private_bytes in reading.held:
            life.resident_bytes, life.private_bytes = resident_bytes, private_bytes

    def note_end(self, now: float) -> None:
        """A child has ended: its memory comes back, at once or (a GPU's) a moment later."""
        self._is_outdated = True
        self._settled_at = now + self._limits.settle_memory_s

    def note_room(self) -> None:
        """There was room for somebody: what was awaited has come back."""
        self._settled_at = -math.inf

    def is_fresh(self, now: float) -> bool:
        """Whether to decide on this reading: it is young, no child ended after it, and it was not
        taken while the memory of one was still coming back."""
        was_unsettled = self.read_at < self._settled_at <= now
        is_old = now >= self.read_at + self._limits.reread_s
        return not (self._is_outdated or was_unsettled or is_old)

    def next_measurement(self) -> float:
        return self.read_at + self._limits.measure_every_s
