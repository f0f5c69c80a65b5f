"""The queue, against a slow and obvious model of it."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from codehearth.pool.queue import FairQueue


def test_owners_take_turns() -> None:
    queue: FairQueue[str] = FairQueue()
    for ticket in range(5):
        queue.push("greedy", ticket, f"greedy {ticket}")
    queue.push("modest", 5, "modest 5")

    order = [queue.pop() for _ in range(6)]

    assert order[:3] == ["greedy 0", "modest 5", "greedy 1"]
    assert queue.pop() is None


def test_who_leaves_is_gone_at_once() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.push("a", 1, "first")
    queue.push("a", 2, "second")

    assert queue.remove("a", 1)
    assert not queue.remove("a", 1)
    assert not queue.remove("b", 2)

    assert len(queue) == 1
    assert queue.pop() == "second"


def test_only_those_before_the_barrier_go() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.push("late", 7, "late")
    queue.push("early", 3, "early")

    assert queue.oldest() == "early"
    assert queue.pop(before=5) == "early"
    assert queue.pop(before=5) is None
    assert not queue.has(before=5)
    assert queue.has(before=None)


steps = st.lists(
    st.tuples(
        st.sampled_from(["push", "push", "pop", "pop before", "remove"]),
        st.sampled_from("abc"),
        st.integers(0, 30),
    )
)


@settings(deadline=None)
@given(steps)
def test_nobody_is_lost_and_each_owner_is_first_come_first_served(
    steps: list[tuple[str, str, int]],
) -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue()
    waiting: list[tuple[str, int]] = []
    for ticket, (what, owner, number) in enumerate(steps):
        if what == "push":
            queue.push(owner, ticket, (owner, ticket))
            waiting.append((owner, ticket))
        elif what == "remove":
            assert queue.remove(owner, number) == ((owner, number) in waiting)
            waiting = [one for one in waiting if one != (owner, number)]
        else:
            before = number if what == "pop before" else None
            popped = queue.pop(before=before)
            mine = [one for one in waiting if popped and one[0] == popped[0]]
            if popped is None:
                assert all(before is not None and ticket >= before for _, ticket in waiting)
            else:
                assert popped == min(mine, key=lambda one: one[1])
                waiting.remove(popped)
        assert len(queue) == len(waiting)
        assert queue.oldest_ticket() == min((ticket for _, ticket in waiting), default=None)


@settings(deadline=None)
@given(st.lists(st.sampled_from("abc"), min_size=1))
def test_between_two_turns_of_one_owner_no_other_has_two(owners: list[str]) -> None:
    queue: FairQueue[str] = FairQueue()
    for ticket, owner in enumerate(owners):
        queue.push(owner, ticket, owner)

    served = [queue.pop() for _ in owners]

    for owner in set(owners):
        turns = [number for number, one in enumerate(served) if one == owner]
        for first, second in pairwise(turns):
            between = served[first + 1 : second]
            assert len(between) == len(set(between))
