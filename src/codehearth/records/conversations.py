"""Conversations in SQLite: trees of messages, each conversation with one owner.

Every method names the owner, and what is another's is not found. Methods are synchronous and
short; whoever calls them from a loop does so in a thread. All raise RecordsUnavailable where
SQLite cannot read or write now.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from codehearth.errors import Conflict, InvalidRequest, NotFound
from codehearth.records import searching
from codehearth.records.database import transaction, translated
from codehearth.records.talk import (
    MAX_CONVERSATIONS,
    MAX_MESSAGES,
    Attachment,
    Conversation,
    Found,
    Imported,
    Message,
    NewMessage,
)
from codehearth.text.titles import title_of

_CONVERSATION = """
    SELECT id, title, is_titled, model, system_prompt, parameters, max_turns, leaf_id,
        (SELECT count(*) FROM messages WHERE conversation_id = conversations.id),
        created_at, updated_at
    FROM conversations
"""
_MESSAGE = """
    SELECT id, parent_id, role, content, reasoning, attachments, model, state, error, figures,
        created_at, updated_at
    FROM messages
"""
_MATCHES = """
    SELECT conversation_id, messages.id, text, max(number) FROM message_text
    JOIN messages ON number = message_text.rowid
    JOIN conversations ON conversations.id = conversation_id
    WHERE owner = ?
