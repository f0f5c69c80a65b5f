"""What `/v1/responses` answers: OpenAI's events, or one response. Pure.

A response is items: reasoning, a message and calls of functions, in the order in which they are
written. Every event is numbered and says which item it is about; the last holds the whole
response. Source: OpenAI's description of streamed responses.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from codehearth.errors import HearthError
from codehearth.gateway.answering import Usage
from codehearth.gateway.engine.chunks import Piece
from codehearth.gateway.engine.usage import num_cached_tokens, num_prompt_tokens
from codehearth.gateway.replies import error_body
from codehearth.gateway.streams import EVENT_STREAM
from codehearth.wire.bounded_json import dump_json
from codehearth.wire.responses import ResponsesRequest
from codehearth.wire.sse import frame

Said = dict[str, Any]
_Place = tuple[str, int]
"""Which item a part of an answer belongs to: its type, and which call of a function."""


@dataclass
class ResponseDialect:
    """One answer."""

    model: str
    asked: ResponsesRequest
    content_type: str = EVENT_STREAM
    _id: str = field(default_factory=lambda: f"resp_{secrets.token_hex(24)}")
    _created_at: int = field(default_factory=lambda: int(time.time()))
    _number: int = 0
    _has_begun: bool = False
    _items: list[Said] = field(default_factory=list)
    _open: _Place | None = None
    _is_cut: bool = False

    def opening(self, index: int) -> bytes:
        return self._framed(self._start())

    def piece(self, index: int, piece: Piece) -> bytes:
        return self._framed(self._events_of(piece))

    def closing(self, usages: Sequence[Usage]) -> bytes:
        return self._framed(self._last_events(usages[0]))

    def whole(self, choices: Sequence[Sequence[Piece]], usages: Sequence[Usage]) -> Any:
        for piece in choices[0]:
            for _ in self._events_of(piece):
                pass
        for _ in self._ended():
            pass
        return self._response(usages[0])

    def error(self, error: HearthError) -> bytes:
        told = error_body(error)["error"]
        names = ("code", "message", "param")
        return self._framed([{"type": "error"} | {name: told[name] for name in names}])

    def _framed(self, events: Iterator[Said] | Sequence[Said]) -> bytes:
        frames = []
        for event in events:
            numbered = event | {"sequence_number": self._number}
            self._number += 1
            frames.append(frame(dump_json(numbered), name=event["type"]))
        return b"".join(frames)

    def _start(self) -> Iterator[Said]:
        if self._has_begun:
            return
        self._has_begun = True
        response = self._response(None) | {"status": "in_progress"}
        yield {"type": "response.created", "response": response}
        yield {"type": "response.in_progress", "response": response}

    def _events_of(self, piece: Piece) -> Iterator[Said]:
        if thought := piece.delta.get("reasoning_content"):
            yield from self._written(("reasoning", 0), "reasoning_text", thought)
        if text := piece.delta.get("content"):
            yield from self._written(("message", 0), "output_text", text)
        for part in piece.delta.get("tool_calls") or ():
            yield from self._called(part)
        if piece.finish_reason == "length":
            self._is_cut = True

    def _written(self, place: _Place, kind: str, text: str) -> Iterator[Said]:
        yield from self._moved_to(place, {})
        self._item["content"][0]["text"] += text
        more: Said = {"logprobs": []} if kind == "output_text" else {}
        yield self._about_part(f"response.{kind}.delta") | {"delta": text} | more

    def _called(self, part: Mapping[str, Any]) -> Iterator[Said]:
        """A part of a call: the first has its id and name, the others more of the arguments."""
        function = part.get("function") or {}
        place = ("function_call", int(part.get("index") or 0))
        call_id = part.get("id") or f"call_{secrets.token_hex(12)}"
        yield from self._moved_to(place, {"call_id": call_id, "name": function.get("name") or ""})
        if arguments := function.get("arguments"):
            self._item["arguments"] += arguments
            yield self._about("response.function_call_arguments.delta") | {"delta": arguments}

    def _moved_to(self, place: _Place, more: Mapping[str, Any]) -> Iterator[Said]:
        """Ends the open item and begins the one at the place, unless it is that."""
        if self._open == place:
            return
        yield from self._ended()
        self._open = place
        self._items.append(_NEW[place[0]]() | dict(more))
        shown = self._item | ({"content": []} if "content" in self._item else {})
        yield self._about("response.output_item.added", item_id=False) | {"item": shown}
        if place[0] == "message":
            yield self._about_part("response.content_part.added") | {"part": _text_part("")}

    def _ended(self) -> Iterator[Said]:
        if self._open is None:
            return
        kind, item = self._open[0], self._item
        if kind == "function_call":
            done = {"name": item["name"], "arguments": item["arguments"]}
            yield self._about("response.function_call_arguments.done") | done
        elif kind == "reasoning":
            done = {"text": item["content"][0]["text"]}
            yield self._about_part("response.reasoning_text.done") | done
        else:
            text = item["content"][0]["text"]
            done = {"text": text, "logprobs": []}
            yield self._about_part("response.output_text.done") | done
            yield self._about_part("response.content_part.done") | {"part": _text_part(text)}
        item["status"] = "incomplete" if self._is_cut else "completed"
        yield self._about("response.output_item.done", item_id=False) | {"item": dict(item)}
        self._open = None

    def _last_events(self, usage: Usage) -> Iterator[Said]:
        yield from self._start()
        yield from self._ended()
        response = self._response(usage)
        yield {"type": f"response.{response['status']}", "response": response}

    @property
    def _item(self) -> Said:
        return self._items[-1]

    def _about(self, kind: str, *, item_id: bool = True) -> Said:
        said: Said = {"type": kind, "output_index": len(self._items) - 1}
        return said | ({"item_id": self._item["id"]} if item_id else {})

    def _about_part(self, kind: str) -> Said:
        return self._about(kind) | {"content_index": 0}

    def _response(self, usage: Usage | None) -> Said:
        """The response as it is; without usage it is not over."""
        asked = self.asked
        is_over = usage is not None
        status = "incomplete" if self._is_cut else "completed"
        details = {"reason": "max_output_tokens"} if self._is_cut else None
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created_at,
            "completed_at": int(time.time()) if is_over else None,
            "status": status,
            "error": None,
            "incomplete_details": details,
            "instructions": asked.instructions,
            "max_output_tokens": asked.max_output_tokens,
            "model": self.model,
            "output": [dict(item) for item in self._items] if is_over else [],
            "parallel_tool_calls": asked.parallel_tool_calls is not False,
            "previous_response_id": None,
            "store": False,
            "temperature": asked.temperature,
            "text": _as_given(asked.text) or {"format": {"type": "text"}},
            "tool_choice": _as_given(asked.tool_choice) or "auto",
            "tools": [_as_given(tool) for tool in asked.tools or ()],
            "top_p": asked.top_p,
            "truncation": "disabled",
            "usage": _usage(usage) if usage is not None else None,
            "metadata": {},
        }


def _as_given(shape: Any) -> Any:
    return (
        shape.model_dump(exclude_none=True, by_alias=True)
        if hasattr(shape, "model_dump")
        else shape
    )


def _new_message() -> Said:
    return {
        "type": "message",
        "id": f"msg_{secrets.token_hex(24)}",
        "role": "assistant",
        "status": "in_progress",
        "content": [_text_part("")],
    }


def _new_reasoning() -> Said:
    return {
        "type": "reasoning",
        "id": f"rs_{secrets.token_hex(24)}",
        "status": "in_progress",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": ""}],
    }


def _new_call() -> Said:
    return {
        "type": "function_call",
        "id": f"fc_{secrets.token_hex(24)}",
        "status": "in_progress",
        "arguments": "",
    }


_NEW = {"message": _new_message, "reasoning": _new_reasoning, "function_call": _new_call}


def _text_part(text: str) -> Said:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(usage: Usage) -> Said:
    read, written = num_prompt_tokens(usage), int(usage.get("completion_tokens") or 0)
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": num_cached_tokens(usage)},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + written,
    }
