"""What the pool promises, told in a world of its own time."""

from __future__ import annotations

import asyncio

import pytest
from pool_world import (
    READ_S,
    Nature,
    World,
    later,
    now,
    out_of_memory,
    pool_in,
    request,
    run,
    served,
    state_of,
    turn,
)

from codehearth.errors import BadWeights, DoesNotFit, EngineFailed, ModelNotFound, Overloaded
from codehearth.pool.amount import Amount


def test_one_load_serves_all_who_ask_meanwhile() -> None:
    async def story() -> None:
        world = World().add(Nature("a", num_slots=8))
        async with pool_in(world) as pool:
            waits = await asyncio.gather(*(request(world, pool, "a") for _ in range(5)))

            assert waits == [pytest.approx(3.0, abs=0.01)] * 5
            assert world.started == ["a"]
            assert pool.counters.num_loads == 1
            assert pool.counters.load_seconds == pytest.approx(3.0)

    run(story())


def test_a_model_in_memory_gives_its_lease_without_a_task_switch() -> None:
    async def story() -> None:
        world = World().add(Nature("a"))
        async with pool_in(world) as pool:
            await pool.load("a")
            entering = pool.lease("a")

            # A coroutine that never waits ends with the first step.
            with pytest.raises(StopIteration) as ended:
                entering.__aenter__().send(None)

            assert ended.value.value.waited_s == 0.0
            await entering.__aexit__(None, None, None)

    run(story())


def test_a_model_is_loaded_while_another_serves() -> None:
    async def story() -> None:
        world = World(size=2).add(Nature("a"), Nature("b", load_s=60))
        async with pool_in(world) as pool:
            await pool.load("a")
            loading = later(pool.load("b"))

            waits = [await request(world, pool, "a") for _ in range(10)]

            assert waits == [0.0] * 10
            assert not loading.done()
            await loading

    run(story())


def test_an_idle_model_leaves_after_its_keep_alive() -> None:
    async def story() -> None:
        world = World().add(Nature("a"))
        async with pool_in(world, keep_alive_s=100) as pool:
            await request(world, pool, "a", service_s=500)
            await asyncio.sleep(99)
            assert state_of(pool, "a") == "ready"

            await asyncio.sleep(2)

            assert world.living() == []
            assert pool.status() == ()
            assert pool.counters.num_expirations == 1

    run(story())


def test_a_request_says_how_long_the_model_stays() -> None:
    async def story() -> None:
        world = World().add(Nature("now"), Nature("ever"))
        async with pool_in(world, keep_alive_s=100) as pool:
            await request(world, pool, "now", keep_alive_s=0)
            await request(world, pool, "ever", keep_alive_s=-1)
            assert world.living("now") == []

            await asyncio.sleep(10_000)

            (status,) = pool.status()
            assert (status.name, status.expires_in_s) == ("ever", None)
            assert status.idle_s == pytest.approx(10_000)

    run(story())


def test_a_keep_alive_of_zero_waits_for_the_others() -> None:
    async def story() -> None:
        world = World().add(Nature("a"))
        async with pool_in(world) as pool:
            long = later(request(world, pool, "a", service_s=50))
            await request(world, pool, "a", keep_alive_s=0)
            assert world.child("a").state == "ready"

            await long
            await asyncio.sleep(1)

            assert world.living() == []
            # It counted until the model left: the next load has the pool's own keep-alive again.
            await request(world, pool, "a")
            assert pool.status()[0].expires_in_s == pytest.approx(300)

    run(story())


def test_a_keep_alive_that_is_no_number_changes_nothing() -> None:
    async def story() -> None:
        world = World().add(Nature("a"))
        async with pool_in(world) as pool:
            await request(world, pool, "a", keep_alive_s=float("nan"))
            assert pool.status()[0].expires_in_s == pytest.approx(300)

            await request(world, pool, "a", keep_alive_s=float("inf"))
            await asyncio.sleep(10_000)
            assert state_of(pool, "a") == "ready"

    run(story())


