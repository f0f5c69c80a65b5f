"""The pool with real children: processes that die, hang and have to be gone at the end."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Coroutine
from typing import Any

import psutil
import pytest
from pool_house import (
    GB,
    Blueprint,
    Clock,
    House,
    ask,
    leased,
    pool_of,
    status_by_name,
    until,
    whole_request,
)

from codehearth.engines.endpoint import get
from codehearth.errors import EngineFailed, OutOfMemory, Overloaded


def run(story: Coroutine[Any, Any, None]) -> None:
    """Tell a story, and look whether it left a process behind."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    asyncio.run(asyncio.wait_for(story, 120))
    after = {child.pid for child in psutil.Process().children(recursive=True)}
    assert after <= before


def test_a_request_loads_its_model_and_is_answered_by_it() -> None:
    async def story() -> None:
        house = House().add(Blueprint("a"), Blueprint("b"))
        async with pool_of(house) as pool:
            for name in "ab":
                async with leased(house, pool, name) as lease:
                    answer = await get(lease.endpoint, "/v1/models", timeout_s=20)
                    assert f'"id": "{name}"'.encode() in answer.body
                    assert lease.model.num_slots == 2
                    assert lease.waited_s > 0

            assert {name: one.state for name, one in status_by_name(pool).items()} == {
                "a": "ready",
                "b": "ready",
            }

    run(story())


def test_a_switch_storm_loses_nobody() -> None:
    """Four models, room for two, two hundred requests in any order."""

    async def story() -> None:
        house = House(total_bytes=2 * GB).add(*(Blueprint(name, num_slots=4) for name in "abcd"))
        dice = random.Random(7)
        asked = [dice.choice("abcd") for _ in range(200)]
        async with pool_of(
            house, min_stay_s=0.3, starvation_s=0.5, keep_alive_s=0.7, max_waiting=200
        ) as pool:

            async def client(names: list[str], owner: str) -> list[str]:
                return [await whole_request(house, pool, name, owner=owner) for name in names]

            answered = await asyncio.gather(
                *(client(asked[number::40], f"key {number % 5}") for number in range(40))
            )

            assert [asked[number::40] for number in range(40)] == answered
            assert pool.counters.num_leases == 200
            assert pool.counters.num_refusals == pool.counters.num_deaths == 0
        assert house.max_living_bytes <= 2 * GB
        assert set(house.starts()) <= set("abcd")

    run(story())


def test_fifty_requests_at_once_over_two_models_that_do_not_fit_together() -> None:
    async def story() -> None:
        house = House(total_bytes=GB).add(Blueprint("a"), Blueprint("b"))
        async with pool_of(house, min_stay_s=0.2, starvation_s=0.4) as pool:
            answered = await asyncio.gather(
                *(whole_request(house, pool, "ab"[number % 2]) for number in range(50))
            )

            assert sorted(answered) == ["a"] * 25 + ["b"] * 25
            assert house.starts() == ["a", "b"], "each model's requests are one batch"

    run(story())


def test_a_child_killed_while_it_serves_is_replaced() -> None:
    async def story() -> None:
        house = House().add(Blueprint("a"))
        async with pool_of(house) as pool:
            async with leased(house, pool, "a") as lease:
                child = house.child("a")
                asking = asyncio.create_task(get(lease.endpoint, "/health", timeout_s=20))
                await asking
                assert child.pid
                os.kill(child.pid, signal.SIGKILL)
                await child.wait_dead()
                child.num_leases -= 1
                with pytest.raises(OSError):
                    await ask(lease)
                assert await whole_request(house, pool, "a") == "a"
                child.num_leases += 1

            assert house.num_starts["a"] == 2
            assert pool.counters.num_deaths == 1
            assert status_by_name(pool)["a"].in_flight == 0

    run(story())


def test_a_child_killed_while_idle_is_replaced_on_demand() -> None:
    async def story() -> None:
        house = House().add(Blueprint("a"))
        async with pool_of(house) as pool:
            await pool.load("a")
            pid = house.child("a").pid
            assert pid
            os.kill(pid, signal.SIGKILL)
            await until(pool, lambda: pool.counters.num_deaths == 1)
            assert status_by_name(pool)["a"].state == "failed"
            assert "SIGKILL" in status_by_name(pool)["a"].why

            assert await whole_request(house, pool, "a") == "a"

    run(story())


def test_a_child_killed_while_loading_is_told_with_the_cause() -> None:
    async def story() -> None:
        house = House().add(Blueprint("a", flags=("--ready-after-s", "600")))
        async with pool_of(house) as pool:
            waiting = [asyncio.create_task(pool.load("a")) for _ in range(3)]
            await until(pool, lambda: house.living and house.living[0].pid)
            pid = house.child("a").pid
            assert pid
            os.kill(pid, signal.SIGKILL)

            results = await asyncio.gather(*waiting, return_exceptions=True)

            assert [type(result) for result in results] == [EngineFailed] * 3
            assert "SIGKILL" in str(results[0])

    run(story())


