"""Whether a child that is starting moves: pure, so that nobody has to wait to test it."""

from __future__ import annotations

from dataclasses import dataclass

_NOTICEABLE_BYTES = 1 << 16  # below that, memory comes and goes in any program


@dataclass(frozen=True)
class Movement:
    """The most that was seen of a starting child, and since when it is no more than that.

    Log lines and memory count: weights that are read from a slow disk show as resident pages.
    `since` is on the clock of whoever looks.
    """

    log_bytes: int
    memory_bytes: int
    since: float

    def seen(self, *, log_bytes: int, memory_bytes: int, now: float) -> Movement:
        """This look and all before it."""
        has_moved = (
            log_bytes > self.log_bytes or memory_bytes >= self.memory_bytes + _NOTICEABLE_BYTES
        )
        return Movement(log_bytes, memory_bytes, now) if has_moved else self
