"""From an engine's chunks to OpenAI's: pure shapes of streamed and whole answers.

Every answer is streamed from the engine, also one that the client wants whole: it can then be
stopped at any token, and both kinds are made of the same pieces.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from codehearth.errors import (
    ContextLengthExceeded,
    HearthError,
    InvalidRequest,
    Overloaded,
    Unsupported,
    UpstreamFailed,
)

# Not the role: llama.cpp leaves that chunk out where the first token is half a character, so the
# format sends one of its own.
_KEPT_IN_DELTA = ("content", "reasoning_content", "tool_calls", "refusal")


@dataclass(frozen=True, slots=True)
class Piece:
    """What one chunk of an engine says about one choice.

    `delta` is chat's delta, or `{"text": …}` of a completion. `logprobs` are chat-shaped token
    entries. `usage` comes once, at the end.
    """

    delta: Mapping[str, Any] = field(default_factory=dict)
    logprobs: Sequence[Mapping[str, Any]] | None = None
    finish_reason: str | None = None
    usage: Mapping[str, Any] | None = None

    @property
    def has_tokens(self) -> bool:
        return any(self.delta.get(name) for name in ("content", "text", "reasoning_content"))

    @property
    def is_empty(self) -> bool:
        return not self.delta and self.finish_reason is None and self.usage is None


def piece_of(chunk: Any) -> Piece:
    """An engine's chunk as a piece; raises what an error chunk says, or UpstreamFailed."""
    if not isinstance(chunk, dict):
        raise UpstreamFailed("The engine sent a chunk that is not an object.")
    if "error" in chunk:
        raise engine_error(chunk["error"])
    choices = chunk.get("choices") or [{}]
    choice = choices[0]
    if not isinstance(choice, dict):
        raise UpstreamFailed("The engine sent a choice that is not an object.")
    delta = choice.get("delta")
    if delta is None:
        delta = {"text": choice["text"]} if choice.get("text") else {}
    logprobs = choice.get("logprobs")
    return Piece(
        delta={name: delta[name] for name in _KEPT_IN_DELTA if delta.get(name) is not None}
        if "text" not in delta
        else delta,
        logprobs=logprobs.get("content") if isinstance(logprobs, dict) else None,
        finish_reason=choice.get("finish_reason"),
        usage=chunk.get("usage"),
    )


TIMED = {"timings_per_token": True}
"""What asks llama.cpp for the timings that `timed_piece` reads."""


def engine_error(error: Any) -> HearthError:
    """An engine's error object as ours."""
    details = error if isinstance(error, dict) else {"message": str(error)}
    message = str(details.get("message", "no reason given"))[:1000]
    kind, code = details.get("type"), details.get("code")
    if kind == "exceed_context_size_error":
        return ContextLengthExceeded(
            num_prompt_tokens=int(details.get("n_prompt_tokens") or 0),
            num_context_tokens=int(details.get("n_ctx") or 0),
        )
    if kind == "not_supported_error" or code == 501:
        return Unsupported(f"The model's engine does not do this: {message}.")
    if kind == "invalid_request_error" or code in (400, 404, 413, 415, 422):
        return InvalidRequest(f"The model's engine refused the request: {message}.")
    if kind == "unavailable_error" or code in (429, 503):
        return Overloaded(f"The model's engine is not ready: {message}.")
    return UpstreamFailed(f"The model's engine failed: {message}.")


class AnswerFormat(Protocol):
    """How pieces look to the client: one format for chat, one for completions."""

    def opening(self, index: int) -> dict[str, Any] | None:
        """The chunk that begins a choice, where the format has one."""
        ...

    def chunk(self, index: int, piece: Piece) -> dict[str, Any]: ...

    def usage_chunk(self, usage: Mapping[str, Any]) -> dict[str, Any]: ...

    def whole(self, choices: Sequence[Sequence[Piece]], usage: Mapping[str, Any]) -> dict[str, Any]:
        """The whole answer from each choice's pieces."""
        ...


