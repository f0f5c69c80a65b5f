"""What two rows of logits say of each other: loss, divergence, and which tokens are likeliest.

Rows are as long as a vocabulary (152,000 and more), so every pass over one counts: numbers stay
32-bit floats, sums are 64-bit, and rows are dealt out to threads (numpy does not hold Python's lock
while it computes). So a divergence is off by up to 3e-7 nats; one so small that this matters is
computed again with 64-bit floats.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Figures = dict[str, list[float]]

# Numbers that are computed with at once: 2.4 MB, about as much as a core caches.
_NUMBERS = 600_000
# Below this, rounding would be a tenth of a divergence.
_TINY = 3e-6
# The largest of a row are looked for among the columns with the largest maxima.
_BLOCK = 64


def losses(logits: Array, targets: Array, num_threads: int = 1) -> Figures:
    """-log p of each target, in nats. `logits` (S, V) of 32 bits, `targets` (S,)."""

    def of(rows: slice) -> Figures:
        return {"nll": _loss(_normalised(logits[rows]), logits[rows], targets[rows])}

    return _by_rows(of, logits, num_threads)


def compared(reference: Array, logits: Array, targets: Array, num_threads: int = 1) -> Figures:
    """For each position: loss, divergence KL(reference || this) in nats, and agreements."""

    def of(rows: slice) -> Figures:
        theirs, ours = _normalised(reference[rows]), _normalised(logits[rows])
        first, second = _largest(reference[rows], 5), _largest(logits[rows], 5)
        shared = (first[:, :, None] == second[:, None, :]).any(axis=2).mean(axis=1)
        return {
            "nll": _loss(ours, logits[rows], targets[rows]),
            "kl": _divergence(theirs, ours, reference[rows], logits[rows]).tolist(),
            "top_1": (first[:, 0] == second[:, 0]).astype(float).tolist(),
            "top_5": shared.tolist(),
        }

    return _by_rows(of, logits, num_threads)


def is_finite(logits: Array) -> bool:
    """Whether no number is NaN or infinite: their sum is not, and logits are far from overflow."""
    return bool(np.isfinite(logits.sum(dtype=np.float32)))


@dataclass(frozen=True)
class _Normalised:
    """exp(row - maximum), its sum, and the logarithm of the sum of all exp(row)."""

    weights: Array
    total: Array
    log_total: Array


def _normalised(rows: Array) -> _Normalised:
    maximum = rows.max(axis=1)
    weights = np.exp(rows - maximum[:, None])
    total = _sum(weights)
    return _Normalised(weights, total, maximum.astype(np.float64) + np.log(total))


def _loss(ours: _Normalised, rows: Array, targets: Array) -> list[float]:
    found: list[float] = (ours.log_total - rows[np.arange(len(rows)), targets]).tolist()
    return found


def _divergence(theirs: _Normalised, ours: _Normalised, reference: Array, rows: Array) -> Array:
    """KL of each row. It cannot be negative; rounding can make a tiny negative number of 0."""
    mean = _sum(theirs.weights * (reference - rows)) / theirs.total
    found = mean - theirs.log_total + ours.log_total
    tiny = found < _TINY
    if tiny.any():
        first, second = _log_softmax(reference[tiny]), _log_softmax(rows[tiny])
        found[tiny] = (np.exp(first) * (first - second)).sum(axis=1)
    return np.maximum(found, 0.0)


def _log_softmax(rows: Array) -> Array:
    shifted = rows.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted


def _sum(rows: Array) -> Array:
    """Of each row, in 64 bits: numpy's 32-bit sums of some hundred numbers are added up."""
    width = rows.shape[1] // _BLOCK * _BLOCK
    parts = rows[:, :width].reshape(len(rows), -1, _BLOCK).sum(axis=2)
    rest = rows[:, width:].sum(axis=1, dtype=np.float64)
    total: Array = parts.sum(axis=1, dtype=np.float64) + rest
    return total


def _largest(rows: Array, count: int) -> Array:
    """The places (R, count) of each row's largest numbers, the largest first."""
    num_rows, width = rows.shape
    count, length = min(count, width), width // _BLOCK
    if length < count:
        return np.argsort(-rows, axis=1, kind="stable")[:, :count]
    columns = rows[:, : length * _BLOCK].reshape(num_rows, _BLOCK, length)
    best = np.argpartition(columns.max(axis=1), -count, axis=1)[:, -count:]
    inside = np.arange(_BLOCK)[None, :, None] * length + best[:, None, :]
    rest = np.broadcast_to(np.arange(length * _BLOCK, width), (num_rows, width % _BLOCK))
    places = np.concatenate([inside.reshape(num_rows, -1), rest], axis=1)
    values = np.take_along_axis(rows, places, axis=1)
    chosen = np.argpartition(values, -count, axis=1)[:, -count:]
    places = np.sort(np.take_along_axis(places, chosen, axis=1), axis=1)
    order = np.argsort(-np.take_along_axis(rows, places, axis=1), axis=1, kind="stable")
    found: Array = np.take_along_axis(places, order, axis=1)
    return found


def _by_rows(of: Callable[[slice], Figures], logits: Array, num_threads: int) -> Figures:
    """The figures of all rows in their order, computed by so many threads."""
    count, width = logits.shape
    step = max(1, _NUMBERS // width)
    slices = [slice(start, start + step) for start in range(0, count, step)]
    with ThreadPoolExecutor(num_threads) as pool:
        parts = list(pool.map(of, slices))
    return {name: [value for part in parts for value in part[name]] for name in parts[0]}
