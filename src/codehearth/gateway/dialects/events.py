"""Two APIs beside chat completions, as events: what engines leave out is put in, and the events of
one answer add up to the whole one. Pure.

Sources: Anthropic's description of streamed messages, OpenAI's of streamed responses, and what
llama.cpp really sends (docs/engine-notes.md).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic_core import from_json

from codehearth.errors import UpstreamFailed

Said = dict[str, Any]


class EventDialect(Protocol):
    """One answer of one API; it sees each event once, in order."""

    def mended(self, event: Said) -> Iterator[Said]:
        """The event as the API describes it, after others that the engine left out."""
        ...

    def is_last(self, event: Said) -> bool: ...

    def whole(self) -> Said:
        """The whole answer, once the last event was seen."""
        ...


@dataclass
class MessageEvents:
    """Anthropic's Messages: a start, blocks with their deltas, and an end with the usage."""

    _id: str = field(default_factory=lambda: f"msg_{secrets.token_hex(12)}")
    _message: Said = field(default_factory=dict)
    _blocks: dict[int, Said] = field(default_factory=dict)

    def mended(self, event: Said) -> Iterator[Said]:
        if event["type"] == "message_start":
            event = event | {"message": event.get("message", {}) | {"id": self._id}}
        elif not self._message:
            # llama.cpp leaves the start out where the first token is half a character.
            yield self._take({"type": "message_start", "message": self._empty_message()})
        yield self._take(event)

    def is_last(self, event: Said) -> bool:
        return bool(event["type"] == "message_stop")

    def whole(self) -> Said:
        content = [_finished_block(self._blocks[index]) for index in sorted(self._blocks)]
        return self._message | {"content": content}

    def _empty_message(self) -> Said:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "content": [],
            "model": "",
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }

    def _take(self, event: Said) -> Said:
        match event["type"]:
            case "message_start":
                self._message = event["message"]
            case "content_block_start":
                self._blocks[event["index"]] = dict(event["content_block"])
            case "content_block_delta":
                _add_delta(self._blocks.setdefault(event["index"], {}), event["delta"])
            case "message_delta":
                usage = self._message.get("usage", {}) | event.get("usage", {})
                self._message = self._message | event["delta"] | {"usage": usage}
        return event


@dataclass
class ResponseEvents:
    """OpenAI's Responses: numbered events whose last one holds the whole response."""

    max_tokens: int | None = None
    _number: int = -1
    _output_index: int = -1
    _content_index: int = -1
    _whole: Said | None = None

    def mended(self, event: Said) -> Iterator[Said]:
        self._number += 1
        kind = event["type"]
        if kind == "response.output_item.added":
            self._output_index += 1
            self._content_index = -1
        elif kind == "response.content_part.added":
            self._content_index += 1
        if self.is_last(event):
            event = self._finished(event)
            self._whole = event["response"]
        yield self._places(kind) | event | {"sequence_number": self._number}

    def is_last(self, event: Said) -> bool:
        return event["type"] in ("response.completed", "response.incomplete", "response.failed")

    def whole(self) -> Said:
        if not isinstance(self._whole, dict):
            raise UpstreamFailed("The engine's response has no end.")
        return self._whole

    def _places(self, kind: str) -> Said:
        """Which item, and which part of it, an event is about."""
        if kind.startswith(("response.output_text.", "response.content_part.")):
            return {"output_index": self._output_index, "content_index": self._content_index}
        if kind.startswith(("response.output_item.", "response.function_call_arguments.")):
            return {"output_index": self._output_index}
        return {}

    def _finished(self, event: Said) -> Said:
        """llama.cpp calls an answer complete that the limit of tokens cut."""
        response = event.get("response")
        if not isinstance(response, dict):
            raise UpstreamFailed("The engine's response has no end.")
        used = int((response.get("usage") or {}).get("output_tokens") or 0)
        if self.max_tokens is None or used < self.max_tokens:
            return event
        details = {"reason": "max_output_tokens"}
        response = response | {"status": "incomplete", "incomplete_details": details}
        return event | {"type": "response.incomplete", "response": response}


def _add_delta(block: Said, delta: Mapping[str, Any]) -> None:
    for name in ("text", "thinking", "signature", "partial_json"):
        if name in delta:
            block[name] = block.get(name, "") + delta[name]


def _finished_block(block: Said) -> Said:
    """A tool's input comes as pieces of JSON text; the whole message holds it as an object."""
    if block.get("type") != "tool_use":
        return block
    text = block.pop("partial_json", "")
    try:
        return block | {"input": from_json(text) if text else {}}
    except ValueError as error:
        raise UpstreamFailed("The engine's tool call is not JSON.") from error
