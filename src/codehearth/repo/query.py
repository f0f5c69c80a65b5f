"""What is looked for: the telling words of a question or of the lines before a cursor; pure.

The index holds trigrams, so a word is found inside of longer ones and Chinese is found without
cutting it into words. Words that are in every file tell nothing and are left out. bm25 does the
rest: a word that few chunks hold counts more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files

MAX_TERMS = 24
MAX_CHARACTERS = 16_000
"""Of a text, its end: where the question stands below what it is about."""
_MIN_CHARACTERS = 3  # what a trigram index can answer
_MIN_PART = 4

_WORD = re.compile(r"[^\W\d]\w*", re.ASCII)
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]+")
_CJK_TERM = 3
_ENDINGS = (
    "ations",
    "ation",
    "ings",
    "ing",
    "ions",
    "ion",
    "ers",
    "ed",
    "es",
    "er",
    "ly",
    "s",
    "e",
)


def terms_of(text: str) -> tuple[str, ...]:
    """At most MAX_TERMS, the most telling first: names of code, then words, then parts of names."""
    names: dict[str, None] = {}
    words: dict[str, None] = {}
    parts: dict[str, None] = {}
    text = text[-MAX_CHARACTERS:]
    for word in _WORD.findall(text):
        if len(word) < _MIN_CHARACTERS or word.lower() in _common():
            continue
        pieces = [piece.lower() for piece in _PARTS.findall(word)]
        if len(pieces) == 1:
            words[_stem(word.lower())] = None
        else:
            names[word.lower()] = None
            parts |= dict.fromkeys(
                piece for piece in pieces if len(piece) >= _MIN_PART and piece not in _common()
            )
    words |= dict.fromkeys(_cjk_terms(text))
    return tuple(dict.fromkeys([*names, *words, *parts]))[:MAX_TERMS]


def _stem(word: str) -> str:
    """An English word without its ending, as trigrams find what goes on otherwise: `parsing` asks
    for `pars`, and finds `parse` and `parser`."""
    ending = next((e for e in _ENDINGS if word.endswith(e)), "")
    return word.removesuffix(ending) if len(word) - len(ending) >= _MIN_PART else word


@cache
def _common() -> frozenset[str]:
    """English around a question, and the words of the common languages: they tell nothing."""
    return frozenset((files("codehearth.data") / "common_words.txt").read_text("utf-8").split())


def expression(terms: Sequence[str]) -> str:
    """FTS5's question for chunks with any of the terms."""
    return " OR ".join('"' + term.replace('"', '""') + '"' for term in terms)


def before_cursor(prefix: str, *, max_lines: int = 12) -> str:
    """The lines above the one that is being typed.

    The line itself is left out, so that the answer stays the same while somebody types in it: what
    stands before the cursor is then still in the engine's cache.
    """
    return "\n".join(prefix[-MAX_CHARACTERS:].split("\n")[-max_lines - 1 : -1])


def _cjk_terms(text: str) -> Iterator[str]:
    """Overlapping threes of characters: a sentence has no blanks, and the index knows threes."""
    for run in _CJK.findall(text):
        for start in range(len(run) - _CJK_TERM + 1):
            yield run[start : start + _CJK_TERM]
