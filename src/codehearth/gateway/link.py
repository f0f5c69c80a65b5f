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
import socket
from collections import Counter, deque
from collections.abc import AsyncIterator
from typing import Any

import httptools
from pydantic_core import from_json

from codehearth.engines.endpoint import Endpoint
from codehearth.errors import EngineFailed, HearthError, UpstreamFailed
from codehearth.gateway.chunks import engine_error
from codehearth.gateway.frames import Frames

_CONNECT_S = 5.0
_CONNECT_AGAIN_S = 0.002
_READ_BYTES = 64 * 2**10
_MAX_HELD_BYTES = 256 * 2**10
_FAST_S = 0.016  # between two chunks of a stream that is read in frames
MAX_WHOLE_BYTES = 64 * 2**20

# An engine sees who left between two batches, and a batch takes about a second at most
# (`engines.threads`); one that stands still shall not keep newcomers waiting.
_MAX_PARTING_S = 1.0

# From the news that a client closed its connection to the end of its generation: two turns of
# the loop were needed. A client's next request may overtake the news by that much.
_TURNS_TO_PART = 3


class NothingReceived(EngineFailed):
    """The connection broke before a byte of an answer: asking again is safe."""


class Reply:
    """The answer as it arrives: status and headers, then pieces of the body."""

    def __init__(self, connection: socket.socket, frames: Frames | None) -> None:
        self.status = 0
        self.content_type = ""
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._frames = frames
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: deque[bytes] = deque()
        self._held_bytes = 0
        self._is_listening = False
        self._is_in_frames = False
        self._may_be_framed = False
        self._has_headers = False
        self._is_complete = False
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._parted: asyncio.Future[None] | None = None
        self._read_at = -math.inf

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

    def on_message_complete(self) -> None:
        self._is_complete = True

    # What the clock of frames calls.

    def fileno(self) -> int:
        return self._connection.fileno()

    def read_frame(self) -> None:
        """A frame without anything in it: the stream is slow now, and each chunk goes at once."""
        if self._held_bytes <= _MAX_HELD_BYTES and not self._read():
            self._listen()

    # What the gateway calls.

    async def send(self, request: bytes) -> None:
        try:
            await self._loop.sock_sendall(self._connection, request)
        except OSError as error:
            raise NothingReceived("The engine does not answer.") from error
        self._listen()

    async def headers(self) -> None:
        """Returns when status and headers are there; raises EngineFailed if they never come."""
        while not self._has_headers:
            self._raise_failure()
            await self._wait()

    def begin_frames(self) -> None:
        """From now on, the stream is read in frames as long as it is fast."""
        self._may_be_framed = self._frames is not None

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
        """Nothing more is wanted, and nothing is left to stop."""
        self._rest()
        self._connection.close()
        if self._parted is not None and not self._parted.done():
            self._parted.set_result(None)

    def part(self) -> asyncio.Future[None] | None:
        """Stops the generation. Where one is under way: a future of the engine's having let go.

        Our half of the connection is closed, which the engine takes for our having left; once it
        has given up the request it closes its own half, and its slot is free.
        """
        if self._connection.fileno() < 0 or self._is_complete or self._failure is not None:
            self.close()
            return None
        try:
            self._connection.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
            return None
        self._parted = self._loop.create_future()
        self._loop.call_later(_MAX_PARTING_S, self.close)
        self._rest()
        self._loop.add_reader(self._connection, self._drain)
        self._is_listening = True
        return self._parted

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            try:
                is_over = not self._connection.recv(_READ_BYTES)
            except ConnectionError:
                is_over = True
            if is_over:
                self.close()

    def _listen(self) -> None:
        """Be told of all that arrives."""
        if self._is_complete or self._failure is not None or self._is_listening:
            return
        self._rest()
        self._is_listening = True
        self._loop.add_reader(self._connection, self._arrived)

    def _rest(self) -> None:
        """Be told of nothing."""
        if self._is_listening:
            self._is_listening = False
            self._loop.remove_reader(self._connection)
        if self._is_in_frames and self._frames is not None:
            self._is_in_frames = False
            self._frames.remove(self)

    def _arrived(self) -> None:
        self._read()
        now = self._loop.time()
        if self._held_bytes > _MAX_HELD_BYTES:
            self._rest()
        elif self._may_be_framed and self._is_listening and now - self._read_at < _FAST_S:
            self._rest()
            self._is_in_frames = True
            assert self._frames is not None
            self._frames.add(self)
        self._read_at = now

    def _read(self) -> bool:
        """Takes in what is there; False if nothing is."""
        try:
            received = self._connection.recv(_READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            received = b""
        if received:
            self._parse(received)
        elif not self._is_complete:
            kind = EngineFailed if self._has_headers else NothingReceived
            self._failure = kind("The engine ended in the middle of an answer.")
        if self._is_complete or self._failure is not None:
            self._rest()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        return True

    def _parse(self, received: bytes) -> None:
        try:
            self._parser.feed_data(received)
        except httptools.HttpParserError as error:
            self._failure = UpstreamFailed(f"The engine's answer is not HTTP: {error}.")

    def _take(self) -> bytes:
        piece = self._pieces.popleft() if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        was_full = self._held_bytes > _MAX_HELD_BYTES
        self._held_bytes = 0
        if was_full and not self._is_in_frames:
            self._listen()
        return piece

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None


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
