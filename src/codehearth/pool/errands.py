"""The slow things: opening, loading, stopping, watching and measuring, each in a task of its own.

An errand decides nothing. It does one thing with one child and then tells the pool, in the pool's
loop, what came of it; so the pool never waits and nobody else writes its records.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from codehearth.errors import EngineFailed, HearthError
from codehearth.pool.amount import Amount
from codehearth.pool.child import OpenModel, OpenModelCall, Room
from codehearth.pool.model import Life, Model

if TYPE_CHECKING:
    from codehearth.engines.endpoint import Endpoint

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """One look at the memory: what is free, and what each life held just before."""

    free: Amount
    held: tuple[tuple[Life, int, int], ...]
    """Life, resident bytes, private bytes."""


class Events(Protocol):
    """What errands tell the pool."""

    def lives(self) -> tuple[Life, ...]: ...
    def room_for(self, model: Model) -> Room: ...
    def on_opened(self, model: Model, opened: OpenModel | None) -> None: ...
    def on_open_failed(self, model: Model, error: HearthError) -> None: ...
    def on_ready(self, model: Model, life: Life, endpoint: Endpoint) -> None: ...
    def on_load_failed(self, model: Model, life: Life, error: HearthError) -> None: ...
    def on_death(self, model: Model, life: Life, error: HearthError) -> None: ...
    def on_gone(self, model: Model, life: Life) -> None: ...
    def on_ping(self, model: Model, life: Life, is_alive: bool) -> None: ...
    def on_reading(self, reading: Reading) -> bool:
        """False if it is no good any more, because somebody came or left meanwhile."""
        ...


class Errands:
    """Starts errands, and at the end makes sure that none is left."""

    def __init__(
        self, events: Events, open_model: OpenModelCall, read_memory: Callable[[], Amount]
    ) -> None:
        self._events = events
        self._open_model = open_model
        self._read_memory = read_memory
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading: asyncio.Task[None] | None = None
        # A thread of its own: a queue of slow disk work in the loop's threads must not delay this.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pool-memory")

    # --- starting an errand -------------------------------------------------------------------

    def open(self, model: Model) -> None:
        self._start(self._open(model))

    def load(self, model: Model, life: Life) -> None:
        self._start(self._load(model, life))

    def stop(self, model: Model, life: Life, grace_s: float | None) -> None:
        self._start(self._stop(model, life, grace_s))

    def ping(self, model: Model, life: Life, timeout_s: float) -> None:
        self._start(self._ping(model, life, timeout_s))

    def read(self) -> asyncio.Task[None]:
        """Measure; who asks while a measurement is under way gets that one."""
        if self._reading is None or self._reading.done():
            self._reading = self._start(self._read())
            self._reading.add_done_callback(_log_failure)
        return self._reading

    async def end(self) -> None:
        """Cancel what still runs and wait for it. Call it when no child is left."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._thread.shutdown(wait=False)

    def _start(self, errand: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(errand)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- the errands --------------------------------------------------------------------------

    async def _open(self, model: Model) -> None:
        try:
            await asyncio.shield(self.read())
            room = self._events.room_for(model)
            opened = await self._open_model(model.name, attempt=model.attempt, room=room)
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits for the answer
            self._events.on_open_failed(model, as_hearth_error(error, model.name))
        else:
            self._events.on_opened(model, opened)

    async def _load(self, model: Model, life: Life) -> None:
        process = life.opened.process
        try:
            endpoint = await process.ensure_ready()
        except Exception as failure:  # noqa: BLE001 - see above
            error = as_hearth_error(failure, model.name)
            await _end(life)
            self._events.on_load_failed(model, life, error)
            return
        self._events.on_ready(model, life, endpoint)
        await process.wait_dead()
        self._events.on_death(model, life, await _cause(life, model.name))

    async def _stop(self, model: Model, life: Life, grace_s: float | None) -> None:
        await _end(life, grace_s)
        self._events.on_gone(model, life)

    async def _ping(self, model: Model, life: Life, timeout_s: float) -> None:
        is_alive = False
        try:
            async with asyncio.timeout(timeout_s * 1.5):
                is_alive = await life.opened.process.is_alive(timeout_s=timeout_s)
        except Exception as error:  # noqa: BLE001 - a question that fails is one not answered
            _log.debug("no answer from %s: %r", model.name, error)
        self._events.on_ping(model, life, is_alive)

    async def _read(self) -> None:
        loop, is_good = asyncio.get_running_loop(), False
        while not is_good:
            lives = self._events.lives()
            reading = await loop.run_in_executor(self._thread, self._measure, lives)
            is_good = self._events.on_reading(reading)

    def _measure(self, lives: tuple[Life, ...]) -> Reading:
        """In a thread. First what the children hold, then what is free: a child that grows in
        between makes the sum too small, never too large."""
        held = tuple(
            (life, life.opened.process.resident_bytes(), life.opened.process.private_bytes())
            for life in lives
        )
        return Reading(self._read_memory(), held)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("the memory could not be measured", exc_info=error)


async def _end(life: Life, grace_s: float | None = 0.0) -> None:
    try:
        await life.opened.process.stop(grace_s=grace_s)
    except Exception:  # noqa: BLE001 - logged; what it still holds shows in the memory
        _log.exception("a child could not be stopped")


async def _cause(life: Life, name: str) -> HearthError:
    """Why a child died: a dead one says so when it is asked to be ready."""
    try:
        await life.opened.process.ensure_ready()
    except Exception as error:  # noqa: BLE001 - this is the answer
        return as_hearth_error(error, name)
    return EngineFailed(f"The engine of '{name}' died.")


def as_hearth_error(error: Exception, name: str) -> HearthError:
    """An error of ours as it is; anything else is a bug, logged here and told without details."""
    if isinstance(error, HearthError):
        return error
    _log.error("unexpected error about model %s", name, exc_info=error)
    failure = EngineFailed(
        f"The model '{name}' could not be loaded: {type(error).__name__}.",
        hint="this is a bug in the server; its log has the details",
    )
    failure.__cause__ = error
    return failure


def copy_error(error: HearthError, *, retry_after_s: int | None = None) -> HearthError:
    """The same error for one more person: raised twice, one object would grow two tracebacks."""
    copy = type(error).__new__(type(error), *error.args)
    copy.__dict__.update(error.__dict__)
    copy.__cause__ = error
    if retry_after_s is not None:
        copy.retry_after_s = retry_after_s
    return copy
