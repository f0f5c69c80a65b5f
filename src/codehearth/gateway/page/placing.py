"""Where an answer goes in its conversation: what an order changes before anything is written.

Not here: asking the model, and saving what comes (`answers`).
"""

from __future__ import annotations

from collections.abc import Sequence

from codehearth.errors import InvalidRequest
from codehearth.gateway.page.draft import Draft
from codehearth.records.conversations import Conversations
from codehearth.records.talk import Attachment, Conversation, Message, NewMessage
from codehearth.wire.conversations import AnswerRequest


def placed(
    tables: Conversations,
    user: str,
    conversation_id: str,
    asked: AnswerRequest,
    model: str,
    files: Sequence[Attachment],
) -> tuple[Draft, tuple[Message, ...]]:
    """Saves what the order changes, all or nothing: the user's new message, where there is
    one, and the answer that is to be written. With the branch that it goes on with."""
    with tables.together():
        conversation = tables.change(user, conversation_id, {"model": model})
        question = None
        if asked.action == "continue":
            answer = _reopened(tables, user, conversation, asked, model)
        elif asked.action == "regenerate":
            answer = _beside(tables, user, conversation, asked, model)
        else:
            question, answer = _below(tables, user, conversation, asked, model, files)
        path = tables.path(user, conversation_id, answer.id)
        conversation = tables.get(user, conversation_id)
    draft = Draft(conversation, answer, owner=user, user_message=question)
    return draft, path if answer.content else path[:-1]


def _reopened(
    tables: Conversations, user: str, conversation: Conversation, asked: AnswerRequest, model: str
) -> Message:
    target = _message(tables, user, conversation, asked.message_id or conversation.leaf_id)
    if target.role != "assistant":
        raise InvalidRequest("Only an answer can go on.", param="message_id")
    return tables.reopen(user, conversation.id, target.id, model=model)


def _beside(
    tables: Conversations, user: str, conversation: Conversation, asked: AnswerRequest, model: str
) -> Message:
    target = _message(tables, user, conversation, asked.message_id or conversation.leaf_id)
    parent_id = target.id if target.role == "user" else target.parent_id
    if parent_id is None:
        raise InvalidRequest("There is nothing that this would be an answer to.")
    return tables.append(user, conversation.id, [_empty(model)], parent_id=parent_id)[0]


def _below(
    tables: Conversations,
    user: str,
    conversation: Conversation,
    asked: AnswerRequest,
    model: str,
    files: Sequence[Attachment],
) -> tuple[Message, Message]:
    parent_id = asked.parent_id or conversation.leaf_id
    if asked.action == "edit":
        edited = _message(tables, user, conversation, asked.message_id)
        if edited.role != "user":
            raise InvalidRequest("Only a message of the user can be edited.", param="message_id")
        parent_id = edited.parent_id
    question = NewMessage("user", asked.content or "", attachments=list(files))
    new = tables.append(user, conversation.id, [question, _empty(model)], parent_id=parent_id)
    return new[0], new[1]


def _message(
    tables: Conversations, user: str, conversation: Conversation, id: str | None
) -> Message:
    if id is None:
        raise InvalidRequest("This conversation has no message yet.", param="message_id")
    return tables.message(user, conversation.id, id)


def _empty(model: str) -> NewMessage:
    return NewMessage("assistant", "", model=model, state="streaming")
