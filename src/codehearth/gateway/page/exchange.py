"""Conversations on their way out and in: the JSON document, and Markdown to read; pure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from codehearth.records.talk import Attachment, Conversation, Imported, Message, NewMessage
from codehearth.text.attachments import with_files
from codehearth.wire.conversations import ExportedConversation, ExportedMessage

_SPEAKERS = {"user": "You", "assistant": "Assistant"}


def as_document(conversation: Conversation, messages: Sequence[Message]) -> dict[str, Any]:
    """The whole conversation: what the API shows is also what an export holds."""
    return {**vars(conversation), "messages": messages}


def as_markdown(conversation: Conversation, messages: Sequence[Message]) -> str:
    """The branch that is shown, for people."""
    parts = [f"# {conversation.title or 'Conversation'}"]
    if conversation.system_prompt:
        parts.append("> " + conversation.system_prompt.replace("\n", "\n> "))
    for message in _shown(conversation, messages):
        speaker = _SPEAKERS[message.role]
        model = f" ({message.model})" if message.model else ""
        files = ((file.name, file.text) for file in message.attachments)
        parts.append(f"## {speaker}{model}\n\n{with_files(message.content, files).rstrip()}")
        if message.state not in ("done", "streaming"):
            parts.append(f"*({message.state})*")
    return "\n\n".join(parts) + "\n"


def imported(conversations: Sequence[ExportedConversation]) -> list[Imported]:
    """As they are stored. Ids are made anew, so only the shape of the tree is kept of the old."""
    return [_imported(one) for one in conversations]


def _imported(one: ExportedConversation) -> Imported:
    numbers = {message.id: number for number, message in enumerate(one.messages)}
    now = time.time()
    leaf_id = one.leaf_id or (one.messages[-1].id if one.messages else None)
    return Imported(
        title=one.title,
        is_titled=one.is_titled and bool(one.title),
        model=one.model,
        system_prompt=one.system_prompt,
        parameters=one.parameters.given() if one.parameters else {},
        max_turns=one.max_turns or None,
        created_at=min(one.created_at or now, now),
        updated_at=min(one.updated_at or now, now),
        places=[
            (_new(message), None if message.parent_id is None else numbers[message.parent_id])
            for message in one.messages
        ],
        leaf=None if leaf_id is None else numbers[leaf_id],
    )


def _new(message: ExportedMessage) -> NewMessage:
    """What was being written when it was exported is not being written here."""
    return NewMessage(
        message.role,
        message.content,
        attachments=[Attachment(file.name, file.text) for file in message.attachments or ()],
        model=message.model,
        state="interrupted" if message.state == "streaming" else message.state,
        reasoning=message.reasoning,
        error=message.error.model_dump() if message.error else None,
        figures=message.figures.model_dump() if message.figures else None,
        created_at=message.created_at,
    )


def _shown(conversation: Conversation, messages: Sequence[Message]) -> list[Message]:
    by_id = {message.id: message for message in messages}
    path, at = [], by_id.get(conversation.leaf_id or "")
    while at is not None:
        path.append(at)
        at = by_id.get(at.parent_id or "")
    return path[::-1]
