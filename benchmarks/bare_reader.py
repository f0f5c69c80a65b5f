"""The floor: a program that reads the streams of a fake engine and does nothing with them.

Prints the CPU that it takes for a chunk, in microseconds. `benchmarks.gateway` runs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator

import uvloop

from benchmarks.measuring import ROOT, cpu_s

BODY = json.dumps({"messages": [{"role": "user", "content": "x"}], "stream": True}).encode()
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(BODY)
) + BODY


class Reading(asyncio.Protocol):
    def __init__(self) -> None:
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(REQUEST)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        pass

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(None)


@contextlib.contextmanager
def fake_engine(num_tokens: int) -> Iterator[int]:
    flags = ("--port", "0", "--tokens", str(num_tokens), "--token-delay-s", "0.005")
    command = [sys.executable, str(ROOT / "tests" / "fake_engine.py"), *flags]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        assert child.stdout is not None
        try:
            yield int(child.stdout.readline().rpartition(":")[2])
        finally:
            child.terminate()


async def read(port: int, num_streams: int) -> None:
    loop = asyncio.get_running_loop()

    async def one() -> None:
        _, protocol = await loop.create_connection(Reading, "127.0.0.1", port)
        await protocol.ended

    await asyncio.gather(*(one() for _ in range(num_streams)))


async def cost_us(port: int, num_streams: int, num_tokens: int) -> float:
    await read(port, 1)
    before = cpu_s(os.getpid())
    await read(port, num_streams)
    return (cpu_s(os.getpid()) - before) / (num_streams * num_tokens) * 1e6


def main() -> None:
    num_streams, num_tokens = map(int, sys.argv[1:])
    with fake_engine(num_tokens) as port:
        print(uvloop.run(cost_us(port, num_streams, num_tokens)))


if __name__ == "__main__":
    main()
