"""Three endpoints for people who want one line of curl: `POST /` and `PUT /`.

- `{"prompt": …}` chats,
- `{"data": …}`, or PUT with the form field `data`, completes code,
- `{"lang": …, "prompt": …}` completes under a language's tag line.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from codehearth.errors import InvalidRequest, WrongContentType
from codehearth.gateway.auth import caller_of
from codehearth.gateway.body import BODY_TIMEOUT_S, content_type_of, read_object
from codehearth.gateway.engine.generate import Choice, Order, counted_pieces, pieces_of
from codehearth.gateway.engine.link import engine_json
from codehearth.gateway.engine.upstream import CHAT_PATH, chat_body, completion_body
from codehearth.gateway.house import House, house_of
from codehearth.gateway.streams import Generation, Writer
from codehearth.text.languages import find_language
from codehearth.text.patterns import CODEGEN_PATTERNS, compile_patterns, truncate
from codehearth.wire.bounded_json import dump_json
from codehearth.wire.requests import ChatRequest, CompletionRequest, ModelId, Shape
from codehearth.wire.validation import validated

router = APIRouter()

_SYSTEM_PROMPT = "You are a helpful assistant."
_MAX_CHAT_TOKENS = 512
_MAX_LENGTH = 128
_PATTERNS = compile_patterns(CODEGEN_PATTERNS)
_MAX_LENGTH_BOUND = 2**20


class SimpleChat(Shape):
    prompt: str
    model: ModelId | None = None


class SimpleCompletion(Shape):
    data: str
    model: ModelId | None = None


class LanguageCompletion(Shape):
    """`max_length` counts prompt and answer, as in Hugging Face's `generate`."""

    lang: Annotated[str, Field(max_length=64)]
    prompt: str
    model: ModelId | None = None
    max_length: Annotated[int, Field(ge=1, le=_MAX_LENGTH_BOUND)] = _MAX_LENGTH
    top_p: Annotated[float, Field(ge=0, le=1)] = 0.95
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.2
    top_k: Annotated[int, Field(ge=0, le=10**6)] = 0


@router.post("/")
async def post_simple(request: Request) -> Response:
    """One line of curl: `prompt` is answered, `data` is continued, `lang` names the language."""
    body = await read_object(request)
    if "lang" in body:
        work = partial(_complete_language, request, validated(LanguageCompletion, body))
    elif "data" in body:
        work = partial(_complete, request, validated(SimpleCompletion, body))
    elif "prompt" in body:
        work = partial(_chat, request, validated(SimpleChat, body))
    else:
        raise InvalidRequest(
            "The body has none of 'prompt', 'data' and 'lang'.",
            hint='send {"prompt": "…"} to chat or {"data": "…"} to complete code',
        )
    return Generation(work, on_gone=house_of(request).metrics.cancelled.inc)


@router.put("/")
async def put_simple(request: Request) -> Response:
    """The same with the form field `data`, which is continued."""
    asked = validated(SimpleCompletion, await _form(request))
    work = partial(_complete, request, asked)
    return Generation(work, on_gone=house_of(request).metrics.cancelled.inc)


async def _form(request: Request) -> dict[str, Any]:
    kind = content_type_of(request)
    if kind not in ("application/x-www-form-urlencoded", "multipart/form-data"):
        raise WrongContentType("The body must be a form with the field 'data'.")
    try:
        async with (
            asyncio.timeout(BODY_TIMEOUT_S),
            request.form(max_files=0, max_fields=8) as form,
        ):
            return {name: value for name, value in form.items() if isinstance(value, str)}
    except TimeoutError as error:
        raise InvalidRequest("The body did not arrive in time.") from error


async def _chat(request: Request, asked: SimpleChat, writer: Writer) -> None:
    house = house_of(request)
    model = await house.name_of(asked.model)
    chat = ChatRequest.model_validate(
        {
            "messages": [
                {"role": "system", "content": _SYSTEM_PROMPT},
                {"role": "user", "content": asked.prompt},
            ],
            "max_tokens": _MAX_CHAT_TOKENS,
        }
    )
    order = Order(
        model=model,
        choices=[Choice(0, CHAT_PATH, partial(chat_body, chat, choice=0))],
        owner=caller_of(request).owner,
    )
    text = ""
    async with aclosing(counted_pieces(house, order)) as batches:
        async for batch in batches:
            text += "".join(piece.delta.get("content") or "" for piece in batch)
    await writer.whole(dump_json({"response": text, "status": 200, "time": _now()}))


async def _complete(request: Request, asked: SimpleCompletion, writer: Writer) -> None:
    options = _Options(max_length=_MAX_LENGTH, temperature=0.2, top_p=0.95, top_k=None)
    text = await _completed(request, asked.model, asked.data, options)
    await writer.whole(text.encode(), "text/plain; charset=utf-8")


async def _complete_language(request: Request, asked: LanguageCompletion, writer: Writer) -> None:
    language = find_language(asked.lang)
    prompt = language.tagged(asked.prompt)
    options = _Options(
        max_length=asked.max_length,
        temperature=asked.temperature,
        top_p=asked.top_p,
        top_k=asked.top_k,
    )
    text = await _completed(request, asked.model, prompt, options)
    answer = {"response": text, "lang": asked.lang, "status": 200, "time": _now()}
    await writer.whole(dump_json(answer))


@dataclass(frozen=True)
class _Options:
    max_length: int
    temperature: float
    top_p: float
    top_k: int | None


async def _completed(request: Request, name: str | None, prompt: str, options: _Options) -> str:
    """The completion up to the first pattern; the engine is stopped there, not at the limit."""
    house, owner = house_of(request), caller_of(request).owner
    model = await house.name_of(name)
    max_tokens = options.max_length - await _num_tokens(house, model, prompt, owner)
    if max_tokens < 1:
        raise InvalidRequest(
            f"The prompt alone has {options.max_length - max_tokens} tokens, and "
            f"{options.max_length} are allowed for prompt and answer.",
            param="prompt",
        )
    asked = CompletionRequest(
        prompt=prompt,
        max_tokens=max_tokens,
        temperature=options.temperature,
        top_p=options.top_p,
        top_k=options.top_k,
    )

    def body(facts: Any) -> dict[str, Any]:
        return completion_body(asked, prompt, facts, choice=0)

    choice = Choice(0, "/v1/completions", body, is_framed=False)
    order = Order(model=model, choices=[choice], owner=owner)
    text = ""
    async with aclosing(pieces_of(house, order, 0)) as batches:
        async for batch in batches:
            text += "".join(piece.delta.get("text") or "" for piece in batch)
            cut = truncate(text, _PATTERNS)
            if cut != text:
                return cut
    return text


async def _num_tokens(house: House, model: str, prompt: str, owner: str) -> int:
    async with house.lease(model, owner=owner) as lease:
        body = dump_json({"content": prompt, "add_special": True})
        return len((await engine_json(lease.endpoint, "/tokenize", body))["tokens"])


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")
