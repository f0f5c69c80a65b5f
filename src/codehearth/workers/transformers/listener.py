"""A small HTTP/1.1 server on a Unix socket, for the one client that there is: the house.

One request a connection. Closing the connection cancels what was asked. Whoever lacks the key gets
nothing but `/health`; a body is bounded; a server that nobody else can reach needs no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import os
import sys
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

KEY_VARIABLE = "HEARTH_ENGINE_KEY"
EXIT_NO_KEY = 2

_MAX_HEAD_BYTES = 64 << 10
_MAX_BODY_BYTES = 64 << 20
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}
_DONE = b"data: [DONE]\n\n"
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


class Refused(Exception):
    """A request that is answered with an error in the shape that the gateway reads."""

    def __init__(self, status: int, message: str, kind: str, **more: object) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"code": status, "message": message, "type": kind} | more}


def invalid(message: str) -> Refused:
    return Refused(400, message, "invalid_request_error")


def unsupported(message: str) -> Refused:
    return Refused(501, message, "not_supported_error")


@dataclass(frozen=True)
class Whole:
    """A JSON document, or a text."""

    content: Any


@dataclass(frozen=True)
class Stream:
    """Chunks, each of which becomes an event; `[DONE]` follows."""

    chunks: AsyncGenerator[Mapping[str, Any]]


class App(Protocol):
    async def answer(self, method: str, path: str, body: bytes) -> Whole | Stream:
        """Raises Refused. Cancelled when the client leaves."""
        ...


def take_key() -> str | None:
    """The key that the house will send; None, and a line that says so, where there is none.

    It comes in the environment, because everybody may read a process's arguments, and does not
    stay there, because children would inherit it.
    """
    key = os.environ.pop(KEY_VARIABLE, "")
    if not key:
        print(f"error: {KEY_VARIABLE} is not set", file=sys.stderr, flush=True)  # noqa: T201
    return key or None


IsWell = Callable[[], Awaitable[bool]]


async def listen(
    socket_path: str, key: str, app: App, *, is_well: IsWell | None = None
) -> asyncio.Server:
    """Listen until the server is closed. `/health` is 503 where `is_well` says so."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await _serve(reader, writer, key, app, is_well)
        finally:
            writer.close()

    return await asyncio.start_unix_server(serve, socket_path, limit=_MAX_HEAD_BYTES, backlog=512)


async def _serve(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    key: str,
    app: App,
    is_well: IsWell | None,
) -> None:
    try:
        method, path, headers = await _head(reader)
        if path == "/health":
            well = is_well is None or await is_well()
            await _send(writer, 200 if well else 503, {"status": "ok" if well else "ill"})
            return
        said = headers.get("authorization", "").encode("latin-1")
        if not hmac.compare_digest(said, f"Bearer {key}".encode()):
            raise Refused(401, "Invalid API key", "authentication_error")
        body = await reader.readexactly(_length(headers))
        await _until_gone(reader, _answer(writer, app, method, path, body))
    except Refused as refused:
        await _send(writer, refused.status, refused.body)


async def _until_gone(reader: asyncio.StreamReader, work: Any) -> None:
    """Do the work unless the client leaves before it is done."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(reader.read(1))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.wait((working, gone))


async def _answer(
    writer: asyncio.StreamWriter, app: App, method: str, path: str, body: bytes
) -> None:
    try:
        answer = await app.answer(method, path, body)
        if isinstance(answer, Whole):
            await _send(writer, 200, answer.content)
        else:
            await _stream(writer, answer)
    except (Refused, OSError, asyncio.CancelledError):
        raise
    except Exception as error:
        raise _failed(error) from error


def _failed(error: Exception) -> Refused:
    """A mistake of ours, or of a model: the log has the whole of it."""
    traceback.print_exception(error, file=sys.stderr)
    return Refused(500, f"{type(error).__name__}: {error}"[:300], "server_error")


async def _stream(writer: asyncio.StreamWriter, answer: Stream) -> None:
    """Events from the first chunk on; an error before it is an answer of its own."""
    async with contextlib.aclosing(answer.chunks) as chunks:
        first = await anext(chunks, None)
        writer.write(_STREAM_HEAD)
        try:
            if first is not None:
                writer.write(_event(first))
            async for chunk in chunks:
                writer.write(_event(chunk))
                await writer.drain()
            writer.write(_DONE)
        except Refused as refused:
            writer.write(_event(refused.body))
        except OSError:  # the client is gone
            raise
        except Exception as error:  # noqa: BLE001 - told as an event: the head is written
            writer.write(_event(_failed(error).body))
        await writer.drain()


def _event(chunk: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"


async def _send(writer: asyncio.StreamWriter, status: int, content: Any) -> None:
    is_text = isinstance(content, str)
    body = content.encode() if is_text else json.dumps(content, ensure_ascii=False).encode()
    kind = "text/plain; version=0.0.4" if is_text else "application/json"
    head = (
        f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()


async def _head(reader: asyncio.StreamReader) -> tuple[str, str, Mapping[str, str]]:
    try:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except asyncio.LimitOverrunError as error:
        raise invalid("the header is too long") from error
    words = lines[0].split(" ")
    if len(words) != 3:
        raise invalid("that is not HTTP")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return words[0], words[1].partition("?")[0], headers


def _length(headers: Mapping[str, str]) -> int:
    text = headers.get("content-length", "0")
    is_number = text.isascii() and text.isdecimal() and len(text) <= 12
    if not is_number or int(text) > _MAX_BODY_BYTES or "transfer-encoding" in headers:
        raise invalid("the body is too long or of unknown length")
    return int(text)
