"""Ollama's `/api/generate` and `/api/chat`: newline-delimited JSON, streamed unless told otherwise.

`/api/generate` is three things: a middle (with `suffix`, or with a templated prompt), the plain
continuation of a `raw` prompt, and a chat of one message. `template`, `context` and pictures are
refused; unknown options are ignored. An empty prompt or no message loads the model, with
`keep_alive: 0` it leaves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from codehearth.errors import Unsupported
from codehearth.gateway.answering import answer_order
from codehearth.gateway.auth import caller_of
from codehearth.gateway.body import read_request
from codehearth.gateway.chatting import answer_chat
from codehearth.gateway.dialects.ollama_answers import OllamaDialect
from codehearth.gateway.dialects.ollama_names import name_of
from codehearth.gateway.engine.chunks import TIMED, timed_piece
from codehearth.gateway.engine.generate import Choice, Order
from codehearth.gateway.engine.upstream import completion_body
from codehearth.gateway.house import house_of
from codehearth.gateway.infilling import fim
from codehearth.gateway.infilling.clients import client_of
from codehearth.gateway.infilling.infill import Infill
from codehearth.gateway.streams import Generation, Writer
from codehearth.pool.child import ModelFacts
from codehearth.text.fim import Fim, take_apart
from codehearth.wire.bounded_json import dump_json
from codehearth.wire.ollama import (
    Format,
    GenerateRequest,
    OllamaChatRequest,
    OllamaMessage,
    OllamaRequest,
    Options,
)
from codehearth.wire.requests import ChatRequest, CompletionRequest
from codehearth.wire.validation import validated

router = APIRouter()


@router.post("/api/generate")
async def generate(request: Request) -> Response:
    """Ollama's completion; with `suffix` the middle is filled in."""
    house, asked = house_of(request), await read_request(request, GenerateRequest)
    _refuse(asked)
    model = await name_of(house, asked.model)
    dialect = OllamaDialect(model, kind="generate")
    if not asked.prompt and not asked.suffix:
        return _moved(request, dialect, asked)
    middle = Fim(asked.prompt, asked.suffix) if asked.suffix else take_apart(asked.prompt)
    if middle is None and not asked.raw:
        return await answer_chat(request, _chat_of_prompt(asked), model, dialect)
    if asked.format:
        raise Unsupported(
            "'format' goes with a chat, not with 'suffix' or 'raw'.",
            param="format",
            hint="leave out 'format', or ask without 'suffix' and 'raw'",
        )
    if middle is None:
        return _continued(request, model, asked, dialect)
    infill = Infill(
        model=model,
        fim=middle,
        asked=_completion(asked),
        client=client_of(request),
        repository=asked.repository,
        needs_suffix=bool(asked.suffix),
        is_warm_up=asked.options.num_predict == 0,
        keep_alive_s=house.keep_alive_s(asked.keep_alive),
    )
    return fim.infilled(house, infill, dialect)


@router.post("/api/chat")
async def chat(request: Request) -> Response:
    """Ollama's chat, in JSON lines or whole."""
    house, asked = house_of(request), await read_request(request, OllamaChatRequest)
    model = await name_of(house, asked.model)
    dialect = OllamaDialect(model, kind="chat")
    if not asked.messages:
        return _moved(request, dialect, asked)
    body = {
        "messages": _messages(asked.messages),
        "tools": asked.tools or None,
        "response_format": _response_format(asked.format),
        **_sampling(asked.options),
        **_common(asked),
    }
    return await answer_chat(request, validated(ChatRequest, body), model, dialect)


def _continued(
    request: Request, model: str, asked: GenerateRequest, dialect: OllamaDialect
) -> Response:
    """A raw prompt, continued until the model ends or the context does."""
    house, sampling = house_of(request), _completion(asked)

    def body(facts: ModelFacts) -> Mapping[str, Any]:
        limit = sampling.max_tokens or facts.context_tokens
        limited = sampling.model_copy(update={"max_tokens": limit})
        return completion_body(limited, asked.prompt, facts, choice=0) | TIMED

    order = Order(
        model=model,
        choices=[Choice(0, "/v1/completions", body, read=timed_piece)],
        owner=caller_of(request).owner,
        keep_alive_s=house.keep_alive_s(asked.keep_alive),
    )
    work = partial(answer_order, house, order, dialect, is_streamed=asked.is_streamed)
    return Generation(work, on_gone=house.metrics.cancelled.inc)


