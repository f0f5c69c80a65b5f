"""Suggestions remembered for a while, so that who types along one needs no engine for the rest.

Bounded in entries, bytes and age. An entry is found only by the owner that it was made for, and
only by a request that asks for the same: model, suffix, sampling, length, where to end.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b

MAX_ENTRIES = 1024
MAX_BYTES = 8 * 2**20
MAX_AGE_S = 600.0
_MAX_EACH = 16  # places remembered for one question: as many as one line has words


@dataclass(frozen=True)
class Remembered:
    """A finished suggestion: which prefix it followed (by length and digest), and what it was."""

    prefix_length: int
    prefix_digest: bytes
    text: str
    finish_reason: str
    made_at: float


@dataclass(frozen=True)
class Rest:
    """What is left of a remembered suggestion after what has been typed of it."""

    text: str
    finish_reason: str


class Recall:
    """The suggestions of one server, by question."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._by_question: OrderedDict[bytes, list[Remembered]] = OrderedDict()
        self._num_entries = 0
        self._num_bytes = 0
        self._clock = clock

    def remember(self, question: bytes, prefix: str, text: str, finish_reason: str) -> None:
        if len(text) > MAX_BYTES // 8:
            return
        entry = Remembered(len(prefix), _digest(prefix), text, finish_reason, self._clock())
        entries = self._by_question.setdefault(question, [])
        entries.insert(0, entry)
        self._count(entry, 1)
        for old in entries[_MAX_EACH:]:
            self._count(old, -1)
        del entries[_MAX_EACH:]
        self._by_question.move_to_end(question)
        while self._num_entries > MAX_ENTRIES or self._num_bytes > MAX_BYTES:
            _, dropped = self._by_question.popitem(last=False)
            for old in dropped:
                self._count(old, -1)

    def rest(self, question: bytes, prefix: str, *, may_repeat: bool) -> Rest | None:
        """What follows `prefix` in a suggestion that it types along; None where there is none.

        `may_repeat` also gives a whole suggestion to who asks the very same again. Of a suggestion
        that was cut for its length, at most the first half is typed along: then a new one is due.
        """
        newest = self._clock() - MAX_AGE_S
        for entry in self._by_question.get(question, ()):
            num_typed = len(prefix) - entry.prefix_length
            if entry.made_at < newest or num_typed < (0 if may_repeat else 1):
                continue
            rest = entry.text[num_typed:]
            if not rest.strip() and (num_typed or entry.finish_reason != "stop"):
                continue
            if entry.finish_reason != "stop" and num_typed > len(entry.text) // 2:
                continue
            if not entry.text.startswith(prefix[entry.prefix_length :]):
                continue
            if _digest(prefix[: entry.prefix_length]) == entry.prefix_digest:
                self._by_question.move_to_end(question)
                return Rest(rest, entry.finish_reason)
        return None

    def _count(self, entry: Remembered, sign: int) -> None:
        self._num_entries += sign
        self._num_bytes += sign * (4 * len(entry.text) + 200)


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