def test_a_model_that_never_fits_is_refused_at_once_with_the_numbers() -> None:
    async def story() -> None:
        world = World(size=4_000_000_000).add(Nature("huge", size=5_000_000_000))
        async with pool_in(world) as pool:
            with pytest.raises(DoesNotFit) as refused:
                await request(world, pool, "huge")

            assert refused.value.needed_bytes == 5_000_000_000
            assert refused.value.free_bytes == 4_000_000_000
            assert "needs 5.0 GB" in refused.value.message
            assert "4.0 GB free" in refused.value.message
            assert "hearth fit huge" in str(refused.value.hint)
            assert now() == pytest.approx(1000, abs=0.1), "at once"
            assert pool.status() == ()

    run(story())


def test_the_least_recently_used_idle_model_makes_room() -> None:
    async def story() -> None:
        world = World(size=2).add(Nature("a"), Nature("b"), Nature("c"))
        async with pool_in(world) as pool:
            await request(world, pool, "a")
            await request(world, pool, "b")
            await request(world, pool, "a")
            await asyncio.sleep(5)

            waited_s = await request(world, pool, "c")

            assert waited_s == pytest.approx(0.5 + 3, abs=0.05), "the stop, the load, no more"
            assert {child.nature.name for child in world.living()} == {"a", "c"}
            assert pool.counters.num_evictions == 1

    run(story())


def test_switching_costs_a_stop_and_a_load_and_nothing_else() -> None:
    async def story() -> None:
        natures = [Nature(name, load_s=0.1, stop_s=0.1) for name in "abcd"]
        world = World(size=2, min_stay_s=0).add(*natures)
        async with pool_in(world) as pool:
            waits = [await request(world, pool, name, service_s=0) for name in "abcdabcd"]

            assert waits == [pytest.approx(0.1, abs=0.05)] * 2 + [pytest.approx(0.2, abs=0.05)] * 6

    run(story())


def test_a_model_that_starts_while_the_memory_is_read_is_not_held_against_the_next() -> None:
    """Free memory without it, and what our children hold with it: nothing seemed to fit any more.
    Found by the storm, which got a DoesNotFit for a model that only had to wait."""

    async def story() -> None:
        world = World(size=2, min_stay_s=0).add(Nature("a", open_s=READ_S / 2), Nature("b", 2))
        async with pool_in(world) as pool:
            first = later(request(world, pool, "a"))
            await asyncio.sleep(READ_S * 1.2)  # it is opened at 1.5 and starts then
            assert world.started == []

            await request(world, pool, "b")

            assert first.done()

    run(story())


def test_a_serving_model_is_never_evicted_however_long_it_takes() -> None:
    async def story() -> None:
        world = World(size=1).add(Nature("a"), Nature("b"))
        async with pool_in(world, starvation_s=5) as pool:
            long = later(request(world, pool, "a", service_s=1000))
            await asyncio.sleep(10)
            other = later(request(world, pool, "b"))
            await asyncio.sleep(900)
            assert state_of(pool, "b") == "waiting"
            assert "waits for 'a'" in pool.status()[1].why

            await long
            await other

            assert world.started == ["a", "b"]

    run(story())


def test_a_model_that_keeps_getting_requests_starves_nobody() -> None:
    """After the starvation time newcomers stand behind the one who waits."""

    async def story() -> None:
        world = World(size=1).add(Nature("popular", num_slots=4), Nature("rare"))
        async with pool_in(world, starvation_s=10) as pool:
            asked_until = now() + 100

            async def keep_asking() -> None:
                while now() < asked_until:
                    await request(world, pool, "popular", service_s=2)

            crowd = [later(keep_asking()) for _ in range(4)]
            await asyncio.sleep(5.5)

            waited_s = await request(world, pool, "rare")

            assert 10 <= waited_s <= 10 + 2 + 0.5 + 3 + 0.1  # the rest of a request, stop, load
            await asyncio.gather(*crowd)
            assert world.started[:3] == ["popular", "rare", "popular"]

    run(story())


