"""The policy by tables: one situation, one decision."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codehearth.pool.amount import Amount, total
from codehearth.pool.policy import (
    Evict,
    Load,
    Memory,
    Refuse,
    Resident,
    Wait,
    Wanted,
    decide,
    expires_at,
    least_harm,
    max_in_flight,
    may_drain_at,
    retry_after_s,
    room_of,
)

NOW = 100.0


def resident(name: str, size: int, **what: object) -> Resident:
    """An idle model that holds all it claims."""
    return replace(Resident(name, "ready", Amount(size), held=Amount(size)), **what)  # type: ignore[arg-type]


def decide_one(needed: int, residents: list[Resident], free: int, **how: object) -> object:
    since = how.pop("since", NOW)
    memory = Memory(Amount(free), how.pop("budget", None), how.pop("settled_at", 0.0))  # type: ignore[arg-type]
    wanted = Wanted("new", Amount(needed), ticket=1, since=since)  # type: ignore[arg-type]
    (decision,) = decide([wanted], residents, memory, now=NOW, starvation_s=10.0)
    return decision


def test_a_model_that_fits_beside_the_others_is_loaded() -> None:
    assert decide_one(4, [resident("a", 6)], free=4) == Load("new")


def test_a_model_that_never_fits_is_refused_with_the_numbers() -> None:
    assert decide_one(11, [resident("a", 6)], free=4) == Refuse("new", Amount(11), Amount(10))


def test_the_budget_caps_what_all_models_may_take() -> None:
    assert decide_one(4, [resident("a", 6)], free=100, budget=9) == Evict("new", ("a",))
    assert decide_one(10, [], free=100, budget=9) == Refuse("new", Amount(10), Amount(9))


def test_memory_of_other_processes_is_not_ours_to_give() -> None:
    """The machine has 20, others hold 10: what is free and what we hold is 10."""
    assert decide_one(10, [resident("a", 6)], free=4) == Evict("new", ("a",))
    assert decide_one(11, [resident("a", 6)], free=4) == Refuse("new", Amount(11), Amount(10))


def test_a_loading_model_keeps_the_room_that_it_will_grow_into() -> None:
    loading = resident("a", 6, stage="loading", held=Amount(1))

    assert room_of([loading], Memory(Amount(9))) == Amount(4)
    assert decide_one(4, [loading], free=9) == Load("new")
    assert isinstance(decide_one(5, [loading], free=9), Wait)


def test_memory_of_a_leaving_model_is_awaited_before_anybody_else_is_sent_away() -> None:
    residents = [resident("a", 5, stage="leaving"), resident("b", 5)]

    assert decide_one(5, residents, free=0) == Wait("new")
    assert decide_one(6, residents, free=0) == Evict("new", ("b",))


def test_a_model_is_not_refused_while_a_leaving_one_can_hardly_be_measured() -> None:
    """The kernel says that a child in its last moments holds nothing, before that is free."""
    residents = [resident("a", 5, stage="leaving", held=Amount()), resident("b", 5)]

    assert decide_one(5, residents, free=0) == Wait("new")
    assert decide_one(10, residents, free=0) == Evict("new", ("b",))


def test_the_least_recently_used_idle_model_goes() -> None:
    residents = [resident("a", 5, used_at=2), resident("b", 5, used_at=1)]

    assert decide_one(5, residents, free=0) == Evict("new", ("b",))


def test_nobody_is_sent_away_who_is_not_needed() -> None:
    residents = [resident("small", 1, used_at=1), resident("large", 9, used_at=2)]

    assert decide_one(8, residents, free=0) == Evict("new", ("large",))


def test_a_model_that_shall_stay_for_ever_goes_last() -> None:
    residents = [resident("pinned", 5, used_at=1, stays_for_ever=True), resident("b", 5, used_at=2)]

    assert decide_one(5, residents, free=0) == Evict("new", ("b",))
    assert decide_one(10, residents, free=0) == Evict("new", ("b", "pinned"))


def test_a_busy_model_is_waited_for() -> None:
    busy = resident("a", 5, is_busy=True)

    assert decide_one(5, [busy], free=0) == Wait("new", ("a",), until=NOW + 10)


def test_an_idle_model_in_its_minimal_stay_is_waited_for() -> None:
    fresh = resident("a", 5, may_leave_at=NOW + 1, may_drain_at=NOW + 3)

    assert decide_one(5, [fresh], free=0) == Wait("new", ("a",), until=NOW + 1)


def test_newcomers_are_held_back_once_somebody_has_starved() -> None:
    busy = resident("a", 5, is_busy=True)

    decision = decide_one(5, [busy], free=0, since=NOW - 10)

    assert decision == Wait("new", ("a",), held_back=("a",))


def test_newcomers_are_not_held_back_before_the_load_has_paid_off() -> None:
    busy = resident("a", 5, is_busy=True, may_drain_at=NOW + 7)

    decision = decide_one(5, [busy], free=0, since=NOW - 10)

    assert decision == Wait("new", ("a",), until=NOW + 7)


def test_who_drains_already_goes_on_draining() -> None:
    residents = [
        resident("a", 5, is_busy=True, used_at=1),
        resident("b", 5, is_busy=True, used_at=2, is_draining=True),
    ]

    decision = decide_one(5, residents, free=0, since=NOW - 10)

    assert decision == Wait("new", ("b",), held_back=("b",))


def test_after_a_childs_end_nobody_else_suffers_until_its_memory_is_back() -> None:
    """Met with drivers that give memory back a moment after the process is gone."""
    residents = [resident("b", 5)]

    assert decide_one(5, residents, free=0, settled_at=NOW + 1) == Wait("new", until=NOW + 1)
    assert decide_one(50, residents, free=0, settled_at=NOW + 1) == Wait("new", until=NOW + 1)


def test_who_came_first_is_not_overtaken_by_a_smaller_model() -> None:
    """The large one waits for a and for the 4 that are free; the small one may not take these."""
    residents = [resident("a", 6, is_busy=True)]
    wanted = [
        Wanted("small", Amount(4), ticket=2, since=NOW),
        Wanted("large", Amount(10), ticket=1, since=NOW),
    ]

    large, small = decide(wanted, residents, Memory(Amount(4)), now=NOW, starvation_s=10)

    assert isinstance(large, Wait) and large.victims == ("a",)
    assert isinstance(small, Wait)


def test_a_smaller_model_loads_beside_one_that_waits_if_it_takes_nothing_from_it() -> None:
    residents = [resident("a", 6, is_busy=True)]
    wanted = [
        Wanted("large", Amount(7), ticket=1, since=NOW),
        Wanted("small", Amount(3), ticket=2, since=NOW),
    ]

    large, small = decide(wanted, residents, Memory(Amount(4)), now=NOW, starvation_s=10)

    assert isinstance(large, Wait) and large.victims == ("a",)
    assert small == Load("small")


def test_two_wanted_models_do_not_send_away_the_same_one() -> None:
    residents = [resident("a", 5, used_at=1), resident("b", 5, used_at=2)]
    wanted = [
        Wanted("c", Amount(5), ticket=1, since=NOW),
        Wanted("d", Amount(5), ticket=2, since=NOW),
    ]

    decisions = decide(wanted, residents, Memory(Amount()), now=NOW, starvation_s=10)

    assert decisions == (Evict("c", ("a",)), Evict("d", ("b",)))


@pytest.mark.parametrize(
    ("num_slots", "overcommit", "expected"),
    [(1, None, 2), (4, None, 5), (8, None, 10), (4, 0, 4), (4, 3, 7), (0, None, 2)],
)
def test_an_engine_gets_a_few_more_requests_than_it_has_slots(
    num_slots: int, overcommit: int | None, expected: int
) -> None:
    assert max_in_flight(num_slots, overcommit) == expected


def test_a_busy_model_stays_as_long_as_its_load_took() -> None:
    assert may_drain_at(ready_at=100, load_s=30, min_stay_s=1) == 130
    assert may_drain_at(ready_at=100, load_s=0.1, min_stay_s=1) == 101


@pytest.mark.parametrize(
    ("idle_since", "keep_alive_s", "expected"),
    [(100, 300, 400), (100, 0, 100), (100, -1, None), (None, 300, None), (None, 0, None)],
)
def test_an_idle_model_leaves_after_its_keep_alive(
    idle_since: float | None, keep_alive_s: float, expected: float | None
) -> None:
    assert expires_at(idle_since=idle_since, keep_alive_s=keep_alive_s) == expected


@pytest.mark.parametrize(
    ("num_waiting", "num_at_once", "service_s", "expected"),
    [(0, 4, 0.1, 1), (7, 4, 5.0, 10), (1000, 1, 30.0, 60), (3, 0, 1.0, 4), (5, 1, 1e308, 60)],
)
def test_a_client_is_told_to_come_again_within_a_minute(
    num_waiting: int, num_at_once: int, service_s: float, expected: int
) -> None:
    estimate = retry_after_s(num_waiting=num_waiting, num_at_once=num_at_once, service_s=service_s)

    assert estimate == expected


# --- properties ---------------------------------------------------------------------------------


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[Resident], Memory]:
    residents = []
    for number in range(draw(st.integers(0, 6))):
        claim = Amount(draw(st.integers(0, 12)), draw(st.sampled_from([0, 0, 3, 9])))
        on_gpu = draw(st.sampled_from([0, claim.gpu_bytes]))
        residents.append(
            Resident(
                name=f"r{number}",
                stage=draw(st.sampled_from(["loading", "ready", "ready", "leaving"])),
                claim=claim,
                held=Amount(draw(st.integers(0, claim.host_bytes)), on_gpu),
                is_busy=draw(st.booleans()),
                used_at=draw(st.integers(0, 100)),
                may_leave_at=draw(st.sampled_from([0.0, 99.0, 101.0])),
                may_drain_at=draw(st.sampled_from([0.0, 99.0, 103.0])),
                stays_for_ever=draw(st.booleans()),
                is_draining=draw(st.booleans()),
            )
        )
    budget = draw(st.none() | st.integers(0, 40))
    free = Amount(draw(st.integers(0, 20)), draw(st.integers(0, 12)))
    return residents, Memory(free, budget)


wanteds = st.lists(
    st.builds(
        Wanted,
        name=st.sampled_from("abcdefgh"),
        needed=st.builds(Amount, st.integers(0, 30), st.sampled_from([0, 0, 4, 12])),
        ticket=st.integers(0, 1000),
        since=st.sampled_from([50.0, 95.0, 100.0]),
    ),
    max_size=5,
    unique_by=(lambda one: one.name, lambda one: one.ticket),
)


@settings(deadline=None)
@given(situations(), wanteds)
def test_no_decision_breaks_a_promise(
    situation: tuple[list[Resident], Memory], wanted: list[Wanted]
) -> None:
    residents, memory = situation
    by_name = {one.name: one for one in residents}

    decisions = decide(wanted, residents, memory, now=NOW, starvation_s=10)

    assert {one.name for one in decisions} == {one.name for one in wanted}
    loaded = total(one.needed for one in wanted if Load(one.name) in decisions)
    room = room_of(residents, memory)
    assert loaded.host_bytes <= max(0, room.host_bytes)
    assert loaded.gpu_bytes <= max(0, room.gpu_bytes)
    evicted = [name for one in decisions if isinstance(one, Evict) for name in one.victims]
    assert len(evicted) == len(set(evicted)), "nobody leaves for two"
    for name in evicted:
        victim = by_name[name]
        assert victim.stage == "ready"
        assert not victim.is_busy
        assert victim.may_leave_at <= NOW
    for decision in decisions:
        if isinstance(decision, Wait):
            assert set(decision.held_back) <= set(decision.victims)
            assert all(by_name[name].may_drain_at <= NOW for name in decision.held_back)
            assert decision.until is None or decision.until > NOW


@settings(deadline=None)
@given(situations(), wanteds)
def test_the_first_in_line_is_decided_as_if_it_were_alone(
    situation: tuple[list[Resident], Memory], wanted: list[Wanted]
) -> None:
    residents, memory = situation
    if not wanted:
        return
    first = min(wanted, key=lambda one: one.ticket)

    decisions = decide(wanted, residents, memory, now=NOW, starvation_s=10)

    assert decisions[:1] == decide([first], residents, memory, now=NOW, starvation_s=10)


@settings(deadline=None)
@given(situations(), st.integers(0, 40), st.integers(0, 12))
def test_least_harm_is_enough_and_not_more(
    situation: tuple[list[Resident], Memory], missing_bytes: int, missing_gpu_bytes: int
) -> None:
    candidates = situation[0]
    missing = Amount(missing_bytes, missing_gpu_bytes)

    victims = least_harm(candidates, missing)

    if victims is None:
        assert not missing.fits(total(one.claim for one in candidates))
    else:
        gained = total(one.claim for one in victims)
        assert missing.fits(gained)
        assert not any(missing.fits(gained - one.claim) for one in victims), "each is needed"


# --- GPUs ---------------------------------------------------------------------------------------

ON_GPU = resident("gpu", 1, claim=Amount(1, 8), held=Amount(1, 8))
ON_HOST = resident("host", 9, used_at=-1.0)


@pytest.mark.parametrize(
    ("needed", "residents", "free", "decision"),
    [
        (Amount(1, 8), [ON_GPU], Amount(90, 8), Load("new")),
        (Amount(1, 9), [ON_GPU], Amount(90, 8), Evict("new", ("gpu",))),
        (Amount(1, 9), [ON_HOST, ON_GPU], Amount(90, 8), Evict("new", ("gpu",))),
        (Amount(99, 9), [ON_HOST, ON_GPU], Amount(90, 8), Evict("new", ("host", "gpu"))),
        (Amount(91, 0), [ON_HOST, ON_GPU], Amount(90, 8), Evict("new", ("host",))),
        (Amount(1, 17), [ON_GPU], Amount(90, 8), Refuse("new", Amount(1, 17), Amount(91, 16))),
        (Amount(1, 0), [ON_GPU], Amount(90, -5), Load("new")),
    ],
)
def test_memory_of_gpus_is_a_kind_of_its_own(
    needed: Amount, residents: list[Resident], free: Amount, decision: object
) -> None:
    wanted = Wanted("new", needed, ticket=1, since=NOW)
    memory = Memory(free, settled_at=0.0)

    assert decide([wanted], residents, memory, now=NOW, starvation_s=10.0) == (decision,)
