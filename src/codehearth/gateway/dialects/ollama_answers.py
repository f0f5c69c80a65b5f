"""What Ollama's routes answer: one JSON object a line, or one alone."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic_core import from_json

from codehearth.errors import HearthError
from codehearth.gateway.answering import Usage
from codehearth.gateway.dialects.ollama_names import rfc3339
from codehearth.gateway.engine.chunks import ChatFormat, Piece, finish_reason_of
from codehearth.gateway.replies import ollama_error_body
from codehearth.wire.bounded_json import dump_json

_NANOSECONDS = 10**9
_MILLISECOND = 10**6


@dataclass
class OllamaDialect:
    """One object a line; the last has `done`, counts, and durations in nanoseconds."""

    model: str
    kind: Literal["generate", "chat"]
    content_type: str = "application/x-ndjson"
    began_at: float = field(default_factory=time.monotonic)
    _finish_reason: str = "stop"
    _tool_pieces: list[Piece] = field(default_factory=list)

    def opening(self, index: int) -> bytes:
        return b""

    def piece(self, index: int, piece: Piece) -> bytes:
        """Tool calls come in parts and are sent whole, in the line before the last."""
        if piece.delta.get("tool_calls"):
            self._tool_pieces.append(piece)
        lines = []
        if text_of_any(piece) or piece.delta.get("reasoning_content"):
            lines.append(self._head() | self._said([piece]) | {"done": False})
        if piece.finish_reason and self._tool_pieces:
            lines.append(self._head() | self._said(self._tool_pieces) | {"done": False})
        if piece.finish_reason:
            self._finish_reason = piece.finish_reason
        return b"".join(dump_json(line) + b"\n" for line in lines)

    def closing(self, usages: Sequence[Usage]) -> bytes:
        reason = "length" if self._finish_reason == "length" else "stop"
        return dump_json(self.last([], usages[0], done_reason=reason)) + b"\n"

    def whole(self, choices: Sequence[Sequence[Piece]], usages: Sequence[Usage]) -> Any:
        reason = "length" if finish_reason_of(choices[0]) == "length" else "stop"
        return self.last(choices[0], usages[0], done_reason=reason)

    def error(self, error: HearthError) -> bytes:
        return dump_json(ollama_error_body(error)) + b"\n"

    def last(self, pieces: Sequence[Piece], usage: Usage, *, done_reason: str) -> dict[str, Any]:
        told = usage.get("timings") or {}
        total_ns = int((time.monotonic() - self.began_at) * _NANOSECONDS)
        reading_ns = int(float(told.get("prompt_ms") or 0.0) * _MILLISECOND)
        writing_ns = int(float(told.get("predicted_ms") or 0.0) * _MILLISECOND)
        return (
            self._head()
            | self._said(pieces)
            | {
                "done": True,
                "done_reason": done_reason,
                "total_duration": total_ns,
                "load_duration": max(0, total_ns - reading_ns - writing_ns),
                "prompt_eval_count": int(usage.get("prompt_tokens", 0)),
                "prompt_eval_duration": reading_ns,
                "eval_count": int(usage.get("completion_tokens", 0)),
                "eval_duration": writing_ns,
            }
        )

    def _head(self) -> dict[str, Any]:
        return {"model": self.model, "created_at": rfc3339(time.time())}

    def _said(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        message = ChatFormat(self.model).whole([pieces], {})["choices"][0]["message"]
        text = "".join(text_of_any(piece) for piece in pieces)
        thinking = {"thinking": r} if (r := message.get("reasoning_content")) else {}
        if self.kind == "generate":
            return {"response": text, **thinking}
        said: dict[str, Any] = {"role": "assistant", "content": text, **thinking}
        if calls := message.get("tool_calls"):
            said["tool_calls"] = [_tool_call(call) for call in calls]
        return {"message": said}


def text_of_any(piece: Piece) -> str:
    """The text of a completion's piece or of a chat's."""
    return str(piece.delta.get("text") or piece.delta.get("content") or "")


def _tool_call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    try:
        arguments = from_json(function["arguments"] or "{}")
    except ValueError:  # cut by the limit of tokens
        arguments = {}
    return {"function": {"name": function["name"], "arguments": arguments}}