def test_who_came_before_the_starving_one_still_goes_first() -> None:
    async def story() -> None:
        world = World(size=1).add(Nature("a", num_slots=1), Nature("b"))
        order: list[str] = []

        async def asks(name: str, label: str) -> None:
            async with served(world, pool, name):
                order.append(label)
                await asyncio.sleep(4)

        async with pool_in(world, starvation_s=1, overcommit=0) as pool:
            await pool.load("a")
            stories = []
            for name, label in [("a", "a1"), ("a", "a2"), ("b", "b"), ("a", "a3")]:
                stories.append(later(asks(name, label)))
                await turn()
            await asyncio.gather(*stories)

        assert order == ["a1", "a2", "b", "a3"]

    run(story())


def test_two_models_that_do_not_fit_together_do_not_thrash() -> None:
    """Twenty clients ask in turn for two models: requests are served in batches."""

    async def story() -> None:
        world = World(size=1, min_stay_s=5).add(Nature("a", load_s=1), Nature("b", load_s=1))
        async with pool_in(world, starvation_s=2) as pool:
            await asyncio.gather(
                *(request(world, pool, "ab"[number % 2], service_s=0.5) for number in range(20))
            )

            assert sorted(world.started) == ["a", "b"]

            async def asks_for_both() -> None:
                for number in range(10):
                    await request(world, pool, "ab"[number % 2], service_s=0.1)

            began = now()
            await asyncio.gather(*(asks_for_both() for _ in range(10)))
            seconds = now() - began

            assert len(world.started) - 2 <= seconds / 5 + 1, "each stays at least 5 s"

    run(story())


def test_a_busy_model_stays_as_long_as_its_load_took() -> None:
    async def story() -> None:
        world = World(size=1).add(Nature("slow", load_s=60), Nature("other", load_s=60))
        async with pool_in(world, starvation_s=1) as pool:
            await pool.load("slow")
            ready_at = now()

            async def keep_asking() -> None:
                while now() < ready_at + 200:
                    await request(world, pool, "slow", service_s=0.5)

            asking = [later(keep_asking()) for _ in range(2)]
            await turn()
            other = later(request(world, pool, "other"))
            await asyncio.sleep(59)
            assert state_of(pool, "slow") == "ready"

            await asyncio.sleep(5)
            assert state_of(pool, "other") == "loading"
            await other
            await asyncio.gather(*asking)

    run(story())


def test_a_small_model_is_not_kept_out_by_a_large_one_that_waits() -> None:
    async def story() -> None:
        world = World(size=10).add(Nature("a", 6), Nature("large", 7), Nature("small", 3))
        async with pool_in(world, starvation_s=1000) as pool:
            busy = later(request(world, pool, "a", service_s=100))
            await asyncio.sleep(5)
            large = later(request(world, pool, "large"))
            await turn()

            assert await request(world, pool, "small") == pytest.approx(3, abs=0.01)

            assert not large.done()
            await busy
            await large

    run(story())


def test_a_client_that_leaves_does_not_cancel_the_load() -> None:
    async def story() -> None:
        world = World().add(Nature("a", load_s=30))
        async with pool_in(world, keep_alive_s=100) as pool:
            client = later(request(world, pool, "a"))
            await asyncio.sleep(10)
            client.cancel()

            await asyncio.sleep(25)

            assert state_of(pool, "a") == "ready"
            assert pool.counters.num_given_up == 1
            assert await request(world, pool, "a") == 0.0
            assert world.started == ["a"]
            await asyncio.sleep(99)
            assert state_of(pool, "a") == "ready"
            await asyncio.sleep(2)
            assert pool.status() == ()

    run(story())


