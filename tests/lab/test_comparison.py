"""What changed between two results, and whether it is more than noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from codehearth.lab.comparison import Change, compared
from codehearth.lab.report import keep
from codehearth.lab.result import Noise, Precision, Sample
from tests.cli.command_line import Hearth
from tests.lab.results import PRECISIONS, interval, result


def change(changes: tuple[Change, ...], precision: str, figure: str) -> Change:
    return next(
        one for one in changes if one.precision == precision and one.figure.startswith(figure)
    )


def slower(one: Precision, factor: float) -> Precision:
    def slow(sample: Sample) -> Sample:
        return Sample(sample.median / factor, sample.min / factor, sample.max / factor)

    streams = tuple(
        replace(each, decode_tokens_per_s=slow(each.decode_tokens_per_s)) for each in one.streams
    )
    return replace(one, streams=streams)


def test_a_result_does_not_differ_from_itself() -> None:
    comparison = compared(result(), result())

    assert comparison.real == ()
    assert comparison.differences == ()
    assert "No figure changed" in list(comparison.lines())[-1]


def test_a_clearly_slower_engine_is_worse_and_a_little_slower_one_is_noise() -> None:
    first, *others = PRECISIONS
    clearly = compared(result(), result(precisions=(slower(first, 1.5), *others)))
    little = compared(result(), result(precisions=(slower(first, 1.01), *others)))

    assert change(clearly.changes, "f16", "writing with 1").verdict == "worse"
    assert change(little.changes, "f16", "writing with 1").verdict == "noise"


def test_speeds_of_a_busy_machine_are_never_more_than_noise() -> None:
    busy = Noise(8.0, 1.7, True, ("other programs used 1.7 of 2 cores",))
    slow = tuple(slower(one, 3) for one in PRECISIONS)

    comparison = compared(result(), result(precisions=slow, noise=busy))

    assert comparison.real == ()
    assert any("too busy" in line for line in comparison.differences)


def test_a_loss_whose_interval_moved_away_is_worse() -> None:
    worse = []
    for one in PRECISIONS:
        kl = one.loss.kl
        if kl is not None:
            kl = replace(kl, mean=interval(2 * kl.mean.value))
        worse.append(replace(one, loss=replace(one.loss, kl=kl)))

    comparison = compared(result(), result(precisions=tuple(worse)))

    assert change(comparison.changes, "q4_k_m", "mean KL").verdict == "worse"
    assert change(comparison.changes, "q4_k_m", "mean KL").ratio == 2


def test_what_else_differs_is_told() -> None:
    other = result(versions={"codehearth": "0.2.0"}, precisions=PRECISIONS[:2])

    comparison = compared(result(), other)

    assert "codehearth: 0.1.0 -> 0.2.0" in comparison.differences
    assert comparison.only_in_first == ("q5_k_m", "q4_k_m", "q2_k")


def test_the_command_compares_two_files(hearth: Hearth) -> None:
    keep(result(id="a"), hearth.home)
    keep(result(id="b", precisions=tuple(slower(one, 2) for one in PRECISIONS)), hearth.home)

    told = hearth("measure", "--compare", "a.json", "b.json")

    assert told.code == 0, told.err
    assert "f16: writing with 1 at a time, in tokens/s is worse, 20 -> 10 (0.500x)" in told.out


def test_a_file_that_is_no_result_is_refused(hearth: Hearth, tmp_path: Path) -> None:
    keep(result(id="a"), hearth.home)
    (hearth.home / "old.json").write_text('{"schema": 0}')
    (hearth.home / "cut.json").write_text('{"schema": 1, "id": "x"}')

    assert "schema 0" in hearth("measure", "--compare", "a.json", "old.json").err
    assert "is no result" in hearth("measure", "--compare", "a.json", "cut.json").err
    assert hearth("measure", "--compare", "a.json", "none.json").code == 4
