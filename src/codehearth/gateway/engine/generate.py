"""The one way from a request to an engine and back, for every route that generates.

A request asks for one or several choices. Each choice takes a lease of its own from the pool,
sends one request to the engine and gives pieces as they come; nothing is held while waiting for
another lease, so choices cannot block each other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from codehearth.errors import EngineFailed
from codehearth.gateway.engine.chunk_reader import ChunkReader, Meaning
from codehearth.gateway.engine.chunks import Piece, piece_of
from codehearth.gateway.engine.link import ask, refusal
from codehearth.gateway.engine.reply import NothingReceived
from codehearth.gateway.engine.upstream import adapter_fields
from codehearth.gateway.engine.usage import last_usage, summed_usage
from codehearth.gateway.house import House
from codehearth.pool.child import ModelFacts
from codehearth.pool.lease import Lease
from codehearth.wire.bounded_json import dump_json

_TRIES = 2
_Made = TypeVar("_Made")
Batches = AsyncGenerator[list[Piece], None]


@dataclass(frozen=True)
class Choice:
    """One thing to generate: which prompt it answers, and what an engine is asked.

    `body` makes the engine's request from the facts of the loaded model. `echo` is the text that
    the answer repeats before its own. `is_silent` where no token was asked for: an engine makes
    at least one, which is dropped. `read` makes a piece of an engine's chunk.
    `is_framed` unless somebody decides at each chunk whether the answer ends there: a fast stream
    is then not read once a frame.
    """

    prompt_number: int
    path: str
    body: Callable[[ModelFacts], Mapping[str, Any]]
    echo: str = ""
    is_silent: bool = False
    read: Meaning = piece_of
    is_framed: bool = True


@dataclass(frozen=True)
class Order:
    """What a client ordered: from which model, and on whose account."""

    model: str
    choices: Sequence[Choice]
    owner: str
    keep_alive_s: float | None = None
    arrived_at: float = field(default_factory=time.monotonic)

    @property
    def prompt_numbers(self) -> list[int]:
        """Which prompt each choice answers."""
        return [choice.prompt_number for choice in self.choices]


def choices_of(house: House, order: Order) -> list[Batches]:
    return [pieces_of(house, order, index) for index in range(len(order.choices))]


async def merged(choices: Sequence[Batches]) -> AsyncGenerator[tuple[int, list[Piece]], None]:
    """Batches of pieces of all choices as they come, each with its choice's number."""
    if len(choices) == 1:
        async with aclosing(choices[0]) as batches:
            async for batch in batches:
                yield 0, batch
        return
    arrived: asyncio.Queue[tuple[int, list[Piece]] | None] = asyncio.Queue(maxsize=64)

    async def collect(index: int) -> None:
        async with aclosing(choices[index]) as batches:
            async for batch in batches:
                await arrived.put((index, batch))

    async def collect_all() -> None:
        try:
            await _all([collect(index) for index in range(len(choices))])
        finally:
            await arrived.put(None)

    collecting = asyncio.create_task(collect_all())
    try:
        while (item := await arrived.get()) is not None:
            yield item
        await collecting
    finally:
        collecting.cancel()
        while not arrived.empty():  # a full queue would hold its last word, and us, for ever
            arrived.get_nowait()
        await asyncio.wait((collecting,))


async def _all(works: Sequence[Coroutine[Any, Any, _Made]]) -> list[_Made]:
    """All results in order; the first failure ends the others and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


async def pieces_of(house: House, order: Order, index: int) -> Batches:
    """One choice, in batches of what arrived together; the echo comes with the first.

    Asks a second time where the engine's connection broke before a byte came: a child that died
    while nobody used it is noticed only then.
    """
    choice = order.choices[index]
    is_first = True
    for attempt in range(1, _TRIES + 1):
        try:
            async with aclosing(_attempt(house, order, choice)) as batches:
                async for batch in batches:
                    if choice.is_silent:
                        batch = [_silenced(piece) for piece in batch]
                    if is_first and choice.echo:
                        batch.insert(0, Piece(delta={"text": choice.echo}))
                    if is_first:
                        _observe_first_token(house, order)
                    is_first = False
                    yield batch
            return
        except NothingReceived:
            if attempt == _TRIES:
                raise


def _silenced(piece: Piece) -> Piece:
    usage = piece.usage and {**piece.usage, "completion_tokens": 0}
    finish_reason = piece.finish_reason and "length"
    return Piece(finish_reason=finish_reason, usage=usage)


async def _attempt(house: House, order: Order, choice: Choice) -> Batches:
    lease_of = house.lease(order.model, owner=order.owner, keep_alive_s=order.keep_alive_s)
    async with lease_of as lease, suspected(lease):
        asked = dict(choice.body(lease.model)) | adapter_fields(lease.model) | _STREAMED
        body = dump_json(asked)
        asking = ask(lease.endpoint, "POST", choice.path, body, traffic=house.traffic)
        async with asking as reply:
            if reply.status != 200:
                raise await refusal(reply)
            reader = ChunkReader(choice.read)
            async for received in reply.pieces():
                read = reader.feed(received)
                if read.has_events:  # a comment comes from an engine that stands still, too
                    lease.progressed()
                if read.is_done or any(piece.finish_reason for piece in read.pieces):
                    reply.let_end()
                if read.pieces:
                    if choice.is_framed:
                        reply.begin_frames()
                    yield read.pieces
                if read.failure is not None:
                    raise read.failure
                if read.is_done:
                    return
            raise EngineFailed("The engine ended in the middle of an answer.")


@asynccontextmanager
async def suspected(lease: Lease) -> AsyncGenerator[None, None]:
    """Tells the pool when the engine broke off, so that the next request gets a live one."""
    try:
        yield
    except EngineFailed:
        lease.report_failure()
        raise


# The progress of reading a long prompt comes as chunks without text, so that an engine that is at
# work can be told from one that hangs.
_STREAMED = {
    "stream": True,
    "stream_options": {"include_usage": True},
    "return_progress": True,
}


def _observe_first_token(house: House, order: Order) -> None:
    waited_s = time.monotonic() - order.arrived_at
    house.metrics.first_token_s.labels(order.model).observe(waited_s)


def count(house: House, order: Order, usage: Mapping[str, Any]) -> None:
    """Adds an answer to the metrics."""
    house.metrics.prompt_tokens.labels(order.model).inc(usage["prompt_tokens"])
    house.metrics.generated_tokens.labels(order.model).inc(usage["completion_tokens"])
    house.metrics.duration_s.labels(order.model).observe(time.monotonic() - order.arrived_at)


async def counted_pieces(house: House, order: Order) -> Batches:
    """The pieces of an order with one choice, for who keeps them; counted when all have come."""
    usage: Mapping[str, Any] | None = None
    async with aclosing(pieces_of(house, order, 0)) as batches:
        async for batch in batches:
            usage = last_usage(batch) or usage
            yield batch
    count(house, order, summed_usage([(0, usage)]))
