"""The numbers that the pool goes by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Times in seconds. The defaults suit a machine with one to a few users."""

    budget_bytes: int | None = None
    """What all models together may take at most; None: all that is free."""
    keep_alive_s: float = 300.0
    """How long an idle model stays; 0 leaves right after, negative stays for ever."""
    min_stay_s: float = 1.0
    """How long a model stays at least before another may push it out."""
    starvation_s: float = 10.0
    """How long a model waits before those in its way take no newcomers."""
    max_waiting: int = 256
    overcommit: int | None = None
    """Requests in an engine beyond its slots; None: a quarter of them, at least one."""
    stop_grace_s: float = 5.0
    """How long a child that is sent away has before it is killed."""
    ping_every_s: float = 5.0
    dead_after_s: float = 15.0
    """How long a child may leave all questions unanswered."""
    stall_s: float = 300.0
    """How long a child may have requests and answer none of them anything."""
    reread_s: float = 1.0
    """How old a look at the memory may be for a decision."""
    measure_every_s: float = 30.0
    """How often the memory is measured when nobody needs it for a decision."""
    settle_memory_s: float = 0.5
    """How long after a child's end its memory may not have come back yet."""
