"""What the words after `hearth run` mean, and what a place in a file means; pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from codehearth.errors import InvalidRequest, ModelNotFound


@dataclass(frozen=True)
class Asked:
    """A model and a prompt; None where the words name none."""

    model: str | None
    prompt: str | None


def asked_by(
    words: Sequence[str],
    *,
    model: str | None,
    is_model: Callable[[str], bool],
    near: Callable[[str], tuple[str, ...]],
) -> Asked:
    """Which of `words` is the model and which the prompt.

    1. With `model` (the option -m) all words are the prompt.
    2. The first of several words is the model, the others are the prompt.
    3. One word is the model if it is one; if it looks like the name of a model but is none,
       ModelNotFound suggests one; else it is the prompt.
    """
    if model is not None or not words:
        return Asked(model, " ".join(words) or None)  # 1
    first, *others = words
    if others:
        return Asked(first, " ".join(others))  # 2
    if is_model(first):
        return Asked(first, None)  # 3
    if looks_like_name(first) and (nearest := near(first)):
        raise ModelNotFound(first, nearest=nearest)
    return Asked(None, first)


def looks_like_name(word: str) -> bool:
    """`qwen2.5-codr:7b` does, `hello` and `fix this` do not."""
    return re.fullmatch(r"[\w.:/-]+", word) is not None and re.search(r"[0-9:/]", word) is not None


def joined_prompt(piped: str, prompt: str | None) -> str:
    """What came on standard input, then the prompt: a question stands best behind its material."""
    return "\n\n".join(part for part in (piped.strip("\n"), prompt or "") if part.strip())


@dataclass(frozen=True)
class Place:
    """A place in a file; line and column count from 1, None is the end of the file or line."""

    file: str
    line: int | None = None
    column: int | None = None


def place_in(text: str, *, exists: Callable[[str], bool]) -> Place:
    """`FILE`, `FILE:LINE` or `FILE:LINE:COL`; a file whose own name ends so comes first."""
    if exists(text):
        return Place(text)
    found = re.fullmatch(r"(.+?):(\d{1,9})(?::(\d{1,9}))?:?", text)
    if found is None:
        return Place(text)
    line, column = int(found[2]), int(found[3]) if found[3] else None
    if line < 1 or column == 0:
        raise InvalidRequest("Lines and columns are counted from 1.")
    return Place(found[1], line, column)


def split_at(text: str, place: Place) -> tuple[str, str]:
    """What stands before and after a place; raises InvalidRequest where it is not in the text."""
    if place.line is None:
        return text, ""
    lines = text.split("\n")  # as editors count: a form feed is no line end
    if place.line > len(lines):
        num_lines = len(lines) - (lines[-1] == "")
        raise InvalidRequest(f"'{place.file}' has {num_lines} lines; there is no {place.line}.")
    line = lines[place.line - 1].removesuffix("\r")
    column = len(line) if place.column is None else place.column - 1
    if column > len(line):
        raise InvalidRequest(
            f"Line {place.line} of '{place.file}' has {len(line)} characters; "
            f"the last column is {len(line) + 1}."
        )
    start = sum(len(before) + 1 for before in lines[: place.line - 1]) + column
    return text[:start], text[start:]
