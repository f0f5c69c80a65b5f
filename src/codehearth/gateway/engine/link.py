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
import socket
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from pydantic_core import from_json

from codehearth.engines.endpoint import Endpoint
from codehearth.errors import HearthError, UpstreamFailed
from codehearth.gateway.engine.chunks import engine_error
from codehearth.gateway.engine.frames import Frames
from codehearth.gateway.engine.reply import NothingReceived, Reply

_CONNECT_S = 5.0
_CONNECT_AGAIN_S = 0.002

# From the news that a client closed its connection to the end of its generation: two turns of
# the loop were needed. A client's next request may overtake the news by that much.
_TURNS_TO_PART = 3


class Traffic:
    """What a server's requests to its engines share: the clock of frames, and who is leaving.

    A request that follows an aborted one at once, as with every key that somebody types, would
    meet the aborted one still in its slot; the engine then takes another slot and reads the whole
    prompt anew. So a newcomer waits until the engine has let go of those who left before it,
    which takes no longer than the batch that it would have to wait for anyway.
    """

    def __init__(self, frames: Frames | None = None) -> None:
        self.frames = frames or Frames()
        self._num_under_way: Counter[Endpoint] = Counter()
        self._leaving: dict[Endpoint, set[asyncio.Future[None]]] = {}

    async def enter(self, endpoint: Endpoint) -> None:
        """Returns when the engine has let go of all who are leaving now."""
        for _ in range(_TURNS_TO_PART):
            if not self._num_under_way[endpoint]:
                break
            await asyncio.sleep(0)
        if leaving := self._leaving.get(endpoint):
            await asyncio.wait(tuple(leaving))
        self._num_under_way[endpoint] += 1

    def part(self, endpoint: Endpoint, reply: Reply | None) -> None:
        """Stops the reply's generation, unless it is complete."""
        self._num_under_way[endpoint] -= 1
        if not self._num_under_way[endpoint]:
            del self._num_under_way[endpoint]
        parted = reply.part() if reply is not None else None
        if parted is not None:
            leaving = self._leaving.setdefault(endpoint, set())
            leaving.add(parted)
            parted.add_done_callback(lambda _: self._has_left(endpoint, parted))

    def _has_left(self, endpoint: Endpoint, parted: asyncio.Future[None]) -> None:
        leaving = self._leaving[endpoint]
        leaving.discard(parted)
        if not leaving:
            del self._leaving[endpoint]


@contextlib.asynccontextmanager
async def ask(
    endpoint: Endpoint, method: str, path: str, body: bytes = b"", *, traffic: Traffic | None = None
) -> AsyncIterator[Reply]:
    """Sends one request and gives its reply with status and headers read.

    Leaving the block closes the connection, which stops the generation. Raises EngineFailed where
    the engine does not answer, and NothingReceived where it is safe to ask again.
    """
    if traffic is not None:
        await traffic.enter(endpoint)
    reply: Reply | None = None
    try:
        connection = await _connected(endpoint)
        reply = Reply(connection, traffic.frames if traffic is not None else None)
        await reply.send(_request(endpoint, method, path, body))
        await reply.headers()
        yield reply
    finally:
        if traffic is not None:
            traffic.part(endpoint, reply)
        elif reply is not None:
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


async def _connected(endpoint: Endpoint) -> socket.socket:
    family = socket.AF_INET if endpoint.socket_path is None else socket.AF_UNIX
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.setblocking(False)
    try:
        async with asyncio.timeout(_CONNECT_S):
            if endpoint.socket_path is not None:
                await _connect_unix(connection, str(endpoint.socket_path))
            else:
                host, _, port = endpoint.base_url.removeprefix("http://").rpartition(":")
                await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException as error:
        connection.close()
        if isinstance(error, OSError | TimeoutError):
            raise NothingReceived("The engine does not answer.") from error
        raise
    return connection


async def _connect_unix(connection: socket.socket, path: str) -> None:
    """A Unix socket connects at once, or its listener's queue is full and it must try again."""
    while True:
        try:
            connection.connect(path)
        except BlockingIOError:
            await asyncio.sleep(_CONNECT_AGAIN_S)
        else:
            return


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