def test_a_model_for_which_others_were_sent_away_loads_even_if_its_client_leaves() -> None:
    async def story() -> None:
        world = World(size=1).add(Nature("a", stop_s=4), Nature("b"))
        async with pool_in(world) as pool:
            await request(world, pool, "a")
            await asyncio.sleep(2)
            client = later(request(world, pool, "b"))
            await asyncio.sleep(1)
            assert state_of(pool, "a") == "draining"
            client.cancel()

            await asyncio.sleep(10)

            assert state_of(pool, "b") == "ready"

    run(story())


def test_nobody_is_sent_away_for_a_client_that_left_the_queue() -> None:
    async def story() -> None:
        world = World(size=1).add(Nature("a"), Nature("b"))
        async with pool_in(world) as pool:
            busy = later(request(world, pool, "a", service_s=100))
            await asyncio.sleep(10)
            client = later(request(world, pool, "b"))
            await asyncio.sleep(50)
            client.cancel()
            await turn()
            assert state_of(pool, "b") is None

            await busy
            await asyncio.sleep(50)

            assert world.started == ["a"]
            assert state_of(pool, "a") == "ready"

    run(story())


def test_a_waiter_that_leaves_just_as_it_gets_its_lease_gives_it_back() -> None:
    async def story() -> None:
        world = World().add(Nature("a", num_slots=1))
        async with pool_in(world, overcommit=0) as pool:
            first = pool.lease("a")
            holder = await first.__aenter__()
            waiter = later(request(world, pool, "a"))
            await turn()

            holder.release()  # the waiter's future has its lease now, and its task has not run
            waiter.cancel()
            await turn()

            assert waiter.cancelled()
            assert pool.status()[0].in_flight == 0
            assert await request(world, pool, "a") == 0.0

    run(story())


def test_a_lease_may_be_given_back_twice() -> None:
    async def story() -> None:
        world = World().add(Nature("a"))
        async with pool_in(world) as pool:
            async with pool.lease("a") as lease:
                lease.release()
                lease.release()
            assert pool.status()[0].in_flight == 0

    run(story())


def test_owners_take_turns() -> None:
    """Fifty requests of one key push back the single one of another by one turn."""

    async def story() -> None:
        world = World().add(Nature("a", num_slots=2))
        async with pool_in(world, overcommit=0) as pool:
            await pool.load("a")
            greedy = [later(request(world, pool, "a", owner="greedy")) for _ in range(50)]
            await turn()

            waited_s = await request(world, pool, "a", owner="modest")

            assert waited_s == pytest.approx(1.0, abs=0.01)
            await asyncio.gather(*greedy)

    run(story())


def test_an_engine_gets_its_slots_and_a_few_more() -> None:
    async def story() -> None:
        world = World().add(Nature("a", num_slots=4))
        async with pool_in(world) as pool:
            await pool.load("a")
            crowd = [later(request(world, pool, "a")) for _ in range(20)]
            await turn()

            (status,) = pool.status()
            assert (status.in_flight, status.waiting) == (5, 15)
            await asyncio.gather(*crowd)

    run(story())


def test_too_many_waiters_are_sent_away_with_a_time_to_come_again() -> None:
    async def story() -> None:
        world = World().add(Nature("a", num_slots=1))
        async with pool_in(world, overcommit=0, max_waiting=10) as pool:
            for _ in range(20):
                await request(world, pool, "a", service_s=4)
            crowd = [later(request(world, pool, "a", service_s=4)) for _ in range(11)]
            await turn()

            with pytest.raises(Overloaded) as refused:
                await request(world, pool, "a")

            assert refused.value.retry_after_s is not None
            assert 30 <= refused.value.retry_after_s <= 60
            assert pool.counters.num_refusals == 1
            with pytest.raises(Overloaded):
                await request(world, pool, "nobody-knows-this")
            assert [status.name for status in pool.status()] == ["a"]
            crowd.pop().cancel()
            await turn()
            last = later(request(world, pool, "a"))
            await asyncio.gather(*crowd, last)

    run(story())