"""
_NEWEST_OF_EACH = "GROUP BY conversation_id ORDER BY conversations.updated_at DESC LIMIT ?"
_MAX_INDEXED = 2**18
"""Characters of a message that can be found: a trigram index takes its time, and its space."""

_CHANGEABLE = ("title", "is_titled", "model", "system_prompt", "parameters", "max_turns", "leaf_id")

Cursor = tuple[float, str]
"""Where a page of the list ended: time of the last change and id of its last conversation."""


class Conversations:
    """The tables `conversations` and `messages`, and the index of their text."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    # --- looking ------------------------------------------------------------------------------

    def page(
        self, owner: str, *, limit: int, after: Cursor | None = None
    ) -> tuple[Conversation, ...]:
        """Those changed last, first; `after` goes on where another page ended."""
        with translated():
            rows = self._connection.execute(
                _CONVERSATION + " WHERE owner = ? AND (updated_at, id) < (?, ?)"
                " ORDER BY updated_at DESC, id DESC LIMIT ?",
                (owner, *(after or (1e300, "")), limit),
            )
            return tuple(_conversation(row) for row in rows)

    def get(self, owner: str, id: str) -> Conversation:
        with translated():
            row = self._connection.execute(
                _CONVERSATION + " WHERE owner = ? AND id = ?", (owner, id)
            ).fetchone()
        if row is None:
            raise NotFound("There is no such conversation.")
        return _conversation(row)

    def messages(self, owner: str, id: str) -> tuple[Message, ...]:
        """All messages of all branches, parents before their children."""
        self.get(owner, id)
        with translated():
            rows = self._connection.execute(
                _MESSAGE + " WHERE conversation_id = ? ORDER BY number", (id,)
            )
            return tuple(_message(row) for row in rows)

    def message(self, owner: str, id: str, message_id: str) -> Message:
        self.get(owner, id)
        with translated():
            row = self._connection.execute(
                _MESSAGE + " WHERE conversation_id = ? AND id = ?", (id, message_id)
            ).fetchone()
        if row is None:
            raise NotFound("There is no such message in this conversation.", param="message_id")
        return _message(row)

    def path(self, owner: str, id: str, leaf_id: str) -> tuple[Message, ...]:
        """The branch from its first message down to `leaf_id`."""
        by_id = {message.id: message for message in self.messages(owner, id)}
        found, at = [], by_id.get(leaf_id)
        while at is not None:
            found.append(at)
            at = by_id.get(at.parent_id or "")
        return tuple(reversed(found))

    def search(self, owner: str, query: str, *, limit: int) -> tuple[Found, ...]:
        """Conversations with all words in one message, or in the title; changed last, first."""
        words = searching.words_of(query)
        if not words:
            return ()
        with translated():
            found = self._with_title(owner, words, limit)
            for one in self._with_message(owner, words, limit):
                found.setdefault(one.conversation.id, one)
        newest = sorted(found.values(), key=lambda one: one.conversation.updated_at, reverse=True)
        return tuple(newest[:limit])

    def _with_title(self, owner: str, words: tuple[str, ...], limit: int) -> dict[str, Found]:
        likes = " AND title LIKE ? ESCAPE '\\'" * len(words)
        rows = self._connection.execute(
            _CONVERSATION + f" WHERE owner = ?{likes} ORDER BY updated_at DESC LIMIT ?",
            (owner, *map(searching.like, words), limit),
        )
        conversations = [_conversation(row) for row in rows]
        return {one.id: Found(one, None, one.title) for one in conversations}

    def _with_message(self, owner: str, words: tuple[str, ...], limit: int) -> Iterator[Found]:
        """One message of each conversation: the newest that holds the words."""
        expression, short = searching.indexed(words), searching.scanned(words)
        conditions = ["AND message_text MATCH ?"] if expression else []
        conditions += ["AND text LIKE ? ESCAPE '\\'"] * len(short)
        rows = self._connection.execute(
            " ".join((_MATCHES, *conditions, _NEWEST_OF_EACH)),
            (owner, *([expression] if expression else []), *short, limit),
        ).fetchall()
        for conversation_id, message_id, text, _ in rows:
            around = searching.snippet(text, words)
            yield Found(self.get(owner, conversation_id), message_id, around)

    # --- changing -----------------------------------------------------------------------------

    def together(self) -> AbstractContextManager[object]:
        """What is changed in this block is changed at once, or not at all."""
        return transaction(self._connection)

    def create(self, owner: str, fields: Mapping[str, Any]) -> Conversation:
        """A conversation without messages; `fields` as in `change`."""
        with transaction(self._connection) as connection:
            self._require_room(owner, 1)
            id = _new_id("c")
            _insert_conversation(connection, id, owner, now=time.time())
            _update(connection, id, fields)
        return self.get(owner, id)

    def change(self, owner: str, id: str, fields: Mapping[str, Any]) -> Conversation:
        """Sets some fields. An empty title gives the automatic one back."""
        with transaction(self._connection) as connection:
            self.get(owner, id)
            if fields.get("leaf_id") is not None:
                self.message(owner, id, fields["leaf_id"])
            _update(connection, id, fields)
            if fields.get("title") == "":
                _name_after_first_message(connection, id)
        return self.get(owner, id)

    def show_branch(self, owner: str, id: str, message_id: str) -> Conversation:
        """Makes the newest end below a message the leaf."""
        with transaction(self._connection) as connection:
            at: str | None = self.message(owner, id, message_id).id
            while at is not None:
                leaf_id = at
                row = connection.execute(
                    "SELECT id FROM messages WHERE parent_id = ? ORDER BY number DESC LIMIT 1",
                    (at,),
                ).fetchone()
                at = row[0] if row else None
            _update(connection, id, {"leaf_id": leaf_id})
        return self.get(owner, id)

    def delete(self, owner: str, id: str) -> None:
        with transaction(self._connection) as connection:
            self.get(owner, id)
            connection.execute("DELETE FROM conversations WHERE id = ?", (id,))

    def delete_some(self, owner: str, *, limit: int) -> int:
        """Deletes some, and says how many; call it until none is left.

        Taking text out of the index takes time, and others want the records in between.
        """
        with transaction(self._connection) as connection:
            return connection.execute(
                "DELETE FROM conversations WHERE id IN"
                " (SELECT id FROM conversations WHERE owner = ? LIMIT ?)",
                (owner, limit),
            ).rowcount

    def append(
        self, owner: str, id: str, messages: Sequence[NewMessage], *, parent_id: str | None
    ) -> tuple[Message, ...]:
        """Adds messages one below the other, the first below `parent_id`; the last is the leaf.

        Raises Conflict where the parent is still being written.
        """
        with transaction(self._connection) as connection:
            _require_space(self.get(owner, id), len(messages))
            if parent_id is not None and self.message(owner, id, parent_id).state == "streaming":
                raise Conflict(
                    "An answer is still being written here.", hint="wait for it, or stop it"
                )
            ids = []
            for new in messages:
                parent_id = _insert(connection, id, new, parent_id)
                ids.append(parent_id)
                if new.state != "streaming":
                    _index(connection, parent_id)
            _update(connection, id, {"leaf_id": parent_id})
            _name_after_first_message(connection, id)
        return tuple(self.message(owner, id, one) for one in ids)

    def reopen(self, owner: str, id: str, message_id: str, *, model: str) -> Message:
        """Marks an answer as being written again, so that `model` can go on with it."""
        with transaction(self._connection) as connection:
            message = self.message(owner, id, message_id)
            if message.state == "streaming":
                raise Conflict("This answer is being written.", hint="wait for it, or stop it")
            connection.execute(
                "UPDATE messages SET state = 'streaming', error = NULL, model = ? WHERE id = ?",
                (model, message_id),
            )
            _update(connection, id, {"leaf_id": message_id})
        return self.message(owner, id, message_id)

    def save(self, message: Message) -> None:
        """Writes what an answer is by now; one that is deleted meanwhile stays deleted."""
        with transaction(self._connection) as connection:
            connection.execute(
                "UPDATE messages SET content = ?, reasoning = ?, state = ?, error = ?,"
                " figures = ?, model = ?, updated_at = ? WHERE id = ?",
                (
                    message.content,
                    message.reasoning,
                    message.state,
                    _json_or_none(message.error),
                    _json_or_none(message.figures),
                    message.model,
                    message.updated_at,
                    message.id,
                ),
            )
            if message.state != "streaming":
                _index(connection, message.id)
                connection.execute(
                    "UPDATE conversations SET updated_at = ? WHERE id ="
                    " (SELECT conversation_id FROM messages WHERE id = ?)",
                    (message.updated_at, message.id),
                )

    def interrupt_all(self) -> int:
        """At a start: what was being written when the last server ended is interrupted."""
        with transaction(self._connection) as connection:
            ids = connection.execute("SELECT id FROM messages WHERE state = 'streaming'").fetchall()
            for (id,) in ids:
                connection.execute("UPDATE messages SET state = 'interrupted' WHERE id = ?", (id,))
                _index(connection, id)
        return len(ids)

    def add_imported(self, owner: str, conversations: Sequence[Imported]) -> tuple[str, ...]:
        """All of them with new ids, or none. They are found once `index_some` had its turns."""
        with transaction(self._connection) as connection:
            self._require_room(owner, len(conversations))
            return tuple(_import(connection, owner, one) for one in conversations)

    def index_some(self, *, limit: int) -> int:
        """Indexes messages that are not yet, the newest first; 0 when there are none left."""
        with transaction(self._connection) as connection:
            ids = connection.execute(
                "SELECT id FROM messages WHERE state <> 'streaming' AND NOT EXISTS"
                " (SELECT 1 FROM message_text WHERE rowid = number)"
                " ORDER BY number DESC LIMIT ?",
                (limit,),
            ).fetchall()
            for (id,) in ids:
                _index(connection, id)
        return len(ids)

    def _require_room(self, owner: str, num_more: int) -> None:
        (count,) = self._connection.execute(
            "SELECT count(*) FROM conversations WHERE owner = ?", (owner,)
        ).fetchone()
        if count + num_more > MAX_CONVERSATIONS:
            raise InvalidRequest(
                f"There may be {MAX_CONVERSATIONS} conversations, and {count} are here.",
                hint="export and delete some",
            )


