"""Patterns that end a completion of old models, as CodeGen's own script has them; see `endings`."""

from __future__ import annotations

import re
from collections.abc import Iterable

CODEGEN_PATTERNS = (r"\n\n^#", r"^'''", r"\n\n\n")
"""The patterns that CodeGen's own sampling script cuts at (`truncate_before_pattern`)."""


def compile_patterns(patterns: Iterable[str]) -> tuple[re.Pattern[str], ...]:
    """Our own patterns, compiled; `^` means the start of a line."""
    return tuple(re.compile(pattern, re.MULTILINE) for pattern in patterns)


def truncate(text: str, patterns: tuple[re.Pattern[str], ...]) -> str:
    """The text up to the first place where any of the patterns matches."""
    starts = [match.start() for pattern in patterns if (match := pattern.search(text))]
    return text[: min(starts)] if starts else text
