"""The lives of children: opened, placed, loaded, watched, sent away, and what errands report.

The half of the pool that knows memory and children; the other half, who waits and who goes in,
is `door.py`. It changes records and starts errands, and never waits itself.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from codehearth.errors import EngineFailed, HearthError, OutOfMemory
from codehearth.pool import failures, policy, watchdog
from codehearth.pool.amount import Amount
from codehearth.pool.child import OpenModel, OpenModelCall, Room
from codehearth.pool.door import Door
from codehearth.pool.errands import Errands, Reading
from codehearth.pool.gauge import Gauge
from codehearth.pool.limits import Limits
from codehearth.pool.model import Life, Model
from codehearth.pool.placement import Placement
from codehearth.pool.status import Counters

if TYPE_CHECKING:
    from codehearth.engines.endpoint import Endpoint


class Lives:
    """Opens, places, loads, watches and sends away the children of all models."""

    def __init__(
        self,
        models: Mapping[str, Model],
        door: Door,
        *,
        open_model: OpenModelCall,
        read_memory: Callable[[], Amount],
        limits: Limits,
        counters: Counters,
        clock: Callable[[], float],
        settle: Callable[[], None],
    ) -> None:
        self._models = models
        self._door = door
        self._limits = limits
        self._counters = counters
        self._clock = clock
        self._settle = settle
        self._gauge = Gauge(limits)
        self._errands = Errands(self, open_model, read_memory)
        self.placement = Placement(
            models,
            door=door,
            errands=self._errands,
            gauge=self._gauge,
            limits=limits,
            counters=counters,
            send_away=self.send_away,
        )

    def lives(self) -> tuple[Life, ...]:
        return tuple(model.life for model in self._models.values() if model.life is not None)

    def measure(self) -> asyncio.Task[None]:
        """Look at the memory now."""
        return self._errands.read()

    async def end(self) -> None:
        await self._errands.end()

    # --- the way out --------------------------------------------------------------------------

    def send_away_if_due(self, model: Model, now: float) -> None:
        life = model.life
        if life is None or life.stage == "leaving" or life.num_in_flight > 0:
            return
        if model.unload is not None and not model.queue.has(before=model.unload.ticket):
            self._counters.num_unloads += 1
            self.send_away(model, life)
        elif now >= _expires_at(model, life):
            self._counters.num_expirations += 1
            self.send_away(model, life)

    def send_away(self, model: Model, life: Life, *, grace_s: float | None = None) -> None:
        """Start the end of a life, whatever it does."""
        if life.stage != "leaving":
            life.stage = "leaving"
            grace_s = self._limits.stop_grace_s if grace_s is None else grace_s
            self._errands.stop(model, life, grace_s)

    def watch(self, model: Model, now: float) -> None:
        life = model.life
        if life is None:
            return
        if (complaint := watchdog.complaint(life, self._limits, now)) is not None:
            self._counters.num_kills += 1
            error = EngineFailed(f"The engine of '{model.name}' {complaint} and was killed.")
            self._note_failure(model, error, served_s=now - life.ready_at)
            self.send_away(model, life, grace_s=0.0)
        elif watchdog.is_ping_due(life, now):
            life.is_pinged = True
            self._errands.ping(model, life, self._limits.ping_every_s)

    def suspect(self, model: Model, life: Life) -> None:
        """Somebody met a broken connection: ask the child at once, let nobody in until then."""
        if life.stage == "ready" and not life.is_suspect:
            life.is_suspect = True
            life.ping_at = self._clock()
            self._settle()

    def next_due(self, model: Model) -> float:
        """The next moment at which something is due for a model without any event."""
        life = model.life
        if life is None:
            return failures.forgotten_at(model.failures) if model.is_away else math.inf
        if life.stage != "ready":
            return math.inf
        return min(watchdog.next_look(life, self._limits), _expires_at(model, life))

    def measure_if_due(self, now: float) -> float:
        """Keep the figures of `hearth ps` fresh; when to come again."""
        if not self.lives():
            return math.inf
        if now >= self._gauge.next_measurement():
            self._errands.read()
            return now + self._limits.measure_every_s
        return self._gauge.next_measurement()

    # --- what errands report ------------------------------------------------------------------

    def room_for(self, model: Model) -> Room:
        return self.placement.room_for(model)

    def on_opened(self, model: Model, opened: OpenModel | None) -> None:
        model.is_opening = False
        if opened is None:
            error = model.lacked_memory or EngineFailed(f"'{model.name}' could not be opened.")
            self._fail(model, error)
        else:
            model.opened = opened
        self._settle()

    def on_open_failed(self, model: Model, error: HearthError) -> None:
        model.is_opening = False
        model.is_committed = False
        self._door.turn_away(model, error)
        self._settle()

    def on_ready(self, model: Model, life: Life, endpoint: Endpoint) -> None:
        if life.stage != "loading":
            return
        now = self._clock()
        life.stage, life.endpoint = "ready", endpoint
        life.ready_at = life.used_at = life.idle_since = life.answered_at = now
        life.ping_at = now + self._limits.ping_every_s
        life.load_s = now - life.started_at
        self._counters.load_seconds += life.load_s
        model.last_error = None
        self._door.let_in(model)
        self._errands.read()
        self._settle()

    def on_load_failed(self, model: Model, life: Life, error: HearthError) -> None:
        if life.stage == "leaving":
            return  # it was sent away while it loaded; `on_gone` follows
        self._bury(model, life)
        if isinstance(error, OutOfMemory) and model.attempt == 0:
            model.attempt, model.lacked_memory = 1, error
            self.placement.open(model)
        else:
            self._counters.num_failed_loads += 1
            self._fail(model, error)
        self._settle()

    def on_death(self, model: Model, life: Life, error: HearthError) -> None:
        if life.stage == "leaving":
            return  # as we wanted; `on_gone` follows
        self._counters.num_deaths += 1
        self._bury(model, life)
        self._note_failure(model, error, served_s=self._clock() - life.ready_at)
        self._settle()

    def on_gone(self, model: Model, life: Life) -> None:
        self._bury(model, life)
        self._settle()

    def on_ping(self, model: Model, life: Life, is_alive: bool) -> None:
        watchdog.after_ping(life, self._limits, is_alive=is_alive, now=self._clock())
        self._settle()

    def on_reading(self, reading: Reading) -> bool:
        if {life for life, _, _ in reading.held} != set(self.lives()):
            return False
        self._gauge.take(reading, self._clock())
        self._settle()
        return True

    # --- records ------------------------------------------------------------------------------

    def _bury(self, model: Model, life: Life) -> None:
        life.stage = "leaving"
        self._gauge.note_end(self._clock())
        assert model.life is life, "a model has one life at a time"
        model.life = None
        if model.unload is not None:
            model.unload.gone.set_result(True)
            model.unload = None

    def _fail(self, model: Model, error: HearthError) -> None:
        """A load came to nothing: everybody who waits for it hears the same."""
        self._note_failure(model, error, served_s=0.0)
        model.is_committed = False
        self._door.turn_away(model, error)

    def _note_failure(self, model: Model, error: HearthError, *, served_s: float) -> None:
        now = self._clock()
        model.last_error = error
        model.failures = failures.after_failure(model.failures, now=now, served_s=served_s)
        if (wait_s := failures.blocked_s(model.failures, now)) > 0:
            self._door.turn_away(model, error, retry_s=wait_s)


def _expires_at(model: Model, life: Life) -> float:
    """When a model leaves because nobody asks. Never while somebody waits, even held back."""
    if life.stage != "ready" or model.queue:
        return math.inf
    due = policy.expires_at(idle_since=life.idle_since, keep_alive_s=model.keep_alive_s)
    return math.inf if due is None else due
