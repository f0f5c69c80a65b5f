"""What the pool needs from the rooms below: a child to start, and somebody who opens models.

Types only. `engines.process.EngineProcess` is a `Child`; whoever builds the pool passes in an
`OpenModelCall` that finds the weights, plans the memory and makes the child, without starting it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from codehearth.pool.amount import Amount

if TYPE_CHECKING:
    from pathlib import Path

    from codehearth.engines.endpoint import Endpoint
    from codehearth.models.catalogue import Row
    from codehearth.models.weights import Weights


class Child(Protocol):
    """One child process that serves one model, from before its start until after its death."""

    async def ensure_ready(self) -> Endpoint:
        """Start it and wait until it serves. Raises EngineFailed, OutOfMemory or BadWeights."""
        ...

    async def stop(self, *, grace_s: float | None = None) -> None:
        """End it, in whatever state it is; returns when it is gone."""
        ...

    async def wait_dead(self) -> None: ...

    async def is_alive(self, *, timeout_s: float) -> bool:
        """Whether a ready child answers within the time."""
        ...

    def resident_bytes(self) -> int:
        """Memory it uses, weights mapped from a file included. May be slow: asked in a thread."""
        ...

    def private_bytes(self) -> int:
        """Memory that comes back when it leaves: the above without pages that the system counts
        as available anyway (a mapped file). May be slow: asked in a thread."""
        ...


@dataclass(frozen=True)
class ModelFacts:
    """What a request needs to know about the model that answers it."""

    name: str
    context_tokens: int
    """For each slot."""
    num_slots: int
    weights: Weights
    row: Row | None = None
    scores_prompts: bool = False
    """Whether its engine gives the log-probabilities of a prompt's own tokens."""
    takes_grammars: bool = True
    """Whether its engine writes by a grammar, so that it can be made to begin with a text."""
    takes_beginnings: bool = False
    """Whether it takes a text to begin with as such."""
    adapters: tuple[Path, ...] = ()
    """What is loaded beside the weights, each to be asked for by its place."""
    adapter: int | None = None
    """The place of the one that a request asks for."""


@dataclass(frozen=True)
class Room:
    """The memory that a new model may plan with."""

    free: Amount
    """What is free without anybody leaving; 0 where models hold more than the budget."""
    capacity: Amount
    """What there would be if every other model left: more than this never fits."""


@dataclass(frozen=True)
class OpenModel:
    """A model that is ready to be loaded: nothing of it is in memory yet."""

    process: Child
    footprint: Amount
    """What it will need, as predicted."""
    facts: ModelFacts
    engine: str = ""
    why: tuple[str, ...] = ()
    """The automatic choices with their reasons, for `hearth ps`."""


class OpenModelCall(Protocol):
    """Finds and plans one model.

    `attempt` is 0 at first and 1 after the engine ran out of memory: offer a smaller variant
    (fewer slots, a shorter context) then, or None where there is none. Raises ModelNotFound,
    BadWeights, DoesNotFit, EngineMissing; whoever waits for the model gets the error.
    """

    async def __call__(self, name: str, *, attempt: int, room: Room) -> OpenModel | None: ...
