"""Votes: which of two answers to one prompt was better, for whoever compares models later."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping
from typing import Any

from codehearth.errors import InvalidRequest
from codehearth.records.database import transaction, translated

MAX_VOTES = 10_000


class Votes:
    """The table of votes. A vote is a JSON object; its owner is who cast it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, owner: str, vote: Mapping[str, Any]) -> dict[str, Any]:
        now = time.time()
        with transaction(self._connection) as connection:
            (count,) = connection.execute(
                "SELECT count(*) FROM votes WHERE owner = ?", (owner,)
            ).fetchone()
            if count >= MAX_VOTES:
                raise InvalidRequest(f"There may be {MAX_VOTES} votes, and all are cast.")
            cursor = connection.execute(
                "INSERT INTO votes (owner, vote, created_at) VALUES (?, ?, ?)",
                (owner, json.dumps(vote, ensure_ascii=False), now),
            )
        return {"id": f"v_{cursor.lastrowid}", "created_at": now, **vote}

    def all(self, owner: str, *, limit: int = MAX_VOTES) -> list[dict[str, Any]]:
        """The newest first."""
        with translated():
            rows = self._connection.execute(
                "SELECT number, created_at, vote FROM votes WHERE owner = ?"
                " ORDER BY number DESC LIMIT ?",
                (owner, limit),
            )
            return [
                {"id": f"v_{number}", "created_at": created_at, **json.loads(vote)}
                for number, created_at, vote in rows
            ]
