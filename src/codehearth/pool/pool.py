"""The pool: which models live now, and who may ask them.

Everything here runs in one event loop and never waits. Something happens (a request, a model that
is ready, a child that died, a moment that came), a record changes, and `settle` does all that is
due then: `policy` decides, `lives` act, the `door` lets in who waits. So there are no locks, and
a request for a model that serves gets its lease without a task switch. `design.md` tells it all.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable

from codehearth.errors import Overloaded
from codehearth.pool import failures
from codehearth.pool.amount import Amount
from codehearth.pool.child import OpenModelCall
from codehearth.pool.door import Door
from codehearth.pool.lease import Lease, LeaseContext
from codehearth.pool.limits import Limits
from codehearth.pool.lives import Lives
from codehearth.pool.model import Life, Model, Unload
from codehearth.pool.status import Counters, ModelStatus, status_of

_MIN_NAP_S = 0.001
_MAX_NAP_S = 3600.0  # event loops dislike a timer in a thousand years


class Pool:
    """Gives leases on models, and loads and sends away children so that it can."""

    def __init__(
        self,
        *,
        open_model: OpenModelCall,
        read_memory: Callable[[], Amount],
        limits: Limits = Limits(),  # noqa: B008 - frozen
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`read_memory` says how much is available to new processes now; it is called in a thread.
        `clock` is monotonic seconds. Use the pool in one event loop only."""
        self.counters = Counters()
        self._limits = limits
        self._clock = clock
        self._models: dict[str, Model] = {}
        self._door = Door(
            self._models,
            limits=limits,
            counters=self.counters,
            clock=clock,
            settle=self.settle,
            suspect=self._suspect,
        )
        self._lives = Lives(
            self._models,
            self._door,
            open_model=open_model,
            read_memory=read_memory,
            limits=limits,
            counters=self.counters,
            clock=clock,
            settle=self.settle,
        )
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._closing: asyncio.Task[None] | None = None
        self._drain_until = math.inf
        self._changed = asyncio.Event()

    # --- what others may do -------------------------------------------------------------------

    def lease(
        self, name: str, *, owner: str = "", keep_alive_s: float | None = None
    ) -> LeaseContext:
        """`async with pool.lease(name) as lease:` waits until the model can answer one request.

        `owner` is whose turn it is (a key's name): owners take turns. `keep_alive_s` counts for
        the model until it leaves or somebody else says otherwise: 0 leaves right after, negative
        stays for ever. Raises Overloaded, DoesNotFit, EngineFailed, BadWeights, ModelNotFound.
        """
        return LeaseContext(lambda: self._enter(name, owner, keep_alive_s))

    async def load(self, name: str, *, keep_alive_s: float | None = None) -> None:
        """Load a model and come back when it is ready. Raises what `lease` raises."""
        model = self._models.get(name)
        if model is None or model.life is None or model.life.stage != "ready":
            async with self.lease(name, keep_alive_s=keep_alive_s):
                return
        _wish(model, keep_alive_s)
        if model.life.idle_since is not None:
            model.life.idle_since = self._clock()
        self.settle()

    async def unload(self, name: str) -> bool:
        """Send a model away after those who came before; False if it is not in memory."""
        model = self._models.get(name)
        if model is None or model.life is None:
            return False
        if model.unload is None:
            gone: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            model.unload = Unload(ticket=self._door.next_ticket(), gone=gone)
            self.settle()
        else:
            gone = model.unload.gone
        return await asyncio.shield(gone)

    async def measure(self) -> None:
        """Measure the memory now, so that `status` is fresh; as it was where that fails."""
        if self._closing is None:
            await asyncio.wait([self._lives.measure()])

    def status(self) -> tuple[ModelStatus, ...]:
        """All models that are in memory, on the way in or failed lately; by name."""
        now = self._clock()
        pictures = (status_of(model, now) for _, model in sorted(self._models.items()))
        return tuple(one for one in pictures if one is not None)

    async def close(self, drain_s: float = 0.0) -> None:
        """Take no more requests, wait for those in flight, then end all children.

        May be called again: the shortest drain counts, and all come back when it is done.
        """
        loop = asyncio.get_running_loop()
        self._drain_until = min(self._drain_until, loop.time() + drain_s)
        if self._closing is None:
            self._closing = loop.create_task(self._close())
        self._changed.set()
        await asyncio.shield(self._closing)

    # --- a request ----------------------------------------------------------------------------

    async def _enter(self, name: str, owner: str, keep_alive_s: float | None) -> Lease:
        if self._closing is not None:
            raise _leaving_error()
        model = self._models.get(name) or Model(name, self._limits.keep_alive_s)
        _wish(model, keep_alive_s)
        if (lease := self._door.let_in_now(model)) is not None:
            return lease
        waiter = self._door.queue_up(model, owner)
        self._models[name] = model
        try:
            self.settle()
            return await waiter.future
        except BaseException:  # cancelled, above all: it must not stay in the queue
            self._door.give_up(model, waiter)
            raise

    def _suspect(self, model: Model, life: Life) -> None:
        self._lives.suspect(model, life)

    # --- all that is due ----------------------------------------------------------------------

    def settle(self) -> None:
        """Do all that is due now. Cheap, and harmless when nothing is."""
        self._changed.set()
        if self._closing is not None:
            return
        now = self._clock()
        models = tuple(self._models.values())
        for model in models:
            self._lives.send_away_if_due(model, now)
            self._lives.watch(model, now)
            self._lives.placement.open_if_wanted(model, now)
        due = min(self._lives.placement.place(now), self._lives.measure_if_due(now))
        for model in models:
            self._door.let_in(model)
            self._forget_if_away(model, now)
            due = min(due, self._lives.next_due(model))
        self._set_timer(due, now)

    def _forget_if_away(self, model: Model, now: float) -> None:
        if model.is_away:
            model.keep_alive_s = self._limits.keep_alive_s
            if now >= failures.forgotten_at(model.failures):
                del self._models[model.name]

    def _set_timer(self, due: float, now: float) -> None:
        if self._timer is not None:
            if due == self._timer_at:
                return
            self._timer.cancel()
            self._timer = None
        self._timer_at = due
        if due < math.inf:
            nap_s = min(max(_MIN_NAP_S, due - now), _MAX_NAP_S)
            self._timer = asyncio.get_running_loop().call_later(nap_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.settle()

    # --- the end ------------------------------------------------------------------------------

    async def _close(self) -> None:
        """1. Turn away who waits. 2. End who has nothing to do. 3. Wait for those in flight.
        4. End the rest. 5. Wait until all are gone."""
        if self._timer is not None:
            self._timer.cancel()
        for model in self._models.values():  # 1
            self._door.turn_away(model, _leaving_error())
        self._send_away(lambda life: life.num_in_flight == 0)  # 2
        with contextlib.suppress(TimeoutError):
            while any(life.num_in_flight for life in self._lives.lives()):  # 3
                await self._change(self._drain_until)
        self._send_away(lambda life: True)  # 4
        while self._lives.lives():  # 5
            await self._change(None)
        await self._lives.end()

    def _send_away(self, is_meant: Callable[[Life], bool]) -> None:
        for model in self._models.values():
            if model.life is not None and is_meant(model.life):
                self._lives.send_away(model, model.life)

    async def _change(self, until: float | None) -> None:
        """Wait for the next event. Raises TimeoutError when the loop's time is `until`."""
        self._changed.clear()
        async with asyncio.timeout_at(until):
            await self._changed.wait()


def _wish(model: Model, keep_alive_s: float | None) -> None:
    if keep_alive_s is not None and not math.isnan(keep_alive_s):
        model.keep_alive_s = keep_alive_s


def _leaving_error() -> Overloaded:
    return Overloaded("The server is shutting down.", retry_after_s=5)
