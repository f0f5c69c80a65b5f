"""Anthropic's Messages and OpenAI's Responses, answered by engines that speak them.

The request is bounded and cut to an allow-list here; the events pass through as they are. As
everywhere, the engine is always asked for a stream, and a whole answer is put together from it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from pydantic_core import from_json
from starlette.responses import Response

from codehearth.errors import EngineFailed, InvalidRequest, Unsupported, UpstreamFailed
from codehearth.gateway import schema_cost
from codehearth.gateway.auth import caller_of
from codehearth.gateway.body import read_request
from codehearth.gateway.dialects.events import EventDialect, MessageEvents, ResponseEvents
from codehearth.gateway.engine.chunks import engine_error
from codehearth.gateway.engine.generate import suspected
from codehearth.gateway.engine.link import ask, engine_json, refusal
from codehearth.gateway.engine.upstream import adapter_fields
from codehearth.gateway.house import House, house_of
from codehearth.gateway.streams import Generation, Writer
from codehearth.wire.bounded_json import dump_json
from codehearth.wire.requests import MAX_MESSAGES, MAX_TOOLS, ModelId, Probability, Shape, Stops
from codehearth.wire.sse import Event, EventReader, frame

router = APIRouter()

_REFUSED_PARTS = frozenset(
    ("image", "image_url", "input_image", "input_audio", "document", "file", "input_file")
)
Tools = Annotated[list[dict[str, Any]], Field(max_length=MAX_TOOLS)]
Items = Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MAX_MESSAGES)]


class MessagesRequest(Shape):
    """Anthropic's Messages API, as far as engines do it."""

    model: ModelId | None = None
    messages: Items
    system: str | list[dict[str, Any]] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=2**31 - 1)] = 4096
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Probability | None = None
    top_k: Annotated[int, Field(ge=0, le=10**6)] | None = None
    stop_sequences: Stops | None = None
    tools: Tools | None = None
    tool_choice: dict[str, Any] | None = None
    stream: bool | None = None


class ResponsesRequest(Shape):
    """OpenAI's Responses API without its memory: each request carries its whole conversation."""

    model: ModelId | None = None
    input: str | Items
    instructions: str | None = None
    max_output_tokens: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Probability | None = None
    tools: Tools | None = None
    tool_choice: Literal["none", "auto", "required"] | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: dict[str, Any] | None = None
    stream: bool | None = None
    previous_response_id: str | None = None
    background: bool | None = None


MESSAGES_PATH = "/v1/messages"
RESPONSES_PATH = "/v1/responses"


@router.post("/v1/messages")
async def create_message(request: Request) -> Response:
    """Anthropic's messages, streamed or whole."""
    asked = await read_request(request, MessagesRequest)
    _check_parts(asked.messages, param="messages")
    _check_tools(asked.tools, schema_field="input_schema")
    return await _passed(request, asked, MESSAGES_PATH, MessageEvents())


@router.post("/v1/messages/count_tokens")
async def count_tokens(request: Request) -> Response:
    """How many tokens a message of Anthropic would have."""
    house, asked = house_of(request), await read_request(request, MessagesRequest)
    _check_parts(asked.messages, param="messages")
    _check_tools(asked.tools, schema_field="input_schema")
    model = await house.name_of(asked.model)
    body = dump_json(asked.model_dump(exclude_none=True, exclude={"stream", "model"}))
    owner = caller_of(request).owner

    async def work(writer: Writer) -> None:
        async with house.lease(model, owner=owner) as lease, suspected(lease):
            counted = await engine_json(lease.endpoint, "/v1/messages/count_tokens", body)
        await writer.whole(dump_json({"input_tokens": counted.get("input_tokens", 0)}))

    return Generation(work, on_gone=house.metrics.cancelled.inc)


