"""Plots as data, and as shapes on a page; pure. `drawing` turns shapes into SVG and PNG.

A figure is what is to be seen; `shapes` lays it out: axes with round numbers, grid, series, names
beside their points where there is room. Nothing here knows a file format.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 720, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 24, 46, 62

# Okabe and Ito's colours, which people with any colour vision can tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
INK, PALE, GRID = "#1a1a1a", "#666666", "#e3e3e3"


@dataclass(frozen=True)
class Point:
    """A named point; `x_range` and `y_range` are its error bars."""

    x: float
    y: float
    name: str = ""
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Series:
    """Points with one colour, joined by a line where `is_line`; bare lines have no marks."""

    points: tuple[Point, ...]
    name: str = ""
    is_line: bool = False
    has_marks: bool = True
    is_dashed: bool = False
    colour: str = COLOURS[0]


@dataclass(frozen=True)
class Axis:
    """With `names`, an axis of places 1, 2, … that are called so."""

    title: str
    is_log: bool = False
    starts_at_zero: bool = False
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    name: str
    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    note: str = ""


@dataclass(frozen=True)
class Line:
    points: tuple[tuple[float, float], ...]
    colour: str
    width: float = 1.0
    is_dashed: bool = False


@dataclass(frozen=True)
class Dot:
    x: float
    y: float
    radius: float
    colour: str


@dataclass(frozen=True)
class Label:
    """Text; `anchor` is start, middle or end; `is_upright` reads from below to above; `has_halo`
    keeps lines behind it away."""

    x: float
    y: float
    text: str
    size: float = 12.0
    anchor: str = "start"
    colour: str = INK
    is_bold: bool = False
    is_upright: bool = False
    has_halo: bool = False


Shape = Line | Dot | Label


@dataclass(frozen=True)
class _Scale:
    """From a value to a place on the page."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool

    def at(self, value: float) -> float:
        low, high = self._plain(self.low), self._plain(self.high)
        share = (self._plain(value) - low) / (high - low)
        return self.start + min(1.02, max(-0.02, share)) * (self.end - self.start)

    def _plain(self, value: float) -> float:
        return math.log10(max(value, 1e-12)) if self.is_log else value


@dataclass
class _Names:
    """Places that names have taken, so that no two lie on each other."""

    taken: list[tuple[float, float, float, float]] = field(default_factory=list)

    def place(self, x: float, y: float, text: str, size: float) -> tuple[float, float, str]:
        wide, high = 0.58 * size * len(text), 1.1 * size
        for right, down, anchor in _AROUND:
            left = x + right - (wide if anchor == "end" else wide / 2 if anchor == "middle" else 0)
            box = (left, y + down - high, left + wide, y + down)
            is_inside = box[0] > _LEFT and box[2] < WIDTH - 4 and box[1] > _TOP
            if is_inside and not any(_overlap(box, other) for other in self.taken):
                self.taken.append(box)
                return x + right, y + down, anchor
        return x + 8, y - 8, "start"


_AROUND = ((8, -7, "start"), (-8, -7, "end"), (8, 16, "start"), (-8, 16, "end"),
           (0, -12, "middle"), (0, 22, "middle"), (12, 4, "start"), (-12, 4, "end"))  # fmt: skip


def shapes(figure: Figure) -> Iterator[Shape]:
    """The whole page, what lies behind first."""
    x = _scale(figure, figure.x, _LEFT, WIDTH - _RIGHT, is_x=True)
    y = _scale(figure, figure.y, HEIGHT - _BOTTOM, _TOP, is_x=False)
    yield from _frame(figure, x, y)
    names = _Names()
    for series in figure.series:
        for point in series.points:
            centre = x.at(point.x), y.at(point.y)
            names.taken.append((centre[0] - 5, centre[1] - 5, centre[0] + 5, centre[1] + 5))
    for series in figure.series:
        yield from _series(series, x, y, names)
    yield from _legend(figure)