@dataclass
class ChatFormat:
    """`chat.completion` and its chunks. `num_top` is how many alternatives were asked for."""

    model: str
    num_top: int = 0
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def opening(self, index: int) -> dict[str, Any]:
        return self.chunk(index, Piece(delta={"role": "assistant", "content": ""}))

    def chunk(self, index: int, piece: Piece) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": index, "delta": piece.delta}
        if piece.logprobs is not None:
            choice["logprobs"] = {"content": self._logprobs(piece.logprobs)}
        choice["finish_reason"] = piece.finish_reason
        return self._head("chat.completion.chunk") | {"choices": [choice]}

    def usage_chunk(self, usage: Mapping[str, Any]) -> dict[str, Any]:
        return self._head("chat.completion.chunk") | {"choices": [], "usage": usage}

    def whole(self, choices: Sequence[Sequence[Piece]], usage: Mapping[str, Any]) -> dict[str, Any]:
        made = [self._choice(index, pieces) for index, pieces in enumerate(choices)]
        return self._head("chat.completion") | {"choices": made, "usage": usage}

    def _choice(self, index: int, pieces: Sequence[Piece]) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": _joined(pieces, "content")}
        if reasoning := _joined(pieces, "reasoning_content"):
            message["reasoning_content"] = reasoning
        if calls := _joined_tool_calls(pieces):
            message["tool_calls"] = calls
            message["content"] = message["content"] or None
        tokens = [token for piece in pieces for token in piece.logprobs or ()]
        has_logprobs = any(piece.logprobs is not None for piece in pieces)
        return {
            "index": index,
            "message": message,
            "logprobs": {"content": self._logprobs(tokens)} if has_logprobs else None,
            "finish_reason": finish_reason_of(pieces),
        }

    def _logprobs(self, tokens: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [
            _token(token) | {"top_logprobs": [_token(top) for top in _top(token, self.num_top)]}
            for token in tokens
        ]

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


@dataclass
class CompletionFormat:
    """`text_completion`, whole and streamed; remembers each choice's place for `text_offset`."""

    model: str
    num_top: int = 0
    id: str = field(default_factory=lambda: f"cmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))
    _offsets: dict[int, int] = field(default_factory=dict)

    def opening(self, index: int) -> None:
        return None

    def chunk(self, index: int, piece: Piece) -> dict[str, Any]:
        return self._head() | {"choices": [self._choice(index, [piece])]}

    def usage_chunk(self, usage: Mapping[str, Any]) -> dict[str, Any]:
        return self._head() | {"choices": [], "usage": usage}

    def whole(self, choices: Sequence[Sequence[Piece]], usage: Mapping[str, Any]) -> dict[str, Any]:
        made = []
        for index, pieces in enumerate(choices):
            choice = self._choice(index, pieces)
            made.append(choice | {"finish_reason": finish_reason_of(pieces)})
        return self._head() | {"choices": made, "usage": usage}

    def _choice(self, index: int, pieces: Sequence[Piece]) -> dict[str, Any]:
        text = _joined(pieces, "text")
        tokens = [token for piece in pieces for token in piece.logprobs or ()]
        logprobs = self._logprobs(index, tokens) if tokens else None
        self._offsets[index] = self._offsets.get(index, 0) + len(text)
        finish_reason = pieces[-1].finish_reason if pieces else None
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}

    def _logprobs(self, index: int, tokens: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The legacy shape: parallel lists, and for each token a map of its alternatives."""
        offset, offsets = self._offsets.get(index, 0), []
        for token in tokens:
            offsets.append(offset)
            offset += len(token.get("token", ""))
        tops = [
            {top["token"]: top["logprob"] for top in _top(token, self.num_top)} for token in tokens
        ]
        return {
            "tokens": [token["token"] for token in tokens],
            "token_logprobs": [token["logprob"] for token in tokens],
            "top_logprobs": tops if self.num_top else None,
            "text_offset": offsets,
        }

    def _head(self) -> dict[str, Any]:
        kind = "text_completion"
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def timed_piece(chunk: Any) -> Piece:
    """A chunk with llama.cpp's timings, so that a count is there also where we stop the engine."""
    piece = piece_of(chunk)
    timings = chunk.get("timings")
    if not isinstance(timings, dict):
        return piece
    cached, read = int(timings.get("cache_n") or 0), int(timings.get("prompt_n") or 0)
    usage = {
        "prompt_tokens": cached + read,
        "completion_tokens": int(timings.get("predicted_n") or 0),
        "prompt_tokens_details": {"cached_tokens": cached},
    }
    return replace(piece, usage=usage | dict(piece.usage or {}) | {"timings": timings})


def text_of(pieces: Sequence[Piece]) -> str:
    return _joined(pieces, "text")


def _joined(pieces: Sequence[Piece], name: str) -> str:
    return "".join(piece.delta.get(name) or "" for piece in pieces)


def _joined_tool_calls(pieces: Sequence[Piece]) -> list[dict[str, Any]]:
    """Tool calls come in parts: the first has id and name, the others more of the arguments."""
    calls: dict[int, dict[str, Any]] = {}
    for piece in pieces:
        for part in piece.delta.get("tool_calls") or ():
            function = part.get("function") or {}
            call = calls.setdefault(
                part.get("index", 0),
                {"id": "", "type": "function", "function": {"name": "", "arguments": ""}},
            )
            call["id"] = part.get("id") or call["id"]
            call["function"]["name"] += function.get("name") or ""
            call["function"]["arguments"] += function.get("arguments") or ""
    return [calls[index] for index in sorted(calls)]


def finish_reason_of(pieces: Sequence[Piece]) -> str:
    """Why the engine ended; "stop" where it did not say."""
    return next((p.finish_reason for p in reversed(pieces) if p.finish_reason), "stop")


def _token(token: Mapping[str, Any]) -> dict[str, Any]:
    return {name: token.get(name) for name in ("token", "logprob", "bytes")}


def _top(token: Mapping[str, Any], count: int) -> Sequence[Mapping[str, Any]]:
    return (token.get("top_logprobs") or ())[:count]
