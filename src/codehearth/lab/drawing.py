"""Figures as files: SVG by a few lines of ours, PNG by Pillow where it is installed.

matplotlib would draw them too, at 40 MB and half a second for its import; four simple plots are not
worth that. Pillow (7 MB) comes with the web page and is not asked of anybody else: without it there
are SVG files only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

from codehearth.lab.figures import HEIGHT, WIDTH, Dot, Figure, Label, Line, Shape, shapes

_PIXELS = 2  # a PNG's pixels for each unit of the page
_SMOOTH = 2  # drawn larger and scaled down: Pillow's lines have no soft edges
_DASH = (7.0, 5.0)


def svg(figure: Figure) -> str:
    """The figure as an SVG document; its text stays text."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="Helvetica, Arial, sans-serif">',
        f"<title>{escape(figure.title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        *(_element(shape) for shape in shapes(figure)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def png(figure: Figure, path: Path) -> bool:
    """Writes the figure as PNG; False where Pillow is not installed."""
    try:
        from PIL import Image, ImageDraw
    except ImportError:
        return False
    scale = _PIXELS * _SMOOTH
    image = Image.new("RGB", (WIDTH * scale, HEIGHT * scale), "#ffffff")
    draw = ImageDraw.Draw(image)
    for shape in shapes(figure):
        _paint(image, draw, shape, scale)
    size = WIDTH * _PIXELS, HEIGHT * _PIXELS
    image.resize(size, Image.Resampling.LANCZOS).save(path, optimize=True)
    return True


def _element(shape: Shape) -> str:
    match shape:
        case Line(points, colour, width, is_dashed):
            places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            dash = f' stroke-dasharray="{_DASH[0]:g} {_DASH[1]:g}"' if is_dashed else ""
            return (
                f'<polyline points="{places}" fill="none" stroke="{colour}" '
                f'stroke-width="{width:g}" stroke-linejoin="round"{dash}/>'
            )
        case Dot(x, y, radius, colour):
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{colour}"/>'
        case Label():
            return _text(shape)


def _text(label: Label) -> str:
    turned = f' transform="rotate(-90 {label.x:.1f} {label.y:.1f})"' if label.is_upright else ""
    weight = ' font-weight="bold"' if label.is_bold else ""
    if label.has_halo:
        weight += ' stroke="#ffffff" stroke-width="3" paint-order="stroke"'
    return (
        f'<text x="{label.x:.1f}" y="{label.y:.1f}" font-size="{label.size:g}" '
        f'text-anchor="{label.anchor}" fill="{label.colour}"{weight}{turned}>'
        f"{escape(label.text)}</text>"
    )


def _paint(image: Any, draw: Any, shape: Shape, scale: int) -> None:
    match shape:
        case Line(points, colour, width, is_dashed):
            places = [(x * scale, y * scale) for x, y in points]
            for piece in _dashes(places, scale) if is_dashed else (places,):
                draw.line(piece, fill=colour, width=max(1, round(width * scale)), joint="curve")
        case Dot(x, y, radius, colour):
            box = [scale * (x - radius), scale * (y - radius)]
            draw.ellipse([*box, scale * (x + radius), scale * (y + radius)], fill=colour)
        case Label():
            _write(image, draw, shape, scale)


def _dashes(places: list[tuple[float, float]], scale: int) -> Iterator[list[tuple[float, float]]]:
    """A polyline cut into dashes, each segment from its own beginning."""
    step, on = sum(_DASH) * scale, _DASH[0] * scale
    for (x0, y0), (x1, y1) in pairwise(places):
        length = math.hypot(x1 - x0, y1 - y0)
        for number in range(math.ceil(length / step)):
            start, end = number * step / length, min(1.0, (number * step + on) / length)
            yield [
                (x0 + start * (x1 - x0), y0 + start * (y1 - y0)),
                (x0 + end * (x1 - x0), y0 + end * (y1 - y0)),
            ]


def _write(image: Any, draw: Any, label: Label, scale: int) -> None:
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(label.size * scale)
    around = scale if label.has_halo else scale // 3 if label.is_bold else 0
    edge = "#ffffff" if label.has_halo else label.colour
    place = {"start": "ls", "middle": "ms", "end": "rs"}[label.anchor]
    if not label.is_upright:
        draw.text(
            (label.x * scale, label.y * scale), label.text, label.colour, font, anchor=place,
            stroke_width=around,
            stroke_fill=edge,
        )  # fmt: skip
        return
    wide = round(draw.textlength(label.text, font)) + 8
    high = round(label.size * scale * 1.5)
    part = Image.new("RGB", (wide, high), "#ffffff")
    ImageDraw.Draw(part).text((wide / 2, high * 0.75), label.text, label.colour, font, anchor="ms")
    turned = part.rotate(90, expand=True)
    image.paste(turned, (round(label.x * scale - high * 0.75), round(label.y * scale - wide / 2)))
