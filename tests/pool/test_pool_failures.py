"""How often a model may fail, and whom the watchdog kills."""

from __future__ import annotations

from typing import Any

import pytest

from codehearth.pool import watchdog
from codehearth.pool.failures import Failures, after_failure, blocked_s, forgotten_at
from codehearth.pool.limits import Limits
from codehearth.pool.model import Life


def fail_at(*times: float, failures: Failures = Failures()) -> Failures:  # noqa: B008 - frozen
    for now in times:
        failures = after_failure(failures, now=now, served_s=0.0)
    return failures


def test_two_failures_do_not_block() -> None:
    assert blocked_s(fail_at(0, 1), now=1) == 0


def test_three_failures_within_a_minute_block_for_two_seconds() -> None:
    failures = fail_at(0, 30, 59)

    assert blocked_s(failures, now=59) == 2
    assert blocked_s(failures, now=60.5) == 1
    assert blocked_s(failures, now=61) == 0


def test_three_failures_over_a_longer_time_do_not_block() -> None:
    assert blocked_s(fail_at(0, 40, 80), now=80) == 0


def test_each_failed_probe_doubles_the_back_off_up_to_two_minutes() -> None:
    failures, waits, now = fail_at(0, 0), [], 0.0

    for _ in range(9):
        failures = after_failure(failures, now=now, served_s=0.0)
        waits.append(blocked_s(failures, now))
        now += waits[-1]

    assert waits == [2, 4, 8, 16, 32, 64, 120, 120, 120]


def test_a_child_that_served_for_a_minute_has_proved_itself() -> None:
    failures = after_failure(fail_at(0, 1, 2), now=100, served_s=60)

    assert failures == Failures(times=(100,))


def test_a_child_that_dies_soon_after_the_probe_fails_the_probe() -> None:
    failures = after_failure(fail_at(0, 1, 2), now=30, served_s=20)

    assert blocked_s(failures, now=30) == 4


def test_a_model_without_failures_is_forgotten_at_once() -> None:
    assert forgotten_at(Failures()) == float("-inf")
    assert forgotten_at(fail_at(7)) == 67
    assert forgotten_at(fail_at(0, 1, 2)) == 64


# --- the watchdog -------------------------------------------------------------------------------

LIMITS = Limits(ping_every_s=5, dead_after_s=15, stall_s=300)


def life(**what: Any) -> Life:
    made = Life(
        opened=None, limit=2, started_at=0, stage="ready", answered_at=100, progressed_at=100
    )  # type: ignore[arg-type]
    for name, value in what.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("what", "now", "is_killed"),
    [
        ({}, 1000, False),
        ({"num_missed_pings": 2}, 114, False),
        ({"num_missed_pings": 2}, 115, True),
        ({"num_missed_pings": 1}, 1000, False),
        ({"num_in_flight": 1}, 399, False),
        ({"num_in_flight": 1}, 400, True),
        ({"num_missed_pings": 9, "num_in_flight": 1, "stage": "leaving"}, 9999, False),
        ({"num_missed_pings": 9, "stage": "loading"}, 9999, False),
    ],
)
def test_a_child_is_killed_when_it_is_silent_or_stalled(
    what: dict[str, Any], now: float, is_killed: bool
) -> None:
    assert (watchdog.complaint(life(**what), LIMITS, now) is not None) == is_killed


def test_a_child_that_we_ourselves_did_not_ask_is_not_killed() -> None:
    """When the server is stopped with Ctrl-Z for an hour, no child has done anything wrong."""
    after_an_hour = life(num_missed_pings=1, answered_at=0)

    assert watchdog.complaint(after_an_hour, LIMITS, now=3600) is None


def test_a_suspect_is_cleared_by_its_answer_and_asked_often_until_then() -> None:
    suspect = life(is_suspect=True, is_pinged=True)

    watchdog.after_ping(suspect, LIMITS, is_alive=False, now=110)
    assert (suspect.is_suspect, suspect.ping_at) == (True, 110.5)
    assert watchdog.next_look(suspect, LIMITS) == 110.5

    watchdog.after_ping(suspect, LIMITS, is_alive=True, now=111)
    assert (suspect.is_suspect, suspect.ping_at, suspect.num_missed_pings) == (False, 116, 0)
