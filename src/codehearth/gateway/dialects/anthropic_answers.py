"""What `/v1/messages` answers: Anthropic's events, or one message. Pure.

A message is blocks: thinking, text and uses of tools, in the order in which they are written. Each
begins and ends with an event of its own. Source: Anthropic's description of streamed messages.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from codehearth.errors import HearthError, UpstreamFailed
from codehearth.gateway.answering import Usage
from codehearth.gateway.engine.chunks import ChatFormat, Piece, finish_reason_of
from codehearth.gateway.engine.usage import num_cached_tokens, num_prompt_tokens
from codehearth.gateway.replies import anthropic_error_body
from codehearth.gateway.streams import EVENT_STREAM
from codehearth.wire.bounded_json import dump_json
from codehearth.wire.sse import frame

_REASONS = {"length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_Place = tuple[str, int]
"""Which block a part of an answer belongs to: its type, and which call of a tool."""


@dataclass
class MessageDialect:
    """One answer. `input_tokens` leaves out those that were read from the cache, as Anthropic's."""

    model: str
    content_type: str = EVENT_STREAM
    _id: str = field(default_factory=lambda: f"msg_{secrets.token_hex(12)}")
    _has_begun: bool = False
    _num_blocks: int = 0
    _open: _Place | None = None
    _stop_reason: str = "end_turn"

    def opening(self, index: int) -> bytes:
        return b""

    def piece(self, index: int, piece: Piece) -> bytes:
        return b"".join(map(_framed, self._events_of(piece)))

    def closing(self, usages: Sequence[Usage]) -> bytes:
        return b"".join(map(_framed, self._last_events(usages[0])))

    def whole(self, choices: Sequence[Sequence[Piece]], usages: Sequence[Usage]) -> Any:
        said = ChatFormat(self.model).whole(choices, {})["choices"][0]["message"]
        reason = finish_reason_of(choices[0])
        content: list[dict[str, Any]] = []
        if thinking := said.get("reasoning_content"):
            content.append({"type": "thinking", "thinking": thinking, "signature": ""})
        if text := said.get("content"):
            content.append({"type": "text", "text": text})
        content += [
            _tool_use(call, is_cut=reason == "length") for call in said.get("tool_calls", ())
        ]
        has_calls = bool(said.get("tool_calls"))
        return self._message(usages[0]) | {
            "content": content or [{"type": "text", "text": ""}],
            "stop_reason": _stop_reason(reason, has_calls=has_calls),
        }

    def error(self, error: HearthError) -> bytes:
        return _framed(anthropic_error_body(error))

    def _events_of(self, piece: Piece) -> Iterator[dict[str, Any]]:
        if not self._has_begun:
            yield self._start(piece.usage or {})
        if thinking := piece.delta.get("reasoning_content"):
            yield from self._moved_to(("thinking", 0), {"thinking": "", "signature": ""})
            yield self._delta({"type": "thinking_delta", "thinking": thinking})
        if text := piece.delta.get("content"):
            yield from self._moved_to(("text", 0), {"text": ""})
            yield self._delta({"type": "text_delta", "text": text})
        for part in piece.delta.get("tool_calls") or ():
            yield from self._called(part)
        if piece.finish_reason:
            has_calls = self._open is not None and self._open[0] == "tool_use"
            self._stop_reason = _stop_reason(piece.finish_reason, has_calls=has_calls)

    def _called(self, part: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """A part of a call: the first has its id and name, the others more of the arguments."""
        function = part.get("function") or {}
        opening: dict[str, Any] = {
            "id": _call_id(part),
            "name": function.get("name") or "",
            "input": {},
        }
        yield from self._moved_to(("tool_use", int(part.get("index") or 0)), opening)
        if arguments := function.get("arguments"):
            yield self._delta({"type": "input_json_delta", "partial_json": arguments})

    def _moved_to(self, place: _Place, opening: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Ends the open block and begins the one at the place, unless it is that."""
        if self._open == place:
            return
        yield from self._ended()
        self._open = place
        block = {"type": place[0], **opening}
        yield {"type": "content_block_start", "index": self._num_blocks, "content_block": block}

    def _ended(self) -> Iterator[dict[str, Any]]:
        if self._open is None:
            return
        if self._open[0] == "thinking":
            yield self._delta({"type": "signature_delta", "signature": ""})
        yield {"type": "content_block_stop", "index": self._num_blocks}
        self._open = None
        self._num_blocks += 1

    def _delta(self, delta: Mapping[str, Any]) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": self._num_blocks, "delta": delta}

    def _start(self, usage: Usage) -> dict[str, Any]:
        self._has_begun = True
        message = self._message(usage) | {"content": [], "stop_reason": None}
        message["usage"] |= {"output_tokens": 0}
        return {"type": "message_start", "message": message}

    def _last_events(self, usage: Usage) -> Iterator[dict[str, Any]]:
        if not self._has_begun:
            yield self._start(usage)
        if not self._num_blocks and self._open is None:
            yield from self._moved_to(("text", 0), {"text": ""})
        yield from self._ended()
        delta = {"stop_reason": self._stop_reason, "stop_sequence": None}
        yield {"type": "message_delta", "delta": delta, "usage": _usage(usage)}
        yield {"type": "message_stop"}

    def _message(self, usage: Usage) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _usage(usage),
        }


def _framed(event: Mapping[str, Any]) -> bytes:
    return frame(dump_json(event), name=event["type"])


def _usage(usage: Usage) -> dict[str, int]:
    cached = num_cached_tokens(usage)
    return {
        "input_tokens": max(0, num_prompt_tokens(usage) - cached),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": int(usage.get("completion_tokens") or 0),
    }


def _stop_reason(finish_reason: str, *, has_calls: bool) -> str:
    """Some engines end a call of a tool as they end a text."""
    if has_calls and finish_reason == "stop":
        return "tool_use"
    return _REASONS.get(finish_reason, "end_turn")


def _call_id(part: Mapping[str, Any]) -> str:
    return part.get("id") or f"toolu_{secrets.token_hex(12)}"


def _tool_use(call: Mapping[str, Any], *, is_cut: bool) -> dict[str, Any]:
    function = call["function"]
    try:
        asked = from_json(function["arguments"] or "{}")
    except ValueError as error:
        if not is_cut:
            raise UpstreamFailed("The engine's tool call is not JSON.") from error
        asked = {}
    return {"type": "tool_use", "id": _call_id(call), "name": function["name"], "input": asked}
