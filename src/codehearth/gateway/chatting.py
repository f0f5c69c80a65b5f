"""One chat, asked in any dialect: shown its repository, and answered with its timings."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Protocol

from fastapi import Request
from starlette.responses import Response

from codehearth.errors import InvalidRequest
from codehearth.gateway.answering import Dialect, answer_order
from codehearth.gateway.auth import caller_of
from codehearth.gateway.engine.chunks import TIMED, timed_piece
from codehearth.gateway.engine.generate import Choice, Order
from codehearth.gateway.engine.upstream import CHAT_PATH, check_chat
from codehearth.gateway.house import House, house_of
from codehearth.gateway.shown import Shown, question_of
from codehearth.gateway.streams import Generation
from codehearth.pool.child import ModelFacts
from codehearth.wire.requests import NOT_TEXT, ChatRequest


class Part(Protocol):
    """A part of a message in any dialect."""

    @property
    def type(self) -> str: ...


async def answer_chat(
    request: Request, chat: ChatRequest, model: str, dialect: Dialect
) -> Response:
    """The answer of one choice; its pieces carry counts from the first on where engines tell."""
    house = house_of(request)
    check_chat(chat)
    shown = await shown_to(house, chat)

    def body(facts: ModelFacts) -> dict[str, Any]:
        return shown.body(facts, choice=0) | TIMED

    order = Order(
        model=model,
        choices=[Choice(0, CHAT_PATH, body, read=timed_piece)],
        owner=caller_of(request).owner,
        keep_alive_s=house.keep_alive_s(chat.keep_alive),
    )
    work = partial(
        answer_order,
        house,
        order,
        dialect,
        is_streamed=bool(chat.stream),
        headers=shown.headers,
    )
    return Generation(work, on_gone=house.metrics.cancelled.inc)


def check_text(parts: Iterable[Part], *, where: str) -> None:
    """Raises InvalidRequest for pictures, sound and files among the parts of a message."""
    for part in parts:
        if part.type in NOT_TEXT:
            raise InvalidRequest(f"'{where}': text only, not '{part.type}'.", param=where)


async def shown_to(house: House, chat: ChatRequest) -> Shown:
    """The chat with what its repository has for it. Raises NotFound for a repository."""
    if chat.repository is None:
        return Shown(chat, ())
    return Shown(chat, await house.repositories.search(chat.repository, question_of(chat)))
