"""The program behind `front.py`: where it listens, its life, and what it complained of."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx2

from codehearth.workers.dialects import Complaints

WELL_S = 10.0  # how long it may think about whether it is well

_TETHER = Path(__file__).with_name("tether.py")
_GUARD = Path(__file__).with_name("guard.py")
_POLL_S = 0.2  # while it starts
_STOP_S = 4.0  # the house's own patience is a little longer
_SILENCE_S = 600.0  # the house's watchdog is quicker
_MAX_LINE_BYTES = 1 << 16


class Behind:
    """A program that is started here and asked over `client`.

    In its arguments `{socket}` or `{port}` is where it shall listen, `{key}` what it shall ask for.
    """

    def __init__(self, argv: list[str], key: str, folder: Path) -> None:
        wants_port = any("{port}" in word for word in argv)
        if any("{key}" in word for word in argv):  # arguments can be read by other users
            key = secrets.token_urlsafe(32)
        self._socket = folder / "behind.sock"
        port = _free_port() if wants_port else 0
        places = {"{socket}": str(self._socket), "{port}": str(port), "{key}": key}
        self._argv = [_filled(word, places) for word in argv]
        self._complaints = Complaints()
        base = f"http://127.0.0.1:{port}" if wants_port else "http://engine"
        uds = None if wants_port else str(self._socket)
        self.client = httpx2.AsyncClient(
            base_url=base,
            headers={"Authorization": f"Bearer {key}"},
            transport=httpx2.AsyncHTTPTransport(uds=uds, retries=0),
            timeout=httpx2.Timeout(_SILENCE_S, connect=WELL_S),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=32),
        )

    async def start(self) -> None:
        """Start it, and first what ends whatever it starts, should this process be killed."""
        self._guard = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", str(_GUARD), stdin=asyncio.subprocess.PIPE
        )
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", str(_TETHER), str(os.getpid()), "--", *self._argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=_MAX_LINE_BYTES,
        )  # fmt: skip
        self._listening = asyncio.create_task(self._pass_on_output())

    async def ended(self) -> int:
        """Its exit status, once it has ended and said all."""
        status = await self._process.wait()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._listening), 1.0)
        return status

    async def is_well(self) -> bool:
        try:
            return (await self.client.get("/health", timeout=WELL_S)).status_code == 200
        except httpx2.HTTPError:
            return False

    async def ready(self) -> None:
        while not await self.is_well():  # noqa: ASYNC110 - what it says first is no sign that it listens
            await asyncio.sleep(_POLL_S)

    @property
    def cause(self) -> str | None:
        return self._complaints.cause

    async def stop(self) -> None:
        """SIGTERM; whoever does not end by it is left to the house, which kills the session."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), _STOP_S)

    async def _pass_on_output(self) -> None:
        assert self._process.stdout is not None
        while True:
            try:
                line = await self._process.stdout.readline()
            except ValueError:  # a line without an end; the next one may have one
                continue
            if not line:
                return
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
            self._complaints.hear(line.decode("utf-8", "replace"))


def _filled(word: str, places: Mapping[str, str]) -> str:
    for name, value in places.items():
        word = word.replace(name, value)
    return word


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
