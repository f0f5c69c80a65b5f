"""How many tokens a chat has for a model, asked of the engine that has its template."""

from __future__ import annotations

from contextlib import aclosing

from codehearth.errors import Unsupported
from codehearth.gateway.engine.generate import Choice, Order, pieces_of, suspected
from codehearth.gateway.engine.link import engine_json
from codehearth.gateway.engine.upstream import CHAT_PATH, adapter_fields, chat_body
from codehearth.gateway.engine.usage import last_usage, num_prompt_tokens
from codehearth.gateway.house import House
from codehearth.wire.bounded_json import dump_json
from codehearth.wire.requests import ChatRequest


async def num_chat_tokens(house: House, chat: ChatRequest, model: str, *, owner: str) -> int:
    """llama.cpp counts without reading; another engine is asked for one token, and tells."""
    try:
        async with house.lease(model, owner=owner) as lease, suspected(lease):
            body = dict(chat_body(chat, lease.model, choice=0)) | adapter_fields(lease.model)
            counted = await engine_json(
                lease.endpoint, f"{CHAT_PATH}/input_tokens", dump_json(body)
            )
            return int(counted.get("input_tokens", 0))
    except Unsupported as error:
        if error.param is not None:  # it is the request that this model cannot do
            raise
    least = chat.model_copy(update={"max_tokens": 1, "max_completion_tokens": None})
    asked = Choice(0, CHAT_PATH, lambda facts: chat_body(least, facts, choice=0))
    order = Order(model=model, choices=[asked], owner=owner)
    used = None
    async with aclosing(pieces_of(house, order, 0)) as batches:
        async for batch in batches:
            used = last_usage(batch) or used
    return num_prompt_tokens(used or {})
