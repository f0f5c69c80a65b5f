"""A small house for the pool's tests: models by name, real children, memory of the test's making.

Children are `tests/fake_engine.py` run by the real `EngineProcess`. Memory is play money: each
model costs what the test says, and the machine has what the test says, so nothing depends on the
machine that runs the tests. The house also watches: it notes every start and stop, and complains
when a rule of the pool is broken.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from codehearth.engines.base import Command
from codehearth.engines.endpoint import Endpoint, get
from codehearth.engines.process import EngineProcess, Patience
from codehearth.pool import Lease, Limits, ModelFacts, OpenModel, Pool, Room
from codehearth.pool.amount import Amount

FAKE = Path(__file__).parent.parent / "fake_engine.py"
GB = 1_000_000_000


@dataclass
class Blueprint:
    """A model of the house: what it costs and how its children behave."""

    name: str
    num_bytes: int = GB
    num_slots: int = 2
    flags: tuple[str, ...] = ()
    smaller: Blueprint | None = None
    open_error: Exception | None = None
    gate: asyncio.Event | None = None
    """Opening waits for it."""


class HouseChild(EngineProcess):
    """A real child whose memory is play money and whose life the house follows."""

    def __init__(self, house: House, blueprint: Blueprint) -> None:
        super().__init__(
            blueprint.name, self._command_line, patience=Patience(start_s=30, stop_s=5)
        )
        self.house = house
        self.blueprint = blueprint
        self.num_leases = 0

    def _command_line(self, endpoint: Endpoint) -> Command:
        flags = ("--socket", str(endpoint.socket_path), "--alias", self.blueprint.name)
        environment = {"FAKE_ENGINE_KEY": endpoint.api_key, "PATH": os.environ.get("PATH", "")}
        return Command((sys.executable, str(FAKE), *flags, *self.blueprint.flags), environment)

    async def ensure_ready(self) -> Endpoint:
        if self.state == "new":
            self.house.note_start(self)
        return await super().ensure_ready()

    async def stop(self, *, grace_s: float | None = None) -> None:
        self.house.note_stop(self, grace_s)
        await super().stop(grace_s=grace_s)
        self.house.note_end(self)

    def resident_bytes(self) -> int:
        return self.blueprint.num_bytes if self.state in ("starting", "ready") else 0

    def private_bytes(self) -> int:
        return self.resident_bytes()


@dataclass
class House:
    """The machine, the models on it, and a diary."""

    total_bytes: int = 2 * GB
    others_bytes: int = 0
    blueprints: dict[str, Blueprint] = field(default_factory=dict)
    living: list[HouseChild] = field(default_factory=list)
    diary: list[tuple[str, str]] = field(default_factory=list)
    opened: list[tuple[str, int, Room]] = field(default_factory=list)
    num_starts: Counter[str] = field(default_factory=Counter)
    max_living_bytes: int = 0
    broken_rules: list[str] = field(default_factory=list)

    def add(self, *blueprints: Blueprint) -> House:
        self.blueprints |= {blueprint.name: blueprint for blueprint in blueprints}
        return self

    def read_memory(self) -> Amount:
        return Amount(self.total_bytes - self.others_bytes - self.living_bytes())

    def living_bytes(self) -> int:
        return sum(child.blueprint.num_bytes for child in self.living if child.state != "dead")

    async def open_model(self, name: str, *, attempt: int, room: Room) -> OpenModel | None:
        blueprint = self.blueprints[name]
        self.opened.append((name, attempt, room))
        if blueprint.gate is not None:
            await blueprint.gate.wait()
        if blueprint.open_error is not None:
            raise blueprint.open_error
        if attempt == 1:
            if blueprint.smaller is None:
                return None
            blueprint = blueprint.smaller
        facts: Any = ModelFacts(name, 4096, blueprint.num_slots, weights=None)  # type: ignore[arg-type]
        return OpenModel(
            HouseChild(self, blueprint), Amount(blueprint.num_bytes), facts, engine="fake"
        )

    # --- the diary ----------------------------------------------------------------------------

    def note_start(self, child: HouseChild) -> None:
        name = child.blueprint.name
        if any(other.name == child.name and other.state != "dead" for other in self.living):
            self.broken_rules.append(f"two children of {name} at once")
        self.living.append(child)
        self.num_starts[name] += 1
        self.diary.append(("start", name))
        self.max_living_bytes = max(self.max_living_bytes, self.living_bytes())

    def note_stop(self, child: HouseChild, grace_s: float | None) -> None:
        if child in self.living and child.state != "dead":
            self.diary.append(("stop", child.blueprint.name))
            if child.num_leases and grace_s != 0:
                self.broken_rules.append(f"{child.name} was stopped while it served")

    def note_end(self, child: HouseChild) -> None:
        if child in self.living:
            self.living.remove(child)
            self.diary.append(("end", child.blueprint.name))

    def child(self, name: str) -> HouseChild:
        return next(child for child in self.living if child.name == name)

    def starts(self) -> list[str]:
        return [name for what, name in self.diary if what == "start"]


class Clock:
    """Time that moves when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def pool_of(house: House, *, clock: Any = None, **limits: Any) -> AsyncIterator[Pool]:
    """A pool over the house that is closed at the end, with nothing left of it."""
    # Measuring often gives `until` an event to look at for what the pool itself does not note.
    given = replace(Limits(min_stay_s=0.0, measure_every_s=0.05), **limits)
    timing = {} if clock is None else {"clock": clock}
    pool = Pool(open_model=house.open_model, read_memory=house.read_memory, limits=given, **timing)
    try:
        yield pool
    finally:
        await pool.close()
    assert [child.name for child in house.living if child.state != "dead"] == []
    assert house.broken_rules == []
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert [task for task in others if "codehearth/pool" in str(task)] == []


@asynccontextmanager
async def leased(house: House, pool: Pool, name: str, **how: Any) -> AsyncIterator[Lease]:
    """A lease that the house knows of, so that it can complain about a stop meanwhile."""
    async with pool.lease(name, **how) as lease:
        child = house.child(name)
        child.num_leases += 1
        try:
            yield lease
        finally:
            child.num_leases -= 1


async def ask(lease: Lease) -> int:
    """One small question to the child behind a lease; the status of its answer."""
    return (await get(lease.endpoint, "/v1/models", timeout_s=20)).status


def status_by_name(pool: Pool) -> dict[str, Any]:
    return {status.name: status for status in pool.status()}


async def until(pool: Pool, condition: Callable[[], object], *, timeout_s: float = 60.0) -> None:
    """Wait for events of the pool until the condition holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await pool._change(None)


async def whole_request(house: House, pool: Pool, name: str, **how: Any) -> str:
    """A lease, one question, done. The name of the model that answered."""
    async with leased(house, pool, name, **how) as lease:
        assert await ask(lease) == 200
        return lease.model.name
