"""Where a completion ends, for texts that still grow and for whole ones.

An `Ending` says what is to be applied, a `Cutter` applies it while the text comes: `feed` gives
back what is safe to send, `is_done` says that nothing more will be sent, so the engine can be
stopped. Decisions are made only where a line is complete (or a stop text is), however the text
was split on its way; so streamed and whole answers are the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from codehearth.text.fim import Fim
from codehearth.text.fim_formats import FIM_FORMATS
from codehearth.text.languages import Language, language_of_file

# Why an answer ended before the engine's own end.
Reason = Literal["stop", "pattern", "line", "block", "suffix", "loop"]

# After the cursor on its line, these do not make it the middle of a line: editors close brackets
# and quotes by themselves.
_CLOSERS = frozenset(")]}>\"'`;,: \t\r")
_PATTERN_WINDOW = 4096


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What ends an answer.

    `patterns` are cut before their match; they must be ours or trusted, since a regular
    expression of a stranger can take for ever. With `follows_blocks` the answer ends where the
    statement, the block or the paragraph at the cursor is complete; `avoids_suffix` ends it where
    it begins to repeat what follows the cursor, `avoids_loops` where it repeats itself.
    """

    stops: tuple[str, ...] = ()
    patterns: tuple[re.Pattern[str], ...] = ()
    language: Language | None = None
    is_single_line: bool = False
    follows_blocks: bool = True
    avoids_suffix: bool = True
    avoids_loops: bool = True


def ending_of(
    fim: Fim,
    *,
    format_name: str | None = None,
    stops: Iterable[str] = (),
    patterns: tuple[re.Pattern[str], ...] = (),
) -> Ending:
    """The ending for what an editor asks: the family's own stops, and a single line where the
    cursor stands in the middle of one."""
    layout = FIM_FORMATS.get(format_name or "")
    return Ending(
        stops=tuple(dict.fromkeys((*stops, *(layout.ends if layout else ())))),
        patterns=patterns,
        language=fim.language or language_of_file(fim.path),
        is_single_line=is_mid_line(fim.prefix, fim.suffix),
    )


def is_mid_line(prefix: str, suffix: str) -> bool:
    """Whether code follows the cursor on its line, other than what closes brackets and quotes.

    At the beginning of a line it does not count: there whole lines are wanted.
    """
    before, after = prefix.rpartition("\n")[2], suffix.partition("\n")[0]
    return bool(before.strip()) and not _CLOSERS.issuperset(after)


class Cutter:
    """Cuts one answer while it comes."""

    def __init__(self, ending: Ending, prefix: str = "", suffix: str = "") -> None:
        self._ending = ending
        self._prefix = prefix
        self._suffix = suffix
        self._text = ""
        self._num_sent = 0
        self._num_judged = 0
        self.reason: Reason | None = None

    @property
    def is_done(self) -> bool:
        """Whether the rest of the answer will be dropped."""
        return self.reason is not None

    def feed(self, text: str) -> str:
        """Takes the next part; returns what can be sent now."""
        if self.is_done:
            return ""
        searched = max(0, len(self._text) - max(map(len, self._ending.stops), default=1) + 1)
        self._text += text
        limit = self._stop_at(searched)
        while not self.is_done and (end := self._text.find("\n", self._num_judged)) >= 0:
            if limit is not None and end >= limit:
                break
            self._judge(end + 1)
        if limit is not None and not self.is_done:
            return self._end("stop", limit)
        return self._send(self._num_safe()) if not self.is_done else self._send(len(self._text))

    def finish(self) -> str:
        """The answer is at its own end: what was held back."""
        if not self.is_done and self._num_judged < len(self._text):
            self._judge(len(self._text))
        return self._send(len(self._text))

    def _stop_at(self, searched: int) -> int | None:
        """Where the stop text begins that is complete first."""
        found = [
            (at + len(stop), at)
            for stop in self._ending.stops
            if (at := self._text.find(stop, searched)) >= 0
        ]
        return min(found)[1] if found else None

    def _judge(self, end: int) -> None:
        """One more line, which ends before `end`."""
        start, self._num_judged = self._num_judged, end
        window = max(0, end - _PATTERN_WINDOW)
        for pattern in self._ending.patterns:
            if match := pattern.search(self._text, window, end):
                self._text = self._text[: max(match.start(), self._num_sent)]
                self.reason = "pattern"
                return
        line_end = self._text.find("\n", start, end)
        if self._ending.is_single_line and line_end >= 0:
            self._text = self._text[:line_end]
            self.reason = "line"

    def _num_safe(self) -> int:
        """Whole lines but the white space at their end, where a cut may still begin."""
        return len(self._text[: self._num_judged].rstrip())

    def _end(self, reason: Reason, at: int) -> str:
        self._text = self._text[: max(at, self._num_sent)]
        if self._num_judged < len(self._text):
            self._judge(len(self._text))
        self.reason = self.reason or reason
        return self._send(len(self._text))

    def _send(self, end: int) -> str:
        part = self._text[self._num_sent : end]
        self._num_sent = max(self._num_sent, end)
        return part


def cut(text: str, ending: Ending, prefix: str = "", suffix: str = "") -> str:
    """A whole text up to its ending; the same as what a `Cutter` sends of it."""
    cutter = Cutter(ending, prefix, suffix)
    return cutter.feed(text) + cutter.finish()
