"""API keys: made once, shown once, kept as SHA-256 digests, revoked at once.

A key is 32 random bytes, so a plain digest is enough: there is nothing to guess. Once a key has
been made, keys are required for good; revoking the last one closes the door, it does not open it.

Roles: `chat` may ask models and keep what is its own; `admin` may also load, fetch and delete them.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from codehearth.errors import InvalidRequest, NotFound
from codehearth.records.database import KEYS_GUARD, open_database
from codehearth.records.sessions import Sessions

Role = Literal["chat", "admin"]
_MAX_NAME = 64


@dataclass(frozen=True)
class Key:
    """What is known of a key; never the key itself. Times are seconds since 1970."""

    id: int
    name: str
    role: Role
    created_at: float
    revoked_at: float | None


class Keys:
    """The table of keys. Every look-up reads the file, so another process's revocation counts."""

    def __init__(self, data_folder: Path) -> None:
        self._guard = data_folder / KEYS_GUARD
        self._connection = open_database(data_folder)
        self.sessions = Sessions(self._connection)

    def create(self, name: str, *, role: Role = "chat") -> str:
        """A new key, as the text that its owner must keep: it cannot be shown again."""
        _check_name(name, role)
        key = "sk-" + secrets.token_urlsafe(32)
        if any(known.name == name and known.revoked_at is None for known in self.all()):
            raise InvalidRequest(
                f"There is a key named '{name}' already.", hint=f"`hearth keys revoke {name}` first"
            )
        self._guard.touch(mode=0o600)
        self._connection.execute(
            "INSERT INTO keys (name, role, digest, created_at) VALUES (?, ?, ?, ?)",
            (name, role, _digest(key), time.time()),
        )
        return key

    def all(self) -> tuple[Key, ...]:
        rows = self._connection.execute(
            "SELECT id, name, role, created_at, revoked_at FROM keys ORDER BY id"
        )
        return tuple(Key(*row) for row in rows)

    def revoke(self, name: str) -> None:
        changed = self._connection.execute(
            "UPDATE keys SET revoked_at = ? WHERE name = ? AND revoked_at IS NULL",
            (time.time(), name),
        )
        if changed.rowcount == 0:
            raise NotFound(f"There is no key named '{name}'.", hint="`hearth keys list` shows them")

    def find(self, key: str) -> Key | None:
        """The key that this text is, if it is one and was not revoked.

        The digest is looked up by SQLite's index; what an attacker could learn from its timing is
        about digests of texts of his own choosing, which tells nothing about keys.
        """
        row = self._connection.execute(
            "SELECT id, name, role, created_at, revoked_at FROM keys "
            "WHERE digest = ? AND revoked_at IS NULL",
            (_digest(key),),
        ).fetchone()
        return Key(*row) if row else None

    def of_session(self, token: str) -> Key | None:
        """The key that a browser logged in with, if it was not revoked since."""
        key_id = self.sessions.key_id(token)
        if key_id is None:
            return None
        row = self._connection.execute(
            "SELECT id, name, role, created_at, revoked_at FROM keys "
            "WHERE id = ? AND revoked_at IS NULL",
            (key_id,),
        ).fetchone()
        return Key(*row) if row else None

    def are_required(self) -> bool:
        """Whether a key was ever made here (or the records were damaged since)."""
        if self._guard.exists():
            return True
        (count,) = self._connection.execute("SELECT count(*) FROM keys").fetchone()
        return bool(count)

    def close(self) -> None:
        self._connection.close()


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "replace")).digest()


def _check_name(name: str, role: str) -> None:
    if not name.strip() or len(name) > _MAX_NAME or not name.isprintable():
        raise InvalidRequest(f"A key's name has 1 to {_MAX_NAME} printable characters.")
    if role not in get_args(Role):
        raise InvalidRequest(f"'{role}' is not a role; the roles are chat and admin.")
