"""Between the house's wire and that of other servers that speak OpenAI's API. Pure.

The house asks as llama.cpp's server is asked (`gateway/engine/upstream.py`); here its fields become
those that other servers know, and their answers and refusals those that the house reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from codehearth.workers.transformers.asked import adapter_of
from codehearth.workers.transformers.listener import Refused, invalid, unsupported

# What OpenAI's servers take; what is only llama.cpp's stays here.
_PASSED = (
    "messages", "prompt", "max_tokens", "temperature", "top_p", "top_k", "min_p", "seed", "stop",
    "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "tools", "tool_choice",
    "parallel_tool_calls", "response_format",
)  # fmt: skip
_BOTH_NUMBERS = re.compile(r"(\d+) tokens\D.*?(\d+)", re.DOTALL)
_MAX_MESSAGE_CHARS = 500


def asked_of(body: bytes) -> dict[str, Any]:
    """A request's body; raises Refused where it is none, or asks for what only llama.cpp does."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid("the body is not JSON") from error
    if not isinstance(asked, dict):
        raise invalid("the body is not a JSON object")
    if asked.get("grammar"):
        raise unsupported("'grammar' is not passed on to another server; llama.cpp does it")
    return asked


def model_of(asked: Mapping[str, Any], alias: str, adapters: Sequence[str]) -> str:
    """What is asked by its place here is another server's model of its own. One adapter alone
    answers every request. Raises Refused."""
    place = adapter_of(asked, len(adapters))
    if place is None:
        return adapters[0] if len(adapters) == 1 else alias
    return adapters[place]


def passed_on(asked: Mapping[str, Any], *, is_chat: bool) -> dict[str, Any]:
    """The request in OpenAI's form, streamed; llama.cpp's own fields are turned or left out."""
    body = {name: asked[name] for name in _PASSED if asked.get(name) is not None}
    # Fields that OpenAI does not have are passed only where they say something.
    for name in ("top_k", "min_p"):
        if not body.get(name):
            body.pop(name, None)
    if asked.get("repeat_penalty") not in (None, 1, 1.0):
        body["repetition_penalty"] = asked["repeat_penalty"]
    if asked.get("logit_bias"):
        body["logit_bias"] = {str(token): bias for token, bias in asked["logit_bias"]}
    if is_chat and body.get("logprobs") is False:
        del body["logprobs"]
    return body | {"stream": True, "stream_options": {"include_usage": True}}


def with_chat_logprobs(chunk: Any) -> dict[str, Any]:
    """A chunk whose log-probabilities have chat's form, as the house's engines give them."""
    if not isinstance(chunk, dict):
        raise ValueError("a chunk that is no object")
    for choice in chunk.get("choices") or ():
        legacy = choice.get("logprobs")
        if isinstance(legacy, dict) and isinstance(legacy.get("tokens"), list):
            choice["logprobs"] = {"content": _entries(legacy)}
    return chunk


def _entries(legacy: Mapping[str, Any]) -> list[dict[str, Any]]:
    tokens = legacy["tokens"]
    logprobs = legacy.get("token_logprobs") or [None] * len(tokens)
    tops = legacy.get("top_logprobs") or [None] * len(tokens)
    return [
        _entry(token, logprob)
        | {"top_logprobs": [_entry(name, value) for name, value in (top or {}).items()]}
        for token, logprob, top in zip(tokens, logprobs, tops, strict=True)
    ]


def _entry(token: str, logprob: float | None) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}


def refusal_of(status: int, raw: bytes, who: str) -> Refused:
    """What the house is told where `who` answered with another status than 200."""
    try:
        error = json.loads(raw)
        error = error.get("error", error)
        message, code = str(error.get("message", "")), error.get("code")
    except (ValueError, AttributeError):
        message, code = raw[:200].decode("utf-8", "replace"), None
    if status == 429 or status >= 500:
        return Refused(503, f"{who}: {message[:_MAX_MESSAGE_CHARS]}", "unavailable_error")
    if status in (401, 403):
        return Refused(502, f"{who} refuses our key", "server_error")
    if status == 404:  # it lacks the model or the route, and no client of ours named either
        return Refused(502, f"{who}: {message[:_MAX_MESSAGE_CHARS]}", "server_error")
    numbers = _BOTH_NUMBERS.search(message)
    if numbers and (code == "context_length_exceeded" or "context length" in message):
        return Refused(
            400,
            message,
            "exceed_context_size_error",
            n_ctx=int(numbers[1]),
            n_prompt_tokens=int(numbers[2]),
        )
    return Refused(400, message[:_MAX_MESSAGE_CHARS], "invalid_request_error")
