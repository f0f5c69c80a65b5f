"""What a user prefers: one small JSON document each."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from codehearth.records.database import transaction, translated


class Preferences:
    """The table of preferences. What may stand in a document is decided at the door."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def get(self, owner: str) -> dict[str, Any]:
        """The document; empty where none was kept."""
        with translated():
            row = self._connection.execute(
                "SELECT document FROM preferences WHERE owner = ?", (owner,)
            ).fetchone()
        return dict(json.loads(row[0])) if row else {}

    def put(self, owner: str, document: Mapping[str, Any]) -> None:
        with transaction(self._connection) as connection:
            connection.execute(
                "INSERT INTO preferences (owner, document) VALUES (?, ?)"
                " ON CONFLICT (owner) DO UPDATE SET document = excluded.document",
                (owner, json.dumps(document, ensure_ascii=False)),
            )
