"""What a training changed, in figures; pure.

Held-out rows are the measure: their loss before and after, and how many greedy answers to their
questions hold the text that is expected. Intervals are at 95 %: Wilson's of a share, Newcombe's of
how much it grew, Student's of how much the loss fell, row by row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from codehearth.lab.evaluation.estimator import Difference
from codehearth.lab.result import Interval
from codehearth.lab.statistics import mean, standard_error, student_95, wilson
from codehearth.lab.tuning.preparing import Prepared
from codehearth.lab.tuning.probes import NUM_QUESTIONS

_NUM_SHOWN = 5


@dataclass(frozen=True)
class Share:
    """So many of so many, with the interval in which the true share lies."""

    count: int
    total: int
    low: float
    high: float


def share(count: int, total: int) -> Share:
    """Wilson's score interval, which holds for few and for extreme counts, too."""
    interval = wilson(count, total)
    return Share(count, total, interval.low, interval.high)


def gain(before: Share, after: Share) -> Difference | None:
    """By how much a share grew, with Newcombe's 95 % interval; None where nothing was asked.

    It is made of both shares' intervals and needs no pairs, which makes it wide: four questions of
    which all are answered at last are 31 to 100 points.
    """
    if not before.total or not after.total:
        return None
    p, q = before.count / before.total, after.count / after.total
    low = q - p - math.hypot(q - after.low, before.high - p)
    high = q - p + math.hypot(after.high - q, p - before.low)
    interval = Interval(q - p, low, high)
    if p == q:
        return Difference(interval, "same")
    if low <= 0 <= high:
        return Difference(interval, "noise")
    return Difference(interval, "better" if q > p else "worse")


def fall(before: Sequence[float], after: Sequence[float]) -> Difference | None:
    """By how much losses changed, in nats, row by row; "better" where they fell. None for fewer
    than three rows: two say nothing of how rows differ."""
    changes = [late - early for early, late in zip(before, after, strict=True)]
    if len(changes) < 3:
        return None
    middle, half = mean(changes), student_95(len(changes) - 1) * standard_error(changes)
    interval = Interval(middle, middle - half, middle + half)
    if not any(changes):
        return Difference(interval, "same")
    if interval.low <= 0 <= interval.high:
        return Difference(interval, "noise")
    return Difference(interval, "better" if middle < 0 else "worse")


def holds(answer: str, expected: str) -> bool:
    """Whether an answer holds a text, blanks and case aside."""
    return " ".join(expected.split()).casefold() in " ".join(answer.split()).casefold()


def outcome(
    prepared: Prepared,
    probes: Mapping[str, Any],
    events: Sequence[Mapping[str, Any]],
    parity: Sequence[Mapping[str, Any]],
    *,
    versions: Mapping[str, str],
    seconds: float,
) -> dict[str, Any]:
    """The document of the result."""
    asked, found = prepared.asked, prepared.split
    told = [event for event in events if event.get("kind") == "rows"]
    rows: Mapping[str, Any] = told[-1] if told else {}
    trained = [event for event in events if event.get("kind") == "trained"]
    return {
        "name": asked.name,
        "base": asked.base,
        "seed": asked.seed,
        "system": asked.system,
        "data": {
            "name": asked.data_name,
            "sha256": prepared.data_sha256,
            "num_training": len(found.training),
            "num_held_out": len(found.held_out),
            "num_different": found.num_groups,
            "num_repeated": found.num_repeated,
            "num_too_long": rows.get("num_too_long", 0),
            "num_tokens": rows.get("num_tokens", 0),
            "num_learnt_tokens": rows.get("num_learnt", 0),
        },
        "hyperparameters": prepared.hyperparameters.as_document(),
        "quantise": asked.quantise,
        "device": prepared.machine.device,
        "dtype": prepared.dtype,
        "loss": losses(events),
        "held_out": _held_out(prepared, probes),
        "parity": list(parity),
        "memory": {
            "predicted_bytes": prepared.memory.total_bytes,
            "peak_bytes": trained[-1]["peak_bytes"] if trained else None,
        },
        "versions": dict(versions),
        "seconds": round(seconds, 1),
    }


def losses(events: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """First and last loss of the training (means of five steps), and held-out loss."""
    steps = [float(e["loss"]) for e in events if e.get("kind") == "step"]
    held = [(int(e["step"]), float(e["loss"])) for e in events if e.get("kind") == "evaluated"]
    after = [loss for step, loss in held if step > 0]
    return {
        "first": _mean(steps[:5]),
        "last": _mean(steps[-5:]),
        "held_out_before": next((loss for step, loss in held if step == 0), None),
        "held_out_after": min(after, default=None),
    }


def _held_out(prepared: Prepared, probes: Mapping[str, Any]) -> dict[str, Any]:
    """Answers to held-out questions, before and after."""
    lessons = prepared.split.held_out[:NUM_QUESTIONS]
    expected = [prepared.asked.expect or lesson.answer for lesson in lessons]
    found: dict[str, Any] = {"expected": prepared.asked.expect}
    shares = {}
    for when in ("before", "after"):
        answers = list(probes.get(when, ()))
        held = sum(holds(answer, text) for answer, text in zip(answers, expected, strict=True))
        shares[when] = share(held, len(answers))
        found[when] = asdict(shares[when])
    change = gain(shares["before"], shares["after"])
    if change is not None:
        found["change"] = asdict(change.interval) | {"verdict": change.verdict}
    losses_change = fall(probes.get("losses_before", ()), probes.get("losses_after", ()))
    if losses_change is not None:
        found["loss_change"] = asdict(losses_change.interval) | {"verdict": losses_change.verdict}
    shown = list(zip(lessons, probes["before"], probes["after"], strict=True))[:_NUM_SHOWN]
    found["answers"] = [
        {"question": lesson.asked, "expected": lesson.answer, "before": one, "after": other}
        for lesson, one, other in shown
    ]
    return found


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