def _require_space(conversation: Conversation, num_more: int) -> None:
    if conversation.num_messages + num_more > MAX_MESSAGES:
        raise InvalidRequest(
            f"A conversation may have {MAX_MESSAGES} messages.", hint="begin a new one"
        )


def _insert_conversation(
    connection: sqlite3.Connection, id: str, owner: str, *, now: float
) -> None:
    connection.execute(
        "INSERT INTO conversations (id, owner, title, is_titled, system_prompt, parameters,"
        " created_at, updated_at) VALUES (?, ?, '', 0, '', '{}', ?, ?)",
        (id, owner, now, now),
    )


def _insert(
    connection: sqlite3.Connection, conversation_id: str, new: NewMessage, parent_id: str | None
) -> str:
    id, now = _new_id("m"), time.time() if new.created_at is None else new.created_at
    attachments = [{"name": one.name, "text": one.text} for one in new.attachments]
    connection.execute(
        "INSERT INTO messages (id, conversation_id, parent_id, role, content, reasoning,"
        " attachments, model, state, error, figures, created_at, updated_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            id,
            conversation_id,
            parent_id,
            new.role,
            new.content,
            new.reasoning,
            _json(attachments),
            new.model,
            new.state,
            _json_or_none(new.error),
            _json_or_none(new.figures),
            now,
            now,
        ),
    )
    return id


