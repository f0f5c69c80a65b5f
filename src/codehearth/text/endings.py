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

from codehearth.text.blocks import BlockEnd
from codehearth.text.fim import Fim
from codehearth.text.fim_formats import FIM_FORMATS
from codehearth.text.languages import Language, language_of_file
from codehearth.text.repeats import LINE_STEP, Loop, SuffixStart, loop_in_line

# Why an answer ended before the engine's own end.
Reason = Literal["stop", "pattern", "line", "block", "suffix", "loop"]

# After the cursor on its line, these do not make it the middle of a line: editors close brackets
# and quotes by themselves.
_CLOSERS = frozenset(")]}>\"'`;,: \t")
_COMMENT = re.compile(r"\s(?://|#|/\*|--)")
_PATTERN_WINDOW = 4096

# The first word of a line with what follows it, or its first characters.
_HEAD = re.compile(r"[^\S\n]*(?:\w+(?=\W)|[^\w\s](?:\S{3}|\S{0,2}(?=\s)))")


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
    closers = _COMMENT.split(after, maxsplit=1)[0].strip()
    return bool(before.strip() and after.strip()) and not (closers and _CLOSERS.issuperset(closers))


class Cutter:
    """Cuts one answer while it comes.

    What happens, and in which order, depends on the text alone and not on how it is split:

    1. A stop text is complete: the answer ends before it.
    2. The first word of a line is known, or the line has grown by some characters more.
    3. A line is complete.
    """

    def __init__(self, ending: Ending, prefix: str = "", suffix: str = "") -> None:
        self._ending = ending
        self._text = ""
        self._num_sent = 0
        self._num_visible = 0
        self._num_settled = 0
        self._line_start = 0
        self._num_stepped = 0
        self._is_head_known = False
        self._line_ends: list[int] = []  # of the lines that are not empty
        self._block = BlockEnd(ending.language, prefix, suffix) if ending.follows_blocks else None
        self._suffix = SuffixStart(prefix, suffix) if ending.avoids_suffix else None
        self._suffix_begins_at: int | None = None
        self._loop = Loop(prefix) if ending.avoids_loops else None
        # The cursor stands before a line that shall stay a line of its own.
        before, after = prefix.rpartition("\n")[2], suffix.partition("\n")[0]
        self._keeps_break = not before.strip() and bool(after.strip())
        self._cursor_line = before
        self._ends_at_next_line = False
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
        stop_at = self._stop_at(searched)
        if stop_at is not None:
            self._text = self._text[:stop_at]
            return self._finish(reason="stop")  # 1
        self._num_visible = len(self._text) - self._num_of_stop()
        self._advance()
        return self._send(len(self._text) if self.is_done else self._num_settled)

    def finish(self) -> str:
        """The answer is at its own end: what was held back."""
        return "" if self.is_done else self._finish(reason=None)

    def _finish(self, reason: Reason | None) -> str:
        self._num_visible = len(self._text)
        self._advance()
        if not self.is_done and self._line_start < len(self._text):
            self._line_is_complete(len(self._text), is_last=True)
        self.reason = self.reason or reason
        return self._send(len(self._text))

    def _stop_at(self, searched: int) -> int | None:
        """Where the stop text begins that is complete first."""
        found = [
            (at + len(stop), at)
            for stop in self._ending.stops
            if (at := self._text.find(stop, searched)) >= 0
        ]
        return min(found)[1] if found else None

    def _num_of_stop(self) -> int:
        """So many characters at the end of the text may be the beginning of a stop text."""
        tail = self._text[-max(map(len, self._ending.stops), default=0) :]
        return max(
            (
                length
                for stop in self._ending.stops
                for length in range(1, min(len(stop), len(tail) + 1))
                if tail.endswith(stop[:length])
            ),
            default=0,
        )

    def _advance(self) -> None:
        while not self.is_done:
            end = self._text.find("\n", self._line_start, self._num_visible)
            self._look_at_line(end if end >= 0 else self._num_visible, is_whole=end >= 0)
            if end < 0 or self.is_done:
                return
            self._line_is_complete(end, is_last=False)

    def _look_at_line(self, end: int, *, is_whole: bool) -> None:
        """A line that may still grow: its head and its length."""
        line = self._text[self._line_start : end]
        if not self._is_head_known and (head := _HEAD.match(line + "\n" if is_whole else line)):
            self._is_head_known = True
            self._head_is_known(head[0].rstrip("\n"))
        while not self.is_done and self._loop and len(line) >= self._num_stepped + LINE_STEP:
            self._num_stepped += LINE_STEP
            if (at := loop_in_line(line[: self._num_stepped])) is not None:
                self._cut("loop", self._line_start + at)

    def _head_is_known(self, head: str) -> None:
        is_next = self._ends_at_next_line
        if is_next or (self._block and self._block.head(self._line_start, head)):
            self._cut_before_line("block")

    def _cut_before_line(self, reason: Reason) -> None:
        """The answer ends with the line before; where a line follows the cursor, it is broken."""
        settled = self._block.end if self._block else self._end_of(-1)
        if self._keeps_break and settled:
            line = self._text[self._line_start : self._line_start + len(self._cursor_line)]
            kept = len(line) - len(line.lstrip(" \t"))
            self._cut(reason, self._line_start + kept)
        else:
            self._cut(reason, settled)

    def _line_is_complete(self, end: int, *, is_last: bool) -> None:
        if is_last:
            self._look_at_line(end, is_whole=True)
            if self.is_done:
                return
        start, line = self._line_start, self._text[self._line_start : end]
        self._line_start, self._is_head_known, self._num_stepped = end + 1, False, 0
        self._judge(start, line)
        self._num_settled = max(self._num_settled, self._num_safe())
        if not self.is_done and self._ending.is_single_line and not is_last:
            self._cut("line", end)

    def _judge(self, start: int, line: str) -> None:
        end = start + len(line)
        for pattern in self._ending.patterns:
            if match := pattern.search(self._text, max(0, end - _PATTERN_WINDOW), end):
                return self._cut("pattern", match.start())
        if self._suffix and self._is_from_suffix(start, line):
            return None
        if self._block and (ended := self._block.line(start, line)):
            if self._keeps_break and ended.position == self._block.end:
                self._ends_at_next_line = True
            else:
                return self._cut("block", ended.position)
        if line.strip():
            self._line_ends.append(start + len(line.rstrip()))
            if self._loop and (num_lines := self._loop.add(line)):
                return self._cut("loop", self._end_of(-1 - num_lines))
        return None

    def _is_from_suffix(self, start: int, line: str) -> bool:
        """Cuts where the line is one of those behind the cursor."""
        assert self._suffix is not None
        if start == 0 and (at := self._suffix.cut_in_first_line(line)) is not None:
            self._cut("suffix", at)
        if not line.strip() or self.is_done:
            return self.is_done
        waiting, self._suffix_begins_at = self._suffix_begins_at, None
        if waiting is not None and self._suffix.is_continued_by(line):
            self._cut("suffix", waiting)
        elif self._suffix.is_repeated_by(line, is_first=start == 0):
            self._line_start = start
            self._cut_before_line("suffix")
        elif self._suffix.may_begin_with(line, is_first=start == 0):
            self._suffix_begins_at = self._end_of(-1)
        return self.is_done

    def _end_of(self, number: int) -> int:
        """The end of a line that is not empty, counted from the last one; 0 before the first."""
        return self._line_ends[number] if -number <= len(self._line_ends) else 0

    def _num_safe(self) -> int:
        """What no later line can take back; white space at its end is held, too."""
        num_lines = 1 + (self._loop.num_waiting if self._loop else 0)
        safe = self._end_of(-num_lines)
        if self._block:
            safe = min(safe, self._block.end)
        return safe if self._suffix_begins_at is None else min(safe, self._suffix_begins_at)

    def _cut(self, reason: Reason, at: int) -> None:
        self._text = self._text[: max(at, self._num_settled)]
        self.reason = reason

    def _send(self, end: int) -> str:
        part = self._text[self._num_sent : end]
        self._num_sent = max(self._num_sent, end)
        return part


def cut(text: str, ending: Ending, prefix: str = "", suffix: str = "") -> str:
    """A whole text up to its ending; the same as what a `Cutter` sends of it."""
    cutter = Cutter(ending, prefix, suffix)
    return cutter.feed(text) + cutter.finish()
