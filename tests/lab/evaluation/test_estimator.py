"""pass@k and what is said about its error."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codehearth.lab.evaluation.estimator import (
    Count,
    bootstrap,
    difference,
    estimate,
    pass_at_k,
)


@pytest.mark.parametrize(
    ("num_answers", "num_passed", "k", "expected"),
    [
        (1, 0, 1, 0.0),
        (1, 1, 1, 1.0),
        (10, 3, 1, 0.3),
        (5, 2, 5, 1.0),
        (5, 0, 5, 0.0),
        (4, 2, 2, 1 - 1 / 6),
        (200, 1, 100, 0.5),
        (20, 15, 10, 1.0),
    ],
)
def test_known_values(num_answers: int, num_passed: int, k: int, expected: float) -> None:
    assert pass_at_k(num_answers, num_passed, k) == pytest.approx(expected)


@given(
    st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n)))
)
def test_it_is_the_share_of_all_choices_with_a_pass(numbers: tuple[int, int, int]) -> None:
    """Unbiased means: counted over every choice of k out of n answers."""
    num_answers, num_passed, k = numbers
    answers = [True] * num_passed + [False] * (num_answers - num_passed)
    choices = list(itertools.combinations(answers, k))

    assert pass_at_k(num_answers, num_passed, k) == pytest.approx(
        sum(map(any, choices)) / len(choices)
    )


@given(st.integers(1, 100), st.data())
def test_more_tries_never_pass_less(num_answers: int, data: st.DataObject) -> None:
    num_passed = data.draw(st.integers(0, num_answers))
    values = [pass_at_k(num_answers, num_passed, k) for k in range(1, num_answers + 1)]

    assert all(one <= other + 1e-12 for one, other in itertools.pairwise(values))
    assert all(0 <= value <= 1 for value in values)


@pytest.mark.parametrize("numbers", [(3, 4, 1), (3, -1, 1), (3, 1, 0), (3, 1, 4)])
def test_impossible_counts_are_refused(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="no pass@"):
        pass_at_k(*numbers)


def test_one_answer_a_task_has_wilsons_interval() -> None:
    counts = [Count(1, 1)] * 3 + [Count(1, 0)] * 7

    found = estimate(counts, 1, seed=0)

    assert found.method == "wilson"
    assert found.interval.value == pytest.approx(0.3)
    assert (found.interval.low, found.interval.high) == pytest.approx((0.1078, 0.6032), abs=1e-4)


def test_many_answers_have_a_bootstrap_over_tasks() -> None:
    counts = [Count(10, passed) for passed in (0, 0, 1, 2, 5, 9, 10, 10, 3, 4)]

    found = estimate(counts, 1, seed=0)

    assert found.method == "bootstrap"
    assert found.interval.low < found.interval.value < found.interval.high
    values = [one.num_passed / 10 for one in counts]
    error = math.sqrt(sum((v - found.interval.value) ** 2 for v in values) / 9 / 10)
    assert found.interval.high - found.interval.low == pytest.approx(4 * error, rel=0.25)


def test_all_tasks_alike_do_not_pretend_to_certainty() -> None:
    found = estimate([Count(20, 0)] * 5, 10, seed=0)

    assert found.interval.low == 0
    assert found.interval.high > 0.3


def test_the_same_seed_gives_the_same_interval() -> None:
    values = [number**2 / 97 for number in range(10)]

    assert bootstrap(values, seed=3) == bootstrap(values, seed=3)
    assert bootstrap(values, seed=3) != bootstrap(values, seed=4)


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ([0.0] * 20, [1.0] * 20, "better"),
        ([1.0] * 20, [0.0] * 5 + [1.0] * 15, "worse"),
        ([0.0, 1.0] * 10, [1.0, 0.0] * 10, "noise"),
        ([0.0] * 19 + [1.0], [0.0] * 18 + [1.0, 1.0], "noise"),
        ([0.5] * 4, [0.5] * 4, "same"),
    ],
)
def test_a_difference_is_told_from_noise(
    before: list[float], after: list[float], verdict: str
) -> None:
    assert difference(before, after, seed=0).verdict == verdict
