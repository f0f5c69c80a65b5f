"""Who is calling: a key of the records, the operator's own command line, or anybody on loopback.

The running server writes a token for the command line into a file that only the user can read;
so `hearth ps` works on the machine itself without a key at hand.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import sqlite3
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import Request

from codehearth.errors import Forbidden, HearthError, Unauthorized
from codehearth.records.keys import Keys

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Caller:
    """On whose account a request runs; `owner` tells the queue whom to treat fairly."""

    owner: str = ""
    name: str = "anybody"
    is_admin: bool = False


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
            return Caller(owner="operator", name="operator", is_admin=True)
        try:
            return self._by_records(given)
        except sqlite3.Error as error:
            log.error("the keys cannot be read: %s", error)
            raise HearthError("The keys cannot be checked now.") from error

    def _by_records(self, given: str) -> Caller:
        key = self._keys.find(given) if given else None
        if key is not None:
            return Caller(owner=f"key-{key.id}", name=key.name, is_admin=key.role == "admin")
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
