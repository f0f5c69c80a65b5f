"""Arithmetic on logits, held against 64-bit floats."""

from __future__ import annotations

import numpy as np
import pytest

from codehearth.lab.logits import Array, compared, is_finite, losses


def rows(width: int, seed: int = 0) -> Array:
    return (np.random.default_rng(seed).standard_normal((9, width)) * 3).astype(np.float32)


def log_softmax(values: Array) -> Array:
    exact = values.astype(np.float64)
    return np.asarray(exact - np.log(np.exp(exact).sum(axis=1, keepdims=True)))


@pytest.mark.parametrize("width", [3, 500, 4096, 32_003, 152_064])
@pytest.mark.parametrize("noise", [1e-4, 1e-2, 1.0])
def test_figures_are_those_of_64_bits(width: int, noise: float) -> None:
    reference = rows(width)
    logits = (reference + noise * rows(width, seed=1)).astype(np.float32)
    targets = np.arange(9) % width

    found = compared(reference, logits, targets, num_threads=2)

    theirs, ours = log_softmax(reference), log_softmax(logits)
    kl = (np.exp(theirs) * (theirs - ours)).sum(axis=1)
    assert np.allclose(found["kl"], kl, rtol=1e-4, atol=1e-6)
    assert np.mean(found["kl"]) == pytest.approx(np.mean(kl), rel=2e-3)
    assert np.allclose(found["nll"], -ours[np.arange(9), targets], atol=1e-6)
    assert losses(logits, targets)["nll"] == pytest.approx(found["nll"])
    best, second = (np.argsort(-one, axis=1)[:, :5] for one in (reference, logits))
    assert found["top_1"] == (best[:, 0] == second[:, 0]).astype(float).tolist()
    shared = [len({*one} & {*other}) / len(one) for one, other in zip(best, second, strict=True)]
    assert found["top_5"] == pytest.approx(shared)


def test_what_is_the_same_has_no_divergence() -> None:
    found = compared(rows(4096), rows(4096), np.zeros(9, int))

    assert max(found["kl"]) == 0.0
    assert min(found["top_1"]) == min(found["top_5"]) == 1.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_none_is_seen(bad: float) -> None:
    logits = rows(4096)
    assert is_finite(logits)

    logits[7, 4000] = bad

    assert not is_finite(logits)
