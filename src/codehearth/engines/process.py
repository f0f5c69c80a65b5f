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
- It is started through `workers/tether.py`, so it dies with us even when we are SIGKILLed.

Start it from the thread that lives as long as the server (see `workers/tether.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from codehearth.engines import held_memory
from codehearth.engines.base import Command
from codehearth.engines.child import Child
from codehearth.engines.endpoint import Endpoint, Place, get
from codehearth.engines.failure import Death, failure_of, oom_kills
from codehearth.engines.log import ChildLog
from codehearth.engines.movement import Movement
from codehearth.errors import EngineFailed, HearthError

State = Literal["new", "starting", "ready", "stopping", "dead"]

_POLL_S = 0.02  # while starting: a tiny model is ready within 100 ms
_LOOK_S = 0.5  # how often a start's progress is looked at: the process table is read for it
_LAST_WORDS_S = 0.5  # after death, for what is still in the pipe
_UNKILLABLE_S = 10.0  # after SIGKILL; a process that hangs in a driver cannot die


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
        self._child: Child | None = None
        self._failure: HearthError | None = None
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
        """Memory that the child holds, mapped weights included; 0 before and after its life."""
        child = self._running()
        return held_memory.resident_bytes(child.pid) if child else 0

    def private_bytes(self) -> int:
        """Memory that comes back to the system when the child ends."""
        child = self._running()
        return held_memory.private_bytes(child.pid) if child else 0

    def gpu_bytes(self) -> int | None:
        """Memory that the child holds of NVIDIA's GPUs; None where nothing can be told."""
        child = self._running()
        return held_memory.gpu_bytes(child.pid) if child else None

    async def is_alive(self, *, timeout_s: float) -> bool:
        """Whether the child answers. False also for one that hangs or was stopped (SIGSTOP)."""
        return self._state == "ready" and await self._answers("/health", timeout_s=timeout_s)

    # --- acting -------------------------------------------------------------------------------

    async def ensure_ready(self) -> Endpoint:
        """Start the child unless it was started, and wait until it serves.

        Raises EngineFailed (OutOfMemory where that is why) when it died, stalled or was stopped;
        a dead process stays dead: make a new one.
        """
        if self._life is None and self._state == "new":
            self._life = asyncio.create_task(self._live(), name=f"engine of {self.name}")
        await self._settled.wait()
        if self._state == "ready" and self._place is not None:
            return self._place.endpoint
        raise self._why_not()

    async def stop(self, *, grace_s: float | None = None) -> None:
        """End the child: SIGTERM, then SIGKILL after the grace; returns when it is gone.

        May be called in any state, again and by many; the shortest grace asked for counts.
        """
        if self._life is None:
            self._state = "dead"
            self._dead.set()
            self._settled.set()
        is_first = not self._stop_asked.is_set()
        if grace_s is not None and (is_first or grace_s < self._grace_s):
            self._grace_s = grace_s
            if grace_s <= 0 and self._child is not None and self._state == "stopping":
                self._child.kill_session()
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
            command = self._command(self._place.endpoint)
            self.why = command.why
            self._child = await Child.start(command, folder=self._place.folder, log=self._log)
            if await self._becomes_ready(self._child):
                self._state = "ready"
                self._settled.set()
                await _first(self._child.exited.wait(), self._stop_asked.wait())
            await self._end(self._child)
        except HearthError as error:  # what the command itself had to say
            self._failure = error
        except OSError as error:
            self._failure = EngineFailed(
                f"The engine of '{self.name}' could not be started: {error.strerror or error}."
            )
        except asyncio.CancelledError:  # the loop is being torn down: no grace, but no zombie
            if self._child is not None:
                self._child.kill_session()
                await _first(self._child.exited.wait(), timeout_s=_UNKILLABLE_S)
            raise
        finally:
            self._bury(oom_kills_before)

    async def _becomes_ready(self, child: Child) -> bool:
        """Wait until the child serves; False when it died, stalled or is to stop."""
        clock = asyncio.get_running_loop().time
        movement = Movement(log_bytes=0, memory_bytes=0, since=clock())
        next_look = clock() + _LOOK_S
        while not child.exited.is_set() and not self._stop_asked.is_set():
            if await self._answers("/health", timeout_s=1.0):
                return True
            if clock() >= next_look:
                next_look = clock() + _LOOK_S
                movement = movement.seen(
                    log_bytes=self._log.num_bytes,
                    memory_bytes=held_memory.touched_bytes(child.pid),
                    now=clock(),
                )
                if clock() - movement.since > self._patience.start_s:
                    self._failure = self._stalled()
                    self._grace_s = 0
                    return False
            await _first(child.exited.wait(), self._stop_asked.wait(), timeout_s=_POLL_S)
        return False

    async def _end(self, child: Child) -> None:
        """SIGTERM, grace, SIGKILL; then its last words."""
        if not child.exited.is_set():
            self._state = "stopping"
            if self._grace_s > 0:
                child.ask_to_end()
                await _first(child.exited.wait(), timeout_s=self._grace_s)
        child.kill_session()
        await _first(child.exited.wait(), timeout_s=_UNKILLABLE_S)
        child.kill_session()
        await _first(child.silent.wait(), timeout_s=_LAST_WORDS_S)

    def _bury(self, oom_kills_before: int | None) -> None:
        """What must happen however the life ended."""
        child = self._child
        if child is not None:
            child.close()
        if self._place is not None:
            self._place.remove()
        self._log.close()
        after = oom_kills()
        self.death = Death(
            was_asked_for=self._stop_asked.is_set() or self._state == "stopping",
            was_ready=self._settled.is_set(),
            status=child.status if child is not None else None,
            was_out_of_memory=None not in (after, oom_kills_before) and after != oom_kills_before,
            log_tail=self._log.tail(),
        )
        self._state = "dead"
        self._dead.set()
        self._settled.set()
        if self._on_death is not None:
            self._on_death(self.death)

    # --- small things -------------------------------------------------------------------------

    def _running(self) -> Child | None:
        return None if self._dead.is_set() else self._child

    async def _answers(self, path: str, *, timeout_s: float) -> bool:
        if self._place is None:
            return False
        try:
            answer = await get(self._place.endpoint, path, timeout_s=timeout_s)
        except (OSError, TimeoutError):
            return False
        return answer.status == 200

    def _stalled(self) -> EngineFailed:
        return EngineFailed(
            f"The engine of '{self.name}' made no progress for {self._patience.start_s:.0f} s "
            "while starting.",
            log_tail=self._log.tail(),
            hint="`hearth logs` shows what it wrote; a longer load_timeout waits longer",
        )

    def _why_not(self) -> HearthError:
        if self._failure is not None:
            return self._failure.with_traceback(None)
        return failure_of(self.name, self.death)


async def _first(*waits: Coroutine[Any, Any, object], timeout_s: float | None = None) -> None:
    """Wait until one of the waits is over or the time is."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
