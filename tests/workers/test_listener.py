"""The workers' small HTTP server, over a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from codehearth.workers.transformers.listener import Refused, Stream, Whole, listen


class _Breaks:
    """An app whose stream says one thing, and then goes wrong in the way that is asked for."""

    async def answer(self, method: str, path: str, body: bytes) -> Whole | Stream:
        return Stream(self._chunks(path))

    async def _chunks(self, path: str) -> AsyncGenerator[dict[str, Any]]:
        yield {"said": 1}
        raise Refused(502, "no more", "server_error") if path == "/refused" else KeyError("x")


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [("/refused", 502, "no more"), ("/mistake", 500, "KeyError: 'x'")],
)
def test_what_goes_wrong_in_the_middle_of_a_stream_is_its_last_event(
    tmp_path: Path, path: str, status: int, message: str
) -> None:
    """A mistake wrote the head of a second answer into the stream."""

    async def story() -> bytes:
        async with await listen(str(tmp_path / "s"), "k", _Breaks()):
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
            writer.write(f"GET {path} HTTP/1.1\r\nAuthorization: Bearer k\r\n\r\n".encode())
            received = await reader.read()
            writer.close()
            return received

    _, _, body = asyncio.run(story()).partition(b"\r\n\r\n")

    first, last = body.strip().split(b"\n\n")
    assert first == b'data: {"said": 1}'
    error = json.loads(last.removeprefix(b"data: "))["error"]
    assert (error["code"], error["message"]) == (status, message)
