"""A lease: the right to have one request answered by a model that is in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING

from codehearth.pool.child import ModelFacts
from codehearth.pool.model import Life, Model

if TYPE_CHECKING:
    from codehearth.engines.endpoint import Endpoint


class Lease:
    """As long as it is held, the model is not evicted. Use it in the loop of the pool."""

    __slots__ = (
        "_clock",
        "_life",
        "_model",
        "_release",
        "_since",
        "_suspect",
        "endpoint",
        "model",
        "waited_s",
    )

    def __init__(
        self,
        model: Model,
        life: Life,
        endpoint: Endpoint,
        *,
        since: float,
        waited_s: float,
        clock: Callable[[], float],
        release: Callable[[Model, Life, float], None],
        suspect: Callable[[Model, Life], None],
    ) -> None:
        self.endpoint = endpoint
        self.model: ModelFacts = life.opened.facts
        self.waited_s = waited_s
        """How long the request stood in the queue, the load included; 0.0 if it did not."""
        self._model = model
        self._life = life
        self._since = since
        self._clock = clock
        self._release: Callable[[Model, Life, float], None] | None = release
        self._suspect = suspect

    def progressed(self) -> None:
        """Say that the engine answered something. Cheap: call it for each chunk."""
        self._life.progressed_at = self._clock()

    def report_failure(self) -> None:
        """Say that the engine broke the connection or cannot be reached.

        Until the child has answered a question of the pool, newcomers wait instead of running
        into the same wall; if it is dead, they get the next child.
        """
        self._suspect(self._model, self._life)

    def release(self) -> None:
        """Give it back. Leaving the `async with` does that; more often does no harm."""
        release, self._release = self._release, None
        if release is not None:
            release(self._model, self._life, self._since)


class LeaseContext:
    """What `Pool.lease` returns; enter it once."""

    __slots__ = ("_enter", "_lease")

    def __init__(self, enter: Callable[[], Awaitable[Lease]]) -> None:
        self._enter = enter
        self._lease: Lease | None = None

    async def __aenter__(self) -> Lease:
        self._lease = await self._enter()
        return self._lease

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._lease is not None:
            self._lease.release()
