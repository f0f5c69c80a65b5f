"""Who is calling: a key of the records, the operator's own command line, or anybody on loopback.

A browser names its key by a session cookie, which it got for the key at `/hearth/login`.
The running server writes a token for the command line into a file that only the user can read;
so `hearth ps` works on the machine itself without a key at hand.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import sqlite3
from dataclasses import dataclass
from typing import Literal

from starlette.datastructures import Headers
from starlette.requests import Request

from codehearth.errors import Forbidden, HearthError, Unauthorized
from codehearth.records.keys import Key, Keys

log = logging.getLogger(__name__)

SESSION_COOKIE = "hearth_session"
LOCAL_USER = "local"

_TOKEN = re.compile(r"[A-Za-z0-9_-]{20,128}")


@dataclass(frozen=True)
class Caller:
    """On whose account a request runs; `owner` tells the queue whom to treat fairly.

    `by` is how the caller was known: `open` where no key is needed, `nobody` on the few routes
    that strangers may ask.
    """

    owner: str = ""
    name: str = "anybody"
    is_admin: bool = False
    by: Literal["open", "key", "session", "operator", "nobody"] = "open"

    @classmethod
    def with_key(cls, key: Key, *, by: Literal["key", "session"]) -> Caller:
        return cls(owner=f"key-{key.id}", name=key.name, is_admin=key.role == "admin", by=by)

    @property
    def user(self) -> str:
        """Whose records these are: the key's name, so that a new key finds the old ones."""
        return f"key:{self.name}" if self.by in ("key", "session") else LOCAL_USER


class Doorkeeper:
    """Checks keys. `operator_token` is the one of this start, for the command line."""

    def __init__(self, keys: Keys, *, operator_token: str, is_loopback: bool) -> None:
        self._keys = keys
        self._operator_digest = hashlib.sha256(operator_token.encode()).digest()
        self._is_loopback = is_loopback

    def admit(self, headers: Headers) -> Caller:
        """The caller; raises Unauthorized. When the records cannot be read, nobody passes."""
        given = _key_in(headers)
        if given and self._is_operator(given):
            return Caller(owner="operator", name="operator", is_admin=True, by="operator")
        try:
            return self._by_records(given, session_token(headers))
        except sqlite3.Error as error:
            log.error("the keys cannot be read: %s", error)
            raise HearthError("The keys cannot be checked now.") from error

    def key_of(self, text: str) -> Key | None:
        """The key that a login gives; raises HearthError where the keys cannot be read."""
        try:
            return self._keys.find(text)
        except sqlite3.Error as error:
            raise HearthError("The keys cannot be checked now.") from error

    def needs_key(self) -> bool:
        """Whether anybody has to show one. When that cannot be read, everybody has."""
        try:
            return not self._is_loopback or self._keys.are_required()
        except sqlite3.Error:
            return True

    def session_ends_at(self, token: str) -> float | None:
        try:
            return self._keys.sessions.expires_at(token)
        except sqlite3.Error:
            return None

    def _by_records(self, given: str, token: str) -> Caller:
        """A key counts before a cookie: a client that names one means it."""
        key = self._keys.find(given) if given else None
        if key is not None:
            return Caller.with_key(key, by="key")
        if token and not given and (key := self._keys.of_session(token)):
            return Caller.with_key(key, by="session")
        if self._is_loopback and not self._keys.are_required():
            return Caller(is_admin=True)
        if given:
            raise Unauthorized("The API key is not known here, or was revoked.")
        raise Unauthorized(
            "This server needs an API key.", hint="send 'Authorization: Bearer sk-…'"
        )

    def _is_operator(self, given: str) -> bool:
        digest = hashlib.sha256(given.encode("utf-8", "replace")).digest()
        return hmac.compare_digest(digest, self._operator_digest)


def _key_in(headers: Headers) -> str:
    """The key of OpenAI's header, or of Anthropic's."""
    kind, _, key = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and key.strip():
        return key.strip()
    return headers.get("x-api-key", "").strip()


def session_token(headers: Headers) -> str:
    """The token of the session cookie; empty where there is none, or nothing that could be one."""
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == SESSION_COOKIE and _TOKEN.fullmatch(value):
            return value
    return ""


def caller_of(request: Request) -> Caller:
    caller = request.scope["state"]["caller"]
    assert isinstance(caller, Caller)
    return caller


def require_admin(request: Request) -> Caller:
    """The caller, who must be an administrator: for routes that change what others use."""
    caller = caller_of(request)
    if not caller.is_admin:
        raise Forbidden(
            f"The key '{caller.name}' may not do this.", hint="use a key with the role admin"
        )
    return caller
