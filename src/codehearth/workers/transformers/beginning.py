"""A text that an answer must begin with, written by the model in tokens of its own choice.

The text before a cursor often ends inside a token: in the blank before a word, or in the word. What
follows such an end is unlikely text, often none. So that end is taken off the prompt, and the model
is made to write it again, with whatever its token holds beyond it.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Any

from .transcript import Pieces


class TokenBytes:
    """All tokens of a vocabulary that stand for text, by their bytes."""

    def __init__(self, tokenizer: Any, vocabulary_size: int) -> None:
        """`vocabulary_size` is the model's: a tokenizer may know more tokens than it does."""
        pieces, special = Pieces(tokenizer), set(tokenizer.all_special_ids)
        special |= set(tokenizer.get_added_vocab().values())
        found = (
            (bytes(pieces.of(one)[1]), one) for one in range(min(len(tokenizer), vocabulary_size))
        )
        self._sorted = sorted((raw, one) for raw, one in found if raw and one not in special)
        self._bytes = {one: raw for raw, one in self._sorted}

    def of(self, token: int) -> bytes:
        """Empty for a token without text."""
        return self._bytes.get(token, b"")

    def going_on(self, rest: bytes) -> Sequence[int]:
        """Those that may come next where `rest` must be written: its beginnings, and what begins
        with it."""
        beginnings = [
            token
            for length in range(1, len(rest))
            for token in self._between(rest[:length], rest[:length] + b"\0")
        ]
        # No UTF-8 holds the byte 255, so what begins with `rest` is less than this.
        return [*beginnings, *self._between(rest, rest + b"\xff")]

    def _between(self, low: bytes, high: bytes) -> list[int]:
        first = bisect.bisect_left(self._sorted, (low, -1))
        last = bisect.bisect_left(self._sorted, (high, -1))
        return [token for _, token in self._sorted[first:last]]


class Beginning:
    """What of a beginning is still to be written."""

    def __init__(self, text: str, tokens: TokenBytes) -> None:
        self._rest = text.encode()
        self._tokens = tokens

    def __bool__(self) -> bool:
        return bool(self._rest)

    def allowed(self) -> Sequence[int]:
        """Empty where no token goes on: then the model is left alone."""
        return self._tokens.going_on(self._rest)

    def took(self, token: int) -> None:
        written = self._tokens.of(token)
        self._rest = self._rest[len(written) :] if self._rest.startswith(written) else b""
