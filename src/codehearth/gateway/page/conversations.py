"""The routes of conversations: listed, found, changed, exported and imported.

What they take and give stands in docs/page-api.md; answers have a file of their own.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from codehearth.errors import InvalidRequest
from codehearth.gateway.auth import caller_of
from codehearth.gateway.body import content_type_of, read_bytes, read_query, read_request
from codehearth.gateway.page.desk import Desk, desk_of
from codehearth.gateway.page.exchange import as_document, as_markdown, from_markdown, imported
from codehearth.gateway.replies import JsonResponse
from codehearth.gateway.streams import Generation, Writer
from codehearth.records.conversations import Cursor
from codehearth.records.talk import Attachment, Conversation, Message, NewMessage
from codehearth.wire.bounded_json import dump_json
from codehearth.wire.conversations import (
    FORMAT,
    MAX_IMPORTED_BYTES,
    AppendRequest,
    BranchRequest,
    ConversationFields,
    ExportedDocument,
)
from codehearth.wire.requests import Shape
from codehearth.wire.validation import validated

router = APIRouter()

SLICE = 20
"""How many are imported or deleted before others have their turn at the records."""

_CURSOR = re.compile(r"(\d{1,12}(?:\.\d{1,20})?(?:e[+-]?\d{1,3})?)~(c_[0-9a-f]{1,40})")


class PageQuery(Shape):
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    after: Annotated[str, Field(max_length=80)] | None = None


class SearchQuery(Shape):
    q: Annotated[str, Field(max_length=200)] = ""
    limit: Annotated[int, Field(ge=1, le=200)] = 30


class ExportQuery(Shape):
    format: Literal["json", "markdown"] = "json"


@router.get("/hearth/conversations")
async def list_conversations(request: Request) -> Response:
    """The caller's conversations without their messages, the newest first."""
    desk, user, asked = desk_of(request), caller_of(request).user, read_query(request, PageQuery)
    found = await desk.archive.do(
        desk.archive.conversations.page, user, limit=asked.limit, after=_place(asked.after)
    )
    more = len(found) == asked.limit
    return JsonResponse({"conversations": found, "next": _cursor(found[-1]) if more else None})


@router.get("/hearth/conversations/search")
async def search(request: Request) -> Response:
    """Conversations whose title or messages hold the words."""
    desk, user, asked = desk_of(request), caller_of(request).user, read_query(request, SearchQuery)
    found = await desk.archive.do(
        desk.archive.conversations.search, user, asked.q, limit=asked.limit
    )
    return JsonResponse({"results": found})


@router.get("/hearth/conversations/export")
async def export_all(request: Request) -> Response:
    """All in one document, read one by one while it is sent."""
    desk, user = desk_of(request), caller_of(request).user

    async def work(writer: Writer) -> None:
        head = {"format": FORMAT, "version": 1}
        headers = _attachment("codehearth-conversations.json", "application/json")
        await writer.stream(dump_json(head)[:-1] + b',"conversations":[', headers)
        after: Cursor | None = None
        while page := await desk.archive.do(
            desk.archive.conversations.page, user, limit=1, after=after
        ):
            one = page[0]
            comma = b"," if after else b""
            await writer.stream(comma + dump_json(await _whole(desk, user, one)))
            after = (one.updated_at, one.id)
        await writer.stream(b"]}")
        await writer.end()

    return Generation(work, on_gone=lambda: None)


@router.post("/hearth/conversations/import")
async def import_all(request: Request) -> Response:
    """Takes in conversations that were exported, as JSON or Markdown."""
    desk, user = desk_of(request), caller_of(request).user
    asked = await _read_export(request)
    tables = desk.archive.conversations
    ids = await desk.archive.do(tables.add_imported, user, imported(asked.conversations))
    while await desk.archive.do(tables.index_some, limit=SLICE):
        pass
    return JsonResponse({"imported": len(ids), "ids": ids}, status_code=201)


async def _read_export(request: Request) -> ExportedDocument:
    """What either export wrote: the JSON document, or Markdown."""
    if content_type_of(request) != "text/markdown":
        return await read_request(request, ExportedDocument, max_bytes=MAX_IMPORTED_BYTES)
    data = await read_bytes(request, max_bytes=MAX_IMPORTED_BYTES)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest("The file is not UTF-8.") from error
    return await asyncio.to_thread(lambda: validated(ExportedDocument, from_markdown(text)))


@router.post("/hearth/conversations")
async def create(request: Request) -> Response:
    """Makes an empty conversation."""
    desk, user = desk_of(request), caller_of(request).user
    asked = await read_request(request, ConversationFields)
    fields = {name: value for name, value in asked.given().items() if name != "leaf_id"}
    made = await desk.archive.do(desk.archive.conversations.create, user, fields)
    return JsonResponse({**vars(made), "messages": []}, status_code=201)


