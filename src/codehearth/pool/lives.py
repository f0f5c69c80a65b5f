"""The lives of children: opened, placed, loaded, watched, sent away, and what errands report.

The half of the pool that knows memory and children; the other half, who waits and who goes in,
is `door.py`. It changes records and starts errands, and never waits itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, assert_never

from codehearth.errors import DoesNotFit, EngineFailed, HearthError, OutOfMemory
from codehearth.pool import policy, watchdog
from codehearth.pool.child import OpenModel, OpenModelCall, Room
from codehearth.pool.door import Door
from codehearth.pool.errands import Errands, Reading
from codehearth.pool.limits import Limits
from codehearth.pool.model import Life, Model, picture
from codehearth.pool.status import Counters

if TYPE_CHECKING:
    from codehearth.engines.endpoint import Endpoint

_MAX_REOPENED = 3


class Lives:
    """Opens, places, loads, watches and sends away the children of all models."""

    def __init__(
        self,
        models: Mapping[str, Model],
        door: Door,
        *,
        open_model: OpenModelCall,
        read_memory: Callable[[], int],
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
        self._errands = Errands(self, open_model, read_memory)
        self._free_bytes = 0
        self._read_at = -math.inf
        self._must_read = True
        self._settled_at = -math.inf

    def all(self) -> tuple[Life, ...]:
        return tuple(model.life for model in self._models.values() if model.life is not None)

    async def measure(self) -> None:
        """Look at the memory now."""
        await self._errands.read(self.all())

    async def end(self) -> None:
        await self._errands.end()

    # --- the way in ---------------------------------------------------------------------------

    def open_if_wanted(self, model: Model, now: float) -> None:
        if model.life or model.opened or model.is_opening or not model.queue:
            return
        wait_s = policy.blocked_s(model.failures, now)
        if wait_s > 0 and model.last_error is not None:
            self._door.turn_away(model, model.last_error, retry_s=wait_s)
            return
        model.asked_ticket, model.asked_at = self._door.next_ticket(), now
        model.attempt, model.num_reopened, model.lacked_memory = 0, 0, None
        self._open(model)

    def place(self, now: float) -> float:
        """Decide about all models that want room, and act; when to come again at the latest."""
        wanted = tuple(self._wanted())
        if not wanted:
            self._hold_back({})
            return math.inf
        if not self._is_fresh(now):
            self._errands.read(self.all())  # `on_reading` comes back here
            return now + self._limits.reread_s
        decisions = policy.decide(
            wanted,
            self._residents(),
            self._memory(),
            now=now,
            starvation_s=self._limits.starvation_s,
        )
        tickets = {one.name: one.ticket for one in wanted}
        held_back: dict[str, tuple[int, str]] = {}
        come_again = math.inf
        for decision in decisions:
            model = self._models[decision.name]
            match decision:
                case policy.Load():
                    self._load(model, now)
                case policy.Evict(victims=victims):
                    self._evict(victims, model)
                case policy.Wait():
                    self._let_wait(model, decision)
                    held_back |= dict.fromkeys(
                        decision.held_back, (tickets[model.name], model.name)
                    )
                    until = decision.until if decision.until is not None else math.inf
                    come_again = min(come_again, until, self._read_at + self._limits.reread_s)
                case policy.Refuse():
                    self._refuse(model, decision)
                case _:
                    assert_never(decision)
        self._hold_back(held_back)
        return come_again

    def _open(self, model: Model) -> None:
        model.opened, model.is_opening = None, True
        self._errands.open(model, self.all())

    def _wanted(self) -> list[policy.Wanted]:
        wanted = []
        for model in self._models.values():
            if model.opened is not None and model.life is None:
                oldest = model.queue.oldest()
                wanted.append(
                    policy.Wanted(
                        name=model.name,
                        needed_bytes=model.opened.footprint_bytes,
                        ticket=oldest.ticket if oldest else model.asked_ticket,
                        since=oldest.since if oldest else model.asked_at,
                    )
                )
        return wanted

    def _load(self, model: Model, now: float) -> None:
        assert model.opened is not None
        limit = policy.max_in_flight(model.opened.facts.num_slots, self._limits.overcommit)
        life = Life(model.opened, limit, started_at=now, used_at=now)
        model.opened, model.life, model.is_committed, model.waits_for = None, life, False, ""
        self._settled_at = -math.inf  # there is room: what was awaited has come back
        self._counters.num_loads += 1
        self._errands.load(model, life)

    def _evict(self, victims: tuple[str, ...], model: Model) -> None:
        model.is_committed = True
        model.waits_for = f"waits for {_quoted(victims)} to leave"
        for name in victims:
            victim = self._models[name]
            if victim.life is not None:
                self._counters.num_evictions += 1
                self.send_away(victim, victim.life)

    def _let_wait(self, model: Model, wait: policy.Wait) -> None:
        if not model.queue and not model.is_committed:
            model.opened = None  # nobody waits any more, and nobody was sent away for it
            return
        reason = f"waits for {_quoted(wait.victims)}" if wait.victims else "waits for memory"
        model.waits_for = reason

    def _refuse(self, model: Model, refusal: policy.Refuse) -> None:
        has_shrunk = refusal.capacity_bytes < model.planned_bytes
        if has_shrunk and model.num_reopened < _MAX_REOPENED:
            model.num_reopened += 1  # planned for more than there is now: plan again
            self._open(model)
            return
        model.opened, model.is_committed = None, False
        self._door.turn_away(model, self._does_not_fit(model, refusal))

    def _does_not_fit(self, model: Model, refusal: policy.Refuse) -> DoesNotFit:
        held_bytes = sum(life.private_bytes for life in self.all())
        parts = f"{_gb(self._free_bytes)} free"
        if held_bytes:
            parts += f" and {_gb(held_bytes)} held by other models"
        if self._limits.budget_bytes is not None:
            parts += f", and the budget is {_gb(self._limits.budget_bytes)}"
        return DoesNotFit(
            f"'{model.name}' needs {_gb(refusal.needed_bytes)} of memory, "
            f"and there can be {_gb(refusal.capacity_bytes)}: {parts}.",
            needed_bytes=refusal.needed_bytes,
            free_bytes=refusal.capacity_bytes,
            hint=f"a smaller precision or a shorter context: `hearth fit {model.name}` says "
            "what would fit",
        )

    def _hold_back(self, held_back: Mapping[str, tuple[int, str]]) -> None:
        for model in self._models.values():
            ticket, name = held_back.get(model.name, (None, ""))
            model.drain_ticket, model.drains_for = ticket, name

    # --- the way out --------------------------------------------------------------------------

    def send_away_if_due(self, model: Model, now: float) -> None:
        life = model.life
        if life is None or life.stage == "leaving" or life.num_in_flight > 0:
            return
        if model.unload is not None and not model.queue.has(before=model.unload.ticket):
            self._counters.num_unloads += 1
            self.send_away(model, life)
        elif life.stage == "ready" and not model.queue:
            due = policy.expires_at(idle_since=life.idle_since, keep_alive_s=model.keep_alive_s)
            if due is not None and now >= due:
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
            return policy.forgotten_at(model.failures)
        if life.stage != "ready":
            return math.inf
        expiry = policy.expires_at(idle_since=life.idle_since, keep_alive_s=model.keep_alive_s)
        look = watchdog.next_look(life, self._limits)
        return look if expiry is None else min(look, expiry)

    def measure_if_due(self, now: float) -> float:
        """Keep the figures of `hearth ps` fresh; when to come again."""
        lives = self.all()
        if not lives:
            return math.inf
        if now - self._read_at >= self._limits.measure_every_s:
            self._errands.read(lives)
            return now + self._limits.measure_every_s
        return self._read_at + self._limits.measure_every_s

    # --- what errands report ------------------------------------------------------------------

    def room_for(self, model: Model) -> Room:
        residents, memory = self._residents(), self._memory()
        model.planned_bytes = policy.capacity_of(residents, memory)
        room = policy.room_of(residents, memory)
        return Room(free_bytes=max(0, room), capacity_bytes=model.planned_bytes)

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
        self._door.let_in(model)
        self._errands.read(self.all())
        self._settle()

    def on_load_failed(self, model: Model, life: Life, error: HearthError) -> None:
        if life.stage == "leaving":
            return  # it was sent away while it loaded; `on_gone` follows
        self._bury(model, life)
        if isinstance(error, OutOfMemory) and model.attempt == 0:
            model.attempt, model.lacked_memory = 1, error
            self._open(model)
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

    def on_reading(self, reading: Reading) -> None:
        lives = self.all()
        if any(life not in lives for life, _, _ in reading.held):
            self._errands.read_again(lives)  # somebody left meanwhile: the sum is wrong
            return
        self._free_bytes, self._read_at, self._must_read = reading.free_bytes, self._clock(), False
        for life, resident_bytes, private_bytes in reading.held:
            life.resident_bytes, life.private_bytes = resident_bytes, private_bytes
        self._settle()

    # --- records ------------------------------------------------------------------------------

    def _bury(self, model: Model, life: Life) -> None:
        life.stage = "leaving"
        self._must_read = True
        self._settled_at = self._clock() + self._limits.settle_memory_s
        if model.life is life:
            model.life = None
            if model.unload is not None and not model.unload.gone.done():
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
        model.failures = policy.after_failure(model.failures, now=now, served_s=served_s)
        if (wait_s := policy.blocked_s(model.failures, now)) > 0:
            self._door.turn_away(model, error, retry_s=wait_s)

    def _residents(self) -> list[policy.Resident]:
        return [
            picture(model, model.life, min_stay_s=self._limits.min_stay_s)
            for model in self._models.values()
            if model.life is not None
        ]

    def _memory(self) -> policy.Memory:
        return policy.Memory(self._free_bytes, self._limits.budget_bytes, self._settled_at)

    def _is_fresh(self, now: float) -> bool:
        """Whether the last look at the memory is good enough to decide on."""
        was_unsettled = self._read_at < self._settled_at <= now
        is_old = now - self._read_at > self._limits.reread_s
        return not (self._must_read or was_unsettled or is_old)


def _quoted(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB"
