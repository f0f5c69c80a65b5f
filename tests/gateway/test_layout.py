"""Which lines stand behind the mark of the middle, and that their beginning stays for a while."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from codehearth.gateway.infilling.layout import split_near_cursor

TEXT = "import os\n\n\n" + "".join(
    f"def f{n}(a):\n" + "".join(f"    x{line} = a\n" for line in range(n)) + "\n\n"
    for n in range(2, 30)
)


@given(st.text(alphabet="ab \n\t(é🙂", max_size=400))
def test_nothing_is_lost_and_the_lines_are_whole(prefix: str) -> None:
    head, lines = split_near_cursor(prefix)

    assert head + lines == prefix
    assert not lines or not head or head.endswith("\n")


def test_while_a_line_is_typed_its_head_stays() -> None:
    for line_end in (match.start() for match in re.finditer(r"(?<=\w)\n", TEXT[12:])):
        at = line_end + 12
        assert split_near_cursor(TEXT[: at - 1])[0] == split_near_cursor(TEXT[:at])[0]


def test_the_head_moves_seldom_while_a_text_is_typed() -> None:
    heads = [split_near_cursor(TEXT[:at])[0] for at in range(1, len(TEXT))]

    moves = sum(one != other for one, other in pairwise(heads))
    assert moves < TEXT.count("\n") / 3


def test_few_lines_stand_behind_the_mark() -> None:
    for at in range(1, len(TEXT)):
        assert split_near_cursor(TEXT[:at])[1].count("\n") < 16
    assert len(split_near_cursor("x" * 10_000 + "\n" + "y" * 10_000)[1]) <= 2000


def test_one_line_is_left_before_the_suffix() -> None:
    assert split_near_cursor("def f(") == ("def f(", "")
