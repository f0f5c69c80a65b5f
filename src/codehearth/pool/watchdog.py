"""The watchdog: which child is asked whether it lives, and which one is killed.

Rules over the record of one life; the time is an argument, and asking and killing is done by
others.

Two ways to fail are told apart. A child is hung when it answers no question (stopped, in a dead
lock, swapped out); it is stalled when it answers questions but moves no request (one request
that freezes all slots). A slow load is neither: a start has its own patience in the engine room.
"""

from __future__ import annotations

from codehearth.pool.limits import Limits
from codehearth.pool.model import Life

MIN_MISSED_PINGS = 2
SUSPECT_PING_EVERY_S = 0.5


def is_ping_due(life: Life, now: float) -> bool:
    return life.stage == "ready" and not life.is_pinged and now >= life.ping_at


def complaint(life: Life, limits: Limits, now: float) -> str | None:
    """Why a child must be killed, as the end of "the engine …"; None if all is well.

    For a hung one time alone is not enough: when we were stopped ourselves (Ctrl-Z, a machine
    that slept), the last answer is old although nobody asked. So two questions in a row must
    have been missed.
    """
    if life.stage != "ready":
        return None
    silent_s = now - life.answered_at
    if life.num_missed_pings >= MIN_MISSED_PINGS and silent_s >= limits.dead_after_s:
        return f"gave no sign of life for {silent_s:.0f} s"
    if life.num_in_flight > 0 and now - life.progressed_at >= limits.stall_s:
        return f"answered none of its requests anything for {limits.stall_s:.0f} s"
    return None


def after_ping(life: Life, limits: Limits, *, is_alive: bool, now: float) -> None:
    """Take down what came of a question."""
    life.is_pinged = False
    if is_alive:
        life.answered_at = now
        life.num_missed_pings = 0
        life.is_suspect = False
        life.ping_at = now + limits.ping_every_s
    else:
        life.num_missed_pings += 1
        life.ping_at = now + min(limits.ping_every_s, SUSPECT_PING_EVERY_S)


def next_look(life: Life, limits: Limits) -> float:
    """When the watchdog wants to look at a ready child again."""
    moments = []
    if not life.is_pinged:
        moments.append(life.ping_at)
    if life.num_in_flight > 0:
        moments.append(life.progressed_at + limits.stall_s)
    if life.num_missed_pings >= MIN_MISSED_PINGS:
        moments.append(life.answered_at + limits.dead_after_s)
    return min(moments, default=float("inf"))
