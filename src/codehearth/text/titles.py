"""A conversation's title from its first message, without asking a model."""

from __future__ import annotations

import re
import unicodedata

MAX_TITLE = 60
_WIDE = ("W", "F")


def title_of(text: str) -> str:
    """The first line that says something, without Markdown's marks, cut at a word.

    Chinese characters are twice as wide, so half as many fit. Empty where nothing is said.
    """
    is_code, inside = False, ""
    for line in text[:4000].splitlines():
        if line.lstrip().startswith("```"):
            is_code = not is_code
            continue
        plain = _plain(line)
        if plain and not is_code:
            return _cut(plain)
        inside = inside or plain
    return _cut(inside)


def _plain(line: str) -> str:
    line = re.sub(r"^[\s>#*+-]+(?=\s)|^\s*\d+[.)]\s+", "", line)
    line = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", line)
    line = re.sub(r"\*\*|__|`", "", line)
    line = "".join(c if c.isprintable() else " " for c in line)
    return " ".join(line.split())


def _cut(text: str) -> str:
    width = 0
    for position, character in enumerate(text):
        width += 2 if unicodedata.east_asian_width(character) in _WIDE else 1
        if width > MAX_TITLE:
            head = text[:position]
            at_word = head.rpartition(" ")[0]
            return (at_word if len(at_word) > position // 2 else head) + "…"
    return text
