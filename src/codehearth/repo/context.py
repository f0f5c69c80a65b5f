"""What was found, as a model is shown it: the best chunks that fit, neighbours joined; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

MAX_SNIPPETS = 8
_LEAST_SHARE = 0.25
"""Of the best score: what tells less than that is noise."""

_TEST = re.compile(
    r"(^|/)(tests?|spec)(/|$)|(^|/)test_[^/]*$|[._]test\.[^/]*$|\.spec\.[^/]*$", re.I
)
_WEIGHT_OF_TESTS = 0.7
"""They repeat the words of what they test, which is what is asked for."""


@dataclass(frozen=True)
class Found:
    """Some lines of a file, both ends included; a higher `score` fits the question better."""

    path: str
    first_line: int
    last_line: int
    text: str
    score: float

    @property
    def place(self) -> str:
        """`src/a.py:10-32`, as editors open it."""
        return f"{self.path}:{self.first_line}-{self.last_line}"

    def as_document(self) -> dict[str, Any]:
        """As the command line and the API print it."""
        return {**asdict(self), "score": round(self.score, 3)}


def packed(found: Iterable[Found], *, max_characters: int) -> tuple[Found, ...]:
    """The best that fit together within the budget, best first; neighbours of a file are joined.

    What is too long is left out and the next tried. Empty where nothing fits.
    """
    best = sorted(map(_weighed, found), key=lambda one: -one.score)
    if not best:
        return ()
    chosen: list[Found] = []
    room = max_characters
    for one in best:
        if len(chosen) == MAX_SNIPPETS or one.score < _LEAST_SHARE * best[0].score:
            break
        if len(one.text) <= room:
            chosen.append(one)
            room -= len(one.text)
    return _joined(chosen)


def _weighed(one: Found) -> Found:
    return replace(one, score=one.score * _WEIGHT_OF_TESTS) if _TEST.search(one.path) else one


def _joined(chosen: Sequence[Found]) -> tuple[Found, ...]:
    """Chunks that follow each other in a file become one, with the better one's place in line."""
    joined: list[Found] = []
    for one in sorted(chosen, key=lambda each: (each.path, each.first_line)):
        last = joined[-1] if joined else None
        if last and last.path == one.path and 0 <= one.first_line - last.last_line - 1 <= 2:
            gap = "\n" * (one.first_line - last.last_line)
            joined[-1] = replace(
                last,
                last_line=one.last_line,
                text=f"{last.text}{gap}{one.text}",
                score=max(last.score, one.score),
            )
        else:
            joined.append(one)
    return tuple(sorted(joined, key=lambda one: -one.score))
