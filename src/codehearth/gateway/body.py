"""A request's body: read within bounds of size and time, parsed to JSON or form fields."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request

from codehearth.errors import BodyTooLarge, InvalidRequest, WrongContentType
from codehearth.wire.bounded_json import parse_object
from codehearth.wire.validation import validated

MAX_BODY_BYTES = 8 * 2**20
BODY_TIMEOUT_S = 60.0
_LARGE_BYTES = 128 * 2**10

RequestShape = TypeVar("RequestShape", bound=BaseModel)


async def read_request(
    request: Request, shape: type[RequestShape], *, max_bytes: int = MAX_BODY_BYTES
) -> RequestShape:
    """The typed request of a JSON body. Large ones are parsed beside the loop: others wait not."""
    data = await read_json_bytes(request, max_bytes=max_bytes)
    if len(data) < _LARGE_BYTES:
        return validated(shape, parse_object(data))
    return await asyncio.to_thread(lambda: validated(shape, parse_object(data)))


async def read_object(request: Request) -> dict[str, Any]:
    """The JSON object of a body whose fields the route reads by itself."""
    data = await read_json_bytes(request)
    if len(data) < _LARGE_BYTES:
        return parse_object(data)
    return await asyncio.to_thread(parse_object, data)


def read_query(request: Request, shape: type[RequestShape]) -> RequestShape:
    """The typed request of an address's query, where numbers are text."""
    return validated(shape, dict(request.query_params), strict=False)


def content_type_of(request: Request) -> str:
    """Without its parameters, in lower case; empty where none is named."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


async def read_json_bytes(request: Request, *, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    kind = content_type_of(request)
    if kind != "application/json" and not kind.endswith("+json"):
        raise WrongContentType(
            f"The body must be application/json, not '{kind[:60] or 'nothing'}'.",
            hint="send the header 'Content-Type: application/json'",
        )
    return await read_bytes(request, max_bytes=max_bytes)


async def read_bytes(request: Request, *, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """The whole body; raises BodyTooLarge or InvalidRequest where it is too long or too slow."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for piece in request.stream():
                body += piece
                if len(body) > max_bytes:
                    raise too_large(max_bytes)
    except TimeoutError as error:
        raise InvalidRequest("The body did not arrive in time.") from error
    except ClientDisconnect as error:
        raise InvalidRequest("The connection was closed before the body was complete.") from error
    return bytes(body)


def too_large(max_bytes: int = MAX_BODY_BYTES) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {max_bytes // 2**20} MiB.")
