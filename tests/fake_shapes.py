"""The JSON that llama-server answers with, as docs/engine-notes.md found it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

CREATED = 1_700_000_000
NUM_PROMPT_TOKENS = 7

Json = dict[str, Any]


def words(text: str, num_tokens: int) -> list[str]:
    """The tokens an answer consists of: the words of `text`, over and over, each with a space."""
    vocabulary = text.split() or ["token"]
    return [vocabulary[i % len(vocabulary)] + " " for i in range(num_tokens)]


def error(status: int, message: str, kind: str = "server_error", **more: int) -> tuple[int, Json]:
    return status, {"error": {"code": status, "message": message, "type": kind, **more}}


def context_error(num_prompt_tokens: int, num_context_tokens: int) -> tuple[int, Json]:
    return error(
        400,
        f"request ({num_prompt_tokens} tokens) exceeds the available context size "
        f"({num_context_tokens} tokens), try increasing it",
        "exceed_context_size_error",
        n_prompt_tokens=num_prompt_tokens,
        n_ctx=num_context_tokens,
    )


def usage(num_tokens: int) -> Json:
    return {
        "completion_tokens": num_tokens,
        "prompt_tokens": NUM_PROMPT_TOKENS,
        "total_tokens": NUM_PROMPT_TOKENS + num_tokens,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def timings(num_tokens: int) -> Json:
    return {
        "cache_n": 0,
        "prompt_n": NUM_PROMPT_TOKENS,
        "prompt_ms": 7.0,
        "prompt_per_second": 1000.0,
        "predicted_n": num_tokens,
        "predicted_ms": 10.0 * num_tokens,
        "predicted_per_second": 100.0,
    }


def whole(path: str, alias: str, text: str, num_tokens: int, asked: Json) -> Json:
    """A finished answer of the route at `path`."""
    if path == "/v1/embeddings":
        return _embeddings(alias, asked)
    choice: Json = {"index": 0, "finish_reason": "length"}
    if path == "/v1/chat/completions":
        choice["message"] = {"role": "assistant", "content": text}
    else:
        choice |= {"text": text, "logprobs": None}
    more = {"usage": usage(num_tokens), "timings": timings(num_tokens)}
    return _base(path, alias, is_chunk=False) | {"choices": [choice]} | more


def first_frames(path: str, alias: str) -> Iterator[str]:
    """What a stream says before the first token."""
    if path == "/v1/chat/completions":
        yield _data(_chunk(path, alias, {"delta": {"role": "assistant", "content": None}}))


def forced_text(asked: Json) -> str:
    """What a grammar of the form `root ::= "text" …` makes the answer begin with."""
    rule = str(asked.get("grammar", "")).partition("root ::= ")[2]
    return str(json.JSONDecoder().raw_decode(rule)[0]) if rule.startswith('"') else ""


def token_frame(path: str, alias: str, token: str, num_tokens: int, asked: Json) -> str:
    if path == "/v1/chat/completions":
        return _data(_chunk(path, alias, {"delta": {"content": token}}))
    frame = _chunk(path, alias, {"text": token, "logprobs": None})
    more = {"timings": timings(num_tokens)} if asked.get("timings_per_token") else {}
    return _data(frame | more)


def last_frames(path: str, alias: str, text: str, num_tokens: int, asked: Json) -> Iterator[str]:
    """How a stream ends, `[DONE]` apart."""
    if path == "/v1/chat/completions":
        frame = _chunk(path, alias, {"delta": {}}, finish_reason="length")
        if not (asked.get("stream_options") or {}).get("include_usage"):
            yield _data(frame | {"timings": timings(num_tokens)})
            return
        yield _data(frame)
        totals: Json = {"usage": usage(num_tokens), "timings": timings(num_tokens)}
        yield _data(frame | {"choices": []} | totals)
    else:
        frame = _chunk(path, alias, {"text": "", "logprobs": None}, finish_reason="length")
        yield _data(frame | {"usage": usage(num_tokens), "timings": timings(num_tokens)})


def _base(path: str, alias: str, *, is_chunk: bool) -> Json:
    is_chat = path == "/v1/chat/completions"
    kind = "chat.completion" + (".chunk" if is_chunk else "") if is_chat else "text_completion"
    return {"id": "chatcmpl-fake", "object": kind, "created": CREATED, "model": alias}


def _chunk(path: str, alias: str, part: Json, *, finish_reason: str | None = None) -> Json:
    choice = {"index": 0, "finish_reason": finish_reason, **part}
    return _base(path, alias, is_chunk=True) | {"choices": [choice]}


def _data(frame: Json) -> str:
    return "data: " + json.dumps(frame, ensure_ascii=False)


def _embeddings(alias: str, asked: Json) -> Json:
    inputs = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
    data = [
        {"object": "embedding", "index": index, "embedding": [0.5, -0.5, 0.25]}
        for index in range(len(inputs))
    ]
    counted = {"prompt_tokens": NUM_PROMPT_TOKENS, "total_tokens": NUM_PROMPT_TOKENS}
    return {"object": "list", "model": alias, "data": data, "usage": counted}
