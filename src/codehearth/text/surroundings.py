"""What stands around a cursor, as the end of an answer needs it: brackets, lines, what is begun.

Of prefix and suffix only what is near is read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from codehearth.text.languages import Language
from codehearth.text.scanning import PAIRS, Bracket, Scanner, opened_before

_PREFIX_WINDOW = 48_000
_SUFFIX_WINDOW = 8_000
_TAB_WIDTH = 4

_LITERAL_BEFORE = re.compile(r"(?:[=([,:?]|&&|\|\||\breturn)$")


def columns(line: str) -> int:
    """The width of a line's indentation."""
    expanded = line.expandtabs(_TAB_WIDTH)
    return len(expanded) - len(expanded.lstrip())


@dataclass(frozen=True)
class _Line:
    """A line of the prefix: its text, how many brackets were open at its start and at its lowest,
    and whether it is code."""

    text: str
    start_depth: int
    lowest_depth: int
    is_code: bool

    @property
    def indent(self) -> int:
        return columns(self.text)


PlaceKind = Literal["statement", "block", "paragraph"]


@dataclass(frozen=True)
class Place:
    """What is being written: `indent` is that of the line that began it, and `depth` the number
    of brackets that were open there. `start` is the text of that beginning, up to the cursor."""

    kind: PlaceKind
    indent: int
    depth: int
    start: str = ""
    opener: str = ""


class Surroundings:
    """The place of a cursor in a text."""

    def __init__(self, language: Language | None, prefix: str, suffix: str) -> None:
        self._comment = language.comment_marks[0] if language else "#"
        self._is_braced = language is not None and language.blocks == "braces"
        lines = prefix[-_PREFIX_WINDOW:].split("\n")
        if len(prefix) > _PREFIX_WINDOW:
            lines = lines[1:] or lines
        self.scanner = Scanner(language, inside=opened_before(language, lines))
        """At the cursor; who reads on takes it."""
        self._lines = [self._read_line(text) for text in lines[:-1]]
        self.cursor_line = lines[-1]
        self._cursor = self._read(self.cursor_line)
        self._open = tuple(self.scanner.open)
        self.depth = self.scanner.depth
        self.floor = self._depth_closed_by(suffix)
        """So many brackets must stay open: the suffix closes them."""
        self.quote_of_suffix = self._quote_closed_by(suffix)
        self.suffix_indent = _first_indent(self.cursor_line, suffix)

    # --- The text before and after ---

    def _read_line(self, text: str) -> _Line:
        line = self._read(text)
        self.scanner.end_line()
        return line

    def _read(self, text: str) -> _Line:
        is_text, depth = self.scanner.is_in_text or self._is_text(text), self.scanner.depth
        lowest = min((closing.depth for closing in self.scanner.read(text)), default=depth)
        return _Line(text, depth, min(depth, lowest), not is_text)

    def _is_text(self, line: str) -> bool:
        """A comment, or a line that is nothing but a string, as of documentation."""
        stripped = line.strip()
        return stripped in ("", "*") or stripped.startswith(
            (self._comment, "/*", "* ", '"""', "'''", '"')
        )

    def _depth_closed_by(self, suffix: str) -> int:
        """How deep the answer may close: what the suffix closes is not the answer's.

        1. A bracket just before the cursor and its partner just behind it are a pair.
        2. A line that begins by closing stands as far left as the line that opened.
        3. Else the suffix closes as many as it closes; all, if it is too long to be read.
        """
        depth, after = self.scanner.depth, self.scanner.copy()
        opener = self.cursor_line.rstrip()[-1:]
        if opener and opener == PAIRS.get(suffix.lstrip(" \t")[:1]):
            return depth  # 1
        lowest = depth
        for number, line in enumerate(suffix[:_SUFFIX_WINDOW].split("\n")):
            closings = [closing.depth for closing in after.read(line)]
            if number and lowest == depth and closings and min(closings) < depth:
                columns_of_open = [
                    columns(self._line_of(one)) for one in reversed(self.scanner.open)
                ]
                if columns(line) in columns_of_open:
                    return depth - columns_of_open.index(columns(line))  # 2
            lowest = min((lowest, *closings))
            after.end_line()
        return depth if len(suffix) > _SUFFIX_WINDOW else depth - lowest  # 3

    def _line_of(self, bracket: Bracket) -> str:
        if bracket.line < len(self._lines):
            return self._lines[bracket.line].text
        return self.cursor_line

    def _quote_closed_by(self, suffix: str) -> str:
        """The quote of a string that is open at the cursor and closes behind it on its line."""
        quote = self.scanner.inside
        is_quote = quote in ('"', "'", "`")
        return quote if is_quote and quote in suffix.partition("\n")[0] else ""

    # --- The place of the cursor ---

    def place_of_cursor_line(self) -> Place:
        """Code stands before the cursor on its line: a statement, from where it began."""
        if not self._cursor.is_code:
            return Place("paragraph", self._cursor.indent, self.depth)
        line, start = self._cursor, self._cursor.text
        bracket = self._literal_around(self._cursor.lowest_depth)
        if bracket is not None:
            line = self._lines[bracket]
            start = "\n".join([*(one.text for one in self._lines[bracket:]), self._cursor.text])
        return Place("statement", line.indent, line.lowest_depth, start, opener=line.text)

    def _literal_around(self, depth: int) -> int | None:
        """The line where the outermost bracket was opened that is open there and no block."""
        found = None
        for bracket in reversed(self._open[:depth]):
            is_block = bracket.character == "{" and not _LITERAL_BEFORE.search(bracket.before)
            if self._is_braced and is_block:
                break
            if bracket.line < len(self._lines):
                found = bracket.line
        return found

    def place_of(self, indent: int) -> Place:
        """The cursor stands on an empty line; `indent` is that of the answer's first line."""
        lines = [*self._lines, *([self._cursor] if self.cursor_line.strip() else [])]
        if (bracket := self._literal_around(self.depth)) is not None:
            line = self._lines[bracket]
            start = "\n".join(one.text for one in self._lines[bracket:]) + "\n"
            return Place("statement", line.indent, line.lowest_depth, start, opener=line.text)
        number = next((n for n in reversed(range(len(lines))) if lines[n].is_code), None)
        if number is None or self.suffix_indent == indent:
            return Place("paragraph", indent, self.depth)
        above, first = lines[number], _first_of_statement(lines, number)
        if first.indent >= indent:
            return Place("paragraph", indent, self.depth)
        return Place("block", first.indent, above.lowest_depth, opener=first.text + above.text)


def _first_of_statement(lines: Sequence[_Line], number: int) -> _Line:
    """The line that began the statement which goes on in line `number` behind open brackets."""
    depth = lines[number].lowest_depth
    while number > 0 and lines[number].start_depth > depth:
        number -= 1
    return lines[number]


def _first_indent(cursor_line: str, suffix: str) -> int | None:
    """The indentation of the first line of code behind the cursor."""
    rest, _, below = suffix.partition("\n")
    if rest.strip():
        return None if cursor_line.strip() else columns(cursor_line + rest)
    return next((columns(line) for line in below.split("\n") if line.strip()), None)
