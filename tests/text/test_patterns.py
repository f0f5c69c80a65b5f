"""Completions are cut where the patterns say, and nowhere else."""

from __future__ import annotations

import pytest

from codehearth.text.patterns import CODEGEN_PATTERNS, compile_patterns, truncate


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("print('hi')", "print('hi')"),
        ("a = 1\n\n# next thing", "a = 1"),
        ("a = 1\n# same block", "a = 1\n# same block"),
        ("a = 1\n'''docs'''", "a = 1\n"),
        ("a = '''text'''", "a = '''text'''"),
        ("a = 1\n\n\nb = 2", "a = 1"),
        ("", ""),
    ],
)
def test_the_first_pattern_cuts(text: str, kept: str) -> None:
    assert truncate(text, compile_patterns(CODEGEN_PATTERNS)) == kept
