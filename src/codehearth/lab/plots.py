"""The four plots of a measurement; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from codehearth.lab.figures import COLOURS, PALE, Axis, Figure, Point, Series, pareto
from codehearth.lab.result import Precision, Result

_Place = Callable[[Precision], tuple[float, tuple[float, float] | None]]

_LOSS = "Mean KL divergence from {} (nats)"


def figures(result: Result) -> tuple[Figure, ...]:
    """Those that the result has figures for."""
    return tuple(
        figure
        for figure in (
            _loss_by_size(result),
            _loss_by_speed(result),
            _loss_by_token(result),
            _memory(result),
        )
        if figure.series
    )


def _loss_by_size(result: Result) -> Figure:
    points = tuple(_loss_points(result, _megabytes))
    return Figure(
        "loss_by_size",
        f"{result.model.name}: loss against size",
        Axis("Size of the file (MB)"),
        Axis(_LOSS.format(result.reference), is_log=True),
        (Series(points, is_line=True),) if points else (),
        note=f"bars: 95 % interval; reference: {result.reference}, {_reference_size(result)}",
    )


def _loss_by_speed(result: Result) -> Figure:
    points = tuple(_loss_points(result, _speed, with_range=True))
    front = tuple(Point(one.x, one.y) for one in pareto(points, more_x_is_better=True))
    threads = result.timing.num_threads
    return Figure(
        "loss_by_speed",
        f"{result.model.name}: loss against speed",
        Axis(f"Tokens per second, one request, {threads} thread{'s' if threads > 1 else ''}"),
        Axis(_LOSS.format(result.reference), is_log=True),
        (
            Series(front, "Pareto front", is_line=True, has_marks=False, is_dashed=True,
                   colour=PALE),
            Series(points),
        ) if points else (),
        note="bars: least and greatest speed, 95 % interval of the loss",
    )  # fmt: skip


def _loss_by_token(result: Result) -> Figure:
    series: list[Series] = []
    for one in result.precisions:
        positive = [(share, kl) for share, kl in one.kl_quantiles if kl > 0 and share > 0]
        if positive:
            points = tuple(Point(100 * share, kl) for share, kl in positive)
            colour = COLOURS[len(series) % len(COLOURS)]
            series.append(
                Series(points, result.label_of(one), is_line=True, has_marks=False, colour=colour)
            )
    return Figure(
        "loss_by_token",
        f"{result.model.name}: how the loss is spread over tokens",
        Axis("Share of tokens with at most this divergence (%)"),
        Axis("KL divergence of a token (nats)", is_log=True),
        tuple(series),
    )


def _memory(result: Result) -> Figure:
    """Measured memory above predicted memory: on the line they are the same. With that of GPUs,
    where it was measured."""
    points = tuple(
        Point(
            (one.memory.predicted_bytes + on_gpu[1]) / 1e6,
            (one.memory.peak_bytes + on_gpu[0]) / 1e6,
            result.label_of(one),
        )
        for one in result.precisions
        for on_gpu in (one.memory.on_gpu or (0, 0),)
    )
    if not points:
        return Figure("memory", "", Axis(""), Axis(""), ())
    values = [value for point in points for value in (point.x, point.y)]
    ends = min(values) * 0.97, max(values) * 1.03
    line = tuple(Point(value, value) for value in ends)
    return Figure(
        "memory",
        f"{result.model.name}: memory, predicted and measured",
        Axis(f"Predicted (MB), {result.timing.num_slots} requests at a time"),
        Axis("Measured (MB)"),
        (
            Series(line, "as predicted", is_line=True, has_marks=False, is_dashed=True,
                   colour=PALE),
            Series(points),
        ),
    )  # fmt: skip


def _loss_points(result: Result, place: _Place, *, with_range: bool = False) -> Iterator[Point]:
    for one in result.precisions:
        kl = one.loss.kl
        if kl is None or kl.mean.value <= 0:
            continue
        x, span = place(one)
        yield Point(
            x,
            kl.mean.value,
            result.label_of(one),
            x_range=span if with_range else None,
            y_range=(max(kl.mean.low, kl.mean.value / 100), kl.mean.high),
        )


def _reference_size(result: Result) -> str:
    reference = result.precision(result.reference)
    return f"{reference.file.num_bytes / 1e6:.1f} MB" if reference else "not kept"


def _megabytes(one: Precision) -> tuple[float, tuple[float, float] | None]:
    return one.file.num_bytes / 1e6, None


def _speed(one: Precision) -> tuple[float, tuple[float, float] | None]:
    alone = one.at(1)
    assert alone is not None
    speed = alone.decode_tokens_per_s
    return speed.median, (speed.min, speed.max)
