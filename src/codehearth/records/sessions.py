"""Sessions of browsers: a random token in a cookie, kept here as its digest, for one key.

A session lives as long as its key: whoever asks looks the key up, too, so that a revocation ends
all of its sessions at once.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import time

from codehearth.records.database import transaction

LIFETIME_S = 30 * 24 * 3600.0
MAX_SESSIONS_OF_KEY = 50
_MAX_TOKEN = 128


class Sessions:
    """The table of sessions. Reading raises sqlite3.Error, as the keys do: nobody passes then."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def begin(self, key_id: int) -> str:
        """A new session's token. The oldest go where a key has too many, and all that are over."""
        token, now = secrets.token_urlsafe(32), time.time()
        with transaction(self._connection) as connection:
            connection.execute("DELETE FROM sessions WHERE expires_at <= ?", (now,))
            connection.execute(
                """
                DELETE FROM sessions WHERE digest IN (
                    SELECT digest FROM sessions WHERE key_id = ?
                    ORDER BY created_at DESC LIMIT -1 OFFSET ?
                )
                """,
                (key_id, MAX_SESSIONS_OF_KEY - 1),
            )
            connection.execute(
                "INSERT INTO sessions (digest, key_id, created_at, expires_at) VALUES (?, ?, ?, ?)",
                (_digest(token), key_id, now, now + LIFETIME_S),
            )
        return token

    def end(self, token: str) -> None:
        with transaction(self._connection) as connection:
            connection.execute("DELETE FROM sessions WHERE digest = ?", (_digest(token),))

    def key_id(self, token: str) -> int | None:
        row = self._connection.execute(
            "SELECT key_id FROM sessions WHERE digest = ? AND expires_at > ?",
            (_digest(token), time.time()),
        ).fetchone()
        return int(row[0]) if row else None

    def expires_at(self, token: str) -> float | None:
        row = self._connection.execute(
            "SELECT expires_at FROM sessions WHERE digest = ?", (_digest(token),)
        ).fetchone()
        return float(row[0]) if row else None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token[:_MAX_TOKEN].encode("utf-8", "replace")).digest()
