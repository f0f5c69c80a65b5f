"""How often a model failed lately, and when it may be tried again. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

FAILURE_WINDOW_S = 60.0
MAX_FAILURES = 3
FIRST_BACK_OFF_S = 2.0
MAX_BACK_OFF_S = 120.0


@dataclass(frozen=True)
class Failures:
    """What went wrong with a model lately: loads that failed and children that died unasked."""

    times: tuple[float, ...] = ()
    num_rounds: int = 0
    """Back-offs in a row."""
    blocked_until: float = -math.inf


def after_failure(failures: Failures, *, now: float, served_s: float) -> Failures:
    """The record after one more failure of a child that had served for `served_s` (0: a load).

    Three within a minute block the model for 2 s. After a back-off there is one probe: if it
    fails too, the next back-off is twice as long, up to two minutes. A child that served for a
    minute has proved itself, so all before it is forgotten.
    """
    if served_s >= FAILURE_WINDOW_S:
        failures = Failures()
    times = (*(time for time in failures.times if now - time < FAILURE_WINDOW_S), now)
    if failures.num_rounds == 0 and len(times) < MAX_FAILURES:
        return Failures(times=times)
    back_off_s = min(FIRST_BACK_OFF_S * 2**failures.num_rounds, MAX_BACK_OFF_S)
    return Failures(
        times=times[-MAX_FAILURES:],
        num_rounds=min(failures.num_rounds + 1, 16),
        blocked_until=now + back_off_s,
    )


def blocked_s(failures: Failures, now: float) -> int:
    """Whole seconds until the model may be tried again; 0 if now."""
    return math.ceil(failures.blocked_until - now) if now < failures.blocked_until else 0


def forgotten_at(failures: Failures) -> float:
    """When the record no longer matters: a while after the last failure and its back-off."""
    last = failures.times[-1] if failures.times else -math.inf
    return max(last, failures.blocked_until) + FAILURE_WINDOW_S
