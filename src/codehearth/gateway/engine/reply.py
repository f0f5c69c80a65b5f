"""An engine's answer as it arrives over a connection of its own (see `link`).

Read from the plain socket: a transport of asyncio's could neither be read once a frame without
being woken by its data, nor be half closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
from collections import deque
from collections.abc import AsyncIterator

import httptools

from codehearth.errors import EngineFailed, UpstreamFailed
from codehearth.gateway.engine.frames import Frames

_READ_BYTES = 64 * 2**10
_MAX_HELD_BYTES = 256 * 2**10
_FAST_S = 0.016  # between two chunks of a stream that is read in frames
MAX_WHOLE_BYTES = 64 * 2**20

# An engine sees who left between two batches, and a batch takes about a second at most
# (`engines.threads`); one that stands still shall not keep newcomers waiting.
_MAX_PARTING_S = 1.0


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
        self._is_ending = False
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._parted: asyncio.Future[None] | None = None
        self._closing: asyncio.TimerHandle | None = None
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
        with contextlib.suppress(OSError):  # whatever it said before it closed is still to be read
            await self._loop.sock_sendall(self._connection, request)
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
        """Nothing more is wanted, whatever the engine is at."""
        self._rest()
        if self._closing is not None:
            self._closing.cancel()
        self._connection.close()
        if self._parted is not None and not self._parted.done():
            self._parted.set_result(None)

    def let_end(self) -> None:
        """The answer is there; the engine may still say so, but there is nothing left to stop."""
        self._is_ending = True

    def part(self) -> asyncio.Future[None] | None:
        """Stops the generation. Where one is under way: a future of the engine's having let go.

        Our half of the connection is closed, which the engine takes for our having left; once it
        has given up the request it closes its own half, and its slot is free.
        """
        if self._connection.fileno() < 0 or self._is_complete or self._failure is not None:
            self.close()
            return None
        if not self._is_ending:
            try:
                self._connection.shutdown(socket.SHUT_WR)
            except OSError:
                self.close()
                return None
            self._parted = self._loop.create_future()
        self._closing = self._loop.call_later(_MAX_PARTING_S, self.close)
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
