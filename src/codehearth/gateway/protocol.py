"""HTTP/1.1 as uvicorn speaks it, with bounds that it lacks: on the time and size of headers.

Without them, 200 sockets that send a header byte by byte stay open for ever.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_TIMEOUT_S = 10.0
MAX_HEADER_BYTES = 64 * 2**10


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose headers take too long, and refuses headers that are too large."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._header_bytes = 0  # that arrived without making a header complete
        self._header_size = 0  # of the parts that the parser has seen
        self._num_headers = 0  # that became complete
        self._is_in_header = True
        self._is_refused = False
        self._header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_header_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_in_header and self._header_timer is None:
            self._start_header_timer()
        arrived_in_header, num_headers_before = self._is_in_header, self._num_headers
        super().data_received(data)
        # Not for a request that arrived whole: then this is the next one's header again.
        is_same_header = self._is_in_header and self._num_headers == num_headers_before
        if arrived_in_header and is_same_header:
            self._header_bytes += len(data)
            if self._header_bytes > MAX_HEADER_BYTES:
                self._refuse(431, "Request Header Fields Too Large")

    def on_url(self, url: bytes) -> None:
        self._header_size += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_size += len(name) + len(value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_in_header = False
        self._num_headers += 1
        self._stop_header_timer()
        self._is_refused = self._header_size > MAX_HEADER_BYTES
        if self._is_refused:
            self._refuse(431, "Request Header Fields Too Large")
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_in_header = True
        self._header_bytes = self._header_size = 0
        if not self._is_refused:
            super().on_message_complete()

    def _start_header_timer(self) -> None:
        self._header_timer = self.loop.call_later(HEADER_TIMEOUT_S, self._too_slow)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _too_slow(self) -> None:
        self._header_timer = None
        if self.cycle is None or self.cycle.response_complete:
            self._refuse(408, "Request Timeout")

    def send_400_response(self, msg: str) -> None:
        """uvicorn's refusal is plain text; a client of ours expects the envelope."""
        self._refuse(400, "Bad Request: this is not proper HTTP")

    def _refuse(self, status: int, words: str) -> None:
        if self.transport.is_closing():
            return
        body = f'{{"error":{{"message":"{words}.","type":"invalid_request_error",'
        body += '"param":null,"code":null}}'
        head = f"HTTP/1.1 {status} {words.partition(':')[0]}\r\ncontent-type: application/json\r\n"
        head += f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write((head + body).encode())
        self.transport.close()
