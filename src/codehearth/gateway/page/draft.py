"""One answer of a conversation while it is being written.

The engine's pieces come in here, and whoever watches reads them from here: so a watcher may leave,
come back or never have been there. What an answer looks like at any moment is `message`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from codehearth.errors import HearthError
from codehearth.gateway.engine.chunks import Piece
from codehearth.gateway.replies import error_body
from codehearth.records.talk import Conversation, Message, State


@dataclass
class Figures:
    """Tokens and times of an answer. `before` are those of the part that it continues."""

    before: Mapping[str, Any] = field(default_factory=dict)
    began_at: float = field(default_factory=time.monotonic)
    context_max: int | None = None
    left_out_turns: int = 0
    finish_reason: str | None = None
    _first_at: float | None = None
    _last_at: float | None = None
    _num_pieces: int = 0
    _usage: Mapping[str, Any] = field(default_factory=dict)

    def take(self, piece: Piece, now: float) -> None:
        if piece.has_tokens:
            self._first_at = self._first_at or now
            self._last_at = now
            self._num_pieces += 1
        self.finish_reason = piece.finish_reason or self.finish_reason
        self._usage = piece.usage or self._usage

    def as_document(self, now: float) -> dict[str, Any]:
        """As it is kept. Tokens are counted by the engine at the end; before, pieces are."""
        made = int(self._usage.get("completion_tokens") or self._num_pieces)
        prompt = self._usage.get("prompt_tokens")
        before = self.before
        return {
            "prompt_tokens": before.get("prompt_tokens") or prompt,
            "completion_tokens": made + int(before.get("completion_tokens") or 0),
            "tokens_per_s": self._tokens_per_s(made, now) or before.get("tokens_per_s"),
            "first_token_s": before.get("first_token_s") or self._first_token_s(),
            "duration_s": round(now - self.began_at + (before.get("duration_s") or 0.0), 3),
            "context_used": before.get("context_used") if prompt is None else int(prompt) + made,
            "context_max": self.context_max,
            "left_out_turns": self.left_out_turns,
            "finish_reason": self.finish_reason,
        }

    def _tokens_per_s(self, made: int, now: float) -> float | None:
        """Between the first and the last token, without the wait before; of all the time where
        everything came at once."""
        if self._first_at is None or self._last_at is None:
            return None
        if self._last_at > self._first_at:
            return round((made - 1) / (self._last_at - self._first_at), 2)
        return round(made / max(now - self.began_at, 0.001), 2)

    def _first_token_s(self) -> float | None:
        return None if self._first_at is None else round(self._first_at - self.began_at, 3)


@dataclass(frozen=True)
class Delta:
    """What came since a watcher looked last."""

    content: str = ""
    reasoning: str = ""


class Draft:
    """An answer under way. `conversation` is how it was when the answer began."""

    def __init__(
        self,
        conversation: Conversation,
        message: Message,
        *,
        owner: str,
        user_message: Message | None = None,
    ) -> None:
        self.conversation = conversation
        self.owner = owner
        self.user_message = user_message
        self.figures = Figures(before=message.figures or {})
        self.is_over = False
        self.has_tokens = False
        self.num_watchers = 0
        self.unwatched_since = time.monotonic()
        self._begun_as = message
        self._pieces: list[tuple[str, str]] = []
        self._end: tuple[State, Mapping[str, Any] | None] = ("streaming", None)
        self._last: Message | None = None
        self._changed = asyncio.Event()

    @property
    def id(self) -> str:
        return self._begun_as.id

    @property
    def state(self) -> State:
        return self._end[0]

    def take(self, batch: Iterable[Piece]) -> None:
        now = time.monotonic()
        for piece in batch:
            self.figures.take(piece, now)
            for kind, name in (("content", "content"), ("reasoning", "reasoning_content")):
                if text := piece.delta.get(name):
                    self._pieces.append((kind, text))
                    self.has_tokens = True
        self._wake()

    def end_as(self, state: State, error: HearthError | None = None) -> None:
        """Says how it ended. Watchers are told by `is_saved`, when it is in the records."""
        self._end = (state, error_body(error)["error"] if error else None)

    def last(self) -> Message:
        """The answer as it ended, from now on unchanged."""
        self._last = self.message()
        return self._last

    def is_saved(self) -> None:
        self.is_over = True
        self._wake()

    def message(self) -> Message:
        """The answer as it is now."""
        if self._last is not None:
            return self._last
        state, error = self._end
        return replace(
            self._begun_as,
            content=self._begun_as.content + self._joined("content"),
            reasoning=self._begun_as.reasoning + self._joined("reasoning"),
            state=state,
            error=error,
            figures=self.figures.as_document(time.monotonic()),
            updated_at=time.time(),
        )

    @contextmanager
    def watched(self) -> Iterator[None]:
        self.num_watchers += 1
        try:
            yield
        finally:
            self.num_watchers -= 1
            self.unwatched_since = time.monotonic()

    @property
    def num_pieces(self) -> int:
        """How much `message` holds: where `deltas` goes on."""
        return len(self._pieces)

    async def deltas(self, seen: int, *, every_s: float) -> AsyncIterator[Delta]:
        """What comes after the first `seen` pieces; an empty one when nothing came for `every_s`.

        Ends when the answer is saved. A slow reader gets more at a time.
        """
        while True:
            changed = self._changed
            if seen < len(self._pieces):
                new, seen = self._pieces[seen:], len(self._pieces)
                yield Delta(_joined(new, "content"), _joined(new, "reasoning"))
            elif self.is_over:
                return
            elif not await _comes(changed, every_s):
                yield Delta()

    def _joined(self, kind: str) -> str:
        return _joined(self._pieces, kind)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


async def _comes(event: asyncio.Event, within_s: float) -> bool:
    """Not `asyncio.wait_for`: until Python 3.12 it may swallow the cancellation of a watcher that
    comes together with the event, and the watcher then never leaves."""
    try:
        async with asyncio.timeout(within_s):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _joined(pieces: Iterable[tuple[str, str]], wanted: str) -> str:
    return "".join(text for kind, text in pieces if kind == wanted)