def _index(connection: sqlite3.Connection, message_id: str) -> None:
    """An answer is indexed when it is over: doing so twice a second would cost more than it."""
    row = connection.execute(
        "SELECT number, content, attachments FROM messages WHERE id = ?", (message_id,)
    ).fetchone()
    if row is None:
        return
    number, content, attachments = row
    files = [f"{one['name']}\n{one['text']}" for one in json.loads(attachments)]
    connection.execute("DELETE FROM message_text WHERE rowid = ?", (number,))
    connection.execute(
        "INSERT INTO message_text (rowid, text) VALUES (?, ?)",
        (number, "\n".join([content, *files])[:_MAX_INDEXED]),
    )


def _update(connection: sqlite3.Connection, id: str, fields: Mapping[str, Any]) -> None:
    values = {name: fields[name] for name in _CHANGEABLE if name in fields}
    if "parameters" in values:
        values["parameters"] = _json(values["parameters"])
    if "title" in values:
        values["is_titled"] = int(values["title"] != "")
    values["updated_at"] = time.time()
    columns = ", ".join(f"{name} = ?" for name in values)
    connection.execute(
        f"UPDATE conversations SET {columns} WHERE id = ?",  # noqa: S608 - names are ours
        (*values.values(), id),
    )


def _name_after_first_message(connection: sqlite3.Connection, id: str) -> None:
    row = connection.execute(
        "SELECT content, attachments FROM messages WHERE conversation_id = ? AND role = 'user'"
        " ORDER BY number LIMIT 1",
        (id,),
    ).fetchone()
    if row is None:
        return
    names = [one["name"] for one in json.loads(row[1])]
    title = title_of(row[0]) or ", ".join(names)[:100]
    connection.execute(
        "UPDATE conversations SET title = ? WHERE id = ? AND is_titled = 0", (title, id)
    )


def _import(connection: sqlite3.Connection, owner: str, one: Imported) -> str:
    id = _new_id("c")
    _insert_conversation(connection, id, owner, now=one.created_at)
    ids: list[str] = []
    for message, parent in one.places:
        ids.append(_insert(connection, id, message, None if parent is None else ids[parent]))
    connection.execute(
        "UPDATE conversations SET title = ?, is_titled = ?, model = ?, system_prompt = ?,"
        " parameters = ?, max_turns = ?, leaf_id = ?, updated_at = ? WHERE id = ?",
        (
            one.title,
            int(one.is_titled),
            one.model,
            one.system_prompt,
            _json(one.parameters),
            one.max_turns,
            None if one.leaf is None else ids[one.leaf],
            one.updated_at,
            id,
        ),
    )
    if not one.title:
        _name_after_first_message(connection, id)
    return id


def _conversation(row: Sequence[Any]) -> Conversation:
    fields = list(row)
    fields[2], fields[5] = bool(fields[2]), json.loads(fields[5])
    return Conversation(*fields)


def _message(row: Sequence[Any]) -> Message:
    fields = list(row)
    fields[5] = tuple(Attachment(**one) for one in json.loads(fields[5]))
    fields[8] = fields[8] and json.loads(fields[8])
    fields[9] = fields[9] and json.loads(fields[9])
    return Message(*fields)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=dict)


def _json_or_none(value: Any) -> str | None:
    return None if value is None else _json(value)


def _new_id(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(10)}"
