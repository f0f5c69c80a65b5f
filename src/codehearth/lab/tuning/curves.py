"""The curve of a training as a figure; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from codehearth.lab.figures import COLOURS, PALE, Axis, Figure, Point, Series


def loss_figure(name: str, events: Sequence[Mapping[str, Any]]) -> Figure:
    """Loss of each step, its running mean, and the loss on what was held out."""
    steps = [(int(e["step"]), float(e["loss"])) for e in events if e.get("kind") == "step"]
    held = [(int(e["step"]), float(e["loss"])) for e in events if e.get("kind") == "evaluated"]
    series = []
    if steps:
        series.append(_line(steps, "", PALE, has_marks=False))
        series.append(_line(smoothed(steps), "training", COLOURS[0], has_marks=False))
    if held:
        series.append(_line(held, "held out", COLOURS[1], has_marks=True))
    return Figure(
        "loss",
        f"{name}: loss while it was tuned",
        Axis("Step"),
        Axis("Loss (nats a token)", starts_at_zero=True),
        tuple(series),
        note="grey: single steps; blue: their running mean",
    )


def smoothed(points: Sequence[tuple[int, float]], weight: float = 0.8) -> list[tuple[int, float]]:
    """A running mean that begins with the first value; the newest counts 1 - `weight`."""
    mean, found = points[0][1] if points else 0.0, []
    for step, value in points:
        mean = weight * mean + (1 - weight) * value
        found.append((step, mean))
    return found


def _line(
    points: Sequence[tuple[int, float]], name: str, colour: str, *, has_marks: bool
) -> Series:
    """The name stands at the highest point: curves fall, and a legend would lie on them there."""
    top = max(range(len(points)), key=lambda index: points[index][1])
    return Series(
        tuple(
            Point(step, value, name if index == top else "")
            for index, (step, value) in enumerate(points)
        ),
        is_line=True,
        has_marks=has_marks,
        colour=colour,
    )