# --- what goes wrong ----------------------------------------------------------------------------


def test_a_failed_load_is_told_to_all_who_wait() -> None:
    async def story() -> None:
        error = BadWeights("The file is damaged.")
        world = World().add(Nature("a", load_errors=[error]))
        async with pool_in(world) as pool:
            results = await asyncio.gather(
                *(request(world, pool, "a") for _ in range(5)), return_exceptions=True
            )

            assert [str(result) for result in results] == ["The file is damaged."] * 5
            assert len({id(result) for result in results}) == 5, "no shared traceback"
            assert {type(result) for result in results} == {BadWeights}
            assert state_of(pool, "a") == "failed"
            assert await request(world, pool, "a") == pytest.approx(3, abs=0.01)

    run(story())


def test_a_model_that_is_not_known_leaves_no_trace() -> None:
    async def story() -> None:
        world = World().add(Nature("x", open_error=ModelNotFound("x", nearest=("y",))))
        async with pool_in(world) as pool:
            with pytest.raises(ModelNotFound) as unknown:
                await request(world, pool, "x")

            assert unknown.value.nearest == ("y",)
            assert pool.status() == ()
            assert pool._models == {}

    run(story())


def test_a_bug_in_opening_is_told_as_an_engine_failure(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        world = World().add(Nature("x", open_error=KeyError("/secret/path")))
        async with pool_in(world) as pool:
            with pytest.raises(EngineFailed) as failed:
                await request(world, pool, "x")
            assert "secret" not in failed.value.message

    run(story())
    assert "KeyError" in caplog.text


def test_after_three_failures_the_model_rests_and_then_is_tried_once() -> None:
    async def story() -> None:
        causes = [EngineFailed(f"cause {number}") for number in range(4)]
        world = World().add(Nature("a", load_errors=list(causes)))
        async with pool_in(world) as pool:
            for number in range(3):
                with pytest.raises(EngineFailed, match=f"cause {number}"):
                    await request(world, pool, "a")
            with pytest.raises(EngineFailed, match="cause 2") as blocked:
                await request(world, pool, "a")
            assert blocked.value.retry_after_s == 2
            assert len(world.started) == 3
            assert "next try in 2 s" in pool.status()[0].why

            await asyncio.sleep(2)
            probe = await asyncio.gather(
                *(request(world, pool, "a") for _ in range(5)), return_exceptions=True
            )

            assert {str(one) for one in probe} == {"cause 3"}
            assert len(world.started) == 4, "one probe for all"
            with pytest.raises(EngineFailed) as blocked:
                await request(world, pool, "a")
            assert blocked.value.retry_after_s == 4
            await asyncio.sleep(4)
            await request(world, pool, "a")
            assert state_of(pool, "a") == "ready"
            assert pool.counters.num_failed_loads == 4

    run(story())


def test_children_that_die_again_and_again_are_a_failure_too() -> None:
    async def story() -> None:
        world = World().add(Nature("a", load_s=0.1))
        async with pool_in(world) as pool:
            for _ in range(3):
                await request(world, pool, "a", service_s=0.1)
                world.child("a").die()
                await turn()

            with pytest.raises(EngineFailed, match="SIGKILL"):
                await request(world, pool, "a")
            assert pool.counters.num_deaths == 3

    run(story())


def test_a_model_that_failed_once_and_then_served_does_not_count_as_failed() -> None:
    async def story() -> None:
        world = World().add(Nature("a", load_errors=[EngineFailed("once")]))
        async with pool_in(world, keep_alive_s=10) as pool:
            with pytest.raises(EngineFailed):
                await request(world, pool, "a", keep_alive_s=-1)
            await request(world, pool, "a")
            # The wish came with the request that failed.
            assert pool.status()[0].expires_in_s == pytest.approx(10)

            await asyncio.sleep(15)

            assert pool.status() == ()

    run(story())


def test_a_child_that_died_is_replaced_at_once_and_nobody_in_the_queue_is_lost() -> None:
    async def story() -> None:
        world = World().add(Nature("a", num_slots=1))
        async with pool_in(world, overcommit=0) as pool:
            await pool.load("a")
            first = pool.lease("a")
            held = await first.__aenter__()
            queue = [later(request(world, pool, "a")) for _ in range(3)]
            await turn()

            world.child("a").die()
            await asyncio.sleep(3.1)
            held.release()  # long after: it belongs to the dead child, not to the new one

            assert pool.status()[0].in_flight == 1
            await asyncio.gather(*queue)
            assert world.started == ["a", "a"]

    run(story())


def test_a_reported_failure_keeps_newcomers_from_a_child_that_is_dead() -> None:
    """Its death is noticed a moment after its connections broke."""

    async def story() -> None:
        world = World().add(Nature("a"))
        async with pool_in(world) as pool:
            await pool.load("a")
            async with pool.lease("a") as lease:
                world.child("a").is_silent = True
                lease.report_failure()
                newcomer = later(request(world, pool, "a"))
                await asyncio.sleep(0.1)
                assert not newcomer.done()
                world.child("a").die()

            assert await newcomer == pytest.approx(3.1, abs=0.1)

    run(story())


def test_a_reported_failure_that_was_none_costs_nothing() -> None:
    async def story() -> None:
        world = World().add(Nature("a"))
        async with pool_in(world) as pool:
            await pool.load("a")
            async with pool.lease("a") as lease:
                lease.report_failure()

            assert await request(world, pool, "a") < 0.01
            assert world.started == ["a"]

    run(story())


def test_a_silent_child_is_killed_and_replaced() -> None:
    async def story() -> None:
        world = World().add(Nature("a"))
        async with pool_in(world, ping_every_s=5, dead_after_s=15) as pool:
            await pool.load("a")
            await asyncio.sleep(12)
            hung = world.child("a")
            hung.is_silent = True
            silent_since = now()

            await asyncio.wait_for(hung.wait_dead(), 60)

            assert 10 <= now() - silent_since <= 30
            assert pool.counters.num_kills == 1
            assert await request(world, pool, "a") == pytest.approx(3, abs=0.1)

    run(story())


def test_a_child_that_serves_nothing_is_killed() -> None:
    async def story() -> None:
        world = World().add(Nature("a"))
        async with pool_in(world, stall_s=300) as pool, pool.lease("a") as lease:
            for _ in range(10):
                await asyncio.sleep(100)
                lease.progressed()
            assert pool.counters.num_kills == 0
            child = world.child("a")
            progressed_at = now()

            await asyncio.wait_for(child.wait_dead(), 400)

            assert now() - progressed_at == pytest.approx(300, abs=0.1)

    run(story())


def test_running_out_of_memory_is_answered_with_the_smaller_variant() -> None:
    async def story() -> None:
        smaller = Nature("a", size=1, num_slots=1)
        world = World().add(Nature("a", size=2, load_errors=[out_of_memory("a")], smaller=smaller))
        async with pool_in(world) as pool:
            await request(world, pool, "a")

            (status,) = pool.status()
            assert (status.num_slots, status.predicted_bytes) == (1, 1)
            assert "ran out of memory" in status.why
            assert [attempt for _, attempt, _ in world.opened] == [0, 1]

    run(story())


def test_running_out_of_memory_without_a_smaller_variant_is_told() -> None:
    async def story() -> None:
        world = World().add(Nature("a", load_errors=[out_of_memory("a")]))
        async with pool_in(world) as pool:
            with pytest.raises(EngineFailed, match="out of memory") as failed:
                await request(world, pool, "a")
            assert failed.value.code == "out_of_memory"
            assert world.started == ["a"]

    run(story())


def test_who_left_for_a_load_that_failed_comes_back_on_demand() -> None:
    async def story() -> None:
        world = World(size=1).add(
            Nature("good"), Nature("bad", load_errors=[EngineFailed("no"), EngineFailed("no")])
        )
        async with pool_in(world) as pool:
            await request(world, pool, "good")
            await asyncio.sleep(2)
            bad = later(request(world, pool, "bad"))
            await asyncio.sleep(0.1)
            assert state_of(pool, "good") == "draining"

            await request(world, pool, "good")

            assert isinstance(bad.exception(), EngineFailed)
            assert world.started == ["good", "bad", "good"]

    run(story())


# --- memory that changes ------------------------------------------------------------------------


def test_memory_that_another_process_took_is_made_up_for_by_idle_models() -> None:
    async def story() -> None:
        world = World(size=4).add(Nature("a", 2), Nature("b", 2))
        async with pool_in(world) as pool:
            await request(world, pool, "a")
            await asyncio.sleep(5)
            world.others = 1

            await request(world, pool, "b")

            assert [child.nature.name for child in world.living()] == ["b"]

    run(story())


def test_a_model_that_no_longer_fits_is_planned_anew_and_then_refused() -> None:
    async def story() -> None:
        world = World(size=4).add(Nature("a", 2), Nature("b", 4))
        async with pool_in(world) as pool:
            busy = later(request(world, pool, "a", service_s=20))
            await asyncio.sleep(5)
            other = later(request(world, pool, "b"))
            await asyncio.sleep(5)
            world.others = 1

            with pytest.raises(DoesNotFit) as refused:
                await other

            assert refused.value.free_bytes == 3
            assert [room.capacity.host_bytes for name, _, room in world.opened if name == "b"] == [
                4,
                3,
            ]
            await busy

    run(story())


def test_a_model_that_waits_for_memory_loads_when_another_process_gives_it_back() -> None:
    async def story() -> None:
        world = World(size=4, others=0).add(Nature("a", 2), Nature("b", 2))
        async with pool_in(world) as pool:
            busy = later(request(world, pool, "a", service_s=1000))
            await asyncio.sleep(5)
            world.others = 1
            other = later(request(world, pool, "b"))
            await asyncio.sleep(100)
            assert state_of(pool, "b") == "waiting"

            world.others = 0
            await asyncio.sleep(10)

            assert other.done()
            busy.cancel()

    run(story())


def test_opening_is_told_what_is_free_and_what_could_be() -> None:
    async def story() -> None:
        world = World(size=10).add(Nature("a", 6), Nature("b", 3))
        async with pool_in(world, budget_bytes=9) as pool:
            await request(world, pool, "a")
            await request(world, pool, "b")

            rooms = [(room.free, room.capacity) for _, _, room in world.opened]
            assert rooms == [(Amount(9), Amount(9)), (Amount(3), Amount(9))]

    run(story())


def test_a_model_that_fills_the_gpu_makes_room_for_the_next() -> None:
    async def story() -> None:
        world = World(size=100, gpu_size=10).add(Nature("a", gpu_size=7), Nature("b", gpu_size=6))
        async with pool_in(world) as pool:
            await request(world, pool, "a")
            await request(world, pool, "b")

            assert [child.nature.name for child in world.living()] == ["b"]
            assert world.opened[-1][2].free == Amount(99, 3)
            assert world.opened[-1][2].capacity == Amount(100, 10)

    run(story())


def test_two_models_that_share_a_gpu_stay_beside_each_other() -> None:
    async def story() -> None:
        world = World(size=100, gpu_size=10).add(Nature("a", gpu_size=4), Nature("b", gpu_size=6))
        async with pool_in(world) as pool:
            await request(world, pool, "a")
            await request(world, pool, "b")

            assert {child.nature.name for child in world.living()} == {"a", "b"}

    run(story())


def test_a_model_too_large_for_the_gpu_is_refused_with_the_numbers() -> None:
    async def story() -> None:
        world = World(size=100, gpu_size=4_000_000_000).add(Nature("a", gpu_size=5_000_000_000))
        async with pool_in(world) as pool:
            with pytest.raises(DoesNotFit, match=r"needs 5\.0 GB of GPU memory.*can be 4\.0 GB"):
                await request(world, pool, "a")

    run(story())


# --- leaving ------------------------------------------------------------------------------------


def test_unloading_waits_for_those_who_came_before() -> None:
    async def story() -> None:
        world = World().add(Nature("a", num_slots=1))
        async with pool_in(world, overcommit=0) as pool:
            early = [later(request(world, pool, "a", service_s=5)) for _ in range(3)]
            await asyncio.sleep(4)

            gone = later(pool.unload("a"))
            await turn()
            late = later(request(world, pool, "a"))
            assert state_of(pool, "a") == "draining"

            assert await gone is True
            assert all(one.done() for one in early)
            assert not late.done()
            await late
            assert world.started == ["a", "a"]

    run(story())


def test_unloading_what_is_not_there_says_so() -> None:
    async def story() -> None:
        async with pool_in(World()) as pool:
            assert await pool.unload("a") is False

    run(story())


def test_unloading_ends_a_load_that_nobody_waits_for() -> None:
    async def story() -> None:
        world = World().add(Nature("a", load_s=1000))
        async with pool_in(world) as pool:
            client = later(request(world, pool, "a"))
            await asyncio.sleep(1)
            client.cancel()
            await turn()

            assert await pool.unload("a") is True

            assert now() < 1010
            assert world.living() == []

    run(story())


def test_closing_waits_for_those_in_flight_and_turns_away_the_rest() -> None:
    async def story() -> None:
        world = World(size=3).add(Nature("a", num_slots=1), Nature("b", load_s=100), Nature("c"))
        async with pool_in(world, overcommit=0) as pool:
            await pool.load("c")
            await pool.load("a")
            in_flight = later(request(world, pool, "a", service_s=20))
            await turn()
            waiting = later(request(world, pool, "a"))
            loading = later(request(world, pool, "b"))
            await asyncio.sleep(1)

            closing = later(pool.close(drain_s=30))
            await turn()

            with pytest.raises(Overloaded):
                await waiting
            with pytest.raises(Overloaded):
                await loading
            with pytest.raises(Overloaded) as late:
                await request(world, pool, "c")
            assert late.value.retry_after_s
            await asyncio.sleep(5)
            assert [child.nature.name for child in world.living()] == ["a"]
            await closing
            assert await in_flight == 0.0
            assert world.living() == []

    run(story())


def test_closing_does_not_wait_longer_than_the_drain() -> None:
    async def story() -> None:
        world = World().add(Nature("a"))
        async with pool_in(world) as pool:
            async with pool.lease("a"):
                began = now()
                await pool.close(drain_s=30)
                assert now() - began == pytest.approx(30.5, abs=0.1)
            assert world.living() == []

    run(story())


def test_closing_again_with_a_shorter_drain_hurries() -> None:
    async def story() -> None:
        world = World().add(Nature("a"))
        async with pool_in(world) as pool:
            async with pool.lease("a"):
                first = later(pool.close(drain_s=3000))
                await asyncio.sleep(1)
                began = now()
                await pool.close()
                assert now() - began < 1
                await first
            await pool.close()

    run(story())


def test_the_clock_of_the_pool_may_stand_still() -> None:
    """Nothing spins when the loop's timers and the pool's clock disagree."""

    async def story() -> None:
        world = World().add(Nature("a"))
        async with pool_in(world) as pool:
            pool._clock = lambda: 7.0
            await pool.load("a")
            await asyncio.sleep(10)

    run(story())
