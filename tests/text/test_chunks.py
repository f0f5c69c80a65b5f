"""A file in chunks: where they begin, that nothing is lost, that none is too long."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codehearth.text.chunks import chunks
from codehearth.text.languages import find_language

PYTHON = '''"""A shop."""

import os

PRICE = 3


class Basket:
    """What is bought."""

    def __init__(self) -> None:
        self.items: list[str] = []
        self.count = 0
        self.total = 0
        self.owner = ""
        self.note = ""
        self.is_paid = False
        self.is_sent = False
        self.address = ""
        self.country = ""

    # The sum of all.
    @property
    def price(self) -> int:
        total = 0
        for item in self.items:
            total += PRICE
        if self.is_paid:
            return 0
        if self.country:
            total += 1
        if self.address:
            total += 2
        return total
'''

C = """#include <stdio.h>

static int
add(int a, int b)
{
    return a + b;
}
"""


def test_definitions_begin_chunks_with_what_stands_above_them() -> None:
    found = chunks(PYTHON, find_language("python"))

    texts = [one.text for one in found]
    assert texts[-1].startswith("    # The sum of all.\n    @property\n    def price")
    assert found[-1].names == ("price",)
    assert found[0].names == ("Basket", "__init__")
    lines = PYTHON.split("\n")
    for one in found:
        assert one.text == "\n".join(lines[one.first_line - 1 : one.last_line])


@pytest.mark.parametrize(
    ("language", "text", "names"),
    [
        ("c", C, ("add",)),
        ("go", "package a\n\nfunc (s *Shop) Sell(n int) error {\n\treturn nil\n}\n", ("Sell",)),
        ("rust", "pub(crate) fn sell<T>(n: T) {}\n\npub struct Shop {}\n", ("sell", "Shop")),
        (
            "typescript",
            "export default class Shop {}\nexport interface Item {}\n",
            ("Shop", "Item"),
        ),
        ("markdown", "# Shops\n\nText.\n\n## How to sell\n", ("# Shops", "## How to sell")),
        ("kotlin", "data class Item(val n: Int)\nfun sell() {}\n", ("Item", "sell")),
    ],
)
def test_names_are_found_in_many_languages(
    language: str, text: str, names: tuple[str, ...]
) -> None:
    found = chunks(text, find_language(language))

    assert tuple(name for one in found for name in one.names) == names


def test_a_long_file_is_parted_at_empty_lines() -> None:
    text = "\n".join("" if n % 10 == 9 else f"x{n} = {n}" for n in range(300))

    found = chunks(text, find_language("python"))

    assert all(one.last_line - one.first_line < 60 for one in found)
    assert all(one.last_line % 10 == 9 for one in found)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(["", "def f():", "    x = 1", "class A:", "# c", "y" * 500, "}", "函数"]),
        max_size=150,
    ),
    st.sampled_from([None, "python", "markdown", "c"]),
)
def test_every_line_with_text_is_in_one_chunk(lines: list[str], name: str | None) -> None:
    found = chunks("\n".join(lines), find_language(name) if name else None)

    covered = [n for one in found for n in range(one.first_line, one.last_line + 1)]
    assert covered == sorted(set(covered))
    assert {n + 1 for n, line in enumerate(lines) if line.strip()} <= set(covered)
    assert all(len(one.text) <= 3100 or one.first_line == one.last_line for one in found)


def test_this_houses_own_files_are_cut_into_readable_pieces() -> None:
    for path in sorted((Path(__file__).parents[2] / "src" / "codehearth" / "pool").glob("*.py")):
        found = chunks(path.read_text("utf-8"), find_language("python"))
        assert all(one.last_line - one.first_line < 60 for one in found), path
