"""Where an answer ends; streamed and whole it is the same text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codehearth.text.endings import Cutter, Ending, cut, ending_of, is_mid_line
from codehearth.text.fim import Fim

PATTERNS = (re.compile(r"\n\n^#", re.M), re.compile(r"^'''", re.M), re.compile(r"\n\n\n"))


def streamed(parts: list[str], ending: Ending, prefix: str = "", suffix: str = "") -> str:
    """What a client gets, part by part; after `is_done` nothing more may come."""
    cutter = Cutter(ending, prefix, suffix)
    sent = ""
    for part in parts:
        was_done = cutter.is_done
        made = cutter.feed(part)
        assert not (was_done and made)
        sent += made
    return sent + cutter.finish()


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("print('hi')", "print('hi')"),
        ("a = 1\n\n# next thing", "a = 1"),
        ("a = 1\n# same block", "a = 1\n# same block"),
        ("a = '''text'''", "a = '''text'''"),
        ("a = 1\n\n\nb = 2", "a = 1"),
        ("a = 1<|endoftext|>b", "a = 1"),
        ("", ""),
    ],
)
def test_stops_and_patterns_cut(text: str, kept: str) -> None:
    ending = Ending(stops=("<|endoftext|>",), patterns=PATTERNS, follows_blocks=False)

    assert cut(text, ending) == kept


def test_the_families_own_ends_are_stops() -> None:
    assert "<|file_sep|>" in ending_of(Fim("a", "b"), format_name="qwen").stops


@pytest.mark.parametrize(
    ("prefix", "suffix", "expected"),
    [
        ("x = ", "\n", False),
        ("x = ", "", False),
        ("print(", ")\n", False),
        ('print("', '");\n', False),
        ("x = ", " + 1\n", True),
        ("foo(", "bar)\n", True),
        ("a\n", "b\n", False),
        ("a\n    ", "b\n", False),
    ],
)
def test_the_middle_of_a_line_is_known(prefix: str, suffix: str, expected: bool) -> None:
    assert is_mid_line(prefix, suffix) is expected


def test_in_the_middle_of_a_line_one_line_is_made() -> None:
    ending = ending_of(Fim("x = ", " + 1\n"))

    assert cut("a\nb\n", ending, "x = ", " + 1\n") == "a"


TEXT = st.text(st.sampled_from("ab \n#'<|>"), max_size=60)


@given(parts=st.lists(TEXT, max_size=8), is_single_line=st.booleans())
def test_streamed_and_whole_are_the_same(parts: list[str], is_single_line: bool) -> None:
    ending = Ending(stops=("<|a|>", "b b", "ab"), patterns=PATTERNS, is_single_line=is_single_line)

    assert streamed(parts, ending) == cut("".join(parts), ending)
