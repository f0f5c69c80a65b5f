"""The tables of the records, as steps from each release to the next. Steps are only ever added."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

Migration = Callable[[sqlite3.Connection], None]


def _create_keys(connection: sqlite3.Connection) -> None:
    connection.execute(
        """
        CREATE TABLE keys (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL,
            role TEXT NOT NULL CHECK (role IN ('user', 'admin')),
            digest BLOB NOT NULL UNIQUE,
            created_at REAL NOT NULL,
            revoked_at REAL
        ) STRICT
        """
    )


def _call_users_chat(connection: sqlite3.Connection) -> None:
    """The role `user` became `chat`, which says what it may do; its rights are the same."""
    connection.execute(
        """
        CREATE TABLE keys_with_roles (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL,
            role TEXT NOT NULL CHECK (role IN ('chat', 'admin')),
            digest BLOB NOT NULL UNIQUE,
            created_at REAL NOT NULL,
            revoked_at REAL
        ) STRICT
        """
    )
    connection.execute(
        """
        INSERT INTO keys_with_roles (id, name, role, digest, created_at, revoked_at)
        SELECT id, name, iif(role = 'admin', 'admin', 'chat'), digest, created_at, revoked_at
        FROM keys
        """
    )
    connection.execute("DROP TABLE keys")
    connection.execute("ALTER TABLE keys_with_roles RENAME TO keys")


def _create_sessions(connection: sqlite3.Connection) -> None:
    connection.execute(
        """
        CREATE TABLE sessions (
            digest BLOB PRIMARY KEY,
            key_id INTEGER NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
            created_at REAL NOT NULL,
            expires_at REAL NOT NULL
        ) STRICT
        """
    )


def _create_conversations(connection: sqlite3.Connection) -> None:
    """Conversations as trees of messages, and their text once more, cut into trigrams."""
    connection.execute(
        """
        CREATE TABLE conversations (
            id TEXT PRIMARY KEY,
            owner TEXT NOT NULL,
            title TEXT NOT NULL,
            is_titled INTEGER NOT NULL,
            model TEXT,
            system_prompt TEXT NOT NULL,
            parameters TEXT NOT NULL,
            max_turns INTEGER,
            leaf_id TEXT,
            created_at REAL NOT NULL,
            updated_at REAL NOT NULL
        ) STRICT
        """
    )
    connection.execute("CREATE INDEX conversations_of ON conversations (owner, updated_at, id)")
    connection.execute(
        """
        CREATE TABLE messages (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            conversation_id TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
            parent_id TEXT,
            role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
            content TEXT NOT NULL,
            reasoning TEXT NOT NULL,
            attachments TEXT NOT NULL,
            model TEXT,
            state TEXT NOT NULL CHECK (
                state IN ('streaming', 'done', 'stopped', 'interrupted', 'failed')
            ),
            error TEXT,
            figures TEXT,
            created_at REAL NOT NULL,
            updated_at REAL NOT NULL
        ) STRICT
        """
    )
    connection.execute("CREATE INDEX messages_of ON messages (conversation_id, number)")
    connection.execute("CREATE INDEX children_of ON messages (parent_id, number)")
    connection.execute(
        "CREATE INDEX streaming_messages ON messages (state) WHERE state = 'streaming'"
    )
    connection.execute("CREATE VIRTUAL TABLE message_text USING fts5 (text, tokenize = 'trigram')")
    connection.execute(
        """
        CREATE TRIGGER message_is_gone AFTER DELETE ON messages BEGIN
            DELETE FROM message_text WHERE rowid = old.number;
        END
        """
    )


def _create_votes_and_preferences(connection: sqlite3.Connection) -> None:
    connection.execute(
        """
        CREATE TABLE votes (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            owner TEXT NOT NULL,
            vote TEXT NOT NULL,
            created_at REAL NOT NULL
        ) STRICT
        """
    )
    connection.execute("CREATE INDEX votes_of ON votes (owner, number)")
    connection.execute(
        "CREATE TABLE preferences (owner TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT"
    )


def _create_pulls(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE pulls (id TEXT PRIMARY KEY, document TEXT NOT NULL, created_at REAL NOT NULL)"
        " STRICT"
    )


MIGRATIONS: tuple[Migration, ...] = (
    _create_keys,
    _call_users_chat,
    _create_sessions,
    _create_conversations,
    _create_votes_and_preferences,
    _create_pulls,
)
