"""Several choices at once, whose reader leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from codehearth.gateway.engine.chunks import Piece
from codehearth.gateway.engine.generate import merged


async def endless() -> AsyncGenerator[list[Piece], None]:
    while True:
        yield [Piece(delta={"text": "x"})]


def test_a_reader_that_leaves_two_fast_choices_is_not_held() -> None:
    """The choices filled their queue and could not say their last word to nobody: the request and
    its share of the key were held for ever."""

    async def story() -> None:
        batches = merged([endless(), endless()])
        await anext(batches)
        await asyncio.sleep(0.05)  # until the queue is full: nothing tells of that
        async with asyncio.timeout(5):
            await batches.aclose()

    asyncio.run(story())