def test_a_child_that_dies_at_its_start_rests_after_three_times() -> None:
    async def story() -> None:
        flags = ("--do", "die-at-start", "--last-words", "error: no such tensor")
        house = House().add(Blueprint("a", flags=flags))
        async with pool_of(house, clock=Clock()) as pool:
            for _ in range(3):
                with pytest.raises(EngineFailed, match="no such tensor"):
                    await pool.load("a")
            with pytest.raises(EngineFailed, match="no such tensor") as blocked:
                await pool.load("a")

            assert blocked.value.retry_after_s == 2
            assert "no such tensor" in blocked.value.log_tail
            assert house.num_starts["a"] == 3

    run(story())


def test_a_stopped_child_is_found_killed_and_replaced() -> None:
    async def story() -> None:
        house = House().add(Blueprint("a"))
        async with pool_of(house, ping_every_s=0.2, dead_after_s=0.6) as pool:
            await pool.load("a")
            hung = house.child("a")
            assert hung.pid
            os.kill(hung.pid, signal.SIGSTOP)

            await hung.wait_dead()

            assert pool.counters.num_kills == 1
            assert await whole_request(house, pool, "a") == "a"

    run(story())


def test_a_child_that_ignores_sigterm_makes_room_all_the_same() -> None:
    async def story() -> None:
        house = House(total_bytes=GB)
        house.add(Blueprint("stubborn", flags=("--do", "ignore-sigterm")), Blueprint("b"))
        async with pool_of(house, stop_grace_s=0.2) as pool:
            await pool.load("stubborn")

            assert await whole_request(house, pool, "b") == "b"

    run(story())


def test_running_out_of_memory_falls_back_to_the_smaller_variant() -> None:
    async def story() -> None:
        words = "llama_model_load: error: failed to allocate buffer"
        dying = ("--do", "die-at-start", "--last-words", words)
        house = House().add(Blueprint("alone", flags=dying))
        house.add(Blueprint("a", flags=dying, smaller=Blueprint("a", num_slots=1)))
        async with pool_of(house) as pool:
            assert await whole_request(house, pool, "a") == "a"
            assert status_by_name(pool)["a"].num_slots == 1

            with pytest.raises(OutOfMemory):
                await pool.load("alone")

    run(story())


def test_a_client_that_leaves_while_loading_does_not_cancel_the_load() -> None:
    async def story() -> None:
        house = House().add(Blueprint("a", flags=("--ready-after-s", "0.5")))
        async with pool_of(house) as pool:
            client = asyncio.create_task(whole_request(house, pool, "a"))
            await until(pool, lambda: house.living)
            client.cancel()
            with pytest.raises(asyncio.CancelledError):
                await client

            await until(pool, lambda: status_by_name(pool)["a"].state == "ready")

            assert await whole_request(house, pool, "a") == "a"
            assert house.num_starts["a"] == 1

    run(story())


def test_memory_that_another_process_takes_sends_idle_models_away() -> None:
    async def story() -> None:
        clock = Clock()
        house = House(total_bytes=4 * GB).add(Blueprint("a", 2 * GB), Blueprint("b", 2 * GB))
        async with pool_of(house, clock=clock) as pool:
            await pool.load("a")
            house.others_bytes = GB
            clock.now += 10

            await pool.load("b")

            assert [child.name for child in house.living] == ["b"]

    run(story())


def test_the_measured_memory_is_shown_beside_the_predicted() -> None:
    async def story() -> None:
        house = House(total_bytes=4 * GB).add(Blueprint("a", 2 * GB))
        async with pool_of(house) as pool:
            await pool.load("a")
            await pool.measure()

            (status,) = pool.status()

            assert status.memory_bytes == status.predicted_bytes == 2 * GB
            assert status.load_s > 0
            assert status.engine == "fake"

    run(story())


def test_closing_lets_those_in_flight_finish_and_leaves_no_child() -> None:
    async def story() -> None:
        slow = ("--ready-after-s", "600")
        house = House(total_bytes=3 * GB)
        house.add(Blueprint("a"), Blueprint("idle"), Blueprint("slow", flags=slow))
        async with pool_of(house) as pool:
            await pool.load("idle")
            await pool.load("a")
            loading = asyncio.create_task(pool.load("slow"))
            await until(pool, lambda: house.num_starts["slow"])
            async with leased(house, pool, "a") as lease:
                closing = asyncio.create_task(pool.close(drain_s=60))
                with pytest.raises(Overloaded):
                    await loading
                with pytest.raises(Overloaded):
                    await whole_request(house, pool, "idle")
                assert await ask(lease) == 200
                assert not closing.done()

            await closing

            assert house.living == []
            await pool.close()

    run(story())


def test_closing_after_the_drain_ends_what_is_still_in_flight() -> None:
    async def story() -> None:
        house = House().add(Blueprint("a", flags=("--do", "ignore-sigterm")))
        async with pool_of(house, stop_grace_s=0.1) as pool:
            async with pool.lease("a") as lease:
                await pool.close(drain_s=0.1)

                with pytest.raises(OSError):
                    await ask(lease)
            assert house.living == []

    run(story())
