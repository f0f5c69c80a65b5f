"""A child's log is bounded whatever it writes."""

from __future__ import annotations

import itertools
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from codehearth.engines.log import ChildLog


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=8))
def test_the_tail_does_not_depend_on_how_the_bytes_arrive(data: bytes, cuts: list[int]) -> None:
    whole, pieces = ChildLog(), ChildLog()
    edges = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})

    whole.write(data)
    for start, end in itertools.pairwise(edges):
        pieces.write(data[start:end])

    assert pieces.tail() == whole.tail()
    assert pieces.num_bytes == whole.num_bytes


def test_the_tail_holds_the_last_lines_only() -> None:
    log = ChildLog()

    for number in range(10_000):
        log.write(b"line %d\n" % number)

    assert log.tail(2) == "line 9998\nline 9999"


def test_a_line_without_an_end_stays_small() -> None:
    log = ChildLog()

    for _ in range(100):
        log.write(b"x" * (1 << 20))

    assert len(log.tail()) <= 2000


def test_the_file_starts_over_when_it_is_long(tmp_path: Path) -> None:
    path = tmp_path / "child.log"
    log = ChildLog(path, max_file_bytes=1000)

    for number in range(300):
        log.write(b"line %d\n" % number)
    log.close()

    assert path.stat().st_size <= 1100
    assert (tmp_path / "child.log.1").stat().st_size <= 1100
    assert path.read_text().endswith("line 299\n")


def test_a_new_child_goes_on_in_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "child.log"
    for words in (b"first\n", b"second\n"):
        log = ChildLog(path)
        log.write(words)
        log.close()

    assert path.read_text() == "first\nsecond\n"
