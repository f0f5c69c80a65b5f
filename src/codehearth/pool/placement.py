"""The way in: a model that somebody waits for is opened, finds room, and is loaded.

Asks `policy` whenever something changed, and does what it says. Who must leave for it is sent
away by `lives.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import assert_never

from codehearth.errors import DoesNotFit
from codehearth.pool import policy
from codehearth.pool.amount import Amount
from codehearth.pool.child import Room
from codehearth.pool.door import Door
from codehearth.pool.errands import Errands
from codehearth.pool.failures import blocked_s
from codehearth.pool.gauge import Gauge
from codehearth.pool.limits import Limits
from codehearth.pool.model import Life, Model, picture
from codehearth.pool.status import Counters

_MAX_REOPENED = 3


class Placement:
    """Opens models, finds room for them and starts their loads."""

    def __init__(
        self,
        models: Mapping[str, Model],
        *,
        door: Door,
        errands: Errands,
        gauge: Gauge,
        limits: Limits,
        counters: Counters,
        send_away: Callable[[Model, Life], None],
    ) -> None:
        self._models = models
        self._door = door
        self._errands = errands
        self._gauge = gauge
        self._limits = limits
        self._counters = counters
        self._send_away = send_away

    def open_if_wanted(self, model: Model, now: float) -> None:
        if model.life or model.opened or model.is_opening or not model.queue:
            return
        wait_s = blocked_s(model.failures, now)
        if wait_s > 0 and model.last_error is not None:
            self._door.turn_away(model, model.last_error, retry_s=wait_s)
            return
        model.asked_ticket, model.asked_at = self._door.next_ticket(), now
        model.attempt, model.num_reopened, model.lacked_memory = 0, 0, None
        self.open(model)

    def place(self, now: float) -> float:
        """Decide about all models that want room, and act; when to come again at the latest."""
        wanted = tuple(self._wanted())
        if not wanted:
            self._hold_back({})
            return math.inf
        if not self._gauge.is_fresh(now):
            self._errands.read()  # `on_reading` comes back here
            return now + self._limits.reread_s
        decisions = policy.decide(
            wanted,
            self._residents(),
            self._gauge.memory(),
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
                    come_again = min(come_again, until, self._gauge.read_at + self._limits.reread_s)
                case policy.Refuse():
                    self._refuse(model, decision)
                case _:
                    assert_never(decision)
        self._hold_back(held_back)
        return come_again

    def open(self, model: Model) -> None:
        model.opened, model.is_opening, model.waits_for = None, True, ""
        self._errands.open(model)

    def _wanted(self) -> list[policy.Wanted]:
        wanted = []
        for model in self._models.values():
            if model.opened is not None and model.life is None:
                oldest = model.queue.oldest()
                wanted.append(
                    policy.Wanted(
                        name=model.name,
                        needed=model.opened.footprint,
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
        self._gauge.note_room()
        self._counters.num_loads += 1
        self._errands.load(model, life)

    def _evict(self, victims: tuple[str, ...], model: Model) -> None:
        model.is_committed = True
        model.waits_for = f"waits for {_quoted(victims)} to leave"
        for name in victims:
            victim = self._models[name]
            if victim.life is not None:
                self._counters.num_evictions += 1
                self._send_away(victim, victim.life)

    def _let_wait(self, model: Model, wait: policy.Wait) -> None:
        if not model.queue and not model.is_committed:
            model.opened = None  # nobody waits any more, and nobody was sent away for it
            return
        reason = f"waits for {_quoted(wait.victims)}" if wait.victims else "waits for memory"
        model.waits_for = reason

    def _refuse(self, model: Model, refusal: policy.Refuse) -> None:
        has_shrunk = not model.planned.fits(refusal.capacity)
        if has_shrunk and model.num_reopened < _MAX_REOPENED:
            model.num_reopened += 1  # planned for more than there is now: plan again
            self.open(model)
            return
        model.opened, model.is_committed = None, False
        self._door.turn_away(model, self._does_not_fit(model, refusal))

    def _does_not_fit(self, model: Model, refusal: policy.Refuse) -> DoesNotFit:
        held_bytes = sum(life.private_bytes for life in self._lives())
        parts = f"{_gb(self._gauge.free.host_bytes)} free"
        if held_bytes:
            parts += f" and {_gb(held_bytes)} held by other models"
        if self._limits.budget_bytes is not None:
            parts += f", and the budget is {_gb(self._limits.budget_bytes)}"
        needed, capacity = refusal.needed, refusal.capacity
        if needed.host_bytes <= capacity.host_bytes:
            return _does_not_fit_gpus(model.name, needed.gpu_bytes, capacity.gpu_bytes)
        return DoesNotFit(
            f"'{model.name}' needs {_gb(needed.host_bytes)} of memory, "
            f"and there can be {_gb(capacity.host_bytes)}: {parts}.",
            needed_bytes=needed.host_bytes,
            free_bytes=capacity.host_bytes,
            hint=f"a smaller precision or a shorter context: `hearth fit {model.name}` says "
            "what would fit",
        )

    def _hold_back(self, held_back: Mapping[str, tuple[int, str]]) -> None:
        for model in self._models.values():
            ticket, name = held_back.get(model.name, (None, ""))
            model.drain_ticket, model.drains_for = ticket, name

    def room_for(self, model: Model) -> Room:
        residents, memory = self._residents(), self._gauge.memory()
        model.planned = policy.capacity_of(residents, memory)
        room = policy.room_of(residents, memory)
        free = Amount(max(0, room.host_bytes), max(0, room.gpu_bytes))
        return Room(free=free, capacity=model.planned)

    def _lives(self) -> tuple[Life, ...]:
        return tuple(model.life for model in self._models.values() if model.life is not None)

    def _residents(self) -> list[policy.Resident]:
        return [
            picture(model, model.life, min_stay_s=self._limits.min_stay_s)
            for model in self._models.values()
            if model.life is not None
        ]


def _does_not_fit_gpus(name: str, needed_bytes: int, capacity_bytes: int) -> DoesNotFit:
    return DoesNotFit(
        f"'{name}' needs {_gb(needed_bytes)} of GPU memory, and there can be "
        f"{_gb(max(0, capacity_bytes))}.",
        needed_bytes=needed_bytes,
        free_bytes=max(0, capacity_bytes),
        hint=f"fewer layers on the GPU or a smaller precision: `hearth fit {name}` says what "
        "would fit",
    )


def _quoted(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB"
