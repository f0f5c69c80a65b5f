"""The pool's records: a model that somebody asked for, and one life of its child.

Plain mutable records without behaviour beyond their own arithmetic; only `pool.py` writes them.
A model may live many lives: a lease belongs to the life that it was given for, so what a dead
child's users do late never counts against the next one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from codehearth.errors import HearthError, OutOfMemory
from codehearth.pool.amount import Amount
from codehearth.pool.child import OpenModel
from codehearth.pool.failures import Failures
from codehearth.pool.policy import Resident, Stage, may_drain_at
from codehearth.pool.queue import FairQueue

if TYPE_CHECKING:
    from codehearth.engines.endpoint import Endpoint
    from codehearth.pool.lease import Lease


@dataclass(eq=False, slots=True)
class Life:
    """One child from the decision to load it until it is gone."""

    opened: OpenModel
    limit: int
    """How many requests may be in the engine at once."""
    started_at: float
    stage: Stage = "loading"
    endpoint: Endpoint | None = None
    num_in_flight: int = 0
    ready_at: float = 0.0
    load_s: float = 0.0
    used_at: float = 0.0
    idle_since: float | None = None
    resident_bytes: int = 0
    private_bytes: int = 0
    # What the watchdog knows.
    is_suspect: bool = False
    is_pinged: bool = False
    ping_at: float = 0.0
    answered_at: float = 0.0
    num_missed_pings: int = 0
    progressed_at: float = 0.0

    @property
    def claim(self) -> Amount:
        """What it uses or may come to use: the larger of measured and predicted."""
        predicted = self.opened.footprint
        return replace(predicted, host_bytes=max(predicted.host_bytes, self.resident_bytes))

    @property
    def held(self) -> Amount:
        """What would come back. Of a GPU what was predicted, since drivers tell nobody's share in
        containers, and nothing while it loads: nobody knows how far it is."""
        on_gpu = 0 if self.stage == "loading" else self.opened.footprint.gpu_bytes
        return Amount(self.private_bytes, on_gpu)


@dataclass(eq=False, slots=True)
class Waiter:
    """One request that stands in the queue."""

    owner: str
    ticket: int
    since: float
    future: asyncio.Future[Lease]


@dataclass(eq=False, slots=True)
class Unload:
    """Somebody wants the model gone; who came before `ticket` is served first."""

    ticket: int
    gone: asyncio.Future[bool]


@dataclass(eq=False, slots=True)
class Model:
    """A name that somebody asked for, as long as there is anything to remember about it."""

    name: str
    keep_alive_s: float
    queue: FairQueue[Waiter] = field(default_factory=FairQueue)
    # On the way in: being opened, then opened and wanting room, then a life.
    is_opening: bool = False
    asked_ticket: int = 0
    asked_at: float = 0.0
    attempt: int = 0
    lacked_memory: OutOfMemory | None = None
    opened: OpenModel | None = None
    planned: Amount = Amount()
    """The capacity that it was planned for."""
    num_reopened: int = 0
    is_committed: bool = False
    """Others were sent away for it: it loads even if nobody waits any more."""
    life: Life | None = None
    # Whom it may not serve now.
    drain_ticket: int | None = None
    drains_for: str = ""
    unload: Unload | None = None
    # What happened before.
    failures: Failures = field(default_factory=Failures)
    last_error: HearthError | None = None
    service_s: float = 1.0
    """How long a request takes, of late."""
    waits_for: str = ""

    @property
    def barrier(self) -> int | None:
        """Requests with this ticket or a later one must wait; None if all may go."""
        if self.unload is None:
            return self.drain_ticket
        if self.drain_ticket is None:
            return self.unload.ticket
        return min(self.unload.ticket, self.drain_ticket)

    @property
    def is_away(self) -> bool:
        """Whether nothing of it is in memory or on the way there, and nobody waits."""
        return not (self.is_opening or self.opened or self.life or self.unload or self.queue)


def picture(model: Model, life: Life, *, min_stay_s: float) -> Resident:
    """A life as the policy sees it."""
    stay = may_drain_at(ready_at=life.ready_at, load_s=life.load_s, min_stay_s=min_stay_s)
    is_ready = life.stage == "ready"
    return Resident(
        name=model.name,
        stage=life.stage,
        claim=life.claim,
        held=life.held,
        is_busy=life.num_in_flight > 0 or model.queue.has(before=model.barrier),
        used_at=life.used_at,
        may_leave_at=life.ready_at + min_stay_s if is_ready else float("inf"),
        may_drain_at=stay if is_ready else float("inf"),
        stays_for_ever=model.keep_alive_s < 0,
        is_draining=model.drain_ticket is not None,
    )
