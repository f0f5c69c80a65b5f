"""One child: from its start to its death.

An `EngineProcess` lives once. Its life is one task (`_live`), and that task alone writes the
state; everybody else asks and waits:

    new ──▶ starting ──▶ ready ──▶ stopping ──▶ dead
                │          └──────────────────▶ dead      (it died by itself)
                └──▶ stopping ──▶ dead                    (stopped, stalled or failed at the start)

- `ensure_ready` is single-flight: the first caller starts the life, all wait for the same end of
  the start, and a caller that is cancelled takes nothing with it.
- A start has no total time limit, because a big model on a slow disk takes what it takes. It has
  patience: it fails when for so long nothing moved, neither a log line nor resident memory.
- The child is leader of a session of its own, so the terminal's Ctrl-C does not reach it before
  we had our say, and what it started is ended with it.
- It is started through `workers/tether.py`, so it dies with us even when we are SIGKILLed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import psutil

from codehearth.engines.base import Command
from codehearth.engines.endpoint import Endpoint, Place, get
from codehearth.engines.failure import Death, failure_of, oom_kills
from codehearth.engines.log import ChildLog
from codehearth.errors import EngineFailed

State = Literal["new", "starting", "ready", "stopping", "dead"]

_POLL_S = 0.02  # while starting: a tiny model is ready within 100 ms
_LAST_WORDS_S = 0.5  # after death, for what is still in the pipe
_TETHER = Path(__file__).parent.parent / "workers" / "tether.py"


@dataclass(frozen=True)
class Patience:
    """How long to wait for what, in seconds."""

    start_s: float = 60.0  # without any sign of progress
    stop_s: float = 5.0  # from SIGTERM to SIGKILL


class EngineProcess:
    """One child process that serves one model. See the module for its states."""

    def __init__(
        self,
        name: str,
        command: Callable[[Endpoint], Command],
        *,
        log_path: Path | None = None,
        socket_root: Path | None = None,
        patience: Patience = Patience(),
        on_death: Callable[[Death], None] | None = None,
    ) -> None:
        """`command` is asked once, with the endpoint of this start; `on_death` is told once.

        `name` is the model's, for messages. `socket_root` is where the socket's folder is made.
        """
        self.name = name
        self._command = command
        self._log = ChildLog(log_path)
        self._socket_root = socket_root
        self._patience = patience
        self._on_death = on_death
        self._state: State = "new"
        self._life: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()  # ready or dead
        self._dead = asyncio.Event()
        self._stop_asked = asyncio.Event()
        self._grace_s = patience.stop_s
        self._place: Place | None = None
        self._child: _Child | None = None
        self._failure: EngineFailed | None = None
        self.death: Death | None = None
        self.why: tuple[str, ...] = ()

    # --- asking -------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        return self._state

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None else None

    def log_tail(self) -> str:
        """The child's last lines, for the operator."""
        return self._log.tail()

    def resident_bytes(self) -> int:
        """Memory that the child and its children hold; pages shared with others count in part.

        0 before the start and after the end. Elsewhere than on Linux shared pages count in full.
        """
        pid = self.pid
        if pid is None or self._dead.is_set():
            return 0
        return sum(_held_bytes(process) for process in _tree(pid))

    def private_bytes(self) -> int:
        """Memory that comes back to the system when the child ends.

        On Linux that leaves out pages of mapped files: the system counts them as available while
        they are in use. Elsewhere it is `resident_bytes`.
        """
        pid = self.pid
        if pid is None or self._dead.is_set():
            return 0
        return sum(_private_bytes(process) for process in _tree(pid))

    async def is_alive(self, *, timeout_s: float) -> bool:
        """Whether the child answers. False also for one that hangs or was stopped (SIGSTOP)."""
        if self._state != "ready" or self._place is None:
            return False
        try:
            answer = await get(self._place.endpoint, "/health", timeout_s=timeout_s)
        except (OSError, TimeoutError):
            return False
        return answer.status == 200

    # --- acting -------------------------------------------------------------------------------

    async def ensure_ready(self) -> Endpoint:
        """Start the child unless it was started, and wait until it serves.

        Raises EngineFailed (OutOfMemory where that is why) when it died, stalled or was stopped;
        a dead process stays dead: make a new one.
        """
        if self._life is None:
            self._life = asyncio.create_task(self._live(), name=f"engine of {self.name}")
        await self._settled.wait()
        if self._state == "ready" and self._place is not None:
            return self._place.endpoint
        raise self._why_not()

    async def stop(self, *, grace_s: float | None = None) -> None:
        """End the child: SIGTERM, then SIGKILL after the grace; returns when it is gone.

        May be called in any state, again and by many; the shortest grace asked for first counts.
        """
        if self._life is None:
            self._set_dead_unstarted()
            return
        if grace_s is not None and not self._stop_asked.is_set():
            self._grace_s = grace_s
        self._stop_asked.set()
        await self._dead.wait()

    async def kill(self) -> None:
        """End a child that hangs: SIGKILL at once."""
        await self.stop(grace_s=0)

    async def wait_dead(self) -> None:
        await self._dead.wait()

    # --- the life -----------------------------------------------------------------------------

    async def _live(self) -> None:
        oom_kills_before = oom_kills()
        try:
            self._state = "starting"
            self._place = Place.make(self._socket_root)
            self._child = await self._spawn(self._place)
            if await self._start(self._child, self._place.endpoint):
                self._state = "ready"
                self._settled.set()
                await _first(self._child.exited.wait(), self._stop_asked.wait())
            await self._end(self._child)
        except OSError as error:
            self._failure = EngineFailed(
                f"The engine of '{self.name}' could not be started: {error.strerror or error}."
            )
        finally:
            self._bury(oom_kills_before)

    async def _spawn(self, place: Place) -> _Child:
        command = self._command(place.endpoint)
        self.why = command.why
        loop = asyncio.get_running_loop()
        tether = (sys.executable, "-I", "-S", str(_TETHER), str(os.getpid()), "--")
        # The pipe on standard input is what tells a child without PDEATHSIG that we are gone.
        _, protocol = await loop.subprocess_exec(
            lambda: _Child(self._log),
            *tether,
            *command.argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(command.environment),
            cwd=place.folder,
            start_new_session=True,
        )
        return cast(_Child, protocol)

    async def _start(self, child: _Child, endpoint: Endpoint) -> bool:
        """Wait until the child serves; False when it will not."""
        clock = asyncio.get_running_loop().time
        progress, moved_at = _Progress(0, 0), clock()
        while not child.exited.is_set() and not self._stop_asked.is_set():
            if await _serves(endpoint):
                return True
            now = _Progress(self._log.num_bytes, max(progress.resident_bytes, _tree_rss(child.pid)))
            if now != progress:
                progress, moved_at = now, clock()
            elif clock() - moved_at > self._patience.start_s:
                self._failure = EngineFailed(
                    f"The engine of '{self.name}' made no progress for "
                    f"{self._patience.start_s:.0f} s while starting.",
                    log_tail=self._log.tail(),
                )
                self._grace_s = 0
                return False
            await _first(child.exited.wait(), self._stop_asked.wait(), timeout_s=_POLL_S)
        return False

    async def _end(self, child: _Child) -> None:
        """SIGTERM, grace, SIGKILL; then its last words."""
        if not child.exited.is_set():
            self._state = "stopping"
            child.was_ended_by_us = True
            if self._grace_s > 0:
                child.signal(signal.SIGTERM)
                await _first(child.exited.wait(), timeout_s=self._grace_s)
        child.kill_session()
        await child.exited.wait()
        await _first(child.silent.wait(), timeout_s=_LAST_WORDS_S)

    def _bury(self, oom_kills_before: int | None) -> None:
        """What must happen however the life ended, also when the loop is being torn down."""
        if self._child is not None:
            self._child.kill_session()
            self._child.close()
        if self._place is not None:
            self._place.remove()
        self.death = self._describe_death(oom_kills_before)
        self._state = "dead"
        self._dead.set()
        self._settled.set()
        if self._on_death is not None:
            self._on_death(self.death)

    def _describe_death(self, oom_kills_before: int | None) -> Death:
        child = self._child
        after = oom_kills()
        return Death(
            was_asked_for=self._stop_asked.is_set()
            and (child is None or child.was_ended_by_us or child.status in (0, -signal.SIGTERM)),
            status=child.status if child is not None else None,
            was_out_of_memory=None not in (after, oom_kills_before) and after != oom_kills_before,
            log_tail=self._log.tail(),
        )

    def _set_dead_unstarted(self) -> None:
        if self._state != "dead":
            self._state = "dead"
            self._dead.set()
            self._settled.set()

    def _why_not(self) -> EngineFailed:
        if self._failure is not None:
            return EngineFailed(
                self._failure.message, log_tail=self._failure.log_tail, hint=self._failure.hint
            )
        return failure_of(self.name, self.death)


