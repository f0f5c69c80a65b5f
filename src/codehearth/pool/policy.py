"""Who may load, who must leave, wait or be refused: decisions without effects.

Nothing here reads a clock, a process or the memory. `pool.py` takes a picture of the situation
(`Resident`, `Wanted`, `Memory`), asks `decide`, and acts. All times are monotonic seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from codehearth.pool.amount import Amount, least, total

Stage = Literal["loading", "ready", "leaving"]

MIN_RETRY_AFTER_S = 1
MAX_RETRY_AFTER_S = 60


@dataclass(frozen=True)
class Memory:
    """What the machine has, in bytes.

    `free` was available to new processes when it was read last; so what other processes
    hold is never counted as ours. `budget_bytes` caps what all our models may take together of
    the host's memory.
    Until `settled_at` a child has just ended and its memory may not have come back yet.
    """

    free: Amount
    budget_bytes: int | None = None
    settled_at: float = -math.inf


@dataclass(frozen=True)
class Resident:
    """A model that is in memory, on its way in or on its way out."""

    name: str
    stage: Stage
    claim: Amount
    """What it uses or may come to use: the larger of measured and predicted."""
    held: Amount = Amount()
    """What would come back if it left, as measured with `Memory.free`."""
    is_busy: bool = False
    used_at: float = 0.0
    may_leave_at: float = 0.0
    """The end of its minimal stay."""
    may_drain_at: float = 0.0
    """From when a busy one may be asked to take no newcomers."""
    stays_for_ever: bool = False
    is_draining: bool = False


@dataclass(frozen=True)
class Wanted:
    """A model that somebody waits for and that is not in memory."""

    name: str
    needed: Amount
    ticket: int
    """The number of its oldest request in the order of arrival."""
    since: float
    """When that request came."""


@dataclass(frozen=True)
class Load:
    """There is room: start it now."""

    name: str


@dataclass(frozen=True)
class Evict:
    """There will be room as soon as these have left, and they may leave now."""

    name: str
    victims: tuple[str, ...]


@dataclass(frozen=True)
class Wait:
    """There will be room when these have left, but they may not yet."""

    name: str
    victims: tuple[str, ...] = ()
    held_back: tuple[str, ...] = ()
    """Those of the victims that take no newcomers any more."""
    until: float | None = None
    """When time alone may change the decision; None if only an event can."""


@dataclass(frozen=True)
class Refuse:
    """It does not fit, even if all others left."""

    name: str
    needed: Amount
    capacity: Amount


Decision = Load | Evict | Wait | Refuse


def capacity_of(residents: Iterable[Resident], memory: Memory) -> Amount:
    """What there would be if all our models left: more than this never fits."""
    returning = total(one.claim if one.stage == "leaving" else one.held for one in residents)
    return _within_budget(memory.free + returning, memory.budget_bytes)


def room_of(residents: Iterable[Resident], memory: Memory) -> Amount:
    """What a new model may take now; negative where our models claim more than there is.

    Each will still grow from what it held to what it claims. That goes for one that is leaving
    too: it may have grown since the memory was read, and until it is gone nothing is sure.
    """
    residents = tuple(residents)
    free = memory.free - total(one.claim - one.held for one in residents)
    return _within_budget(free, memory.budget_bytes, taken=_claims(residents))


def _room_when_left(residents: Sequence[Resident], memory: Memory) -> Amount:
    """The room when those who are leaving have left: rather too much than too little, because who
    trusts in it only waits, and who does not sends others away."""
    staying = [one for one in residents if one.stage != "leaving"]
    free = memory.free + _claims(residents) - _claims(staying)
    return room_of(staying, replace(memory, free=free))


def _within_budget(amount: Amount, budget_bytes: int | None, *, taken: Amount = Amount()) -> Amount:  # noqa: B008 - frozen
    if budget_bytes is None:
        return amount
    return replace(amount, host_bytes=min(amount.host_bytes, budget_bytes - taken.host_bytes))


def decide(
    wanted: Iterable[Wanted],
    residents: Sequence[Resident],
    memory: Memory,
    *,
    now: float,
    starvation_s: float,
) -> tuple[Decision, ...]:
    """What happens to each wanted model, in the order of arrival.

    1. Fits into the room that is left: load.
    2. A child has just ended: wait until its memory has come back.
    3. More than the whole capacity: refuse.
    4. Fits when those who are leaving have left: wait for them.
    5. Fits when some that may leave now leave: evict the least recently used ones needed.
    6. Else wait for the set that costs least; once it has starved, that set takes no newcomers.

    Room that an earlier one waits for is reserved: a later one may load beside it, but not into
    it, so smaller models cannot overtake a large one for ever.
    """
    desk = _Desk(residents, memory, now=now, starvation_s=starvation_s)
    return tuple(desk.decide(one) for one in sorted(wanted, key=lambda one: one.ticket))


class _Desk:
    """The bookkeeping of one round of decisions: what is still free, coming back, on offer."""

    def __init__(
        self, residents: Sequence[Resident], memory: Memory, *, now: float, starvation_s: float
    ) -> None:
        self._now = now
        self._starvation_s = starvation_s
        self._settled_at = memory.settled_at
        self._capacity = capacity_of(residents, memory)
        self._room = room_of(residents, memory)
        self._returning = _room_when_left(residents, memory) - self._room
        self._candidates = [one for one in residents if one.stage != "leaving"]

    def decide(self, wanted: Wanted) -> Decision:
        if wanted.needed.fits(self._room):  # 1
            self._room -= wanted.needed
            return Load(wanted.name)
        if self._now < self._settled_at:  # 2
            self._reserve(wanted, ())
            return Wait(wanted.name, until=self._settled_at)
        if not wanted.needed.fits(self._capacity):  # 3
            return Refuse(wanted.name, wanted.needed, self._capacity)
        missing = wanted.needed.lacks(self._room + self._returning)
        if missing == Amount():  # 4
            self._reserve(wanted, ())
            return Wait(wanted.name)
        free_to_go = [one for one in self._candidates if _may_leave(one, self._now)]
        victims = least_harm(free_to_go, missing)
        if victims is not None:  # 5
            self._reserve(wanted, victims)
            return Evict(wanted.name, _names(victims))
        victims = least_harm(self._candidates, missing) or ()  # 6
        wait = self._wait_for(wanted, victims)
        self._reserve(wanted, victims)
        return wait

    def _wait_for(self, wanted: Wanted, victims: tuple[Resident, ...]) -> Wait:
        starves_at = wanted.since + self._starvation_s
        has_starved = self._now >= starves_at
        return Wait(
            wanted.name,
            victims=_names(victims),
            held_back=_names(
                one for one in victims if has_starved and self._now >= one.may_drain_at
            ),
            until=_next_change(self._candidates, starves_at, self._now),
        )

    def _reserve(self, wanted: Wanted, victims: tuple[Resident, ...]) -> None:
        coming = self._room + self._returning + _claims(victims)
        left_over = coming - wanted.needed
        self._room = least(self._room, left_over)
        self._returning = left_over - self._room
        self._candidates = [one for one in self._candidates if one not in victims]


def least_harm(candidates: Iterable[Resident], missing: Amount) -> tuple[Resident, ...] | None:
    """The models to send away for what is missing, or None where all together are not enough.

    Least harm is: nobody who stays for ever if that can be, then the set whose most recently used
    member was used longest ago, and of that set nobody who is not needed.
    """
    chosen: list[Resident] = []
    for one in sorted(candidates, key=_harm):
        if missing.fits(_claims(chosen)):
            break
        chosen.append(one)
    if not missing.fits(_claims(chosen)):
        return None
    for one in reversed(tuple(chosen)):
        rest = [other for other in chosen if other is not one]
        if missing.fits(_claims(rest)):
            chosen = rest
    return tuple(chosen)


def _harm(resident: Resident) -> tuple[bool, bool, bool, float, str]:
    is_at_work = resident.is_busy or resident.stage == "loading"
    # One that already drains goes on draining: holding back two models would help nobody.
    return (
        not resident.is_draining,
        resident.stays_for_ever,
        is_at_work,
        resident.used_at,
        resident.name,
    )


def _may_leave(resident: Resident, now: float) -> bool:
    return resident.stage == "ready" and not resident.is_busy and now >= resident.may_leave_at


def _next_change(residents: Iterable[Resident], starves_at: float, now: float) -> float | None:
    moments = [starves_at]
    for one in residents:
        moments += [one.may_leave_at, one.may_drain_at]
    coming = [moment for moment in moments if now < moment < math.inf]
    return min(coming, default=None)


def _names(residents: Iterable[Resident]) -> tuple[str, ...]:
    return tuple(one.name for one in residents)


def _claims(residents: Iterable[Resident]) -> Amount:
    return total(one.claim for one in residents)


# --- one model --------------------------------------------------------------------------------


def max_in_flight(num_slots: int, overcommit: int | None) -> int:
    """How many requests may be in an engine at once: its slots and a few in its doorway, so that
    a slot never stands empty while the next request comes over from the pool."""
    extra = max(1, num_slots // 4) if overcommit is None else overcommit
    return max(1, num_slots) + extra


def may_drain_at(*, ready_at: float, load_s: float, min_stay_s: float) -> float:
    """From when a busy model may be asked to make room: it serves at least as long as its load
    took, so at worst half of the time goes into loading."""
    return ready_at + max(min_stay_s, load_s)


def expires_at(*, idle_since: float | None, keep_alive_s: float) -> float | None:
    """When an idle model leaves; None while it is busy or if it stays for ever (negative)."""
    if idle_since is None or keep_alive_s < 0:
        return None
    return idle_since + keep_alive_s


def retry_after_s(*, num_waiting: int, num_at_once: int, service_s: float) -> int:
    """When a request that is sent away now would likely be served: whole seconds, 1 to 60."""
    rounds = (num_waiting + 1) / max(1, num_at_once)
    estimate = math.ceil(min(rounds * service_s, MAX_RETRY_AFTER_S))
    return max(MIN_RETRY_AFTER_S, estimate)
