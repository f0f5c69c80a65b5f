"""What an answer repeats: the text behind the cursor, or itself."""

from __future__ import annotations

import re
from collections.abc import Sequence

from codehearth.text.surroundings import columns

_MAX_PERIOD = 8
_HISTORY_LINES = 2 * _MAX_PERIOD
# A line is looked at for repetition whenever it has grown by so many characters.
LINE_STEP = 64
_MAX_LINE_PERIOD = 48
_MIN_LINE_LOOP = 160
_SAYS_LITTLE = re.compile(
    r"(?:else|end|fi|done|esac|pass|break|continue|return|try|finally|begin|then|do|endif|\W)+"
)
_BRACKETS = frozenset("()[]{}")


class SuffixStart:
    """Knows the first lines behind the cursor, and finds where an answer begins to repeat them."""

    def __init__(self, prefix: str, suffix: str) -> None:
        rest, _, below = suffix.partition("\n")
        cursor_line = prefix.rpartition("\n")[2]
        self._cursor_line = cursor_line
        self._rest = rest.strip()
        lines = [line for line in below[:4000].split("\n") if line.strip()]
        if self._rest and not cursor_line.strip():  # whole lines are written above this one
            lines = [cursor_line + rest, *lines]
            self._rest = ""
        self._lines = [] if self._rest and not _BRACKETS.issuperset(self._rest) else lines[:2]

    def cut_in_first_line(self, line: str) -> int | None:
        """Where the answer's first line comes to the rest of the cursor's line."""
        if not self._rest or _BRACKETS.issuperset(self._rest):
            return None
        if sum(c.isalnum() for c in self._rest) >= 3 and (at := line.find(self._rest)) >= 0:
            return at
        stripped = line.rstrip()
        if not stripped.endswith(self._rest):
            return None
        at = len(stripped) - len(self._rest)
        joins_word = self._rest[0].isalnum() and at > 0 and stripped[at - 1].isalnum()
        return None if joins_word else at

    def is_repeated_by(self, line: str, *, is_first: bool) -> bool:
        """Whether the line is the first one behind the cursor, by itself."""
        if not self._lines or (is_first and self._cursor_line.strip()):
            return False
        whole = self._cursor_line + line if is_first else line
        wanted = self._lines[0]
        return (
            _normal(whole) == _normal(wanted)
            and columns(whole) == columns(wanted)
            and not _BRACKETS.issuperset(whole.strip())
        )

    def may_begin_with(self, line: str, *, is_first: bool) -> bool:
        """Whether the line is like the first one behind the cursor, and the next must tell."""
        if len(self._lines) < 2 or (is_first and self._cursor_line.strip()):
            return False
        if not says_something(self._lines[1:]):
            return False
        return _normal(line) == _normal(self._lines[0])

    def is_continued_by(self, line: str) -> bool:
        """Whether the line after such a one is like the second behind the cursor."""
        return _normal(line) == _normal(self._lines[1])


def _normal(line: str) -> str:
    return re.sub(r"\s+", " ", line.strip())


class Loop:
    """Finds lines that come again and again."""

    def __init__(self, prefix: str) -> None:
        self._lines = [line.strip() for line in prefix[-4000:].split("\n")[:-1] if line.strip()]
        del self._lines[:-_HISTORY_LINES]
        self._matched = [0] * (_MAX_PERIOD + 1)

    def add(self, line: str) -> int:
        """Takes a line that is not empty; how many of the last lines are a loop, 0 for none."""
        stripped = line.strip()
        self._lines.append(stripped)
        del self._lines[: -(_HISTORY_LINES + 1)]
        for period in range(1, _MAX_PERIOD + 1):
            is_same = len(self._lines) > period and self._lines[-1 - period] == stripped
            self._matched[period] = self._matched[period] + 1 if is_same else 0
        for period in range(1, _MAX_PERIOD + 1):
            is_loop = self._matched[period] >= _longest_repeat(period)
            if is_loop and says_something(self._lines[-period:]):
                return self._matched[period]
        return 0

    @property
    def num_waiting(self) -> int:
        """So many of the last lines repeat what stands before them, and may become a loop."""
        return max(
            matched
            for period, matched in enumerate(self._matched)
            if matched < max(1, _longest_repeat(period))
        )


def _longest_repeat(period: int) -> int:
    """So many lines that repeat are a loop: twice the same lines once more, a single one thrice."""
    return 3 if period == 1 else 2 * period


def says_something(lines: Sequence[str]) -> bool:
    """Whether lines that repeat are a loop, and not the closing of brackets or a table of zeros."""
    letters = sum(c.isalpha() for line in lines for c in line)
    return letters >= 3 * len(lines) and not all(map(_SAYS_LITTLE.fullmatch, lines))


def loop_in_line(line: str) -> int | None:
    """Where a line begins to repeat the same few characters; None where it does not."""
    if len(line) < _MIN_LINE_LOOP:
        return None
    tail = line[-_MIN_LINE_LOOP:]
    for period in range(1, _MAX_LINE_PERIOD + 1):
        if tail[period:] == tail[:-period]:
            begin = len(line) - _MIN_LINE_LOOP
            while begin > 0 and line[begin - 1] == line[begin - 1 + period]:
                begin -= 1
            return begin + period
    return None
