"""Titles say what a conversation is about, in one short line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codehearth.text.attachments import with_files
from codehearth.text.titles import title_of


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Reverse a list in Go", "Reverse a list in Go"),
        ("\n\n  ## **Why** does `x` fail?\nlong story", "Why does x fail?"),
        ("- [docs](https://example.org) are wrong", "docs are wrong"),
        ("1. first", "first"),
        ("```python\nx = 1\n```\nWhat does this do?", "What does this do?"),
        ("```python\nx = 1\n```", "x = 1"),
        ("请写一个快速排序函数", "请写一个快速排序函数"),
        ("写" * 40, "写" * 30 + "…"),
        ("word " * 20, "word word word word word word word word word word word word…"),
        ("a\x00b\u202ec", "a b c"),
        ("", ""),
        (" \n\t\n", ""),
    ],
)
def test_a_title_is_the_first_line_that_says_something(text: str, title: str) -> None:
    assert title_of(text) == title


@given(st.text(max_size=300))
def test_every_title_is_short_and_on_one_line(text: str) -> None:
    title = title_of(text)

    assert len(title) <= 61 and len(title.splitlines()) <= 1 and title.isprintable()


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ([], "see"),
        ([("a.py", "x = 1\n")], "see\n\na.py\n```\nx = 1\n```"),
        ([("a.md", "````\nx\n````")], "see\n\na.md\n`````\n````\nx\n````\n`````"),
    ],
)
def test_files_stand_below_the_message_in_fences_they_cannot_end(
    files: list[tuple[str, str]], text: str
) -> None:
    assert with_files("see", files) == text