def _moved(
    request: Request, dialect: OllamaDialect, asked: GenerateRequest | OllamaChatRequest
) -> Response:
    """Loads the model, or sends it away; both are answered when they are done."""
    house, owner, model = house_of(request), caller_of(request).owner, dialect.model
    keep_alive_s = house.keep_alive_s(asked.keep_alive)
    leaves = keep_alive_s == 0

    async def work(writer: Writer) -> None:
        if not leaves or await house.live(model) is not None:
            async with house.lease(model, owner=owner, keep_alive_s=keep_alive_s):
                pass
        last = dialect.last([], {}, done_reason="unload" if leaves else "load")
        body = dump_json(last)
        if asked.is_streamed:
            await writer.stream(body + b"\n", {"content-type": dialect.content_type})
            await writer.end()
        else:
            await writer.whole(body)

    return Generation(work, on_gone=house.metrics.cancelled.inc)


def _refuse(asked: GenerateRequest) -> None:
    """What would be ignored to the harm of the answer."""
    for name in ("template", "context", "images"):
        if getattr(asked, name):
            raise Unsupported(
                f"'{name}' is not taken here.",
                param=name,
                hint={
                    "template": "the model's own template is used; send 'raw': true for none",
                    "context": "this server keeps no conversations; use /api/chat",
                    "images": "this server takes text only",
                }[name],
            )


def _chat_of_prompt(asked: GenerateRequest) -> ChatRequest:
    system = [{"role": "system", "content": asked.system}] if asked.system else []
    body = {
        "messages": [*system, {"role": "user", "content": asked.prompt}],
        "response_format": _response_format(asked.format),
        **_sampling(asked.options),
        **_common(asked),
    }
    return validated(ChatRequest, body)


def _common(asked: OllamaRequest) -> dict[str, Any]:
    return {
        "stream": asked.is_streamed,
        "keep_alive": asked.keep_alive,
        "repository": asked.repository,
    }


def _completion(asked: GenerateRequest) -> CompletionRequest:
    options = _sampling(asked.options)
    return validated(CompletionRequest, options | {"stream": asked.is_streamed})


def _sampling(options: Options) -> dict[str, Any]:
    """Ollama's names of options as OpenAI's; chat makes at least one token."""
    return {
        "max_tokens": options.max_tokens or None,
        "temperature": options.temperature,
        "top_k": None if options.top_k is None else max(0, options.top_k),
        "top_p": options.top_p,
        "min_p": options.min_p,
        "repeat_penalty": options.repeat_penalty,
        "presence_penalty": options.presence_penalty,
        "frequency_penalty": options.frequency_penalty,
        "seed": options.seed,
        "stop": options.stop,
    }


def _response_format(wanted: Format | None) -> dict[str, Any] | None:
    if not wanted:
        return None
    if wanted == "json":
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted}}


def _messages(messages: Sequence[OllamaMessage]) -> list[dict[str, Any]]:
    """As OpenAI's messages. Ollama's tool calls have no ids: an answer belongs to the call whose
    turn it is."""
    made: list[dict[str, Any]] = []
    num_calls = num_answers = 0
    for message in messages:
        if message.images:
            raise Unsupported("This server takes text only.", param="messages.images")
        one: dict[str, Any] = {"role": message.role, "content": message.content or ""}
        calls = []
        for call in message.tool_calls or ():
            arguments = dump_json(call.function.arguments).decode()
            function = {"name": call.function.name, "arguments": arguments}
            calls.append({"id": f"call_{num_calls}", "type": "function", "function": function})
            num_calls += 1
        if calls:
            one["tool_calls"] = calls
        if message.role == "tool":
            one["tool_call_id"] = f"call_{num_answers}"
            num_answers += 1
        made.append(one)
    return made
