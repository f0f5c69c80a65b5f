"""The house: what the routes share, put together once from the settings."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from starlette.requests import Request

from codehearth.errors import EngineFailed, InvalidRequest
from codehearth.gateway.engine.link import Traffic
from codehearth.gateway.infilling.acceptance import Acceptance
from codehearth.gateway.infilling.suggestions import Suggestions
from codehearth.gateway.metrics import Metrics
from codehearth.gateway.repositories import Repositories
from codehearth.gateway.sandboxed import Sandboxed
from codehearth.models.store import LocalModel, Store
from codehearth.pool.child import ModelFacts
from codehearth.pool.lease import Lease
from codehearth.pool.pool import Pool
from codehearth.pool.status import ModelStatus
from codehearth.settings import Settings, parse_duration

_FOUND_FOR_S = 3.0
_MAX_REMEMBERED = 256
_TRIES = 3


@dataclass
class House:
    """Store, pool, metrics, traffic, suggestions, repositories and the sandbox of one server."""

    settings: Settings
    store: Store
    pool: Pool
    metrics: Metrics
    traffic: Traffic = field(default_factory=Traffic)
    suggestions: Suggestions = field(default_factory=Suggestions)
    acceptance: Acceptance = field(init=False)
    repositories: Repositories = field(init=False)
    sandboxed: Sandboxed = field(init=False)
    _found: dict[str, tuple[float, LocalModel]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.acceptance = Acceptance(self.metrics)
        self.repositories = Repositories(self.settings.data)
        self.sandboxed = Sandboxed(is_allowed=self.settings.run_code)

    async def models(self) -> tuple[LocalModel, ...]:
        return await asyncio.to_thread(self.store.models)

    async def find(self, name: str) -> LocalModel:
        """The model on this machine; raises ModelNotFound, and InvalidRequest for a bad name.

        A name is remembered for a moment, so that a busy client does not search the disk anew
        for each request.
        """
        remembered = self._found.get(name)
        if remembered and time.monotonic() < remembered[0]:
            return remembered[1]
        model = await asyncio.to_thread(self.store.find, name)
        if len(self._found) >= _MAX_REMEMBERED:
            self._found.clear()
        self._found[name] = self._found[model.name] = (time.monotonic() + _FOUND_FOR_S, model)
        return model

    def forget_found(self) -> None:
        """After a model was deleted: what is remembered of it is not true any more."""
        self._found.clear()

    @asynccontextmanager
    async def lease(
        self, name: str, *, owner: str = "", keep_alive_s: float | None = None
    ) -> AsyncGenerator[Lease, None]:
        """`Pool.lease` for a model by its name, whichever process serves it.

        Adapters on one base share a process. One that it does not have yet, because it was tuned
        since, makes the process begin anew once its answers are written.
        """
        for _ in range(_TRIES):
            model = await self.find(name)
            lease_of = self.pool.lease(model.process, owner=owner, keep_alive_s=keep_alive_s)
            async with lease_of as lease:
                facts = _facts_of(model, lease.model)
                if facts is not None:
                    lease.model = facts
                    yield lease
                    return
            await self.pool.unload(model.process)
            self.forget_found()
        raise EngineFailed(f"'{name}' was changed while it was asked for.", hint="ask again")

    async def name_of(self, asked: str | None) -> str:
        """The one name of the model that a request asks for: all its spellings share a child."""
        return (await self.find(asked or self.settings.model)).name

    async def process_of(self, asked: str | None) -> str:
        """The pool's name for what serves a model; one that `hearth ps` shows stays as it is."""
        if asked is not None and any(one.name == asked for one in self.pool.status()):
            return asked
        return (await self.find(asked or self.settings.model)).process

    async def live(self, name: str) -> ModelStatus | None:
        """The model as it is in memory; None where it does not serve now."""
        process = await self.process_of(name)
        lives = (one for one in self.pool.status() if one.name == process)
        return next((one for one in lives if one.state == "ready"), None)

    def keep_alive_s(self, asked: float | str | None) -> float | None:
        """Ollama's `keep_alive`: seconds, or text such as "5m"; None keeps the server's own."""
        if asked is None or isinstance(asked, int | float):
            return asked
        try:
            return parse_duration(asked)
        except ValueError as error:
            raise InvalidRequest(
                f"'keep_alive' is '{asked}', which is not a duration such as 300, '5m' or -1.",
                param="keep_alive",
            ) from error


def _facts_of(model: LocalModel, facts: ModelFacts) -> ModelFacts | None:
    """What a request for a model needs to know; None where the process lacks its adapter."""
    if model.adapter is None:
        return facts
    if model.adapter not in facts.adapters:
        return None
    return replace(facts, name=model.name, adapter=facts.adapters.index(model.adapter))


def house_of(request: Request) -> House:
    house = request.app.state.house
    assert isinstance(house, House)
    return house
