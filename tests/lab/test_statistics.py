"""Figures with their errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from codehearth.errors import InvalidRequest
from codehearth.lab import statistics
from codehearth.lab.scoring import Scores, cut, loss_of


def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    """95 % are claimed; with 32 blocks a bootstrap is known to reach a little less."""
    generator = np.random.default_rng(1)
    hits = 0
    for number in range(60):
        values = generator.exponential(1.0, size=64 * 32)
        found = statistics.bootstrap(values.tolist(), statistics.mean, seed=number)
        hits += found.low <= 1.0 <= found.high
    assert 52 <= hits <= 60


def test_neighbours_that_go_together_widen_the_interval() -> None:
    generator = np.random.default_rng(2)
    values = generator.exponential(1.0, size=2048)
    alone = statistics.bootstrap(values.tolist(), statistics.mean, seed=0)
    together = statistics.bootstrap(np.repeat(values[:64], 32).tolist(), statistics.mean, seed=0)

    assert together.high - together.low > 3 * (alone.high - alone.low)


def test_a_seed_gives_the_same_interval() -> None:
    values = list(range(500))

    one = statistics.bootstrap(values, statistics.percentile_99, seed=3)

    assert one == statistics.bootstrap(values, statistics.percentile_99, seed=3)


@pytest.mark.parametrize(
    ("num_yes", "count", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634)],
)
def test_wilsons_interval(num_yes: int, count: int, low: float, high: float) -> None:
    """The values of Wilson's formula at 95 %."""
    found = statistics.wilson(num_yes, count)

    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-3)


def test_perplexity_of_a_fair_die() -> None:
    found = statistics.perplexity([math.log(6)] * 100)

    assert found.value == pytest.approx(6)
    assert found.standard_error == pytest.approx(0)


def test_a_small_loss_shows_in_the_ratio_and_not_in_the_perplexities() -> None:
    generator = np.random.default_rng(0)
    hard = generator.exponential(2.0, size=4000)
    worse = hard + 0.01 + 0.02 * generator.standard_normal(4000)

    before, after = statistics.perplexity(hard.tolist()), statistics.perplexity(worse.tolist())
    ratio = statistics.log_ratio(worse.tolist(), hard.tolist())

    assert after.value - before.value < before.standard_error
    assert ratio.value > 10 * ratio.standard_error


def test_greedy_answers_are_the_same_up_to_the_first_difference() -> None:
    reference = Scores((1.0, 1.0), ((1, 2, 3), (4, 5)))
    other = Scores((1.0, 1.0), ((1, 2, 9), (4, 5)), (0.0, 0.0), (1.0, 1.0), (1.0, 1.0))

    greedy = loss_of(other, reference, seed=0).greedy

    assert greedy is not None
    assert greedy.agreement.value == 0.5
    assert greedy.same_tokens == 2


def test_windows_are_spread_over_the_whole_text() -> None:
    found = cut(range(1000), vocabulary_size=2000, context_tokens=10, max_windows=4, num_prompts=2)

    assert [window[0] for window in found.windows] == [0, 250, 500, 750]
    assert found.num_scored_tokens == 4 * 4
    assert [prompt[0] for prompt in found.prompts] == [0, 500]


def test_a_text_too_short_says_how_much_is_needed() -> None:
    with pytest.raises(InvalidRequest, match="39 tokens; with a context of 10 at least 40"):
        cut(range(39), vocabulary_size=100, context_tokens=10, max_windows=4, num_prompts=2)
