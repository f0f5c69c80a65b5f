"""The operating system's side of a child: how it is started, its pipe, its exit, its session."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import cast

from codehearth.engines.base import Command
from codehearth.engines.log import ChildLog
from codehearth.engines.worker import WORKERS

_TETHER = WORKERS / "tether.py"


class Child(asyncio.SubprocessProtocol):
    """A started child. It writes its log and sets its two events; it decides nothing."""

    def __init__(self, log: ChildLog) -> None:
        self._log = log
        self._transport: asyncio.SubprocessTransport | None = None
        self._is_session_over = False
        self.pid = 0
        self.status: int | None = None  # exit code, or minus the signal
        self.exited = asyncio.Event()
        self.silent = asyncio.Event()  # nobody holds its output any more

    @classmethod
    async def start(cls, command: Command, *, folder: Path, log: ChildLog) -> Child:
        """Start `command` in `folder`, tied to this process. Raises OSError.

        It leads a session of its own, so the terminal's Ctrl-C does not reach it before we had
        our say, and what it started can be ended with it. The pipe on standard input is what
        tells a child without PDEATHSIG that we are gone.
        """
        tether = (sys.executable, "-I", "-S", str(_TETHER), str(os.getpid()), "--")
        _, child = await asyncio.get_running_loop().subprocess_exec(
            lambda: cls(log),
            *tether,
            *command.argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(command.environment),
            cwd=folder,
            start_new_session=True,
        )
        return child

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)
        self.pid = self._transport.get_pid()

    def pipe_data_received(self, fd: int, data: bytes | str) -> None:
        self._log.write(cast(bytes, data))

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1:
            self.silent.set()

    def process_exited(self) -> None:
        if self._transport is not None:
            self.status = self._transport.get_returncode()
        self.exited.set()

    def ask_to_end(self) -> None:
        """SIGTERM, to the child alone: it knows best how to end what it started."""
        with contextlib.suppress(ProcessLookupError):
            if not self.exited.is_set():
                os.kill(self.pid, signal.SIGTERM)

    def kill_session(self) -> None:
        """SIGKILL the child and whatever it started in its session; once after its exit.

        Not again later: the system may by then have given its number to somebody else.
        """
        if self.pid and not self._is_session_over:
            self._is_session_over = self.exited.is_set()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Give back the pipe, however it stands."""
        if self._transport is not None:
            self._transport.close()
