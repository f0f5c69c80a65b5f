"""Plots: what is drawn where, and that the files are whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from codehearth.lab.drawing import svg
from codehearth.lab.figures import HEIGHT, WIDTH, Dot, Label, Line, Point, pareto, shapes, ticks
from codehearth.lab.plots import figures
from codehearth.lab.report import keep, markdown
from codehearth.lab.result import read_result
from tests.lab.results import result


@pytest.mark.parametrize(
    ("low", "high", "is_log", "expected"),
    [
        (0, 10, False, (0, 2, 4, 6, 8, 10)),
        (2.9, 8.1, False, (4, 6, 8)),
        (0, 1, False, (0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        (0.0009, 2, True, (0.001, 0.01, 0.1, 1)),
        (0.015, 0.2, True, (0.02, 0.05, 0.1, 0.2)),
    ],
)
def test_axes_have_round_numbers(
    low: float, high: float, is_log: bool, expected: tuple[float, ...]
) -> None:
    assert ticks(low, high, is_log=is_log) == pytest.approx(expected)


def test_the_pareto_front_leaves_out_what_is_beaten() -> None:
    points = [Point(1, 1, "a"), Point(2, 2, "b"), Point(3, 3, "c"), Point(2.5, 5, "beaten")]

    front = pareto(points, more_x_is_better=True)

    assert [point.name for point in front] == ["a", "b", "c"]


def test_everything_lies_on_the_page_and_names_do_not_cover_each_other() -> None:
    for figure in figures(result()):
        labels = []
        for shape in shapes(figure):
            places = shape.points if isinstance(shape, Line) else ((shape.x, shape.y),)
            assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places), figure.name
            if isinstance(shape, Label):
                labels.append((shape.x, shape.y, shape.anchor))
        assert len(labels) == len(set(labels)), figure.name


def test_a_result_without_loss_draws_what_it_has() -> None:
    names = [figure.name for figure in figures(result(precisions=result().precisions[:1]))]

    assert names == ["memory"]


def test_a_kept_result_is_read_back_equal_with_its_files(tmp_path: Path) -> None:
    kept = keep(result(), tmp_path)

    assert read_result(tmp_path / f"{kept.id}.json") == kept
    assert kept.files is not None
    assert len(kept.files.plots) == 4
    for plot in kept.files.plots:
        root = ElementTree.parse(tmp_path / plot.svg).getroot()  # noqa: S314 - our own file
        assert root.tag.endswith("svg")
        assert plot.png is not None
        assert (tmp_path / plot.png).read_bytes().startswith(b"\x89PNG")


def test_the_report_names_every_precision_and_picture() -> None:
    report = markdown(result())

    for one in result().precisions:
        assert f"| {one.precision} |" in report
    assert "0.02000 (0.01800 to 0.02200)" in report
    assert "What the figures mean" in report


def test_another_engine_is_named_wherever_its_figures_stand() -> None:
    """int8 in transformers stood beside q8_0 in llama.cpp as if 8 bits made it 30 times slower."""
    first, *others = result().precisions
    packed = replace(first, engine="transformers", calibrated_on="calls.py (0123)")
    usual = (replace(one, engine="llama.cpp") for one in others)
    told = replace(result(), precisions=(packed, *usual))

    report, drawn = markdown(told), "".join(svg(one) for one in figures(told))

    assert report.count(f"| {first.precision}, transformers |") == 2
    assert f"{first.precision} was calibrated on calls.py (0123)." in report
    assert f"{first.precision}, transformers" in drawn
    assert "llama.cpp |" not in report


def test_dots_are_where_their_values_are() -> None:
    """Less loss lies lower, a larger file further right."""
    size = figures(result())[0]
    dots = [shape for shape in shapes(size) if isinstance(shape, Dot)]

    assert [dot.x for dot in dots] == sorted((dot.x for dot in dots), reverse=True)
    assert dots[0].y > dots[-1].y
