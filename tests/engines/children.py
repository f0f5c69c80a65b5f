"""Children for the engine room's tests: the fake engine run by the real `EngineProcess`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil

from codehearth.engines.base import Command
from codehearth.engines.endpoint import Endpoint
from codehearth.engines.process import EngineProcess

FAKE = Path(__file__).parent.parent / "fake_engine.py"


def fake_command(*flags: str) -> Callable[[Endpoint], Command]:
    """What starts a fake engine with these flags."""

    def command(endpoint: Endpoint) -> Command:
        argv = (sys.executable, str(FAKE), "--socket", str(endpoint.socket_path), *flags)
        environment = {"FAKE_ENGINE_KEY": endpoint.api_key, "PATH": os.environ["PATH"]}
        return Command(argv, environment)

    return command


@contextlib.asynccontextmanager
async def child(*flags: str, **options: Any) -> AsyncIterator[EngineProcess]:
    """A fake engine that is stopped at the end, whatever happens."""
    process = EngineProcess("model", fake_command(*flags), **options)
    try:
        yield process
    finally:
        await process.kill()


async def post(endpoint: Endpoint, path: str, body: object) -> tuple[int, Any]:
    """Ask a child over a connection of its own; the answer's status and JSON."""
    return await asyncio.to_thread(_exchange, endpoint, "POST", path, json.dumps(body).encode())


async def ask(endpoint: Endpoint, path: str, *, headers: str = "") -> tuple[int, Any]:
    return await asyncio.to_thread(_exchange, endpoint, "GET", path, b"", headers)


def _exchange(
    endpoint: Endpoint, method: str, path: str, body: bytes, headers: str = ""
) -> tuple[int, Any]:
    status, _, answer = raw_exchange(endpoint, method, path, body, headers)
    return status, json.loads(answer) if answer.startswith(b"{") else answer


def raw_exchange(
    endpoint: Endpoint, method: str, path: str, body: bytes = b"", headers: str = ""
) -> tuple[int, bytes, bytes]:
    """Status, head and body. Pass an `Authorization` header to replace the right key."""
    if "Authorization" not in headers:
        headers += f"Authorization: Bearer {endpoint.api_key}\r\n"
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(60)
        link.connect(str(endpoint.socket_path))
        head = f"{method} {path} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n{headers}"
        link.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        received = b""
        while piece := link.recv(1 << 16):
            received += piece
    answer_head, _, answer = received.partition(b"\r\n\r\n")
    return int(answer_head.split(b" ")[1]), answer_head, answer


async def until(is_so: Callable[[], bool]) -> None:
    """Let the loop run until something is so that nobody announces."""
    async with asyncio.timeout(60):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def is_gone(pid: int) -> bool:
    """Whether the process has ended. A zombie that somebody else must reap has ended too."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_gone(pid: int, *, timeout_s: float = 30) -> None:
    """Wait for the end of a process that need not be our child; fails after the time."""
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(timeout_s)
