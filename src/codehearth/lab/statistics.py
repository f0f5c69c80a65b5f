"""Figures with their errors; pure, and the same for the same seed.

Neighbouring tokens are not independent: one hard line is hard for twenty tokens. So a bootstrap
draws blocks of neighbours, not tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from codehearth.lab.result import Estimate, Interval, Sample

BLOCK_TOKENS = 64
NUM_RESAMPLES = 1000
_NORMAL_95 = 1.959964

Array = np.ndarray[Any, np.dtype[Any]]


def mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def percentile_99(values: Sequence[float]) -> float:
    return float(np.percentile(values, 99))


def bootstrap(values: Sequence[float], statistic: Callable[[Any], float], *, seed: int) -> Interval:
    """A statistic of values in their order, with a 95 % interval from resampled blocks."""
    array = np.asarray(values, np.float64)
    blocks = np.array_split(array, max(1, len(array) // BLOCK_TOKENS))
    generator = np.random.default_rng(seed)
    drawn = [
        statistic(np.concatenate([blocks[index] for index in choice]))
        for choice in generator.integers(len(blocks), size=(NUM_RESAMPLES, len(blocks)))
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(statistic(array), float(low), float(high))


def wilson(num_yes: int, count: int) -> Interval:
    """A share with Wilson's 95 % interval, which is honest for few and for extremes."""
    if not count:
        return Interval(0.0, 0.0, 1.0)
    share, square = num_yes / count, _NORMAL_95**2
    centre = (share + square / (2 * count)) / (1 + square / count)
    half = (
        _NORMAL_95
        * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
        / (1 + square / count)
    )
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def perplexity(losses: Sequence[float]) -> Estimate:
    """exp of the mean loss; the error by the delta method, tokens taken as independent, as
    `llama-perplexity` does it."""
    value = math.exp(mean(losses))
    return Estimate(value, value * standard_error(losses))


def standard_error(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.inf


def student_95(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, within 1 %: the normal one, widened (Cornish and Fisher),
    but for one and two degrees of freedom, where that is too narrow.

    >>> round(student_95(3), 2), round(student_95(30), 2)
    (3.16, 2.04)
    """
    if freedom == 1:
        return 12.706
    if freedom == 2:
        return 4.303
    z, n = _NORMAL_95, float(freedom)
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    )


def log_ratio(losses: Sequence[float], reference: Sequence[float]) -> Estimate:
    """How much the log of the perplexity grew, token by token: text that is hard for both cancels
    out, so this is seen where two perplexities with their errors say nothing."""
    differences = (np.asarray(losses) - np.asarray(reference)).tolist()
    return Estimate(mean(differences), standard_error(differences))


def quantiles(values: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """(share, value) pairs that draw the distribution, denser towards the tail."""
    shares = [
        *(step / 20 for step in range(18)),
        0.9,
        0.925,
        0.95,
        0.97,
        0.98,
        0.99,
        0.995,
        0.999,
        1,
    ]
    return tuple((share, float(np.quantile(values, share))) for share in shares)


def sample(values: Sequence[float]) -> Sample:
    return Sample(float(np.median(values)), min(values), max(values), tuple(values))
