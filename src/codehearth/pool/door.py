"""The door of the pool: who waits, who goes in, who is turned away.

It knows queues, slots and leases, and nothing of memory or children. It changes a record and
calls `settle`; what follows from that is decided in `pool.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from itertools import count

from codehearth.errors import HearthError, Overloaded
from codehearth.pool.errands import copy_error
from codehearth.pool.lease import Lease
from codehearth.pool.limits import Limits
from codehearth.pool.model import Life, Model, Waiter
from codehearth.pool.policy import retry_after_s
from codehearth.pool.status import Counters

_SERVICE_WEIGHT = 0.2  # of the last request in the running mean of service times


class Door:
    """Lets requests in, first come first served for each owner, owners in turn."""

    def __init__(
        self,
        models: Mapping[str, Model],
        *,
        limits: Limits,
        counters: Counters,
        clock: Callable[[], float],
        settle: Callable[[], None],
        suspect: Callable[[Model, Life], None],
    ) -> None:
        self._models = models
        self._limits = limits
        self._counters = counters
        self._clock = clock
        self._settle = settle
        self._suspect = suspect
        self._tickets = count(1)

    def next_ticket(self) -> int:
        return next(self._tickets)

    # --- going in -----------------------------------------------------------------------------

    def let_in_now(self, model: Model) -> Lease | None:
        """A lease for a newcomer, if it need not wait: the path of nearly every request."""
        life = model.life
        if life is None or model.queue or model.barrier is not None or not _has_place(life):
            return None
        return self._grant(model, life, waited_s=0.0)

    def let_in(self, model: Model) -> None:
        """Give the places of an engine to those who wait for it, in turn."""
        life = model.life
        if life is None:
            return
        while _has_place(life) and (waiter := model.queue.pop(before=model.barrier)) is not None:
            if not waiter.future.done():
                waited_s = self._clock() - waiter.since
                waiter.future.set_result(self._grant(model, life, waited_s=waited_s))

    def _grant(self, model: Model, life: Life, *, waited_s: float) -> Lease:
        now = self._clock()
        if life.num_in_flight == 0:
            life.progressed_at = now
        life.num_in_flight += 1
        life.idle_since = None
        life.used_at = now
        self._counters.num_leases += 1
        assert life.endpoint is not None, "a ready child has an endpoint"
        return Lease(
            model,
            life,
            life.endpoint,
            since=now,
            waited_s=waited_s,
            clock=self._clock,
            release=self._release,
            suspect=self._suspect,
        )

    def _release(self, model: Model, life: Life, since: float) -> None:
        now = self._clock()
        model.service_s += _SERVICE_WEIGHT * (now - since - model.service_s)
        life.num_in_flight -= 1
        life.used_at = now
        self.let_in(model)
        if life.num_in_flight == 0:
            life.idle_since = now
            self._settle()

    # --- waiting ------------------------------------------------------------------------------

    def queue_up(self, model: Model, owner: str) -> Waiter:
        """Stand in the queue. Raises Overloaded where too many wait."""
        if self.num_waiting() >= self._limits.max_waiting:
            self._counters.num_refusals += 1
            raise Overloaded(
                f"{self.num_waiting()} requests are waiting already.",
                retry_after_s=self._retry_after_s(model),
                hint="try again later, or send fewer requests at once",
            )
        waiter = Waiter(
            owner=owner,
            ticket=self.next_ticket(),
            since=self._clock(),
            future=asyncio.get_running_loop().create_future(),
        )
        model.queue.push(owner, waiter.ticket, waiter)
        return waiter

    def give_up(self, model: Model, waiter: Waiter) -> None:
        """The client of a waiter has left; it may just have got its lease or an error."""
        future = waiter.future
        if model.queue.remove(waiter.owner, waiter.ticket):
            self._counters.num_given_up += 1
            self._settle()
        elif future.done() and not future.cancelled() and future.exception() is None:
            future.result().release()

    def turn_away(self, model: Model, error: HearthError, *, retry_s: int | None = None) -> None:
        """Everybody who waits for the model gets the error."""
        while (waiter := model.queue.pop()) is not None:
            if not waiter.future.done():
                waiter.future.set_exception(copy_error(error, retry_after_s=retry_s))

    def num_waiting(self) -> int:
        return sum(len(model.queue) for model in self._models.values())

    def _retry_after_s(self, model: Model) -> int:
        return retry_after_s(
            num_waiting=len(model.queue),
            num_at_once=model.life.limit if model.life is not None else 1,
            service_s=model.service_s,
        )


def _has_place(life: Life) -> bool:
    return life.stage == "ready" and not life.is_suspect and life.num_in_flight < life.limit
