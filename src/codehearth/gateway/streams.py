"""Sending to a client that may leave or stall at any moment.

A generation runs beside a watch on the connection. Whichever ends first ends the other: a client
that left stops its generation, streamed or not, while it waits as well as while it decodes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from codehearth.errors import HearthError
from codehearth.gateway.replies import describe, error_body_at, unexpected
from codehearth.wire.bounded_json import dump_json
from codehearth.wire.sse import frame

log = logging.getLogger(__name__)

WRITE_TIMEOUT_S = 30.0
EVENT_STREAM = "text/event-stream; charset=utf-8"
_EVENT_STREAM_HEADERS = {"content-type": EVENT_STREAM, "cache-control": "no-cache"}


class ClientGone(Exception):
    """The client closed the connection, or took nothing of what was sent for too long."""


class Writer:
    """What a generation writes to: either one whole body or a stream of frames."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_started = False
        self._sending_since = math.inf

    async def whole(self, body: bytes, content_type: str = "application/json") -> None:
        await self._start({"content-type": content_type, "content-length": str(len(body))})
        await self._put(body, more=False)

    async def stream(self, data: bytes, headers: Mapping[str, str] = _EVENT_STREAM_HEADERS) -> None:
        """Sends some frames; the first call sends status and headers before them."""
        if not self.has_started:
            await self._start(dict(headers) | {"x-accel-buffering": "no"})
        await self._put(data, more=True)

    async def end(self) -> None:
        await self._put(b"", more=False)

    async def _start(self, headers: Mapping[str, str]) -> None:
        self.has_started = True
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": 200, "headers": raw})

    async def _put(self, body: bytes, *, more: bool) -> None:
        self._sending_since = time.monotonic()
        try:
            await self._send({"type": "http.response.body", "body": body, "more_body": more})
        except OSError as error:
            raise ClientGone from error
        finally:
            self._sending_since = math.inf

    async def stalled(self) -> None:
        """Returns once the client has taken nothing for too long.

        One clock for the whole answer: a time limit around each write would cost as much as all
        else that is done for a chunk.
        """
        while time.monotonic() - self._sending_since < WRITE_TIMEOUT_S:  # noqa: ASYNC110 - a clock
            await asyncio.sleep(WRITE_TIMEOUT_S / 4)


class Generation(Response):
    """A response that runs `work` until it is done or the client is gone.

    Errors before the first byte rise to the error handlers; later ones become an error event, so
    that a client never takes a broken answer for a whole one.
    """

    def __init__(
        self, work: Callable[[Writer], Awaitable[None]], *, on_gone: Callable[[], None]
    ) -> None:
        super().__init__()
        self._work = work
        self._on_gone = on_gone

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        writer = Writer(send)
        work = asyncio.ensure_future(self._work(writer))
        gone = asyncio.ensure_future(_disconnected(receive))
        stalled = asyncio.ensure_future(writer.stalled())
        try:
            await asyncio.wait((work, gone, stalled), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                self._on_gone()
        finally:
            for task in (work, gone, stalled):  # the work first: an engine waits for its end
                await _cancelled(task)
        if not work.cancelled():
            await self._settle(scope, writer, work)

    async def _settle(self, scope: Scope, writer: Writer, work: asyncio.Future[None]) -> None:
        error = work.exception()
        if error is None:
            return
        if isinstance(error, ClientGone):
            self._on_gone()
        elif not writer.has_started:
            raise error
        else:
            await _send_error_event(scope, writer, error)


def told_of(error: BaseException) -> HearthError:
    """What a client is told where its answer breaks off; the log has more."""
    if isinstance(error, HearthError):
        log.warning("an answer broke off: %s", describe(error))
        return error
    log.error("an answer broke off by a mistake of ours", exc_info=error)
    return unexpected()


async def _send_error_event(scope: Scope, writer: Writer, error: BaseException) -> None:
    path = str(scope["path"])
    body = dump_json(error_body_at(path, told_of(error)))
    with contextlib.suppress(ClientGone):
        await writer.stream(frame(body, name="error" if path.startswith("/v1/messages") else ""))
        await writer.end()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancelled(task: asyncio.Future[None]) -> None:
    """Cancels and waits for the task's end, so that its engine connection is closed then."""
    if task.done():
        return
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task