class _Child(asyncio.SubprocessProtocol):
    """The operating system's side of a child: its pipe, its exit and its session."""

    def __init__(self, log: ChildLog) -> None:
        self._log = log
        self._transport: asyncio.SubprocessTransport | None = None
        self.pid = 0
        self.status: int | None = None  # exit code, or minus the signal
        self.was_ended_by_us = False
        self.exited = asyncio.Event()
        self.silent = asyncio.Event()  # its output is closed

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

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            if not self.exited.is_set():
                os.kill(self.pid, number)

    def kill_session(self) -> None:
        """SIGKILL the child and whatever it started in its session."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.pid:
                os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


@dataclass(frozen=True)
class _Progress:
    log_bytes: int
    resident_bytes: int


async def _serves(endpoint: Endpoint) -> bool:
    try:
        return (await get(endpoint, "/health", timeout_s=1.0)).status == 200
    except (OSError, TimeoutError):
        return False


async def _first(*waits: object, timeout_s: float | None = None) -> None:
    """Wait until one of the waits is over or the time is."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]  # type: ignore[call-overload]
    try:
        await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def _tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _tree_rss(pid: int) -> int:
    total = 0
    for process in _tree(pid):
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def _held_bytes(process: psutil.Process) -> int:
    try:
        if sys.platform == "linux":
            return int(process.memory_full_info().pss)
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _private_bytes(process: psutil.Process) -> int:
    try:
        memory = process.memory_info()
    except psutil.Error:
        return 0
    shared = memory.shared if sys.platform == "linux" else 0
    return max(0, int(memory.rss - shared))
