"""What a search asks: words to conditions for SQLite, and the text around what was found; pure.

The index holds trigrams, so that Chinese and code are found without cutting into words. It cannot
answer for words shorter than three characters: those are looked for in the text itself.
"""

from __future__ import annotations

MAX_WORDS = 16
_MIN_INDEXED = 3
_BEFORE, _AFTER = 40, 120


def words_of(query: str) -> tuple[str, ...]:
    """The words that must all be there; control characters part words, too."""
    readable = "".join(c if c.isprintable() else " " for c in query)
    return tuple(dict.fromkeys(readable.split()))[:MAX_WORDS]


def indexed(words: tuple[str, ...]) -> str:
    """FTS5's expression for the words that the index can answer; empty where there are none."""
    long = [word for word in words if len(word) >= _MIN_INDEXED]
    return " AND ".join('"' + word.replace('"', '""') + '"' for word in long)


def scanned(words: tuple[str, ...]) -> tuple[str, ...]:
    """LIKE patterns of the words that are too short for the index."""
    return tuple(like(word) for word in words if len(word) < _MIN_INDEXED)


def like(word: str) -> str:
    r"""A pattern for LIKE … ESCAPE '\' that finds the word anywhere."""
    escaped = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def snippet(text: str, words: tuple[str, ...]) -> str:
    """Some text around the first word that is in it, on one line."""
    lowered = text.lower()
    places = [place for word in words if (place := lowered.find(word.lower())) >= 0]
    start = max(0, min(places, default=0) - _BEFORE)
    end = start + _BEFORE + _AFTER
    middle = " ".join(text[start:end].split())
    return ("…" if start else "") + middle + ("…" if end < len(text) else "")
