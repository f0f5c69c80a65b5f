"""pass@k and its interval; pure, and the same for the same seed.

pass@k is the chance that at least one of k answers to a task passes, estimated without bias from n
answers of which c passed: 1 - C(n-c, k) / C(n, k) (Chen et al. 2021, arXiv 2107.03374), and then
the mean over the tasks. Intervals are 95 %:

- One answer a task and k = 1: Wilson's, on how many tasks passed.
- Otherwise: a bootstrap over tasks, which are drawn again with all their answers. It says how far
  the figure would move with other tasks of the same kind; where all tasks agree it would have no
  width, so Wilson's on the tasks is taken instead.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from codehearth.lab.result import Interval

NUM_RESAMPLES = 2000
_NORMAL_95 = 1.959964
Verdict = Literal["better", "worse", "noise", "same"]
Method = Literal["wilson", "bootstrap"]


@dataclass(frozen=True)
class Count:
    """Of `num_answers` to one task, so many passed."""

    num_answers: int
    num_passed: int


@dataclass(frozen=True)
class PassAt:
    k: int
    interval: Interval
    method: Method


def pass_at_k(num_answers: int, num_passed: int, k: int) -> float:
    """The unbiased estimate for one task.

    >>> pass_at_k(10, 3, 1), pass_at_k(2, 1, 2), round(pass_at_k(20, 1, 10), 3)
    (0.3, 1.0, 0.5)
    """
    if not 0 <= num_passed <= num_answers or not 1 <= k <= num_answers:
        raise ValueError(f"no pass@{k} of {num_passed} in {num_answers}")
    if num_answers - num_passed < k:
        return 1.0
    if k == 1:
        return num_passed / num_answers
    misses = math.prod(
        1 - k / number for number in range(num_answers - num_passed + 1, num_answers + 1)
    )
    return 1 - misses


def estimate(counts: Sequence[Count], k: int, *, seed: int) -> PassAt:
    """pass@k over tasks; every task has at least k answers. Without tasks: nothing is known."""
    values = [pass_at_k(one.num_answers, one.num_passed, k) for one in counts]
    if not values:
        return PassAt(k, Interval(0.0, 0.0, 1.0), "wilson")
    mean = math.fsum(values) / len(values)
    if (k == 1 and all(one.num_answers == 1 for one in counts)) or len(set(values)) == 1:
        return PassAt(k, wilson(mean, len(values)), "wilson")
    return PassAt(k, Interval(mean, *bootstrap(values, seed=seed)), "bootstrap")


def bootstrap(values: Sequence[float], *, seed: int) -> tuple[float, float]:
    """The 95 % range of the mean over values drawn again with replacement."""
    generator = random.Random(seed)  # noqa: S311
    count = len(values)
    means = sorted(
        math.fsum(generator.choices(values, k=count)) / count for _ in range(NUM_RESAMPLES)
    )
    return _at(means, 0.025), _at(means, 0.975)


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, max(0, round(share * (len(ordered) - 1))))]


def wilson(share: float, count: int) -> Interval:
    """A share of `count` with Wilson's 95 % interval, which is honest for few and for extremes."""
    square = _NORMAL_95**2
    centre = (share + square / (2 * count)) / (1 + square / count)
    spread = math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    half = _NORMAL_95 * spread / (1 + square / count)
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


@dataclass(frozen=True)
class Difference:
    """By how much the mean grew, task by task; "noise" where its interval holds zero."""

    interval: Interval
    verdict: Verdict


def difference(before: Sequence[float], after: Sequence[float], *, seed: int) -> Difference:
    """Paired over the same tasks, which makes it much sharper than two intervals side by side."""
    changes = [late - early for early, late in zip(before, after, strict=True)]
    if not any(changes):
        return Difference(Interval(0.0, 0.0, 0.0), "same")
    mean = math.fsum(changes) / len(changes)
    low, high = bootstrap(changes, seed=seed)
    if low <= 0 <= high:
        return Difference(Interval(mean, low, high), "noise")
    return Difference(Interval(mean, low, high), "better" if mean > 0 else "worse")