@router.delete("/hearth/conversations")
async def delete_all(request: Request) -> Response:
    """Deletes every conversation of the caller; answers under way are stopped."""
    desk, user = desk_of(request), caller_of(request).user
    await desk.answers.stop_all_of(user)
    deleted, tables = 0, desk.archive.conversations
    while some := await desk.archive.do(tables.delete_some, user, limit=SLICE):
        deleted += some
    return JsonResponse({"deleted": deleted})


@router.get("/hearth/conversations/{conversation_id}")
async def show(request: Request, conversation_id: str) -> Response:
    """One conversation with all its messages."""
    desk, user = desk_of(request), caller_of(request).user
    found = await desk.archive.do(desk.archive.conversations.get, user, conversation_id)
    return JsonResponse(await _whole(desk, user, found))


@router.patch("/hearth/conversations/{conversation_id}")
async def change(request: Request, conversation_id: str) -> Response:
    """Changes fields of a conversation, such as its title; the others stay."""
    desk, user = desk_of(request), caller_of(request).user
    asked = await read_request(request, ConversationFields)
    changed = await desk.archive.do(
        desk.archive.conversations.change, user, conversation_id, asked.given()
    )
    return JsonResponse(changed)


@router.delete("/hearth/conversations/{conversation_id}")
async def delete(request: Request, conversation_id: str) -> Response:
    """Deletes a conversation; an answer under way is stopped."""
    desk, user = desk_of(request), caller_of(request).user
    await desk.answers.stop_all_of(user, conversation_id)
    await desk.archive.do(desk.archive.conversations.delete, user, conversation_id)
    return JsonResponse({"deleted": 1})


@router.post("/hearth/conversations/{conversation_id}/branch")
async def show_branch(request: Request, conversation_id: str) -> Response:
    """Goes to another branch of a conversation."""
    desk, user = desk_of(request), caller_of(request).user
    asked = await read_request(request, BranchRequest)
    changed = await desk.archive.do(
        desk.archive.conversations.show_branch, user, conversation_id, asked.message_id
    )
    return JsonResponse({"leaf_id": changed.leaf_id, "updated_at": changed.updated_at})


@router.post("/hearth/conversations/{conversation_id}/messages")
async def append(request: Request, conversation_id: str) -> Response:
    """Adds a message without asking a model."""
    desk, user = desk_of(request), caller_of(request).user
    asked = await read_request(request, AppendRequest)
    messages = [
        NewMessage(
            one.role,
            one.content,
            attachments=[Attachment(file.name, file.text) for file in one.attachments or ()],
            model=one.model,
        )
        for one in asked.messages
    ]

    def append_below() -> tuple[Message, ...]:
        tables = desk.archive.conversations
        with tables.together():
            parent_id = asked.parent_id or tables.get(user, conversation_id).leaf_id
            return tables.append(user, conversation_id, messages, parent_id=parent_id)

    made = await desk.archive.do(append_below)
    return JsonResponse({"messages": made, "leaf_id": made[-1].id}, status_code=201)


@router.get("/hearth/conversations/{conversation_id}/export")
async def export(request: Request, conversation_id: str) -> Response:
    """One conversation, as JSON or Markdown."""
    desk, user, asked = desk_of(request), caller_of(request).user, read_query(request, ExportQuery)
    found = await desk.archive.do(desk.archive.conversations.get, user, conversation_id)
    whole = await _whole(desk, user, found)
    name = f"{_file_name(found.title)}-{found.id[-6:]}"
    if asked.format == "markdown":
        text = as_markdown(found, whole["messages"])
        return Response(text, headers=_attachment(f"{name}.md", "text/markdown; charset=utf-8"))
    body = dump_json({"format": FORMAT, "version": 1, "conversations": [whole]})
    return Response(body, headers=_attachment(f"{name}.json", "application/json"))


async def _whole(desk: Desk, user: str, conversation: Conversation) -> dict[str, Any]:
    messages = await desk.archive.do(desk.archive.conversations.messages, user, conversation.id)
    return as_document(conversation, desk.answers.live(messages))


def _cursor(last: Conversation) -> str:
    return f"{json.dumps(last.updated_at)}~{last.id}"


def _place(cursor: str | None) -> Cursor | None:
    if cursor is None:
        return None
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise InvalidRequest("'after' is not where a page of this list ended.", param="after")
    return float(found[1]), found[2]


def _file_name(title: str) -> str:
    """Part of a header: plain ASCII, whatever the title is."""
    return re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-")[:40] or "conversation"


def _attachment(name: str, content_type: str) -> dict[str, str]:
    return {
        "content-type": content_type,
        "content-disposition": f'attachment; filename="{name}"',
    }
