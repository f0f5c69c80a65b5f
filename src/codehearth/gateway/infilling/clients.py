"""Which editor is asking: what tells one person's typing from another's.

A key is not enough, because a team may share one: two editors behind one key must not stop each
other's suggestions. An editor is named, in this order, by the header `x-hearth-client`, by the
request's `user`, or by the address it comes from together with its user agent. The last is a guess
(a proxy hides addresses, a person has two windows), so it counts only for requests about the same
place in the same text, see `suggestions.py`.

`id_slot` does not name an editor: llama.vim and llama.vscode always send 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from codehearth.gateway.auth import caller_of

_MAX_NAME = 256


@dataclass(frozen=True)
class Client:
    """One editor of one key's owner. `is_named` where the client itself said who it is."""

    owner: str
    name: str
    is_named: bool


def client_of(request: Request, *, user: str | None = None) -> Client:
    owner = caller_of(request).owner
    name = request.headers.get("x-hearth-client", "") or user or ""
    if name:
        return Client(owner, name[:_MAX_NAME], is_named=True)
    address = request.client.host if request.client else ""
    behind = request.headers.get("x-forwarded-for", "")[:_MAX_NAME]
    agent = request.headers.get("user-agent", "")[:_MAX_NAME]
    return Client(owner, f"{address} {behind} {agent}", is_named=False)
