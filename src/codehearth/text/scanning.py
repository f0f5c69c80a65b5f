"""Brackets, strings and comments of a text that comes in parts, for any language.

A `Scanner` knows just enough of a language to tell a bracket from one in a string or a comment:
its comment marks and quotes. It reads each character once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cache

from codehearth.text.languages import Language

PAIRS = {")": "(", "]": "[", "}": "{"}

_CHARACTER = r"'(?:\\.[^'\n]{0,8}|[^'\\\n])'"


_BEGINS_FILE = re.compile(r"\s*(?:#|//|/\*|import |from |def |class |package |using |use |<\?)")
_LOOKS_LIKE_CODE = re.compile(
    r"\s*(?:def \w|class \w|return\b|import \w|from \w|self\.|if .*:$|for .*:$|\w+ = |"
    r"(?:val|var|fun|func|let|public|private) )"
)
_HERE = "<<"
_HERE_DOCUMENT = r"<<-?[ ]?(?:'\w+'|\"\w+\"|[A-Za-z_]\w*)"
# A regular expression of JavaScript, where no division can stand.
_REGEX = r"(?<=[(=,:\[!&|?{};\s])/(?![/*\s=])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\[\n])+/"


@dataclass(frozen=True)
class _Lexicon:
    """`tokens` finds the next comment, quote or bracket; `closings` what ends each opening."""

    tokens: re.Pattern[str]
    closings: dict[str, str]
    line_comments: frozenset[str]
    strings_go_on: bool
    """Whether a string may go on in the next line."""


@dataclass(frozen=True)
class Bracket:
    """An open bracket, and where it stands: the number and the indentation of its line."""

    character: str
    line: int
    before: str
    """The last characters before it, which tell a block from a literal."""


@dataclass(frozen=True)
class Closing:
    """A bracket that closes at `position` of a part; `depth` is what is open behind it."""

    position: int
    depth: int


class Scanner:
    """What is open at the end of what was read. Begins at the start of a text."""

    def __init__(self, language: Language | None, *, inside: str = "") -> None:
        self._lexicon = _lexicon(language)
        self.open: list[Bracket] = []
        self.inside = inside
        """What closes the string or comment in which the text ends; empty outside of them."""
        self.num_lines = 0
        self._here_word = ""

    def copy(self) -> Scanner:
        other = copy(self)
        other.open = list(self.open)
        return other

    @property
    def depth(self) -> int:
        return len(self.open)

    @property
    def is_in_text(self) -> bool:
        """Whether the next line begins inside of a string or a comment."""
        if self.inside in ('"', "'"):
            return self._lexicon.strings_go_on
        return self.inside not in ("", "\n")

    def end_line(self) -> None:
        """Strings of one line and line comments end, closed or not; a here-document begins."""
        self.num_lines += 1
        if not self.is_in_text:
            self.inside = ""
        if self._here_word:
            self.inside, self._here_word = _HERE + self._here_word, ""

    def read(self, part: str) -> list[Closing]:
        """Reads a part of one line; the brackets that close in it, and whether they were open."""
        return list(self._closings(part))

    def _closings(self, part: str) -> Iterator[Closing]:
        at = 0
        while at < len(part):
            if self.inside:
                at = self._leave(part, at)
                continue
            token = self._lexicon.tokens.search(part, at)
            if token is None:
                return
            at, text = token.end(), token[0]
            if text in "([{":
                before = part[max(0, token.start() - 16) : token.start()]
                self.open.append(Bracket(text, self.num_lines, before.rstrip()))
            elif text in PAIRS:
                if self.open and self.open[-1].character == PAIRS[text]:
                    self.open.pop()
                    yield Closing(token.start(), self.depth)
            elif text.startswith(_HERE):
                self._here_word = text.lstrip(_HERE + "- ").strip("'\"")
            elif text in self._lexicon.line_comments:
                self.inside = "\n"
            elif text in self._lexicon.closings:
                self.inside = self._lexicon.closings[text]

    def _leave(self, part: str, at: int) -> int:
        """Past the end of the string or comment, or of the part."""
        if self.inside == "\n":
            return len(part)
        if self.inside.startswith(_HERE):
            self.inside = "" if part.strip() == self.inside.removeprefix(_HERE) else self.inside
            return len(part)
        has_escapes = self.inside[0] in "\"'`"
        while at < len(part):
            end = part.find(self.inside, at)
            escape = part.find("\\", at) if has_escapes else -1
            if escape >= 0 and (end < 0 or escape < end):
                at = escape + 2
                continue
            if end < 0:
                return len(part)
            end += len(self.inside)
            self.inside = ""
            return end
        return len(part)


def opened_before(language: Language | None, lines: Sequence[str]) -> str:
    """What closes the comment or string in which a text begins that was cut out of a longer one.

    A comment is told by its end that comes before any beginning; a string of several lines by the
    code that would stand within strings if the text began outside of one.
    """
    text = "\n".join(lines)
    if _BEGINS_FILE.match(text):
        return ""
    closings = _lexicon(language).closings
    for opening, closing in closings.items():
        begin, end = text.find(opening), text.find(closing + "\n")
        if opening != closing and end >= 0 and (begin < 0 or end < begin):
            return closing
    for quotes in ('"""', "'''"):
        if quotes in closings and quotes in text:
            outside, within = _code_lines(language, lines)
            return quotes if within > outside else ""
    return ""


def _code_lines(language: Language | None, lines: Sequence[str]) -> tuple[int, int]:
    """How many lines that look like code stand outside of strings, and how many within."""
    scanner, counts = Scanner(language), [0, 0]
    for line in lines:
        counts[scanner.is_in_text] += _LOOKS_LIKE_CODE.match(line) is not None
        scanner.read(line)
        scanner.end_line()
    return counts[0], counts[1]


@cache
def _lexicon(language: Language | None) -> _Lexicon:
    name = language.name if language else ""
    mark, closing = language.comment_marks if language else ("#", "")
    quotes = language.quotes if language else ('"', "'")
    closings = {quote: quote for quote in quotes}
    if closing:
        closings[mark] = closing
    if mark == "//":
        closings["/*"] = "*/"
    line_comments = frozenset({mark} if not closing else ())
    openings = sorted({*closings, *line_comments}, key=len, reverse=True)
    # Elsewhere an apostrophe may be a lifetime, a prime or a quotation.
    has_characters = mark in ("//", "--") and "'" not in quotes
    first = [_CHARACTER] if has_characters else []
    if name in ("JavaScript", "TypeScript", "Vue", "Svelte", "Astro"):
        first.append(_REGEX)
    if name == "Bash":
        first.append(_HERE_DOCUMENT)
    words = [*first, *map(_bounded, openings), r"[()\[\]{}]"]
    return _Lexicon(
        re.compile("|".join(words)), closings, line_comments, strings_go_on=name in ("Bash", "Rust")
    )


def _bounded(mark: str) -> str:
    """A mark of letters is a word; `#` begins no comment in `$#` and `${#x}`."""
    if mark.isalpha():
        return rf"\b{mark}\b"
    return r"(?<![$\w{&])#" if mark == "#" else re.escape(mark)
