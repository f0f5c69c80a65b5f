"""A known answer: a middle that every model which can infill writes, to prove its prompt."""

from __future__ import annotations

import re

from codehearth.text.fim import Fim
from codehearth.text.languages import find_language

MAX_TOKENS = 24
_RIGHT = re.compile(r"\s*return\s+(?:a \+ b|b \+ a)\s*")


def probe() -> Fim:
    """Two lines of a function; the third is missing."""
    return Fim(
        prefix='def add(a, b):\n    """Add two numbers."""\n',
        suffix="\n\nprint(add(2, 3))\n",
        language=find_language("Python"),
    )


def is_right(answer: str) -> bool:
    """Whether the answer, cut at its end, is the missing line and nothing else."""
    return _RIGHT.fullmatch(answer) is not None
