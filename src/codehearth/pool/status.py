"""What `hearth ps` and the metrics show: frozen pictures of the pool and plain counters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from codehearth.pool.child import OpenModel
from codehearth.pool.failures import blocked_s
from codehearth.pool.model import Life, Model
from codehearth.pool.policy import expires_at

State = Literal["waiting", "loading", "ready", "draining", "failed"]
"""waiting: for memory that others hold. draining: it takes no newcomers, or it is leaving."""


@dataclass(frozen=True)
class ModelStatus:
    """One model, as it is now. Sizes in bytes, times in seconds."""

    name: str
    state: State
    memory_bytes: int
    """As measured last; 0 before the first measurement."""
    predicted_bytes: int
    in_flight: int
    waiting: int
    idle_s: float
    """0.0 while it is busy."""
    expires_in_s: float | None
    """None while it is busy or if it stays for ever."""
    num_slots: int
    context_tokens: int
    load_s: float
    engine: str
    why: str
    gpu_bytes: int = 0
    """What it takes of the GPUs' memory, as predicted."""


@dataclass
class Counters:
    """What happened since the start. Only grow."""

    num_leases: int = 0
    num_loads: int = 0
    num_failed_loads: int = 0
    load_seconds: float = 0.0
    num_evictions: int = 0
    num_expirations: int = 0
    num_unloads: int = 0
    num_deaths: int = 0
    """Children that died unasked while they were ready."""
    num_kills: int = 0
    """Children that the watchdog killed."""
    num_refusals: int = 0
    """Requests sent away because too many waited."""
    num_given_up: int = 0
    """Requests whose client left the queue."""


def status_of(model: Model, now: float) -> ModelStatus | None:
    """The picture of one model; None if there is nothing to show."""
    state = _state(model, now)
    if state is None:
        return None
    life, opened = model.life, _opened(model)
    idle_since = life.idle_since if life is not None else None
    leaves_at = expires_at(idle_since=idle_since, keep_alive_s=model.keep_alive_s)
    return ModelStatus(
        name=model.name,
        state=state,
        memory_bytes=life.resident_bytes if life else 0,
        predicted_bytes=opened.footprint.host_bytes if opened else 0,
        in_flight=life.num_in_flight if life else 0,
        waiting=len(model.queue),
        idle_s=max(0.0, now - idle_since) if idle_since is not None else 0.0,
        expires_in_s=max(0.0, leaves_at - now) if leaves_at is not None else None,
        num_slots=opened.facts.num_slots if opened else 0,
        context_tokens=opened.facts.context_tokens if opened else 0,
        load_s=life.load_s if life else 0.0,
        engine=opened.engine if opened else "",
        why="; ".join(_reasons(model, now)),
        gpu_bytes=opened.footprint.gpu_bytes if opened else 0,
    )


def _opened(model: Model) -> OpenModel | None:
    return model.life.opened if model.life is not None else model.opened


def _state(model: Model, now: float) -> State | None:
    life: Life | None = model.life
    if life is not None:
        if life.stage == "leaving" or (life.stage == "ready" and model.barrier is not None):
            return "draining"
        return life.stage
    if model.opened is not None:
        return "waiting"
    if model.is_opening or model.queue:
        return "loading"
    return "failed" if model.last_error is not None else None


def _reasons(model: Model, now: float) -> Iterator[str]:
    opened = _opened(model)
    if opened is not None:
        yield from opened.why
    if model.lacked_memory is not None:
        yield "a smaller variant: the first try ran out of memory"
    if model.waits_for and model.life is None:
        yield model.waits_for
    if model.drains_for:
        yield f"takes no newcomers: '{model.drains_for}' has waited long enough"
    if model.last_error is not None and model.life is None:
        yield model.last_error.message
        if wait_s := blocked_s(model.failures, now):
            yield f"failed again and again: next try in {wait_s} s"
