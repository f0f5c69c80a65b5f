"""The downloads that were asked of the server, so that a restart does not forget them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from codehearth.records.database import transaction, translated


class Pulls:
    """The table of pulls: each a JSON object with an `id` and a `created_at`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def all(self) -> list[dict[str, Any]]:
        """The oldest first."""
        with translated():
            rows = self._connection.execute("SELECT document FROM pulls ORDER BY created_at")
            return [json.loads(document) for (document,) in rows]

    def put(self, document: Mapping[str, Any]) -> None:
        with transaction(self._connection) as connection:
            connection.execute(
                "INSERT INTO pulls (id, document, created_at) VALUES (?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET document = excluded.document",
                (
                    document["id"],
                    json.dumps(document, ensure_ascii=False),
                    document["created_at"],
                ),
            )

    def drop(self, id: str) -> None:
        with transaction(self._connection) as connection:
            connection.execute("DELETE FROM pulls WHERE id = ?", (id,))
