"""One request to an engine over one connection of its own.

Why not httpx2: a streamed answer costs 205 µs of CPU for each chunk there and some 25 µs here, and
the gateway's whole budget is 60 µs (docs/decisions/engine-link.md). Why no pool of connections:
kept-alive connections to llama.cpp's server gave spurious failures after bursts of aborted
requests, and a new one on a Unix socket costs a tenth of a millisecond. Closing the connection is
also the one way to stop a generation that every engine understands.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import httptools
from pydantic_core import from_json

from codehearth.engines.endpoint import Endpoint
from codehearth.errors import EngineFailed, HearthError, UpstreamFailed
from codehearth.gateway.chunks import engine_error

_CONNECT_S = 5.0
_MAX_HELD_BYTES = 256 * 2**10
FRAME_S = 0.016
MAX_WHOLE_BYTES = 64 * 2**20


class NothingReceived(EngineFailed):
    """The connection broke before a byte of an answer: asking again is safe."""


class Reply(asyncio.Protocol):
    """The answer as it arrives: status and headers, then pieces of the body."""

    def __init__(self) -> None:
        self.status = 0
        self.content_type = ""
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._pieces: deque[bytes] = deque()
        self._held_bytes = 0
        self._is_paused = False
        self._has_headers = False
        self._is_complete = False
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._frame_s = 0.0
        self._taken_at = -math.inf
        self._timer: asyncio.TimerHandle | None = None

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(UpstreamFailed(f"The engine's answer is not HTTP: {error}."))
            self.close()
        self._wake_in_time()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._is_complete and self._failure is None:
            kind = EngineFailed if self._has_headers else NothingReceived
            self._failure = kind("The engine ended in the middle of an answer.")
        self._wake()

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type":
            self.content_type = value.decode("latin-1").lower()

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self._has_headers = True

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._held_bytes += len(piece)
        if self._held_bytes > _MAX_HELD_BYTES and not self._is_paused and self._transport:
            self._is_paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        self._is_complete = True

    # What the gateway calls.

    def send(self, request: bytes) -> None:
        assert self._transport is not None
        self._transport.write(request)

    async def headers(self) -> None:
        """Returns when status and headers are there; raises EngineFailed if they never come."""
        while not self._has_headers:
            self._raise_failure()
            await self._wait()

    def begin_frames(self) -> None:
        """From now on, a piece comes `FRAME_S` after the last one at the earliest, with all that
        arrived by then; the end comes at once.

        Nobody sees more than 60 changes a second, and waking up for each token of a fast engine
        would cost that engine a core.
        """
        self._frame_s = FRAME_S

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body; what arrived in the meantime comes as one piece. Raises when it breaks off."""
        while True:
            if self._pieces:
                yield self._take()
            elif self._is_complete:
                return
            else:
                self._raise_failure()
                await self._wait()

    async def whole(self, *, max_bytes: int = MAX_WHOLE_BYTES) -> bytes:
        body = bytearray()
        async for piece in self.pieces():
            body += piece
            if len(body) > max_bytes:
                raise UpstreamFailed("The engine's answer is too large.")
        return bytes(body)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _take(self) -> bytes:
        piece = self._pieces.popleft() if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._held_bytes = 0
        self._taken_at = time.monotonic()
        if self._is_paused and self._transport:
            self._is_paused = False
            self._transport.resume_reading()
        return piece

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _fail(self, failure: Exception) -> None:
        self._failure = self._failure or failure

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake_in_time(self) -> None:
        """Wakes the reader now, or when its frame is over; one timer is enough for a frame."""
        left_s = self._taken_at + self._frame_s - time.monotonic()
        if left_s <= 0 or self._is_complete or self._failure is not None:
            self._wake()
        elif self._waiter is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(left_s, self._wake)

    def _wake(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


@contextlib.asynccontextmanager
async def ask(
    endpoint: Endpoint, method: str, path: str, body: bytes = b""
) -> AsyncIterator[Reply]:
    """Sends one request and gives its reply with status and headers read.

    Leaving the block closes the connection, which stops the generation. Raises EngineFailed where
    the engine does not answer, and NothingReceived where it is safe to ask again.
    """
    reply = await _connect(endpoint)
    try:
        reply.send(_request(endpoint, method, path, body))
        await reply.headers()
        yield reply
    finally:
        reply.close()


async def engine_json(endpoint: Endpoint, path: str, body: bytes) -> Any:
    """One small question to an engine, with a JSON answer; raises what a refusal means."""
    async with ask(endpoint, "POST", path, body) as reply:
        if reply.status != 200:
            raise await refusal(reply)
        try:
            return from_json(await reply.whole())
        except ValueError as error:
            raise UpstreamFailed("The engine's answer is not JSON.") from error


async def refusal(reply: Reply) -> HearthError:
    """What an engine's answer with another status than 200 means."""
    body = await reply.whole(max_bytes=2**20)
    try:
        error = from_json(body)
    except ValueError:
        return UpstreamFailed(f"The model's engine answered {reply.status} without a reason.")
    details = error.get("error", error) if isinstance(error, dict) else {}
    details = details if isinstance(details, dict) else {"message": str(details)}
    return engine_error({"code": reply.status} | details)


async def _connect(endpoint: Endpoint) -> Reply:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_CONNECT_S):
            if endpoint.socket_path is not None:
                path = str(endpoint.socket_path)
                return (await loop.create_unix_connection(Reply, path))[1]
            host, _, port = endpoint.base_url.removeprefix("http://").rpartition(":")
            return (await loop.create_connection(Reply, host, int(port)))[1]
    except (OSError, TimeoutError) as error:
        raise NothingReceived("The engine does not answer.") from error


def _request(endpoint: Endpoint, method: str, path: str, body: bytes) -> bytes:
    head = (
        f"{method} {path} HTTP/1.1\r\n"
        "host: localhost\r\n"
        "connection: close\r\n"
        "content-type: application/json\r\n"
        f"authorization: Bearer {endpoint.api_key}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
