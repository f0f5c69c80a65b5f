"""From the bytes of an engine's stream to pieces, at the least cost for a chunk.

Nearly all chunks of an answer are the same JSON but for their text. So the first of them is parsed
and taken for a pattern; those that fit it to the byte need no parser any more (0.7 µs instead of
8). Whatever does not fit goes the long way: `read_slowly` says what a chunk means.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from codehearth.errors import HearthError, UpstreamFailed
from codehearth.gateway.engine.chunks import Piece, engine_error, piece_of
from codehearth.wire.sse import Event, EventReader

# What stands between the quotes of a JSON string, without escapes of surrogates: they need their
# other half to mean anything.
_STRING = rb'(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u(?![dD][89a-fA-F])[0-9a-fA-F]{4}))*+'
_is_string = re.compile(_STRING).fullmatch
_find_text = re.compile(rb'"(?:content|text)":\s*"(' + _STRING + rb')"').search
_PROBE = "\x01 probe"
_PROBE_BYTES = rb"\u0001 probe"


Meaning = Callable[[Any], Piece]
"""What a parsed chunk says; a route may read more of it than its text."""


@dataclass(frozen=True, slots=True)
class Received:
    """What some bytes held. `has_events` is false for comments and for parts of an event.

    `failure` is what the engine said after the pieces, which are the answer's all the same.
    """

    pieces: list[Piece]
    is_done: bool
    has_events: bool
    failure: HearthError | None = None


@dataclass(frozen=True, slots=True)
class Pattern:
    """An event that is the same in all chunks but for its text: what is before and after it."""

    head: bytes
    tail: bytes
    name: str

    @classmethod
    def of(cls, event: Event, piece: Piece, meaning: Meaning) -> Pattern | None:
        """The pattern of an event that means `piece`; None where its text cannot be told apart."""
        name = plain_name(piece)
        found = _find_text(event.data) if name and not event.name else None
        if name is None or found is None:
            return None
        before, after = event.data[: found.start(1)], event.data[found.end(1) :]
        probe = Event("", before + _PROBE_BYTES + after)
        if read_slowly(probe, meaning) != Piece(delta={name: _PROBE}):
            return None
        return cls(b"data: " + before, after + b"\n\n", name)

    def texts(self, received: bytes) -> tuple[list[bytes], int]:
        """The still escaped texts of the events that fit at the beginning, and where they end."""
        texts: list[bytes] = []
        end = 0
        while received.startswith(self.head, end):
            start = end + len(self.head)
            stop = received.find(self.tail, start)
            if stop < 0 or not _is_string(text := received[start:stop]):
                break
            texts.append(text)
            end = stop + len(self.tail)
        return texts, end


@dataclass
class ChunkReader:
    """Puts an engine's stream together; pieces of nothing but text that came together are one."""

    meaning: Meaning = piece_of
    _events: EventReader = field(default_factory=EventReader)
    _pattern: Pattern | None = None

    def feed(self, received: bytes) -> Received:
        """What the bytes say, up to the end or to the first event that fails."""
        pieces: list[Piece] = []
        has_events = False
        if self._pattern is not None and self._events.is_between_events:
            texts, end = self._pattern.texts(received)
            if texts:
                has_events, received = True, received[end:]
                pieces.append(Piece(delta={self._pattern.name: _joined(texts)}))
        if not received:
            return Received(pieces, False, has_events)
        for event in self._events.feed(received):
            has_events = True
            if event.data == b"[DONE]":
                return Received(_merged(pieces), True, has_events)
            try:
                piece = read_slowly(event, self.meaning)
            except HearthError as failure:
                return Received(_merged(pieces), False, has_events, failure)
            if not piece.is_empty:
                self._pattern = Pattern.of(event, piece, self.meaning) or self._pattern
                pieces.append(piece)
        return Received(_merged(pieces), False, has_events)


def read_slowly(event: Event, meaning: Meaning = piece_of) -> Piece:
    """What one event means; raises what an error event says, and UpstreamFailed for no JSON."""
    try:
        chunk = from_json(event.data)
    except ValueError as error:
        raise UpstreamFailed("The engine sent a chunk that is not JSON.") from error
    if event.name == "error" and isinstance(chunk, dict):
        raise engine_error(chunk.get("error", chunk))
    return meaning(chunk)


def plain_name(piece: Piece) -> str | None:
    """`content` or `text` where the piece holds that and nothing else."""
    if len(piece.delta) != 1 or piece.logprobs is not None:
        return None
    if piece.finish_reason is not None or piece.usage is not None:
        return None
    (name,) = piece.delta
    return name if name in ("content", "text") else None


def _joined(texts: Iterable[bytes]) -> str:
    """Unescaped; raises UpstreamFailed where one is not UTF-8, as the long way would."""
    try:
        return "".join(
            from_json(b'"' + text + b'"') if b"\\" in text else text.decode() for text in texts
        )
    except ValueError as error:
        raise UpstreamFailed("The engine sent a chunk that is not JSON.") from error


def _merged(pieces: list[Piece]) -> list[Piece]:
    """Neighbours of nothing but text as one: a client gets them in one go anyway."""
    if len(pieces) < 2:
        return pieces
    merged: list[Piece] = []
    name_before: str | None = None
    for piece in pieces:
        name = plain_name(piece)
        if name is not None and name == name_before:
            piece = Piece(delta={name: merged.pop().delta[name] + piece.delta[name]})
        merged.append(piece)
        name_before = name
    return merged