def _frame(figure: Figure, x: _Scale, y: _Scale) -> Iterator[Shape]:
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    for value, name in _named_ticks(figure.x, x):
        place = x.at(value)
        yield Line(((place, _TOP), (place, bottom)), GRID)
        yield Label(place, bottom + 18, name, anchor="middle", colour=PALE)
    for value in ticks(y.low, y.high, is_log=y.is_log):
        place = y.at(value)
        yield Line(((_LEFT, place), (right, place)), GRID)
        yield Label(_LEFT - 8, place + 4, number(value), anchor="end", colour=PALE)
    yield Line(((_LEFT, _TOP), (_LEFT, bottom), (right, bottom)), INK, 1.2)
    yield Label(_LEFT, 26, figure.title, size=16, is_bold=True)
    yield Label((_LEFT + right) / 2, HEIGHT - 24, figure.x.title, size=13, anchor="middle")
    yield Label(20, (_TOP + bottom) / 2, figure.y.title, size=13, anchor="middle", is_upright=True)
    if figure.note:
        yield Label(right, HEIGHT - 6, figure.note, size=10, anchor="end", colour=PALE)


def _named_ticks(axis: Axis, scale: _Scale) -> Iterator[tuple[float, str]]:
    if axis.names:
        yield from ((float(place), name) for place, name in enumerate(axis.names, start=1))
        return
    for value in ticks(scale.low, scale.high, is_log=scale.is_log):
        yield value, number(value)


def _series(series: Series, x: _Scale, y: _Scale, names: _Names) -> Iterator[Shape]:
    if series.is_line and len(series.points) > 1:
        places = tuple((x.at(point.x), y.at(point.y)) for point in series.points)
        yield Line(places, series.colour, 1.8, series.is_dashed)
    for point in series.points:
        here = x.at(point.x), y.at(point.y)
        if point.y_range:
            ends = tuple((here[0], y.at(value)) for value in point.y_range)
            yield Line(ends, series.colour, 1.4)
        if point.x_range:
            ends = tuple((x.at(value), here[1]) for value in point.x_range)
            yield Line(ends, series.colour, 1.4)
        if series.has_marks:
            yield Dot(*here, 4.5, series.colour)
        if point.name:
            left, base, anchor = names.place(*here, point.name, 12)
            yield Label(left, base, point.name, anchor=anchor, has_halo=True)


def _legend(figure: Figure) -> Iterator[Shape]:
    named = [series for series in figure.series if series.name]
    for index, series in enumerate(named):
        top = _TOP + 14 + 18 * index
        yield Line(
            ((_LEFT + 14, top - 4), (_LEFT + 38, top - 4)), series.colour, 2.2, series.is_dashed
        )
        yield Label(_LEFT + 46, top, series.name)


def _scale(figure: Figure, axis: Axis, start: float, end: float, *, is_x: bool) -> _Scale:
    if axis.names:
        return _Scale(0.5, len(axis.names) + 0.5, start, end, False)
    values: list[float] = []
    for series in figure.series:
        for point in series.points:
            span = point.x_range if is_x else point.y_range
            values += (point.x if is_x else point.y, *(span or ()))
    if axis.is_log:
        values = [value for value in values if value > 0]
    low, high = (min(values), max(values)) if values else (0.1, 1.0)
    if axis.is_log:
        return _Scale(low / 1.4, max(high * 1.4, low * 1.5), start, end, True)
    space = 0.08 * (high - low or abs(high) or 1.0)
    low = 0.0 if axis.starts_at_zero else low - space
    return _Scale(low, high + space, start, end, False)


def ticks(low: float, high: float, *, is_log: bool) -> tuple[float, ...]:
    """Round numbers on an axis: three to eight of them.

    >>> ticks(0, 10, is_log=False)
    (0.0, 2.0, 4.0, 6.0, 8.0, 10.0)
    """
    if is_log:
        return _log_ticks(low, high)
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    count = math.floor(high / step + 1e-9) - first + 1
    return tuple(round((first + index) * step, 12) for index in range(count))


def _log_ticks(low: float, high: float) -> tuple[float, ...]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5)):
        found = [factor * 10.0**power for power in powers for factor in factors]
        inside = tuple(value for value in found if low <= value <= high)
        if len(inside) >= 4:
            break
    return inside


def number(value: float) -> str:
    """As short as it can be said: `0.002`, `1.5`, `12`, `3000`, `1e-05`."""
    if value and abs(value) < 1e-4:
        return f"{value:.0e}"
    return f"{value:g}"


def pareto(points: Sequence[Point], *, more_x_is_better: bool) -> tuple[Point, ...]:
    """The points that no other beats in both directions, from left to right; less y is better."""
    sign = -1 if more_x_is_better else 1
    best: list[Point] = []
    for point in sorted(points, key=lambda one: (sign * one.x, one.y)):
        if not best or point.y < best[-1].y:
            best.append(point)
    return tuple(sorted(best, key=lambda one: one.x))


def _overlap(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
