"""The routes of answers in conversations: begun, watched again, stopped.

A watcher is a client with an event stream. It may go at any time; the answer goes on.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from codehearth.gateway.auth import Caller, caller_of
from codehearth.gateway.body import read_request
from codehearth.gateway.house import House, house_of
from codehearth.gateway.page.desk import desk_of
from codehearth.gateway.page.draft import Draft
from codehearth.gateway.replies import JsonResponse
from codehearth.gateway.streams import Generation, Writer
from codehearth.wire.bounded_json import dump_json
from codehearth.wire.conversations import AnswerRequest
from codehearth.wire.sse import frame

router = APIRouter()

_LOOK_EVERY_S = 0.5
_COMMENT_EVERY_S = 10.0


@router.post("/hearth/conversations/{conversation_id}/answers")
async def answer(request: Request, conversation_id: str) -> Response:
    """Asks a model in a conversation; the answer is saved while it grows, whoever watches."""
    asked = await read_request(request, AnswerRequest)
    house, desk, caller = house_of(request), desk_of(request), caller_of(request)
    draft = await desk.answers.begin(house, caller, conversation_id, asked)
    return _watch(house, caller, draft)


@router.get("/hearth/conversations/{conversation_id}/answers/{message_id}")
async def watch(request: Request, conversation_id: str, message_id: str) -> Response:
    """What there is of an answer and the rest as it comes; one that is over ends at once."""
    house, desk, caller = house_of(request), desk_of(request), caller_of(request)
    tables = desk.archive.conversations
    message = await desk.archive.do(tables.message, caller.user, conversation_id, message_id)
    if message.id in {one.id for one in desk.answers.of(caller.user)}:
        return _watch(house, caller, desk.answers.find(caller.user, message.id))
    conversation = await desk.archive.do(tables.get, caller.user, conversation_id)
    end = {"answer": message, "conversation": conversation}
    events = _event("start", {**end, "user_message": None}) + _event("end", end)
    return Response(events, media_type="text/event-stream")


@router.post("/hearth/conversations/{conversation_id}/answers/{message_id}/stop")
async def stop(request: Request, conversation_id: str, message_id: str) -> Response:
    """The message, stopped; one that was over already is given as it is."""
    desk, user = desk_of(request), caller_of(request).user
    tables = desk.archive.conversations
    message = await desk.archive.do(tables.message, user, conversation_id, message_id)
    if message.id in {one.id for one in desk.answers.of(user)}:
        message = await desk.answers.stop(user, message.id)
    return JsonResponse(message)


@router.get("/hearth/answers")
async def running(request: Request) -> Response:
    """The caller's answers that are under way."""
    mine = desk_of(request).answers.of(caller_of(request).user)
    rows = [{"conversation_id": one.conversation.id, "message_id": one.id} for one in mine]
    return JsonResponse({"answers": rows})


def _watch(house: House, caller: Caller, draft: Draft) -> Response:
    return Generation(partial(_show, house, caller, draft), on_gone=lambda: None)


async def _show(house: House, caller: Caller, draft: Draft, writer: Writer) -> None:
    with draft.watched():
        seen, told, spoke_at = draft.num_pieces, b"", time.monotonic()
        await writer.stream(_event("start", _beginning(draft)))
        async for delta in draft.deltas(seen, every_s=_LOOK_EVERY_S):
            data = b""
            if delta.content or delta.reasoning:
                data = _event("delta", {name: text for name, text in vars(delta).items() if text})
            elif not draft.has_tokens and (status := _status(house, caller, draft)) != told:
                data, told = status, status
            elif time.monotonic() - spoke_at >= _COMMENT_EVERY_S:
                data = b": still at it\n\n"
            if data:
                spoke_at = time.monotonic()
                await writer.stream(data)
        ending = {"answer": draft.message(), "conversation": draft.conversation}
        await writer.stream(_event("end", ending))
        await writer.end()


def _beginning(draft: Draft) -> dict[str, Any]:
    return {
        "conversation": draft.conversation,
        "user_message": draft.user_message,
        "answer": draft.message(),
    }


def _status(house: House, caller: Caller, draft: Draft) -> bytes:
    """Why there is no token yet, as an event."""
    name = draft.message().model
    life = next((one for one in house.pool.status() if one.name == name), None)
    state = "reading" if life is None or life.state == "ready" else life.state
    if state not in ("waiting", "loading", "reading"):
        state = "waiting"
    why = life.why if life is not None and caller.is_admin and state != "reading" else ""
    return _event("status", {"state": state, "why": why})


def _event(name: str, data: object) -> bytes:
    return frame(dump_json(data), name=name)
