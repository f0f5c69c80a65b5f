"""A world of its own time: an event loop whose clock jumps to the next timer, and tame children.

A minute of the pool's life takes a millisecond, and always the same way. The children here are
not processes: what needs a real process (signals, pipes, exits) is tested with `pool_house.py`.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from codehearth.engines.endpoint import Endpoint
from codehearth.errors import EngineFailed, HearthError, OutOfMemory
from codehearth.pool import Lease, Limits, ModelFacts, OpenModel, Pool, Room
from codehearth.pool.amount import Amount

Result = TypeVar("Result")
MAX_SHORT_NAPS = 100
READ_S = 0.01


class _JumpingSelector:
    """Never sleeps: where the loop would wait for a timer, the clock jumps to it."""

    def __init__(self, loop: WorldLoop, selector: selectors.BaseSelector) -> None:
        self._loop = loop
        self._selector = selector

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "everybody waits for ever: the pool has forgotten somebody"
        self._loop.now += timeout
        self._loop.num_short_naps += 0 < timeout < 0.002
        return self._selector.select(0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._selector, name)


class WorldLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.now = 1000.0
        self.num_short_naps = 0
        super().__init__(_JumpingSelector(self, selectors.DefaultSelector()))  # type: ignore[arg-type]

    def time(self) -> float:
        return self.now

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        """A thread that takes a hundredth of a second and looks at the world at its end."""
        future = self.create_future()

        def work() -> None:
            if not future.cancelled():
                future.set_result(func(*args))

        self.call_later(READ_S, work)
        return future


def run(story: Coroutine[Any, Any, Result]) -> Result:
    """Tell a story in a world of its own."""
    with asyncio.Runner(loop_factory=WorldLoop) as runner:
        return runner.run(story)


def now() -> float:
    return asyncio.get_running_loop().time()


# --- children -----------------------------------------------------------------------------------


@dataclass
class Nature:
    """What a model's children are like. Sizes are small numbers, times are seconds."""

    name: str
    size: int = 1
    gpu_size: int = 0
    num_slots: int = 2
    load_s: float = 3.0
    stop_s: float = 0.5
    load_errors: list[HearthError] = field(default_factory=list)
    """What the next loads end with, one each; then they succeed."""
    open_error: Exception | None = None
    open_s: float = 0.0
    smaller: Nature | None = None

    @property
    def footprint(self) -> Amount:
        return Amount(self.size, self.gpu_size)


class TameChild:
    """A child by the book, and by command a dead or a silent one."""

    def __init__(self, world: World, nature: Nature) -> None:
        self.world = world
        self.nature = nature
        self.state = "new"
        self.is_silent = False
        self.num_leases = 0
        self.ready_at = 0.0
        self._settled = asyncio.Event()
        self._dead = asyncio.Event()
        self.cause: HearthError = EngineFailed(f"{nature.name} was stopped")

    async def ensure_ready(self) -> Endpoint:
        if self.state == "new":
            self.world.note_start(self)
            self.state = "starting"
            asyncio.get_running_loop().call_later(self.nature.load_s, self._finish_load)
        await self._settled.wait()
        if self.state != "ready":
            raise self.cause
        return Endpoint(None, f"http://{self.nature.name}", "key")

    def _finish_load(self) -> None:
        if self.state == "starting":
            if self.nature.load_errors:
                self.die(self.nature.load_errors.pop(0))
            else:
                self.state, self.ready_at = "ready", now()
                self._settled.set()

    def die(self, cause: HearthError | None = None) -> None:
        if self.state != "dead":
            self.cause = cause or EngineFailed(f"{self.nature.name} was killed by SIGKILL")
            self.state = "dead"
            self._settled.set()
            self._dead.set()

    async def stop(self, *, grace_s: float | None = None) -> None:
        if self.state in ("starting", "ready"):
            self.world.note_stop(self, grace_s)
            await asyncio.sleep(min(self.nature.stop_s, grace_s or 0))
        self.die(EngineFailed(f"{self.nature.name} was stopped"))

    async def wait_dead(self) -> None:
        await self._dead.wait()

    async def is_alive(self, *, timeout_s: float) -> bool:
        if self.is_silent:
            await asyncio.sleep(timeout_s)
            return False
        return self.state == "ready"

    def resident_bytes(self) -> int:
        return self.nature.size if self.state in ("starting", "ready") else 0

    def private_bytes(self) -> int:
        return self.resident_bytes()


