"""The house: what the routes share, put together once from the settings."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from starlette.requests import Request

from codehearth.errors import InvalidRequest
from codehearth.gateway.engine.link import Traffic
from codehearth.gateway.infilling.acceptance import Acceptance
from codehearth.gateway.infilling.suggestions import Suggestions
from codehearth.gateway.metrics import Metrics
from codehearth.gateway.repositories import Repositories
from codehearth.gateway.sandboxed import Sandboxed
from codehearth.models.store import LocalModel, Store
from codehearth.pool.pool import Pool
from codehearth.pool.status import ModelStatus
from codehearth.settings import Settings, parse_duration

_FOUND_FOR_S = 3.0
_MAX_REMEMBERED = 256


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
        self._found[name] = (time.monotonic() + _FOUND_FOR_S, model)
        return model

    def forget_found(self) -> None:
        """After a model was deleted: what is remembered of it is not true any more."""
        self._found.clear()

    async def name_of(self, asked: str | None) -> str:
        """The one name of the model that a request asks for: all its spellings share a child."""
        return (await self.find(asked or self.settings.model)).name

    def live(self, model: str) -> ModelStatus | None:
        """The model as it is in memory; None where it does not serve now."""
        return next((s for s in self.pool.status() if s.name == model and s.state == "ready"), None)

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


def house_of(request: Request) -> House:
    house = request.app.state.house
    assert isinstance(house, House)
    return house
