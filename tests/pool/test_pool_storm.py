"""Whatever happens, in whatever order, the pool keeps its promises."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pool_world import Nature, TameChild, World, later, now, out_of_memory, pool_in, run, served

from codehearth.errors import DoesNotFit, EngineFailed, Overloaded
from codehearth.pool import Pool

NAMES = "abcd"
CALM_LATENCY_S = 2000.0


class WatchedWorld(World):
    """Notes how long a child stayed, and who was served when."""

    def __init__(self, **what: Any) -> None:
        super().__init__(**what)
        self.granted_at: dict[int, float] = {}
        self.stays: list[float] = []

    def note_stop(self, child: TameChild, grace_s: float | None) -> None:
        super().note_stop(child, grace_s)
        if child.state == "ready":
            self.stays.append(now() - child.ready_at)


clients = st.lists(
    st.tuples(
        st.floats(0, 60).map(lambda time: round(time, 1)),  # when it comes
        st.sampled_from(NAMES),
        st.sampled_from(["", "key 1", "key 2"]),
        st.sampled_from([0.0, 0.1, 1.0, 7.0]),  # how long it is served
        st.sampled_from([None, None, None, 0.0, 0.5, 3.0]),  # its patience
        st.sampled_from([None, None, None, 0.0, 2.0, -1.0]),  # its keep_alive
    ),
    max_size=40,
)
troubles = st.lists(
    st.tuples(
        st.floats(0, 60).map(lambda time: round(time, 1)),
        st.sampled_from(["die", "hang", "unload", "others take", "others give"]),
        st.sampled_from(NAMES),
    ),
    max_size=8,
)
sizes = st.tuples(*(st.integers(1, 4) for _ in NAMES))


async def play(world: WatchedWorld, pool: Pool, client: Any, number: int) -> str:
    comes_at, name, owner, service_s, patience_s, keep_alive_s = client
    await asyncio.sleep(comes_at)
    came_at = now()
    try:
        async with asyncio.timeout(patience_s) as patience:
            async with served(world, pool, name, owner=owner, keep_alive_s=keep_alive_s) as lease:
                patience.reschedule(None)
                world.granted_at[number] = came_at + lease.waited_s
                await asyncio.sleep(service_s)
                return "served"
    except TimeoutError:
        return "left"
    except (DoesNotFit, EngineFailed, Overloaded) as error:
        return type(error).__name__


async def trouble(world: WatchedWorld, pool: Pool, what: tuple[float, str, str]) -> None:
    comes_at, kind, name = what
    await asyncio.sleep(comes_at)
    if kind == "unload":
        await asyncio.wait_for(pool.unload(name), CALM_LATENCY_S)
    elif kind.startswith("others"):
        world.others = 1 if kind == "others take" else 0
    for child in world.living(name):
        if kind == "die":
            child.die()
        elif kind == "hang":
            child.is_silent = True


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(clients, sizes, st.integers(2, 8), st.sampled_from([0.0, 1.0, 5.0]))
def test_without_faults_everybody_is_served_or_told_why(
    clients: list[Any], sizes: tuple[int, ...], machine: int, min_stay_s: float
) -> None:
    async def story() -> None:
        world = WatchedWorld(size=machine, min_stay_s=min_stay_s)
        world.add(*(Nature(name, size) for name, size in zip(NAMES, sizes, strict=True)))
        async with pool_in(world, keep_alive_s=20, starvation_s=5) as pool:
            async with asyncio.timeout(CALM_LATENCY_S):
                ends = await asyncio.gather(
                    *(play(world, pool, client, number) for number, client in enumerate(clients))
                )

            assert pool.counters.num_deaths == pool.counters.num_kills == 0
            assert all(status.in_flight == status.waiting == 0 for status in pool.status())
            sized = dict(zip(NAMES, sizes, strict=True))
            for client, end in zip(clients, ends, strict=True):
                too_large = sized[client[1]] > machine
                assert end in ({"left", "DoesNotFit"} if too_large else {"left", "served"})
            _check_order(world, clients)
            if all(client[5] is None for client in clients):
                assert all(stay >= min_stay_s - 0.01 for stay in world.stays)

    run(story())


def _check_order(world: WatchedWorld, clients: list[Any]) -> None:
    """For each model and owner: first come, first served."""
    for name, owner in {client[1:3] for client in clients}:
        times = [
            (client[0], world.granted_at[number])
            for number, client in enumerate(clients)
            if client[1:3] == (name, owner) and number in world.granted_at
        ]
        for (came, granted), (came_next, granted_next) in pairwise(sorted(times)):
            assert came == came_next or granted <= granted_next + 1e-6


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    clients,
    troubles,
    sizes,
    st.integers(2, 8),
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(["no", "memory"])), max_size=6),
    st.integers(0, 70),
)
def test_with_faults_nobody_is_forgotten_and_no_child_is_left(
    clients: list[Any],
    troubles: list[Any],
    sizes: tuple[int, ...],
    machine: int,
    load_errors: list[tuple[str, str]],
    closes_at: int,
) -> None:
    async def story() -> None:
        world = WatchedWorld(size=machine)
        for name, size in zip(NAMES, sizes, strict=True):
            errors = [
                EngineFailed("no") if kind == "no" else out_of_memory(name)
                for who, kind in load_errors
                if who == name
            ]
            smaller = Nature(name, max(1, size - 1)) if name in "ab" else None
            world.add(Nature(name, size, load_errors=errors, smaller=smaller, open_s=0.3))
        async with pool_in(world, keep_alive_s=20, starvation_s=5, max_waiting=12) as pool:
            stories = [
                *(later(play(world, pool, one, number)) for number, one in enumerate(clients)),
                *(later(trouble(world, pool, one)) for one in troubles),
            ]
            await asyncio.sleep(closes_at)
            await pool.close(drain_s=8)
            async with asyncio.timeout(CALM_LATENCY_S):
                await asyncio.gather(*stories)

            assert all(status.in_flight == status.waiting == 0 for status in pool.status())

    run(story())