@dataclass
class World:
    """A machine of `size`, the models on it, and the rules that the pool must keep."""

    size: int = 2
    gpu_size: int = 0
    others: int = 0
    """What other processes hold."""
    min_stay_s: float = 1.0
    natures: dict[str, Nature] = field(default_factory=dict)
    children: list[TameChild] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    opened: list[tuple[str, int, Room]] = field(default_factory=list)
    broken_rules: list[str] = field(default_factory=list)

    def add(self, *natures: Nature) -> World:
        self.natures |= {nature.name: nature for nature in natures}
        return self

    def living(self, name: str | None = None) -> list[TameChild]:
        alive = [child for child in self.children if child.state in ("starting", "ready")]
        return [child for child in alive if name in (None, child.nature.name)]

    def child(self, name: str) -> TameChild:
        (child,) = self.living(name)
        return child

    def free(self) -> int:
        return self.size - self.others - sum(child.nature.size for child in self.living())

    def gpu_free(self) -> int:
        return self.gpu_size - sum(child.nature.gpu_size for child in self.living())

    async def open_model(self, name: str, *, attempt: int, room: Room) -> OpenModel | None:
        nature: Nature | None = self.natures[name]
        assert nature is not None
        self.opened.append((name, attempt, room))
        await asyncio.sleep(nature.open_s)
        if nature.open_error is not None:
            raise nature.open_error
        nature = nature.smaller if attempt else nature
        if nature is None:
            return None
        facts: Any = ModelFacts(name, 4096, nature.num_slots, weights=None)  # type: ignore[arg-type]
        return OpenModel(TameChild(self, nature), nature.footprint, facts, engine="tame")

    # --- rules --------------------------------------------------------------------------------

    def note_start(self, child: TameChild) -> None:
        if self.living(child.nature.name):
            self._complain(f"a second child of {child.nature.name}")
        self.children.append(child)
        self.started.append(child.nature.name)
        # The child that starts is still "new" and not counted as living.
        if self.others == 0 and self.free() < child.nature.size:
            self._complain(f"{child.nature.name} does not fit: {self.free()} are free")
        if self.gpu_free() < child.nature.gpu_size:
            self._complain(f"{child.nature.name} does not fit on the GPU: {self.gpu_free()}")

    def note_stop(self, child: TameChild, grace_s: float | None) -> None:
        if grace_s == 0:
            return  # a kill, which the watchdog and the end may do
        if child.num_leases:
            self._complain(f"{child.nature.name} was stopped while it served")

    def _complain(self, rule: str) -> None:
        self.broken_rules.append(f"at {now():.1f}: {rule}")


@asynccontextmanager
async def pool_in(world: World, **limits: Any) -> AsyncIterator[Pool]:
    """A pool in the world, closed at the end; then the rules are checked."""
    given = replace(Limits(min_stay_s=world.min_stay_s), **limits)
    pool = Pool(
        open_model=world.open_model,
        read_memory=lambda: Amount(world.free(), world.gpu_free()),
        limits=given,
        clock=now,
    )
    try:
        yield pool
    finally:
        await pool.close()
    assert world.broken_rules == []
    assert world.living() == []
    num_short_naps = asyncio.get_running_loop().num_short_naps  # type: ignore[attr-defined]
    # Once a timer was always due while somebody waited, and the pool woke up each millisecond.
    assert num_short_naps <= MAX_SHORT_NAPS, "the pool spins"
    assert asyncio.all_tasks() == {asyncio.current_task()}


@asynccontextmanager
async def served(world: World, pool: Pool, name: str, **how: Any) -> AsyncIterator[Lease]:
    """A lease that the world knows of."""
    async with pool.lease(name, **how) as lease:
        if not world.living(name):  # it died in this very moment: the connection is refused
            lease.report_failure()
            raise EngineFailed(f"The engine of '{name}' cannot be reached.")
        child = world.child(name)
        child.num_leases += 1
        try:
            yield lease
        finally:
            child.num_leases -= 1


async def request(
    world: World, pool: Pool, name: str, *, service_s: float = 1.0, **how: Any
) -> float:
    """One whole request; how long it waited."""
    async with served(world, pool, name, **how) as lease:
        for _ in range(int(service_s // 60)):
            await asyncio.sleep(60)
            lease.progressed()
        await asyncio.sleep(service_s % 60)
        return lease.waited_s


def later(story: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
    return asyncio.get_running_loop().create_task(story)


async def turn() -> None:
    """Let everything happen that needs no time."""
    await asyncio.sleep(1e-6)


def state_of(pool: Pool, name: str) -> str | None:
    return next((status.state for status in pool.status() if status.name == name), None)


def out_of_memory(name: str) -> OutOfMemory:
    return OutOfMemory(f"The engine of '{name}' ran out of memory.")


__all__ = [
    "Nature",
    "TameChild",
    "World",
    "later",
    "now",
    "out_of_memory",
    "pool_in",
    "request",
    "run",
    "served",
    "state_of",
    "turn",
]
