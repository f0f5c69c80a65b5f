"""A file in chunks that can be read alone: a definition, a section, some lines between.

A chunk begins where a definition or a heading does, as the language's grammar or the line itself
tells. What is small goes together with what follows it, what is long is parted at empty lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from codehearth.text.functions import functions
from codehearth.text.languages import Language

_MAX_LINES = 60
_MAX_CHARACTERS = 3000
_SMALL_LINES = 12

_DEFINITION = re.compile(
    r"\s*(?:(?:export|default|public|private|protected|internal|static|final|abstract|async|pub"
    r"(?:\([^)]*\))?|unsafe|inline|sealed|open|data|override)\s+)*"
    r"(?:class|struct|interface|trait|enum|union|record|object|module|namespace|impl|type|def|fn|"
    r"func|fun|function|sub|procedure|macro_rules!)\s+(?:\([^)]*\)\s*)?(?:<[^>]*>\s*)?(\w+)"
)
_HEADING = re.compile(r"(#{1,6}\s+\S.*|={2,6}\s+\S.*)")
_MARKUP = frozenset({"Markdown", "AsciiDoc", "RMarkdown", "Org"})
_ABOVE = ("@", "#", "//", "/*", "*", "///", "--")


@dataclass(frozen=True)
class Chunk:
    """Some lines of a file, counted from 1, both ends included; `names` are defined in them."""

    first_line: int
    last_line: int
    text: str
    names: tuple[str, ...] = ()


def chunks(text: str, language: Language | None = None) -> tuple[Chunk, ...]:
    """The whole file in chunks, in order; lines that are empty around them belong to none."""
    lines = text.replace("\r\n", "\n").split("\n")
    is_markup = language is not None and language.name in _MARKUP
    names: dict[int, str] = {}
    for number, line in enumerate(lines):
        if found := (_HEADING if is_markup else _DEFINITION).match(line):
            names[number] = found[1]
    if language is not None and not is_markup:
        names |= _of_grammar(language, text)
    starts = sorted({_with_what_is_above(lines, number) for number in names})
    return tuple(
        chunk
        for first, end in _ranges(lines, starts)
        if (chunk := _chunk(lines, first, end, names))
    )


def _of_grammar(language: Language, text: str) -> dict[int, str]:
    """Lines where functions begin, with their names: C's and Java's have no word before them."""
    return {
        text.count("\n", 0, function.start): function.name
        for function in functions(language.name, text)
    }


def _with_what_is_above(lines: Sequence[str], number: int) -> int:
    """Decorators and comments right above a definition belong to it."""
    while number > 0 and lines[number - 1].strip().startswith(_ABOVE):
        number -= 1
    return number


def _ranges(lines: Sequence[str], starts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """From where to where (excluded) each chunk goes."""
    edges = sorted({0, len(lines), *starts})
    first = 0
    for start, end in pairwise(edges):
        is_small = start - first < _SMALL_LINES and _fits(lines, first, end)
        if start > first and not is_small:
            yield from _parted(lines, first, start)
            first = start
    yield from _parted(lines, first, len(lines))


def _fits(lines: Sequence[str], first: int, end: int) -> bool:
    return end - first <= _MAX_LINES and sum(map(len, lines[first:end])) <= _MAX_CHARACTERS


def _parted(lines: Sequence[str], first: int, end: int) -> Iterator[tuple[int, int]]:
    """A long range in pieces that end at an empty line, where one is in their second half."""
    while not _fits(lines, first, end) and end - first > 1:
        most = first + 1
        while most < end and _fits(lines, first, most + 1):
            most += 1
        middle = first + (most - first) // 2
        empty = (n for n in range(most, middle, -1) if n < end and not lines[n].strip())
        cut = next(empty, most)
        yield first, cut
        first = cut
    yield first, end


def _chunk(lines: Sequence[str], first: int, end: int, names: dict[int, str]) -> Chunk | None:
    while first < end and not lines[first].strip():
        first += 1
    while first < end and not lines[end - 1].strip():
        end -= 1
    if first == end:
        return None
    defined = dict.fromkeys(names[n] for n in range(first, end) if n in names)
    return Chunk(first + 1, end, "\n".join(lines[first:end]), tuple(defined))