@router.post("/v1/responses")
async def create_response(request: Request) -> Response:
    """OpenAI's responses, streamed or whole."""
    asked = await read_request(request, ResponsesRequest)
    if asked.previous_response_id is not None or asked.background:
        raise Unsupported(
            "This server keeps no responses.",
            param="previous_response_id" if asked.previous_response_id else "background",
            hint="send the whole conversation in 'input'",
        )
    if isinstance(asked.input, list):
        _check_parts(asked.input, param="input")
    _check_tools(asked.tools, schema_field="parameters")
    schema = ((asked.text or {}).get("format") or {}).get("schema")
    if isinstance(schema, dict):
        schema_cost.check_schema(schema, param="text.format.schema")
    return await _passed(
        request, asked, RESPONSES_PATH, ResponseEvents(max_tokens=asked.max_output_tokens)
    )


async def _passed(
    request: Request, asked: MessagesRequest | ResponsesRequest, path: str, dialect: EventDialect
) -> Response:
    house = house_of(request)
    model = await house.name_of(asked.model)
    body = asked.model_dump(exclude_none=True, exclude={"model", "stream", "background"})
    # With the prompt's progress an engine writes while it reads, and so notices who left.
    progress = {"return_progress": True} if path == RESPONSES_PATH else {}
    body |= progress | {"model": model, "stream": True}
    events = partial(_events, house, path, model, body, caller_of(request).owner)

    async def work(writer: Writer) -> None:
        async with aclosing(events()) as received:
            async for event in received:
                for mended in dialect.mended(event):
                    if asked.stream:
                        await writer.stream(frame(dump_json(mended), name=mended["type"]))
                if dialect.is_last(event):
                    break
            else:
                raise EngineFailed("The engine ended in the middle of an answer.")
        if asked.stream:
            await writer.end()
        else:
            await writer.whole(dump_json(dialect.whole()))

    return Generation(work, on_gone=house.metrics.cancelled.inc)


async def _events(
    house: House, path: str, model: str, body: Mapping[str, Any], owner: str
) -> AsyncGenerator[dict[str, Any], None]:
    async with house.lease(model, owner=owner) as lease, suspected(lease):
        if lease.model.weights.is_embedding_model:
            raise Unsupported("This model makes embeddings; it does not chat.", param="model")
        if path == MESSAGES_PATH and len(lease.model.adapters) > 1:
            # llama.cpp makes its own chat request of it, and leaves the adapter out.
            raise Unsupported(
                f"'{model}' shares its base with other adapters, and this route cannot choose.",
                param="model",
                hint=f"ask for '{model.partition(':')[0]}', where it is merged",
            )
        data = dump_json(dict(body) | adapter_fields(lease.model))
        async with ask(lease.endpoint, "POST", path, data, traffic=house.traffic) as reply:
            if reply.status != 200:
                raise await refusal(reply)
            reader = EventReader()
            async for received in reply.pieces():
                for event in reader.feed(received):
                    lease.progressed()
                    yield _parsed(event)


def _parsed(event: Event) -> dict[str, Any]:
    """An event's object; raises what an error event says."""
    try:
        said = from_json(event.data)
    except ValueError as error:
        raise UpstreamFailed("The engine sent an event that is not JSON.") from error
    if not isinstance(said, dict):
        raise UpstreamFailed("The engine sent an event that is not an object.")
    if event.name == "error" or "type" not in said:
        raise engine_error(said.get("error", said))
    return said


def _check_parts(items: list[dict[str, Any]], *, param: str) -> None:
    """Pictures, sound and documents are refused by name; their addresses are never fetched."""
    for number, item in enumerate(items):
        content = item.get("content")
        for part in content if isinstance(content, list) else [item]:
            kind = part.get("type") if isinstance(part, dict) else None
            if kind in _REFUSED_PARTS:
                field = f"{param}[{number}].content"
                raise InvalidRequest(f"'{field}': text only, not '{kind}'.", param=field)


def _check_tools(tools: list[dict[str, Any]] | None, *, schema_field: str) -> None:
    schemas = [tool.get(schema_field) for tool in tools or ()]
    schema_cost.check_tools([s for s in schemas if isinstance(s, dict)], param="tools")
